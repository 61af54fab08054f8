/* chunks.c: the chunked transfer coding, decoded where it lies (RFC 9112 section 7.1).
 *
 * A state machine over bytes, with a short cut for a whole chunk that is there. Strict:
 *   size      1 to 15 hexadecimal digits, nothing before or between; then CRLF or an extension
 *   extension its grammar exactly (section 7.1.1), with the "bad" whitespace that it must be read with
 *             (RFC 9110 section 5.6.3): around ';' and around '='; read and dropped
 *   data      followed by CRLF and nothing else
 *   trailers  field lines as in a head: token, ':', field-content, CRLF; no folding; read and dropped
 * CR is always followed by LF and LF always preceded by CR: the desyncs known as TERM.EXT, EXT.TERM
 * and TERM.SPILL need one that is not. A space before a size, or between it and its CRLF, which h11 and others tolerate, is refused.
 *
 * Bounds: one size line, the trailer section, and the sum of what size lines cost beyond the data they
 * bring (excess): a peer that sends a large extension with every one-byte chunk is stopped, as Go's
 * net/http does. Every byte is looked at once and moved at most once. */
#include "head.h"

#include <string.h>

enum {
    SIZE_START = 0, SIZE, SIZE_LF,
    EXT_NAME_START, EXT_NAME, EXT_NAME_END, EXT_VALUE_START, EXT_VALUE, EXT_QUOTED, EXT_ESCAPED,
    EXT_QUOTED_END, EXT_BWS,
    DATA, DATA_CR, DATA_LF,
    TRAILER_START, TRAILER_NAME, TRAILER_VALUE, TRAILER_LF, END_LF,
    DONE = 255
};

enum { MOST_DIGITS = 15, DEFAULT_LINE = 4096, DEFAULT_TRAILERS = 16384, FREE_LINE = 16, EXCESS_LINES = 4 };

static int hex(uint8_t byte)
{
    static const int8_t value[256] = {
        ['0'] = 1, ['1'] = 2, ['2'] = 3, ['3'] = 4, ['4'] = 5, ['5'] = 6, ['6'] = 7, ['7'] = 8,
        ['8'] = 9, ['9'] = 10, ['a'] = 11, ['b'] = 12, ['c'] = 13, ['d'] = 14, ['e'] = 15, ['f'] = 16,
        ['A'] = 11, ['B'] = 12, ['C'] = 13, ['D'] = 14, ['E'] = 15, ['F'] = 16,
    };
    return value[byte] - 1;
}

static bool is(uint8_t byte, int class)
{
    return (blitz_class[byte] & class) != 0;
}

static bool is_ows(uint8_t byte)
{
    return byte == ' ' || byte == '\t';
}

static uint32_t line_bound(const blitz_chunks *chunks)
{
    return chunks->max_line ? chunks->max_line : DEFAULT_LINE;
}

/* A size line of this many bytes is complete: may the body go on? */
static int charge(blitz_chunks *chunks, uint32_t line)
{
    uint64_t paid = FREE_LINE + 2 * chunks->remaining;
    uint64_t cost = (uint64_t)chunks->excess + line;
    cost = cost > paid ? cost - paid : 0;
    if (cost > (uint64_t)EXCESS_LINES * line_bound(chunks))
        return BLITZ_E_LIMIT;
    chunks->excess = (uint32_t)cost;
    return 0;
}

/* After ';': one byte of an extension. -> the next state, or BLITZ_E_SYNTAX. Two productions:
 * *( BWS ";" BWS name [ BWS "=" BWS ( token / quoted-string ) ] ). */
static int extension(int state, uint8_t byte)
{
    switch (state) {
    case EXT_NAME_START:
        if (is_ows(byte))
            return EXT_NAME_START;
        return is(byte, BLITZ_C_TOKEN) ? EXT_NAME : BLITZ_E_SYNTAX;
    case EXT_NAME:
        if (is(byte, BLITZ_C_TOKEN))
            return EXT_NAME;
        break;
    case EXT_NAME_END:                      /* whitespace after a name: '=' or ';' must follow */
        if (is_ows(byte))
            return EXT_NAME_END;
        if (byte == '=')
            return EXT_VALUE_START;
        return byte == ';' ? EXT_NAME_START : BLITZ_E_SYNTAX;
    case EXT_VALUE_START:
        if (is_ows(byte))
            return EXT_VALUE_START;
        if (byte == '"')
            return EXT_QUOTED;
        return is(byte, BLITZ_C_TOKEN) ? EXT_VALUE : BLITZ_E_SYNTAX;
    case EXT_VALUE:
        if (is(byte, BLITZ_C_TOKEN))
            return EXT_VALUE;
        break;
    case EXT_QUOTED:
        if (byte == '"')
            return EXT_QUOTED_END;
        if (byte == '\\')
            return EXT_ESCAPED;
        return is(byte, BLITZ_C_CONTENT) ? EXT_QUOTED : BLITZ_E_SYNTAX;
    case EXT_ESCAPED:
        return is(byte, BLITZ_C_CONTENT) ? EXT_QUOTED : BLITZ_E_SYNTAX;
    case EXT_BWS:                           /* whitespace after a size or a value: ';' must follow */
        if (is_ows(byte))
            return EXT_BWS;
        return byte == ';' ? EXT_NAME_START : BLITZ_E_SYNTAX;
    default:
        break;
    }
    /* Behind a name or a value that may be complete. */
    if (byte == '\r')
        return SIZE_LF;
    if (byte == ';')
        return EXT_NAME_START;
    if (byte == '=' && state == EXT_NAME)
        return EXT_VALUE_START;
    if (is_ows(byte))
        return state == EXT_NAME ? EXT_NAME_END : EXT_BWS;
    return BLITZ_E_SYNTAX;
}

/* One byte of a trailer section. -> the next state, or BLITZ_E_SYNTAX. */
static int trailer(int state, uint8_t byte)
{
    switch (state) {
    case TRAILER_START:
        if (byte == '\r')
            return END_LF;
        return is(byte, BLITZ_C_TOKEN) ? TRAILER_NAME : BLITZ_E_SYNTAX;
    case TRAILER_NAME:
        if (byte == ':')
            return TRAILER_VALUE;
        return is(byte, BLITZ_C_TOKEN) ? TRAILER_NAME : BLITZ_E_SYNTAX;
    case TRAILER_VALUE:
        if (byte == '\r')
            return TRAILER_LF;
        return is(byte, BLITZ_C_CONTENT) ? TRAILER_VALUE : BLITZ_E_SYNTAX;
    case TRAILER_LF:
        return byte == '\n' ? TRAILER_START : BLITZ_E_SYNTAX;
    default:                                /* END_LF */
        return byte == '\n' ? DONE : BLITZ_E_SYNTAX;
    }
}

/* One byte of a size line. -> the next state, or an error. */
static int size_line(blitz_chunks *chunks, uint8_t byte)
{
    int digit = hex(byte);
    switch (chunks->state) {
    case SIZE_START:
        if (digit < 0)
            return BLITZ_E_SYNTAX;
        chunks->remaining = (uint64_t)digit;
        chunks->digits = 1;
        return SIZE;
    case SIZE:
        if (digit >= 0) {
            if (chunks->digits == MOST_DIGITS)
                return BLITZ_E_SYNTAX;
            chunks->remaining = chunks->remaining << 4 | (uint64_t)digit;
            chunks->digits++;
            return SIZE;
        }
        if (byte == '\r')
            return SIZE_LF;
        if (is_ows(byte))
            return EXT_BWS;
        return byte == ';' ? EXT_NAME_START : BLITZ_E_SYNTAX;
    case SIZE_LF: {
        if (byte != '\n')
            return BLITZ_E_SYNTAX;
        int result = charge(chunks, chunks->meta_size);
        if (result < 0)
            return result;
        chunks->meta_size = 0;
        return chunks->remaining ? DATA : TRAILER_START;
    }
    default:
        return extension(chunks->state, byte);
    }
}

/* One byte that is no data. -> 0 or an error. */
static int step(blitz_chunks *chunks, uint8_t byte)
{
    int next;
    if (chunks->state < DATA) {
        if (++chunks->meta_size > line_bound(chunks))
            return BLITZ_E_LIMIT;
        next = size_line(chunks, byte);
    } else if (chunks->state == DATA_CR) {
        next = byte == '\r' ? DATA_LF : BLITZ_E_SYNTAX;
    } else if (chunks->state == DATA_LF) {
        next = byte == '\n' ? SIZE_START : BLITZ_E_SYNTAX;
    } else {
        uint32_t bound = chunks->max_trailers ? chunks->max_trailers : DEFAULT_TRAILERS;
        if (++chunks->meta_size > bound)
            return BLITZ_E_LIMIT;
        next = trailer(chunks->state, byte);
    }
    if (next < 0)
        return next;
    chunks->state = (uint8_t)next;
    return 0;
}

/* The short cut: "size CRLF" at the front of [at, end), the size of a chunk with data, of at most 7
 * digits. -> behind it with *size set, or at when it is anything else. */
static const uint8_t *plain_size(const uint8_t *at, const uint8_t *end, uint64_t *size)
{
    const uint8_t *from = at;
    if (end - at < 9)
        return at;
    uint32_t number = 0;
    int digit;
    while ((digit = hex(*at)) >= 0 && at - from < 7) {
        number = number << 4 | (uint32_t)digit;
        at++;
    }
    if (number == 0 || at[0] != '\r' || at[1] != '\n')
        return from;
    *size = number;
    return at + 2;
}

static void move(uint8_t *to, const uint8_t *from, size_t len)
{
    if (len < 16)
        while (len--)
            *to++ = *from++;
    else if (to != from)
        memmove(to, from, len);
}

int64_t blitz_chunks_decode(blitz_chunks *chunks, uint8_t *buf, size_t len, size_t *consumed)
{
    const uint8_t *at = buf, *end = buf + len;
    uint8_t *out = buf;
    while (at < end && chunks->state != DONE) {
        if (chunks->state == DATA) {
            size_t there = (size_t)(end - at);
            size_t n = there < chunks->remaining ? there : (size_t)chunks->remaining;
            move(out, at, n);
            out += n;
            at += n;
            chunks->remaining -= n;
            if (chunks->remaining == 0)
                chunks->state = DATA_CR;
            continue;
        }
        if (chunks->state == DATA_CR && end - at >= 2 && at[0] == '\r' && at[1] == '\n') {
            at += 2;
            chunks->state = SIZE_START;
        }
        if (chunks->state == SIZE_START) {
            const uint8_t *data = plain_size(at, end, &chunks->remaining);
            if (data != at && data - at <= line_bound(chunks)) {
                int result = charge(chunks, (uint32_t)(data - at));
                if (result < 0)
                    return result;
                at = data;
                chunks->state = DATA;
                continue;
            }
        }
        if (at == end)
            break;
        int result = step(chunks, *at++);
        if (result < 0)
            return result;
    }
    *consumed = (size_t)(at - buf);
    return out - buf;
}
