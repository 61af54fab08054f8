/* parts.c: hooks on streams: the parts of a body as they pass, and the end of a stream.
 *
 * A part is bytes of any kind. It is lent to the guest as arguments are (arguments.c), and what the guest gives back
 * for it (set_chunk) is copied at once, to where the caller wants it if there is room, else to memory of the instance: so
 * memory is bounded by the plugin's limit, and the guest may use its own again. Which part goes through which
 * plugin, and where what comes of it goes, is blitz/wasm/parts.py.
 */
#include "parts.h"
#include "arguments.h"
#include "host_calls.h"
#include <stdlib.h>

typedef wasmtime_val_raw_t raw;
/* A fixed area that is smaller than this is meant for methods and paths: parts go through the allocator, if there is one.
 * Memory for what is given back grows by doubling, from FIRST on.
 * No more than KEEP of it stays with an instance whose stream is over. */
enum { USEFUL_BUFFER = 4096, FIRST = 4096, KEEP = 4096 };

/* ---------------------------------------------------------------- calls */

void blitz_part_begin(blitz_instance *instance, const blitz_part_call *part)
{
    blitz_part_call *own = &instance->part;
    own->in = part->in;
    own->end = part->end;
    own->into = part->into;
    own->room = part->room;
    own->out = (blitz_text){NULL, 0};
    own->is_set = false;
}

int blitz_call_part(blitz_instance *instance, blitz_exchange *exchange, int which, const uint8_t *data, size_t len,
                    int end, uint8_t *into, size_t room)
{
    blitz_part_call part = {.in = {data, len}, .end = end != 0, .into = into, .room = room};
    int hook = which == BLITZ_PARTS_REQUEST ? BLITZ_HOOK_REQUEST_CHUNK : BLITZ_HOOK_RESPONSE_CHUNK;
    return blitz_call_stream(instance, exchange, hook, &part);
}

int blitz_call_end(blitz_instance *instance, const uint8_t *cause, size_t len)
{
    blitz_part_call part = {.in = {cause, len}};
    return blitz_call_stream(instance, NULL, BLITZ_HOOK_END, &part);
}

blitz_text blitz_part_out(const blitz_instance *instance) { return instance->part.out; }

size_t blitz_part_room(const blitz_instance *instance)
{
    bool fixed = instance->buffer_size >= USEFUL_BUFFER || !blitz_has_part(instance, BLITZ_X_ALLOC);
    return fixed && instance->buffer_size > 0 && instance->buffer_size < BLITZ_MOST_PART ? instance->buffer_size
                                                                                        : BLITZ_MOST_PART;
}

void blitz_plugin_set_changes(blitz_plugin *plugin, int changes) { plugin->changes = (uint8_t)changes; }

bool blitz_part_changes(const blitz_instance *instance)
{
    uint8_t which = instance->hook == BLITZ_HOOK_REQUEST ? BLITZ_PARTS_REQUEST : BLITZ_PARTS_RESPONSE;
    const blitz_chain *chain = &instance->exchange->chain;
    return !instance->skips && (instance->plugin->changes & chain->kind & which) != 0;
}

void blitz_part_forget(blitz_instance *instance)
{
    if (instance->part.own_cap <= KEEP)
        return;
    free(instance->part.own);
    instance->part.own = NULL;
    instance->part.own_cap = 0;
}

/* ---------------------------------------------------------------- on the guest's stack */

wasm_trap_t *blitz_run_part(blitz_instance *instance)
{
    blitz_loan loan = {.n = 1, .raw = true, .purpose = "a part of the body"};
    loan.texts[0] = instance->part.in;
    wasm_trap_t *trap = blitz_lend(instance, &loan);
    if (trap != NULL)
        return trap;
    bool request = instance->hook == BLITZ_HOOK_REQUEST_CHUNK;
    raw slots[3] = {blitz_raw(loan.out[0].offset), blitz_raw(loan.out[0].len), blitz_raw(instance->part.end)};
    trap = blitz_abi_call(instance, request ? BLITZ_X_REQUEST_CHUNK : BLITZ_X_RESPONSE_CHUNK, slots, 3);
    return trap != NULL ? trap : blitz_take_back(instance, &loan);
}

wasm_trap_t *blitz_run_end(blitz_instance *instance)
{
    blitz_loan loan = {.n = 1, .purpose = "process_end's cause"};
    loan.texts[0] = instance->part.in;
    wasm_trap_t *trap = blitz_lend(instance, &loan);
    if (trap != NULL)
        return trap;
    raw slots[2] = {blitz_raw(loan.out[0].offset), blitz_raw(loan.out[0].len)};
    trap = blitz_abi_call(instance, BLITZ_X_END, slots, 2);
    return trap != NULL ? trap : blitz_take_back(instance, &loan);
}

/* ---------------------------------------------------------------- host functions */

static uint8_t *own_room(blitz_part_call *part, size_t len)
{
    size_t cap = part->own_cap > 0 ? part->own_cap : FIRST;
    while (cap < len)
        cap *= 2;
    if (cap != part->own_cap) {
        uint8_t *made = realloc(part->own, cap);
        if (made == NULL)
            return NULL;
        part->own = made;
        part->own_cap = cap;
    }
    return part->own;
}

wasm_trap_t *call_set_chunk(void *env, wasmtime_caller_t *caller, raw *slots, size_t n)
{
    (void)n;
    blitz_call call;
    blitz_text chunk;
    if (!blitz_call_open(&call, env, caller) || !blitz_call_bytes(&call, slots[0], slots[1], "chunk", &chunk))
        return call.trap;
    blitz_instance *instance = call.instance;
    blitz_part_call *part = &instance->part;
    if (instance->hook != BLITZ_HOOK_REQUEST_CHUNK && instance->hook != BLITZ_HOOK_RESPONSE_CHUNK)
        return blitz_call_refuse(&call, "there is no part in hand outside process_request_chunk and process_response_chunk");
    if (chunk.len > instance->plugin->limits.max_part_size)
        return blitz_trap(instance, BLITZ_FAULT_MEMORY, 0, "set_chunk: the part is %zu bytes, limit %u (max_body)",
                          chunk.len, instance->plugin->limits.max_part_size);
    uint8_t *to = chunk.len <= part->room ? part->into : own_room(part, chunk.len);
    if (to == NULL && chunk.len > 0)
        return blitz_trap(instance, BLITZ_FAULT_MEMORY, 0, "set_chunk: the host is out of memory");
    if (chunk.len > 0)
        memcpy(to, chunk.ptr, chunk.len);
    part->out = (blitz_text){to, chunk.len};
    part->is_set = true;
    return NULL;
}

wasm_trap_t *call_skip_body(void *env, wasmtime_caller_t *caller, raw *slots, size_t n)
{
    (void)slots, (void)n;
    blitz_call call;
    if (!blitz_call_open(&call, env, caller))
        return call.trap;
    int hook = call.instance->hook;
    if (hook != BLITZ_HOOK_REQUEST && hook != BLITZ_HOOK_RESPONSE)
        return blitz_call_refuse(&call, "only a hook that sees a head can leave its body out");
    call.instance->skips = true;
    return NULL;
}
