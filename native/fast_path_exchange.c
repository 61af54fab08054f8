/* fast_path_exchange.c: the steps of an exchange on the fast path, from the request to the answer. fast_path.c says
 * what it is. */
#include "fast_path_table.h"
#include <math.h>
#include <string.h>

/* The answer has gone out: the client waits again. */
static int finish(blitz_fast_path *fast, int fd, blitz_fast_report *report)
{
    place *client = &fast->places[fd];
    blitz_exchange *exchange = fast->slots[client->slot].exchange;
    if (fast->face.logged)
        fast_describe(fast, client, &report->line);
    report->fd = fd;
    report->route = client->route;
    report->endpoint = client->endpoint;
    report->index = (uint32_t)exchange->chain.index;
    report->told |= (uint8_t)blitz_chain_release(exchange);
    blitz_exchange_reset(exchange);
    fast_give_slot(fast, client->slot);
    client->slot = -1;
    client->busy = 0;
    client->served = 1;
    client->route = NULL;
    fast_set_idle_deadline(fast, client);
    if (client->look) {
        client->look = 0;
        fast_watch_again(fast, fd);
    }
    if (fast->face.logged)
        return report->what = BLITZ_FAST_LOGGED;
    return report->what = report->returned >= 0 || report->told ? BLITZ_FAST_RETURNED : BLITZ_FAST_QUIET;
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

static int answer_of_plugin(blitz_fast_path *fast, int fd, blitz_fast_report *report)
{
    blitz_io io;
    place *client = &fast->places[fd];
    blitz_text date = {fast->face.date, fast->face.date_len};
    blitz_exchange *exchange = fast->slots[client->slot].exchange;
    int64_t left = blitz_step_answer_of_plugin(fast_link(fast, fd), exchange, date, fast->scratch, &io);
    report->line.sent = io.body;
    if (left == BLITZ_IO_ODD)
        return hand_over(fast, fd, report, BLITZ_CHAIN_ANSWER);
    int what = left != 0 ? fast_unsent_answer(fast, fd, report, left, &io) : finish(fast, fd, report);
    report->step = BLITZ_CHAIN_ANSWER;
    return what;
}

static int send_request(blitz_fast_path *fast, int fd, blitz_fast_report *report)
{
    place *client = &fast->places[fd];
    blitz_cluster *cluster = client->route->cluster;
    const slot *at = &fast->slots[client->slot];
    blitz_exchange *exchange = at->exchange;
    const blitz_text *body = exchange->body_edited ? &exchange->new_body : at->body.ptr != NULL ? &at->body : NULL;
    client->endpoint = blitz_cluster_turn(cluster, fast->now);
    blitz_endpoint *endpoint = cluster->endpoints[client->endpoint];
    blitz_taken taken = {0};
    int upstream = !endpoint->shut ? blitz_endpoint_take(endpoint, fast->now, &taken) : -1;
    int64_t left = -1;
    blitz_io io;
    if (upstream >= 0) {
        fast->places[upstream].resting = 0;
        fast->places[upstream].born = taken.born;
    }
    if (upstream >= 0 && !taken.stale)
        left = blitz_step_send_request(upstream, exchange->request, body, client->options, fast->scratch, &io);
    if (left < 0) {
        report->unfit = upstream;
        return hand_over(fast, fd, report, BLITZ_CHAIN_CONTINUE);
    }
    exchange->upstream = endpoint->name;
    cluster->next = client->endpoint + 1;
    client->other = upstream;
    fast->places[upstream].other = fd;
    client->route->in_flight++;
    fast->face.in_flight++;
    if (left > 0) {
        hand_over(fast, fd, report, BLITZ_CHAIN_CONTINUE);
        report->unsent = fast->scratch.ptr + io.size - left;
        report->n_unsent = (size_t)left;
        return BLITZ_FAST_HAND_OVER;
    }
    fast_set_deadline(fast, client, client->route->first_byte);
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
    if (step == BLITZ_CHAIN_PENDING && !blitz_call_is_due(exchange->chain.at))
        fast->turn_ends = blitz_monotonic_ns() + TURN_NS;    /* a guest took the turn of all others */
    if (only_logs(&exchange->chain, step))
        return let_logs_be_taken(fast, fd, report);
    if (step == BLITZ_CHAIN_ANSWER && !route->has_response)
        return answer_of_plugin(fast, fd, report);
    bool stays = !exchange->moved || blitz_fast_stays(route, exchange->request);
    if (step != BLITZ_CHAIN_CONTINUE || !stays || is_part(exchange))
        return hand_over(fast, fd, report, step);
    return send_request(fast, fd, report);
}

/* The plugins of the route, then the upstream. */
int fast_ask(blitz_fast_path *fast, int fd, blitz_fast_report *report)
{
    place *client = &fast->places[fd];
    const blitz_fast_route *route = client->route;
    const slot *at = &fast->slots[client->slot];
    blitz_exchange *exchange = at->exchange;
    exchange->peer = client->peer;
    exchange->route = route->name;
    if (blitz_chain_begin(exchange, route->pools, route->n_pools) != 0) {
        client->route = NULL;                    /* Python finds out that there is no memory */
        fast_leave(fast, fd, report, BLITZ_FAST_HAND_OVER);
        return BLITZ_FAST_HAND_OVER;
    }
    if (at->body.len <= route->body_limit) {
        exchange->body = at->body;
        exchange->chain.body_ready = 1;
    }
    return fast_go_through(fast, fd, report, route->n_pools > 0 ? blitz_chain_go(exchange) : BLITZ_CHAIN_CONTINUE);
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
        return BLITZ_FAST_QUIET;
    }
    if (size < 0) {
        fast_leave_empty(fast, fd, report, size == BLITZ_IO_EOF ? BLITZ_FAST_CLOSED : BLITZ_FAST_BROKEN);
        report->error = io.error;
        return report->what;
    }
    report->size = (size_t)size;
    report->got = io.got;
    if (size > 0) {
        bool has_body = io.is_short && at->exchange->request->body == BLITZ_BODY_LENGTH;
        fast_remember(at, fast->now, fast->face.logged);
        at->body = has_body ? (blitz_text){at->buf + size, io.body} : (blitz_text){NULL, 0};
        at->head_size = (size_t)size;
        client->busy = 1;
        client->ends = fast->face.total > 0 ? fast->now + fast->face.total : INFINITY;
        client->look |= io.got == at->size;      /* there may be more, and its edge is used up */
        fast->face.exchanges++;
    }
    if (size > 0 && io.is_short && fast->face.id_field.len > 0)
        blitz_exchange_tell_id(at->exchange, fast->face.id_field.ptr, fast->face.id_field.len);
    if (size == 0 || !io.is_short || fast->face.draining) {
        fast_leave(fast, fd, report, size == 0 ? BLITZ_FAST_HEAD_BYTES : BLITZ_FAST_HAND_OVER);
    } else if (client->ask || client->options == NULL || fast->face.route == NULL) {
        fast_begin_report(report, BLITZ_FAST_ASK, fd);
        report->slot = index;
    } else {
        client->route = fast->face.route;
        if (fast_ask(fast, fd, report) == BLITZ_FAST_QUIET)
            return BLITZ_FAST_QUIET;
    }
    report->size = (size_t)size;
    report->got = io.got;
    return report->what;
}

/* The upstream connection is clean and free; whoever waits for one, or does not want it, is Python's business. */
static void give_upstream(blitz_fast_path *fast, blitz_endpoint *endpoint, int upstream, blitz_fast_report *report)
{
    fast->places[upstream].other = -1;
    fast->places[upstream].resting = 1;
    if (endpoint->wanted || endpoint->shut || blitz_endpoint_give(endpoint, upstream, fast->places[upstream].born, fast->now) != 0)
        report->returned = upstream;
}

static int hand_answer_over(blitz_fast_path *fast, int fd, blitz_fast_report *report, int step, size_t size, size_t got)
{
    hand_over(fast, fd, report, step);
    report->answer_read = 1;
    report->answer_size = size;
    report->answer_got = got;
    return BLITZ_FAST_HAND_OVER;
}

/* The response in the answer buffer, size bytes of head and got in all, goes to the client. begun: hooks have run. */
static int send_answer(blitz_fast_path *fast, int fd, blitz_fast_report *report, size_t size, size_t got, bool begun)
{
    place *client = &fast->places[fd];
    blitz_exchange *exchange = fast->slots[client->slot].exchange;
    int upstream = client->other;
    blitz_io io;
    int64_t left = blitz_step_answer(fast_link(fast, fd), exchange, (blitz_text){fast->answer.ptr + size, got - size},
                                     (blitz_text){fast->face.date, fast->face.date_len}, fast->scratch, &io);
    if (left == BLITZ_IO_ODD)
        return hand_answer_over(fast, fd, report, BLITZ_CHAIN_CONTINUE, begun ? size : 0, got);
    client->other = -1;
    client->route->in_flight--;
    fast->face.in_flight--;
    give_upstream(fast, client->route->cluster->endpoints[client->endpoint], upstream, report);
    report->line.sent = got - size;
    return left != 0 ? fast_unsent_answer(fast, fd, report, left, &io) : finish(fast, fd, report);
}

/* The response hooks have come to a step. */
int fast_respond(blitz_fast_path *fast, int fd, blitz_fast_report *report, int step)
{
    const slot *at = &fast->slots[fast->places[fd].slot];
    const blitz_chain *chain = &at->exchange->chain;
    if (step == BLITZ_CHAIN_PENDING && !blitz_call_is_due(chain->at))
        fast->turn_ends = blitz_monotonic_ns() + TURN_NS;
    if (only_logs(chain, step))
        return let_logs_be_taken(fast, fd, report);
    if (step != BLITZ_CHAIN_CONTINUE || at->exchange->body_edited)
        return hand_answer_over(fast, fd, report, step, at->answer_size, at->answer_got);
    return send_answer(fast, fd, report, at->answer_size, at->answer_got, true);
}

int fast_receive_response(blitz_fast_path *fast, int upstream, blitz_fast_report *report)
{
    int fd = fast->places[upstream].other;
    place *client = &fast->places[fd];
    slot *at = &fast->slots[client->slot];
    blitz_exchange *exchange = at->exchange;
    blitz_io io;
    int64_t size = blitz_step_receive_response(upstream, fast->answer, exchange, fast->face.limits, &io);
    if (size == BLITZ_IO_AGAIN)
        return BLITZ_FAST_QUIET;
    if (size <= 0 || !io.is_short || fast->face.draining)
        return hand_answer_over(fast, fd, report, BLITZ_CHAIN_CONTINUE, 0, io.got);
    if (!client->route->has_response)
        return send_answer(fast, fd, report, (size_t)size, io.got, false);
    at->answer_size = (size_t)size;
    at->answer_got = io.got;
    exchange->body = (blitz_text){NULL, 0};
    exchange->body_edited = 0;
    blitz_chain_begin_response(exchange);
    return fast_respond(fast, fd, report, blitz_chain_go(exchange));
}
