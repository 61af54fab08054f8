/* Invariants: whatever a body is framed in and however it is cut, the pipe gives the same data in the other
 * framing, no byte behind its end, all bytes that came behind it, and nothing outside of its part is touched. */
#include "../body_pipe.h"
#include "guard.h"
#include <stdlib.h>
#include <string.h>

enum { MOST = 6000 };

typedef struct { uint8_t bytes[4 * MOST]; size_t len; } text;

static void put(text *to, const void *bytes, size_t len)
{
    memcpy(to->bytes + to->len, bytes, len);
    to->len += len;
}

static void make(text *data, text *wire, int kind, uint64_t *seed)
{
    data->len = wire->len = 0;
    size_t left = next_random(seed) % MOST;
    while (left > 0) {
        char line[32];
        size_t n = 1 + next_random(seed) % left, from = data->len;
        for (size_t i = 0; i < n; i++)
            data->bytes[data->len++] = (uint8_t)next_random(seed);
        if (kind == BLITZ_BODY_CHUNKED)
            put(wire, line, (size_t)snprintf(line, sizeof line, "%zx%s\r\n", n, next_random(seed) & 7 ? "" : ";a=b"));
        put(wire, data->bytes + from, n);
        if (kind == BLITZ_BODY_CHUNKED)
            put(wire, "\r\n", 2);
        left -= n;
    }
    static const char plain[] = "0\r\n\r\n", trailers[] = "0\r\nx: y\r\n\r\n";
    bool with_trailers = next_random(seed) & 1;
    if (kind == BLITZ_BODY_CHUNKED)
        put(wire, with_trailers ? trailers : plain, with_trailers ? sizeof trailers - 1 : sizeof plain - 1);
}

/* What goes out, decoded again if it is chunked. */
static void take_out(text *out, const text *sent, bool chunked)
{
    *out = *sent;
    if (!chunked)
        return;
    blitz_chunks chunks = {0};
    size_t used;
    int64_t n = blitz_chunks_decode(&chunks, out->bytes, out->len, &used);
    MUST(n >= 0 && chunks.state == 255 && used == out->len, "what was written is not one whole chunked body");
    out->len = (size_t)n;
}

static void play(int kind, bool chunked, uint64_t *seed)
{
    static text data, wire, sent, out, ahead;
    uint8_t *part = malloc(BLITZ_PART_ROOM);    /* a redzone behind it */
    blitz_pipe pipe = {.chunked = chunked};
    make(&data, &wire, kind, seed);
    size_t behind = kind == BLITZ_BODY_CHUNKED ? next_random(seed) % 40 : 0;
    for (size_t i = 0; i < behind; i++)
        wire.bytes[wire.len++] = (uint8_t)next_random(seed);
    sent.len = ahead.len = 0;
    blitz_body_begin(&pipe.body, kind, (int64_t)data.len, 0, 0, 0);
    for (size_t at = 0; !pipe.body.done;) {
        size_t n = 1 + next_random(seed) % (next_random(seed) & 1 ? 9 : 3000);
        n = n < wire.len - at ? n : wire.len - at;
        n = n < blitz_pipe_room(&pipe, false) ? n : blitz_pipe_room(&pipe, false);
        MUST(n > 0 || kind == BLITZ_BODY_CLOSE, "the body does not end");
        memcpy(part + BLITZ_PART_HEADROOM, wire.bytes + at, n);
        MUST(blitz_pipe_fill(&pipe, part, n) == 0, "fill");
        put(&sent, part + pipe.start, pipe.end - pipe.start);
        put(&ahead, pipe.ahead, pipe.n_ahead);
        at += n;
        MUST(pipe.body.done || pipe.n_ahead == 0, "bytes behind a body that goes on");
        if (pipe.body.done)
            put(&ahead, wire.bytes + at, wire.len - at);
    }
    take_out(&out, &sent, chunked);
    MUST(out.len == data.len && memcmp(out.bytes, data.bytes, data.len) == 0, "other data came out");
    MUST(pipe.body.received == data.len, "received %llu of %zu", (unsigned long long)pipe.body.received, data.len);
    MUST(ahead.len == behind && memcmp(ahead.bytes, wire.bytes + wire.len - behind, behind) == 0, "bytes behind it");
    free(part);
}

static int end_after(int kind, int64_t length, int64_t limit, const char *octets)
{
    static uint8_t part[BLITZ_PART_ROOM];
    blitz_pipe pipe = {0};
    blitz_body_begin(&pipe.body, kind, length, limit, 0, 0);
    memcpy(part + BLITZ_PART_HEADROOM, octets, strlen(octets));
    int result = blitz_pipe_fill(&pipe, part, strlen(octets));
    return result < 0 ? result : blitz_pipe_fill(&pipe, part, 0);
}

static void test_ends(void)
{
    MUST(end_after(BLITZ_BODY_LENGTH, 5, 0, "abcd") == BLITZ_BODY_CUT, "a length that is cut");
    MUST(end_after(BLITZ_BODY_LENGTH, 4, 0, "abcd") == 0, "a length");
    MUST(end_after(BLITZ_BODY_CHUNKED, -1, 0, "4\r\nabcd\r\n") == BLITZ_BODY_CUT, "chunks that are cut");
    MUST(end_after(BLITZ_BODY_CHUNKED, -1, 0, "4\nabcd\r\n") == BLITZ_BODY_MALFORMED, "a bare LF");
    MUST(end_after(BLITZ_BODY_CLOSE, -1, 0, "abcd") == 0, "until close");
    MUST(end_after(BLITZ_BODY_CHUNKED, -1, 4, "4\r\nabcd\r\n0\r\n\r\n") == 0, "as long as it may be");
    MUST(end_after(BLITZ_BODY_CHUNKED, -1, 3, "4\r\nabcd\r\n0\r\n\r\n") == BLITZ_BODY_TOO_LONG, "too long");
    char line[5000];
    memset(line, 'a', sizeof line);
    memcpy(line, "4;", 2);
    line[sizeof line - 1] = 0;
    MUST(end_after(BLITZ_BODY_CHUNKED, -1, 0, line) == BLITZ_BODY_CODING_LIMIT, "an extension without end");
}

static void test_rate(void)
{
    blitz_rate rate = {.owed = 10, .grace = 5};
    MUST(blitz_rate_begin(&rate, 100, 0) == 5, "grace");
    MUST(blitz_rate_begin(&rate, 102, 0) == 3, "the wait goes on");
    blitz_rate_end(&rate, 104);
    MUST(blitz_rate_begin(&rate, 200, 20) == 3, "only time that it was waited for counts, and what came pays");
    MUST(blitz_took_some(5, 4) && !blitz_took_some(4, 4) && !blitz_took_some(4, -1), "acknowledged");
}

int main(void)
{
    uint64_t seed = 7230;
    static const int kinds[] = {BLITZ_BODY_LENGTH, BLITZ_BODY_CHUNKED, BLITZ_BODY_CLOSE};
    for (int round = 0; round < 6000; round++)
        play(kinds[round % 3], next_random(&seed) & 1, &seed);
    test_ends();
    test_rate();
    puts("body pipe: 6000 bodies, framed and cut at random");
    return 0;
}
