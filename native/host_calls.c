/* host_calls.c: the functions of the Blitz ABI that a guest imports (table: host_calls.def).
 *
 * Two spellings share one function. A string result goes
 *   plain:         to a caller's buffer (.., buf, cap) -> full length, or -1 when there is no value;
 *   wasm-bindgen:  (retptr, ..): into memory of the guest's allocator, with pointer and length stored
 *                  at retptr and retptr + 4; no value is 0, 0 (None; the empty String).
 * A bad pointer or a value that may not leave the gateway traps with a sentence that names function and
 * argument: a guest cannot go on after it, and its edits are thrown away.
 */
#define _GNU_SOURCE
#include "host_calls.h"
#include "edits.h"
#include "kv.h"
#include "store_call.h"
#include "wasi.h"
#include <stdio.h>
#include <strings.h>
#include <time.h>

typedef wasmtime_val_raw_t raw;
enum { MAX_RANDOM = 65536, MAX_KEY = 256, LEVEL_INFO = 2 };
static const char NEGATIVE_TTL[] = "ttl_ms must be 0 (as long as there is room) or more";

/* ---------------------------------------------------------------- arguments and results */

static blitz_instance *instance_of(wasmtime_caller_t *caller)
{
    return blitz_wt.wasmtime_context_get_data(blitz_wt.wasmtime_caller_context(caller));
}

/* A start section runs before the instance is complete: then its first host function looks for the exports.
 * Later the caller need not be the guest: an export may be a host function, and we its caller. */
static wasm_trap_t *know_exports(blitz_instance *instance, wasmtime_caller_t *caller)
{
    if (!instance->has_exports && !blitz_store_find_exports(instance, caller))
        return blitz_trap(instance, BLITZ_FAULT_HOST, 0, "the guest called a host function before its exports are "
                          "there: call it from _initialize or init");
    instance->has_exports = true;
    return NULL;
}

bool blitz_call_open(blitz_call *call, void *env, wasmtime_caller_t *caller)
{
    call->instance = instance_of(caller);
    call->binding = env;
    call->trap = know_exports(call->instance, caller);
    call->memory = blitz_store_memory(call->instance);
    call->size = blitz_store_memory_size(call->instance);
    return call->trap == NULL;
}

static void outside(blitz_call *call, uint32_t pointer, uint64_t len, const char *argument)
{
    call->trap = blitz_trap(call->instance, BLITZ_FAULT_HOST, 0,
                            "%s: %s (pointer %u, %llu bytes) is outside the memory of %zu bytes",
                            blitz_call_name(call), argument, pointer, (unsigned long long)len, call->size);
}

bool blitz_call_bytes(blitz_call *call, raw pointer, raw len, const char *argument, blitz_text *out)
{
    uint32_t at = (uint32_t)pointer.i32, n = (uint32_t)len.i32;
    if (at > call->size || n > call->size - at) {
        outside(call, at, n, argument);
        return false;
    }
    *out = (blitz_text){call->memory + at, n};
    return true;
}

static wasm_trap_t *refuse(blitz_call *call, const char *why)
{
    return blitz_trap(call->instance, BLITZ_FAULT_HOST, 0, "%s: %s", blitz_call_name(call), why);
}

static void store_u32(uint8_t *at, uint32_t value)
{
    uint8_t bytes[4] = {(uint8_t)value, (uint8_t)(value >> 8), (uint8_t)(value >> 16), (uint8_t)(value >> 24)};
    memcpy(at, bytes, sizeof bytes);
}

/* buf and cap are slots[0] and slots[1]; the result goes to *result. */
static wasm_trap_t *give_plain(blitz_call *call, const raw *slots, raw *result, blitz_text value)
{
    blitz_text buffer;
    if (!blitz_call_bytes(call, slots[0], slots[1], "buf", &buffer))
        return call->trap;
    size_t n = value.len < buffer.len ? value.len : buffer.len;
    if (n > 0)
        memcpy(call->memory + (uint32_t)slots[0].i32, value.ptr, n);
    result->i64 = value.ptr == NULL ? (uint32_t)-1 : (int64_t)(uint32_t)value.len;
    return NULL;
}

static wasm_trap_t *give_bindgen(blitz_call *call, uint32_t retptr, blitz_text value)
{
    blitz_instance *instance = call->instance;
    uint32_t at = value.ptr == NULL ? 0 : 1, size = (uint32_t)blitz_utf8_size(value);
    if (blitz_call_area(call, retptr, 8, "retptr") == NULL)
        return call->trap;
    if (size > 0) {
        wasm_trap_t *trap = blitz_guest_alloc(instance, size, blitz_call_name(call), &at);
        if (trap != NULL)
            return trap;
        call->memory = blitz_store_memory(instance);
        blitz_write_text(call->memory + at, size, value);
    }
    store_u32(call->memory + retptr, at);
    store_u32(call->memory + retptr + 4, size);
    return NULL;
}

/* Give a string result in the caller's spelling. value.ptr NULL: no such value. first: index of buf
 * among the plain arguments. */
static wasm_trap_t *give(blitz_call *call, raw *slots, size_t first, blitz_text value)
{
    if (value.len > INT32_MAX)
        value.len = INT32_MAX;
    if (call->binding->how == BLITZ_BIND_BINDGEN)
        return give_bindgen(call, (uint32_t)slots[0].i32, value);
    return give_plain(call, slots + first, slots, value);
}

/* Where the arguments begin: behind retptr in wasm-bindgen's spelling of a string result. */
static const raw *arguments(const blitz_call *call, const raw *slots)
{
    return call->binding->how == BLITZ_BIND_BINDGEN ? slots + 1 : slots;
}

/* ---------------------------------------------------------------- log, environment, config */

static int level_of(blitz_text level)
{
    static const char *const names[] = {"trace", "debug", "info", "warn", "error"};
    for (int i = 0; i < 5; i++)
        if (level.len == strlen(names[i]) && strncasecmp((const char *)level.ptr, names[i], level.len) == 0)
            return i;
    return LEVEL_INFO;
}

static wasm_trap_t *call_log(void *env, wasmtime_caller_t *caller, raw *slots, size_t n)
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

static blitz_text value_of(const blitz_pairs *pairs, const uint8_t *key, size_t len)
{
    const blitz_pair *pair = blitz_pairs_find(pairs, key, len);
    return pair == NULL ? (blitz_text){NULL, 0} : (blitz_text){pair->value, pair->value_len};
}

static wasm_trap_t *call_get_env(void *env, wasmtime_caller_t *caller, raw *slots, size_t n)
{
    (void)n;
    blitz_call call;
    blitz_text name;
    if (!blitz_call_open(&call, env, caller))
        return call.trap;
    const raw *arguments_ = arguments(&call, slots);
    if (!blitz_call_bytes(&call, arguments_[0], arguments_[1], "name", &name))
        return call.trap;
    return give(&call, slots, 2, value_of(&call.instance->plugin->env, name.ptr, name.len));
}

static wasm_trap_t *call_get_config(void *env, wasmtime_caller_t *caller, raw *slots, size_t n)
{
    (void)n;
    blitz_call call;
    if (!blitz_call_open(&call, env, caller))
        return call.trap;
    return give(&call, slots, 0, value_of(&call.instance->plugin->config, NULL, 0));
}

/* ---------------------------------------------------------------- reading the message in hand */

/* NULL while there is none (init, cleanup). */
static const blitz_head *head_in_hand(const blitz_instance *instance)
{
    if (instance->exchange == NULL)
        return NULL;
    return instance->hook == BLITZ_HOOK_REQUEST ? instance->exchange->request : instance->exchange->response;
}

static blitz_text span_of(const blitz_head *head, blitz_span span)
{
    return (blitz_text){blitz_at(head, span), span.len};
}

static blitz_text field_value(const blitz_head *head, blitz_text name)
{
    int found = head == NULL ? -1 : blitz_head_find(head, name.ptr, name.len, 0);
    return found < 0 ? (blitz_text){NULL, 0} : span_of(head, head->fields[found].value);
}

static wasm_trap_t *call_get_header(void *env, wasmtime_caller_t *caller, raw *slots, size_t n)
{
    (void)n;
    blitz_call call;
    blitz_text name;
    if (!blitz_call_open(&call, env, caller))
        return call.trap;
    const raw *arguments_ = arguments(&call, slots);
    if (!blitz_call_bytes(&call, arguments_[0], arguments_[1], "name", &name))
        return call.trap;
    return give(&call, slots, 2, field_value(head_in_hand(call.instance), name));
}

static wasm_trap_t *call_get_body(void *env, wasmtime_caller_t *caller, raw *slots, size_t n)
{
    (void)n;
    blitz_call call;
    if (!blitz_call_open(&call, env, caller))
        return call.trap;
    const blitz_exchange *exchange = call.instance->exchange;
    return give(&call, slots, 0, exchange == NULL ? (blitz_text){NULL, 0} : exchange->body);
}

/* ---------------------------------------------------------------- properties */

typedef enum {
    P_CLIENT_ADDRESS, P_CLIENT_PORT, P_REQUEST_ID, P_REQUEST_METHOD, P_REQUEST_PATH, P_REQUEST_PATH_CANONICAL,
    P_REQUEST_HOST,
    P_RESPONSE_STATUS, P_ROUTE_NAME, P_UPSTREAM_ADDRESS, P_TLS_VERSION, P_TLS_CIPHER, P_TLS_SNI,
    P_TLS_CLIENT_SUBJECT, P_TLS_CLIENT_SHA256, P_PLUGIN_NAME, P_PLUGIN_CONFIG, P_BODY_TRUNCATED, P_COUNT
} property;

static const char *const PROPERTIES[P_COUNT] = {
    "client.address", "client.port", "request.id", "request.method", "request.path", "request.path.canonical", "request.host",
    "response.status", "route.name", "upstream.address", "tls.version", "tls.cipher", "tls.sni",
    "tls.client_subject", "tls.client_sha256", "plugin.name", "plugin.config", "body.truncated",
};

static property property_named(blitz_text name)
{
    int at = 0;
    while (at < P_COUNT && (strlen(PROPERTIES[at]) != name.len || memcmp(PROPERTIES[at], name.ptr, name.len) != 0))
        at++;
    return (property)at;
}

static blitz_text peer_property(const blitz_peer *peer, property which)
{
    if (peer == NULL)
        return (blitz_text){NULL, 0};
    switch (which) {
    case P_CLIENT_ADDRESS: return peer->address;
    case P_CLIENT_PORT: return peer->port;
    case P_TLS_VERSION: return peer->tls_version;
    case P_TLS_CIPHER: return peer->tls_cipher;
    case P_TLS_SNI: return peer->tls_sni;
    case P_TLS_CLIENT_SUBJECT: return peer->tls_client_subject;
    default: return peer->tls_client_sha256;
    }
}

static blitz_text exchange_property(const blitz_instance *instance, property which, char number[12])
{
    blitz_exchange *exchange = instance->exchange;
    const blitz_head *request = exchange->request;
    switch (which) {
    case P_REQUEST_ID:
        blitz_exchange_id(exchange);
        return exchange->request_id;
    case P_REQUEST_METHOD: return span_of(request, request->method);
    case P_REQUEST_PATH: return span_of(request, request->target);
    case P_REQUEST_PATH_CANONICAL: return blitz_exchange_path(exchange);
    case P_REQUEST_HOST: return span_of(request, request->host);
    case P_ROUTE_NAME: return exchange->route;
    case P_UPSTREAM_ADDRESS: return exchange->upstream;
    case P_BODY_TRUNCATED: return (blitz_text){(const uint8_t *)(exchange->body_truncated ? "1" : "0"), 1};
    case P_RESPONSE_STATUS:
        if (instance->hook != BLITZ_HOOK_RESPONSE)
            return (blitz_text){NULL, 0};
        int n = snprintf(number, 12, "%u", exchange->response->status);
        return (blitz_text){(const uint8_t *)number, (size_t)n};
    default: return peer_property(exchange->peer, which);
    }
}

/* What follows the prefix in name; len 0: it is another name. */
static blitz_text behind(blitz_text name, const char *prefix)
{
    size_t len = strlen(prefix);
    bool begins = name.len > len && memcmp(name.ptr, prefix, len) == 0;
    return begins ? (blitz_text){name.ptr + len, name.len - len} : (blitz_text){NULL, 0};
}

/* A plugin reads the first of several fields, an upstream may obey another. */
static blitz_text field_count(const blitz_head *head, blitz_text field, char number[12])
{
    if (head == NULL)
        return (blitz_text){NULL, 0};
    int n = snprintf(number, 12, "%u", blitz_head_count(head, field.ptr, field.len));
    return (blitz_text){(const uint8_t *)number, (size_t)n};
}

static blitz_text property_value(const blitz_instance *instance, blitz_text name, char number[12])
{
    const blitz_plugin *plugin = instance->plugin;
    blitz_text key = behind(name, "config."), field = behind(name, "header.count.");
    if (key.len > 0)
        return value_of(&plugin->config, key.ptr, key.len);
    if (field.len > 0)
        return field_count(head_in_hand(instance), field, number);
    property which = property_named(name);
    if (which == P_PLUGIN_NAME)
        return (blitz_text){(const uint8_t *)plugin->name, plugin->name_len};
    if (which == P_PLUGIN_CONFIG)
        return value_of(&plugin->config, NULL, 0);
    if (which == P_COUNT || instance->exchange == NULL)
        return (blitz_text){NULL, 0};
    return exchange_property(instance, which, number);
}

static bool is_missing(const blitz_instance *instance, blitz_text name, blitz_text value)
{
    return value.ptr == NULL && instance->exchange != NULL && property_named(name) == P_REQUEST_PATH_CANONICAL;
}

static wasm_trap_t *call_get_property(void *env, wasmtime_caller_t *caller, raw *slots, size_t n)
{
    (void)n;
    blitz_call call;
    blitz_text name;
    char number[12];
    if (!blitz_call_open(&call, env, caller))
        return call.trap;
    const raw *arguments_ = arguments(&call, slots);
    if (!blitz_call_bytes(&call, arguments_[0], arguments_[1], "name", &name))
        return call.trap;
    blitz_text value = property_value(call.instance, name, number);
    if (is_missing(call.instance, name, value))      /* a guard must not take this for another path */
        return refuse(&call, blitz_edit_why(BLITZ_EDIT_NOMEM));
    return give(&call, slots, 2, value);
}

/* ---------------------------------------------------------------- editing the message in hand */

/* The edit log of the call, or NULL with a trap: start-up and clean-up have no message. */
static blitz_edits *edits_of(blitz_call *call)
{
    if (call->instance->exchange != NULL)
        return call->instance->exchange->edits;
    call->trap = refuse(call, "there is no message outside process_request and process_response");
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

static wasm_trap_t *call_set_header(void *env, wasmtime_caller_t *caller, raw *slots, size_t n)
{
    (void)n;
    return edit_field(env, caller, slots, BLITZ_EDIT_SET);
}

static wasm_trap_t *call_add_header(void *env, wasmtime_caller_t *caller, raw *slots, size_t n)
{
    (void)n;
    return edit_field(env, caller, slots, BLITZ_EDIT_ADD);
}

static wasm_trap_t *call_remove_header(void *env, wasmtime_caller_t *caller, raw *slots, size_t n)
{
    (void)n;
    return edit_field(env, caller, slots, BLITZ_EDIT_REMOVE);
}

static wasm_trap_t *call_set_status(void *env, wasmtime_caller_t *caller, raw *slots, size_t n)
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

static wasm_trap_t *call_set_body(void *env, wasmtime_caller_t *caller, raw *slots, size_t n)
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
    call->trap = refuse(call, "only process_request can change it: the request is already on its way");
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

static wasm_trap_t *call_set_path(void *env, wasmtime_caller_t *caller, raw *slots, size_t n)
{
    (void)n;
    return edit_request(env, caller, slots, "path", blitz_edits_target);
}

static wasm_trap_t *call_set_method(void *env, wasmtime_caller_t *caller, raw *slots, size_t n)
{
    (void)n;
    return edit_request(env, caller, slots, "method", blitz_edits_method);
}

/* ---------------------------------------------------------------- clock, chance, shared state */

static int64_t now_ms(void)
{
    struct timespec now;
    clock_gettime(CLOCK_REALTIME, &now);
    return (int64_t)now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

static wasm_trap_t *call_now_ms(void *env, wasmtime_caller_t *caller, raw *slots, size_t n)
{
    (void)env, (void)caller, (void)n;
    slots[0].i64 = now_ms();
    return NULL;
}

/* JavaScript's Date.now(). */
static wasm_trap_t *call_date_now(void *env, wasmtime_caller_t *caller, raw *slots, size_t n)
{
    (void)env, (void)caller, (void)n;
    slots[0].f64 = (double)now_ms();
    return NULL;
}

static wasm_trap_t *call_random(void *env, wasmtime_caller_t *caller, raw *slots, size_t n)
{
    (void)n;
    blitz_call call;
    blitz_text area;
    if (!blitz_call_open(&call, env, caller) || !blitz_call_bytes(&call, slots[0], slots[1], "buf", &area))
        return call.trap;
    if (area.len > MAX_RANDOM)
        return refuse(&call, "more than 65536 bytes in one call");
    if (blitz_random(call.memory + (uint32_t)slots[0].i32, area.len) != 0)
        return refuse(&call, "the kernel gave no random bytes");
    return NULL;
}

/* ---------------------------------------------------------------- state that workers share */

typedef struct { uint8_t bytes[2 * MAX_KEY + 1]; size_t len; } own_key;

/* The plugin's namespace and a NUL, which no namespace contains, before the key. */
static bool open_key(blitz_call *call, void *env, wasmtime_caller_t *caller, const raw *slots, own_key *out)
{
    blitz_text key;
    if (!blitz_call_open(call, env, caller))
        return false;
    const raw *arguments_ = arguments(call, slots);
    if (!blitz_call_bytes(call, arguments_[0], arguments_[1], "key", &key))
        return false;
    const blitz_plugin *plugin = call->instance->plugin;
    size_t prefix = strlen(plugin->namespace) + 1;
    if (plugin->shared == NULL)
        call->trap = refuse(call, "the plugin was given no shared state");
    else if (key.len > MAX_KEY || prefix > MAX_KEY + 1)
        call->trap = refuse(call, "the key is longer than 256 bytes");
    if (call->trap != NULL)
        return false;
    memcpy(out->bytes, plugin->namespace, prefix);
    if (key.len > 0)
        memcpy(out->bytes + prefix, key.ptr, key.len);
    out->len = prefix + key.len;
    return true;
}

static wasm_trap_t *call_rate_limit(void *env, wasmtime_caller_t *caller, raw *slots, size_t n)
{
    (void)n;
    blitz_call call;
    own_key key;
    if (!open_key(&call, env, caller, slots, &key))
        return call.trap;
    int32_t per_minute = slots[2].i32, burst = slots[3].i32;
    if (per_minute < 1 || burst < 1)
        return refuse(&call, "per_minute and burst must be at least 1");
    slots[0].i64 = (uint32_t)blitz_shared_rate_limit(call.instance->plugin->shared, key.bytes, key.len,
                                                     (uint32_t)per_minute, (uint32_t)burst,
                                                     blitz_monotonic_ns() / 1000);
    return NULL;
}

static blitz_kv *kv_of(const blitz_call *call) { return blitz_shared_kv(call->instance->plugin->shared); }

static wasm_trap_t *refuse_kv(blitz_call *call, int failed)
{
    if (failed == BLITZ_E_SYNTAX)
        return refuse(call, "the value of the key is no decimal number of 64 bits");
    if (failed == BLITZ_E_LIMIT)
        return refuse(call, "the value is longer than 256 bytes");
    return refuse(call, "another process holds the shared state and does not go on");
}

static wasm_trap_t *call_kv_incr(void *env, wasmtime_caller_t *caller, raw *slots, size_t n)
{
    (void)n;
    blitz_call call;
    own_key key;
    int64_t sum = 0;
    if (!open_key(&call, env, caller, slots, &key))
        return call.trap;
    if (slots[3].i64 < 0)
        return refuse(&call, NEGATIVE_TTL);
    int failed = blitz_kv_incr(kv_of(&call), key.bytes, key.len, slots[2].i64, slots[3].i64,
                               blitz_monotonic_ns() / 1000, &sum);
    if (failed != 0)
        return refuse_kv(&call, failed);
    slots[0].i64 = sum;
    return NULL;
}

static wasm_trap_t *call_kv_set(void *env, wasmtime_caller_t *caller, raw *slots, size_t n)
{
    (void)n;
    blitz_call call;
    own_key key;
    blitz_text value;
    if (!open_key(&call, env, caller, slots, &key) ||
        !blitz_call_bytes(&call, slots[2], slots[3], "value", &value))
        return call.trap;
    if (slots[4].i64 < 0)
        return refuse(&call, NEGATIVE_TTL);
    int failed = blitz_kv_set(kv_of(&call), key.bytes, key.len, value.ptr, value.len, slots[4].i64,
                              blitz_monotonic_ns() / 1000);
    return failed == 0 ? NULL : refuse_kv(&call, failed);
}

/* The value is copied out first: giving it may run the guest's allocator. */
static wasm_trap_t *call_kv_get(void *env, wasmtime_caller_t *caller, raw *slots, size_t n)
{
    (void)n;
    blitz_call call;
    own_key key;
    uint8_t value[BLITZ_KV_MAX_VALUE];
    if (!open_key(&call, env, caller, slots, &key))
        return call.trap;
    int len = blitz_kv_get(kv_of(&call), key.bytes, key.len, blitz_monotonic_ns() / 1000, value);
    if (len == BLITZ_E_DECLINED)
        return give(&call, slots, 2, (blitz_text){NULL, 0});
    return len < 0 ? refuse_kv(&call, len) : give(&call, slots, 2, (blitz_text){value, (size_t)len});
}

/* ---------------------------------------------------------------- wasm-bindgen's own imports */

static wasm_trap_t *call_bindgen_throw(void *env, wasmtime_caller_t *caller, raw *slots, size_t n)
{
    (void)n;
    blitz_call call;
    blitz_text message;
    if (!blitz_call_open(&call, env, caller) || !blitz_call_bytes(&call, slots[0], slots[1], "message", &message))
        return call.trap;
    int shown = message.len < 512 ? (int)message.len : 512;
    return blitz_trap(call.instance, BLITZ_FAULT_TRAP, 0, "the guest threw: %.*s", shown, (const char *)message.ptr);
}

static wasm_trap_t *call_bindgen_rethrow(void *env, wasmtime_caller_t *caller, raw *slots, size_t n)
{
    (void)slots, (void)n;
    blitz_call call;
    if (!blitz_call_open(&call, env, caller))
        return call.trap;
    return blitz_trap(call.instance, BLITZ_FAULT_TRAP, 0, "the guest threw a JavaScript value");
}

/* Handles of JavaScript values are never given out, so there is nothing to drop. */
static wasm_trap_t *call_bindgen_drop(void *env, wasmtime_caller_t *caller, raw *slots, size_t n)
{
    (void)env, (void)caller, (void)slots, (void)n;
    return NULL;
}

/* An import that a module links and need not call. */
wasm_trap_t *blitz_call_unserved(void *env, wasmtime_caller_t *caller, raw *slots, size_t n)
{
    (void)slots, (void)n;
    const blitz_binding *binding = env;
    blitz_instance *instance = instance_of(caller);
    blitz_import import = blitz_module_import(binding->plugin->module, binding->import);
    return blitz_trap(instance, BLITZ_FAULT_HOST, 0, "the guest called %.*s.%.*s, which this host does not serve",
                      (int)import.module.len, (const char *)import.module.ptr, (int)import.name.len,
                      (const char *)import.name.ptr);
}

/* __wbindgen_init_externref_table: four slots for undefined, null, true, false. No JavaScript value is
 * ever passed, so null stands for all of them. */
wasm_trap_t *blitz_call_externref_table(void *env, wasmtime_caller_t *caller, raw *slots, size_t n)
{
    (void)slots, (void)n;
    const blitz_binding *binding = env;
    blitz_instance *instance = instance_of(caller);
    if (!binding->plugin->parts[BLITZ_X_EXTERNREFS].used)
        return NULL;
    wasm_trap_t *trap = know_exports(instance, caller);
    if (trap != NULL || blitz_store_grow_externrefs(instance, 4))
        return trap;
    return blitz_trap(instance, BLITZ_FAULT_MEMORY, 0, "the table of externrefs cannot grow");
}

/* ---------------------------------------------------------------- toolchains' own imports */

static wasm_trap_t *call_nothing(void *env, wasmtime_caller_t *caller, raw *slots, size_t n)
{
    (void)env, (void)caller, (void)slots, (void)n;
    return NULL;
}

/* An AssemblyScript string: UTF-16, its size in bytes in the four bytes before it. Narrowed to ASCII,
 * which is what messages and file names of assertions are made of. */
static void narrow(const blitz_call *call, uint32_t at, char *out, size_t cap)
{
    uint32_t size = 0;
    size_t n = 0;
    if (at >= 4 && at <= call->size) {
        memcpy(&size, call->memory + at - 4, sizeof size);
        if (size > call->size - at)
            size = 0;
    }
    for (uint32_t i = 0; i + 1 < size && n + 1 < cap; i += 2)
        out[n++] = call->memory[at + i + 1] == 0 && call->memory[at + i] < 0x80 ? (char)call->memory[at + i] : '?';
    out[n] = 0;
}

/* AssemblyScript's abort(message, file, line, column). */
static wasm_trap_t *call_abort(void *env, wasmtime_caller_t *caller, raw *slots, size_t n)
{
    (void)n;
    blitz_call call;
    char message[200], file[100];
    if (!blitz_call_open(&call, env, caller))
        return call.trap;
    narrow(&call, (uint32_t)slots[0].i32, message, sizeof message);
    narrow(&call, (uint32_t)slots[1].i32, file, sizeof file);
    return blitz_trap(call.instance, BLITZ_FAULT_TRAP, 0, "the guest aborted: %s (%s:%d:%d)", message, file,
                      slots[2].i32, slots[3].i32);
}

/* ---------------------------------------------------------------- the table */

static const blitz_host_function FUNCTIONS[] = {
#define HOST(name, plain, bindgen, group, function) {{#name, plain, bindgen, group}, function},
#include "host_calls.def"
#undef HOST
};

uint32_t blitz_host_n(void) { return sizeof FUNCTIONS / sizeof *FUNCTIONS; }
const blitz_host_function *blitz_host_function_at(uint32_t index) { return &FUNCTIONS[index]; }
blitz_host_row blitz_host_at(uint32_t index) { return FUNCTIONS[index].row; }
