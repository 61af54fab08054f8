/* whole_body.c: what holds for bodies that plugins see whole: how much of one, of which there is no whole, and what a
 * response must be whose body they may change. Both drivers ask here. */
#include "guest.h"
#include "head.h"
#include <string.h>

int blitz_chain_wanted_body(const blitz_exchange *exchange, uint64_t *most)
{
    const blitz_chain *chain = &exchange->chain;
    /* Response hooks run from the plugin in hand down to the first. Of a request's body all see what is collected, and
     * one that writes and does not read has nothing to see whole. */
    uint32_t n = chain->is_response ? (uint32_t)(chain->index + 1) : chain->n_pools;
    int must_have_all = 0;
    *most = 0;
    for (uint32_t i = 0; i < n; i++) {
        const blitz_pool *pool = chain->pools[i];
        if (!(chain->is_response ? pool->needs_response_body : pool->reads_body))
            continue;
        *most = pool->max_body > *most ? pool->max_body : *most;
        must_have_all |= pool->writes_body;
    }
    return must_have_all;
}

/* ---------------------------------------------------------------- streams */

static bool begins_with(blitz_text text, const char *lower_case)
{
    size_t len = strlen(lower_case);
    return text.len >= len && blitz_name_equal(text.ptr, (const uint8_t *)lower_case, len);
}

static bool is_any_of(blitz_text type, const char *const *names, size_t n)
{
    for (size_t i = 0; i < n; i++)
        if (type.len == strlen(names[i]) && begins_with(type, names[i]))
            return true;
    return false;
}

int blitz_is_stream_type(const uint8_t *value, size_t len)
{
    static const char *const streams[] = {
        "text/event-stream",                     /* WHATWG HTML, section 9.2 */
        "multipart/x-mixed-replace",             /* cameras, and what came before server-sent events */
        "application/json-seq",                  /* RFC 7464 */
        "application/x-ndjson", "application/ndjson", "application/x-ldjson", "application/jsonl",
        "application/x-jsonl", "application/jsonlines", "application/x-jsonlines", "application/x-json-stream",
        "application/stream+json", "application/vnd.amazon.eventstream", "application/grpc", "application/grpc-web",
        "application/grpc-web-text",
    };
    static const char *const families[] = {
        "application/grpc+", "application/grpc-web+", "application/grpc-web-text+", "application/connect+",
    };
    static const char sequence[] = "+json-seq";  /* RFC 8091: the suffix of types that are a json-seq */
    const uint8_t *end = memchr(value, ';', len);
    blitz_text type = {value, end != NULL ? (size_t)(end - value) : len};
    while (type.len > 0 && (*type.ptr == ' ' || *type.ptr == '\t')) {
        type.ptr++;
        type.len--;
    }
    while (type.len > 0 && (type.ptr[type.len - 1] == ' ' || type.ptr[type.len - 1] == '\t'))
        type.len--;
    if (is_any_of(type, streams, sizeof streams / sizeof *streams))
        return 1;
    for (size_t i = 0; i < sizeof families / sizeof *families; i++)
        if (begins_with(type, families[i]))
            return 1;
    size_t suffix = sizeof sequence - 1;
    return type.len >= suffix && blitz_name_equal(type.ptr + type.len - suffix, (const uint8_t *)sequence, suffix);
}

int blitz_is_stream(const blitz_head *head)
{
    static const uint8_t name[] = "content-type";
    uint32_t from = 0;
    for (int at; (at = blitz_head_find(head, name, sizeof name - 1, from)) >= 0; from = (uint32_t)at + 1) {
        blitz_span value = head->fields[at].value;
        if (blitz_is_stream_type(blitz_at(head, value), value.len))
            return 1;
    }
    return 0;
}

/* ---------------------------------------------------------------- responses that plugins may change */

int blitz_begin_whole_response(blitz_head *response)
{
    static const uint8_t name[] = "accept-ranges";
    enum { PARTIAL = 206 };
    if (response->status == PARTIAL)
        return BLITZ_E_STATE;
    return blitz_head_remove(response, name, sizeof name - 1) < 0 ? BLITZ_E_NOMEM : 0;
}
