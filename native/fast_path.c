/* fast_path.c: the fast path: most exchanges, from the first byte to the last, without a line of Python.
 *
 * An exchange is short when the request came whole in one read and stays on its kept-alive HTTP/1.1 connection,
 * no plugin wants the body of the answer, all say "continue" (or one answers), and the upstream's answer came whole
 * in one read too. A client connection that may send such requests is on the fast path: the fast path's epoll watches it,
 * and each turn of the event loop does what is ready. Whatever is not short takes its connection out of the fast path with
 * a report of how far it came, and Python's general path goes on there: nothing here decides anything that it
 * would decide otherwise.
 *
 * States of a client connection on the fast path:
 *
 *   waiting --request--> [asked] --sent--> busy --answered--> waiting
 *                           |  answered by a plugin ------------^
 *
 * "asked" is within one call, unless a route has to be found in Python (BLITZ_FAST_ASK). While busy, the
 * request lies in a slot (buffer and exchange), since the general path may have to go on with it or send it again.
 *
 * Every socket is registered once, edge-triggered. An edge that comes while nobody wants it is remembered
 * (look), and asked for again by registering anew. Events that a turn had no time for are kept for the next;
 * one that is out of date by then finds nothing to read.
 *
 * Python owns descriptors, buffers and exchanges, and lends them. Nothing here closes a socket.
 */
#include "fast_path_table.h"
#include <errno.h>
#include <math.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

blitz_fast_path *blitz_fast_new(void)
{
    blitz_fast_path *fast = calloc(1, sizeof *fast);
    if (fast == NULL)
        return NULL;
    fast->epoll = epoll_create1(EPOLL_CLOEXEC);
    fast->earliest = INFINITY;
    if (fast->epoll < 0) {
        free(fast);
        return NULL;
    }
    return fast;
}

void blitz_fast_close(blitz_fast_path *fast)
{
    if (fast->face.engine != NULL)
        fast->face.engine->turn = (blitz_turn){0};    /* nobody tells of passes any more */
    fast->face.engine = NULL;
    if (fast->epoll >= 0)
        close(fast->epoll);
    fast->epoll = -1;
}

void blitz_fast_free(blitz_fast_path *fast)
{
    if (fast == NULL)
        return;
    blitz_fast_close(fast);
    free(fast->places);
    free(fast->clients);
    free(fast->slots);
    free(fast->free_slots);
    free(fast);
}

int blitz_fast_fileno(const blitz_fast_path *fast) { return fast->epoll; }
blitz_fast_face *blitz_fast_face_of(blitz_fast_path *fast) { return &fast->face; }

void blitz_fast_lend(blitz_fast_path *fast, uint8_t *answer, size_t answer_size, uint8_t *scratch, size_t scratch_size)
{
    fast->answer = (blitz_space){answer, answer_size};
    fast->scratch = (blitz_space){scratch, scratch_size};
}
static int look_at(blitz_fast_path *fast, const struct epoll_event *event, blitz_fast_report *report)
{
    int fd = event->data.fd;
    place *at = &fast->places[fd];
    fast_begin_report(report, BLITZ_FAST_QUIET, fd);
    if (at->kind == PLACE_UPSTREAM && at->resting) {
        at->resting = 0;
        return report->what = BLITZ_FAST_STIRRED;
    }
    if (at->kind == PLACE_UPSTREAM)
        return at->other >= 0 ? fast_receive_response(fast, fd, report) : BLITZ_FAST_QUIET;
    if (at->kind != PLACE_CLIENT)
        return BLITZ_FAST_QUIET;
    /* The end of a stream has one edge, often the same as the last bytes: look again behind them. */
    at->look = at->busy || (event->events & (EPOLLRDHUP | EPOLLHUP | EPOLLERR));
    return at->busy ? BLITZ_FAST_QUIET : fast_receive_request(fast, fd, report);
}

static void find_events(blitz_fast_path *fast)
{
    fast->at = 0;
    fast->got = epoll_wait(fast->epoll, fast->events, EVENTS, 0);
}

int blitz_fast_go_on(blitz_fast_path *fast, blitz_fast_report *report)
{
    int what = BLITZ_FAST_QUIET;
    while (what == BLITZ_FAST_QUIET && fast->got > 0 && blitz_monotonic_ns() < fast->turn_ends) {
        if (fast->at < fast->got)
            what = look_at(fast, &fast->events[fast->at++], report);
        else
            find_events(fast);
    }
    fast->face.left = fast->at < fast->got;
    return what;
}

int blitz_fast_turn(blitz_fast_path *fast, double now, blitz_fast_report *report)
{
    uint64_t now_ns = blitz_monotonic_ns();
    fast->now = now;
    fast->turn_ends = now_ns + TURN_NS;
    if (fast->face.engine != NULL) {
        blitz_turn *turn = &fast->face.engine->turn;
        fast->face.used_up = blitz_turn_is_over(turn);
        blitz_turn_pass(turn, now_ns, fast->face.held);
    }
    if (fast->at >= fast->got)
        find_events(fast);
    return blitz_fast_go_on(fast, report);
}

int blitz_fast_route_it(blitz_fast_path *fast, int fd, blitz_fast_route *route, const blitz_peer *peer,
                        const blitz_write_options *options, blitz_fast_report *report)
{
    place *client = &fast->places[fd];
    size_t size = report->size, got = report->got;
    fast_begin_report(report, BLITZ_FAST_QUIET, fd);
    client->route = route;
    client->peer = peer;
    client->options = options;
    int what = route != NULL ? fast_ask(fast, fd, report) : fast_leave(fast, fd, report, BLITZ_FAST_HAND_OVER);
    report->size = size;
    report->got = got;
    return what;
}

int blitz_fast_accept(blitz_fast_path *fast, int fd, blitz_fast_report *report)
{
    blitz_exchange *exchange = fast->slots[fast->places[fd].slot].exchange;
    fast_begin_report(report, BLITZ_FAST_QUIET, fd);
    int step = blitz_chain_accept(exchange);
    return exchange->chain.is_response ? fast_respond(fast, fd, report, step) : fast_go_through(fast, fd, report, step);
}

void blitz_fast_leave(blitz_fast_path *fast, int fd, blitz_fast_report *report)
{
    fast_begin_report(report, BLITZ_FAST_QUIET, fd);
    if ((size_t)fd < fast->n_places && fast->places[fd].kind == PLACE_CLIENT)
        fast_leave(fast, fd, report, BLITZ_FAST_QUIET);
}

void blitz_fast_look(const blitz_fast_path *fast, int fd, blitz_fast_report *report)
{
    fast_begin_report(report, BLITZ_FAST_QUIET, fd);
    if ((size_t)fd >= fast->n_places || fast->places[fd].kind != PLACE_CLIENT || !fast->places[fd].busy)
        return;
    report->route = fast->places[fd].route;
    fast_describe(fast, &fast->places[fd], &report->line);
}

int blitz_fast_next_idle(blitz_fast_path *fast, blitz_fast_report *report)
{
    while (fast->leaving < fast->face.clients) {
        int fd = fast->clients[fast->leaving];
        if (!fast->places[fd].busy) {
            fast_begin_report(report, BLITZ_FAST_QUIET, fd);
            return fast_leave_empty(fast, fd, report, BLITZ_FAST_RELOADED);
        }
        fast->leaving++;
    }
    fast->leaving = 0;
    return BLITZ_FAST_QUIET;
}

/* What was waited for is there, and only we have not come to it yet: that is not the peer's fault. */
static bool is_there(blitz_fast_path *fast, int fd)
{
    uint8_t byte;
    if (recv(fd, &byte, 1, MSG_DONTWAIT | MSG_PEEK) <= 0)
        return false;
    fast_watch_again(fast, fd);
    return true;
}

int blitz_fast_expired(blitz_fast_path *fast, double now, blitz_fast_report *report)
{
    if (fast->expiring == 0 && now < fast->earliest)
        return BLITZ_FAST_QUIET;
    if (fast->expiring == 0)
        fast->earliest = INFINITY;                /* of those that are looked at from here on */
    while (fast->expiring < fast->face.clients) {
        int fd = fast->clients[fast->expiring++];
        place *client = &fast->places[fd];
        if (client->deadline > now) {
            if (client->deadline < fast->earliest)
                fast->earliest = client->deadline;
            continue;
        }
        client->deadline = INFINITY;
        if (is_there(fast, client->other >= 0 ? client->other : fd))
            continue;
        fast_begin_report(report, BLITZ_FAST_EXPIRED, fd);
        report->served = client->served;
        report->upstream = client->other;
        report->is_total = client->busy && client->ends <= now;
        return BLITZ_FAST_EXPIRED;
    }
    fast->expiring = 0;
    return BLITZ_FAST_QUIET;
}
