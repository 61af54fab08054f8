/* Invariant: whatever clients and upstreams send, in whatever pieces and order, and whenever they go, every request
 * that an upstream sees is one that a client sent, once; every response that a client sees is the one to its oldest
 * request; no byte of either is lost, invented or another's; and what the fast path was lent comes back.
 *
 * The input is a list of steps of both sides, each of the same size. What the fast path hands over is closed here, as by a general path
 * that gives up at once.
 *
 * The first byte of the input says whether plugins read the bodies of requests, of responses or both. What they see is the body, whole; some
 * of them put the same bytes in its place, which go out like any other that a plugin has written.
 */
#define _GNU_SOURCE
#include "edits.h"
#include "exchange_peers.h"
#include "fast_path.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum { SEEN_BODY = 4000 };       /* bytes of a body that plugins see: some are longer */
enum { CLIENTS = 3, UPSTREAMS = 4, ENDPOINTS = 2, SLOTS = 4, BUF = 2048, SCRATCH = 32768, MOST_STEPS = 300,
       STEP = 8 };               /* bytes of the input */

typedef struct {
    int ours, theirs;        /* -1: closed */
    stream out, in;
    bool half_closed, asked_all;
    uint32_t next;           /* of a client: the first request that may be answered next */
    uint32_t current;        /* of an upstream: the request in hand, or NOBODY */
    uint32_t endpoint;
    bool last, glued;        /* of an upstream: it ends behind what it says; all that it has to say goes at once */
} peer;

static struct {
    blitz_fast_path *fast;
    blitz_fast_face *face;
    blitz_endpoint *endpoints[ENDPOINTS];
    blitz_cluster cluster;
    blitz_fast_route route;
    blitz_fast_report report;
    blitz_head_limits limits;
    blitz_peer who;
    blitz_write_options options;
    blitz_pool *pool;
    blitz_instance guests[SLOTS];
    uint8_t bufs[SLOTS][BUF], answer[BUF * 4], scratch[SCRATCH];
    blitz_exchange *exchanges[SLOTS];
    peer clients[CLIENTS], upstreams[UPSTREAMS];
    double now;
    source in;
} t;

/* ---------------------------------------------------------------- plugins */

static long number_of(const blitz_head *head)
{
    static const uint8_t name[] = "x-number";
    int at = blitz_head_find(head, name, sizeof name - 1, 0);
    return at >= 0 ? strtol((const char *)blitz_at(head, head->fields[at].value), NULL, 10) : -1;
}

/* The instances of this program have no module: what one does is here. */
static int see(blitz_exchange *exchange, bool response)
{
    const blitz_head *head = response ? exchange->response : exchange->request;
    long number = number_of(head);
    blitz_text body = exchange->body;
    if (number < 0 || number >= (long)n_requests)    /* an upstream said it unasked; or a response of our own */
        return BLITZ_V_CONTINUE;
    const request *asked = &requests[number];
    bool has_body = body.ptr != NULL;
    if (has_body && !(response && asked->until_close))
        MUST(body.len == (response ? asked->answer : asked->body), "%06ld: a plugin sees %zu bytes", number, body.len);
    MUST(body.len <= SEEN_BODY, "%06ld: a plugin sees too much", number);
    for (size_t i = 0; i < body.len; i++)
        MUST(body.ptr[i] == body_byte((uint32_t)number, response, i), "%06ld: a plugin sees byte %zu", number, i);
    if (!has_body || number % 2 == 0 || (response && asked->until_close))
        return BLITZ_V_CONTINUE;
    static const blitz_plugin_limits limits = {.max_edits_size = 1 << 20, .max_edits = 8};
    char why[256];
    MUST(blitz_edits_body(exchange->edits, &limits, body) == BLITZ_EDIT_OK, "an edit");
    MUST(blitz_edits_commit(exchange, head->kind, false, false, why, sizeof why) >= 0, "%s", why);
    blitz_edits_clear(exchange->edits);
    return BLITZ_V_CONTINUE;
}

/* What chain.c calls instead of guest.c (see Makefile). */
int __wrap_blitz_call_request(blitz_instance *instance, blitz_exchange *exchange);
int __wrap_blitz_call_response(blitz_instance *instance, blitz_exchange *exchange);
int __wrap_blitz_call_resume(blitz_instance *instance);
int __wrap_blitz_call_waits(const blitz_instance *instance);
int __wrap_blitz_call_request(blitz_instance *instance, blitz_exchange *exchange) { (void)instance; return see(exchange, false); }
int __wrap_blitz_call_response(blitz_instance *instance, blitz_exchange *exchange) { (void)instance; return see(exchange, true); }
int __wrap_blitz_call_resume(blitz_instance *instance) { (void)instance; return BLITZ_V_CONTINUE; }
int __wrap_blitz_call_waits(const blitz_instance *instance) { (void)instance; return BLITZ_WAITS_SLICE; }

static void make_plugin(uint8_t what)
{
    t.pool = blitz_pool_new(SLOTS);
    t.pool->max_calls = UINT32_MAX;
    t.pool->max_body = SEEN_BODY;
    t.pool->writes_body = 1;
    t.pool->has_request = t.pool->reads_body = what & 1;
    t.pool->has_response = t.pool->needs_response_body = what >> 1 & 1;
    for (int i = 0; i < SLOTS; i++)
        blitz_pool_give(t.pool, &t.guests[i]);
    t.route.pools = &t.pool;
    t.route.n_pools = what & 3 ? 1 : 0;
    t.route.has_response = t.route.edits_responses = t.pool->has_response;
}

/* ---------------------------------------------------------------- both sides */

static void pair(peer *who)
{
    int fds[2], small = 1;
    MUST(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, fds) == 0, "socketpair");
    setsockopt(fds[0], SOL_SOCKET, SO_SNDBUF, &small, sizeof small);
    uint8_t *out = who->out.bytes, *in = who->in.bytes;
    *who = (peer){.ours = fds[0], .theirs = fds[1], .current = NOBODY, .out.bytes = out, .in.bytes = in};
}

static void shut(int *fd)
{
    if (*fd >= 0)
        close(*fd);
    *fd = -1;
}

static void enter(peer *client, int served)
{
    MUST(blitz_fast_enter(t.fast, client->ours, NULL, &t.who, &t.options, 0, served, t.now) == 0, "enter");
}

static void connect_client(int index)
{
    pair(&t.clients[index]);
    t.clients[index].next = n_requests;
    enter(&t.clients[index], 0);
}

static void connect_upstream(int index)
{
    peer *upstream = &t.upstreams[index];
    pair(upstream);
    upstream->endpoint = (uint32_t)index % ENDPOINTS;
    MUST(blitz_fast_watch_upstream(t.fast, upstream->ours) == 0, "watch");
    MUST(blitz_endpoint_give(t.endpoints[upstream->endpoint], upstream->ours, t.now, t.now) == 0, "give");
    blitz_fast_rest(t.fast, upstream->ours, 1);
}

static peer *whose(peer *peers, int n, int fd)
{
    for (int i = 0; i < n; i++)
        if (peers[i].ours == fd)
            return &peers[i];
    MUST(false, "a descriptor of nobody: %d", fd);
    return NULL;
}

static void begin(uint8_t plugins)
{
    static uint8_t streams[CLIENTS + UPSTREAMS][2][STREAM];
    memset(&t, 0, sizeof t);
    n_requests = 0;
    for (int i = 0; i < CLIENTS + UPSTREAMS; i++) {
        peer *who = i < CLIENTS ? &t.clients[i] : &t.upstreams[i - CLIENTS];
        who->out.bytes = streams[i][0];
        who->in.bytes = streams[i][1];
    }
    t.fast = blitz_fast_new();
    MUST(t.fast != NULL, "fast");
    t.face = blitz_fast_face_of(t.fast);
    t.face->limits = &t.limits;
    t.face->keepalive = t.face->first_request = 1000;
    blitz_fast_lend(t.fast, t.answer, sizeof t.answer, t.scratch, sizeof t.scratch);
    for (int i = 0; i < SLOTS; i++) {
        t.exchanges[i] = blitz_exchange_new();
        MUST(blitz_fast_add_slot(t.fast) == i, "slot");
        blitz_fast_fill_slot(t.fast, i, t.bufs[i], BUF, t.exchanges[i]);
    }
    for (int i = 0; i < ENDPOINTS; i++)
        t.endpoints[i] = blitz_endpoint_new(UPSTREAMS, 1000, 0);
    t.cluster = (blitz_cluster){.n = ENDPOINTS, .endpoints = t.endpoints};
    t.route = (blitz_fast_route){.id = 1, .cluster = &t.cluster, .first_byte = 1000};
    make_plugin(plugins);
    t.face->route = &t.route;
    for (int i = 0; i < CLIENTS; i++)
        connect_client(i);
    for (int i = 0; i < UPSTREAMS; i++)
        connect_upstream(i);
}

/* ---------------------------------------------------------------- what both sides see */

static void read_all(peer *who)
{
    uint8_t part[4096];
    ssize_t n = -1;
    while (who->theirs >= 0 && who->in.n < STREAM && (n = recv(who->theirs, part, sizeof part, MSG_DONTWAIT)) > 0)
        put(&who->in, part, (size_t)n);
}

static void client_reads(peer *client)
{
    bool whole = true;
    if (client->theirs < 0)
        return;                              /* it has gone, and does not look */
    read_all(client);
    while (whole && head_size(&client->in) > 0) {
        size_t before = client->in.done;
        long number = read_message(&client->in, true, &whole);
        if (number == -1) {
            MUST(client->in.done > before, "a head that is none");
            whole = true;
            continue;
        }
        MUST(number >= 0, "a response of nobody");
        request *asked = &requests[number];
        MUST(&t.clients[asked->client] == client && (uint32_t)number >= client->next, "%06ld is another's", number);
        for (uint32_t i = client->next; i < (uint32_t)number; i++)
            MUST(requests[i].client != asked->client, "%06u is left out", i);
        MUST(asked->seen, "%06ld was never asked", number);
        if (whole)
            client->next = (uint32_t)number + 1;
    }
}

static void upstream_reads(peer *upstream)
{
    bool whole = true;
    read_all(upstream);
    if (upstream->current != NOBODY && upstream->asked_all)
        return;                              /* it has one to answer; more may not come before */
    long number = read_message(&upstream->in, false, &whole);
    MUST(number != -2, "a request of nobody");
    if (number < 0)
        return;
    MUST((upstream->current == NOBODY && !requests[number].seen) || upstream->current == (uint32_t)number, "%06ld comes twice", number);
    upstream->current = (uint32_t)number;
    upstream->asked_all = whole;
    requests[number].seen = true;
}

/* ---------------------------------------------------------------- the gateway */

static void refill(void)
{
    if (t.report.slot < 0)
        return;
    blitz_chain_release(t.exchanges[t.report.slot]);
    blitz_exchange_reset(t.exchanges[t.report.slot]);
    blitz_fast_fill_slot(t.fast, t.report.slot, t.bufs[t.report.slot], BUF, t.exchanges[t.report.slot]);
}

static void drop_upstream(int fd)
{
    if (fd >= 0)
        shut(&whose(t.upstreams, UPSTREAMS, fd)->ours);
}

static void hand_over(peer *client)
{
    if (t.report.what == BLITZ_FAST_HEAD_BYTES || t.report.what == BLITZ_FAST_HAND_OVER)
        MUST(t.report.slot >= 0 && t.report.got <= BUF && t.report.size <= t.report.got, "what is handed over");
    refill();
    shut(&client->ours);
}

static void take(int what)
{
    drop_upstream(t.report.unfit);
    if (what == BLITZ_FAST_STIRRED) {
        peer *upstream = whose(t.upstreams, UPSTREAMS, t.report.fd);
        MUST(blitz_endpoint_remove(t.endpoints[upstream->endpoint], upstream->ours) == 0, "it rested");
        shut(&upstream->ours);
        return;
    }
    if (t.report.returned >= 0)
        drop_upstream(t.report.returned);
    if (what == BLITZ_FAST_RETURNED || what == BLITZ_FAST_LOGGED)
        return;
    peer *client = whose(t.clients, CLIENTS, t.report.fd);
    if (what == BLITZ_FAST_UNSENT) {
        client_reads(client);
        put(&client->in, t.report.unsent, t.report.n_unsent);
        refill();
        enter(client, 1);
        return;
    }
    drop_upstream(t.report.upstream);
    hand_over(client);
}

static void turn(void)
{
    do {
        int what = blitz_fast_turn(t.fast, t.now, &t.report);
        while (what != BLITZ_FAST_QUIET) {
            MUST(what != BLITZ_FAST_NO_SLOT || t.face->free_slots == 0, "there are slots");
            if (what == BLITZ_FAST_ASK)
                what = blitz_fast_route_it(t.fast, t.report.fd, &t.route, &t.who, &t.options, &t.report);
            if (what != BLITZ_FAST_QUIET)
                take(what);
            what = blitz_fast_go_on(t.fast, &t.report);
        }
    } while (t.face->left);
}

/* ---------------------------------------------------------------- steps */

static void send_some(peer *who, size_t most)
{
    size_t n = who->out.n - who->out.done;
    if (who->glued)
        most = STREAM;
    who->glued = false;
    if (who->theirs < 0 || who->half_closed || n == 0)
        return;
    ssize_t sent = send(who->theirs, who->out.bytes + who->out.done, n < most ? n : most, MSG_DONTWAIT | MSG_NOSIGNAL);
    if (sent > 0)
        who->out.done += (size_t)sent;
}

static void half_close(peer *who)
{
    if (who->theirs >= 0 && !who->half_closed)
        shutdown(who->theirs, SHUT_WR);
    who->half_closed = true;
}

static void answer_now(peer *upstream, bool politely)
{
    upstream_reads(upstream);
    if (upstream->current == NOBODY || (politely && !upstream->asked_all) || !has_room(&upstream->out))
        return;
    if (!upstream->asked_all)
        upstream->last = true;               /* an early response: nothing else comes of this connection */
    upstream->last |= answer(&upstream->out, upstream->current, &t.in, politely, &upstream->glued);
    requests[upstream->current].answered = true;
    upstream->current = NOBODY;
    if (!upstream->asked_all)
        upstream->in.done = upstream->in.n;
    upstream->asked_all = false;
}

static void client_step(peer *client, uint8_t what)
{
    switch (what % 8) {
    case 0: case 1: ask(&client->out, (int)(client - t.clients), &t.in); break;
    case 2: send_some(client, take_byte(&t.in)); break;
    case 3: case 4: send_some(client, STREAM); break;
    case 5: client_reads(client); break;
    case 6: half_close(client); break;
    case 7:
        if (take_byte(&t.in) % 4 == 0)
            shut(&client->theirs);
    }
}

static void upstream_step(peer *upstream, uint8_t what)
{
    switch (what % 8) {
    case 0: upstream_reads(upstream); break;
    case 1: case 2:
        if (!upstream->last)
            answer_now(upstream, false);
        break;
    case 3: send_some(upstream, take_byte(&t.in)); break;
    case 4: case 5: send_some(upstream, STREAM); break;
    case 6: half_close(upstream); break;
    case 7:
        if (take_byte(&t.in) % 4 == 0)
            shut(&upstream->theirs);
    }
    if (upstream->last && upstream->out.done == upstream->out.n)
        half_close(upstream);
}

/* Whoever has gone is replaced. */
static void renew(void)
{
    for (int i = 0; i < CLIENTS; i++)
        if (t.clients[i].ours < 0) {
            client_reads(&t.clients[i]);
            shut(&t.clients[i].theirs);
            for (uint32_t j = 0; j < n_requests; j++)
                if (requests[j].client == i)
                    requests[j].client = -1;
            connect_client(i);
        }
    for (int i = 0; i < UPSTREAMS; i++)
        if (t.upstreams[i].ours < 0) {
            shut(&t.upstreams[i].theirs);
            connect_upstream(i);
        }
}

static size_t moved(void)
{
    size_t bytes = 0;
    for (int i = 0; i < CLIENTS; i++)
        bytes += t.clients[i].out.done + t.clients[i].in.n;
    for (int i = 0; i < UPSTREAMS; i++)
        bytes += t.upstreams[i].out.done + t.upstreams[i].in.n;
    return bytes;
}

/* Nobody goes away any more, and all is said: everything that was asked is answered. */
static void settle(void)
{
    for (int quiet = 0; quiet < 3;) {
        size_t before = moved();
        for (int i = 0; i < CLIENTS; i++) {
            send_some(&t.clients[i], STREAM);
            client_reads(&t.clients[i]);
        }
        for (int i = 0; i < UPSTREAMS; i++) {
            if (!t.upstreams[i].last)
                answer_now(&t.upstreams[i], true);
            send_some(&t.upstreams[i], STREAM);
            if (t.upstreams[i].last && t.upstreams[i].out.done == t.upstreams[i].out.n)
                half_close(&t.upstreams[i]);
        }
        turn();
        quiet = moved() == before ? quiet + 1 : 0;
    }
    MUST(t.face->in_flight == 0, "%u exchanges hang", t.face->in_flight);
    for (int i = 0; i < CLIENTS; i++)
        if (t.clients[i].ours >= 0)
            for (uint32_t j = t.clients[i].next; j < n_requests; j++)
                MUST(requests[j].client != i || requests[j].end > t.clients[i].out.done, "%06u was never answered", j);
}

static void end(void)
{
    for (int i = 0; i < CLIENTS; i++) {
        blitz_fast_leave(t.fast, t.clients[i].ours, &t.report);
        if (t.report.upstream >= 0)
            drop_upstream(t.report.upstream);
        refill();
        shut(&t.clients[i].ours);
        shut(&t.clients[i].theirs);
    }
    uint32_t idle = t.endpoints[0]->n + t.endpoints[1]->n, ours = 0;
    for (int i = 0; i < UPSTREAMS; i++) {
        ours += t.upstreams[i].ours >= 0;
        shut(&t.upstreams[i].ours);
        shut(&t.upstreams[i].theirs);
    }
    MUST(idle == ours, "%u of %u upstream connections came back", idle, ours);
    MUST(t.face->clients == 0 && t.face->in_flight == 0 && t.route.in_flight == 0, "somebody is still there");
    MUST(t.face->free_slots == SLOTS, "%u slots came back", t.face->free_slots);
    MUST(t.pool->n == SLOTS, "%u instances came back", t.pool->n);
    MUST(t.face->reserved == 0, "memory is kept");
    blitz_pool_free(t.pool);
    for (int i = 0; i < SLOTS; i++)
        blitz_exchange_free(t.exchanges[i]);
    for (int i = 0; i < ENDPOINTS; i++)
        blitz_endpoint_free(t.endpoints[i]);
    blitz_fast_free(t.fast);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    begin(size > 0 ? data[0] >> 4 : 0);
    for (size_t at = 0; at < size && at < MOST_STEPS * STEP; at += STEP) {
        t.in = (source){data + at, data + (size - at < STEP ? size : at + STEP)};
        uint8_t who = take_byte(&t.in), what = take_byte(&t.in);
        t.now += 0.01;
        if (who % 16 == 15)
            renew();
        else if (who & 1)
            upstream_step(&t.upstreams[who / 2 % UPSTREAMS], what);
        else
            client_step(&t.clients[who / 2 % CLIENTS], what);
        if (!(what & 128))                   /* else more happens before anybody looks */
            turn();
    }
    settle();
    end();
    return 0;
}
