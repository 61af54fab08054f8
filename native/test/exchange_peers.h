/* exchange_peers.h: clients and upstreams of a fuzzer, and a strict reading of what they get.
 *
 * Every request has a number, in its target and in a field that its response has to carry as well. Bodies follow
 * from the number, so that a byte that is lost, invented or another message's is found where it stands.
 */
#ifndef BLITZ_TEST_EXCHANGE_PEERS_H
#define BLITZ_TEST_EXCHANGE_PEERS_H
#include "guard.h"
#include "input.h"
#include <errno.h>
#include <stdbool.h>
#include <string.h>
#include <sys/socket.h>

enum { STREAM = 1 << 18, MOST_REQUESTS = 32, MOST_BODY = 6000, NOBODY = 999999 };

typedef struct { uint8_t *bytes; size_t n, done; } stream;   /* of STREAM bytes; done: sent, or read as messages */

typedef enum { METHOD_GET, METHOD_HEAD, METHOD_POST, METHODS } method;
typedef enum { FRAMING_NONE, FRAMING_LENGTH, FRAMING_CHUNKED, FRAMING_CLOSE, FRAMINGS } framing;
static const char *const METHOD_NAMES[METHODS] = {"GET", "HEAD", "POST"};

typedef struct {
    method method;
    size_t body;             /* bytes of the request's; how many the upstream was told of the response's is in answer */
    size_t answer;
    bool seen, answered;     /* by an upstream; its response was begun */
    bool until_close;        /* the response ends with its connection: wherever that is, it looks complete */
    size_t end;              /* where it ends in its client's stream */
    int client;
} request;

static request requests[MOST_REQUESTS];
static uint32_t n_requests;

/* The byte at a place of a body: text that would be another message if it were ever read as one. */
static uint8_t body_byte(uint32_t number, bool response, size_t at)
{
    static const char evil[] = "\r\n\r\nGET /999999 HTTP/1.1\r\nHost: h\r\nX-Number: 999999\r\n\r\n";
    if (number % 3 == 0)
        return (uint8_t)evil[at % (sizeof evil - 1)];
    return (uint8_t)('a' + (number * 7 + at * 13 + (response ? 5 : 0)) % 26);
}

static void put(stream *to, const void *bytes, size_t n)
{
    if (n > STREAM - to->n)
        n = STREAM - to->n;              /* it has said enough */
    memcpy(to->bytes + to->n, bytes, n);
    to->n += n;
}

static void put_text(stream *to, const char *text) { put(to, text, strlen(text)); }

static void put_body(stream *to, uint32_t number, bool response, size_t size, framing how)
{
    size_t part = how == FRAMING_CHUNKED ? 700 : size;
    char line[32];
    for (size_t at = 0; at < size; at += part) {
        size_t n = part < size - at ? part : size - at;
        if (how == FRAMING_CHUNKED)
            put(to, line, (size_t)snprintf(line, sizeof line, "%zx\r\n", n));
        for (size_t i = 0; i < n; i++) {
            uint8_t byte = body_byte(number, response, at + i);
            put(to, &byte, 1);
        }
        if (how == FRAMING_CHUNKED)
            put_text(to, "\r\n");
    }
    if (how == FRAMING_CHUNKED)
        put_text(to, "0\r\n\r\n");
}

static void put_framing(stream *to, size_t size, framing how)
{
    char line[64];
    if (how == FRAMING_LENGTH)
        put(to, line, (size_t)snprintf(line, sizeof line, "Content-Length: %zu\r\n", size));
    if (how == FRAMING_CHUNKED)
        put_text(to, "Transfer-Encoding: chunked\r\n");
    put_text(to, "\r\n");
}

/* Has this stream room for one more message of any size? */
static bool has_room(const stream *to) { return STREAM - to->n > MOST_BODY + 1024; }

static void ask(stream *to, int client, source *in)
{
    static const char *const fields[] = {"", "", "", "Connection: close\r\n", "User-Agent: me\r\n", "Expect: 100-continue\r\n"};
    if (n_requests == MOST_REQUESTS || !has_room(to))
        return;
    uint32_t number = n_requests++;
    method method = take_byte(in) % METHODS;
    framing how = method == METHOD_POST ? take_byte(in) % 3 : FRAMING_NONE;
    size_t size = how == FRAMING_NONE ? 0 : (size_t)take_byte(in) * MOST_BODY / 255;
    int minor = take_byte(in) % 8 != 0;
    char head[256];
    put(to, head, (size_t)snprintf(head, sizeof head, "%s /%06u HTTP/1.%d\r\nHost: h\r\nX-Number: %06u\r\n%s",
                                   METHOD_NAMES[method], number, minor, number, fields[take_byte(in) % 6]));
    put_framing(to, size, how);
    put_body(to, number, false, size, how);
    requests[number] = (request){.method = method, .body = size, .client = client, .end = to->n};
}

/* What an upstream says to a request; in says how. -> the connection ends with it. *glued: it said more than it was
 * asked, which has to arrive with the rest: behind the next request it could not be told from its response. */
static bool answer(stream *to, uint32_t number, source *in, bool politely, bool *glued)
{
    static const char *const fields[] = {"", "", "", "Connection: close\r\n", "Date: x\r\n", "Server: it\r\n"};
    request *asked = &requests[number];
    uint8_t shape = politely ? 0 : take_byte(in);
    framing how = shape == 0 ? FRAMING_LENGTH : take_byte(in) % FRAMINGS;
    int status = shape % 8 == 1 ? 204 : shape % 8 == 2 ? 304 : shape % 8 == 3 ? 404 : 200;
    size_t size = politely ? 10 : (size_t)take_byte(in) * MOST_BODY / 255;
    bool bodiless = asked->method == METHOD_HEAD || status == 204 || status == 304;
    if (!bodiless && how == FRAMING_NONE)
        how = FRAMING_CLOSE;
    char head[256];
    if (shape % 16 == 7)
        put_text(to, "HTTP/1.1 103 Early Hints\r\n\r\n");
    put(to, head, (size_t)snprintf(head, sizeof head, "HTTP/1.%d %d Said\r\nX-Number: %06u\r\n%s",
                                   shape % 32 != 9, status, number, fields[politely ? 0 : take_byte(in) % 6]));
    put_framing(to, size, status == 204 ? FRAMING_NONE : how);
    asked->answer = size;
    asked->until_close = how == FRAMING_CLOSE;
    if (!bodiless)
        put_body(to, number, true, size, how);
    bool until_close = how == FRAMING_CLOSE && !bodiless;
    bool more = shape % 16 == 12 && !until_close;
    *glued |= more;
    if (more)
        put_text(to, "HTTP/1.1 200 OK\r\nContent-Length: 4\r\nX-Number: 999999\r\n\r\nevil");
    return until_close;
}

/* ---------------------------------------------------------------- reading */

static const char *find(const char *text, size_t n, const char *what)
{
    return memmem(text, n, what, strlen(what));
}

/* The value of a field in a head, as a number; -1: it has none. */
static long field(const char *head, size_t n, const char *name)
{
    const char *at = find(head, n, name);
    return at != NULL ? strtol(at + strlen(name), NULL, 10) : -1;
}

static size_t head_size(const stream *from)
{
    const char *begin = (const char *)from->bytes + from->done, *end = find(begin, from->n - from->done, "\r\n\r\n");
    return end != NULL ? (size_t)(end - begin) + 4 : 0;
}

/* The bytes that are there of a body: they are those that belong to the message. -> bytes used; *whole. */
static size_t check_body(const uint8_t *at, size_t n, uint32_t number, bool response, size_t size, framing how, bool *whole)
{
    size_t used = 0, seen = 0;
    *whole = false;
    while (how == FRAMING_CHUNKED) {
        const char *line = (const char *)at + used, *end = find(line, n - used, "\r\n");
        if (end == NULL)
            return n;
        size_t part = strtoul(line, NULL, 16), left;
        used += (size_t)(end - line) + 2;
        left = n - used;
        for (size_t i = 0; i < part && i < left; i++)
            MUST(seen + i < size && at[used + i] == body_byte(number, response, seen + i), "%06u: byte %zu", number, seen + i);
        seen += part;
        if (left < part + 2)
            return n;
        MUST(memcmp(at + used + part, "\r\n", 2) == 0, "%06u: behind a chunk", number);
        used += part + 2;
        if (part == 0) {
            MUST(seen == size || (response && requests[number].until_close), "%06u: %zu of %zu bytes", number, seen, size);
            *whole = true;
            return used;
        }
    }
    for (; seen < n && seen < size; seen++)
        MUST(at[seen] == body_byte(number, response, seen), "%06u: byte %zu", number, seen);
    *whole = seen == size;
    return seen;
}

/* One message in front of *from*, whatever is there of it. -> its number, or -1: its head is not whole, or it was a
 * 1xx. *whole: all of it is there, and from->done is behind it. */
static long read_message(stream *from, bool response, bool *whole)
{
    size_t head = head_size(from);
    *whole = false;
    if (head == 0)
        return -1;
    const char *text = (const char *)from->bytes + from->done;
    long status = response ? strtol(text + 9, NULL, 10) : 0;
    MUST(!response || (strncmp(text, "HTTP/1.1 ", 9) == 0 && status >= 100 && status < 600), "%.20s", text);
    if (response && status < 200) {
        from->done += head;
        return -1;
    }
    long number = field(text, head, "\r\nX-Number: "), length = field(text, head, "\r\nContent-Length: ");
    if (number < 0)
        return -2;                           /* one of the gateway's own */
    MUST((uint32_t)number < n_requests, "a message that nobody sent: %.*s", (int)head, text);
    request *asked = &requests[number];
    bool bodiless = response && (asked->method == METHOD_HEAD || status == 204 || status == 304);
    bool chunked = find(text, head, "\r\nTransfer-Encoding: chunked\r\n") != NULL;
    framing how = chunked ? FRAMING_CHUNKED : length >= 0 ? FRAMING_LENGTH : response ? FRAMING_CLOSE : FRAMING_NONE;
    size_t size = response ? asked->answer : asked->body;
    MUST(!(chunked && length >= 0), "%06ld: two framings", number);
    if (!bodiless && length >= 0)
        MUST((size_t)length == size, "%06ld: length %ld of %zu", number, length, size);
    if (!response)
        MUST(strtoul(strchr(text, '/') + 1, NULL, 10) == (unsigned long)number &&
             strncmp(text, METHOD_NAMES[asked->method], strlen(METHOD_NAMES[asked->method])) == 0, "%.30s", text);
    if (bodiless) {
        *whole = true;
        from->done += head;
        return number;
    }
    size_t used = check_body(from->bytes + from->done + head, from->n - from->done - head, (uint32_t)number, response, size, how, whole);
    if (*whole)
        from->done += head + used;
    return number;
}
#endif
