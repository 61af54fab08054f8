/* fast_path_exchange.c: the steps of an exchange on the fast path, from its request to the upstream; the way back is
 * fast_path_response.c. fast_path.c says what the fast path is. */
#include "fast_path_table.h"
#include "measures.h"
#include "tls.h"
#include <errno.h>
#include <math.h>
#include <string.h>

enum { LEAST_ROOM = 4096 };              /* behind the head of a request whose body is streamed */

int fast_hand_over(blitz_fast_path *fast, int fd, blitz_fast_report *report, int step)
{
    fast_leave(fast, fd, report, BLITZ_FAST_HAND_OVER);
    report->step = step;
    return BLITZ_FAST_HAND_OVER;
}

bool fast_only_logs(const blitz_chain *chain, int step)
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

int fast_let_logs_be_taken(blitz_fast_path *fast, int fd, blitz_fast_report *report)
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
        return fast_hand_over(fast, fd, report, BLITZ_CHAIN_CONTINUE);    /* Python makes the copy */
    if (client->route->split != NULL)
        client->route = client->route->branches[blitz_split_choose(client->route->split)];
    blitz_cluster *cluster = client->route->cluster;
    slot *at = &fast->slots[client->slot];
    blitz_exchange *exchange = at->exchange;
    const blitz_text *body = exchange->body_edited ? &exchange->new_body : at->body.ptr != NULL ? &at->body : NULL;
    int32_t chosen = blitz_cluster_choose(cluster, exchange, fast->now, NULL);
    if (chosen < 0)
        return fast_hand_over(fast, fd, report, BLITZ_CHAIN_CONTINUE);
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
    if (client->route->edits_responses)
        options.n_drop_ids = client->route->n_drop_ids;
    if (at->streamed && upstream >= 0 && !taken.stale && blitz_step_is_quiet(upstream))
        return fast_stream_request(fast, fd, report, upstream, &options);
    bool is_large = body != NULL && body->len > BLITZ_PART_SIZE && !at->streamed;
    if (is_large && upstream >= 0 && !taken.stale && blitz_step_is_quiet(upstream))
        return fast_send_large(fast, fd, report, upstream, body, &options);
    if (upstream >= 0 && !taken.stale && !at->streamed && !is_large)
        left = blitz_step_send_request(upstream, exchange->request, body, &options, fast->scratch, &io);
    if (left < 0) {
        report->unfit = upstream;
        return fast_hand_over(fast, fd, report, BLITZ_CHAIN_CONTINUE);
    }
    fast_join(fast, fd, upstream);
    if (left > 0) {
        fast_hand_over(fast, fd, report, BLITZ_CHAIN_CONTINUE);
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
    if (fast_only_logs(&exchange->chain, step))
        return fast_let_logs_be_taken(fast, fd, report);
    if (step == BLITZ_CHAIN_ANSWER)
        return fast_respond_locally(fast, fd, report, exchange->chain.index);
    if (step == BLITZ_CHAIN_NEED_BODY && fast_may_collect(&fast->slots[client->slot]))
        return fast_begin_collecting(fast, fd, report);
    if (step == BLITZ_CHAIN_CONTINUE && route->before)
        return ask_for_route(fast, fd, report);
    bool is_read = !fast->slots[client->slot].streamed;
    bool stays = !exchange->moved || blitz_fast_stays(route, exchange->request);
    bool replaced = exchange->body_edited && !is_read;
    if (step != BLITZ_CHAIN_CONTINUE || !stays || replaced || is_part(exchange))
        return fast_hand_over(fast, fd, report, step);
    if (route->cluster == NULL && route->split == NULL)
        return fast_reply(fast, fd, report);
    if (blitz_take_hop(exchange, fast->slots[client->slot].method) != 1)
        return fast_hand_over(fast, fd, report, step);    /* Python says why it goes no further */
    int ruled = route->rules != NULL ? blitz_rules_request(route->rules, exchange) : BLITZ_RULES_PASS;
    if (ruled == BLITZ_RULES_ANSWERED)
        return fast_respond_locally(fast, fd, report, BLITZ_ANSWERED_BY_NONE);
    if (ruled < 0)
        return fast_hand_over(fast, fd, report, step);
    return send_request(fast, fd, report);
}

static int begin_chain(blitz_exchange *exchange, const blitz_fast_route *route, bool begun)
{
    exchange->moved = 0;                         /* until now plugins could lead it anywhere */
    return begun ? blitz_chain_extend(exchange, route->pools, route->n_pools)
                 : blitz_chain_begin(exchange, route->pools, route->n_pools);
}

void fast_lend_body(blitz_exchange *exchange, const slot *at)
{
    uint64_t most = UINT64_MAX;
    if (at->body.len > 0)
        blitz_chain_wanted_body(exchange, &most);
    exchange->chain.body_ready = exchange->body_edited || (!at->streamed && at->body.len <= most);
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
    fast_lend_body(exchange, at);
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
        at->unfit = at->counted = at->collects = at->is_kept = at->is_decoded = 0;
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
