/* body_pipe.c: bodies of messages: where they end, how they are framed, what their senders owe.
 *
 * A blitz_body is told what arrived and says how much of it is data, now at the front of what it was given, and how
 * much belongs to whatever comes next on the connection. It never takes a byte behind the end of its body, so that
 * those are never lost, and never mistaken for a message of their own.
 *
 * Both drivers of an exchange use it: the fast path through a blitz_pipe, which frames what was decoded for the
 * other side, and blitz/http/body.py.
 */
#include "body_pipe.h"
#include <string.h>

enum { CHUNKS_DONE = 255 };

void blitz_body_begin(blitz_body *body, int kind, int64_t length, int64_t limit, uint32_t max_line, uint32_t max_trailers)
{
    *body = (blitz_body){.kind = (uint8_t)kind, .remaining = -1, .limit = limit};
    body->chunks.max_line = max_line;
    body->chunks.max_trailers = max_trailers;
    if (kind == BLITZ_BODY_NONE || kind == BLITZ_BODY_LENGTH)
        body->remaining = kind == BLITZ_BODY_LENGTH ? length : 0;
    body->done = body->remaining == 0;
}

static void come_to_the_end(blitz_body *body)
{
    body->done = 1;
    body->remaining = 0;
}

static int64_t feed_chunks(blitz_body *body, uint8_t *buf, size_t len, size_t *consumed)
{
    int64_t data = blitz_chunks_decode(&body->chunks, buf, len, consumed);
    if (data < 0)
        return data == BLITZ_E_LIMIT ? BLITZ_BODY_CODING_LIMIT : BLITZ_BODY_MALFORMED;
    if (body->chunks.state == CHUNKS_DONE)
        come_to_the_end(body);
    return data;
}

int64_t blitz_body_feed(blitz_body *body, uint8_t *buf, size_t len, size_t *consumed)
{
    int64_t data = (int64_t)len;
    *consumed = 0;
    if (body->done)
        return 0;
    if (body->kind == BLITZ_BODY_CHUNKED) {
        data = feed_chunks(body, buf, len, consumed);
        if (data < 0)
            return data;
    } else if (body->kind == BLITZ_BODY_LENGTH && data >= body->remaining) {
        data = body->remaining;
        come_to_the_end(body);
        *consumed = (size_t)data;
    } else {
        if (body->kind == BLITZ_BODY_LENGTH)
            body->remaining -= data;
        *consumed = len;
    }
    if (body->limit > 0 && body->received + (uint64_t)data > (uint64_t)body->limit)
        return BLITZ_BODY_TOO_LONG;              /* the part that is too much was not received */
    body->received += (uint64_t)data;
    return data;
}

void blitz_body_pass_by(blitz_body *body, int64_t size)
{
    body->received += (uint64_t)size;
    body->remaining -= size;
    body->done = body->remaining == 0;
}

int blitz_body_end(blitz_body *body)
{
    if (body->done)
        return 0;
    if (body->kind != BLITZ_BODY_CLOSE)
        return BLITZ_BODY_CUT;
    come_to_the_end(body);
    return 0;
}

int blitz_body_framing(int kind, int minor)
{
    if (kind != BLITZ_BODY_CHUNKED && kind != BLITZ_BODY_CLOSE)
        return kind;
    return minor > 0 ? BLITZ_BODY_CHUNKED : BLITZ_BODY_CLOSE;
}

/* ---------------------------------------------------------------- chunked coding, written */

static const char LAST[] = "0\r\n\r\n";

static size_t put_size(uint8_t *end, size_t size)
{
    static const char digits[] = "0123456789abcdef";
    uint8_t *at = end;
    *--at = '\n';
    *--at = '\r';
    do
        *--at = (uint8_t)digits[size & 15];
    while ((size >>= 4) > 0);
    return (size_t)(end - at);
}

size_t blitz_chunk_frame(uint8_t *data, size_t len, int last, size_t *before)
{
    uint8_t *end = data + len;
    *before = 0;
    if (len > 0) {                       /* a chunk of no bytes would end the body */
        *before = put_size(data, len);
        *end++ = '\r';
        *end++ = '\n';
    }
    if (last) {
        memcpy(end, LAST, sizeof LAST - 1);
        end += sizeof LAST - 1;
    }
    return *before + (size_t)(end - data);
}

int blitz_pipe_fill(blitz_pipe *pipe, uint8_t *part, size_t got)
{
    uint8_t *at = part + BLITZ_PART_HEADROOM;
    size_t consumed = 0, before = 0;
    int64_t data = got > 0 ? blitz_body_feed(&pipe->body, at, got, &consumed) : blitz_body_end(&pipe->body);
    if (data < 0)
        return (int)data;
    pipe->n_ahead = got - consumed;
    pipe->ahead = at + consumed;
    if (pipe->chunked && pipe->n_ahead > 0) {    /* out of the way of what is written behind the data */
        pipe->ahead = at + got + BLITZ_PART_TAILROOM - pipe->n_ahead;
        memmove(pipe->ahead, at + consumed, pipe->n_ahead);
    }
    pipe->start = BLITZ_PART_HEADROOM;
    pipe->end = pipe->start + (size_t)data;
    if (pipe->chunked) {
        size_t size = blitz_chunk_frame(at, (size_t)data, pipe->body.done, &before);
        pipe->start -= before;
        pipe->end = pipe->start + size;
    }
    return 0;
}

/* ---------------------------------------------------------------- what a sender and a receiver owe */

double blitz_rate_begin(blitz_rate *rate, double now, uint64_t received)
{
    if (!rate->waits)
        rate->since = now;
    rate->waits = 1;
    return rate->grace + (double)received / rate->owed - rate->waited - (now - rate->since);
}

void blitz_rate_end(blitz_rate *rate, double now)
{
    if (rate->waits)
        rate->waited += now - rate->since;
    rate->waits = 0;
}

int blitz_took_some(int64_t unsent_before, int64_t unsent_now)
{
    return 0 <= unsent_now && unsent_now < unsent_before;
}
