/* route_rules.c: what a route does to its requests and responses besides its plugins: who may come, redirects, the path
 * and the fields that upstreams get, the fields that clients get. Both drivers call these; nobody else has the rules.
 *
 * Invariant: nothing that a request says can be more than it was in what is made here. A value that is not field
 * content is as one that is not there. A rewritten path begins with one slash and climbs, however it is read, not above
 * what stands in front of it. A redirect leads to the host that the configuration or the request's Host names, never to
 * one in a path ("//evil").
 */
#include "guest.h"
#include "head.h"
#include "path_table.h"
#include <stdio.h>
#include <string.h>

enum { MAX_VALUE = 8192, MAX_TARGET = 16 * 1024, MAX_LOCATION = 2 * MAX_TARGET };

/* A text that grows: full, and then worth nothing. */
typedef struct { uint8_t *bytes; size_t len, cap; bool full; } text_out;

static void put(text_out *out, const void *bytes, size_t len)
{
    if (out->full || len > out->cap - out->len) {
        out->full = true;
        return;
    }
    if (len > 0)
        memcpy(out->bytes + out->len, bytes, len);
    out->len += len;
}

static void put_text(text_out *out, blitz_text text) { put(out, text.ptr, text.len); }

/* ---------------------------------------------------------------- values */

static blitz_text span_text(const blitz_head *head, blitz_span span)
{
    return span.len > 0 ? (blitz_text){blitz_at(head, span), span.len} : (blitz_text){NULL, 0};
}

static blitz_text path_of(const blitz_head *request)
{
    blitz_text target = span_text(request, request->target);
    const uint8_t *query = target.len > 0 ? memchr(target.ptr, '?', target.len) : NULL;
    return query != NULL ? (blitz_text){target.ptr, (size_t)(query - target.ptr)} : target;
}

static blitz_text query_of(const blitz_head *request)
{
    size_t path = path_of(request).len;
    return path < request->target.len ? (blitz_text){blitz_at(request, request->target) + path, request->target.len - path}
                                      : (blitz_text){NULL, 0};
}

/* What stands behind the prefix, with one slash in front; false: the path is not spelt so, or what is there climbs in
 * some reading. */
static bool rest_of(const blitz_route_rules *rules, const blitz_head *request, blitz_text *rest)
{
    blitz_text path = path_of(request), prefix = rules->prefix;
    if (path.len < prefix.len || (prefix.len > 0 && memcmp(path.ptr, prefix.ptr, prefix.len) != 0))
        return false;
    *rest = (blitz_text){path.ptr + prefix.len, path.len - prefix.len};
    if (rest->len == 0)
        return true;
    if (rest->ptr[0] != '/')
        return false;
    while (rest->len > 1 && blitz_path_is_border(rest->ptr[1]))
        *rest = (blitz_text){rest->ptr + 1, rest->len - 1};
    if (rest->ptr[0] != '/')                     /* "/\x": the slash that is left is no slash */
        return false;
    return blitz_path_find(rules->bounds, 0, rest->ptr, rest->len) >= 0;
}

static blitz_text peer_value(const blitz_peer *peer, uint8_t what)
{
    if (peer == NULL)
        return (blitz_text){NULL, 0};
    switch (what) {
    case BLITZ_VALUE_CLIENT_ADDRESS: return peer->address;
    case BLITZ_VALUE_CLIENT_PORT: return peer->port;
    case BLITZ_VALUE_CLIENT_SCHEME: return peer->client_scheme;
    case BLITZ_VALUE_TLS_VERSION: return peer->tls_version;
    case BLITZ_VALUE_TLS_CIPHER: return peer->tls_cipher;
    case BLITZ_VALUE_TLS_SNI: return peer->tls_sni;
    case BLITZ_VALUE_TLS_SUBJECT: return peer->tls_client_subject;
    default: return peer->tls_client_sha256;
    }
}

static blitz_text value_of(const blitz_rule_part *part, const blitz_route_rules *rules, blitz_exchange *exchange,
                           char number[12])
{
    const blitz_head *request = exchange->request;
    blitz_text rest;
    switch (part->what) {
    case BLITZ_VALUE_TEXT: return part->text;
    case BLITZ_VALUE_REQUEST_ID:
        blitz_exchange_id(exchange);
        return exchange->request_id;
    case BLITZ_VALUE_REQUEST_METHOD: return span_text(request, request->method);
    case BLITZ_VALUE_REQUEST_HOST: return span_text(request, request->host);
    case BLITZ_VALUE_REQUEST_TARGET: return span_text(request, request->target);
    case BLITZ_VALUE_PATH: return path_of(request);
    case BLITZ_VALUE_PATH_REST: return rest_of(rules, request, &rest) ? rest : (blitz_text){NULL, 0};
    case BLITZ_VALUE_PATH_MATCHED: return exchange->matched;
    case BLITZ_VALUE_QUERY: return query_of(request);
    case BLITZ_VALUE_ROUTE_NAME: return exchange->route;
    case BLITZ_VALUE_UPSTREAM_ADDRESS: return exchange->upstream;
    case BLITZ_VALUE_RESPONSE_STATUS:
        return (blitz_text){(const uint8_t *)number, (size_t)snprintf(number, 12, "%u", exchange->response->status)};
    case BLITZ_VALUE_FACT: return blitz_exchange_fact(exchange, part->text);
    default: return peer_value(exchange->peer, part->what);
    }
}

static void put_rule_text(text_out *out, const blitz_rule_text *text, const blitz_route_rules *rules,
                          blitz_exchange *exchange)
{
    char number[12];
    for (uint32_t i = 0; i < text->n; i++)
        put_text(out, value_of(&text->parts[i], rules, exchange, number));
}

/* ---------------------------------------------------------------- fields */

/* One that is empty is not sent, as with nginx: what the client said in it is gone all the same. */
static int edit_field(blitz_head *head, const blitz_rule_edit *edit, const blitz_route_rules *rules,
                      blitz_exchange *exchange)
{
    uint8_t bytes[MAX_VALUE];
    text_out out = {bytes, 0, sizeof bytes, false};
    blitz_head_remove_spellings(head, edit->name.ptr, edit->name.len);
    if (edit->op != BLITZ_RULE_REMOVE)
        put_rule_text(&out, &edit->value, rules, exchange);
    bool is_there = !out.full && out.len > 0 && blitz_is_field_content(bytes, out.len);
    if (edit->op == BLITZ_RULE_ADD)
        return is_there ? blitz_head_add(head, edit->name.ptr, edit->name.len, bytes, out.len) : 0;
    if (is_there)
        return blitz_head_set(head, edit->name.ptr, edit->name.len, bytes, out.len);
    int removed = blitz_head_remove(head, edit->name.ptr, edit->name.len);
    return removed < 0 ? removed : 0;
}

static int edit_fields(blitz_head *head, const blitz_rule_edit *edits, uint32_t n, const blitz_route_rules *rules,
                       blitz_exchange *exchange)
{
    int code = 0;
    for (uint32_t i = 0; code >= 0 && i < n; i++)
        code = edit_field(head, &edits[i], rules, exchange);
    return code < 0 ? code : 0;
}

int blitz_rules_answer(const blitz_route_rules *rules, blitz_exchange *exchange)
{
    return edit_fields(exchange->response, rules->answer, rules->n_answer, rules, exchange);
}

int blitz_rules_response(const blitz_route_rules *rules, blitz_exchange *exchange)
{
    blitz_head *response = exchange->response;
    if (response->ruled)
        return 0;
    response->ruled = 1;
    return edit_fields(response, rules->response, rules->n_response, rules, exchange);
}

/* ---------------------------------------------------------------- responses of our own */

/* As ``local_response.py`` writes errors: the status, and the id under which the log has the cause. */
static int refuse(blitz_exchange *exchange, int status)
{
    static const char kind[] = "text/plain; charset=utf-8";
    char body[128];
    int n = snprintf(body, sizeof body, "%d %s\nrequest %.32s\n", status, blitz_reason((uint32_t)status),
                     (const char *)blitz_exchange_id(exchange));
    int code = blitz_local_response(exchange, status, (const uint8_t *)kind, sizeof kind - 1, (const uint8_t *)body,
                                    (size_t)n);
    return code < 0 ? code : BLITZ_RULES_ANSWERED;
}

/* ---------------------------------------------------------------- who may come */

/* A client without an address (a unix socket's) is on no list: where there is one, it may not come. */
static bool may_come(const blitz_route_rules *rules, const blitz_peer *peer)
{
    blitz_ip ip;
    if (rules->n_allow == 0 && rules->n_deny == 0)
        return true;
    if (peer == NULL || !blitz_ip_read(&ip, peer->address.ptr, peer->address.len) ||
        blitz_ip_is_in(&ip, rules->deny, rules->n_deny))
        return false;
    return rules->n_allow == 0 || blitz_ip_is_in(&ip, rules->allow, rules->n_allow);
}

/* ---------------------------------------------------------------- redirects */

static bool is_same(blitz_text one, blitz_text other)
{
    return one.len == other.len && (one.len == 0 || blitz_name_equal(one.ptr, other.ptr, one.len));
}

static blitz_text client_scheme(const blitz_exchange *exchange)
{
    static const char http[] = "http";
    blitz_text known = peer_value(exchange->peer, BLITZ_VALUE_CLIENT_SCHEME);
    return known.len > 0 ? known : (blitz_text){(const uint8_t *)http, sizeof http - 1};
}

/* host[:port]. The port that the client came to is that of the old scheme and host: it goes where one of them changes. */
static void put_authority(text_out *out, const blitz_route_rules *rules, const blitz_exchange *exchange)
{
    blitz_text host = rules->host, asked = span_text(exchange->request, exchange->request->host);
    bool stays = rules->scheme.len == 0 || is_same(rules->scheme, client_scheme(exchange));
    size_t host_len = 0;
    int32_t port;
    if (host.len == 0 && stays && rules->port == 0)
        host = asked;
    else if (host.len == 0 && blitz_parse_authority(asked.ptr, asked.len, &host_len, &port))
        host = (blitz_text){asked.ptr, host_len};
    put_text(out, host);
    if (rules->port > 0) {
        char digits[12];
        put(out, digits, (size_t)snprintf(digits, sizeof digits, ":%d", (int)rules->port));
    }
}

/* With one slash in front, whatever the parts brought; with the request's query unless the parts name one. */
static void put_target(text_out *out, const blitz_rule_text *path, const blitz_route_rules *rules,
                       blitz_exchange *exchange)
{
    uint8_t bytes[MAX_TARGET];
    text_out made = {bytes, 0, sizeof bytes, false};
    if (path->n > 0)
        put_rule_text(&made, path, rules, exchange);
    else
        put_text(&made, path_of(exchange->request));
    size_t from = 0;
    while (from < made.len && (blitz_path_is_border(bytes[from]) || bytes[from] == '*'))
        from++;
    put(out, "/", 1);
    put(out, bytes + from, made.len - from);
    out->full = out->full || made.full;
    if (made.len == 0 || memchr(bytes, '?', made.len) == NULL)
        put_text(out, query_of(exchange->request));
}

static int redirect(const blitz_route_rules *rules, blitz_exchange *exchange)
{
    uint8_t location[MAX_LOCATION], authority[512], target[MAX_TARGET];
    text_out out = {location, 0, sizeof location, false}, host = {authority, 0, sizeof authority, false};
    text_out path = {target, 0, sizeof target, false};
    bool whole = rules->scheme.len > 0 || rules->host.len > 0 || rules->port > 0;
    blitz_text scheme = rules->scheme.len > 0 ? rules->scheme : client_scheme(exchange);
    put_target(&path, &rules->path, rules, exchange);
    put_authority(&host, rules, exchange);
    if (path.full || host.full)
        return refuse(exchange, 414);
    if (whole && host.len == 0)
        return refuse(exchange, 400);            /* HTTP/1.0 without Host: nobody knows where to */
    blitz_text asked = span_text(exchange->request, exchange->request->host);
    blitz_text wanted = span_text(exchange->request, exchange->request->target);
    /* A path that stays is the same, whatever slashes it begins with, and so is "*". */
    bool path_stays = rules->path.n == 0 || (path.len == wanted.len && memcmp(target, wanted.ptr, path.len) == 0);
    bool loops = is_same(scheme, client_scheme(exchange)) && is_same((blitz_text){authority, host.len}, asked) && path_stays;
    if (loops)
        return rules->only_redirects ? refuse(exchange, 508) : BLITZ_RULES_PASS;
    if (whole) {
        put_text(&out, scheme);
        put(&out, "://", 3);
        put(&out, authority, host.len);
    }
    put(&out, target, path.len);
    int code = refuse(exchange, rules->redirect);
    if (code < 0)
        return code;
    code = blitz_head_add(exchange->response, (const uint8_t *)"location", 8, location, out.len);
    return code == BLITZ_E_SYNTAX ? refuse(exchange, 400) : code < 0 ? code : BLITZ_RULES_ANSWERED;
}

int blitz_rules_admit(const blitz_route_rules *rules, blitz_exchange *exchange)
{
    return may_come(rules, exchange->peer) ? BLITZ_RULES_PASS : refuse(exchange, 403);
}

int blitz_rules_redirect(const blitz_route_rules *rules, blitz_exchange *exchange)
{
    return rules->redirect ? redirect(rules, exchange) : BLITZ_RULES_PASS;
}

int blitz_rules_enter(const blitz_route_rules *rules, blitz_exchange *exchange)
{
    int code = blitz_rules_admit(rules, exchange);
    return code == BLITZ_RULES_PASS ? blitz_rules_redirect(rules, exchange) : code;
}

/* ---------------------------------------------------------------- requests */

static bool uses(const blitz_rule_text *text, uint8_t what)
{
    for (uint32_t i = 0; i < text->n; i++)
        if (text->parts[i].what == what)
            return true;
    return false;
}

static int rewrite(const blitz_route_rules *rules, blitz_exchange *exchange)
{
    uint8_t target[MAX_TARGET];
    text_out out = {target, 0, sizeof target, false};
    blitz_text rest, old = path_of(exchange->request);
    if (old.len == 1 && old.ptr[0] == '*')
        return BLITZ_RULES_PASS;
    if (uses(&rules->new_path, BLITZ_VALUE_PATH_MATCHED) && exchange->matched.ptr == NULL)
        return BLITZ_RULES_PASS;
    if (uses(&rules->new_path, BLITZ_VALUE_PATH_REST) && !rest_of(rules, exchange->request, &rest))
        return refuse(exchange, 400);
    put_target(&out, &rules->new_path, rules, exchange);
    if (out.full)
        return refuse(exchange, 414);
    if (blitz_path_find(rules->bounds, 0, target, out.len) < 0)
        return refuse(exchange, 400);
    int code = blitz_head_set_target(exchange->request, target, out.len);
    return code == BLITZ_E_SYNTAX ? refuse(exchange, 400) : code < 0 ? code : BLITZ_RULES_PASS;
}

int blitz_rules_request(const blitz_route_rules *rules, blitz_exchange *exchange)
{
    blitz_head *request = exchange->request;
    if (request->ruled)
        return BLITZ_RULES_PASS;
    request->ruled = 1;
    /* The fields first: their values are those of the request as it came. */
    int code = edit_fields(request, rules->request, rules->n_request, rules, exchange);
    return code == 0 && rules->rewrites ? rewrite(rules, exchange) : code;
}
