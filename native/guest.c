/* guest.c: instances and the calls into them. How a call runs: see guest.h.
 *
 *   start:    [instantiate]  then  [START, INIT, BUFFER, BUFFER_SIZE]   two fibers
 *   request:  [write method and path, REQUEST, free]
 *   response: [write body, RESPONSE, free]
 *   cleanup:  [CLEANUP]
 *
 * A fiber whose time slice is over makes the poll return false; the instance is then pending and holds
 * the future. The addresses given to the future (instance->trap, ->error, ->enter) live in the instance.
 */
#include "edits.h"
#include "fault.h"
#include "store_call.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

/* The deadline of a slice: the running tick is already partly over, so two give one full period. */
enum { FIRST_SLICE_TICKS = 2, NEXT_SLICE_TICKS = 1 };
/* Log and edit buffers above this are given back between calls. */
enum { KEEP_LOG = 4096 };
/* Of a fiber's stack: more than wasmtime has above our first frame there, and what most guests need. Of how
 * many instances that end, one has its stack looked at. */
enum { STACK_ABOVE = 64 * 1024, STACK_KEPT = 64 * 1024, STACK_LOOK = 16 };
/* A pointer for strings of no bytes: not null, since a guest may hold it to that. */
enum { DANGLING = 1 };

typedef wasmtime_val_raw_t raw;
static raw raw_u32(uint32_t value) { return (raw){.i64 = (int64_t)value}; }

/* ---------------------------------------------------------------- nested calls, inside a fiber */

static bool has_part(const blitz_instance *instance, int part) { return instance->plugin->parts[part].used; }

static bool fits(const blitz_instance *instance, uint64_t offset, uint64_t len)
{
    size_t size = blitz_store_memory_size(instance);
    return offset <= size && len <= size - offset;
}

static uint8_t *memory_at(const blitz_instance *instance, uint32_t offset)
{
    return blitz_store_memory(instance) + offset;
}

wasm_trap_t *blitz_guest_alloc(blitz_instance *instance, uint32_t len, const char *purpose, uint32_t *offset)
{
    if (!has_part(instance, BLITZ_X_ALLOC))
        return blitz_trap(instance, BLITZ_FAULT_HOST, 0, "%s needs an allocator (blitz_alloc, __wbindgen_malloc "
                          "or malloc), and the module exports none", purpose);
    if (instance->allocating)
        return blitz_trap(instance, BLITZ_FAULT_HOST, 0, "%s needs the guest's allocator, which is the caller",
                          purpose);
    raw slots[2] = {raw_u32(len), raw_u32(1)};
    instance->allocating = true;
    bool good = blitz_store_call(instance, BLITZ_X_ALLOC, slots, 2);
    instance->allocating = false;
    if (!good)
        return blitz_store_trap(instance);
    uint32_t at = (uint32_t)slots[0].i32;
    if (at == 0)
        return blitz_trap(instance, BLITZ_FAULT_MEMORY, 0, "the guest's allocator returned 0 for %u bytes (%s)", len,
                          purpose);
    if (!fits(instance, at, len))
        return blitz_trap(instance, BLITZ_FAULT_MEMORY, 0, "the guest's allocator returned %u for %u bytes (%s), "
                          "outside the memory", at, len, purpose);
    *offset = at;
    return NULL;
}

/* ---------------------------------------------------------------- arguments */

typedef struct { uint32_t offset, len; } lent;
enum { MOST_TEXTS = 2 };
typedef struct {
    blitz_text texts[MOST_TEXTS];
    lent out[MOST_TEXTS];
    lent blocks[MOST_TEXTS];             /* allocated, for us to free */
    size_t n, n_blocks;
    size_t in_buffer;                    /* bytes of the guest's fixed area that were written to */
    const char *purpose;
} loan;

void blitz_write_text(uint8_t *dst, size_t size, blitz_text text)
{
    size_t valid = text.len <= size ? blitz_utf8_copy(dst, text.ptr, text.len) : 0;
    if (valid < text.len)
        blitz_utf8_lossy(dst, size, text.ptr, text.len);
}

/* Validates through a scratch buffer with the fast copy; only ill-formed text is counted. */
size_t blitz_utf8_size(blitz_text text)
{
    uint8_t scratch[2048];
    size_t at = 0;
    while (at < text.len) {
        size_t part = text.len - at < sizeof scratch ? text.len - at : sizeof scratch;
        size_t valid = blitz_utf8_copy(scratch, text.ptr + at, part);
        bool cut = part == sizeof scratch && part - valid < 4;     /* a sequence across the border */
        if (valid < part && !cut)
            return blitz_utf8_lossy(NULL, 0, text.ptr, text.len);
        at += valid;
    }
    return text.len;
}

/* The common case in one pass: everything fits the guest's fixed area and is valid. */
static bool lend_in_buffer(blitz_instance *instance, loan *loan)
{
    uint64_t total = 0;
    for (size_t i = 0; i < loan->n; i++)
        total += loan->texts[i].len;
    if (total > instance->buffer_size)
        return false;
    loan->in_buffer = (size_t)total;
    uint32_t offset = instance->buffer;
    uint8_t *dst = memory_at(instance, offset);
    for (size_t i = 0; i < loan->n; i++) {
        blitz_text text = loan->texts[i];
        if (blitz_utf8_copy(dst, text.ptr, text.len) != text.len)
            return false;
        loan->out[i] = (lent){offset, (uint32_t)text.len};
        offset += (uint32_t)text.len;
        dst += text.len;
    }
    return true;
}

static void write_at(blitz_instance *instance, loan *loan, size_t i, uint32_t offset, uint32_t size)
{
    loan->out[i] = (lent){offset, size};
    blitz_write_text(memory_at(instance, offset), size, loan->texts[i]);
}

static wasm_trap_t *lend_one(blitz_instance *instance, loan *loan, size_t i, uint32_t size)
{
    if (size == 0) {
        loan->out[i] = (lent){DANGLING, 0};
        return NULL;
    }
    uint32_t offset;
    wasm_trap_t *trap = blitz_guest_alloc(instance, size, loan->purpose, &offset);
    if (trap != NULL)
        return trap;
    if (has_part(instance, BLITZ_X_FREE))
        loan->blocks[loan->n_blocks++] = (lent){offset, size};
    write_at(instance, loan, i, offset, size);
    return NULL;
}

static wasm_trap_t *lend(blitz_instance *instance, loan *loan)
{
    if (instance->buffer_size > 0 && lend_in_buffer(instance, loan))
        return NULL;
    uint64_t total = 0;
    uint32_t sizes[MOST_TEXTS];
    for (size_t i = 0; i < loan->n; i++) {
        size_t size = blitz_utf8_size(loan->texts[i]);
        total += size;
        sizes[i] = (uint32_t)size;
        if (total > INT32_MAX)
            return blitz_trap(instance, BLITZ_FAULT_MEMORY, 0, "%s is larger than 2 GiB", loan->purpose);
    }
    bool in_buffer = instance->buffer_size > 0 && total <= instance->buffer_size;
    if (in_buffer && total > loan->in_buffer)
        loan->in_buffer = (size_t)total;
    if (!in_buffer && instance->buffer_size > 0 && total > 0 && !has_part(instance, BLITZ_X_ALLOC))
        return blitz_trap(instance, BLITZ_FAULT_HOST, 0, "%s takes %u bytes, blitz_buffer has %u, and the module "
                          "exports no allocator", loan->purpose, (uint32_t)total, instance->buffer_size);
    uint32_t offset = instance->buffer;
    for (size_t i = 0; i < loan->n; i++) {
        wasm_trap_t *trap = NULL;
        if (in_buffer)
            write_at(instance, loan, i, offset, sizes[i]);
        else
            trap = lend_one(instance, loan, i, sizes[i]);
        if (trap != NULL)
            return trap;
        offset += sizes[i];
    }
    return NULL;
}

/* What was lent in the fixed area is cleared: the next exchange, which may be another client's, finds nothing
 * behind its own, shorter arguments. What was lent in blocks is the allocator's again. */
static wasm_trap_t *take_back(blitz_instance *instance, const loan *loan)
{
    if (loan->in_buffer > 0)
        memset(memory_at(instance, instance->buffer), 0, loan->in_buffer);
    for (size_t i = loan->n_blocks; i-- > 0;) {
        raw slots[2] = {raw_u32(loan->blocks[i].offset), raw_u32(loan->blocks[i].len)};
        if (!blitz_store_call(instance, BLITZ_X_FREE, slots, 2))
            return blitz_store_trap(instance);
    }
    return NULL;
}

/* ---------------------------------------------------------------- what runs on the fiber */

static wasm_trap_t *call_hook(blitz_instance *instance, int part, raw *slots, size_t n)
{
    if (!blitz_store_call(instance, part, slots, n))
        return blitz_store_trap(instance);
    instance->verdict = slots[0].i32;
    return NULL;
}

static wasm_trap_t *run_request(blitz_instance *instance)
{
    const blitz_head *head = instance->exchange->request;
    loan loan = {.n = 2, .purpose = "process_request's method and path"};
    loan.texts[0] = (blitz_text){blitz_head_at(head, head->method), head->method.len};
    loan.texts[1] = (blitz_text){blitz_head_at(head, head->target), head->target.len};
    wasm_trap_t *trap = lend(instance, &loan);
    if (trap != NULL)
        return trap;
    raw slots[4] = {raw_u32(loan.out[0].offset), raw_u32(loan.out[0].len), raw_u32(loan.out[1].offset),
                    raw_u32(loan.out[1].len)};
    trap = call_hook(instance, BLITZ_X_REQUEST, slots, 4);
    return trap != NULL ? trap : take_back(instance, &loan);
}

static wasm_trap_t *run_response(blitz_instance *instance)
{
    loan loan = {.n = 1, .purpose = "process_response's body"};
    loan.texts[0] = instance->exchange->body;
    wasm_trap_t *trap = lend(instance, &loan);
    if (trap != NULL)
        return trap;
    raw slots[3] = {raw_u32(instance->exchange->response->status), raw_u32(loan.out[0].offset),
                    raw_u32(loan.out[0].len)};
    trap = call_hook(instance, BLITZ_X_RESPONSE, slots, 3);
    return trap != NULL ? trap : take_back(instance, &loan);
}

static wasm_trap_t *ask(blitz_instance *instance, int part, uint32_t *answer)
{
    raw slot = raw_u32(0);
    if (!blitz_store_call(instance, part, &slot, 1))
        return blitz_store_trap(instance);
    *answer = (uint32_t)slot.i32;
    return NULL;
}

static wasm_trap_t *find_buffer(blitz_instance *instance)
{
    if (!has_part(instance, BLITZ_X_BUFFER) || !has_part(instance, BLITZ_X_BUFFER_SIZE))
        return NULL;
    uint32_t at = 0, size = 0;
    wasm_trap_t *trap = ask(instance, BLITZ_X_BUFFER, &at);
    if (trap == NULL)
        trap = ask(instance, BLITZ_X_BUFFER_SIZE, &size);
    if (trap != NULL)
        return trap;
    if (!fits(instance, at, size))
        return blitz_trap(instance, BLITZ_FAULT_INIT, 0, "blitz_buffer (%u bytes at %u) is outside the memory", size,
                          at);
    instance->buffer = at;
    instance->buffer_size = size;
    return NULL;
}

static wasm_trap_t *run_init(blitz_instance *instance)
{
    raw slot = raw_u32(0);
    if (has_part(instance, BLITZ_X_START) && !blitz_store_call(instance, BLITZ_X_START, &slot, 1))
        return blitz_store_trap(instance);
    if (has_part(instance, BLITZ_X_INIT)) {
        wasm_trap_t *trap = call_hook(instance, BLITZ_X_INIT, &slot, 1);
        if (trap != NULL)
            return trap;
    }
    return instance->verdict == 0 ? find_buffer(instance) : NULL;
}

static wasm_trap_t *enter(void *env, wasmtime_caller_t *caller, raw *slots, size_t n)
{
    (void)caller, (void)slots, (void)n;
    blitz_instance *instance = env;
    instance->stack = (uintptr_t)__builtin_frame_address(0);
    raw slot = raw_u32(0);
    switch (instance->hook) {
    case BLITZ_HOOK_INIT:
        return run_init(instance);
    case BLITZ_HOOK_REQUEST:
        return run_request(instance);
    case BLITZ_HOOK_RESPONSE:
        return run_response(instance);
    default:
        return call_hook(instance, BLITZ_X_CLEANUP, &slot, 1);
    }
}

/* ---------------------------------------------------------------- instances */

static void limit(blitz_instance *instance)
{
    const blitz_plugin_limits *limits = &instance->plugin->limits;
    blitz_wt.wasmtime_store_limiter(instance->store, (int64_t)limits->max_memory_size, limits->max_table_elements, 1,
                                    4, 1);
}

static wasmtime_error_t *slice_is_over(wasmtime_context_t *context, void *env, uint64_t *ticks, uint8_t *what)
{
    (void)context;
    const blitz_instance *instance = env;
    if (instance->ending)
        return blitz_wt.wasmtime_error_new("");
    *ticks = NEXT_SLICE_TICKS;
    *what = WASMTIME_UPDATE_DEADLINE_YIELD;
    return NULL;
}

blitz_instance *blitz_instance_new(blitz_plugin *plugin, char *error, size_t error_cap)
{
    blitz_engine *engine = plugin->engine;
    blitz_instance *instance = calloc(1, sizeof *instance);
    if (instance == NULL || plugin->pre == NULL) {
        snprintf(error, error_cap, instance == NULL ? "out of memory" : "the plugin is not linked");
        free(instance);
        return NULL;
    }
    instance->plugin = plugin;
    plugin->made += plugin->made == UINT32_MAX ? 2 : 1;
    instance->id = plugin->made;
    instance->store = blitz_wt.wasmtime_store_new(engine->wasm, instance, NULL);
    instance->context = blitz_wt.wasmtime_store_context(instance->store);
    limit(instance);
    blitz_wt.wasmtime_store_epoch_deadline_callback(instance->store, slice_is_over, instance, NULL);
    blitz_wt.wasmtime_func_new_unchecked(instance->context, engine->enter_type, enter, instance, NULL,
                                         &instance->enter);
    instance->next = engine->instances;
    if (instance->next != NULL)
        instance->next->previous = instance;
    engine->instances = instance;
    engine->live++;
    engine->made++;
    return instance;
}

static void unlink_from_engine(blitz_instance *instance)
{
    blitz_engine *engine = instance->plugin->engine;
    if (instance->next != NULL)
        instance->next->previous = instance->previous;
    if (instance->previous != NULL)
        instance->previous->next = instance->next;
    else
        engine->instances = instance->next;
    engine->live--;
}

static bool is_deep(uintptr_t stack, uintptr_t page)
{
    unsigned char resident = 1;
    /* Frames lie page by page below each other (large ones are probed): one page tells about all below. */
    return mincore((void *)(((stack - STACK_KEPT) & ~(page - 1)) - page), page, &resident) != 0 || (resident & 1);
}

/* The engine's pool takes stacks back as they are: without this, each one that a guest has recursed through
 * would stay as large as it ever was. No fiber runs on it now; what is near its top stays warm. Looking costs
 * as much as a short call, so plugins that never go deep are looked at now and then only. */
static void shrink_stack(const blitz_instance *instance)
{
    blitz_plugin *plugin = instance->plugin;
    bool look = plugin->goes_deep || instance->state == BLITZ_STATE_POISONED || plugin->freed++ % STACK_LOOK == 0;
    if (!look || instance->stack == 0)
        return;
    uintptr_t page = (uintptr_t)sysconf(_SC_PAGESIZE);
    if (!is_deep(instance->stack, page))
        return;
    plugin->goes_deep = true;
    uintptr_t high = (instance->stack - STACK_KEPT) & ~(page - 1);
    uintptr_t low = (instance->stack - BLITZ_FIBER_STACK + STACK_ABOVE + page - 1) & ~(page - 1);
    madvise((void *)low, high - low, MADV_DONTNEED);
}

void blitz_instance_free(blitz_instance *instance)
{
    if (instance == NULL || !blitz_store_drop(instance))
        return;
    shrink_stack(instance);
    unlink_from_engine(instance);
    blitz_store_delete(instance);
    free(instance->fault);
    free(instance->log);
    free(instance->stdio);
    free(instance);
}

uint32_t blitz_instance_id(const blitz_instance *instance) { return instance->id; }
uint64_t blitz_instance_calls(const blitz_instance *instance) { return instance->calls; }

uint64_t blitz_instance_memory_size(const blitz_instance *instance)
{
    if (!instance->has_exports || instance->running || instance->state == BLITZ_STATE_PENDING)
        return instance->memory_size;             /* a store with a fiber in it is not ours to look into */
    return blitz_store_memory_size(instance);
}

/* ---------------------------------------------------------------- calls */

static int fail(blitz_instance *instance)
{
    instance->state = BLITZ_STATE_POISONED;
    instance->exchange = NULL;
    blitz_log_end_call(instance);
    return BLITZ_FAULT;
}

static int fail_because(blitz_instance *instance, int kind, int code, const char *message)
{
    blitz_fault_set(instance, kind, code, message);
    return fail(instance);
}

static int begin(blitz_instance *instance, int hook);

/* Flags that go beside the verdict. */
static int done(blitz_instance *instance, int verdict, int flags)
{
    instance->state = instance->hook == BLITZ_HOOK_CLEANUP ? BLITZ_STATE_ENDED : BLITZ_STATE_READY;
    instance->calls += instance->hook == BLITZ_HOOK_REQUEST || instance->hook == BLITZ_HOOK_RESPONSE;
    instance->exchange = NULL;
    if (instance->stdio != NULL)
        blitz_log_end_call(instance);
    return verdict | flags | (instance->log_len > 0 ? BLITZ_R_LOGS : 0);
}

static void note_move(blitz_exchange *exchange, const blitz_plugin *plugin)
{
    uint8_t how = plugin->may_reroute ? BLITZ_MOVED_WITH_LEAVE : BLITZ_MOVED_WITHOUT;
    if (how < exchange->moved)
        return;
    exchange->moved = how;
    exchange->mover = (blitz_text){(const uint8_t *)plugin->name, plugin->name_len};
}

static int finish_message(blitz_instance *instance)
{
    int kind = instance->hook == BLITZ_HOOK_REQUEST ? BLITZ_REQUEST : BLITZ_RESPONSE;
    char why[160];
    if (instance->verdict == -1) {
        blitz_fault_set(instance, BLITZ_FAULT_VERDICT, -1, "the hook returned -1 (error)");
        return done(instance, BLITZ_V_ERROR, 0);
    }
    if (instance->verdict != 0 && instance->verdict != 1) {
        snprintf(why, sizeof why, "the hook returned %d, which is no verdict (0, 1 or -1)", instance->verdict);
        return fail_because(instance, BLITZ_FAULT_VERDICT, instance->verdict, why);
    }
    int flags = blitz_edits_commit(instance->exchange, kind, instance->verdict == 1, why, sizeof why);
    if (flags < 0)
        return fail_because(instance, BLITZ_FAULT_HOST, flags, why);
    if (flags & BLITZ_EDIT_MOVED)
        note_move(instance->exchange, instance->plugin);
    return done(instance, instance->verdict, flags & ~BLITZ_EDIT_MOVED);
}

static int finish_start(blitz_instance *instance)
{
    char why[96];
    if (instance->verdict != 0) {
        snprintf(why, sizeof why, "init returned %d, wanted 0", instance->verdict);
        return fail_because(instance, BLITZ_FAULT_INIT, instance->verdict, why);
    }
    return done(instance, BLITZ_V_CONTINUE, 0);
}

static int finish_instantiate(blitz_instance *instance)
{
    instance->has_exports = blitz_store_find_exports(instance, NULL);
    if (!instance->has_exports)
        return fail_because(instance, BLITZ_FAULT_ENGINE, 0, "an export that the module declares is not there");
    instance->memory_size = blitz_store_memory_size(instance);
    const blitz_part *parts = instance->plugin->parts;
    if (parts[BLITZ_X_START].used || parts[BLITZ_X_INIT].used || parts[BLITZ_X_BUFFER].used)
        return begin(instance, BLITZ_HOOK_INIT);
    return finish_start(instance);
}

static int finish(blitz_instance *instance)
{
    if (instance->trap != NULL || instance->error != NULL) {
        blitz_fault_from(instance, instance->trap, instance->error);
        blitz_fault_drop(&instance->trap, &instance->error);
        return fail(instance);
    }
    switch (instance->hook) {
    case BLITZ_HOOK_INSTANTIATE:
        return finish_instantiate(instance);
    case BLITZ_HOOK_INIT:
        return finish_start(instance);
    case BLITZ_HOOK_CLEANUP:
        return done(instance, instance->verdict == 0 ? BLITZ_V_CONTINUE : BLITZ_V_ERROR, 0);
    default:
        return finish_message(instance);
    }
}

/* -> whether the call has come to its end. */
static bool run_slice(blitz_instance *instance)
{
    blitz_engine *engine = instance->plugin->engine;
    uint64_t from = blitz_cycles();
    blitz_ticker_enter(&engine->ticker);
    bool ready = blitz_store_poll(instance);
    blitz_ticker_leave(&engine->ticker);
    engine->turn.spent += blitz_cycles() - from;
    return ready;
}

static int poll(blitz_instance *instance)
{
    if (run_slice(instance))
        return finish(instance);
    instance->state = BLITZ_STATE_PENDING;
    instance->plugin->engine->pended++;
    return BLITZ_PENDING;
}

/* Make the fiber of the hook and give it its first slice. */
static int first_slice(blitz_instance *instance)
{
    instance->due = false;
    blitz_wt.wasmtime_context_set_epoch_deadline(instance->context, FIRST_SLICE_TICKS);
    if (!blitz_store_begin(instance))
        return fail_because(instance, BLITZ_FAULT_ENGINE, 0, "the instance cannot take a call");
    return poll(instance);
}

/* Begin a hook, or let it wait for its turn. */
static int begin(blitz_instance *instance, int hook)
{
    const blitz_turn *turn = &instance->plugin->engine->turn;
    instance->hook = (uint8_t)hook;
    instance->verdict = 0;
    if (!turn->held && !blitz_turn_is_over(turn))
        return first_slice(instance);
    instance->due = true;
    instance->state = BLITZ_STATE_PENDING;
    return BLITZ_PENDING;
}

static void prepare(blitz_instance *instance)
{
    instance->plugin->engine->calls++;
    instance->memory_size = blitz_instance_memory_size(instance);
    instance->log_used = 0;
    instance->log_lines = 0;
    instance->log_len = 0;
    instance->faulted = false;
    if (instance->log_cap > KEEP_LOG) {
        free(instance->log);
        instance->log = NULL;
        instance->log_cap = 0;
    }
}

int blitz_call_start(blitz_instance *instance)
{
    if (instance->state != BLITZ_STATE_NEW)
        return BLITZ_E_STATE;
    prepare(instance);
    return begin(instance, BLITZ_HOOK_INSTANTIATE);
}

static int call_message(blitz_instance *instance, blitz_exchange *exchange, int hook, int part)
{
    if (instance->state != BLITZ_STATE_READY || !has_part(instance, part))
        return BLITZ_E_STATE;
    prepare(instance);
    blitz_edits_clear(exchange->edits);
    instance->exchange = exchange;
    return begin(instance, hook);
}

int blitz_call_request(blitz_instance *instance, blitz_exchange *exchange)
{
    return call_message(instance, exchange, BLITZ_HOOK_REQUEST, BLITZ_X_REQUEST);
}

int blitz_call_response(blitz_instance *instance, blitz_exchange *exchange)
{
    return call_message(instance, exchange, BLITZ_HOOK_RESPONSE, BLITZ_X_RESPONSE);
}

int blitz_call_cleanup(blitz_instance *instance)
{
    if (instance->state != BLITZ_STATE_READY)
        return BLITZ_E_STATE;
    prepare(instance);
    instance->hook = BLITZ_HOOK_CLEANUP;
    if (!has_part(instance, BLITZ_X_CLEANUP))
        return done(instance, BLITZ_V_CONTINUE, 0);
    return begin(instance, BLITZ_HOOK_CLEANUP);
}

int blitz_call_resume(blitz_instance *instance)
{
    if (instance->state != BLITZ_STATE_PENDING)
        return BLITZ_E_STATE;
    if (!instance->due)
        return poll(instance);
    return blitz_turn_is_over(&instance->plugin->engine->turn) ? BLITZ_PENDING : first_slice(instance);
}

int blitz_call_is_due(const blitz_instance *instance) { return instance->due; }

static void set_cancelled(blitz_instance *instance)
{
    if (instance->state == BLITZ_STATE_PENDING)
        blitz_fault_set(instance, BLITZ_FAULT_CANCELLED, 0, "the call was cancelled before the guest returned");
}

/* Unwinding a hook's fiber ends the nested call that it is in, which tells the frames (blitz_store_trap). A start
 * section is nobody's nested call: the engine tells them only if the guest ends by itself. */
void blitz_call_time_out(blitz_instance *instance)
{
    if (instance->state == BLITZ_STATE_PENDING && !instance->due && instance->hook == BLITZ_HOOK_INSTANTIATE) {
        set_cancelled(instance);
        instance->ending = true;
        if (run_slice(instance))
            blitz_fault_from(instance, instance->trap, instance->error);
    }
    blitz_call_cancel(instance);
}

void blitz_call_cancel(blitz_instance *instance)
{
    set_cancelled(instance);
    instance->due = false;
    if (blitz_store_drop(instance) && instance->state != BLITZ_STATE_ENDED)
        fail(instance);
}
