/* Invariant: whatever a guest passes to the host functions, in any order, with a memory of any size, nothing
 * outside its memory is read or written, and what the edits leave is a clean head; a log line is one line.
 *
 * No wasmtime here: the address table is filled with stand-ins, the guest's memory ends flush at a page that
 * cannot be touched, and its allocator answers, grows the memory or traps as the input says.
 */
#include "../edits.h"
#include "../fault.h"
#include "../parts.h"
#include "head_invariants.h"
#include "input.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* ---------------------------------------------------------------- the guest */

enum { MOST_MEMORY = 1 << 16 };
static guarded area;
static size_t memory_size;                       /* memory is the last so many bytes of the area */
static source *input;
static blitz_instance instance;
static char a_trap, an_error;

static wasmtime_context_t *caller_context(wasmtime_caller_t *caller) { return (wasmtime_context_t *)caller; }
static void *get_data(const wasmtime_context_t *context) { (void)context; return &instance; }
/* Every handle that is used must be of the one store there is. */
enum { STORE = 7 };
static size_t data_size(const wasmtime_context_t *context, const wasmtime_memory_t *memory)
{
    (void)context;
    MUST(memory->of.store_id == STORE, "a memory of another store");
    return memory_size;
}
static wasm_trap_t *trap_new(const char *message, size_t len) { (void)message, (void)len; return (wasm_trap_t *)&a_trap; }
static void trap_delete(wasm_trap_t *trap) { MUST((char *)trap == &a_trap, "foreign trap"); }
static void error_delete(wasmtime_error_t *error) { MUST((char *)error == &an_error, "foreign error"); }
static void no_text(wasm_byte_vec_t *out) { *out = (wasm_byte_vec_t){0, NULL}; }
static void no_frames(wasm_frame_vec_t *out) { *out = (wasm_frame_vec_t){0, NULL}; }
static void trap_trace(const wasm_trap_t *trap, wasm_frame_vec_t *out) { (void)trap; no_frames(out); }
static void error_trace(const wasmtime_error_t *error, wasm_frame_vec_t *out) { (void)error; no_frames(out); }
static void frames_delete(wasm_frame_vec_t *frames) { MUST(frames->size == 0, "frames from nowhere"); }
static void error_message(const wasmtime_error_t *error, wasm_byte_vec_t *out) { (void)error; no_text(out); }
static bool trap_code(const wasm_trap_t *trap, uint8_t *code) { (void)trap, (void)code; return false; }
static void vec_delete(wasm_byte_vec_t *vec) { (void)vec; }

/* The allocator: what it does and returns is the input's choice. Memory that grows moves, since it ends
 * where the area ends: the harshest of reallocations. */
static wasmtime_error_t *call(wasmtime_context_t *context, const wasmtime_func_t *function, wasmtime_val_raw_t *slots,
                              size_t n, wasm_trap_t **trap)
{
    (void)context, (void)n;
    MUST(function->store_id == STORE, "a function of another store");
    uint8_t what = take_byte(input);
    if (what == 255) {
        *trap = (wasm_trap_t *)&a_trap;
        return NULL;
    }
    if (what == 254)
        return (wasmtime_error_t *)&an_error;
    if (what > 200) {
        size_t grown = memory_size + 1 + 64 * (size_t)(what - 200);
        memory_size = grown < MOST_MEMORY ? grown : MOST_MEMORY;
        instance.memory_base = area.end - memory_size;     /* it moves, which no real one does: nobody may remember it */
    }
    slots[0].i64 = what < 100 ? what : what < 150 ? (uint32_t)(memory_size - (what - 100u)) : take_word(input);
    return NULL;
}

static void stand_in(void)
{
    blitz_wt.wasmtime_caller_context = caller_context;
    blitz_wt.wasmtime_context_get_data = get_data;
    blitz_wt.wasmtime_memory_data_size = data_size;
    blitz_wt.wasmtime_trap_new = trap_new;
    blitz_wt.wasm_trap_delete = trap_delete;
    blitz_wt.wasmtime_error_delete = error_delete;
    blitz_wt.wasm_trap_trace = trap_trace;
    blitz_wt.wasmtime_error_wasm_trace = error_trace;
    blitz_wt.wasm_frame_vec_delete = frames_delete;
    blitz_wt.wasmtime_error_message = error_message;
    blitz_wt.wasmtime_trap_code = trap_code;
    blitz_wt.wasm_byte_vec_delete = vec_delete;
    blitz_wt.wasmtime_func_call_unchecked = call;
}

static blitz_plugin *new_plugin(void)
{
    static blitz_plugin plugin;
    static blitz_engine engine;
    plugin.engine = &engine;
    plugin.name = (char *)(uintptr_t)"plugin";
    plugin.name_len = 6;
    plugin.namespace = plugin.name;
    plugin.limits = (blitz_plugin_limits){.max_edits_size = 2000, .max_edits = 40, .max_log_size = 1000,
                                          .log_lines_per_second = 1000000, .log_burst = 1000000};
    plugin.parts[BLITZ_X_ALLOC].used = true;
    plugin.state = blitz_shared_state(blitz_shared_new(64));
    const uint8_t *text = (const uint8_t *)"KEY" "value" "dotted.key";
    MUST(blitz_plugin_grant_env(&plugin, text, 3, text + 3, 5) == 0, "env");
    MUST(blitz_plugin_grant_env(&plugin, text, 1, text, 0) == 0, "env");
    MUST(blitz_plugin_set_config(&plugin, text, 0, text, 18) == 0, "config");
    MUST(blitz_plugin_set_config(&plugin, text + 8, 10, text + 3, 5) == 0, "config");
    return &plugin;
}

/* ---------------------------------------------------------------- one call */

/* Near the start, near the end, or anywhere. */
static uint32_t take_number(source *in)
{
    uint8_t how = take_byte(in);
    if (how < 160)
        return how;
    return how < 220 ? (uint32_t)memory_size - (how - 160u) : take_word(in);
}

/* false: the guest is dead. */
static bool call_host(source *in)
{
    static blitz_binding binding;
    wasmtime_val_raw_t slots[16];
    const blitz_host_function *function = blitz_host_function_at(take_byte(in) % blitz_host_n());
    bool bindgen = function->row.bindgen_type != NULL && (take_byte(in) & 1);
    const char *type = bindgen ? function->row.bindgen_type : function->row.plain_type;
    binding = (blitz_binding){.plugin = instance.plugin, .how = bindgen ? BLITZ_BIND_BINDGEN : BLITZ_BIND_PLAIN,
                              .bound = true, .function = function};
    size_t n = strcspn(type, ":");
    for (size_t i = 0; i < n; i++)
        slots[i].i64 = take_number(in);
    wasm_trap_t *trap = function->call(&binding, (wasmtime_caller_t *)&instance, slots, n);
    MUST((trap != NULL) == instance.faulted, "%s: a trap without a reason, or a reason without", function->row.name);
    return trap == NULL;
}

/* ---------------------------------------------------------------- what it left */

static void log_must_be_lines(blitz_text log)
{
    size_t at = 0;
    while (at < log.len) {
        uint32_t len;
        MUST(log.len - at >= 8, "a cut record");
        memcpy(&len, log.ptr + at + 4, sizeof len);
        MUST(len <= log.len - at - 8, "a record of %u bytes", len);
        for (size_t i = at + 8; i < at + 8 + len; i++)
            MUST(log.ptr[i] >= 0x20 && log.ptr[i] != 0x7f, "control byte %02x in a line", log.ptr[i]);
        MUST(blitz_utf8_lossy(NULL, 0, log.ptr + at + 8, len) == len, "a line that is no UTF-8");
        at += 8 + len;
    }
}

static uint32_t count(const blitz_head *head, uint8_t id)
{
    uint32_t n = 0;
    for (uint32_t i = 0; i < head->n_fields; i++)
        n += !head->fields[i].gone && head->fields[i].id == id;
    return n;
}

static void head_must_be_ours(const blitz_head *head)
{
    head_must_be_clean(head);
    MUST(count(head, BLITZ_F_TRANSFER_ENCODING) == 0, "transfer-encoding");
    MUST(count(head, BLITZ_F_CONNECTION) == 0, "connection");
    MUST(count(head, BLITZ_F_UPGRADE) == 0, "upgrade");
    MUST(count(head, BLITZ_F_CONTENT_LENGTH) <= 1, "content-length");
    MUST(count(head, BLITZ_F_HOST) == (head->kind == BLITZ_REQUEST ? 1 : 0), "host");
}

static void begin(blitz_exchange *exchange, uint8_t what)
{
    static const uint8_t body[] = "a body \xff";
    blitz_exchange_reset(exchange);
    const uint8_t *target = (const uint8_t *)"/path?q=1", *method = (const uint8_t *)"GET";
    MUST(blitz_head_start_request(exchange->request, method, 3, target, 9, 1) == 0, "request");
    MUST(blitz_head_add(exchange->request, (const uint8_t *)"Host", 4, (const uint8_t *)"a.example", 9) == 0, "host");
    MUST(blitz_head_add(exchange->request, (const uint8_t *)"K", 1, (const uint8_t *)"\xff\xfe", 2) == 0, "field");
    MUST(blitz_head_check(exchange->request, NULL, 0) == 0, "check");
    MUST(blitz_head_start_response(exchange->response, 200, NULL, 0, 1) == 0, "response");
    MUST(blitz_head_add(exchange->response, (const uint8_t *)"K", 1, (const uint8_t *)"v", 1) == 0, "field");
    MUST(blitz_head_check(exchange->response, method, 3) == 0, "check");
    exchange->body = (blitz_text){body, what & 4 ? sizeof body - 1 : 0};
    static const uint8_t hooks[] = {BLITZ_HOOK_RESPONSE, BLITZ_HOOK_REQUEST, BLITZ_HOOK_RESPONSE_CHUNK,
                                    BLITZ_HOOK_REQUEST_CHUNK};
    static uint8_t room[64];
    const blitz_part_call part = {.into = room, .room = what & 64 ? sizeof room : 0};
    instance.hook = hooks[(what & 1) | (what & 32 ? 2 : 0)];
    blitz_part_begin(&instance, &part);
    instance.exchange = what & 2 ? exchange : NULL;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static blitz_exchange *exchange;
    if (exchange == NULL) {
        stand_in();
        area = guard_new(MOST_MEMORY);
        exchange = blitz_exchange_new();
        instance.plugin = new_plugin();
        instance.enter.store_id = instance.memory.of.store_id = instance.parts[BLITZ_X_ALLOC].store_id = STORE;
        instance.has_exports = instance.running = true;
    }
    source in = {data, data + size};
    input = &in;
    uint8_t what = take_byte(&in);
    memory_size = take_word(&in) % 4096;
    instance.memory_base = area.end - memory_size;
    begin(exchange, what);
    for (size_t i = 0; i < memory_size; i++)      /* what the input brings, repeated */
        *(area.end - memory_size + i) = size > 0 ? data[i % size] : 0;
    instance.faulted = false;
    instance.log_used = 0;
    bool alive = true;
    while (alive && in.at < in.end)
        alive = call_host(&in);
    blitz_log_end_call(&instance);
    log_must_be_lines(blitz_instance_take_log(&instance));
    char why[160];
    int kind = instance.hook == BLITZ_HOOK_REQUEST ? BLITZ_REQUEST : BLITZ_RESPONSE;
    bool is_message = instance.hook == BLITZ_HOOK_REQUEST || instance.hook == BLITZ_HOOK_RESPONSE;
    MUST(instance.part.out.len <= instance.plugin->limits.max_part_size, "a part over its limit");
    blitz_part_forget(&instance);
    if (alive && is_message && instance.exchange != NULL &&
        blitz_edits_commit(exchange, kind, what & 8, what & 128, why, sizeof why) < 0)
        MUST(strlen(why) > 0, "a refusal without a reason");
    head_must_be_ours(exchange->request);
    head_must_be_ours(exchange->response);
    return 0;
}
