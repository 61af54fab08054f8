/* head_target.c: what a request may be for: origin-form targets and authorities, as bytes.
 *
 * Both are stricter than RFC 3986 where no honest client is hurt, because routing, plugins and the
 * upstream must all read the same thing:
 *   path   RFC 3986 section 3.3 pchar and '/', plus '[', ']', '^' and '|', which browsers send raw
 *          (WHATWG URL); '%' only before two hexadecimal digits and never as %00 (nginx refuses both).
 *          A raw '\' is refused: Envoy and some upstreams read it as '/'.
 *   query  any visible ASCII but '"', '#', '<' and '>', which browsers always encode. A stray '%' is
 *          common in the wild and harmless here.
 *   host   a name of unreserved bytes (section 2.3) without empty labels (nginx refuses ".."), an IPv4
 *          address (the same bytes), or an IPv6 address in brackets, spelt exactly. Percent-encoding,
 *          sub-delims, IPvFuture and zones are legal in RFC 3986 and in no name that resolves.
 *   port   up to 5 digits, at most 65535; none after a colon means the default (section 3.2.3).
 * No fragment anywhere (RFC 9112 section 3.2), no userinfo (RFC 9110 section 4.2.4).
 */
#include "head.h"

#include <string.h>

enum { LONGEST_HOST = 255 };    /* RFC 1035 section 2.3.4 */

static int hex(uint8_t byte)
{
    if (byte >= '0' && byte <= '9')
        return byte - '0';
    byte |= 0x20;
    return (byte >= 'a' && byte <= 'f') ? byte - 'a' + 10 : -1;
}

bool blitz_is_origin_form(const uint8_t *bytes, size_t len)
{
    if (len == 0 || bytes[0] != '/')
        return false;
    size_t i = 1;
    while (i < len) {
        if (blitz_class[bytes[i]] & BLITZ_C_PATH) {
            i++;
            continue;
        }
        if (bytes[i] == '?')
            break;
        if (bytes[i] != '%' || len - i < 3 || hex(bytes[i + 1]) < 0 || hex(bytes[i + 2]) < 0)
            return false;
        if (bytes[i + 1] == '0' && bytes[i + 2] == '0')
            return false;
        i += 3;
    }
    uint8_t all = BLITZ_C_QUERY;
    for (; i < len; i++)
        all &= blitz_class[bytes[i]];
    return all != 0;
}

/* Dotted decimal, each part 0..255 without a leading zero (RFC 3986 section 3.2.2). */
static bool is_ipv4(const uint8_t *at, const uint8_t *end)
{
    for (int part = 0; part < 4; part++) {
        if (part && (at == end || *at++ != '.'))
            return false;
        const uint8_t *start = at;
        unsigned value = 0;
        while (at < end && at - start < 3 && *at >= '0' && *at <= '9')
            value = value * 10 + (unsigned)(*at++ - '0');
        if (at == start || value > 255 || (*start == '0' && at - start > 1))
            return false;
    }
    return at == end;
}

/* RFC 3986 section 3.2.2 IPv6address: up to eight groups of 1-4 hexadecimal digits, one "::" for one
 * or more groups of zeros, the last two groups perhaps as an IPv4 address. */
static bool is_ipv6(const uint8_t *at, const uint8_t *end)
{
    int groups = 0;
    bool gap = false;
    if (end - at >= 2 && at[0] == ':' && at[1] == ':') {
        gap = true;
        at += 2;
        if (at == end)
            return true;
    }
    for (;;) {
        const uint8_t *start = at;
        while (at < end && at - start < 4 && hex(*at) >= 0)
            at++;
        if (at == start)
            return false;
        if (at < end && *at == '.') {
            if (!is_ipv4(start, end))
                return false;
            groups += 2;
            break;
        }
        groups++;
        if (at == end)
            break;
        if (*at++ != ':' || at == end)
            return false;
        if (*at == ':') {
            if (gap)
                return false;
            gap = true;
            if (++at == end)
                break;
        }
    }
    return gap ? groups <= 7 : groups == 8;
}

/* Length of the name at the front, 0 when it is none. */
static size_t name_length(const uint8_t *bytes, size_t len)
{
    size_t n = 0;
    uint8_t before = '.';                   /* so that a leading dot is an empty label too */
    for (; n < len && (blitz_class[bytes[n]] & BLITZ_C_HOST); n++) {
        if (bytes[n] == '.' && before == '.')
            return 0;
        before = bytes[n];
    }
    return n;
}

static size_t literal_length(const uint8_t *bytes, size_t len)
{
    const uint8_t *close = memchr(bytes, ']', len);
    if (!close || !is_ipv6(bytes + 1, close))
        return 0;
    return (size_t)(close - bytes) + 1;
}

bool blitz_parse_authority(const uint8_t *bytes, size_t len, size_t *host_len, int32_t *port)
{
    if (len == 0)
        return false;
    size_t n = bytes[0] == '[' ? literal_length(bytes, len) : name_length(bytes, len);
    if (n == 0 || n > LONGEST_HOST)
        return false;
    int32_t number = -1;
    if (n < len) {
        size_t digits = len - n - 1;
        if (bytes[n] != ':' || digits > 5)
            return false;
        number = digits ? 0 : -1;
        for (size_t i = n + 1; i < len; i++) {
            if (bytes[i] < '0' || bytes[i] > '9')
                return false;
            number = number * 10 + (bytes[i] - '0');
        }
        if (number > 65535)
            return false;
    }
    *host_len = n;
    *port = number;
    return true;
}
