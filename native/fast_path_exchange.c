/* fast_path_exchange.c: the steps of an exchange on the fast path, from the request to the answer. fast_path.c says
 * what it is. */
#include "fast_path_table.h"
#include "measures.h"
#include "tls.h"
#include <errno.h>
#include <math.h>
#include <string.h>

/* In front of a response, so that its head can grow where it is. */
enum { ANSWER_HEADROOM = 1024 };
enum { LEAST_ROOM = 4096 };              /* behind the head of a request whose body is streamed */

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

/* The chain has come to a step that is not the fast path's. */
static int hand_over(blitz_fast_path *fast, int fd, blitz_fast_report *report, int step)
{
    fast_leave(fast, fd, report, BLITZ_FAST_HAND_OVER);
    report->step = step;
    return BLITZ_FAST_HAND_OVER;
}

/* The plugin in hand is content, but has left log lines: they are taken, and the exchange goes on here. */
static bool only_logs(const blitz_chain *chain, int step)
{
    return step == BLITZ_CHAIN_RETURNED && chain->rc >= 0 && (chain->rc & 3) <= BLITZ_V_STOP;
}

static int ask_for_route(blitz_fast_path *fast, int fd, blitz_fast_report *report)
{
    report->fd = fd;
    report->route = fast->places[fd].route;
    report->slot = fast->places[fd].slot;
    return report->what = BLITZ_FAST_ASK;
}

static int let_logs_be_taken(blitz_fast_path *fast, int fd, blitz_fast_report *report)
{
    const place *client = &fast->places[fd];
    const blitz_chain *chain = &fast->slots[client->slot].exchange->chain;
    report->fd = fd;
    report->route = client->route;
    report->index = (uint32_t)chain->index;
    report->instance = chain->at->id;
    report->slot = client->slot;
    return report->what = BLITZ_FAST_LOGS;
}

void fast_join(blitz_fast_path *fast, int fd, int upstream)
{
    place *client = &fast->places[fd];
    blitz_cluster *cluster = client->route->cluster;
    slot *at = &fast->slots[client->slot];
    at->exchange->upstream = cluster->endpoints[client->endpoint]->name;
    blitz_exchange_ask(at->exchange);
    blitz_cluster_take(cluster, client->endpoint, fast->now);
    cluster->endpoints[client->endpoint]->active++;
    if (client->route->split != NULL)
        blitz_split_take(client->route->split, client->route->branch);
    if (client->route->mirror != NULL)
        blitz_mirror_take(client->route->mirror);
    client->other = upstream;
    fast->places[upstream].other = fd;
    at->counted = 1;
    client->route->in_flight++;
    fast->face.in_flight++;
}

static int send_request(blitz_fast_path *fast, int fd, blitz_fast_report *report)
{
    place *client = &fast->places[fd];
    if (client->route->mirror != NULL && blitz_mirror_is_due(client->route->mirror))
        return hand_over(fast, fd, report, BLITZ_CHAIN_CONTINUE);    /* Python makes the copy */
    if (client->route->split != NULL)
        client->route = client->route->branches[blitz_split_choose(client->route->split)];
    blitz_cluster *cluster = client->route->cluster;
    const slot *at = &fast->slots[client->slot];
    blitz_exchange *exchange = at->exchange;
    const blitz_text *body = exchange->body_edited ? &exchange->new_body : at->body.ptr != NULL ? &at->body : NULL;
    int32_t chosen = blitz_cluster_choose(cluster, exchange, fast->now, NULL);
    if (chosen < 0)
        return hand_over(fast, fd, report, BLITZ_CHAIN_CONTINUE);
    client->endpoint = (uint32_t)chosen;
    blitz_endpoint *endpoint = cluster->endpoints[client->endpoint];
    blitz_taken taken = {0};
    int upstream = !endpoint->shut ? blitz_endpoint_take(endpoint, fast->now, &taken) : -1;
    int64_t left = -1;
    blitz_io io;
    if (upstream >= 0) {
        fast->places[upstream].resting = 0;
        fast->places[upstream].born = taken.born;
    }
    blitz_write_options options = *client->options;
    if (upstream >= 0 && !taken.stale)
        blitz_write_host(&options, exchange->request, cluster, endpoint);
    if (at->streamed && upstream >= 0 && !taken.stale && blitz_step_is_quiet(upstream))
        return fast_stream_request(fast, fd, report, upstream, &options);
    if (upstream >= 0 && !taken.stale && !at->streamed)
        left = blitz_step_send_request(upstream, exchange->request, body, &options, fast->scratch, &io);
    if (left < 0) {
        report->unfit = upstream;
        return hand_over(fast, fd, report, BLITZ_CHAIN_CONTINUE);
    }
    fast_join(fast, fd, upstream);
    if (left > 0) {
        hand_over(fast, fd, report, BLITZ_CHAIN_CONTINUE);
        report->unsent = fast->scratch.ptr + io.size - left;
        report->n_unsent = (size_t)left;
        return BLITZ_FAST_HAND_OVER;
    }
    fast_await_response(fast, client);
    return BLITZ_FAST_QUIET;
}

/* A part of a body cannot be replaced by what plugins made of it (RFC 9110 section 14.5): Python looks at it. */
static bool is_part(const blitz_exchange *exchange)
{
    static const char name[] = "content-range";
    return exchange->body_edited && blitz_head_find(exchange->request, (const uint8_t *)name, sizeof name - 1, 0) >= 0;
}

/* The request hooks have come to a step. */
int fast_go_through(blitz_fast_path *fast, int fd, blitz_fast_report *report, int step)
{
    place *client = &fast->places[fd];
    const blitz_fast_route *route = client->route;
    blitz_exchange *exchange = fast->slots[client->slot].exchange;
    if (step == BLITZ_CHAIN_PENDING && blitz_call_waits(exchange->chain.at) == BLITZ_WAITS_SLICE)
        fast->turn_ends = blitz_monotonic_ns() + TURN_NS;    /* a guest took the turn of all others */
    if (only_logs(&exchange->chain, step))
        return let_logs_be_taken(fast, fd, report);
    if (step == BLITZ_CHAIN_ANSWER)
        return fast_respond_locally(fast, fd, report, exchange->chain.index);
    if (step == BLITZ_CHAIN_NEED_BODY && fast_may_collect(&fast->slots[client->slot], route->body_limit))
        return fast_begin_collecting(fast, fd, report);
    if (step == BLITZ_CHAIN_CONTINUE && route->before)
        return ask_for_route(fast, fd, report);
    bool is_read = !fast->slots[client->slot].streamed;
    bool stays = !exchange->moved || blitz_fast_stays(route, exchange->request);
    bool replaced = exchange->body_edited && !is_read;
    if (step != BLITZ_CHAIN_CONTINUE || !stays || replaced || is_part(exchange))
        return hand_over(fast, fd, report, step);
    if (route->cluster == NULL && route->split == NULL)
        return fast_reply(fast, fd, report);
    if (blitz_take_hop(exchange, fast->slots[client->slot].method) != 1)
        return hand_over(fast, fd, report, step);    /* Python says why it goes no further */
    int ruled = route->rules != NULL ? blitz_rules_request(route->rules, exchange) : BLITZ_RULES_PASS;
    if (ruled == BLITZ_RULES_ANSWERED)
        return fast_respond_locally(fast, fd, report, BLITZ_ANSWERED_BY_NONE);
    if (ruled < 0)
        return hand_over(fast, fd, report, step);
    return send_request(fast, fd, report);
}

static int begin_chain(blitz_exchange *exchange, const blitz_fast_route *route, bool begun)
{
    exchange->moved = 0;                         /* until now plugins could lead it anywhere */
    return begun ? blitz_chain_extend(exchange, route->pools, route->n_pools)
                 : blitz_chain_begin(exchange, route->pools, route->n_pools);
}

void fast_lend_body(blitz_exchange *exchange, const slot *at, uint64_t limit)
{
    exchange->chain.body_ready = exchange->body_edited || (!at->streamed && at->body.len <= limit);
    if (!exchange->body_edited && exchange->chain.body_ready)
        exchange->body = at->body;
}

int fast_ask(blitz_fast_path *fast, int fd, blitz_fast_route *route, blitz_fast_report *report)
{
    place *client = &fast->places[fd];
    const slot *at = &fast->slots[client->slot];
    blitz_exchange *exchange = at->exchange;
    exchange->peer = client->peer;
    int entered = fast_enter_route(fast, fd, route, report);
    if (entered != FAST_PASSES)
        return entered;
    if (begin_chain(exchange, route, client->route != NULL) != 0)
        return fast_leave(fast, fd, report, BLITZ_FAST_HAND_OVER);   /* Python finds out that there is no memory */
    exchange->route = route->name;
    exchange->chain.lines = fast->face.lines;
    client->route = route;
    fast_lend_body(exchange, at, route->body_limit);
    return fast_go_through(fast, fd, report, route->n_pools > 0 ? blitz_chain_go(exchange) : BLITZ_CHAIN_CONTINUE);
}

/* Nothing whole has come. Part of a record may have, together with the end behind it: that has no edge any more. */
static int look_again(blitz_fast_path *fast, int fd)
{
    place *client = &fast->places[fd];
    if (client->look || blitz_link_holds_more(fast_link(fast, fd)))
        fast_watch_again(fast, fd);
    client->look = 0;
    if (client->late)                            /* what had come was not what was waited for */
        client->deadline = fast->earliest = fast->now;
    return BLITZ_FAST_QUIET;
}

/* The TLS handshake goes on. */
int fast_shake(blitz_fast_path *fast, int fd, blitz_fast_report *report)
{
    int done = blitz_tls_shake(fast->places[fd].tls, fd);
    int number = errno;
    if (done == 0)
        return look_again(fast, fd);
    fast_leave(fast, fd, report, done > 0 ? BLITZ_FAST_SHAKEN : BLITZ_FAST_BROKEN);
    report->error = done < 0 ? number : 0;
    return report->what;
}

int fast_receive_request(blitz_fast_path *fast, int fd, blitz_fast_report *report)
{
    place *client = &fast->places[fd];
    if (client->generation != fast->face.generation)
        return fast_leave(fast, fd, report, BLITZ_FAST_RELOADED);
    if (fast->face.free_slots == 0) {
        fast->at--;                              /* the same event once more, with slots */
        return report->what = BLITZ_FAST_NO_SLOT;
    }
    int32_t index = fast->free_slots[--fast->face.free_slots];
    slot *at = &fast->slots[index];
    blitz_io io;
    int64_t size = blitz_step_receive_request(fast_link(fast, fd), (blitz_space){at->buf, at->size}, at->exchange->request,
                                              fast->face.limits, fast->face.max_body, &io);
    client->slot = index;
    if (size == BLITZ_IO_AGAIN) {
        client->slot = -1;
        fast_give_slot(fast, index);
        return look_again(fast, fd);
    }
    if (size < 0) {
        fast_leave_empty(fast, fd, report, size == BLITZ_IO_EOF ? BLITZ_FAST_CLOSED : BLITZ_FAST_BROKEN);
        report->error = io.error;
        return report->what;
    }
    if (size > 0) {
        bool has_body = io.is_short && io.is_whole && at->exchange->request->body == BLITZ_BODY_LENGTH;
        fast_remember(fast, at);
        at->body = has_body ? (blitz_text){at->buf + size, io.body} : (blitz_text){NULL, 0};
        at->head_size = (size_t)size;
        at->exchange->chosen_by = fast->face.chosen_by;
        at->is_local = 0;
        at->next = (size_t)size + io.body;
        at->got = io.got;
        at->stream = BLITZ_STREAM_NONE;
        at->unfit = at->counted = at->collects = 0;
        fast_begin_request(fast, at);
        at->streamed = io.is_short && !io.is_whole;
        client->busy = 1;
        client->ends = fast->face.total > 0 ? fast->now + fast->face.total : INFINITY;
        client->look |= io.got == at->size || blitz_link_holds_more(fast_link(fast, fd));   /* there may be more, and its edge is used up */
        fast->face.exchanges++;
        if (fast->face.counted != NULL)
            measures_add(fast->face.counted, 1);
    }
    if (size > 0 && io.is_short && fast->face.id_field.len > 0)
        blitz_exchange_tell_id(at->exchange, fast->face.id_field.ptr, fast->face.id_field.len);
    /* What comes behind a chunked body is kept behind the head. */
    bool has_room = at->size - (size_t)size >= LEAST_ROOM;
    if (size == 0) {
        fast_leave(fast, fd, report, BLITZ_FAST_HEAD_BYTES);
        report->got = io.got;
        return report->what;
    }
    if (!io.is_short || (at->streamed && !has_room))
        return fast_leave(fast, fd, report, BLITZ_FAST_HAND_OVER);
    if ((client->ask && !fast_is_same_client(client, at->exchange->request)) || client->options == NULL ||
        client->told_minor != at->exchange->request->minor || fast->face.route == NULL)
        return ask_for_route(fast, fd, report);
    return fast_ask(fast, fd, fast->face.route, report);
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
    hand_over(fast, fd, report, step);
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
    if (consumed < got)
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
    if (only_logs(chain, step))
        return let_logs_be_taken(fast, fd, report);
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
