/* text.c: see text.h. Used for log lines and fault messages only, so plain code. */
#include "text.h"
#include "blitz_native.h"
#include "text_tables.h"
#include "utf8.h"
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

/* The character of a well-formed sequence of n bytes. */
static uint32_t decode(const uint8_t *src, size_t n)
{
    uint32_t code = n == 1 ? src[0] : src[0] & (0x7fu >> n);
    for (size_t i = 1; i < n; i++)
        code = code << 6 | (src[i] & 0x3fu);
    return code;
}

/* How many of BORDERS are not above code is odd where characters are shown. */
static bool is_shown(uint32_t code)
{
    size_t low = 0, high = sizeof BORDERS / sizeof *BORDERS;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        if (BORDERS[middle] <= code)
            low = middle + 1;
        else
            high = middle;
    }
    return low % 2 == 1;
}

/* What stands for a character that is not shown. -> length */
static int escape(char *out, size_t cap, uint32_t code)
{
    if (code == '\n' || code == '\r' || code == '\t')
        return snprintf(out, cap, "\\%c", code == '\n' ? 'n' : code == '\r' ? 'r' : 't');
    return snprintf(out, cap, code < 0x80 ? "\\x%02x" : code < 0x10000 ? "\\u%04x" : "\\U%08x", (unsigned)code);
}

enum { LONGEST = 10 };                           /* \U and eight digits */

/* What stands for the character at src: itself, or an escape in scratch. */
static const uint8_t *spell(const uint8_t *src, size_t len, char scratch[LONGEST + 1], size_t *out_len, size_t *used)
{
    size_t n = blitz_utf8_sequence(src, len);
    *used = n == 0 ? 1 : n;
    *out_len = n;
    if (n == 0)
        *out_len = (size_t)snprintf(scratch, LONGEST + 1, "\xef\xbf\xbd");
    else if (!is_shown(decode(src, n)))
        *out_len = (size_t)escape(scratch, LONGEST + 1, decode(src, n));
    else
        return src;
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
        char scratch[LONGEST + 1];
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

/* ---------------------------------------------------------------- JSON */

enum { LONGEST_JSON = 12 };                      /* two surrogates */

static size_t put_unit(uint8_t *dst, uint32_t unit)
{
    static const char digits[] = "0123456789abcdef";
    dst[0] = '\\';
    dst[1] = 'u';
    for (int i = 0; i < 4; i++)
        dst[2 + i] = (uint8_t)digits[unit >> (12 - 4 * i) & 15];
    return 6;
}

/* The first character of src as it stands in a JSON string. -> its bytes; *used: of src. */
static size_t put_character(uint8_t out[LONGEST_JSON], const uint8_t *src, size_t len, size_t *used)
{
    size_t n = blitz_utf8_sequence(src, len);
    uint32_t code = n > 0 ? decode(src, n) : 0xfffd;
    *used = n > 0 ? n : 1;
    if (code == '"' || code == '\\') {
        out[0] = '\\';
        out[1] = (uint8_t)code;
        return 2;
    }
    if (code < 0x10000)
        return put_unit(out, code);
    size_t first = put_unit(out, 0xd7c0 + (code >> 10));
    return first + put_unit(out + first, 0xdc00 | (code & 0x3ff));
}

static size_t json_prefix(const uint8_t *src, size_t len)
{
    size_t i = 0;
    while (i < len && src[i] >= 0x20 && src[i] < 0x7f && src[i] != '"' && src[i] != '\\')
        i++;
    return i;
}

int64_t blitz_text_json(uint8_t *dst, size_t cap, const uint8_t *src, size_t len)
{
    size_t out = 0, in = 0;
    while (in < len) {
        uint8_t character[LONGEST_JSON];
        const uint8_t *piece = src + in;
        size_t used = json_prefix(piece, len - in), n = used;
        if (n == 0) {
            n = put_character(character, src + in, len - in, &used);
            piece = character;
        }
        if (n > cap - out)
            return BLITZ_E_SPACE;
        memcpy(dst + out, piece, n);
        out += n;
        in += used;
    }
    return (int64_t)out;
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
        if (used < stop - in)
            break;                                 /* dst is full */
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
