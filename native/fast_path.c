/* fast_path.c: the fast path: most exchanges, from the first byte to the last, without a line of Python.
 *
 * An exchange is short when the head of the request came in one read, no plugin wants the body of the response, all
 * say "continue" (or one answers), and the head of the response came in one read too; bodies may be of any length
 * (fast_path_stream.c). A client connection that may send such requests is on the fast path: the fast path's epoll
 * watches it, and each turn of the event loop does what is ready. Whatever is not short takes its connection out of
 * the fast path with a report of how far it came, and Python's general path goes on there: nothing here decides
 * anything that it would decide otherwise.
 *
 * States of a client connection on the fast path:
 *
 *   waiting --request--> [asked] --sent--> busy --answered--> waiting
 *                           |  answered by a plugin or here -----^
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
#include <sys/mman.h>
#include <sys/socket.h>
#include <unistd.h>

enum { SPARE_PARTS = 8 };                /* of bodies, kept for reuse: 1 MiB */
static const uint32_t ENDS = EPOLLRDHUP | EPOLLHUP | EPOLLERR, BREAKS = EPOLLHUP | EPOLLERR;

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
    if (fast->part != NULL)
        munmap(fast->part, BLITZ_PART_ROOM);
    fast_drop_parts(fast, 0);
    for (uint32_t i = 0; i < fast->face.clients; i++)
        fast_forget_client(&fast->places[fast->clients[i]]);
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
static int look_at_upstream(blitz_fast_path *fast, int fd, const struct epoll_event *event, blitz_fast_report *report)
{
    int client = fast->places[fd].other;
    bool takes_more = fast->places[client].waiting == BLITZ_WAIT_SEND_UPSTREAM && (event->events & EPOLLOUT);
    int what = takes_more ? fast_pump_request(fast, client, report) : BLITZ_FAST_QUIET;
    bool has_more = fast->places[fd].other == client && event->events != EPOLLOUT;
    return what == BLITZ_FAST_QUIET && has_more ? fast_receive_response(fast, fd, report) : what;
}

static int look_at(blitz_fast_path *fast, const struct epoll_event *event, blitz_fast_report *report)
{
    int fd = event->data.fd;
    place *at = &fast->places[fd];
    fast_begin_report(report, BLITZ_FAST_QUIET, fd);
    at->ended |= (event->events & ENDS) != 0;
    if (at->kind == PLACE_UPSTREAM && at->resting) {
        if (event->events == EPOLLOUT)           /* from the request that it has taken */
            return BLITZ_FAST_QUIET;
        at->resting = 0;
        return report->what = BLITZ_FAST_STIRRED;
    }
    if (at->kind == PLACE_UPSTREAM)
        return at->other >= 0 ? look_at_upstream(fast, fd, event, report) : BLITZ_FAST_QUIET;
    if (at->kind == PLACE_ELSEWHERE && (event->events & BREAKS) && fast_is_gone(fd))
        return report->what = BLITZ_FAST_GONE;
    if (at->kind != PLACE_CLIENT)
        return BLITZ_FAST_QUIET;
    /* epoll reports the end of a stream once, often together with its last bytes: read again after those. */
    at->look = at->busy ? at->look | ((event->events & ~(uint32_t)EPOLLOUT) != 0) : (event->events & ENDS) != 0;
    if (at->tls != NULL && !at->tls->shaken)
        return fast_shake(fast, fd, report);
    at->gone |= (event->events & BREAKS) != 0;
    if (at->gone && fast_awaits_upstream(at)) {
        at->gone = 0;
        return fast_is_gone(fd) ? fast_end_gone(fast, fd, report) : BLITZ_FAST_QUIET;
    }
    if (at->busy && at->waiting == BLITZ_WAIT_BODY)
        return fast->slots[at->slot].collects ? fast_collect(fast, fd, report) : fast_pump_request(fast, fd, report);
    if (at->busy && at->waiting == BLITZ_WAIT_SEND && (event->events & (EPOLLOUT | EPOLLHUP | EPOLLERR)))
        return fast_pump_response(fast, fd, report);
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
    while (what == BLITZ_FAST_QUIET && fast->got > 0 && (fast->event_ns = blitz_monotonic_ns()) < fast->turn_ends) {
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
    fast->now_ns = now_ns;
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
    fast_begin_report(report, BLITZ_FAST_QUIET, fd);
    if (route == NULL)
        return fast_leave(fast, fd, report, BLITZ_FAST_HAND_OVER);
    client->peer = peer;
    client->options = options;
    client->told_minor = fast->slots[client->slot].exchange->request->minor;
    if (client->ask && route == fast->face.route)
        fast_remember_client(client, fast->slots[client->slot].exchange->request);
    else
        fast_forget_client(client);
    return fast_ask(fast, fd, route, report);
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

/* A body that goes on and on is cut when its time is over, however much of it is there. */
static bool waits_to_read(const place *client, bool is_total)
{
    bool is_body = client->waiting == BLITZ_WAIT_RESPONSE || client->waiting == BLITZ_WAIT_BODY;
    return client->waiting <= BLITZ_WAIT_FIRST_BYTE || (is_body && !is_total);
}

static bool waits_for_upstream(const place *client)
{
    return client->waiting == BLITZ_WAIT_FIRST_BYTE || client->waiting == BLITZ_WAIT_RESPONSE;
}

int blitz_fast_expired(blitz_fast_path *fast, double now, blitz_fast_report *report)
{
    fast_drop_parts(fast, SPARE_PARTS);
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
        bool is_total = client->busy && client->ends <= now;
        client->deadline = INFINITY;
        if (!is_total && client->waiting == BLITZ_WAIT_SEND && fast_takes_some(client, fd)) {
            fast_set_deadline(fast, client, BLITZ_WAIT_SEND, client->route->send_idle);
            continue;
        }
        if (!is_total && client->waiting == BLITZ_WAIT_SEND_UPSTREAM && fast_takes_some(client, client->other)) {
            fast_set_deadline(fast, client, client->waiting, client->route->send_idle);
            continue;
        }
        bool may_come = !client->late && waits_to_read(client, is_total);
        if (may_come && is_there(fast, waits_for_upstream(client) ? client->other : fd)) {
            client->late = 1;
            continue;
        }
        fast_begin_report(report, BLITZ_FAST_EXPIRED, fd);
        if (!is_total && client->waiting == BLITZ_WAIT_FIRST_BYTE && client->route->per_try > 0 &&
            !fast->slots[client->slot].streamed)
            return fast_leave(fast, fd, report, BLITZ_FAST_HAND_OVER);
        bool is_collected = client->busy && fast->slots[client->slot].collects;
        if (!is_total && client->waiting >= BLITZ_WAIT_BODY && !is_collected)
            return fast_request_is_late(fast, fd, report);
        report->served = client->served;
        report->upstream = client->other;
        report->is_total = is_total;
        report->waiting = client->waiting;
        return BLITZ_FAST_EXPIRED;
    }
    fast->expiring = 0;
    return BLITZ_FAST_QUIET;
}
