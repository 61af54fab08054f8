/* fast_path_response.c: the steps of an exchange on the fast path from the upstream's response to its end. */
#include "fast_path_table.h"
#include "measures.h"
#include "tls.h"
#include <errno.h>
#include <math.h>
#include <string.h>

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
    fast_drop_memory(fast, &at->memory);
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

int fast_hand_response_over(blitz_fast_path *fast, int fd, blitz_fast_report *report, int step, bool begun)
{
    slot *at = &fast->slots[fast->places[fd].slot];
    const uint8_t *response = fast_response_at(fast, at);
    at->stream = BLITZ_STREAM_NONE;
    fast_hand_over(fast, fd, report, step);
    report->answer_read = 1;
    report->answer = response;
    report->answer_size = begun ? at->answer_size : 0;
    report->answer_got = at->answer_got;
    fast->told = at->pipe.body;
    report->body_state = &fast->told;
    if (at->is_decoded) {
        report->answer_got = at->answer_size;
        report->collected = (blitz_text){response + at->answer_size, at->answer_got - at->answer_size};
        report->collected_for = at->is_kept ? fast->now - at->collecting_since : 0;
    }
    return BLITZ_FAST_HAND_OVER;
}

int fast_break_off(blitz_fast_path *fast, int fd, blitz_fast_report *report, int error)
{
    fast_release_upstream(fast, fd, report);
    fast_leave_empty(fast, fd, report, BLITZ_FAST_BROKEN);
    report->error = error;
    return BLITZ_FAST_BROKEN;
}

/* Decode what came of the body, from start to end, unless it is, and code it as it goes out; it moves a bit there.
 * -> 0, or BLITZ_BODY_*. */
static int take_first_part(slot *at, uint8_t **start, uint8_t **end)
{
    blitz_pipe *pipe = &at->pipe;
    size_t got = (size_t)(*end - *start), consumed = got, before = 0;
    uint8_t *data = *start;
    int64_t len = at->is_decoded ? (int64_t)got : blitz_body_feed(&pipe->body, data, got, &consumed);
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

/* Put size bytes of head, in scratch, in front of the body: it stays where it is, or both find other room. ptr NULL: there
 * is none. */
static blitz_text join(blitz_fast_path *fast, slot *at, size_t size, uint8_t *start, const uint8_t *end)
{
    size_t body = (size_t)(end - start);
    uint8_t *to = start - size;
    if (size <= (size_t)(start - (fast_response_at(fast, at) - ANSWER_HEADROOM))) {
        memcpy(to, fast->scratch.ptr, size);
        return (blitz_text){to, size + body};
    }
    to = fast->scratch.ptr;
    if (size + body > fast->scratch.size) {
        fast_memory other;
        if (!fast_take_memory(fast, &other, BLITZ_PART_HEADROOM + size + body))
            return (blitz_text){NULL, 0};
        to = other.at + BLITZ_PART_HEADROOM;
        memcpy(to, fast->scratch.ptr, size);
        memcpy(to + size, start, body);
        fast_drop_memory(fast, &at->memory);
        at->memory = other;
        at->is_kept = 1;
        return (blitz_text){to, size + body};
    }
    memcpy(to + size, start, body);
    return (blitz_text){to, size + body};
}

/* Its upstream has sent a body that a plugin's status drops. */
static bool is_dropped(const blitz_exchange *exchange)
{
    blitz_write_options options = {0};
    return !blitz_frame_response(&options, exchange->request, exchange->response, 1) &&
           exchange->response->body != BLITZ_BODY_NONE;
}

/* The response goes to the client. begun: hooks have run. */
static int send_answer(blitz_fast_path *fast, int fd, blitz_fast_report *report, bool begun)
{
    slot *at = &fast->slots[fast->places[fd].slot];
    blitz_exchange *exchange = at->exchange;
    blitz_io io;
    size_t got = at->answer_got;
    uint8_t *head = fast_response_at(fast, at), *start = head + at->answer_size, *end = head + got;
    if (begun && is_dropped(exchange))           /* before the rules change it: they do that once */
        return fast_hand_response_over(fast, fd, report, BLITZ_CHAIN_CONTINUE, true);
    blitz_text date = {fast->face.date, fast->face.date_len};
    const blitz_route_rules *rules = fast->places[fd].route->rules;
    bool unruled = rules != NULL && blitz_rules_response(rules, exchange) < 0;   /* Python says that there is no room */
    int64_t written = unruled ? -1 : blitz_step_write_response(exchange, date, !fast->face.draining, fast->scratch, &io);
    if (written < 0)
        return fast_hand_response_over(fast, fd, report, BLITZ_CHAIN_CONTINUE, begun);
    at->closes = io.closes;
    int failed = take_first_part(at, &start, &end);
    if (failed != 0)
        return fast_fail_response(fast, fd, report, failed);
    blitz_text whole = join(fast, at, (size_t)written, start, end);
    if (whole.ptr == NULL)
        return fast_break_off(fast, fd, report, ENOMEM);
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
                                      got == fast_answer_room(fast) || fast->places[fast->places[fd].other].ended);
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
    if (step == BLITZ_CHAIN_NEED_BODY)
        return fast_collect_response(fast, fd, report);
    if (step != BLITZ_CHAIN_CONTINUE)
        return fast_hand_response_over(fast, fd, report, step, true);
    if (at->exchange->body_edited)
        return fast_send_changed(fast, fd, report);
    return send_answer(fast, fd, report, true);
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
    if (at->collects == COLLECTS_RESPONSE)
        return fast_collect_more(fast, fd, report);
    at->is_kept = at->is_decoded = 0;
    blitz_space buf = {fast->answer.ptr + ANSWER_HEADROOM, fast_answer_room(fast)};
    int64_t size = blitz_step_receive_response(upstream, buf, exchange, fast->face.limits, &io);
    if (size == BLITZ_IO_AGAIN)
        return BLITZ_FAST_QUIET;
    at->answer_got = io.got;
    if (size <= 0 || !io.is_short)
        return fast_hand_response_over(fast, fd, report, BLITZ_CHAIN_CONTINUE, false);
    at->answer_size = (size_t)size;
    if (blitz_has_status(client->route->retry_status, exchange->response->status))
        return fast_hand_response_over(fast, fd, report, BLITZ_CHAIN_CONTINUE, false);    /* Python may ask somebody else */
    if (client->route->edits_responses && blitz_begin_whole_response(exchange->response) != 0)
        return fast_hand_response_over(fast, fd, report, BLITZ_CHAIN_CONTINUE, false);    /* Python says why not */
    judge(fast, client, exchange);
    fast_begin_response(fast, at);
    if (at->memory.at != NULL)
        fast_forget_request(fast, at);
    if (!client->route->has_response)
        return send_answer(fast, fd, report, false);
    exchange->body = (blitz_text){NULL, 0};
    exchange->body_edited = 0;
    exchange->body_truncated = 0;
    blitz_chain_begin_response(exchange);
    return fast_respond(fast, fd, report, blitz_chain_go(exchange));
}
