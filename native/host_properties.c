/* host_properties.c: what get_property tells, by name. */
#include "host_calls.h"
#include "edits.h"
#include <stdio.h>

typedef wasmtime_val_raw_t raw;

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
    case P_REQUEST_METHOD: return blitz_call_span(request, request->method);
    case P_REQUEST_PATH: return blitz_call_span(request, request->target);
    case P_REQUEST_PATH_CANONICAL: return blitz_exchange_path(exchange);
    case P_REQUEST_HOST: return blitz_call_span(request, request->host);
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
        return blitz_pairs_value(&plugin->config, key.ptr, key.len);
    if (field.len > 0)
        return field_count(blitz_call_head(instance), field, number);
    property which = property_named(name);
    if (which == P_PLUGIN_NAME)
        return (blitz_text){(const uint8_t *)plugin->name, plugin->name_len};
    if (which == P_PLUGIN_CONFIG)
        return blitz_pairs_value(&plugin->config, NULL, 0);
    if (which == P_COUNT || instance->exchange == NULL)
        return (blitz_text){NULL, 0};
    return exchange_property(instance, which, number);
}

static bool is_missing(const blitz_instance *instance, blitz_text name, blitz_text value)
{
    return value.ptr == NULL && instance->exchange != NULL && property_named(name) == P_REQUEST_PATH_CANONICAL;
}

wasm_trap_t *call_get_property(void *env, wasmtime_caller_t *caller, raw *slots, size_t n)
{
    (void)n;
    blitz_call call;
    blitz_text name;
    char number[12];
    if (!blitz_call_open(&call, env, caller))
        return call.trap;
    const raw *at = blitz_call_arguments(&call, slots);
    if (!blitz_call_bytes(&call, at[0], at[1], "name", &name))
        return call.trap;
    blitz_text value = property_value(call.instance, name, number);
    if (is_missing(call.instance, name, value))      /* a guard must not take this for another path */
        return blitz_call_refuse(&call, blitz_edit_why(BLITZ_EDIT_NOMEM));
    return blitz_call_give(&call, slots, 2, value);
}
