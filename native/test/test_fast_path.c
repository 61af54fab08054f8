/* The fast path over real sockets, under sanitizers: what it does by itself, what it hands over and with
 * what, and that nothing it was lent is lost. Plugins are tested from Python. */
#include "guard.h"
#include "fast_path.h"
#include <math.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>

enum { BUF = 1024, SLOTS = 2 };
static const char GET[] = "GET /a HTTP/1.1\r\nHost: h\r\n\r\n";
static const char OK[] = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi";

typedef struct { int ours, theirs; } pair;
static struct {
    blitz_fast_path *fast;
    blitz_fast_face *face;
    blitz_endpoint *endpoint;
    blitz_cluster cluster;
    blitz_fast_route route;
    blitz_fast_report report;
    blitz_head_limits limits;
    blitz_peer peer;
    blitz_write_options options;
    uint8_t *bufs[SLOTS], answer[BUF], scratch[4096];
    blitz_exchange *exchanges[SLOTS];
    pair client, upstream;
} t;

static pair connect_pair(void)
{
    int fds[2];
    MUST(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, fds) == 0, "socketpair");
    return (pair){fds[0], fds[1]};
}

static void say(int fd, const char *text) { MUST(write(fd, text, strlen(text)) == (ssize_t)strlen(text), "write"); }

/* Everything that can be read; "" when there is nothing. */
static const char *heard(int fd)
{
    static char text[8192];
    ssize_t n = read(fd, text, sizeof text - 1);
    text[n > 0 ? n : 0] = 0;
    return text;
}

/* One turn, and two more in case the machine was too busy to let all of it happen in its time. */
static int turn(double now)
{
    int what = BLITZ_FAST_QUIET;
    for (int i = 0; what == BLITZ_FAST_QUIET && i < 3; i++)
        what = blitz_fast_turn(t.fast, now, &t.report);
    return what;
}

static void begin(int ask)
{
    memset(&t, 0, sizeof t);
    t.fast = blitz_fast_new();
    MUST(t.fast != NULL, "fast");
    t.face = blitz_fast_face_of(t.fast);
    t.face->limits = &t.limits;
    t.face->keepalive = 10;
    t.face->first_request = 5;
    blitz_fast_lend(t.fast, t.answer, sizeof t.answer, t.scratch, sizeof t.scratch);
    for (int i = 0; i < SLOTS; i++) {
        t.bufs[i] = malloc(BUF);
        t.exchanges[i] = blitz_exchange_new();
        MUST(blitz_fast_add_slot(t.fast) == i, "slot");
        blitz_fast_fill_slot(t.fast, i, t.bufs[i], BUF, t.exchanges[i]);
    }
    t.endpoint = blitz_endpoint_new(4, 60, 0);
    t.cluster = (blitz_cluster){.n = 1, .endpoints = &t.endpoint};
    t.route = (blitz_fast_route){.id = 7, .cluster = &t.cluster, .first_byte = 3};
    t.face->route = ask ? NULL : &t.route;
    t.client = connect_pair();
    t.upstream = connect_pair();
    MUST(blitz_fast_watch_upstream(t.fast, t.upstream.ours) == 0, "watch");
    MUST(blitz_endpoint_give(t.endpoint, t.upstream.ours, 0, 0) == 0, "give");
    MUST(blitz_fast_enter(t.fast, t.client.ours, &t.peer, &t.options, 0, 0, 0) == 0, "enter");
    MUST(turn(0) == BLITZ_FAST_QUIET, "nothing happened yet");
}

static void end(void)
{
    MUST(t.face->clients == 0 && t.face->in_flight == 0 && t.route.in_flight == 0, "somebody is still there");
    MUST(t.face->free_slots == SLOTS, "%u slots came back", t.face->free_slots);
    for (int i = 0; i < SLOTS; i++) {
        free(t.bufs[i]);
        blitz_exchange_free(t.exchanges[i]);
    }
    blitz_endpoint_free(t.endpoint);
    blitz_fast_free(t.fast);
    close(t.client.ours), close(t.client.theirs), close(t.upstream.ours), close(t.upstream.theirs);
}

static void refill(void)
{
    int32_t slot = t.report.slot;
    blitz_exchange_reset(t.exchanges[slot]);
    blitz_fast_fill_slot(t.fast, slot, t.bufs[slot], BUF, t.exchanges[slot]);
}

static void ask_upstream(void)
{
    say(t.client.theirs, GET);
    MUST(turn(1) == BLITZ_FAST_QUIET, "handed over");
    MUST(strncmp(heard(t.upstream.theirs), "GET /a HTTP/1.1\r\n", 17) == 0, "the request");
}

static void close_client(void)
{
    shutdown(t.client.theirs, SHUT_WR);
    MUST(turn(9) == BLITZ_FAST_CLOSED && t.report.fd == t.client.ours && t.report.slot == -1, "closed");
}

static void exchanges_need_nobody(void)
{
    begin(0);
    for (int i = 0; i < 3; i++) {
        ask_upstream();
        MUST(t.face->in_flight == 1 && t.endpoint->n == 0, "in flight");
        say(t.upstream.theirs, OK);
        MUST(turn(2) == BLITZ_FAST_QUIET, "handed over");
        const char *answer = heard(t.client.theirs);
        MUST(strncmp(answer, "HTTP/1.1 200 OK\r\n", 17) == 0 && strstr(answer, "\r\n\r\nhi"), "got %s", answer);
        MUST(t.endpoint->n == 1 && t.face->free_slots == SLOTS, "given back");
    }
    MUST(t.face->exchanges == 3, "counted");
    close_client();
    MUST(t.report.served, "served");
    end();
}

static void a_client_that_ends_behind_its_request_is_answered(void)
{
    begin(0);
    say(t.client.theirs, GET);
    shutdown(t.client.theirs, SHUT_WR);
    MUST(turn(1) == BLITZ_FAST_QUIET, "sent");
    heard(t.upstream.theirs);
    say(t.upstream.theirs, OK);
    MUST(turn(2) == BLITZ_FAST_CLOSED, "its end was forgotten");
    MUST(strncmp(heard(t.client.theirs), "HTTP/1.1 200", 12) == 0, "the answer");
    end();
}

static void a_request_that_comes_too_early_is_not_forgotten(void)
{
    begin(0);
    ask_upstream();
    say(t.client.theirs, GET);
    MUST(turn(2) == BLITZ_FAST_QUIET, "busy");
    say(t.upstream.theirs, OK);
    MUST(turn(3) == BLITZ_FAST_QUIET, "answered, and the next sent");
    MUST(strncmp(heard(t.upstream.theirs), "GET /a", 6) == 0, "the second request");
    say(t.upstream.theirs, OK);
    MUST(turn(5) == BLITZ_FAST_QUIET, "answered");
    close_client();
    end();
}

static void what_fills_the_buffer_may_have_more_behind_it(void)
{
    char head[BUF + 1];
    int n = snprintf(head, sizeof head, "GET /a HTTP/1.1\r\nHost: h\r\nX: ");
    memset(head + n, 'x', (size_t)(BUF - n - 4));
    memcpy(head + BUF - 4, "\r\n\r\n", 5);
    begin(0);
    say(t.client.theirs, head);
    say(t.client.theirs, GET);
    MUST(turn(1) == BLITZ_FAST_QUIET, "sent");
    heard(t.upstream.theirs);
    say(t.upstream.theirs, OK);
    MUST(turn(2) == BLITZ_FAST_QUIET, "answered, and the next sent");
    MUST(strncmp(heard(t.upstream.theirs), "GET /a", 6) == 0, "the second request");
    say(t.upstream.theirs, OK);
    MUST(turn(4) == BLITZ_FAST_QUIET, "answered");
    close_client();
    end();
}

static void what_is_not_short_is_handed_over(void)
{
    static const char *const bodies[] = {
        "POST /a HTTP/1.1\r\nHost: h\r\nContent-Length: 3\r\n\r\nhi",                 /* more is to come */
        "POST /a HTTP/1.1\r\nHost: h\r\nContent-Length: 1\r\n\r\nhi",                 /* and the next request */
        "POST /a HTTP/1.1\r\nHost: h\r\nContent-Length: 20\r\n\r\n01234567890123456789",   /* over max_body */
        "POST /a HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nhi\r\n0\r\n\r\n",
        "POST /a HTTP/1.1\r\nHost: h\r\nContent-Length: 2\r\nExpect: 100-continue\r\n\r\nhi",
    };
    begin(0);
    t.face->max_body = 16;
    for (size_t i = 0; i < sizeof bodies / sizeof *bodies; i++) {
        say(t.client.theirs, bodies[i]);
        MUST(turn(1) == BLITZ_FAST_HAND_OVER && t.report.route == NULL && t.report.upstream == -1, "body %zu", i);
        MUST(t.report.got == strlen(bodies[i]) && t.report.size < t.report.got, "head and body");
        refill();
        MUST(blitz_fast_enter(t.fast, t.client.ours, &t.peer, &t.options, 0, 1, 1) == 0, "enter");
    }
    say(t.client.theirs, "GET /a HTTP/1.0\r\nConnection: keep-alive\r\n\r\n");
    MUST(turn(2) == BLITZ_FAST_HEAD_BYTES, "HTTP/1.0");
    refill();
    MUST(blitz_fast_enter(t.fast, t.client.ours, &t.peer, &t.options, 0, 1, 1) == 0, "enter");
    say(t.client.theirs, "GET /a HT");
    MUST(turn(2) == BLITZ_FAST_HEAD_BYTES && t.report.got == 9, "a part of a head");
    refill();
    end();
}

static void a_body_that_came_with_its_head_goes_on_with_it(void)
{
    begin(0);
    blitz_access_log *log = blitz_access_log_new(1000);
    blitz_access_log_set_kind(log, BLITZ_ACCESS_JSON);
    MUST(blitz_access_log_sleep(log) == 1, "nothing waits");
    t.face->access_log = log;
    t.face->logged = 1;
    say(t.client.theirs, "POST /a HTTP/1.1\r\nHost: h\r\nContent-Length: 2\r\n\r\nhi");
    MUST(turn(1) == BLITZ_FAST_QUIET, "handed over");
    const char *sent = heard(t.upstream.theirs);
    MUST(strncmp(sent, "POST /a", 7) == 0 && strstr(sent, "Content-Length: 2\r\n") && strstr(sent, "\r\n\r\nhi"), "sent %s", sent);
    say(t.upstream.theirs, OK);
    MUST(turn(2) == BLITZ_FAST_LOGGED, "answered");
    blitz_access_block *block = blitz_access_log_take(log);
    MUST(block != NULL && strstr((const char *)block->data, "\"received\":2,\"sent\":2,") != NULL, "its line");
    blitz_access_blocks_free(block);
    blitz_access_log_free(log);
    t.face->logged = 0;
    ask_upstream();                                 /* nothing of the body is left over */
    say(t.upstream.theirs, "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhi");
    MUST(turn(3) == BLITZ_FAST_HAND_OVER && t.report.body == -1, "no body");
    MUST(t.report.size == strlen(GET) && t.report.got == t.report.size, "the head only");
    refill();
    MUST(blitz_endpoint_give(t.endpoint, t.upstream.ours, 4, 4) == 0, "give");
    MUST(blitz_fast_enter(t.fast, t.client.ours, &t.peer, &t.options, 0, 0, 4) == 0, "enter");
    say(t.client.theirs, "PUT /a HTTP/1.1\r\nHost: h\r\nContent-Length: 2\r\n\r\nhi");
    MUST(turn(4) == BLITZ_FAST_QUIET, "sent");
    heard(t.upstream.theirs);
    say(t.upstream.theirs, "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhi");
    MUST(turn(5) == BLITZ_FAST_HAND_OVER && t.report.body == 2, "with a body");
    MUST(t.report.got == t.report.size + 2 && memcmp(t.bufs[t.report.slot] + t.report.size, "hi", 2) == 0, "its place");
    refill();
    end();
}

static void the_id_is_told_instead_of_the_clients(void)
{
    begin(0);
    t.face->id_field = (blitz_text){(const uint8_t *)"x-id", 4};
    say(t.client.theirs, "GET /a HTTP/1.1\r\nHost: h\r\nX-Id: forged\r\nX_Id: forged\r\n\r\n");
    MUST(turn(1) == BLITZ_FAST_QUIET, "handed over");
    const char *sent = heard(t.upstream.theirs), *id = strstr(sent, "X-Id: ");
    MUST(id != NULL && strspn(id + 6, "0123456789abcdef") == 32 && !strstr(sent, "forged"), "sent %s", sent);
    say(t.upstream.theirs, OK);
    MUST(turn(2) == BLITZ_FAST_QUIET, "answered");
    close_client();
    end();
}

static void the_whole_exchange_has_a_time(void)
{
    begin(0);
    t.face->total = 2;                              /* first_byte is 3 */
    ask_upstream();
    MUST(blitz_fast_expired(t.fast, 2.9, &t.report) == BLITZ_FAST_QUIET, "too early");
    MUST(blitz_fast_expired(t.fast, 3.1, &t.report) == BLITZ_FAST_EXPIRED && t.report.is_total, "total");
    blitz_fast_leave(t.fast, t.client.ours, &t.report);
    refill();
    MUST(blitz_fast_expired(t.fast, 3.1, &t.report) == BLITZ_FAST_QUIET, "nobody else");
    t.face->total = 9;
    MUST(blitz_endpoint_give(t.endpoint, t.upstream.ours, 4, 4) == 0, "give");
    MUST(blitz_fast_enter(t.fast, t.client.ours, &t.peer, &t.options, 0, 0, 4) == 0, "enter");
    ask_upstream();
    MUST(blitz_fast_expired(t.fast, 5, &t.report) == BLITZ_FAST_EXPIRED && !t.report.is_total, "first byte");
    blitz_fast_leave(t.fast, t.client.ours, &t.report);
    refill();
    end();
}

static void endpoints_take_turns_but_those_that_fail(void)
{
    blitz_endpoint *ends[3] = {blitz_endpoint_new(1, 60, 0), blitz_endpoint_new(1, 60, 0), blitz_endpoint_new(1, 60, 0)};
    blitz_cluster cluster = {.n = 3, .endpoints = ends};
    for (uint32_t i = 0; i < 5; i++, cluster.next++)
        MUST(blitz_cluster_turn(&cluster, 1) == i % 3, "in turn");
    cluster.next = 1;
    ends[1]->fails_until = 3;
    MUST(blitz_cluster_turn(&cluster, 1) == 2 && blitz_cluster_turn(&cluster, 3) == 1, "passed over for a while");
    ends[0]->fails_until = ends[2]->fails_until = 9;
    MUST(blitz_cluster_turn(&cluster, 2) == 1, "all fail");
    cluster.next = UINT32_MAX;
    MUST(blitz_cluster_turn(&cluster, 10) < 3, "a number that has gone round");
    for (int i = 0; i < 3; i++)
        blitz_endpoint_free(ends[i]);
}

static void an_answer_that_is_not_short_is_handed_over_with_its_bytes(void)
{
    static const char begun[] = "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhi";
    begin(0);
    ask_upstream();
    say(t.upstream.theirs, begun);
    MUST(turn(2) == BLITZ_FAST_HAND_OVER && t.report.upstream == t.upstream.ours && t.report.answer_read, "answer");
    MUST(t.report.answer_got == sizeof begun - 1 && memcmp(t.answer, begun, sizeof begun - 1) == 0, "its bytes");
    MUST(t.report.route == &t.route && t.report.n_unsent == 0, "route");
    refill();
    end();
}

static void an_upstream_that_spoke_unasked_is_unfit(void)
{
    begin(0);
    say(t.upstream.theirs, OK);
    say(t.client.theirs, GET);
    MUST(turn(1) == BLITZ_FAST_HAND_OVER && t.report.unfit == t.upstream.ours && t.report.upstream == -1, "unfit");
    MUST(heard(t.upstream.theirs)[0] == 0, "it was asked");
    refill();
    end();
}

static void what_comes_on_a_resting_upstream_is_told_once(void)
{
    begin(0);
    blitz_fast_rest(t.fast, t.upstream.ours, 1);
    ask_upstream();                                 /* taken: an answer is no surprise */
    say(t.upstream.theirs, OK);
    MUST(turn(2) == BLITZ_FAST_QUIET && t.endpoint->n == 1, "answered");
    say(t.upstream.theirs, OK);                     /* given back by the fast path itself */
    MUST(turn(3) == BLITZ_FAST_STIRRED && t.report.fd == t.upstream.ours, "stirred");
    MUST(t.report.slot == -1 && t.report.unfit == -1 && t.report.returned == -1, "and nothing else");
    say(t.upstream.theirs, OK);
    MUST(turn(4) == BLITZ_FAST_QUIET, "told already");
    MUST(blitz_endpoint_remove(t.endpoint, t.upstream.ours) == 0 && t.endpoint->n == 0, "removed");
    MUST(blitz_endpoint_remove(t.endpoint, t.upstream.ours) == BLITZ_E_STATE, "it is gone");
    close_client();
    end();
}

static void the_last_one_that_has_rested_is_taken(void)
{
    blitz_taken taken;
    blitz_endpoint *endpoint = blitz_endpoint_new(8, 60, 0);
    for (int fd = 0; fd < 4; fd++)
        MUST(blitz_endpoint_give(endpoint, fd, 0, fd < 2 ? fd : 1.98 + fd / 1000.0) == 0, "give");
    MUST(blitz_endpoint_take(endpoint, 2, &taken) == 1 && !taken.stale, "the last one of those that have rested");
    MUST(blitz_endpoint_take(endpoint, 2, &taken) == 0, "the other");
    MUST(blitz_endpoint_take(endpoint, 2, &taken) == 2, "then the one that has for longest");
    MUST(blitz_endpoint_take(endpoint, 2, &taken) == 3, "then what there is");
    MUST(blitz_endpoint_take(endpoint, 2, &taken) == -1, "nothing");
    MUST(blitz_endpoint_give(endpoint, 5, 0, 2) == 0 && blitz_endpoint_take(endpoint, 62, &taken) == 5 && taken.stale, "stale");
    blitz_endpoint_free(endpoint);
}

static void none_becomes_older_than_it_may(void)
{
    blitz_taken taken;
    blitz_endpoint *endpoint = blitz_endpoint_new(8, 60, 100);
    MUST(blitz_endpoint_give(endpoint, 1, 50, 100) == 0 && blitz_endpoint_give(endpoint, 2, 10, 101) == 0, "give");
    MUST(blitz_endpoint_expire(endpoint, 109) == -1, "none is old");
    MUST(blitz_endpoint_expire(endpoint, 110) == 2 && endpoint->n == 1, "though it was used last");
    MUST(blitz_endpoint_take(endpoint, 149, &taken) == 1 && !taken.stale && taken.born == 50, "its birth");
    MUST(blitz_endpoint_give(endpoint, 1, taken.born, 149) == 0, "busy all the time");
    MUST(blitz_endpoint_take(endpoint, 150, &taken) == 1 && taken.stale, "too old to be used");
    MUST(blitz_endpoint_give(endpoint, 1, 50, 150) == BLITZ_E_LIMIT && endpoint->n == 0, "too old to come back");
    blitz_endpoint_free(endpoint);
}

static void one_that_is_too_old_is_returned(void)
{
    begin(0);
    t.endpoint->max_age = 1.5;
    ask_upstream();
    say(t.upstream.theirs, OK);
    MUST(turn(2) == BLITZ_FAST_RETURNED && t.report.returned == t.upstream.ours && t.endpoint->n == 0, "returned");
    close_client();
    end();
}

static void python_may_choose_the_route(void)
{
    begin(1);
    say(t.client.theirs, GET);
    MUST(turn(1) == BLITZ_FAST_ASK && t.report.slot >= 0, "ask");
    MUST(blitz_fast_route_it(t.fast, t.report.fd, &t.route, &t.peer, &t.options, &t.report) == BLITZ_FAST_QUIET, "sent");
    MUST(strncmp(heard(t.upstream.theirs), "GET /a", 6) == 0, "the request");
    say(t.upstream.theirs, OK);
    MUST(turn(2) == BLITZ_FAST_QUIET, "answered");
    say(t.client.theirs, GET);
    MUST(turn(3) == BLITZ_FAST_ASK, "ask");
    MUST(blitz_fast_route_it(t.fast, t.report.fd, NULL, &t.peer, &t.options, &t.report) == BLITZ_FAST_HAND_OVER, "no route");
    MUST(t.report.size == sizeof GET - 1 && t.report.got == sizeof GET - 1, "the head");
    refill();
    end();
}

static void whoever_leaves_leaves_everything(void)
{
    begin(0);
    ask_upstream();
    blitz_fast_leave(t.fast, t.client.ours, &t.report);
    MUST(t.report.upstream == t.upstream.ours && t.report.slot >= 0, "the exchange is the caller's now");
    MUST(t.report.line.method.len == 3 && memcmp(t.report.line.method.ptr, "GET", 3) == 0, "what was asked");
    refill();
    blitz_fast_leave(t.fast, t.client.ours, &t.report);
    MUST(t.report.upstream == -1 && t.report.slot == -1, "it has left");
    say(t.upstream.theirs, OK);
    MUST(turn(2) == BLITZ_FAST_QUIET, "nobody waits for it");
    end();
}

static void a_connection_that_others_want_is_returned(void)
{
    begin(0);
    t.endpoint->wanted = 1;
    ask_upstream();
    say(t.upstream.theirs, OK);
    MUST(turn(2) == BLITZ_FAST_RETURNED && t.report.returned == t.upstream.ours && t.endpoint->n == 0, "returned");
    MUST(t.report.route == &t.route && t.face->clients == 1, "the client stays");
    close_client();
    end();
}

static void who_has_no_slot_is_told_and_loses_nothing(void)
{
    begin(0);
    t.face->free_slots = 0;
    say(t.client.theirs, GET);
    MUST(turn(1) == BLITZ_FAST_NO_SLOT && t.face->clients == 1, "no slot");
    t.face->free_slots = SLOTS;
    MUST(blitz_fast_go_on(t.fast, &t.report) == BLITZ_FAST_QUIET, "sent");
    MUST(strncmp(heard(t.upstream.theirs), "GET /a", 6) == 0, "the request");
    blitz_fast_leave(t.fast, t.client.ours, &t.report);
    refill();
    end();
}

static void deadlines_pass_once(void)
{
    begin(0);
    MUST(blitz_fast_expired(t.fast, 4.9, &t.report) == BLITZ_FAST_QUIET, "early");
    MUST(blitz_fast_expired(t.fast, 5, &t.report) == BLITZ_FAST_EXPIRED && !t.report.served, "the first request");
    MUST(blitz_fast_expired(t.fast, 6, &t.report) == BLITZ_FAST_QUIET, "twice");
    ask_upstream();
    MUST(blitz_fast_expired(t.fast, 3.9, &t.report) == BLITZ_FAST_QUIET, "early");
    MUST(blitz_fast_expired(t.fast, 4, &t.report) == BLITZ_FAST_EXPIRED, "first byte");
    MUST(t.report.upstream == t.upstream.ours, "it waits for the upstream");
    blitz_fast_leave(t.fast, t.client.ours, &t.report);
    refill();
    end();
}

static void what_has_arrived_is_not_late(void)
{
    begin(0);
    say(t.client.theirs, GET);
    MUST(blitz_fast_expired(t.fast, 50, &t.report) == BLITZ_FAST_QUIET, "a request is there");
    MUST(turn(50) == BLITZ_FAST_QUIET && strncmp(heard(t.upstream.theirs), "GET /a", 6) == 0, "it is sent");
    say(t.upstream.theirs, OK);
    MUST(blitz_fast_expired(t.fast, 100, &t.report) == BLITZ_FAST_QUIET, "an answer is there");
    MUST(turn(100) == BLITZ_FAST_QUIET && strncmp(heard(t.client.theirs), "HTTP/1.1 200", 12) == 0, "it is sent");
    close_client();
    end();
}

static void a_reload_takes_waiting_clients_at_their_next_request(void)
{
    begin(0);
    t.face->generation++;
    MUST(turn(1) == BLITZ_FAST_QUIET, "nothing happened");
    say(t.client.theirs, GET);
    MUST(turn(1) == BLITZ_FAST_RELOADED && t.report.slot == -1, "reloaded");
    MUST(blitz_fast_enter(t.fast, t.client.ours, &t.peer, &t.options, 0, 1, 1) == 0, "enter");
    MUST(turn(2) == BLITZ_FAST_QUIET && strncmp(heard(t.upstream.theirs), "GET /a", 6) == 0, "the same request");
    t.face->draining = 1;
    MUST(blitz_fast_next_idle(t.fast, &t.report) == BLITZ_FAST_QUIET, "it is busy");
    say(t.upstream.theirs, OK);
    MUST(turn(3) == BLITZ_FAST_HAND_OVER && t.report.answer_read, "the answer of a drain says close");
    refill();
    end();
}

static void what_is_put_off_comes_again(void)
{
    begin(0);
    pair other = connect_pair();
    MUST(blitz_fast_enter(t.fast, other.ours, &t.peer, &t.options, 0, 0, 0) == 0, "enter");
    say(t.client.theirs, "x");
    say(other.theirs, "x");
    MUST(turn(1) == BLITZ_FAST_HEAD_BYTES, "one");
    refill();
    nanosleep(&(struct timespec){.tv_nsec = 1000000}, NULL);    /* longer than a turn may take */
    MUST(blitz_fast_go_on(t.fast, &t.report) == BLITZ_FAST_QUIET && t.face->left, "put off");
    MUST(turn(2) == BLITZ_FAST_HEAD_BYTES, "the other");
    refill();
    MUST(turn(3) == BLITZ_FAST_QUIET, "again");
    close(other.ours), close(other.theirs);
    end();
}

int main(void)
{
    exchanges_need_nobody();
    a_client_that_ends_behind_its_request_is_answered();
    a_request_that_comes_too_early_is_not_forgotten();
    what_fills_the_buffer_may_have_more_behind_it();
    what_is_not_short_is_handed_over();
    a_body_that_came_with_its_head_goes_on_with_it();
    the_id_is_told_instead_of_the_clients();
    the_whole_exchange_has_a_time();
    endpoints_take_turns_but_those_that_fail();
    an_answer_that_is_not_short_is_handed_over_with_its_bytes();
    an_upstream_that_spoke_unasked_is_unfit();
    what_comes_on_a_resting_upstream_is_told_once();
    the_last_one_that_has_rested_is_taken();
    none_becomes_older_than_it_may();
    one_that_is_too_old_is_returned();
    python_may_choose_the_route();
    whoever_leaves_leaves_everything();
    a_connection_that_others_want_is_returned();
    who_has_no_slot_is_told_and_loses_nothing();
    deadlines_pass_once();
    what_has_arrived_is_not_late();
    a_reload_takes_waiting_clients_at_their_next_request();
    what_is_put_off_comes_again();
    puts("fast: short exchanges, and all that is handed over");
    return 0;
}
