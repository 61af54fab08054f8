/* text.c: see text.h. Used for log lines and fault messages only, so plain code. */
#include "text.h"
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

/* Length of the well-formed UTF-8 sequence at src (Unicode 15, table 3-7), 0 when ill-formed. */
static size_t sequence(const uint8_t *src, size_t len)
{
    uint8_t first = src[0];
    if (first < 0x80)
        return 1;
    size_t want = first >= 0xc2 && first <= 0xdf ? 2 : (first & 0xf0) == 0xe0 ? 3 : first >= 0xf0 && first <= 0xf4 ? 4 : 0;
    if (want == 0 || want > len)
        return 0;
    uint8_t low = first == 0xe0 ? 0xa0 : first == 0xf0 ? 0x90 : 0x80;
    uint8_t high = first == 0xed ? 0x9f : first == 0xf4 ? 0x8f : 0xbf;
    if (src[1] < low || src[1] > high)
        return 0;
    for (size_t i = 2; i < want; i++)
        if ((src[i] & 0xc0) != 0x80)
            return 0;
    return want;
}

/* What stands for the character at src: itself, or an escape in scratch. */
static const uint8_t *spell(const uint8_t *src, size_t len, char scratch[8], size_t *out_len, size_t *used)
{
    size_t n = sequence(src, len);
    *used = n == 0 ? 1 : n;
    int written;
    if (n == 0)
        written = snprintf(scratch, 8, "\xef\xbf\xbd");
    else if (n == 1 && (src[0] == '\n' || src[0] == '\r' || src[0] == '\t'))
        written = snprintf(scratch, 8, "\\%c", src[0] == '\n' ? 'n' : src[0] == '\r' ? 'r' : 't');
    else if (n == 1 && (src[0] < 0x20 || src[0] == 0x7f))
        written = snprintf(scratch, 8, "\\x%02x", src[0]);
    else if (n == 2 && src[0] == 0xc2 && src[1] < 0xa0)                 /* C1 controls */
        written = snprintf(scratch, 8, "\\u%04x", src[1]);
    else if (n == 3 && src[0] == 0xe2 && src[1] == 0x80 && (src[2] == 0xa8 || src[2] == 0xa9))
        written = snprintf(scratch, 8, "\\u20%02x", src[2] - 0x80);     /* U+2028, U+2029 */
    else {
        *out_len = n;
        return src;
    }
    *out_len = (size_t)written;
    return (const uint8_t *)scratch;
}

static size_t plain_prefix(const uint8_t *src, size_t len)
{
    size_t i = 0;
    while (i < len && src[i] >= 0x20 && src[i] < 0x7f)
        i++;
    return i;
}

size_t blitz_text_escape(uint8_t *dst, size_t cap, const uint8_t *src, size_t len, size_t *used)
{
    size_t out = 0, in = 0;
    while (in < len) {
        size_t plain = plain_prefix(src + in, len - in < cap - out ? len - in : cap - out);
        if (plain > 0)
            memcpy(dst + out, src + in, plain);
        in += plain;
        out += plain;
        if (in == len)
            break;
        char scratch[8];
        size_t n, taken;
        const uint8_t *piece = spell(src + in, len - in, scratch, &n, &taken);
        if (n > cap - out)
            break;
        memcpy(dst + out, piece, n);
        out += n;
        in += taken;
    }
    *used = in;
    return out;
}

static bool is_break(char c) { return c == '\n' || c == '\r'; }
static bool is_blank(char c) { return c == ' ' || c == '\t' || is_break(c); }

void blitz_text_one_line(char *dst, size_t cap, const char *src, size_t len)
{
    if (cap == 0)
        return;
    size_t out = 0, in = 0;
    while (in < len) {
        size_t end = in;
        while (end < len && !is_break(src[end]))
            end++;
        size_t stop = end;
        while (stop > in && is_blank(src[stop - 1]))
            stop--;
        if (out > 0 && stop > in && out + 1 < cap)
            dst[out++] = ' ';
        size_t used;
        out += blitz_text_escape((uint8_t *)dst + out, cap - 1 - out, (const uint8_t *)src + in, stop - in, &used);
        in = end;
        while (in < len && is_blank(src[in]))
            in++;
    }
    dst[out] = 0;
}

void blitz_text_append(char *dst, size_t cap, size_t *length, const char *format, ...)
{
    if (*length + 1 >= cap)
        return;
    va_list arguments;
    va_start(arguments, format);
    int n = vsnprintf(dst + *length, cap - *length, format, arguments);
    va_end(arguments);
    if (n > 0)
        *length = *length + (size_t)n < cap ? *length + (size_t)n : cap - 1;
}
