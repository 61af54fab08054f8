/* host_edits.c: what a guest asks to change in the message in hand: checked and noted (edits.c), not done yet. */
#include "host_calls.h"
#include "edits.h"
#include <stdio.h>

typedef wasmtime_val_raw_t raw;

/* ---------------------------------------------------------------- editing the message in hand */

/* The edit log of the call, or NULL with a trap: start-up and clean-up have no message. */
static blitz_edits *edits_of(blitz_call *call)
{
    int hook = call->instance->hook;
    bool gone = hook == BLITZ_HOOK_REQUEST_CHUNK || hook == BLITZ_HOOK_RESPONSE_CHUNK;
    if (call->instance->exchange != NULL && !gone)
        return call->instance->exchange->edits;
    call->trap = blitz_call_refuse(call, gone ? "the head is on its way already: change it in the hook that sees it"
                                              : "there is no message outside process_request and process_response");
    return NULL;
}

static wasm_trap_t *refused(blitz_call *call, blitz_edit_refusal refusal, blitz_text what)
{
    if (refusal == BLITZ_EDIT_OK)
        return NULL;
    bool memory = refusal == BLITZ_EDIT_TOO_BIG || refusal == BLITZ_EDIT_TOO_LONG || refusal == BLITZ_EDIT_TOO_MANY || refusal == BLITZ_EDIT_NOMEM;
    int shown = what.len < 64 ? (int)what.len : 64;
    return blitz_trap(call->instance, memory ? BLITZ_FAULT_MEMORY : BLITZ_FAULT_HOST, 0, "%s(%.*s): %s",
                      blitz_call_name(call), shown, what.len > 0 ? (const char *)what.ptr : "",
                      blitz_edit_why(refusal));
}

static const blitz_plugin_limits *limits_of(const blitz_call *call) { return &call->instance->plugin->limits; }

static int kind_of(const blitz_call *call)
{
    return call->instance->hook == BLITZ_HOOK_REQUEST ? BLITZ_REQUEST : BLITZ_RESPONSE;
}

static wasm_trap_t *edit_field(void *env, wasmtime_caller_t *caller, const raw *slots, int op)
{
    blitz_call call;
    blitz_text name, value = {NULL, 0};
    if (!blitz_call_open(&call, env, caller) || !blitz_call_bytes(&call, slots[0], slots[1], "name", &name) ||
        (op != BLITZ_EDIT_REMOVE && !blitz_call_bytes(&call, slots[2], slots[3], "value", &value)))
        return call.trap;
    blitz_edits *edits = edits_of(&call);
    if (edits == NULL)
        return call.trap;
    return refused(&call, blitz_edits_field(edits, limits_of(&call), kind_of(&call), op, name, value), name);
}

wasm_trap_t *call_set_header(void *env, wasmtime_caller_t *caller, raw *slots, size_t n)
{
    (void)n;
    return edit_field(env, caller, slots, BLITZ_EDIT_SET);
}

wasm_trap_t *call_add_header(void *env, wasmtime_caller_t *caller, raw *slots, size_t n)
{
    (void)n;
    return edit_field(env, caller, slots, BLITZ_EDIT_ADD);
}

wasm_trap_t *call_remove_header(void *env, wasmtime_caller_t *caller, raw *slots, size_t n)
{
    (void)n;
    return edit_field(env, caller, slots, BLITZ_EDIT_REMOVE);
}

wasm_trap_t *call_set_status(void *env, wasmtime_caller_t *caller, raw *slots, size_t n)
{
    (void)n;
    blitz_call call;
    blitz_edits *edits = blitz_call_open(&call, env, caller) ? edits_of(&call) : NULL;
    if (edits == NULL)
        return call.trap;
    char digits[12];
    int len = snprintf(digits, sizeof digits, "%d", slots[0].i32);
    return refused(&call, blitz_edits_status(edits, slots[0].i32), (blitz_text){(uint8_t *)digits, (size_t)len});
}

wasm_trap_t *call_set_body(void *env, wasmtime_caller_t *caller, raw *slots, size_t n)
{
    (void)n;
    blitz_call call;
    blitz_text body;
    if (!blitz_call_open(&call, env, caller) || !blitz_call_bytes(&call, slots[0], slots[1], "body", &body))
        return call.trap;
    blitz_edits *edits = edits_of(&call);
    if (edits == NULL)
        return call.trap;
    return refused(&call, blitz_edits_body(edits, limits_of(&call), body), (blitz_text){NULL, 0});
}

/* Path and method are the request's alone. */
static blitz_edits *request_edits(blitz_call *call)
{
    blitz_edits *edits = edits_of(call);
    if (edits == NULL || call->instance->hook == BLITZ_HOOK_REQUEST)
        return edits;
    call->trap = blitz_call_refuse(call, "only process_request can change it: the request is already on its way");
    return NULL;
}

typedef blitz_edit_refusal request_edit(blitz_edits *, const blitz_plugin_limits *, blitz_text);

static wasm_trap_t *edit_request(void *env, wasmtime_caller_t *caller, raw *slots, const char *argument,
                                 request_edit *edit)
{
    blitz_call call;
    blitz_text text;
    if (!blitz_call_open(&call, env, caller) || !blitz_call_bytes(&call, slots[0], slots[1], argument, &text))
        return call.trap;
    blitz_edits *edits = request_edits(&call);
    if (edits == NULL)
        return call.trap;
    return refused(&call, edit(edits, limits_of(&call), text), text);
}

wasm_trap_t *call_set_path(void *env, wasmtime_caller_t *caller, raw *slots, size_t n)
{
    (void)n;
    return edit_request(env, caller, slots, "path", blitz_edits_target);
}

wasm_trap_t *call_set_method(void *env, wasmtime_caller_t *caller, raw *slots, size_t n)
{
    (void)n;
    return edit_request(env, caller, slots, "method", blitz_edits_method);
}
