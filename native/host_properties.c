/* host_properties.c: what get_property tells, by name. */
#include "host_calls.h"
#include "edits.h"

typedef wasmtime_val_raw_t raw;

#define PROPERTIES(X) \
    X(CLIENT_ADDRESS, "client.address") X(CLIENT_PORT, "client.port") X(REQUEST_ID, "request.id") \
    X(REQUEST_METHOD, "request.method") X(REQUEST_PATH, "request.path") \
    X(REQUEST_PATH_CANONICAL, "request.path.canonical") X(REQUEST_HOST, "request.host") \
    X(RESPONSE_STATUS, "response.status") X(ROUTE_NAME, "route.name") X(UPSTREAM_ADDRESS, "upstream.address") \
    X(TLS_VERSION, "tls.version") X(TLS_CIPHER, "tls.cipher") X(TLS_SNI, "tls.sni") \
    X(TLS_CLIENT_SUBJECT, "tls.client_subject") X(TLS_CLIENT_SHA256, "tls.client_sha256") \
    X(PLUGIN_NAME, "plugin.name") X(PLUGIN_CONFIG, "plugin.config") X(BODY_TRUNCATED, "body.truncated")

#define NUMBER(property, name) P_##property,
typedef enum { PROPERTIES(NUMBER) P_COUNT } property;

typedef struct { const char *name; size_t len; } literal;
#define LITERAL(text) {text, sizeof(text) - 1}
#define NAME(property, name) LITERAL(name),
static const literal NAMES[P_COUNT] = {PROPERTIES(NAME)};

/* A plugin asks for several of them in each call: the lengths tell most of them apart. */
static property property_named(blitz_text name)
{
    int at = 0;
    while (at < P_COUNT && (NAMES[at].len != name.len || memcmp(NAMES[at].name, name.ptr, name.len) != 0))
        at++;
    return (property)at;
}

/* The digits, at the end of number. */
static blitz_text decimal(uint32_t value, char number[12])
{
    size_t at = 12;
    do {
        number[--at] = (char)('0' + value % 10);
        value /= 10;
    } while (value > 0);
    return (blitz_text){(const uint8_t *)number + at, 12 - at};
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
        if (!blitz_sees_response(instance->hook))
            return (blitz_text){NULL, 0};
        return decimal(exchange->response->status, number);
    default: return peer_property(exchange->peer, which);
    }
}

/* What follows the prefix in name; len 0: it is another name. */
static blitz_text behind(blitz_text name, literal prefix)
{
    bool begins = name.len > prefix.len && memcmp(name.ptr, prefix.name, prefix.len) == 0;
    return begins ? (blitz_text){name.ptr + prefix.len, name.len - prefix.len} : (blitz_text){NULL, 0};
}

/* A plugin reads the first of several fields, an upstream may obey another. */
static blitz_text field_count(const blitz_head *head, blitz_text field, char number[12])
{
    if (head == NULL)
        return (blitz_text){NULL, 0};
    return decimal(blitz_head_count(head, field.ptr, field.len), number);
}

static blitz_text property_value(const blitz_instance *instance, blitz_text name, char number[12])
{
    static const literal config = LITERAL("config."), count = LITERAL("header.count.");
    const blitz_plugin *plugin = instance->plugin;
    blitz_text key = behind(name, config), field = behind(name, count);
    if (key.len > 0)
        return blitz_pairs_value(&plugin->config, key.ptr, key.len);
    if (field.len > 0)
        return field_count(blitz_call_head(instance), field, number);
    property which = property_named(name);
    if (which == P_PLUGIN_NAME)
        return (blitz_text){(const uint8_t *)plugin->name, plugin->name_len};
    if (which == P_PLUGIN_CONFIG)
        return blitz_pairs_value(&plugin->config, NULL, 0);
    if (which == P_COUNT)
        return instance->exchange != NULL ? blitz_exchange_fact(instance->exchange, name) : (blitz_text){NULL, 0};
    if (instance->exchange == NULL)
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
