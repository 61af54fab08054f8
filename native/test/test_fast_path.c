/* The fast path over real sockets, under sanitizers: what it does by itself, what it hands over and with
 * what, and that nothing it was lent is lost. Plugins are tested from Python. */
#include "guard.h"
#include "fast_path.h"
#include <math.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>

enum { BUF = 6144, SLOTS = 2 };
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
    uint8_t *bufs[SLOTS], answer[BUF], scratch[4 * BUF];
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
    MUST(blitz_fast_enter(t.fast, t.client.ours, NULL, &t.peer, &t.options, 0, 0, 0) == 0, "enter");
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
        "POST /a HTTP/1.1\r\nHost: h\r\nContent-Length: 20\r\n\r\n01234567890123456789",   /* over max_body */
        "POST /a HTTP/1.1\r\nHost: h\r\nContent-Length: 2\r\nExpect: 100-continue\r\n\r\nhi",
    };
    begin(0);
    t.face->max_body = 16;
    for (size_t i = 0; i < sizeof bodies / sizeof *bodies; i++) {
        say(t.client.theirs, bodies[i]);
        MUST(turn(1) == BLITZ_FAST_HAND_OVER && t.report.route == NULL && t.report.upstream == -1, "body %zu", i);
        MUST(t.report.got == strlen(bodies[i]) && t.report.size < t.report.got, "head and body");
        refill();
        MUST(blitz_fast_enter(t.fast, t.client.ours, NULL, &t.peer, &t.options, 0, 1, 1) == 0, "enter");
    }
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
    say(t.upstream.theirs, "HTTP/1.1 200 OK\r\nContent-Le");
    MUST(turn(3) == BLITZ_FAST_HAND_OVER && t.report.request_body == NULL, "no body");
    MUST(t.report.size == strlen(GET) && t.report.got == t.report.size, "the head only");
    refill();
    MUST(blitz_endpoint_give(t.endpoint, t.upstream.ours, 4, 4) == 0, "give");
    MUST(blitz_fast_enter(t.fast, t.client.ours, NULL, &t.peer, &t.options, 0, 0, 4) == 0, "enter");
    say(t.client.theirs, "PUT /a HTTP/1.1\r\nHost: h\r\nContent-Length: 2\r\n\r\nhi");
    MUST(turn(4) == BLITZ_FAST_QUIET, "sent");
    heard(t.upstream.theirs);
    say(t.upstream.theirs, "HTTP/1.1 200 OK\r\nContent-Le");
    MUST(turn(5) == BLITZ_FAST_HAND_OVER && t.report.request_body->remaining == 2, "with a body");
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
    MUST(blitz_fast_enter(t.fast, t.client.ours, NULL, &t.peer, &t.options, 0, 0, 4) == 0, "enter");
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
    for (uint32_t i = 0; i < 5; i++) {
        MUST(blitz_cluster_choose(&cluster, NULL, 1, NULL) == (int32_t)(i % 3), "in turn");
        MUST(blitz_cluster_choose(&cluster, NULL, 1, NULL) == (int32_t)(i % 3), "choosing changes nothing");
        blitz_cluster_take(&cluster, i % 3, 1);
    }
    ends[2]->fails_until = 3;
    MUST(blitz_cluster_choose(&cluster, NULL, 1, NULL) == 0 && blitz_cluster_choose(&cluster, NULL, 3, NULL) == 2,
         "passed over for a while");
    ends[0]->fails_until = ends[1]->fails_until = 9;
    MUST(blitz_cluster_choose(&cluster, NULL, 2, NULL) == 2, "all fail");
    ends[2]->state = BLITZ_ENDPOINT_DOWN;
    MUST(blitz_cluster_choose(&cluster, NULL, 2, NULL) == 0, "one that is down comes last");
    static const uint8_t tried[] = {1, 1, 0}, all[] = {1, 1, 1};
    MUST(blitz_cluster_choose(&cluster, NULL, 2, tried) == 2 && blitz_cluster_choose(&cluster, NULL, 2, all) == -1, "tried");
    for (int i = 0; i < 3; i++)
        blitz_endpoint_free(ends[i]);
}

static void an_answer_that_is_not_short_is_handed_over_with_its_bytes(void)
{
    static const char begun[] = "HTTP/1.1 200 OK\r\nContent-Le";
    begin(0);
    ask_upstream();
    say(t.upstream.theirs, begun);
    MUST(turn(2) == BLITZ_FAST_HAND_OVER && t.report.upstream == t.upstream.ours && t.report.answer_read, "answer");
    MUST(t.report.answer_got == sizeof begun - 1 && memcmp(t.report.answer, begun, sizeof begun - 1) == 0, "its bytes");
    MUST(t.report.route == &t.route && t.report.n_unsent == 0, "route");
    refill();
    end();
}

static void answered_with(const char *expected)
{
    const char *answer = heard(t.client.theirs), *body = strstr(answer, "\r\n\r\n");
    MUST(body != NULL && strcmp(body + 4, expected) == 0, "got %s", answer);
}

/* What the upstream says in pieces, and the body that the client gets; the upstream connection is given back. */
static void in_pieces(const char *first, const char *rest, const char *part, const char *last)
{
    begin(0);
    ask_upstream();
    say(t.upstream.theirs, first);
    MUST(turn(2) == BLITZ_FAST_QUIET, "handed over");
    answered_with(part);
    say(t.upstream.theirs, rest);
    MUST(turn(3) == BLITZ_FAST_QUIET && t.endpoint->n == 1, "not given back");
    const char *got = heard(t.client.theirs);
    MUST(strcmp(got, last) == 0, "got %s", got);
    close_client();
    MUST(t.report.served, "served");
    end();
}

static void a_response_in_pieces_is_streamed(void)
{
    in_pieces("HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhe", "llo", "he", "llo");
    in_pieces("HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n", "hello", "", "hello");
    in_pieces("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhe", "llo\r\n0\r\n\r\n", "2\r\nhe\r\n",
              "3\r\nllo\r\n0\r\n\r\n");
    in_pieces("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\nx: y", "\r\n\r\n",
              "5\r\nhello\r\n", "0\r\n\r\n");
}

static void a_response_until_close_is_chunked_and_its_connection_closed(void)
{
    begin(0);
    ask_upstream();
    say(t.upstream.theirs, "HTTP/1.1 200 OK\r\n\r\nhe");
    MUST(turn(2) == BLITZ_FAST_QUIET, "handed over");
    answered_with("2\r\nhe\r\n");
    shutdown(t.upstream.theirs, SHUT_WR);
    MUST(turn(3) == BLITZ_FAST_RETURNED && t.report.unfit == t.upstream.ours, "not closed");
    MUST(t.report.unfit_why == BLITZ_UNFIT_CLOSE && strcmp(heard(t.client.theirs), "0\r\n\r\n") == 0, "the end");
    close_client();
    end();
}

static void more_than_a_response_makes_the_connection_unfit(void)
{
    static const char *const whole[] = {"Content-Length: 2\r\n\r\nhi+", "Transfer-Encoding: chunked\r\n\r\n2\r\nhi\r\n0\r\n\r\n+"};
    for (size_t at = 0; at < 2; at++)
        for (int late = 0; late < 2; late++) {
            char first[128];
            begin(0);
            ask_upstream();
            int size = snprintf(first, sizeof first, "HTTP/1.1 200 OK\r\n%s", whole[at]), cut = late ? size - 3 : size;
            MUST(write(t.upstream.theirs, first, (size_t)cut) == cut, "write");
            int what = turn(2);
            if (late) {
                say(t.upstream.theirs, first + cut);
                what = turn(3);
            }
            MUST(what == BLITZ_FAST_RETURNED && t.report.unfit == t.upstream.ours, "kept");
            MUST(t.report.unfit_why == BLITZ_UNFIT_UNASKED && t.endpoint->n == 0, "not told");
            MUST(strchr(heard(t.client.theirs), '+') == NULL, "the client got it");
            close_client();
            end();
        }
}

static void a_response_that_fails_is_handed_over_as_a_stream(void)
{
    static const struct { const char *rest; int failed; } cases[] = {
        {"", BLITZ_BODY_CUT}, {"x", BLITZ_BODY_MALFORMED}};
    for (size_t i = 0; i < 2; i++) {
        begin(0);
        ask_upstream();
        say(t.upstream.theirs, "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nhi\r\n");
        MUST(turn(2) == BLITZ_FAST_QUIET, "handed over");
        answered_with("2\r\nhi\r\n");
        say(t.upstream.theirs, cases[i].rest);
        shutdown(t.upstream.theirs, SHUT_WR);
        MUST(turn(3) == BLITZ_FAST_HAND_OVER && t.report.stream == BLITZ_STREAM_RESPONSE, "goes on");
        MUST(t.report.failed == cases[i].failed && t.report.body_state->received == 2 && t.report.chunked, "the cause");
        MUST(t.report.upstream == t.upstream.ours && t.report.n_unsent == 0, "what is there");
        refill();
        end();
    }
    begin(0);
    ask_upstream();
    say(t.upstream.theirs, "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nx");
    MUST(turn(2) == BLITZ_FAST_HAND_OVER && t.report.failed == BLITZ_BODY_MALFORMED && !t.report.stream, "no head was sent");
    MUST(heard(t.client.theirs)[0] == 0, "something was sent");
    refill();
    end();
}

/* A reader that takes nothing holds one part, and gives it back; the sender is not read meanwhile. */
static void a_slow_reader_stops_the_sender(void)
{
    enum { SIZE = 1000000 };
    static uint8_t piece[100000];
    char head[80];
    size_t written = 0, read_back = 0;
    begin(0);
    t.route.send_idle = 7;
    ask_upstream();
    say(t.upstream.theirs, (snprintf(head, sizeof head, "HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n", SIZE), head));
    while (read_back < SIZE) {
        for (int quiet = 0; quiet < 3;) {
            size_t n = SIZE - written < sizeof piece ? SIZE - written : sizeof piece;
            for (size_t i = 0; i < n; i++)
                piece[i] = (uint8_t)((written + i) % 251);
            ssize_t wrote = n > 0 ? write(t.upstream.theirs, piece, n) : 0;
            written += wrote > 0 ? (size_t)wrote : 0;
            quiet = wrote > 0 ? 0 : quiet + 1;
            MUST(turn(2) == BLITZ_FAST_QUIET, "handed over");
        }
        if (read_back == 0) {
            MUST(written < SIZE, "no end to what it takes");
            MUST(blitz_fast_expired(t.fast, 10, &t.report) == BLITZ_FAST_EXPIRED, "no deadline");
            MUST(t.report.waiting == BLITZ_WAIT_SEND && !t.report.is_total, "of another wait");
            uint8_t text[4096];
            ssize_t n = read(t.client.theirs, text, strlen("HTTP/1.1 200 OK\r\nContent-Length: 1000000\r\n\r\n"));
            MUST(n > 0 && text[n - 1] == '\n', "a head");
        }
        for (ssize_t n; (n = read(t.client.theirs, piece, sizeof piece)) > 0; read_back += (size_t)n)
            for (ssize_t i = 0; i < n; i++)
                MUST(piece[i] == (read_back + (size_t)i) % 251, "another byte");
    }
    MUST(turn(3) == BLITZ_FAST_QUIET && t.endpoint->n == 1, "not given back");
    close_client();
    end();
}

static void a_response_that_stalls_or_leaves_is_told_with_what_is_there(void)
{
    begin(0);
    t.route.response_idle = 2;
    t.route.first_byte = 100;
    ask_upstream();
    say(t.upstream.theirs, "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhe");
    MUST(turn(2) == BLITZ_FAST_QUIET, "handed over");
    MUST(blitz_fast_expired(t.fast, 3.9, &t.report) == BLITZ_FAST_QUIET, "too early");
    MUST(blitz_fast_expired(t.fast, 4.1, &t.report) == BLITZ_FAST_EXPIRED, "no deadline");
    MUST(t.report.waiting == BLITZ_WAIT_RESPONSE && t.report.upstream == t.upstream.ours, "of another wait");
    blitz_fast_leave(t.fast, t.client.ours, &t.report);
    MUST(t.report.stream == BLITZ_STREAM_RESPONSE && t.report.body_state->received == 2, "the stream");
    MUST(t.report.body_state->remaining == 3 && !t.report.failed && !t.report.chunked, "what is left of it");
    refill();
    end();
}

/* What a client sends in pieces, and what the upstream gets of the body; what came behind it is told at the end. */
static void request_in_pieces(const char *first, const char *rest, const char *expected, const char *behind)
{
    char whole[512];
    begin(0);
    say(t.client.theirs, first);
    MUST(turn(1) == BLITZ_FAST_QUIET, "handed over");
    snprintf(whole, sizeof whole, "%s", heard(t.upstream.theirs));
    say(t.client.theirs, rest);
    MUST(turn(2) == BLITZ_FAST_QUIET, "handed over");
    strcat(whole, heard(t.upstream.theirs));
    const char *body = strstr(whole, "\r\n\r\n");
    MUST(body != NULL && strcmp(body + 4, expected) == 0, "got %s", whole);
    say(t.upstream.theirs, OK);
    if (behind[0] == 0) {
        MUST(turn(3) == BLITZ_FAST_QUIET, "answered");
        close_client();
    } else {
        MUST(turn(3) == BLITZ_FAST_HEAD_BYTES && t.report.served, "nothing behind it");
        MUST(t.report.got - t.report.size == strlen(behind), "%zu bytes", t.report.got - t.report.size);
        MUST(memcmp(t.bufs[t.report.slot] + t.report.size, behind, strlen(behind)) == 0, "other bytes");
        refill();
    }
    MUST(t.endpoint->n == 1, "not given back");
    end();
}

static void a_request_in_pieces_is_streamed(void)
{
    request_in_pieces("POST /a HTTP/1.1\r\nHost: h\r\nContent-Length: 5\r\n\r\nhe", "llo", "hello", "");
    request_in_pieces("POST /a HTTP/1.1\r\nHost: h\r\nContent-Length: 5\r\n\r\n", "hello", "hello", "");
    request_in_pieces("POST /a HTTP/1.1\r\nHost: h\r\nContent-Length: 1\r\n\r\nhGET", "", "h", "GET");
    request_in_pieces("POST /a HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhe", "llo\r\n0\r\n\r\n",
                      "2\r\nhe\r\n3\r\nllo\r\n0\r\n\r\n", "");
    request_in_pieces("POST /a HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n", "0\r\nx: y\r\n\r\nGE",
                      "5\r\nhello\r\n0\r\n\r\n", "GE");
    request_in_pieces("POST /a HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n2;x=y\r\nhi\r\n0\r\n\r\nPUT", "",
                      "2\r\nhi\r\n0\r\n\r\n", "PUT");
}

static void ask_with_half_a_body(void)
{
    begin(0);
    t.route.body_idle = 4;
    say(t.client.theirs, "POST /a HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nhi\r\n");
    MUST(turn(1) == BLITZ_FAST_QUIET, "handed over");
    MUST(strstr(heard(t.upstream.theirs), "\r\n\r\n2\r\nhi\r\n") != NULL, "what is there goes on");
}

static void failed_with(int what, int failed)
{
    MUST(what == BLITZ_FAST_HAND_OVER && t.report.stream == BLITZ_STREAM_REQUEST, "goes on");
    MUST(t.report.failed == failed && t.report.body_state->received == 2 && t.report.chunked, "failed %d", t.report.failed);
    MUST(t.report.upstream == t.upstream.ours && t.report.got == t.report.size, "what is there");
    refill();
    end();
}

static void a_request_that_fails_is_handed_over_as_a_stream(void)
{
    ask_with_half_a_body();
    shutdown(t.client.theirs, SHUT_WR);
    failed_with(turn(2), BLITZ_BODY_CUT);
    ask_with_half_a_body();
    say(t.client.theirs, "x");
    failed_with(turn(2), BLITZ_BODY_MALFORMED);
    ask_with_half_a_body();
    MUST(blitz_fast_expired(t.fast, 4.9, &t.report) == BLITZ_FAST_QUIET, "too early");
    failed_with(blitz_fast_expired(t.fast, 5.1, &t.report), BLITZ_STREAM_STALLED);
    ask_with_half_a_body();
    say(t.upstream.theirs, OK);                     /* before it has all of the request */
    failed_with(turn(2), 0);
    MUST(heard(t.client.theirs)[0] == 0, "Python reads it");
    ask_with_half_a_body();
    close(t.upstream.theirs);
    t.upstream.theirs = dup(t.upstream.ours);
    failed_with(turn(2), 0);
}

static void a_body_over_the_limit_is_cut_where_it_is_over(void)
{
    begin(0);
    t.face->max_body = 3;
    say(t.client.theirs, "POST /a HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nhi\r\n");
    MUST(turn(1) == BLITZ_FAST_QUIET, "handed over");
    say(t.client.theirs, "2\r\nho\r\n");
    MUST(turn(2) == BLITZ_FAST_HAND_OVER && t.report.failed == BLITZ_BODY_TOO_LONG, "goes on");
    refill();
    end();
    begin(0);
    t.face->max_body = 3;
    say(t.client.theirs, "POST /a HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nhiho\r\n");
    MUST(turn(1) == BLITZ_FAST_HAND_OVER && t.report.failed == BLITZ_BODY_TOO_LONG, "goes on");
    MUST(t.report.upstream == -1 && t.endpoint->n == 1 && heard(t.upstream.theirs)[0] == 0, "it was asked");
    refill();
    end();
}

static void a_sender_that_is_too_slow_is_told(void)
{
    begin(0);
    t.face->rate = (blitz_rate){.owed = 1000, .grace = 2};
    t.route.body_idle = 60;
    say(t.client.theirs, "POST /a HTTP/1.1\r\nHost: h\r\nContent-Length: 100\r\n\r\n");
    MUST(turn(1) == BLITZ_FAST_QUIET, "handed over");
    for (int now = 2; now < 3; now++) {
        say(t.client.theirs, "x");
        MUST(turn(now) == BLITZ_FAST_QUIET, "handed over at %d", now);
    }
    say(t.client.theirs, "x");
    MUST(turn(3.5) == BLITZ_FAST_HAND_OVER && t.report.failed == BLITZ_STREAM_SLOW, "goes on");
    MUST(t.report.rate->waited > 2 && t.report.body_state->received == 2, "what it owes");
    refill();
    end();
}

/* An upstream that takes nothing stops the client. */
static void a_slow_upstream_stops_the_client(void)
{
    enum { SIZE = 1000000 };
    static uint8_t piece[100000];
    char head[80];
    size_t written = 0, read_back = 0;
    begin(0);
    t.route.send_idle = 7;
    say(t.client.theirs, (snprintf(head, sizeof head, "POST /a HTTP/1.1\r\nHost: h\r\nContent-Length: %d\r\n\r\n", SIZE), head));
    MUST(turn(1) == BLITZ_FAST_QUIET && strncmp(heard(t.upstream.theirs), "POST", 4) == 0, "sent");
    while (read_back < SIZE) {
        for (int quiet = 0; quiet < 3;) {
            size_t n = SIZE - written < sizeof piece ? SIZE - written : sizeof piece;
            for (size_t i = 0; i < n; i++)
                piece[i] = (uint8_t)((written + i) % 251);
            ssize_t wrote = n > 0 ? write(t.client.theirs, piece, n) : 0;
            written += wrote > 0 ? (size_t)wrote : 0;
            quiet = wrote > 0 ? 0 : quiet + 1;
            MUST(turn(2) == BLITZ_FAST_QUIET, "handed over");
        }
        MUST(read_back > 0 || written < SIZE, "no end to what it takes");
        for (ssize_t n; (n = read(t.upstream.theirs, piece, sizeof piece)) > 0; read_back += (size_t)n)
            for (ssize_t i = 0; i < n; i++)
                MUST(piece[i] == (read_back + (size_t)i) % 251, "another byte");
    }
    MUST(turn(3) == BLITZ_FAST_QUIET, "sent");
    say(t.upstream.theirs, OK);
    MUST(turn(4) == BLITZ_FAST_QUIET && t.endpoint->n == 1, "answered");
    close_client();
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
    MUST(blitz_fast_enter(t.fast, t.client.ours, NULL, &t.peer, &t.options, 0, 1, 1) == 0, "enter");
    MUST(turn(2) == BLITZ_FAST_QUIET && strncmp(heard(t.upstream.theirs), "GET /a", 6) == 0, "the same request");
    t.face->draining = 1;
    MUST(blitz_fast_next_idle(t.fast, &t.report) == BLITZ_FAST_QUIET, "it is busy");
    say(t.upstream.theirs, OK);
    MUST(turn(3) == BLITZ_FAST_CLOSED && t.report.slot == -1 && t.endpoint->n == 1, "the connection ends");
    MUST(strstr(heard(t.client.theirs), "\r\nConnection: close\r\n"), "the answer of a drain says close");
    end();
}

static void what_is_put_off_comes_again(void)
{
    begin(0);
    pair other = connect_pair();
    MUST(blitz_fast_enter(t.fast, other.ours, NULL, &t.peer, &t.options, 0, 0, 0) == 0, "enter");
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

/* An upstream is told the client's version: Python makes other options for it, once. */
static void an_http_1_0_client_stays_where_it_asks_for_that(void)
{
    static const char kept[] = "GET /a HTTP/1.0\r\nConnection: keep-alive\r\n\r\n";
    begin(0);
    t.endpoint->host = (blitz_text){(const uint8_t *)"own:1", 5};
    for (int i = 0; i < 3; i++) {
        say(t.client.theirs, kept);
        MUST(turn(1) == (i == 0 ? BLITZ_FAST_ASK : BLITZ_FAST_QUIET), "asked once");
        if (i == 0)
            MUST(blitz_fast_route_it(t.fast, t.client.ours, &t.route, &t.peer, &t.options, &t.report) == BLITZ_FAST_QUIET, "sent");
        MUST(strncmp(heard(t.upstream.theirs), "GET /a HTTP/1.1\r\nHost: own:1\r\n", 30) == 0, "the request");
        say(t.upstream.theirs, OK);
        MUST(turn(2) == BLITZ_FAST_QUIET, "answered");
        MUST(strstr(heard(t.client.theirs), "\r\nConnection: keep-alive\r\n"), "it stays");
    }
    say(t.client.theirs, GET);
    MUST(turn(3) == BLITZ_FAST_ASK, "another version");
    MUST(blitz_fast_route_it(t.fast, t.client.ours, &t.route, &t.peer, &t.options, &t.report) == BLITZ_FAST_QUIET, "sent");
    MUST(strncmp(heard(t.upstream.theirs), "GET /a HTTP/1.1\r\nHost: h\r\n", 26) == 0, "the request");
    say(t.upstream.theirs, OK);
    MUST(turn(4) == BLITZ_FAST_QUIET && !strstr(heard(t.client.theirs), "Connection:"), "HTTP/1.1 stays by itself");
    close_client();
    end();
}

static void what_asks_for_its_end_gets_it_with_the_answer(void)
{
    static const char *const last[] = {
        "GET /a HTTP/1.0\r\n\r\n", "GET /a HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n",
    };
    for (size_t i = 0; i < sizeof last / sizeof *last; i++) {
        begin(1);
        t.face->logged = 1;
        say(t.client.theirs, last[i]);
        MUST(turn(1) == BLITZ_FAST_ASK, "ask");
        MUST(blitz_fast_route_it(t.fast, t.client.ours, &t.route, &t.peer, &t.options, &t.report) == BLITZ_FAST_QUIET, "sent");
        heard(t.upstream.theirs);
        say(t.upstream.theirs, OK);
        MUST(turn(2) == BLITZ_FAST_CLOSED && t.report.slot == -1 && t.report.route == &t.route, "closed");
        MUST(t.report.line.status == 200 && t.report.line.sent == 2 && t.report.line.minor == i, "its line");
        MUST(strstr(heard(t.client.theirs), "\r\nConnection: close\r\n\r\nhi") && t.endpoint->n == 1, "the answer");
        end();
    }
}

static void what_is_unsent_of_a_last_answer_is_told_with_it(void)
{
    static const char last[] = "GET /a HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n";
    static uint8_t filler[4096];
    for (int closes = 0; closes < 2; closes++) {
        begin(0);
        t.route.cluster = NULL;
        t.route.status = 200;
        t.route.kind = (blitz_text){(const uint8_t *)"a/b", 3};
        t.route.body = (blitz_text){(const uint8_t *)"hi", 2};
        while (write(t.client.ours, filler, sizeof filler) > 0)
            ;
        say(t.client.theirs, closes ? last : GET);
        MUST(turn(2) == BLITZ_FAST_UNSENT && t.report.closes == closes, "closes");
        MUST(t.report.n_unsent > 0 && memcmp(t.report.unsent + t.report.n_unsent - 2, "hi", 2) == 0, "unsent");
        end();
    }
}

static void a_route_may_give_the_response_itself(void)
{
    static const char text[] = "text/plain";
    begin(0);
    blitz_access_log *log = blitz_access_log_new(1000);
    blitz_access_log_set_kind(log, BLITZ_ACCESS_JSON);
    MUST(blitz_access_log_sleep(log) == 1, "nothing waits");
    t.face->access_log = log;
    t.face->logged = 1;
    t.route.cluster = NULL;
    t.route.kind = (blitz_text){(const uint8_t *)text, sizeof text - 1};
    t.route.body = (blitz_text){(const uint8_t *)"no", 2};
    t.route.status = 403;
    say(t.client.theirs, "POST /a HTTP/1.1\r\nHost: h\r\nContent-Length: 2\r\n\r\nhi");
    MUST(turn(1) == BLITZ_FAST_LOGGED && t.report.line.method.len == 0, "answered");
    blitz_access_block *block = blitz_access_log_take(log);
    const char *line = (const char *)block->data;
    MUST(strstr(line, "\"status\":403,") && strstr(line, "\"received\":2,\"sent\":2,"), "its line");
    blitz_access_blocks_free(block);
    MUST(t.report.answered == -1 && t.endpoint->n == 1, "nobody else was asked");
    MUST(strcmp(heard(t.client.theirs), "HTTP/1.1 403 Forbidden\r\ncontent-type: text/plain\r\n"
                                        "Content-Length: 2\r\n\r\nno") == 0, "the response");
    t.route.status = 204;
    say(t.client.theirs, "GET /a HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n");
    MUST(turn(2) == BLITZ_FAST_CLOSED && t.report.line.status == 204 && t.report.line.sent == 0, "no content");
    const char *last = heard(t.client.theirs);
    MUST(strstr(last, "\r\nConnection: close\r\n\r\n") && !strstr(last, "Length") && !strstr(last, "no"), "%s", last);
    blitz_access_log_free(log);
    end();
}

static void python_may_give_the_response(void)
{
    static uint8_t large[64 * 1024];
    const uint8_t *kind = (const uint8_t *)"a/b";
    begin(1);
    t.route.cluster = NULL;
    for (int i = 0; i < 2; i++) {                   /* of a route, and where none is */
        say(t.client.theirs, "HEAD /a HTTP/1.1\r\nHost: h\r\n\r\n");
        MUST(turn(1) == BLITZ_FAST_ASK && t.report.slot >= 0, "ask");
        blitz_exchange *exchange = t.exchanges[t.report.slot];
        if (i == 0)
            MUST(blitz_fast_route_it(t.fast, t.client.ours, &t.route, &t.peer, &t.options, &t.report) == BLITZ_FAST_REPLY &&
                 t.exchanges[t.report.slot] == exchange && t.report.route == &t.route, "reply");
        MUST(blitz_local_response(exchange, 200, kind, 3, (const uint8_t *)"hello", 5) == 0, "made");
        MUST(blitz_fast_respond(t.fast, t.client.ours, BLITZ_ANSWERED_BY_NONE, &t.report) == BLITZ_FAST_QUIET, "sent");
        MUST(strcmp(heard(t.client.theirs), "HTTP/1.1 200 OK\r\ncontent-type: a/b\r\nContent-Length: 5\r\n\r\n") == 0, "head");
    }
    say(t.client.theirs, GET);
    MUST(turn(2) == BLITZ_FAST_ASK, "ask");
    MUST(blitz_local_response(t.exchanges[t.report.slot], 200, kind, 3, large, sizeof large) == 0, "made");
    MUST(blitz_fast_respond(t.fast, t.client.ours, BLITZ_ANSWERED_BY_NONE, &t.report) == BLITZ_FAST_HAND_OVER, "more than fits");
    MUST(t.report.is_local && t.report.route == NULL && t.report.step == BLITZ_CHAIN_CONTINUE, "as it is");
    refill();
    end();
}

static void what_runs_before_routing_comes_before_the_route(void)
{
    static blitz_fast_route before = {.id = 9, .before = 1};
    begin(0);
    t.face->route = &before;
    for (int i = 0; i < 2; i++) {
        say(t.client.theirs, GET);
        MUST(turn(1) == BLITZ_FAST_ASK && t.report.route == &before && t.report.slot >= 0, "ask behind them");
        MUST(blitz_fast_route_it(t.fast, t.client.ours, &t.route, &t.peer, &t.options, &t.report) == BLITZ_FAST_QUIET, "sent");
        heard(t.upstream.theirs);
        say(t.upstream.theirs, OK);
        MUST(turn(2) == BLITZ_FAST_QUIET && strstr(heard(t.client.theirs), "\r\n\r\nhi"), "answered");
    }
    say(t.client.theirs, GET);
    MUST(turn(3) == BLITZ_FAST_ASK, "ask");
    MUST(blitz_fast_route_it(t.fast, t.client.ours, NULL, &t.peer, NULL, &t.report) == BLITZ_FAST_HAND_OVER, "no route here");
    MUST(t.report.route == &before && t.report.step == BLITZ_CHAIN_CONTINUE && t.report.upstream == -1, "they have run");
    refill();
    end();
}

static void hops_are_counted_once(void)
{
    blitz_text options = {(const uint8_t *)"OPTIONS", 7};
    begin(0);
    say(t.client.theirs, "OPTIONS /a HTTP/1.1\r\nHost: h\r\nMax-Forwards: 10\r\n\r\n");
    MUST(turn(1) == BLITZ_FAST_QUIET, "sent");
    MUST(strstr(heard(t.upstream.theirs), "\r\nMax-Forwards: 9\r\n"), "one less");
    say(t.upstream.theirs, OK);
    MUST(turn(2) == BLITZ_FAST_QUIET, "answered");
    MUST(blitz_endpoint_remove(t.endpoint, t.upstream.ours) == 0, "no connection");
    say(t.client.theirs, "OPTIONS /a HTTP/1.1\r\nHost: h\r\nMax-Forwards: 2\r\n\r\n");
    MUST(turn(3) == BLITZ_FAST_HAND_OVER, "handed over");
    blitz_exchange *exchange = t.exchanges[t.report.slot];
    MUST(blitz_take_hop(exchange, options) == 1, "counted");
    int index = blitz_head_find(exchange->request, (const uint8_t *)"max-forwards", 12, 0);
    MUST(*blitz_at(exchange->request, exchange->request->fields[index].value) == '1', "once");
    refill();
    static const struct { const char *value; int result; } cases[] = {
        {"0", 0}, {"00", 0}, {"", BLITZ_E_SYNTAX}, {"-1", BLITZ_E_SYNTAX}, {"1234567890", BLITZ_E_SYNTAX}, {"999999999", 1},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        exchange = blitz_exchange_new();
        MUST(blitz_head_start_request(exchange->request, options.ptr, options.len, (const uint8_t *)"/", 1, 1) == 0, "start");
        MUST(blitz_head_add(exchange->request, (const uint8_t *)"Max-Forwards", 12, (const uint8_t *)cases[i].value,
                            strlen(cases[i].value)) == 0, "field");
        MUST(blitz_take_hop(exchange, options) == cases[i].result, "%s", cases[i].value);
        MUST(blitz_take_hop(exchange, (blitz_text){(const uint8_t *)"GET", 3}) == 1, "GET counts none");
        blitz_exchange_free(exchange);
    }
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
    a_response_in_pieces_is_streamed();
    a_response_until_close_is_chunked_and_its_connection_closed();
    more_than_a_response_makes_the_connection_unfit();
    a_response_that_fails_is_handed_over_as_a_stream();
    a_slow_reader_stops_the_sender();
    a_response_that_stalls_or_leaves_is_told_with_what_is_there();
    a_request_in_pieces_is_streamed();
    a_request_that_fails_is_handed_over_as_a_stream();
    a_body_over_the_limit_is_cut_where_it_is_over();
    a_sender_that_is_too_slow_is_told();
    a_slow_upstream_stops_the_client();
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
    an_http_1_0_client_stays_where_it_asks_for_that();
    what_asks_for_its_end_gets_it_with_the_answer();
    what_is_unsent_of_a_last_answer_is_told_with_it();
    a_route_may_give_the_response_itself();
    python_may_give_the_response();
    what_runs_before_routing_comes_before_the_route();
    hops_are_counted_once();
    puts("fast: short exchanges, and all that is handed over");
    return 0;
}
