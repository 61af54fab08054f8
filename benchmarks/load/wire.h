/* wire.h: the little of HTTP/1.1 that the load generator and the origin share: find the end of a
 * head, find how its body ends, walk through a chunked body. They trust their peer to be a server
 * under test on loopback: what is malformed ends the run with a count, it is not parsed with care. */
#ifndef BENCH_WIRE_H
#define BENCH_WIRE_H
#define _GNU_SOURCE
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <strings.h>

enum { BODY_NONE, BODY_LENGTH, BODY_CHUNKED, BODY_CLOSE };

typedef struct {
    int framing;              /* BODY_* */
    uint64_t length;          /* BODY_LENGTH */
    bool close;               /* Connection: close */
} wire_body;

/* Bytes of the head at the front of buf, the empty line included; 0 when it is not complete. */
static inline size_t wire_head(const uint8_t *buf, size_t len)
{
    const uint8_t *end = memmem(buf, len, "\r\n\r\n", 4);
    return end ? (size_t)(end - buf) + 4 : 0;
}

static inline bool wire_name(const uint8_t *line, size_t len, const char *name, size_t name_len)
{
    return len > name_len && line[name_len] == ':' && strncasecmp((const char *)line, name, name_len) == 0;
}

/* Read the field lines of a complete head. without: the framing when no field says any. */
static inline wire_body wire_fields(const uint8_t *head, size_t len, int without)
{
    wire_body body = { without, 0, false };
    const uint8_t *at = memchr(head, '\n', len), *end = head + len;
    for (at = at ? at + 1 : end; at < end;) {
        const uint8_t *eol = memchr(at, '\n', (size_t)(end - at));
        size_t line = (size_t)((eol ? eol : end) - at);
        uint8_t first = line ? *at | 0x20 : 0;
        if (first == 'c' && wire_name(at, line, "content-length", 14)) {
            body.framing = BODY_LENGTH;
            body.length = 0;
            for (const uint8_t *p = at + 15; p < at + line; p++)
                if (*p >= '0' && *p <= '9') body.length = body.length * 10 + (uint64_t)(*p - '0');
        } else if (first == 't' && wire_name(at, line, "transfer-encoding", 17)) {
            body.framing = BODY_CHUNKED;
            return body;
        } else if (first == 'c' && wire_name(at, line, "connection", 10)) {
            body.close = memmem(at, line, "close", 5) != NULL;
        }
        if (!eol) break;
        at = eol + 1;
    }
    return body;
}

/* A chunked body as it passes by; all zero at its start. */
typedef struct {
    uint64_t left;            /* data bytes of the present chunk */
    uint64_t size;            /* the size line so far */
    int state;                /* 0 size line, 1 data, 2 line end after data, 3 trailers, 4 done, -1 broken */
    size_t line;              /* bytes of the present trailer line */
} wire_chunks;

static inline int wire_hex(uint8_t c)
{
    if (c >= '0' && c <= '9') return c - '0';
    c |= 0x20;
    return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

/* Walk over buf; *data grows by the data bytes seen. -> bytes used. */
static inline size_t wire_walk(wire_chunks *c, const uint8_t *buf, size_t len, uint64_t *data)
{
    size_t i = 0;
    while (i < len && c->state >= 0 && c->state < 4) {
        if (c->state == 1) {
            size_t n = len - i < c->left ? len - i : (size_t)c->left;
            i += n;
            *data += n;
            c->left -= n;
            if (!c->left) c->state = 2;
            continue;
        }
        uint8_t b = buf[i++];
        if (c->state == 0) {
            int digit = wire_hex(b);
            if (digit >= 0) c->size = c->size * 16 + (uint64_t)digit;
            else if (b == '\n') {
                c->left = c->size;
                c->state = c->size ? 1 : 3;
                c->size = c->line = 0;
            } else if (b != '\r') c->state = -1;
        } else if (c->state == 2) {
            if (b == '\n') c->state = 0;
        } else if (b == '\n') {
            if (!c->line) c->state = 4;
            c->line = 0;
        } else if (b != '\r') c->line++;
    }
    return i;
}
#endif
