/* fast_path_local.c: responses of our own on the fast path: a plugin's, a route's, and that no route matches. */
#include "fast_path_table.h"
#include <math.h>

static int send_locally(blitz_fast_path *fast, int fd, blitz_fast_report *report)
{
    const slot *at = &fast->slots[fast->places[fd].slot];
    blitz_exchange *exchange = at->exchange;
    blitz_text date = {fast->face.date, fast->face.date_len};
    int32_t answered = at->answered;
    blitz_io io;
    const blitz_route_rules *rules = fast->places[fd].route != NULL ? fast->places[fd].route->rules : NULL;
    if (rules != NULL && blitz_rules_response(rules, exchange) < 0)
        return fast_hand_local_over(fast, fd, report, BLITZ_CHAIN_CONTINUE);
    if (at->streamed)                               /* the request has not been read: the connection ends */
        return fast_hand_local_over(fast, fd, report, BLITZ_CHAIN_CONTINUE);
    int64_t left = blitz_step_answer_locally(fast_link(fast, fd), exchange, exchange->new_body, date,
                                             !fast->face.draining, fast->scratch, &io);
    if (left == BLITZ_IO_ODD)
        return fast_hand_local_over(fast, fd, report, BLITZ_CHAIN_CONTINUE);
    report->line.sent = io.body;
    int what = left != 0 ? fast_unsent_answer(fast, fd, report, left, &io) : fast_finish(fast, fd, report, io.closes);
    report->answered = answered;
    return what;
}

int fast_hand_local_over(blitz_fast_path *fast, int fd, blitz_fast_report *report, int step)
{
    int32_t answered = fast->slots[fast->places[fd].slot].answered;
    fast_leave(fast, fd, report, BLITZ_FAST_HAND_OVER);
    report->step = step;
    report->is_local = 1;
    report->answered = answered;
    return BLITZ_FAST_HAND_OVER;
}

int fast_responded_locally(blitz_fast_path *fast, int fd, blitz_fast_report *report, int step)
{
    return step == BLITZ_CHAIN_CONTINUE ? send_locally(fast, fd, report) : fast_hand_local_over(fast, fd, report, step);
}

int fast_respond_locally(blitz_fast_path *fast, int fd, blitz_fast_report *report, int32_t answered)
{
    const place *client = &fast->places[fd];
    slot *at = &fast->slots[client->slot];
    at->is_local = 1;
    at->answered = answered;
    if (client->route == NULL || !client->route->has_response)
        return send_locally(fast, fd, report);
    blitz_chain_begin_local_response(at->exchange);
    return fast_respond(fast, fd, report, blitz_chain_go(at->exchange));
}

int fast_respond_without_hooks(blitz_fast_path *fast, int fd, blitz_fast_report *report)
{
    slot *at = &fast->slots[fast->places[fd].slot];
    at->is_local = 1;
    at->answered = BLITZ_ANSWERED_BY_NONE;
    return send_locally(fast, fd, report);
}

int fast_enter_route(blitz_fast_path *fast, int fd, blitz_fast_route *route, blitz_fast_report *report)
{
    place *client = &fast->places[fd];
    slot *at = &fast->slots[client->slot];
    blitz_exchange *exchange = at->exchange;
    bool begun = client->route != NULL;          /* plugins have run: their response hooks are Python's business */
    if (route->total != 0)
        client->ends = route->total > 0 ? at->began + route->total : INFINITY;
    if (route->max_body != 0 && !fast_bound_request(at, route->max_body < 0 ? 0 : route->max_body))
        return fast_leave(fast, fd, report, BLITZ_FAST_HAND_OVER);
    if (route->rules == NULL)
        return FAST_PASSES;
    exchange->route = route->name;
    int code = blitz_rules_enter(route->rules, exchange);
    if (code == BLITZ_RULES_PASS)
        return FAST_PASSES;
    if (code < 0 || begun)
        return fast_leave(fast, fd, report, BLITZ_FAST_HAND_OVER);
    client->route = route;
    return fast_respond_without_hooks(fast, fd, report);
}

/* A file that was asked for a moment ago. The path is what the route's rules make of it; Python finds them applied. */
static int reply_as_kept(blitz_fast_path *fast, int fd, blitz_fast_report *report)
{
    const blitz_fast_route *route = fast->places[fd].route;
    blitz_exchange *exchange = fast->slots[fast->places[fd].slot].exchange;
    int ruled = route->rules != NULL ? blitz_rules_request(route->rules, exchange) : BLITZ_RULES_PASS;
    int found = ruled == BLITZ_RULES_PASS ? blitz_kept_take(fast->face.kept, route, exchange, fast->now) : ruled;
    if (found < 0)
        return fast_hand_over(fast, fd, report, BLITZ_CHAIN_CONTINUE);
    return found > 0 ? fast_respond_locally(fast, fd, report, BLITZ_ANSWERED_BY_NONE) : FAST_PASSES;
}

int fast_reply(blitz_fast_path *fast, int fd, blitz_fast_report *report)
{
    const place *client = &fast->places[fd];
    const blitz_fast_route *route = client->route;
    if (route->status == 0) {                       /* Python makes it for each request */
        int done = route->files ? reply_as_kept(fast, fd, report) : FAST_PASSES;
        if (done != FAST_PASSES)
            return done;
        report->fd = fd;
        report->route = client->route;
        report->slot = client->slot;
        return report->what = BLITZ_FAST_REPLY;
    }
    if (blitz_local_response(fast->slots[client->slot].exchange, (int)route->status, route->kind.ptr, route->kind.len,
                             route->body.ptr, route->body.len) != 0 ||
        (route->rules != NULL && blitz_rules_answer(route->rules, fast->slots[client->slot].exchange) != 0)) {
        fast_leave(fast, fd, report, BLITZ_FAST_HAND_OVER);     /* Python finds out that there is no memory */
        return report->what;
    }
    return fast_respond_locally(fast, fd, report, BLITZ_ANSWERED_BY_NONE);
}

int blitz_fast_respond(blitz_fast_path *fast, int fd, int32_t answered, blitz_fast_report *report)
{
    fast_begin_report(report, BLITZ_FAST_QUIET, fd);
    return fast_respond_locally(fast, fd, report, answered);
}

int blitz_fast_decline(blitz_fast_path *fast, int fd, blitz_fast_report *report)
{
    fast_begin_report(report, BLITZ_FAST_QUIET, fd);
    return fast_hand_over(fast, fd, report, BLITZ_CHAIN_CONTINUE);
}
