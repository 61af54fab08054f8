/* mask.h: what of a request may stand in a log. Names decide, not values; where a name is in doubt
 * the value is masked. */
#ifndef REQUEST_LOGGER_MASK_H
#define REQUEST_LOGGER_MASK_H
#include "blitz.h"

#define MASK BLITZ_STR("***")

/* Headers that carry credentials, or make them. */
static const char mask_headers[] = "authorization\nproxy-authorization\ncookie\nset-cookie\nx-api-key\n"
                                   "api-key\nx-auth-token\nx-access-token\nx-csrf-token\nx-xsrf-token\n"
                                   "x-amz-security-token\nx-blitz-signature\nauthentication-info\n"
                                   "proxy-authentication-info\nsec-websocket-key";

/* Headers whose value is a URI reference: its query is masked like the request's. */
static const char mask_uri_headers[] = "referer\nlocation\ncontent-location\nx-original-url\nx-rewrite-url";

/* Parts of names of query parameters (and of headers) that mean a secret. */
static const char mask_parts[] = "token\nsecret\npassw\npasscode\npwd\nsignature\ncredential\nsession\n"
                                 "authorization\njwt\nassertion\napikey\naccesskey\nprivatekey";
/* The same as whole names, where a part would hit too much: "code", but not "country_code". */
static const char mask_names[] = "sig\ncode\nauth\nsid\notp\npin\nhmac";

static bool is_in(blitz_str name, blitz_str list)
{
    blitz_str item;
    while (blitz_split(&list, '\n', &item)) {
        if (blitz_equal_nocase(item, name)) {
            return true;
        }
    }
    return false;
}

static bool has_part(blitz_str name, blitz_str list)
{
    blitz_str part;
    while (blitz_split(&list, '\n', &part)) {
        for (uint32_t i = 0; i + part.len <= name.len; i++) {
            if (blitz_equal_nocase(blitz_slice(name, i, i + part.len), part)) {
                return true;
            }
        }
    }
    return false;
}

/* Does a name say that its value is a secret? extra: the operator's list, one name per line. */
static bool is_secret_name(blitz_str name, blitz_str extra)
{
    bool ends_with_key = name.len >= 3 && blitz_equal_nocase(blitz_slice(name, name.len - 3, name.len), BLITZ_STR("key"));
    return ends_with_key || has_part(name, BLITZ_STR(mask_parts)) || is_in(name, BLITZ_STR(mask_names)) ||
           is_in(name, extra);
}

static bool is_secret_header(blitz_str name, blitz_str extra)
{
    return is_in(name, BLITZ_STR(mask_headers)) || is_secret_name(name, extra);
}

static int32_t hex_digit(char c)
{
    if (c >= '0' && c <= '9') {
        return c - '0';
    }
    c = blitz_lower(c);
    return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

/* Is a query parameter a secret, by its name as a server would read it, percent-decoded? A name too
 * long to decode here is masked. */
static bool is_secret_parameter(blitz_str name, blitz_str extra)
{
    char decoded[128];
    blitz_writer writer = blitz_writer_on(decoded, sizeof decoded);
    for (uint32_t i = 0; i < name.len; i++) {
        char c = name.ptr[i];
        int32_t high = i + 2 < name.len && c == '%' ? hex_digit(name.ptr[i + 1]) : -1;
        int32_t low = high >= 0 ? hex_digit(name.ptr[i + 2]) : -1;
        if (low >= 0) {
            c = (char)(high * 16 + low);
            i += 2;
        }
        blitz_put_char(&writer, c);
    }
    return writer.full || is_secret_name(blitz_written(&writer), extra);
}

/* Text inside double quotes: a quote or backslash of the client's cannot end the value and begin a
 * field of its own, nor can a cut between the two characters of an escape. Control characters are
 * escaped by the host. */
static void put_escaped(blitz_writer *line, blitz_str text)
{
    for (uint32_t i = 0; i < text.len; i++) {
        if (text.ptr[i] == '"' || text.ptr[i] == '\\') {
            if (line->cap - line->len < 2) {
                line->full = true;
                return;
            }
            blitz_put_char(line, '\\');
        }
        blitz_put_char(line, text.ptr[i]);
    }
}

/* A target or URI with the values of secret query parameters replaced. Parameters end at & or ;. */
static void put_masked_uri(blitz_writer *line, blitz_str uri, blitz_str extra)
{
    uint32_t at = blitz_find(uri, '?', 0);
    put_escaped(line, blitz_slice(uri, 0, at));
    while (at < uri.len) {
        put_escaped(line, blitz_slice(uri, at, at + 1));
        uint32_t start = at + 1;
        uint32_t end = start;
        while (end < uri.len && uri.ptr[end] != '&' && uri.ptr[end] != ';') {
            end++;
        }
        blitz_str parameter = blitz_slice(uri, start, end);
        uint32_t equals = blitz_find(parameter, '=', 0);
        if (equals < parameter.len && is_secret_parameter(blitz_slice(parameter, 0, equals), extra)) {
            put_escaped(line, blitz_slice(parameter, 0, equals + 1));
            blitz_put(line, MASK);
        } else {
            put_escaped(line, parameter);
        }
        at = end;
    }
}
#endif
