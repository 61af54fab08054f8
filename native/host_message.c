/* host_message.c: what a guest reads: the message in hand, its configuration and environment; and its log. */
#define _GNU_SOURCE
#include "host_calls.h"
#include <strings.h>

typedef wasmtime_val_raw_t raw;
enum { LEVEL_INFO = 2 };

/* ---------------------------------------------------------------- log, environment, config */

static int level_of(blitz_text level)
{
    static const char *const names[] = {"trace", "debug", "info", "warn", "error"};
    for (int i = 0; i < 5; i++)
        if (level.len == strlen(names[i]) && strncasecmp((const char *)level.ptr, names[i], level.len) == 0)
            return i;
    return LEVEL_INFO;
}

wasm_trap_t *call_log(void *env, wasmtime_caller_t *caller, raw *slots, size_t n)
{
    (void)n;
    blitz_call call;
    blitz_text level, message;
    if (!blitz_call_open(&call, env, caller) || !blitz_call_bytes(&call, slots[0], slots[1], "level", &level) ||
        !blitz_call_bytes(&call, slots[2], slots[3], "message", &message))
        return call.trap;
    blitz_log_line(call.instance, level_of(level), message.ptr, message.len);
    return NULL;
}

blitz_text blitz_pairs_value(const blitz_pairs *pairs, const uint8_t *key, size_t len)
{
    const blitz_pair *pair = blitz_pairs_find(pairs, key, len);
    return pair == NULL ? (blitz_text){NULL, 0} : (blitz_text){pair->value, pair->value_len};
}

wasm_trap_t *call_get_env(void *env, wasmtime_caller_t *caller, raw *slots, size_t n)
{
    (void)n;
    blitz_call call;
    blitz_text name;
    if (!blitz_call_open(&call, env, caller))
        return call.trap;
    const raw *at = blitz_call_arguments(&call, slots);
    if (!blitz_call_bytes(&call, at[0], at[1], "name", &name))
        return call.trap;
    return blitz_call_give(&call, slots, 2, blitz_pairs_value(&call.instance->plugin->env, name.ptr, name.len));
}

wasm_trap_t *call_get_config(void *env, wasmtime_caller_t *caller, raw *slots, size_t n)
{
    (void)n;
    blitz_call call;
    if (!blitz_call_open(&call, env, caller))
        return call.trap;
    return blitz_call_give(&call, slots, 0, blitz_pairs_value(&call.instance->plugin->config, NULL, 0));
}

/* ---------------------------------------------------------------- reading the message in hand */

const blitz_head *blitz_call_head(const blitz_instance *instance)
{
    if (instance->exchange == NULL)
        return NULL;
    return blitz_sees_request(instance->hook) ? instance->exchange->request : instance->exchange->response;
}

blitz_text blitz_call_span(const blitz_head *head, blitz_span span)
{
    return (blitz_text){blitz_at(head, span), span.len};
}

static blitz_text field_value(const blitz_head *head, blitz_text name)
{
    int found = head == NULL ? -1 : blitz_head_find(head, name.ptr, name.len, 0);
    return found < 0 ? (blitz_text){NULL, 0} : blitz_call_span(head, head->fields[found].value);
}

wasm_trap_t *call_get_header(void *env, wasmtime_caller_t *caller, raw *slots, size_t n)
{
    (void)n;
    blitz_call call;
    blitz_text name;
    if (!blitz_call_open(&call, env, caller))
        return call.trap;
    const raw *at = blitz_call_arguments(&call, slots);
    if (!blitz_call_bytes(&call, at[0], at[1], "name", &name))
        return call.trap;
    return blitz_call_give(&call, slots, 2, field_value(blitz_call_head(call.instance), name));
}

wasm_trap_t *call_get_body(void *env, wasmtime_caller_t *caller, raw *slots, size_t n)
{
    (void)n;
    blitz_call call;
    if (!blitz_call_open(&call, env, caller))
        return call.trap;
    const blitz_instance *instance = call.instance;
    bool has_body = instance->exchange != NULL &&
                    (instance->hook == BLITZ_HOOK_REQUEST || instance->hook == BLITZ_HOOK_RESPONSE);
    return blitz_call_give(&call, slots, 0, has_body ? instance->exchange->body : (blitz_text){NULL, 0});
}
