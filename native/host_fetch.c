/* host_fetch.c: a guest's own request to an upstream: checked and built here, sent by whoever drives the instance
 * (blitz/server/fetch.py).
 *
 * The request is made as a hook's edits are (edits.h), by the same rules and within the same limits: no field that would
 * split the message or is the connection's, all or nothing. */
#include "edits.h"
#include "waiting.h"
#include <stdlib.h>
#include <stdio.h>

typedef wasmtime_val_raw_t raw;

struct blitz_fetched {
    blitz_fetch request;
    blitz_head *answer;          /* self-contained; no fields until there is one */
    uint8_t *body;
    size_t body_len;
};

/* ---------------------------------------------------------------- what is kept of it */

void blitz_fetch_forget(blitz_instance *instance)
{
    blitz_fetched *fetched = instance->fetched;
    if (fetched == NULL)
        return;
    blitz_exchange_reset(fetched->request.exchange);
    blitz_head_reset(fetched->answer, BLITZ_RESPONSE);
    fetched->request.names_host = 0;
    free(fetched->body);
    fetched->body = NULL;
    fetched->body_len = 0;
}

void blitz_fetch_free(blitz_instance *instance)
{
    blitz_fetched *fetched = instance->fetched;
    if (fetched == NULL)
        return;
    blitz_exchange_free(fetched->request.exchange);
    blitz_head_free(fetched->answer);
    free(fetched->body);
    free(fetched);
    instance->fetched = NULL;
}

/* NULL: out of memory. */
static blitz_fetched *begin(blitz_instance *instance)
{
    blitz_fetch_forget(instance);
    if (instance->fetched != NULL)
        return instance->fetched;
    blitz_fetched *fetched = instance->fetched = calloc(1, sizeof *fetched);
    if (fetched == NULL)
        return NULL;
    fetched->request.exchange = blitz_exchange_new();
    fetched->answer = blitz_head_new();
    if (fetched->request.exchange != NULL && fetched->answer != NULL)
        return fetched;
    blitz_fetch_free(instance);
    return NULL;
}

const blitz_fetch *blitz_call_fetch(const blitz_instance *instance)
{
    return blitz_call_waits(instance) == BLITZ_WAITS_FETCH ? &instance->fetched->request : NULL;
}

static int copy_fields(blitz_head *to, const blitz_head *from)
{
    int failed = blitz_head_start_response(to, (int)from->status, NULL, 0, 1);
    for (uint32_t i = 0; failed == 0 && i < from->n_fields; i++) {
        const blitz_field *field = &from->fields[i];
        if (!field->gone)
            failed = blitz_head_add(to, blitz_at(from, field->name), field->name.len, blitz_at(from, field->value),
                                    field->value.len);
    }
    return failed;
}

int blitz_fetch_keep(blitz_instance *instance, const uint8_t *body, size_t len)
{
    if (blitz_call_fetch(instance) == NULL)
        return BLITZ_E_STATE;
    blitz_fetched *fetched = instance->fetched;
    uint8_t *kept = malloc(len + 1);
    int failed = kept == NULL ? BLITZ_E_NOMEM : copy_fields(fetched->answer, fetched->request.exchange->response);
    if (failed != 0) {
        free(kept);
        blitz_head_reset(fetched->answer, BLITZ_RESPONSE);
        return failed;
    }
    if (len > 0)
        memcpy(kept, body, len);
    free(fetched->body);
    fetched->body = kept;
    fetched->body_len = len;
    return 0;
}

/* ---------------------------------------------------------------- its request */

enum { UPSTREAM, METHOD, TARGET, HEADERS, BODY, TEXTS };

/* Its Host, if it wants another one than the upstream's. */
static bool is_host(const uint8_t *name, size_t len)
{
    return len == 4 && blitz_name_equal(name, (const uint8_t *)"host", 4);
}

static const char *add_line(blitz_fetched *fetched, const blitz_plugin_limits *limits, blitz_text line)
{
    const uint8_t *colon = memchr(line.ptr, ':', line.len);
    if (colon == NULL)
        return "a line of headers has no colon: each is \"name: value\", ended by CRLF or LF";
    size_t name = (size_t)(colon - line.ptr);
    blitz_text value = {colon + 1, line.len - name - 1};
    for (; value.len > 0 && (value.ptr[0] == ' ' || value.ptr[0] == '\t'); value.len--)
        value.ptr++;
    bool host = is_host(line.ptr, name);
    fetched->request.names_host |= host;
    return blitz_edit_why(blitz_edits_field(fetched->request.exchange->edits, limits, BLITZ_REQUEST,
                                            host ? BLITZ_EDIT_SET : BLITZ_EDIT_ADD, (blitz_text){line.ptr, name},
                                            value));
}

static const char *add_lines(blitz_fetched *fetched, const blitz_plugin_limits *limits, blitz_text lines)
{
    const char *why = NULL;
    for (const uint8_t *at = lines.ptr, *end = at + lines.len; why == NULL && at < end;) {
        const uint8_t *stop = memchr(at, '\n', (size_t)(end - at));
        stop = stop == NULL ? end : stop;
        size_t len = (size_t)(stop - at);
        len -= len > 0 && at[len - 1] == '\r';
        if (len > 0)
            why = add_line(fetched, limits, (blitz_text){at, len});
        at = stop + 1;
    }
    return why;
}

/* -> NULL, or why there is no such request. */
static const char *build(blitz_fetched *fetched, const blitz_plugin_limits *limits, const blitz_text *texts, char *why,
                         size_t why_cap)
{
    blitz_exchange *exchange = fetched->request.exchange;
    blitz_edits *edits = exchange->edits;
    blitz_text method = texts[METHOD], target = texts[TARGET];
    const char *bad = blitz_edit_why(blitz_edits_method(edits, limits, method));
    if (bad == NULL)
        bad = blitz_edit_why(blitz_edits_target(edits, limits, target));
    if (bad == NULL)
        bad = add_lines(fetched, limits, texts[HEADERS]);
    if (bad == NULL && texts[BODY].len > 0)
        bad = blitz_edit_why(blitz_edits_body(edits, limits, texts[BODY]));
    if (bad != NULL)
        return bad;
    if (blitz_head_start_request(exchange->request, method.ptr, method.len, target.ptr, target.len, 1) != 0 ||
        blitz_head_add(exchange->request, (const uint8_t *)"host", 4, (const uint8_t *)"upstream", 8) != 0)
        return "out of memory";
    return blitz_edits_commit(exchange, BLITZ_REQUEST, false, false, why, why_cap) < 0 ? why : NULL;
}

static wasm_trap_t *fetch(blitz_call *call, const blitz_pair *upstream, const blitz_text *texts, int64_t *result)
{
    char why[160];
    blitz_fetched *fetched = begin(call->instance);
    if (fetched == NULL)
        return blitz_call_refuse(call, "out of memory");
    const char *bad = build(fetched, &call->instance->plugin->limits, texts, why, sizeof why);
    if (bad != NULL)
        return blitz_call_refuse(call, bad);
    fetched->request.upstream = (blitz_text){upstream->key, upstream->key_len};
    return blitz_wait(call, BLITZ_WAITS_FETCH, result);
}

wasm_trap_t *call_http_fetch(void *env, wasmtime_caller_t *caller, raw *slots, size_t n)
{
    (void)n;
    static const char *const names[TEXTS] = {"upstream", "method", "target", "headers", "body"};
    blitz_call call;
    blitz_text texts[TEXTS];
    if (!blitz_call_open(&call, env, caller))
        return call.trap;
    for (int i = 0; i < TEXTS; i++)
        if (!blitz_call_bytes(&call, slots[2 * i], slots[2 * i + 1], names[i], &texts[i]))
            return call.trap;
    if (slots[2 * TEXTS].i32 < 0)
        return blitz_call_refuse(&call, "timeout_ms must be 0 (as long as the plugin may wait) or more");
    call.instance->wait_ms = (uint32_t)slots[2 * TEXTS].i32;
    const blitz_pair *upstream = blitz_pairs_find(&call.instance->plugin->upstreams, texts[UPSTREAM].ptr,
                                                  texts[UPSTREAM].len);
    int64_t result = BLITZ_FETCH_NOT_GRANTED;
    wasm_trap_t *trap = upstream != NULL ? fetch(&call, upstream, texts, &result) : NULL;
    slots[0].i64 = (uint32_t)result;
    return trap;
}

/* ---------------------------------------------------------------- its answer */

wasm_trap_t *call_fetch_header(void *env, wasmtime_caller_t *caller, raw *slots, size_t n)
{
    (void)n;
    blitz_call call;
    blitz_text name, value = {NULL, 0};
    if (!blitz_call_open(&call, env, caller))
        return call.trap;
    const raw *at = blitz_call_arguments(&call, slots);
    if (!blitz_call_bytes(&call, at[0], at[1], "name", &name))
        return call.trap;
    const blitz_fetched *fetched = call.instance->fetched;
    int found = fetched != NULL ? blitz_head_find(fetched->answer, name.ptr, name.len, 0) : -1;
    if (found >= 0)
        value = blitz_call_span(fetched->answer, fetched->answer->fields[found].value);
    return blitz_call_give(&call, slots, 2, value);
}

wasm_trap_t *call_fetch_body(void *env, wasmtime_caller_t *caller, raw *slots, size_t n)
{
    (void)n;
    blitz_call call;
    if (!blitz_call_open(&call, env, caller))
        return call.trap;
    const blitz_fetched *fetched = call.instance->fetched;
    blitz_text body = {NULL, 0};
    if (fetched != NULL && fetched->body != NULL)
        body = (blitz_text){fetched->body, fetched->body_len};
    return blitz_call_give(&call, slots, 0, body);
}
