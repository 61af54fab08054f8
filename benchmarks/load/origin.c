/* origin.c: the upstream of every benchmark. One thread, epoll, fixed answers: it has to be cheaper
 * than anything that is measured in front of it.
 *
 *   origin ADDRESS PORT [poll]   port 0: the kernel chooses; "listening PORT" goes to standard output;
 *                                of several addresses with commas between, every one has the port
 *                                poll: never sleep, yield the core instead (why: load.c)
 *
 *   GET  /echo        200, the request head as it arrived (what a proxy and its plugins made of it)
 *   GET  /bytes/N     200, N bytes
 *   GET  /chunked/N   200, N bytes (at most 64 KiB) in one chunk
 *   GET  /json/N      200, N bytes (at most 64 KiB) of JSON: records with names, numbers and words
 *   POST /sum         200, "sum S\n": FNV-1a (32 bits, hexadecimal) of a body of known length
 *   GET  anything     200, 128 bytes
 *   POST anything     200, "received N\n" once the whole body is here
 */
#include "wire.h"
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

enum { HEAD_MAX = 16384, READ_SIZE = 1 << 20, EVENTS = 256, FIXED = 128, LISTENERS = 4 };

typedef struct {
    int fd;
    size_t have;              /* bytes of an incomplete head */
    bool in_body, waits_for_room;
    wire_body body;
    wire_chunks chunks;
    uint64_t body_left, received;
    bool summed;              /* /sum */
    uint32_t sum;
    uint64_t send_left;       /* bytes of a /bytes/N answer still to send */
    uint8_t head[HEAD_MAX];
} conn;

static uint8_t read_buf[HEAD_MAX + READ_SIZE], pattern[READ_SIZE];
static char fixed[1024], date[64];
static size_t fixed_len;
static conn listener[LISTENERS];        /* their descriptors only */
static int epfd;

static void drop(conn *c)
{
    close(c->fd);
    free(c);
}

static void want(conn *c, bool room)
{
    if (c->waits_for_room == room) return;
    c->waits_for_room = room;
    struct epoll_event e = { .events = room ? EPOLLOUT : EPOLLIN, .data.ptr = c };
    epoll_ctl(epfd, EPOLL_CTL_MOD, c->fd, &e);
}

/* Small answers always fit the socket's buffer here: the peers read what they asked for. */
static bool say(conn *c, const void *bytes, size_t len, int flags)
{
    return send(c->fd, bytes, len, MSG_NOSIGNAL | flags) == (ssize_t)len;
}

static size_t answer_head(char *out, size_t cap, uint64_t length)
{
    return (size_t)snprintf(out, cap,
        "HTTP/1.1 200 OK\r\nServer: origin\r\nDate: %s\r\nContent-Type: text/plain\r\nContent-Length: %llu\r\n\r\n",
        date, (unsigned long long)length);
}

static bool answer_text(conn *c, const void *text, size_t len)
{
    char out[HEAD_MAX + 512];
    size_t n = answer_head(out, 512, len);
    memcpy(out + n, text, len);
    return say(c, out, n + len, 0);
}

static bool pump(conn *c)
{
    while (c->send_left) {
        size_t part = c->send_left < READ_SIZE ? (size_t)c->send_left : READ_SIZE;
        ssize_t n = send(c->fd, pattern, part, MSG_NOSIGNAL);
        if (n < 0) {
            if (errno != EAGAIN) return false;
            want(c, true);
            return true;
        }
        c->send_left -= (uint64_t)n;
    }
    want(c, false);
    return true;
}

static bool answer_chunked(conn *c, size_t len)
{
    static char out[(1 << 16) + 512];
    if (len > 1 << 16) return false;
    int n = snprintf(out, 512,
        "HTTP/1.1 200 OK\r\nServer: origin\r\nDate: %s\r\nContent-Type: text/plain\r\nTransfer-Encoding: chunked\r\n\r\n%zx\r\n",
        date, len);
    memset(out + n, 'o', len);
    memcpy(out + n + len, "\r\n0\r\n\r\n", 7);
    return say(c, out, (size_t)n + len + 7, 0);
}

/* The same bytes each time, which compress as records of an API do. */
static size_t fill_json(char *out, size_t len)
{
    static const char *const words[] = { "alpha", "bravo", "charlie", "delta", "echo", "foxtrot", "golf", "hotel" };
    uint32_t seed = 1;
    size_t at = 0;
    for (unsigned id = 0; at < len; id++) {
        char one[256];
        seed = seed * 1664525u + 1013904223u;
        int n = snprintf(one, sizeof one,
            "%s{\"id\":%u,\"name\":\"user%u\",\"email\":\"%08x@example.org\",\"active\":%s,\"score\":0.%09u,"
            "\"tags\":[\"%s\",\"%s\"]}",
            id ? "," : "[", id, seed >> 12, seed, seed & 64 ? "true" : "false", seed >> 3, words[seed >> 29],
            words[seed >> 26 & 7]);
        size_t part = len - at < (size_t)n ? len - at : (size_t)n;
        memcpy(out + at, one, part);
        at += part;
    }
    return len;
}

static bool answer_json(conn *c, size_t len)
{
    static char out[(1 << 16) + 512], text[1 << 16];
    static size_t filled;
    if (len > sizeof text) return false;
    if (filled != len) filled = fill_json(text, len);
    int n = snprintf(out, 512,
        "HTTP/1.1 200 OK\r\nServer: origin\r\nDate: %s\r\nContent-Type: application/json\r\nContent-Length: %zu\r\n\r\n",
        date, len);
    memcpy(out + n, text, len);
    return say(c, out, (size_t)n + len, 0);
}

static uint32_t fnv(uint32_t sum, const uint8_t *bytes, size_t len)
{
    for (size_t i = 0; i < len; i++) sum = (sum ^ bytes[i]) * 16777619u;
    return sum;
}

static bool answer(conn *c, const uint8_t *head, size_t len)
{
    if (len > 10 && !memcmp(head, "GET /echo", 9)) return answer_text(c, head, len);
    if (len > 12 && !memcmp(head, "GET /bytes/", 11)) {
        char out[512];
        c->send_left = strtoull((const char *)head + 11, NULL, 10);
        size_t n = answer_head(out, sizeof out, c->send_left);
        return say(c, out, n, MSG_MORE) && pump(c);
    }
    if (len > 14 && !memcmp(head, "GET /chunked/", 13)) return answer_chunked(c, strtoul((const char *)head + 13, NULL, 10));
    if (len > 11 && !memcmp(head, "GET /json/", 10)) return answer_json(c, strtoul((const char *)head + 10, NULL, 10));
    return say(c, fixed, fixed_len, 0);
}

static bool body_done(conn *c)
{
    char text[64];
    c->in_body = false;
    int n = c->summed ? snprintf(text, sizeof text, "sum %08x\n", c->sum)
                      : snprintf(text, sizeof text, "received %llu\n", (unsigned long long)c->received);
    return answer_text(c, text, (size_t)n);
}

/* Use what is at buf. -> false: the connection is over. Leftovers go to c->head. */
static bool feed(conn *c, const uint8_t *buf, size_t len)
{
    size_t i = 0;
    while (i < len) {
        if (c->in_body) {
            if (c->body.framing == BODY_CHUNKED) {
                i += wire_walk(&c->chunks, buf + i, len - i, &c->received);
                if (c->chunks.state < 0) return false;
                if (c->chunks.state < 4) break;
            } else {
                size_t n = len - i < c->body_left ? len - i : (size_t)c->body_left;
                if (c->summed) c->sum = fnv(c->sum, buf + i, n);
                i += n;
                c->received += n;
                c->body_left -= n;
                if (c->body_left) break;
            }
            if (!body_done(c)) return false;
            continue;
        }
        size_t head = wire_head(buf + i, len - i);
        if (!head) {
            if (len - i > HEAD_MAX) return false;
            memmove(c->head, buf + i, len - i);
            c->have = len - i;
            return true;
        }
        if (buf[i] == 'P') {
            c->body = wire_fields(buf + i, head, BODY_NONE);
            c->received = 0;
            c->summed = head > 10 && !memcmp(buf + i, "POST /sum ", 10);
            c->sum = 2166136261u;
            c->body_left = c->body.length;
            c->chunks = (wire_chunks){ 0 };
            c->in_body = true;
            if (memmem(buf + i, head, "100-continue", 12) && !say(c, "HTTP/1.1 100 Continue\r\n\r\n", 25, 0)) return false;
            i += head;
            if ((c->body.framing == BODY_NONE || (c->body.framing == BODY_LENGTH && !c->body_left)) && !body_done(c))
                return false;
            continue;
        }
        if (!answer(c, buf + i, head)) return false;
        i += head;
    }
    c->have = 0;
    return true;
}

static void on_readable(conn *c)
{
    memcpy(read_buf, c->head, c->have);
    ssize_t n = recv(c->fd, read_buf + c->have, READ_SIZE, 0);
    if (n < 0 && errno == EAGAIN) return;
    if (n <= 0 || !feed(c, read_buf, c->have + (size_t)n)) drop(c);
}

static void on_accept(int listener)
{
    for (;;) {
        int fd = accept4(listener, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
        if (fd < 0) return;
        int one = 1;
        setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
        conn *c = calloc(1, sizeof *c);
        if (!c) {
            close(fd);
            return;
        }
        c->fd = fd;
        struct epoll_event e = { .events = EPOLLIN, .data.ptr = c };
        epoll_ctl(epfd, EPOLL_CTL_ADD, fd, &e);
    }
}

static int listen_on(const char *address, int *port)
{
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0), one = 1;
    setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof one);
    struct sockaddr_in a = { .sin_family = AF_INET, .sin_port = htons((uint16_t)*port) };
    socklen_t size = sizeof a;
    if (inet_pton(AF_INET, address, &a.sin_addr) != 1 || bind(fd, (void *)&a, size) || listen(fd, 4096)) {
        fprintf(stderr, "origin: cannot listen on %s:%d: %s\n", address, *port, strerror(errno));
        exit(1);
    }
    getsockname(fd, (void *)&a, &size);
    *port = ntohs(a.sin_port);
    return fd;
}

int main(int argc, char **argv)
{
    bool poll = argc == 4 && !strcmp(argv[3], "poll");
    if (argc != 3 && !poll) {
        fprintf(stderr, "usage: origin ADDRESS PORT [poll]\n");
        return 2;
    }
    signal(SIGPIPE, SIG_IGN);
    time_t now = time(NULL);
    strftime(date, sizeof date, "%a, %d %b %Y %H:%M:%S GMT", gmtime(&now));
    memset(pattern, 'o', sizeof pattern);
    fixed_len = answer_head(fixed, sizeof fixed, FIXED);
    memset(fixed + fixed_len, 'o', FIXED);
    fixed_len += FIXED;
    epfd = epoll_create1(EPOLL_CLOEXEC);
    struct epoll_event events[EVENTS];
    int port = atoi(argv[2]), listeners = 0;
    for (char *rest = argv[1], *address; (address = strsep(&rest, ",")) && listeners < LISTENERS; listeners++) {
        listener[listeners].fd = listen_on(address, &port);
        struct epoll_event e = { .events = EPOLLIN, .data.ptr = &listener[listeners] };
        epoll_ctl(epfd, EPOLL_CTL_ADD, listener[listeners].fd, &e);
    }
    printf("listening %d\n", port);
    fflush(stdout);
    for (;;) {
        int n = epoll_wait(epfd, events, EVENTS, poll ? 0 : -1);
        if (poll && n < EVENTS / 16) sched_yield();
        for (int i = 0; i < n; i++) {
            conn *c = events[i].data.ptr;
            if (c >= listener && c < listener + LISTENERS) on_accept(c->fd);
            else if (c->waits_for_room) {
                if (!pump(c)) drop(c);
            } else on_readable(c);
        }
    }
}
