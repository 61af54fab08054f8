/* fast_path_collect.c: the body of a request that a plugin wants to see, and that has not all come with its head.
 *
 * It is collected where its first bytes are, behind the head: an exchange holds that buffer anyway, so slow senders cost
 * no more than others. Chunked coding stays there as it came until all is there, and how far it has come is found out by
 * decoding a copy. What does not fit goes into memory of its own, decoded as it comes. What is more than plugins may see
 * is collected in the general path, which can go on at any moment.
 */
#include "fast_path_table.h"
#include <errno.h>
#include <string.h>

enum { ROUNDS = 4 };                     /* reads in a row: then others have their turn */
enum { FRONT = 16 * 1024 };              /* room for the head in front of a body that is sent from where it is */
static const uint64_t MOST = UINT64_C(1) << 40;   /* no memory has as much: sums of it do not overflow */

/* It is all there, and plugins see it. Another request may lie behind it: its edge is used up. */
static int show(blitz_fast_path *fast, int fd, blitz_fast_report *report)
{
    place *client = &fast->places[fd];
    slot *at = &fast->slots[client->slot];
    client->look = 1;
    client->waiting = BLITZ_WAIT_HEAD;
    at->collects = COLLECTS_NOTHING;
    fast_lend_body(at->exchange, at);
    return fast_go_through(fast, fd, report, blitz_chain_go(at->exchange));
}

/* raw bytes of it are behind the head. */
static int show_behind_head(blitz_fast_path *fast, int fd, blitz_fast_report *report, size_t raw)
{
    slot *at = &fast->slots[fast->places[fd].slot];
    at->next = at->head_size + raw;
    size_t size = raw, consumed;
    if (at->up.chunked)                          /* it was well-formed in the copy */
        size = (size_t)blitz_body_feed(&at->up.body, at->buf + at->head_size, raw, &consumed);
    fast_make_whole(at, size);
    return show(fast, fd, report);
}

static int give_up(blitz_fast_path *fast, int fd, blitz_fast_report *report, int failed)
{
    fast_leave(fast, fd, report, BLITZ_FAST_HAND_OVER);
    report->step = BLITZ_CHAIN_NEED_BODY;
    report->failed = failed;
    return BLITZ_FAST_HAND_OVER;
}

static uint64_t most_wanted(const slot *at)
{
    uint64_t most;
    blitz_chain_wanted_body(at->exchange, &most);
    return most < MOST ? most : MOST;
}

/* ---------------------------------------------------------------- in memory of its own */

/* How much more may be read at once: what comes behind a chunked body is kept behind the head. 0: there is no memory. */
static size_t room_in_memory(blitz_fast_path *fast, slot *at, uint64_t most)
{
    fast_memory *memory = &at->memory;
    size_t room = memory->size - BLITZ_PART_TAILROOM - memory->end, behind = at->size - at->head_size;
    if (at->up.body.remaining >= 0)
        return (size_t)at->up.body.remaining < room ? (size_t)at->up.body.remaining : room;
    if (room < behind) {
        if (!fast_grow_memory(fast, memory, FRONT + (size_t)most + 2 * behind + BLITZ_PART_TAILROOM))
            return 0;
        room = memory->size - BLITZ_PART_TAILROOM - memory->end;
    }
    return room < behind ? room : behind;
}

/* size bytes came at came, which is the end of what is there. -> 0, or BLITZ_BODY_*. */
static int take(slot *at, uint8_t *came, size_t size)
{
    size_t consumed;
    int64_t data = blitz_body_feed(&at->up.body, came, size, &consumed);
    if (data < 0)
        return (int)data;
    at->memory.end += (size_t)data;
    at->next = at->head_size;
    at->got = at->next + (size - consumed);
    memcpy(at->buf + at->next, came + consumed, size - consumed);
    return 0;
}

/* What lies behind the head is no more than a part of it. -> as take; 1: there is no memory. */
static int move(blitz_fast_path *fast, slot *at)
{
    size_t here = at->got - at->head_size, size = here;
    if (at->up.body.remaining > 0)
        size = (size_t)at->up.body.remaining;
    if (!fast_take_memory(fast, &at->memory, FRONT + size + BLITZ_PART_TAILROOM))
        return 1;
    at->memory.start = at->memory.end = FRONT;
    memcpy(at->memory.at + FRONT, at->buf + at->head_size, here);
    at->collects = COLLECTS_IN_MEMORY;
    return take(at, at->memory.at + FRONT, here);
}

static int settle_in_memory(blitz_fast_path *fast, int fd, blitz_fast_report *report, bool came)
{
    place *client = &fast->places[fd];
    slot *at = &fast->slots[client->slot];
    const blitz_body *body = &at->up.body;
    if (body->received > most_wanted(at))
        return give_up(fast, fd, report, 0);
    if (body->done) {
        at->body = (blitz_text){at->memory.at + at->memory.start, at->memory.end - at->memory.start};
        at->streamed = 0;
        return show(fast, fd, report);
    }
    int slow = fast_wait_for_body(fast, client, at, body->received, came);
    return slow < 0 ? give_up(fast, fd, report, 0) : (report->what = BLITZ_FAST_QUIET);
}

/* ---------------------------------------------------------------- behind the head */

/* See how far the body has come with the bytes from at->tracked on. -> bytes of it on the wire, if it is complete; 0:
 * it is not; -1: it is none, or too large. */
static int64_t track(blitz_fast_path *fast, slot *at)
{
    blitz_body *body = &at->pipe.body;           /* of the response, which has not begun */
    size_t size = at->got - at->tracked, consumed;
    memcpy(fast->scratch.ptr, at->buf + at->tracked, size);
    int64_t data = blitz_body_feed(body, fast->scratch.ptr, size, &consumed);
    at->tracked += consumed;
    if (data < 0 || body->received > most_wanted(at))
        return -1;
    return body->done ? (int64_t)(at->tracked - at->head_size) : 0;
}

/* It has come so far: wait for more of it, or go on. came: there was more of it. */
static int settle(blitz_fast_path *fast, int fd, blitz_fast_report *report, bool came)
{
    place *client = &fast->places[fd];
    slot *at = &fast->slots[client->slot];
    if (at->collects == COLLECTS_IN_MEMORY)
        return settle_in_memory(fast, fd, report, came);
    int64_t raw = track(fast, at);
    if (raw > 0)
        return show_behind_head(fast, fd, report, (size_t)raw);
    if (raw < 0)
        return give_up(fast, fd, report, 0);
    if (at->got == at->size) {
        int failed = move(fast, at);
        return failed != 0 ? give_up(fast, fd, report, failed < 0 ? failed : 0) : settle_in_memory(fast, fd, report, came);
    }
    int slow = fast_wait_for_body(fast, client, at, at->pipe.body.received, came);
    return slow < 0 ? give_up(fast, fd, report, 0) : (report->what = BLITZ_FAST_QUIET);
}

bool fast_may_collect(const slot *at)
{
    const blitz_body *body = &at->up.body;
    if (!at->streamed || at->exchange->body_edited)
        return false;
    return body->kind != BLITZ_BODY_LENGTH || (uint64_t)body->remaining <= most_wanted(at);
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
    at->collects = COLLECTS_BEHIND_HEAD;
    at->tracked = at->head_size;
    at->pipe.body = at->up.body;
    if (at->up.body.remaining > (int64_t)(at->size - at->head_size)) {
        int failed = move(fast, at);
        if (failed != 0)
            return give_up(fast, fd, report, failed < 0 ? failed : 0);
    }
    int what = settle(fast, fd, report, true);
    if (still_waits(fast, fd, what) && client->look) {   /* the edge of what has come is used up */
        client->look = 0;
        fast_watch_again(fast, fd);
    }
    return what;
}

/* Bytes that came for a body: where they go, and how many at most. 0: there is no room for them. */
static size_t room_for(blitz_fast_path *fast, slot *at, uint8_t **to)
{
    bool in_memory = at->collects == COLLECTS_IN_MEMORY;
    size_t room = in_memory ? room_in_memory(fast, at, most_wanted(at)) : at->size - at->got;
    *to = in_memory ? at->memory.at + at->memory.end : at->buf + at->got;   /* it may have moved */
    return room;
}

typedef struct {
    ssize_t got;                         /* what the last receive said */
    bool came, drained;                  /* some of them brought bytes; what comes later has an edge */
    bool full;                           /* there is no room for more */
    int failed;                          /* BLITZ_BODY_* */
} received;

static received receive(blitz_fast_path *fast, int fd, slot *at)
{
    blitz_link link = fast_link(fast, fd);
    received all = {.got = 1};
    for (int round = 0; round < ROUNDS && !all.drained && all.got != 0 && all.failed == 0 && !at->up.body.done; round++) {
        uint8_t *to;
        size_t room = room_for(fast, at, &to);
        all.full = room == 0;
        if (all.full)
            break;
        all.got = blitz_link_receive(link, to, room);
        if (all.got < 0 && errno != EAGAIN && errno != EWOULDBLOCK)
            break;
        all.came |= all.got > 0;
        all.drained = all.got < (ssize_t)room && !(all.got > 0 && fast->places[fd].ended) && !blitz_link_holds_more(link);
        if (all.got > 0 && at->collects == COLLECTS_IN_MEMORY)
            all.failed = take(at, to, (size_t)all.got);
        else
            at->got += all.got > 0 ? (size_t)all.got : 0;
    }
    return all;
}

int fast_collect(blitz_fast_path *fast, int fd, blitz_fast_report *report)
{
    slot *at = &fast->slots[fast->places[fd].slot];
    received all = receive(fast, fd, at);
    if (all.got < 0 && errno != EAGAIN && errno != EWOULDBLOCK)
        return give_up(fast, fd, report, BLITZ_STREAM_SOURCE);
    if (all.failed != 0 || (all.full && at->collects == COLLECTS_IN_MEMORY))
        return give_up(fast, fd, report, all.failed);
    if (all.came)
        blitz_rate_end(&at->rate, fast->now);
    int what = settle(fast, fd, report, all.came);
    if (!still_waits(fast, fd, what))
        return what;
    if (all.got == 0)                            /* its end: the general path reads that again */
        return give_up(fast, fd, report, 0);
    if (!all.drained)
        fast_watch_again(fast, fd);
    return what;
}

/* ---------------------------------------------------------------- on its way */

void fast_forget_request(blitz_fast_path *fast, slot *at)
{
    if (at->body.ptr != NULL)
        at->body.ptr = at->buf;                  /* that there was one is known further on, and how long it was */
    fast_drop_memory(fast, &at->memory);
}

/* Head, which is in scratch, and body are in memory, one behind the other. -> where the head is, or NULL. */
static uint8_t *join(blitz_fast_path *fast, slot *at, size_t head, const blitz_text *body)
{
    fast_memory *memory = &at->memory, other;
    if (memory->at == NULL || body->ptr != memory->at + memory->start || head > memory->start) {
        if (!fast_take_memory(fast, &other, BLITZ_PART_HEADROOM + head + body->len))
            return NULL;
        other.start = BLITZ_PART_HEADROOM + head;
        other.end = other.start + body->len;
        memcpy(other.at + other.start, body->ptr, body->len);
        bool is_original = body == &at->body;
        fast_drop_memory(fast, memory);
        *memory = other;
        if (is_original)
            at->body.ptr = other.at + other.start;
    }
    memcpy(memory->at + memory->start - head, fast->scratch.ptr, head);
    return memory->at + memory->start - head;
}

int fast_send_large(blitz_fast_path *fast, int fd, blitz_fast_report *report, int upstream, const blitz_text *body,
                    const blitz_write_options *asked)
{
    place *client = &fast->places[fd];
    slot *at = &fast->slots[client->slot];
    blitz_write_options options = *asked;
    blitz_io io;
    options.body = BLITZ_BODY_LENGTH;
    options.content_length = (int64_t)body->len;
    options.first_is_last = 0;
    int64_t head = blitz_head_write(at->exchange->request, &options, NULL, 0, fast->scratch.ptr, fast->scratch.size);
    size_t size = (size_t)(head > 0 ? head : 0) + body->len;
    uint8_t *first = head > 0 ? join(fast, at, (size_t)head, body) : NULL;
    if (first == NULL) {                         /* nothing was sent */
        fast_give_back(fast, client->route->cluster->endpoints[client->endpoint], upstream, report);
        return fast_hand_over(fast, fd, report, BLITZ_CHAIN_CONTINUE);
    }
    fast_join(fast, fd, upstream);
    int64_t left = blitz_step_send((blitz_link){upstream, NULL}, first, size, &io);
    if (left == 0) {
        fast_await_response(fast, client);
        return BLITZ_FAST_QUIET;
    }
    return fast_begin_request_stream(fast, fd, report, first + size - (left < 0 ? (int64_t)size : left), first + size);
}
