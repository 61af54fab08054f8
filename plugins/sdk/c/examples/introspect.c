/* introspect.c: a bearer token is good if its introspection endpoint says so (RFC 7662).
 *
 *   [upstreams.introspection]
 *   endpoints = ["https://id.example"]
 *
 *   [[plugins]]
 *   file = "introspect.wasm"
 *   upstreams = ["introspection"]      # without this, every request ends with 503
 *   wait_timeout = "2s"
 */
#define BLITZ_ALLOCATOR
#include "blitz.h"

enum { MAX_TOKEN = 2048, MAX_ANSWER = 8192, PATIENCE_MS = 1000 };

static int32_t refuse(int32_t status, blitz_str challenge)
{
    blitz_set_status(status);
    if (challenge.len > 0)
        blitz_set_header(BLITZ_STR("www-authenticate"), challenge);
    return BLITZ_STOP;
}

/* RFC 6750 section 2.1: letters, digits and -._~+/ with = at the end. What else there is must not reach the form. */
static bool is_token(blitz_str text)
{
    for (uint32_t i = 0; i < text.len; i++) {
        char c = text.ptr[i];
        bool letter = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9');
        if (!letter && c != '-' && c != '.' && c != '_' && c != '~' && c != '+' && c != '/' && c != '=')
            return false;
    }
    return text.len > 0 && text.len <= MAX_TOKEN;
}

/* application/x-www-form-urlencoded: of what a token may have, three bytes must be escaped. */
static void put_escaped(blitz_writer *writer, blitz_str token)
{
    for (uint32_t i = 0; i < token.len; i++) {
        char c = token.ptr[i];
        blitz_put(writer, c == '+'   ? BLITZ_STR("%2B")
                          : c == '/' ? BLITZ_STR("%2F")
                          : c == '=' ? BLITZ_STR("%3D")
                                     : blitz_view(token.ptr + i, 1));
    }
}

/* The end of the string that begins at the quote at. */
static uint32_t string_end(blitz_str json, uint32_t at)
{
    for (at++; at < json.len && json.ptr[at] != '"'; at++)
        if (json.ptr[at] == '\\')
            at++;
    return at;
}

/* The answer's own "active" is true: not that of an object inside, and it is there once. */
static bool says_active(blitz_str json)
{
    uint32_t depth = 0, seen = 0;
    bool active = false;
    for (uint32_t at = 0; at < json.len; at++) {
        char c = json.ptr[at];
        depth += c == '{' || c == '[';
        depth -= c == '}' || c == ']';
        if (c != '"')
            continue;
        uint32_t end = string_end(json, at);
        if (end >= json.len)
            return false;
        blitz_str name = blitz_view(json.ptr + at + 1, end - at - 1);
        blitz_str rest = blitz_trim(blitz_view(json.ptr + end + 1, json.len - end - 1));
        at = end;
        if (depth != 1 || rest.len == 0 || rest.ptr[0] != ':' || !blitz_equal(name, BLITZ_STR("active")))
            continue;
        rest = blitz_trim(blitz_view(rest.ptr + 1, rest.len - 1));
        active = rest.len > 4 && blitz_equal(blitz_view(rest.ptr, 4), BLITZ_STR("true"));
        seen++;
    }
    return active && seen == 1;
}

BLITZ_REQUEST(method, path)
{
    (void)method, (void)path;
    static char form[8 + 3 * MAX_TOKEN], answer[MAX_ANSWER];
    blitz_str field = blitz_header(BLITZ_STR("authorization")).text, scheme = BLITZ_STR("bearer ");
    if (field.len < scheme.len || !blitz_equal_nocase(blitz_view(field.ptr, scheme.len), scheme))
        return refuse(401, BLITZ_STR("Bearer"));
    blitz_str token = blitz_view(field.ptr + scheme.len, field.len - scheme.len);
    if (!is_token(token))
        return refuse(401, BLITZ_STR("Bearer error=\"invalid_token\""));
    blitz_writer writer = blitz_writer_on(form, sizeof form);
    blitz_put(&writer, BLITZ_STR("token="));
    put_escaped(&writer, token);
    int32_t status = blitz_fetch(BLITZ_STR("introspection"), BLITZ_STR("POST"), BLITZ_STR("/introspect"),
                                 BLITZ_STR("content-type: application/x-www-form-urlencoded\r\n"
                                           "accept: application/json\r\n"),
                                 blitz_written(&writer), PATIENCE_MS);
    if (status != 200)
        return refuse(503, BLITZ_STR(""));
    int32_t size = blitz_fetch_body(answer, sizeof answer);
    if (size < 0 || size > MAX_ANSWER)
        return refuse(503, BLITZ_STR(""));
    if (!says_active(blitz_view(answer, (uint32_t)size)))
        return refuse(401, BLITZ_STR("Bearer error=\"invalid_token\""));
    blitz_remove_header(BLITZ_STR("authorization"));
    return BLITZ_CONTINUE;
}
