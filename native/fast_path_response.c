/* fast_path_response.c: the steps of an exchange on the fast path from the upstream's response to its end. */
#include "fast_path_table.h"
#include "measures.h"
#include "tls.h"
#include <errno.h>
#include <math.h>
#include <string.h>

/* In front of a response, so that its head can grow where it is. */
enum { ANSWER_HEADROOM = 1024 };

static size_t answer_room(const blitz_fast_path *fast)
{
    return fast->answer.size - ANSWER_HEADROOM - BLITZ_PART_TAILROOM;
}

/* The exchange is over: its figures, and its line. -> the writer of the log has to be woken. */
static bool count(blitz_fast_path *fast, const place *client, size_t sent)
{
    uint64_t took_ns = blitz_monotonic_ns() - fast->slots[client->slot].began_ns;
    fast_measure(fast, client, sent, took_ns);
    return fast->face.logged && fast_log(fast, client, sent, took_ns);
}

/* The answer has gone out: the client waits again, or its connection ends. */
int fast_finish(blitz_fast_path *fast, int fd, blitz_fast_report *report, bool closes)
{
    if (closes)
        return fast_leave_empty(fast, fd, report, BLITZ_FAST_CLOSED);
    place *client = &fast->places[fd];
    slot *at = &fast->slots[client->slot];
    blitz_exchange *exchange = at->exchange;
    bool has_next = at->next < at->got;  /* the next request is here already: others come first */
    /* Python counts and writes the line of who leaves, and of an error: it knows what that tells of. */
    bool is_error = at->is_local && at->answered == BLITZ_ANSWERED_WITH_ERROR, is_reported = is_error && !has_next;
    if (is_error)
        fast_describe(fast, client, &report->line);
    else if (!has_next)
        is_reported = count(fast, client, report->line.sent);
    report->fd = fd;
    report->route = client->route;
    report->endpoint = client->endpoint;
    report->index = (uint32_t)exchange->chain.index;
    report->told |= (uint8_t)blitz_chain_release(exchange);
    fast_uncount(fast, client);
    if (has_next) {
        client->served = 1;
        return fast_leave(fast, fd, report, BLITZ_FAST_HEAD_BYTES);
    }
    blitz_exchange_reset(exchange);
    fast_give_slot(fast, client->slot);
    client->slot = -1;
    client->busy = 0;
    client->served = 1;
    client->route = NULL;
    blitz_link_rest(fast_link(fast, fd));
    fast_set_idle_deadline(fast, client);
    if (client->look || client->wants_out) {
        client->look = client->wants_out = 0;
        fast_watch_again(fast, fd);
    }
    if (is_reported)
        return report->what = BLITZ_FAST_LOGGED;
    bool is_told = report->returned >= 0 || report->unfit >= 0 || report->told;
    return report->what = is_told ? BLITZ_FAST_RETURNED : BLITZ_FAST_QUIET;
}

void fast_give_back(blitz_fast_path *fast, blitz_endpoint *endpoint, int upstream, blitz_fast_report *report)
{
    fast->places[upstream].resting = 1;
    /* Whoever waits for one, or does not want it, is Python's business. */
    if (endpoint->wanted || endpoint->shut ||
        blitz_endpoint_give(endpoint, upstream, fast->places[upstream].born, fast->now) != 0)
        report->returned = upstream;
}

void fast_release_upstream(blitz_fast_path *fast, int fd, blitz_fast_report *report)
{
    place *client = &fast->places[fd], *upstream = &fast->places[client->other];
    const slot *at = &fast->slots[client->slot];
    blitz_endpoint *endpoint = client->route->cluster->endpoints[client->endpoint];
    int number = client->other;
    client->other = upstream->other = -1;
    blitz_exchange_answered_at(at->exchange, fast->event_ns);
    fast_want_out(fast, number, false);
    report->route = client->route;
    report->endpoint = client->endpoint;
    if (at->unfit || !at->pipe.body.done) {
        report->unfit = number;
        report->unfit_why = at->unfit ? at->unfit : BLITZ_UNFIT_CLOSE;
        return;
    }
    fast_give_back(fast, endpoint, number, report);
}

static int hand_answer_over(blitz_fast_path *fast, int fd, blitz_fast_report *report, int step, size_t size, size_t got)
{
    fast->slots[fast->places[fd].slot].stream = BLITZ_STREAM_NONE;
    fast_hand_over(fast, fd, report, step);
    report->answer_read = 1;
    report->answer = fast->answer.ptr + ANSWER_HEADROOM;
    report->answer_size = size;
    report->answer_got = got;
    fast->told = fast->slots[report->slot].pipe.body;
    report->body_state = &fast->told;
    return BLITZ_FAST_HAND_OVER;
}

/* Decode what came of the body, from start to end in the answer buffer, and code it as it goes out; it moves a bit
 * there. -> 0, or BLITZ_BODY_*. */
static int take_first_part(slot *at, uint8_t **start, uint8_t **end)
{
    blitz_pipe *pipe = &at->pipe;
    size_t got = (size_t)(*end - *start), consumed, before = 0;
    uint8_t *data = *start;
    int64_t len = blitz_body_feed(&pipe->body, data, got, &consumed);
    if (len < 0)
        return (int)len;
    if (consumed < got && !at->unfit)            /* behind the last answer of a connection it does no harm */
        at->unfit = BLITZ_UNFIT_UNASKED;
    *end = data + len;
    if (pipe->chunked) {
        *end = data + blitz_chunk_frame(data, (size_t)len, pipe->body.done, &before) - before;
        *start -= before;
    }
    return 0;
}

/* The response in the answer buffer, size bytes of head and got in all, goes to the client. begun: hooks have run. */
static int send_answer(blitz_fast_path *fast, int fd, blitz_fast_report *report, size_t size, size_t got, bool begun)
{
    slot *at = &fast->slots[fast->places[fd].slot];
    blitz_exchange *exchange = at->exchange;
    blitz_io io;
    uint8_t *head = fast->answer.ptr + ANSWER_HEADROOM, *start = head + size, *end = head + got;
    blitz_text date = {fast->face.date, fast->face.date_len};
    const blitz_route_rules *rules = fast->places[fd].route->rules;
    bool unruled = rules != NULL && blitz_rules_response(rules, exchange) < 0;   /* Python says that there is no room */
    int64_t written = unruled ? -1 : blitz_step_write_response(exchange, date, !fast->face.draining, fast->scratch, &io);
    if (written < 0)
        return hand_answer_over(fast, fd, report, BLITZ_CHAIN_CONTINUE, begun ? size : 0, got);
    at->closes = io.closes;
    int failed = take_first_part(at, &start, &end);
    if (failed != 0)
        return fast_fail_response(fast, fd, report, failed);
    blitz_text whole = {start - written, (size_t)(written + (end - start))};
    if (written <= start - fast->answer.ptr) {
        memcpy(start - written, fast->scratch.ptr, (size_t)written);   /* in front of the body, which stays where it is */
    } else {
        whole.ptr = fast->scratch.ptr;
        memcpy(fast->scratch.ptr + written, start, (size_t)(end - start));
    }
    int64_t left = blitz_step_send(fast_link(fast, fd), whole.ptr, whole.len, &io);
    if (left < 0) {
        fast_release_upstream(fast, fd, report);
        return fast_unsent_answer(fast, fd, report, left, &io);
    }
    if (left == 0 && at->pipe.body.done) {
        fast_release_upstream(fast, fd, report);
        report->line.sent = at->pipe.body.received;
        return fast_finish(fast, fd, report, at->closes);
    }
    return fast_begin_response_stream(fast, fd, report, whole.ptr + whole.len - left, (size_t)left,
                                      got == answer_room(fast) || fast->places[fast->places[fd].other].ended);
}

/* The response hooks have come to a step. */
int fast_respond(blitz_fast_path *fast, int fd, blitz_fast_report *report, int step)
{
    const slot *at = &fast->slots[fast->places[fd].slot];
    const blitz_chain *chain = &at->exchange->chain;
    if (step == BLITZ_CHAIN_PENDING && blitz_call_waits(chain->at) == BLITZ_WAITS_SLICE)
        fast->turn_ends = blitz_monotonic_ns() + TURN_NS;
    if (fast_only_logs(chain, step))
        return fast_let_logs_be_taken(fast, fd, report);
    if (at->is_local)
        return fast_responded_locally(fast, fd, report, step);
    if (step != BLITZ_CHAIN_CONTINUE || at->exchange->body_edited)
        return hand_answer_over(fast, fd, report, step, at->answer_size, at->answer_got);
    return send_answer(fast, fd, report, at->answer_size, at->answer_got, true);
}

/* What the head of the response says about its endpoint, and what it tells the client about that. */
static void judge(const blitz_fast_path *fast, const place *client, blitz_exchange *exchange)
{
    const blitz_cluster *cluster = client->route->cluster;
    if (blitz_has_status(cluster->bad_status, exchange->response->status))
        blitz_endpoint_failed(cluster->endpoints[client->endpoint], fast->now);
    if (cluster->sticky.len > 0)
        blitz_cluster_stick(cluster, exchange, client->endpoint);    /* a head that is full goes without */
}

int fast_receive_response(blitz_fast_path *fast, int upstream, blitz_fast_report *report)
{
    int fd = fast->places[upstream].other;
    place *client = &fast->places[fd];
    slot *at = &fast->slots[client->slot];
    blitz_exchange *exchange = at->exchange;
    blitz_io io;
    if (at->stream == BLITZ_STREAM_REQUEST)        /* an early response: both go on at once in the general path */
        return blitz_step_is_quiet(upstream) ? BLITZ_FAST_QUIET : fast_leave(fast, fd, report, BLITZ_FAST_HAND_OVER);
    if (at->stream == BLITZ_STREAM_RESPONSE)
        return client->waiting == BLITZ_WAIT_SEND ? BLITZ_FAST_QUIET : fast_pump_response(fast, fd, report);
    blitz_space buf = {fast->answer.ptr + ANSWER_HEADROOM, answer_room(fast)};
    int64_t size = blitz_step_receive_response(upstream, buf, exchange, fast->face.limits, &io);
    if (size == BLITZ_IO_AGAIN)
        return BLITZ_FAST_QUIET;
    if (size <= 0 || !io.is_short)
        return hand_answer_over(fast, fd, report, BLITZ_CHAIN_CONTINUE, 0, io.got);
    if (blitz_has_status(client->route->retry_status, exchange->response->status))
        return hand_answer_over(fast, fd, report, BLITZ_CHAIN_CONTINUE, 0, io.got);    /* Python may ask somebody else */
    judge(fast, client, exchange);
    fast_begin_response(fast, at);
    if (!client->route->has_response)
        return send_answer(fast, fd, report, (size_t)size, io.got, false);
    at->answer_size = (size_t)size;
    at->answer_got = io.got;
    exchange->body = (blitz_text){NULL, 0};
    exchange->body_edited = 0;
    blitz_chain_begin_response(exchange);
    return fast_respond(fast, fd, report, blitz_chain_go(exchange));
}
