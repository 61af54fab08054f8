/* path_decode.c: what a path spells when it is decoded: as often as can be, for the routes (path.c), and once, as
 * the one path that guards are shown.
 */
#include "path_table.h"
#include <string.h>

static int hex(uint8_t byte)
{
    if (byte >= '0' && byte <= '9')
        return byte - '0';
    byte |= 0x20;
    return byte >= 'a' && byte <= 'f' ? byte - 'a' + 10 : -1;
}

static int encoded(const uint8_t *at)
{
    int high = hex(at[1]), low = hex(at[2]);
    return at[0] == '%' && high >= 0 && low >= 0 ? high * 16 + low : -1;
}

/* Does dst[0..n) end in an ASCII byte in more bytes of UTF-8 than it needs, which careless decoders take (RFC 3629
 * section 10)? -> how many bytes it is spelt in, or 0. */
static size_t overlong(const uint8_t *dst, size_t n, uint8_t *byte)
{
    if (n < 2 || (dst[n - 1] & 0xc0) != 0x80)
        return 0;
    uint8_t high = dst[n - 2];
    *byte = (uint8_t)((high & 1) << 6 | (dst[n - 1] & 0x3f));
    if ((high & 0xfe) == 0xc0)
        return 2;
    if ((high & 0xfe) != 0x80 || n < 3)
        return 0;
    if (dst[n - 3] == 0xe0)
        return 3;
    return dst[n - 3] == 0x80 && n >= 4 && dst[n - 4] == 0xf0 ? 4 : 0;
}

/* The last bytes of dst[0..n) may spell one byte: -> how many that were. */
static size_t ending(const uint8_t *dst, const uint8_t *levels, size_t n, uint8_t *byte, uint8_t *level)
{
    int decoded = n >= 3 ? encoded(dst + n - 3) : -1;
    if (decoded < 0) {
        *level = 2;
        return overlong(dst, n, byte);
    }
    *byte = (uint8_t)decoded;
    *level = levels[n - 3] | levels[n - 2] | levels[n - 1] ? 2 : 1;
    return 3;
}

size_t blitz_path_unfold(uint8_t *dst, uint8_t *levels, const uint8_t *bytes, size_t len)
{
    size_t n = 0;
    for (size_t i = 0; i < len; i++) {
        uint8_t byte = bytes[i], level = 0;
        size_t spelt = 0;
        /* A byte that was decoded may be the last of an encoding: "%2%35" is "%25" is "%". Each turn takes bytes
         * away, so all of them together are linear. */
        do {
            n -= spelt;
            dst[n] = byte;
            levels[n++] = level;
        } while ((spelt = ending(dst, levels, n, &byte, &level)) > 0);
    }
    return n;
}

/* ---------------------------------------------------------------- one path for guards */

/* End the segment dst[from..n): -> where the next one begins, behind a slash unless it is the last. */
static size_t end_segment(uint8_t *dst, size_t from, size_t n, bool last)
{
    size_t len = n - from;
    if (len == 0 || (len == 1 && dst[from] == '.'))
        return from;
    if (len == 2 && dst[from] == '.' && dst[from + 1] == '.') {
        while (from > 1 && dst[from - 2] != '/')
            from--;
        return from > 1 ? from - 1 : from;
    }
    if (!last)
        dst[n++] = '/';
    return n;
}

size_t blitz_path_canonical(uint8_t *dst, const uint8_t *path, size_t len)
{
    if (len == 0 || path[0] != '/') {
        memmove(dst, path, len);
        return len;
    }
    size_t n = 1, from = 1;
    bool parameters = false;
    dst[0] = '/';
    for (size_t i = 1; i < len; i++) {
        int decoded = len - i >= 3 ? encoded(path + i) : -1;
        uint8_t byte = decoded >= 0 ? (uint8_t)decoded : path[i];
        i += decoded >= 0 ? 2 : 0;
        if (blitz_path_is_border(byte)) {
            from = n = end_segment(dst, from, n, false);
            parameters = false;
        } else if (byte == ';') {
            parameters = true;
        } else if (!parameters) {
            dst[n++] = byte;
        }
    }
    return end_segment(dst, from, n, true);
}
