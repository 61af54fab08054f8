/* load.c: the load generator. One thread, epoll, N keep-alive connections to one server.
 *
 *   load --port P [--connections 64] [--seconds 1] [--rate R] [--pipeline 1] [--path /] [--header 'k: v']...
 *        [--body BYTES] [--fill TEXT] [--chunked] [--http10] [--tls] [--fresh] [--resume]
 *        [--status 200] [--length BYTES] [--requests MAX] [--patience 5] [--now] [--poll]
 *
 * Closed loop (no --rate): every connection always has --pipeline requests outstanding.
 * Paced (--rate R per second over all connections): request k is due at start + k/R on connection
 * k mod N, and its latency counts from that moment even if the connection was still busy: a server
 * that stalls is charged for every request that it held up (no coordinated omission).
 *
 * --poll: never sleep. Whoever sends to a process that sleeps on an idle core has to wake that core,
 * which on a virtual machine costs the sender several microseconds: a cost of having client and server
 * on one machine, and paid only to servers slow enough to let the client sleep. The process yields the
 * core after each look.
 *
 * --body: POST that many bytes: TEXT again and again, or 'u'. --chunked: as chunks of at most 16 KiB.
 * --http10: HTTP/1.0 with Connection: keep-alive, as ab(1) sends it. --tls: TLS 1.3, any certificate.
 * --fresh: a connection for each request. --resume: as --fresh, each continuing the TLS session before.
 *
 * Every answer's status and body length are checked. What happens at which moment:
 *   connect, one request on each connection; print "ready"; wait for a line on standard input;
 *   run; stop sending; wait (--patience) for what is outstanding; print one JSON object.
 * So whoever measures the server's CPU around the run sees neither connects nor closes.
 * All that were answered are "answered"; "requests" are those completed inside the time, or, paced,
 * those that were due inside it.
 */
#include "wire.h"
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#ifdef WITH_TLS
#include <openssl/err.h>
#include <openssl/ssl.h>
#endif
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

enum { HEAD_MAX = 65536, READ_SIZE = 1 << 20, EVENTS = 256, PIPELINE_MAX = 64 };
enum { SUB = 128, BUCKETS = 40 * SUB };       /* latency: 128 steps per power of two, 0.8 % wide */
enum { E_CONNECT, E_CLOSED, E_STATUS, E_LENGTH, E_SYNTAX, E_UNANSWERED, E_RESUMED, ERRORS };
static const char *const error_names[ERRORS] = { "connect", "closed", "status", "length", "syntax", "unanswered",
                                               "not resumed" };

typedef struct {
    int fd;
    int outstanding;
    bool in_body, waits_for_room, close_after;
    int status;
    uint64_t due;                       /* paced: requests whose moment has come, not sent yet */
    uint64_t next_k;                    /* paced: number of the next request of this connection */
    uint64_t started[PIPELINE_MAX];     /* when each outstanding request was sent, or was due */
    unsigned first, last;               /* ring over started */
    size_t have;                        /* bytes of an incomplete head, in head */
    uint8_t *head;
    wire_body body;
    wire_chunks chunks;
    uint64_t body_left, got;
    size_t out_done;                    /* bytes of the request head already sent (a partial send) */
    uint64_t out_left;                  /* body bytes still to send, as they stand on the wire */
#ifdef WITH_TLS
    SSL *tls;
    SSL_SESSION *session;               /* of the connection before: what --resume continues */
#endif
} conn;

static struct {
    const char *address, *path, *fill;
    int port, connections, pipeline, status;
    double seconds, rate, patience;
    int64_t length;
    uint64_t body, max_requests;
    bool at_once, poll, chunked, http10, tls, fresh, resume;
    char headers[16384];
} opt = { .address = "127.0.0.1", .path = "/", .fill = "u", .connections = 64, .pipeline = 1, .status = 200,
          .seconds = 1, .patience = 5, .length = -1 };

static uint8_t read_buf[HEAD_MAX + READ_SIZE], pattern[READ_SIZE];
static char request[32768];
static size_t request_len;
static const uint8_t *body = pattern;         /* as it stands on the wire; a long one begins again each MiB */
static uint64_t body_len;
static conn *conns;
static int epfd;
static uint64_t begin_ns, stop_ns, now_cached;
static bool running, measuring;
static uint64_t answered, in_time, sent, bytes_in, bytes_out, errors[ERRORS], reopened, outstanding_all;
static uint64_t first_error_status;
static uint32_t histogram[BUCKETS];
static uint64_t latency_max, latency_sum;

static uint64_t now(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

static unsigned bucket_of(uint64_t ns)
{
    if (ns < SUB) return (unsigned)ns;
    unsigned top = 63u - (unsigned)__builtin_clzll(ns), shift = top - 7;
    unsigned b = (shift + 1) * SUB + (unsigned)(ns >> shift) - SUB;
    return b < BUCKETS ? b : BUCKETS - 1;
}

static double bucket_ns(unsigned b)           /* its middle */
{
    if (b < SUB) return b;
    unsigned shift = b / SUB - 1;
    return ((double)(b % SUB) + SUB + 0.5) * (double)(1ull << shift);
}

static double percentile(double share)
{
    uint64_t all = 0, seen = 0;
    for (unsigned b = 0; b < BUCKETS; b++) all += histogram[b];
    if (!all) return 0;
    uint64_t rank = (uint64_t)(share * (double)(all - 1)) + 1;
    for (unsigned b = 0; b < BUCKETS; b++)
        if ((seen += histogram[b]) >= rank) return bucket_ns(b);
    return (double)latency_max;
}

static uint64_t due_at(uint64_t k)
{
    return begin_ns + (uint64_t)((double)k * 1e9 / opt.rate);
}

/* ---------------------------------------------------------------- plain and TLS */

#ifdef WITH_TLS
static SSL_CTX *tls_context;

static ssize_t tls_result(SSL *tls, int n)
{
    if (n > 0) return n;
    int error = SSL_get_error(tls, n);
    ERR_clear_error();
    errno = error == SSL_ERROR_WANT_READ || error == SSL_ERROR_WANT_WRITE ? EAGAIN : EPROTO;
    return error == SSL_ERROR_ZERO_RETURN ? 0 : -1;
}

static bool tls_open(conn *c)
{
    if (!tls_context) {
        tls_context = SSL_CTX_new(TLS_client_method());
        if (!tls_context || !SSL_CTX_set_min_proto_version(tls_context, TLS1_3_VERSION)) return false;
        SSL_CTX_set_mode(tls_context, SSL_MODE_ENABLE_PARTIAL_WRITE | SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER);
    }
    c->tls = SSL_new(tls_context);
    if (!c->tls || !SSL_set_fd(c->tls, c->fd)) return false;
    SSL_set_connect_state(c->tls);
    return !c->session || SSL_set_session(c->tls, c->session);
}

static void tls_close(conn *c)
{
    if (!c->tls) return;
    if (opt.resume && SSL_is_init_finished(c->tls)) {
        if (c->session && !SSL_session_reused(c->tls)) errors[E_RESUMED]++;
        SSL_SESSION_free(c->session);
        c->session = SSL_get1_session(c->tls);
    }
    SSL_shutdown(c->tls);      /* without it OpenSSL would not let the session be continued */
    ERR_clear_error();
    SSL_free(c->tls);
    c->tls = NULL;
}
#endif

static ssize_t put(conn *c, const void *bytes, size_t len, int flags)
{
#ifdef WITH_TLS
    if (c->tls) return tls_result(c->tls, SSL_write(c->tls, bytes, (int)len));
#endif
    return send(c->fd, bytes, len, MSG_NOSIGNAL | flags);
}

static ssize_t get(conn *c, void *bytes, size_t len)
{
#ifdef WITH_TLS
    if (c->tls) return tls_result(c->tls, SSL_read(c->tls, bytes, (int)len));
#endif
    return recv(c->fd, bytes, len, MSG_DONTWAIT);
}

/* Does what could not be sent wait for the other side's part of the handshake, and not for room? */
static bool in_handshake(const conn *c)
{
#ifdef WITH_TLS
    return c->tls && !SSL_is_init_finished(c->tls);
#else
    (void)c;
    return false;
#endif
}

static void shut(conn *c)
{
#ifdef WITH_TLS
    tls_close(c);
#endif
    close(c->fd);
    c->fd = -1;
}

/* ---------------------------------------------------------------- sending */

static void want_room(conn *c, bool room)
{
    if (c->waits_for_room == room) return;
    c->waits_for_room = room;
    struct epoll_event e = { .events = EPOLLIN | (room ? EPOLLOUT : 0u), .data.ptr = c };
    epoll_ctl(epfd, EPOLL_CTL_MOD, c->fd, &e);
}

static bool put_later(conn *c)
{
    int why = errno;
    want_room(c, why == EAGAIN && !in_handshake(c));
    return why == EAGAIN;
}

/* Send what is unsent of the request in hand. -> false on a broken connection. */
static bool push(conn *c)
{
    while (c->out_done < request_len) {
        ssize_t n = put(c, request + c->out_done, request_len - c->out_done, opt.body ? MSG_MORE : 0);
        if (n <= 0) return put_later(c);
        c->out_done += (size_t)n;
    }
    while (c->out_left) {
        uint64_t at = body_len - c->out_left;
        size_t from = body == pattern ? (size_t)(at % READ_SIZE) : (size_t)at, part = READ_SIZE - (size_t)(at % READ_SIZE);
        if (part > c->out_left) part = (size_t)c->out_left;
        ssize_t n = put(c, body + from, part, 0);
        if (n <= 0) return put_later(c);
        c->out_left -= (uint64_t)n;
        bytes_out += (uint64_t)n;
    }
    want_room(c, false);
    return true;
}

static bool start_request(conn *c, uint64_t from)
{
    c->started[c->last++ % PIPELINE_MAX] = from;
    c->outstanding++;
    outstanding_all++;
    sent++;
    c->out_done = 0;
    c->out_left = body_len;
    return push(c);
}

static bool may_send(const conn *c)
{
    if (!running && !(measuring && opt.rate > 0)) return false;   /* what was due before the end is still owed */
    return !c->waits_for_room && c->outstanding < opt.pipeline && (!opt.max_requests || sent < opt.max_requests);
}

/* Send all that this connection may send now. */
static bool fill(conn *c)
{
    while (may_send(c)) {
        uint64_t from = now_cached;
        if (opt.rate > 0) {
            if (!c->due) return true;
            c->due--;
            from = due_at(c->next_k);
            c->next_k += (uint64_t)opt.connections;
        }
        if (!start_request(c, from)) return false;
    }
    return true;
}

/* ---------------------------------------------------------------- connecting */

static bool open_connection(conn *c)
{
    c->fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    struct sockaddr_in a = { .sin_family = AF_INET, .sin_port = htons((uint16_t)opt.port) };
    inet_pton(AF_INET, opt.address, &a.sin_addr);
    if (c->fd < 0 || connect(c->fd, (void *)&a, sizeof a)) {
        errors[E_CONNECT]++;
        if (c->fd >= 0) close(c->fd);
        c->fd = -1;
        return false;
    }
#ifdef WITH_TLS
    if (opt.tls && !tls_open(c)) exit(1);
#endif
    int one = 1;
    setsockopt(c->fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
    fcntl(c->fd, F_SETFL, O_NONBLOCK);
    c->waits_for_room = c->in_body = c->close_after = false;
    c->have = 0;
    struct epoll_event e = { .events = EPOLLIN, .data.ptr = c };
    epoll_ctl(epfd, EPOLL_CTL_ADD, c->fd, &e);
    return true;
}

static void lost(conn *c)
{
    errors[E_CLOSED] += (uint64_t)c->outstanding;
    outstanding_all -= (uint64_t)c->outstanding;
    c->outstanding = 0;
    c->first = c->last;
    shut(c);
    if (running) {
        reopened++;
        if (open_connection(c) && !fill(c)) shut(c);
    }
}

/* ---------------------------------------------------------------- receiving */

static void finished(conn *c)
{
    uint64_t took = now() - c->started[c->first++ % PIPELINE_MAX];
    c->in_body = false;
    c->outstanding--;
    outstanding_all--;
    if (opt.status && c->status != opt.status) {
        errors[E_STATUS]++;
        first_error_status = (uint64_t)c->status;
    } else if (opt.length >= 0 && c->got != (uint64_t)opt.length) errors[E_LENGTH]++;
    if (opt.fresh) c->close_after = true;
    if (!measuring) return;
    answered++;
    bytes_in += c->got;
    if (!running && opt.rate <= 0) return;
    in_time++;
    histogram[bucket_of(took)]++;
    latency_sum += took;
    if (took > latency_max) latency_max = took;
}

/* -> bytes used of the body; finishes the response when it is complete. */
static size_t eat_body(conn *c, const uint8_t *buf, size_t len)
{
    size_t used = len;
    bool done = false;
    if (c->body.framing == BODY_CHUNKED) {
        used = wire_walk(&c->chunks, buf, len, &c->got);
        done = c->chunks.state == 4;
    } else if (c->body.framing == BODY_LENGTH) {
        if (used > c->body_left) used = (size_t)c->body_left;
        c->got += used;
        c->body_left -= used;
        done = !c->body_left;
    } else c->got += used;
    if (done) finished(c);
    return used;
}

/* -> false: the connection is unusable. */
static bool eat(conn *c, const uint8_t *buf, size_t len)
{
    size_t i = 0;
    while (i < len) {
        if (c->in_body) {
            i += eat_body(c, buf + i, len - i);
            if (c->chunks.state < 0) {
                errors[E_SYNTAX]++;
                return false;
            }
            continue;
        }
        size_t head = wire_head(buf + i, len - i);
        if (!head) {
            if (len - i > HEAD_MAX) return false;
            memmove(c->head, buf + i, len - i);
            c->have = len - i;
            return true;
        }
        if (head < 16 || memcmp(buf + i, "HTTP/1.", 7) || !c->outstanding) {
            errors[E_SYNTAX]++;
            return false;
        }
        int status = (buf[i + 9] - '0') * 100 + (buf[i + 10] - '0') * 10 + (buf[i + 11] - '0');
        if (status >= 200) {
            c->status = status;
            c->body = wire_fields(buf + i, head, status == 204 || status == 304 ? BODY_NONE : BODY_CLOSE);
            c->close_after = c->body.close;
            c->body_left = c->body.length;
            c->chunks = (wire_chunks){ 0 };
            c->got = 0;
            c->in_body = true;
            if (c->body.framing == BODY_NONE || (c->body.framing == BODY_LENGTH && !c->body_left)) finished(c);
        }
        i += head;
    }
    c->have = 0;
    return true;
}

static void on_readable(conn *c)
{
    if (c->outstanding && (c->out_done < request_len || c->out_left) && !c->waits_for_room && !push(c)) {
        lost(c);
        return;
    }
    memcpy(read_buf, c->head, c->have);
    ssize_t n = get(c, read_buf + c->have, READ_SIZE);
    if (n < 0 && errno == EAGAIN) return;
    if (n == 0 && c->in_body && c->body.framing == BODY_CLOSE) finished(c);
    now_cached = now();
    bool ok = n > 0 && eat(c, read_buf, c->have + (size_t)n);
    if (ok && c->close_after && !c->in_body && !c->outstanding) ok = false;
    if (!ok || !fill(c)) lost(c);
}

/* ---------------------------------------------------------------- the run */

/* Make due whatever is due; -> ns until the next one, or until stop. */
static uint64_t pace(uint64_t *k)
{
    uint64_t t = now_cached = now();
    for (; due_at(*k) <= t && due_at(*k) < stop_ns; ++*k) {
        conn *c = &conns[*k % (uint64_t)opt.connections];
        c->due++;
        if (c->fd < 0 && !open_connection(c)) continue;
        if (!fill(c)) lost(c);
    }
    uint64_t next = due_at(*k) < stop_ns ? due_at(*k) : stop_ns;
    return next > t ? next - t : 0;
}

static void wait_and_serve(uint64_t ns)
{
    struct epoll_event events[EVENTS];
    struct timespec limit = { .tv_sec = (time_t)(ns / 1000000000u), .tv_nsec = (long)(ns % 1000000000u) };
    int n = opt.poll ? epoll_wait(epfd, events, EVENTS, 0) : epoll_pwait2(epfd, events, EVENTS, &limit, NULL);
    if (opt.poll && n < EVENTS / 16) sched_yield();   /* the origin's turn */
    for (int i = 0; i < n; i++) {
        conn *c = events[i].data.ptr;
        if (c->fd < 0) continue;
        if ((events[i].events & EPOLLOUT) && (!push(c) || (now_cached = now(), !fill(c)))) {
            lost(c);
            continue;
        }
        if (events[i].events & (EPOLLIN | EPOLLHUP | EPOLLERR)) on_readable(c);
    }
}

static void drain(void)
{
    uint64_t until = now() + (uint64_t)(opt.patience * 1e9);
    for (uint64_t t = now(); outstanding_all && t < until; t = now()) wait_and_serve(until - t);
}

static void warm(void)
{
    running = true;
    double rate = opt.rate;
    uint64_t most = opt.max_requests;
    int depth = opt.pipeline;
    opt.rate = 0;
    opt.pipeline = 1;
    opt.max_requests = 0;
    now_cached = now();
    for (int i = 0; i < opt.connections; i++) {
        conn *c = &conns[i];
        c->next_k = (uint64_t)i;
        c->head = malloc(HEAD_MAX);
        if (!c->head) exit(1);
        if (open_connection(c) && !start_request(c, now_cached)) lost(c);
    }
    running = false;
    drain();
    opt.rate = rate;
    opt.pipeline = depth;
    opt.max_requests = most;
    sent = 0;
    reopened = bytes_out = 0;
}

static void gate(void)
{
    printf("ready\n");
    fflush(stdout);
    if (opt.at_once) return;
    char line[64];
    if (!fgets(line, sizeof line, stdin)) exit(0);
}

static void run(void)
{
    uint64_t k = 0;
    running = measuring = true;
    begin_ns = now_cached = now();
    stop_ns = begin_ns + (uint64_t)(opt.seconds * 1e9);
    for (int i = 0; i < opt.connections; i++) {
        if (conns[i].fd < 0 && !open_connection(&conns[i])) continue;
        if (!fill(&conns[i])) lost(&conns[i]);
    }
    for (uint64_t t = begin_ns; t < stop_ns; t = now()) {
        uint64_t wait = opt.rate > 0 ? pace(&k) : stop_ns - t;
        if (opt.max_requests && answered >= opt.max_requests) break;
        wait_and_serve(wait);
    }
    stop_ns = now();
    running = false;
    drain();
    for (int i = 0; i < opt.connections; i++)        /* due, but its connection never got free */
        if (opt.rate > 0) errors[E_UNANSWERED] += conns[i].due;
    errors[E_UNANSWERED] += outstanding_all;
}

static void report(double cpu)
{
    double seconds = (double)(stop_ns - begin_ns) / 1e9;
    printf("{\"requests\": %llu, \"answered\": %llu, \"seconds\": %.6f, \"bytes_in\": %llu, \"bytes_out\": %llu, "
           "\"reopened\": %llu, \"wrong_status\": %llu, \"cpu\": %.6f, ",
           (unsigned long long)in_time, (unsigned long long)answered, seconds, (unsigned long long)bytes_in,
           (unsigned long long)bytes_out, (unsigned long long)reopened, (unsigned long long)first_error_status, cpu);
    printf("\"latency_us\": {\"mean\": %.2f, \"p50\": %.2f, \"p90\": %.2f, \"p99\": %.2f, \"p999\": %.2f, \"max\": %.2f}, \"errors\": {",
           in_time ? (double)latency_sum / (double)in_time / 1e3 : 0.0, percentile(.5) / 1e3, percentile(.9) / 1e3,
           percentile(.99) / 1e3, percentile(.999) / 1e3, (double)latency_max / 1e3);
    for (int i = 0; i < ERRORS; i++) printf("%s\"%s\": %llu", i ? ", " : "", error_names[i], (unsigned long long)errors[i]);
    printf("}}\n");
}

static double cpu_seconds(void)
{
    struct timespec t;
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t);
    return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

/* ---------------------------------------------------------------- options */

static const struct option options[] = {
    { "address", 1, 0, 'a' }, { "port", 1, 0, 'p' }, { "connections", 1, 0, 'c' }, { "seconds", 1, 0, 's' },
    { "rate", 1, 0, 'r' }, { "pipeline", 1, 0, 'd' }, { "path", 1, 0, 'u' }, { "header", 1, 0, 'h' },
    { "body", 1, 0, 'b' }, { "status", 1, 0, 'S' }, { "length", 1, 0, 'l' }, { "requests", 1, 0, 'n' },
    { "patience", 1, 0, 'w' }, { "now", 0, 0, 'N' }, { "poll", 0, 0, 'P' }, { "fill", 1, 0, 'f' },
    { "chunked", 0, 0, 'C' }, { "http10", 0, 0, '0' }, { "tls", 0, 0, 'T' }, { "fresh", 0, 0, 'F' },
    { "resume", 0, 0, 'R' }, { 0, 0, 0, 0 }
};

static void read_options(int argc, char **argv)
{
    for (int o; (o = getopt_long(argc, argv, "", options, NULL)) != -1;) {
        size_t used = strlen(opt.headers);
        switch (o) {
        case 'a': opt.address = optarg; break;
        case 'p': opt.port = atoi(optarg); break;
        case 'c': opt.connections = atoi(optarg); break;
        case 's': opt.seconds = atof(optarg); break;
        case 'r': opt.rate = atof(optarg); break;
        case 'd': opt.pipeline = atoi(optarg); break;
        case 'u': opt.path = optarg; break;
        case 'h': snprintf(opt.headers + used, sizeof opt.headers - used, "%s\r\n", optarg); break;
        case 'b': opt.body = strtoull(optarg, NULL, 10); break;
        case 'S': opt.status = atoi(optarg); break;
        case 'l': opt.length = atoll(optarg); break;
        case 'n': opt.max_requests = strtoull(optarg, NULL, 10); break;
        case 'w': opt.patience = atof(optarg); break;
        case 'N': opt.at_once = true; break;
        case 'P': opt.poll = true; break;
        case 'f': opt.fill = optarg; break;
        case 'C': opt.chunked = true; break;
        case '0': opt.http10 = true; break;
        case 'T': opt.tls = true; break;
        case 'F': opt.fresh = true; break;
        case 'R': opt.fresh = opt.resume = true; break;
        default: exit(2);
        }
    }
    if (opt.port < 1 || opt.connections < 1 || opt.pipeline < 1 || opt.pipeline > PIPELINE_MAX ||
        opt.seconds <= 0 || !*opt.fill || ((opt.body || opt.tls) && opt.pipeline > 1)) {
        fprintf(stderr, "load: wants --port, at least one connection, a pipeline of 1 to %d (1 with --body or --tls), some seconds\n",
                PIPELINE_MAX);
        exit(2);
    }
#ifndef WITH_TLS
    if (opt.tls) {
        fprintf(stderr, "load: built without TLS: OpenSSL's headers were missing\n");
        exit(2);
    }
#endif
}

/* The whole body as chunks of at most 16 KiB. */
static bool lay_out_chunks(void)
{
    enum { CHUNK = 16384 };
    uint8_t *out = malloc((size_t)(opt.body + (opt.body / CHUNK + 2) * 16)), *at = out;
    if (!out) return false;
    for (uint64_t done = 0; done < opt.body;) {
        size_t part = opt.body - done < CHUNK ? (size_t)(opt.body - done) : CHUNK;
        at += sprintf((char *)at, "%zx\r\n", part);
        memcpy(at, pattern + done % READ_SIZE, part);      /* CHUNK divides READ_SIZE */
        memcpy(at + part, "\r\n", 2);
        at += part + 2;
        done += part;
    }
    memcpy(at, "0\r\n\r\n", 5);
    body = out;
    body_len = (uint64_t)(at + 5 - out);
    return true;
}

static bool lay_out_request(void)
{
    char framing[64] = "";
    size_t fill = strlen(opt.fill);
    for (size_t i = 0; i < READ_SIZE; i++) pattern[i] = (uint8_t)opt.fill[i % fill];
    body_len = opt.body;
    if (opt.chunked) {
        if (!lay_out_chunks()) return false;
        strcpy(framing, "Transfer-Encoding: chunked\r\n");
    } else if (opt.body) snprintf(framing, sizeof framing, "Content-Length: %llu\r\n", (unsigned long long)opt.body);
    request_len = (size_t)snprintf(request, sizeof request,
        "%s %s HTTP/1.%c\r\nHost: bench.example:%d\r\nUser-Agent: blitz-bench\r\nAccept: */*\r\n%s%s%s\r\n",
        opt.body ? "POST" : "GET", opt.path, opt.http10 ? '0' : '1', opt.port, opt.headers,
        opt.http10 ? "Connection: keep-alive\r\n" : "", framing);
    return request_len < sizeof request;
}

int main(int argc, char **argv)
{
    read_options(argc, argv);
    signal(SIGPIPE, SIG_IGN);
    prctl(PR_SET_TIMERSLACK, 1ul, 0, 0, 0);
    struct rlimit files;
    getrlimit(RLIMIT_NOFILE, &files);
    files.rlim_cur = files.rlim_max;
    setrlimit(RLIMIT_NOFILE, &files);
    epfd = epoll_create1(EPOLL_CLOEXEC);
    conns = calloc((size_t)opt.connections, sizeof *conns);
    if (!conns || epfd < 0 || !lay_out_request()) return 1;
    warm();
    gate();
    double cpu = cpu_seconds();
    run();
    report(cpu_seconds() - cpu);
    return 0;
}
