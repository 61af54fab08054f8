/* fast_path_collect.c: the body of a request that a plugin wants to see, and that has not all come with its head.
 *
 * It is collected where its first bytes are, behind the head: an exchange holds that buffer anyway, so slow senders cost
 * no more than others. What does not fit there, or is more than plugins may see, is collected in the general path. That
 * can go on at any moment: until all is there, chunked coding stays as it came, and how far it has come is found out
 * by decoding a copy.
 */
#include "fast_path_table.h"
#include <errno.h>
#include <string.h>

enum { ROUNDS = 4 };                     /* reads in a row: then others have their turn */

/* Another request may lie behind the body: its edge is used up. */
static int go_on(blitz_fast_path *fast, int fd, blitz_fast_report *report, size_t raw)
{
    place *client = &fast->places[fd];
    slot *at = &fast->slots[client->slot];
    blitz_exchange *exchange = at->exchange;
    client->look = 1;
    client->waiting = BLITZ_WAIT_HEAD;
    at->collects = 0;
    at->next = at->head_size + raw;
    size_t size = raw, consumed;
    if (at->up.chunked)                          /* it was well-formed in the copy */
        size = (size_t)blitz_body_feed(&at->up.body, at->buf + at->head_size, raw, &consumed);
    fast_make_whole(at, size);
    fast_lend_body(exchange, at, client->route->body_limit);
    return fast_go_through(fast, fd, report, blitz_chain_go(exchange));
}

static int give_up(blitz_fast_path *fast, int fd, blitz_fast_report *report, int failed)
{
    fast_leave(fast, fd, report, BLITZ_FAST_HAND_OVER);
    report->step = BLITZ_CHAIN_NEED_BODY;
    report->failed = failed;
    return BLITZ_FAST_HAND_OVER;
}

/* See how far the body has come with the bytes from at->tracked on. -> bytes of it on the wire, if it is complete; 0:
 * it is not; -1: it is none, or too large. */
static int64_t track(blitz_fast_path *fast, slot *at, uint64_t limit)
{
    blitz_body *body = &at->pipe.body;           /* of the response, which has not begun */
    size_t size = at->got - at->tracked, consumed;
    memcpy(fast->scratch.ptr, at->buf + at->tracked, size);
    int64_t data = blitz_body_feed(body, fast->scratch.ptr, size, &consumed);
    at->tracked += consumed;
    if (data < 0 || body->received > limit)
        return -1;
    return body->done ? (int64_t)(at->tracked - at->head_size) : 0;
}

/* It has come so far: wait for more of it, or go on. came: there was more of it. */
static int settle(blitz_fast_path *fast, int fd, blitz_fast_report *report, bool came)
{
    place *client = &fast->places[fd];
    slot *at = &fast->slots[client->slot];
    int64_t raw = track(fast, at, client->route->body_limit);
    if (raw > 0)
        return go_on(fast, fd, report, (size_t)raw);
    if (raw < 0 || at->got == at->size || fast_wait_for_body(fast, client, at, at->pipe.body.received, came) < 0)
        return give_up(fast, fd, report, 0);
    return report->what = BLITZ_FAST_QUIET;
}

bool fast_may_collect(const slot *at, uint64_t limit)
{
    const blitz_body *body = &at->up.body;
    if (!at->streamed || at->exchange->body_edited)
        return false;
    uint64_t room = at->size - at->head_size, most = limit < room ? limit : room;
    return body->kind != BLITZ_BODY_LENGTH || (uint64_t)body->remaining <= most;
}

static bool still_waits(const blitz_fast_path *fast, int fd, int what)
{
    const place *client = &fast->places[fd];
    return what == BLITZ_FAST_QUIET && client->kind == PLACE_CLIENT && client->busy && fast->slots[client->slot].collects;
}

int fast_begin_collecting(blitz_fast_path *fast, int fd, blitz_fast_report *report)
{
    place *client = &fast->places[fd];
    slot *at = &fast->slots[client->slot];
    at->collects = 1;
    at->tracked = at->head_size;
    at->pipe.body = at->up.body;
    int what = settle(fast, fd, report, true);
    if (still_waits(fast, fd, what) && client->look) {   /* the edge of what has come is used up */
        client->look = 0;
        fast_watch_again(fast, fd);
    }
    return what;
}

/* -> what the last receive said; *came: some of them brought bytes; *drained: what comes later has an edge. */
static ssize_t receive(const blitz_fast_path *fast, int fd, slot *at, bool *came, bool *drained)
{
    blitz_link link = fast_link(fast, fd);
    ssize_t got = 1;
    *came = *drained = false;
    for (int round = 0; round < ROUNDS && at->got < at->size && !*drained && got != 0; round++) {
        size_t room = at->size - at->got;
        got = blitz_link_receive(link, at->buf + at->got, room);
        if (got < 0 && errno != EAGAIN && errno != EWOULDBLOCK)
            break;
        *came |= got > 0;
        at->got += got > 0 ? (size_t)got : 0;
        *drained = got < (ssize_t)room && !(got > 0 && fast->places[fd].ended) && !blitz_link_holds_more(link);
    }
    return got;
}

int fast_collect(blitz_fast_path *fast, int fd, blitz_fast_report *report)
{
    slot *at = &fast->slots[fast->places[fd].slot];
    bool came, drained;
    ssize_t got = receive(fast, fd, at, &came, &drained);
    if (got < 0 && errno != EAGAIN && errno != EWOULDBLOCK)
        return give_up(fast, fd, report, BLITZ_STREAM_SOURCE);
    if (came)
        blitz_rate_end(&at->rate, fast->now);
    int what = settle(fast, fd, report, came);
    if (!still_waits(fast, fd, what))
        return what;
    if (got == 0)                                /* its end: the general path reads that again */
        return give_up(fast, fd, report, 0);
    if (!drained)
        fast_watch_again(fast, fd);
    return what;
}
