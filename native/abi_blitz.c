/* abi_blitz.c: the Blitz ABI, in either spelling: its hooks' arguments, verdicts and ends. Its functions for guests are
 * in the host_*.c.
 *
 *   init:     [START, INIT, BUFFER, BUFFER_SIZE]
 *   request:  [write method and path, REQUEST, free]
 *   response: [write body, RESPONSE, free]
 *   cleanup:  [CLEANUP]
 *   parts of bodies, and the end of a stream: parts.c
 */
#include "arguments.h"
#include "edits.h"
#include "parts.h"
#include "store_call.h"
#include <stdio.h>

typedef wasmtime_val_raw_t raw;

/* ---------------------------------------------------------------- entering hooks */

static wasm_trap_t *run_request(blitz_instance *instance)
{
    const blitz_head *head = instance->exchange->request;
    blitz_loan loan = {.n = 2, .purpose = "process_request's method and path"};
    loan.texts[0] = (blitz_text){blitz_head_at(head, head->method), head->method.len};
    loan.texts[1] = (blitz_text){blitz_head_at(head, head->target), head->target.len};
    wasm_trap_t *trap = blitz_lend(instance, &loan);
    if (trap != NULL)
        return trap;
    raw slots[4] = {blitz_raw(loan.out[0].offset), blitz_raw(loan.out[0].len), blitz_raw(loan.out[1].offset),
                    blitz_raw(loan.out[1].len)};
    trap = blitz_abi_call(instance, BLITZ_X_REQUEST, slots, 4);
    return trap != NULL ? trap : blitz_take_back(instance, &loan);
}

static wasm_trap_t *run_response(blitz_instance *instance)
{
    if (blitz_has_part(instance, BLITZ_X_RESPONSE_HEAD)) {
        raw status = blitz_raw(instance->exchange->response->status);
        return blitz_abi_call(instance, BLITZ_X_RESPONSE_HEAD, &status, 1);
    }
    blitz_loan loan = {.n = 1, .purpose = "process_response's body"};
    loan.texts[0] = instance->exchange->body;
    wasm_trap_t *trap = blitz_lend(instance, &loan);
    if (trap != NULL)
        return trap;
    raw slots[3] = {blitz_raw(instance->exchange->response->status), blitz_raw(loan.out[0].offset),
                    blitz_raw(loan.out[0].len)};
    trap = blitz_abi_call(instance, BLITZ_X_RESPONSE, slots, 3);
    return trap != NULL ? trap : blitz_take_back(instance, &loan);
}

static wasm_trap_t *ask(blitz_instance *instance, int part, uint32_t *answer)
{
    raw slot = blitz_raw(0);
    if (!blitz_store_call(instance, part, &slot, 1))
        return blitz_store_trap(instance);
    *answer = (uint32_t)slot.i32;
    return NULL;
}

static wasm_trap_t *find_buffer(blitz_instance *instance)
{
    if (!blitz_has_part(instance, BLITZ_X_BUFFER) || !blitz_has_part(instance, BLITZ_X_BUFFER_SIZE))
        return NULL;
    uint32_t at = 0, size = 0;
    wasm_trap_t *trap = ask(instance, BLITZ_X_BUFFER, &at);
    if (trap == NULL)
        trap = ask(instance, BLITZ_X_BUFFER_SIZE, &size);
    if (trap != NULL)
        return trap;
    if (!blitz_guest_fits(instance, at, size))
        return blitz_trap(instance, BLITZ_FAULT_INIT, 0, "blitz_buffer (%u bytes at %u) is outside the memory", size,
                          at);
    instance->buffer = at;
    instance->buffer_size = size;
    return NULL;
}

static wasm_trap_t *run_init(blitz_instance *instance)
{
    raw slot = blitz_raw(0);
    if (blitz_has_part(instance, BLITZ_X_START) && !blitz_store_call(instance, BLITZ_X_START, &slot, 1))
        return blitz_store_trap(instance);
    if (blitz_has_part(instance, BLITZ_X_INIT)) {
        wasm_trap_t *trap = blitz_abi_call(instance, BLITZ_X_INIT, &slot, 1);
        if (trap != NULL)
            return trap;
    }
    return instance->result == 0 ? find_buffer(instance) : NULL;
}

static wasm_trap_t *run_cleanup(blitz_instance *instance)
{
    raw slot = blitz_raw(0);
    return blitz_abi_call(instance, BLITZ_X_CLEANUP, &slot, 1);
}

/* ---------------------------------------------------------------- what comes of them */

static bool needs_init(const blitz_plugin *plugin)
{
    const blitz_part *parts = plugin->parts;
    return parts[BLITZ_X_START].used || parts[BLITZ_X_INIT].used || parts[BLITZ_X_BUFFER].used;
}

static int verdict(const blitz_instance *instance, char *why, size_t why_cap)
{
    int32_t result = instance->result;
    if (instance->hook == BLITZ_HOOK_END)
        return BLITZ_V_CONTINUE;
    if (instance->hook == BLITZ_HOOK_CLEANUP)
        return result == 0 ? BLITZ_V_CONTINUE : BLITZ_V_ERROR;
    if (result == 0)
        return BLITZ_V_CONTINUE;
    if (instance->hook == BLITZ_HOOK_INIT) {
        snprintf(why, why_cap, "init returned %d, wanted 0", result);
        return BLITZ_E_SYNTAX;
    }
    if (result == 1 || result == -1)
        return result == 1 ? BLITZ_V_STOP : BLITZ_V_ERROR;
    snprintf(why, why_cap, "the hook returned %d, which is no verdict (0, 1 or -1)", result);
    return BLITZ_E_SYNTAX;
}

static int end(blitz_instance *instance, int verdict_, char *why, size_t why_cap)
{
    if (instance->hook != BLITZ_HOOK_REQUEST && instance->hook != BLITZ_HOOK_RESPONSE)
        return instance->part.is_set ? BLITZ_R_BODY : 0;
    int kind = instance->hook == BLITZ_HOOK_REQUEST ? BLITZ_REQUEST : BLITZ_RESPONSE;
    return blitz_edits_commit(instance->exchange, kind, verdict_ == BLITZ_V_STOP, blitz_part_changes(instance), why,
                              why_cap);
}

static const char *const TYPES[BLITZ_X_COUNT][2] = {
    [BLITZ_X_START] = {":"},       [BLITZ_X_INIT] = {":i"},    [BLITZ_X_REQUEST] = {"iiii:i"},
    [BLITZ_X_RESPONSE] = {"iii:i"}, [BLITZ_X_CLEANUP] = {":i"}, [BLITZ_X_ALLOC] = {"i:i", "ii:i"},
    [BLITZ_X_FREE] = {"i:", "ii:"}, [BLITZ_X_BUFFER] = {":i"},  [BLITZ_X_BUFFER_SIZE] = {":i"},
    [BLITZ_X_EXTERNREFS] = {"tx"},  [BLITZ_X_RESPONSE_HEAD] = {"i:i"},
    [BLITZ_X_REQUEST_CHUNK] = {"iii:i"}, [BLITZ_X_RESPONSE_CHUNK] = {"iii:i"}, [BLITZ_X_END] = {"ii:"},
};

const blitz_abi blitz_abi_blitz = {
    .name = "blitz/1",
    .types = TYPES,
    .hooks = {
        [BLITZ_HOOK_INIT] = {-1, run_init, 0},
        [BLITZ_HOOK_REQUEST] = {BLITZ_X_REQUEST, run_request, 0},
        [BLITZ_HOOK_RESPONSE] = {BLITZ_X_RESPONSE, run_response, BLITZ_X_RESPONSE_HEAD},
        [BLITZ_HOOK_CLEANUP] = {BLITZ_X_CLEANUP, run_cleanup, 0},
        [BLITZ_HOOK_REQUEST_CHUNK] = {BLITZ_X_REQUEST_CHUNK, blitz_run_part, 0},
        [BLITZ_HOOK_RESPONSE_CHUNK] = {BLITZ_X_RESPONSE_CHUNK, blitz_run_part, 0},
        [BLITZ_HOOK_END] = {BLITZ_X_END, blitz_run_end, 0},
    },
    .needs_init = needs_init,
    .verdict = verdict,
    .end = end,
};
