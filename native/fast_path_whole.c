/* fast_path_whole.c: the body of a response that plugins see whole, and one that they have put in its place.
 *
 * A response that came whole in one read stays where it was read. Else it moves to memory of its own, head in front,
 * and is decoded there as it comes: no more than plugins may see, and no longer than timeouts.collect. What is
 * more, or later, goes on in the general path, with what is here. Nothing has been sent to the client by then.
 */
#include "fast_path_table.h"
#include <errno.h>
#include <math.h>
#include <string.h>

enum { ROUNDS = 4 };                     /* reads in a row: then others have their turn */
/* Room behind the most that plugins may see: for what is one too many, and for the coding around it. */
enum { SLACK = 4096 };
static const uint64_t MOST = UINT64_C(1) << 40;   /* no memory has as much: sums of it do not overflow */

static size_t most_wanted(const blitz_exchange *exchange)
{
    uint64_t most;
    blitz_chain_wanted_body(exchange, &most);
    return (size_t)(most < MOST ? most : MOST);
}

/* All is here, or the plugins do not get it. */
static int go_on(blitz_fast_path *fast, int fd, blitz_fast_report *report)
{
    slot *at = &fast->slots[fast->places[fd].slot];
    blitz_exchange *exchange = at->exchange;
    at->collects = COLLECTS_NOTHING;
    if (at->is_decoded)
        exchange->body = (blitz_text){fast_response_at(fast, at) + at->answer_size, at->answer_got - at->answer_size};
    exchange->chain.body_ready = 1;
    return fast_respond(fast, fd, report, blitz_chain_go(exchange));
}

static int give_up(blitz_fast_path *fast, int fd, blitz_fast_report *report)
{
    return fast_hand_response_over(fast, fd, report, BLITZ_CHAIN_NEED_BODY, true);
}

/* What comes behind a response nobody has asked for; behind the last one of a connection it does no harm. */
static void note_behind(slot *at, bool more)
{
    if (more && !at->unfit)
        at->unfit = BLITZ_UNFIT_UNASKED;
}

/* So much more of it came behind what is there. -> 0, or BLITZ_BODY_*. */
static int take(slot *at, uint8_t *came, size_t size)
{
    size_t consumed = 0;
    int64_t data = size > 0 ? blitz_body_feed(&at->pipe.body, came, size, &consumed) : blitz_body_end(&at->pipe.body);
    if (data < 0)
        return (int)data;
    note_behind(at, consumed < size);
    at->answer_got += (size_t)data;
    if (at->is_kept)
        at->memory.end += (size_t)data;
    return 0;
}

/* -> seconds until the plugins get what is here. */
static double patience(const blitz_fast_path *fast, const place *client, const slot *at)
{
    double most = client->route->collect;
    return most > 0 ? at->collecting_since + most - fast->now : INFINITY;
}

static int wait_for_more(blitz_fast_path *fast, int fd, blitz_fast_report *report)
{
    place *client = &fast->places[fd];
    double left = patience(fast, client, &fast->slots[client->slot]), idle = client->route->response_idle;
    if (left <= 0)
        return give_up(fast, fd, report);
    fast_set_deadline(fast, client, BLITZ_WAIT_RESPONSE, left < INFINITY && (idle <= 0 || left < idle) ? left : idle);
    return report->what = BLITZ_FAST_QUIET;
}

/* Room for the next read; *grown: what is there has moved. -> bytes; 0: there is no memory. */
static size_t room_for_more(blitz_fast_path *fast, slot *at, size_t most)
{
    int64_t left = at->pipe.body.remaining;
    size_t room = at->memory.size - BLITZ_PART_TAILROOM - at->memory.end;
    if (left >= 0)                               /* one more than all, to see what nobody asked for */
        return (size_t)left < room ? (size_t)left + 1 : room;
    if (room >= SLACK)
        return room;
    size_t all = at->memory.start + at->answer_size + most + 2 * SLACK + BLITZ_PART_TAILROOM;
    if (!fast_grow_memory(fast, &at->memory, all))
        return 0;
    at->exchange->response->base = fast_response_at(fast, at);
    return at->memory.size - BLITZ_PART_TAILROOM - at->memory.end;
}

int fast_collect_more(blitz_fast_path *fast, int fd, blitz_fast_report *report)
{
    place *client = &fast->places[fd];
    slot *at = &fast->slots[client->slot];
    const blitz_body *body = &at->pipe.body;
    size_t most = most_wanted(at->exchange);
    bool drained = false;
    for (int round = 0; round < ROUNDS && !body->done && !drained && body->received <= most; round++) {
        size_t room = room_for_more(fast, at, most);
        if (room == 0)
            return give_up(fast, fd, report);
        uint8_t *end = at->memory.at + at->memory.end;
        ssize_t got = blitz_link_receive((blitz_link){client->other, NULL}, end, room);
        if (got < 0 && errno != EAGAIN && errno != EWOULDBLOCK)
            return fast_fail_response(fast, fd, report, BLITZ_STREAM_SOURCE);
        drained = got < 0 || ((size_t)got < room && !fast->places[client->other].ended);
        int failed = got >= 0 ? take(at, end, (size_t)got) : 0;
        if (failed != 0)
            return fast_fail_response(fast, fd, report, failed);
    }
    if (body->received > most)
        return give_up(fast, fd, report);
    if (body->done)
        return go_on(fast, fd, report);
    if (!drained)
        fast_watch_again(fast, client->other);
    return wait_for_more(fast, fd, report);
}

/* Head and first bytes leave the buffer that all responses are read into. */
static bool keep(blitz_fast_path *fast, slot *at, size_t most)
{
    const uint8_t *response = fast_response_at(fast, at);
    size_t front = ANSWER_HEADROOM + at->answer_size, all = front + most + 2 * SLACK + BLITZ_PART_TAILROOM;
    const blitz_body *body = &at->pipe.body;
    if (body->remaining >= 0)
        all = ANSWER_HEADROOM + at->answer_got + (size_t)body->remaining + 1 + BLITZ_PART_TAILROOM;
    else if (all > BLITZ_PART_ROOM && ANSWER_HEADROOM + at->answer_got + 2 * SLACK < BLITZ_PART_ROOM)
        all = BLITZ_PART_ROOM;                   /* most are small: it grows when it has to */
    if (!fast_take_memory(fast, &at->memory, all))
        return false;
    at->memory.start = ANSWER_HEADROOM;
    at->memory.end = ANSWER_HEADROOM + at->answer_got;
    memcpy(at->memory.at + ANSWER_HEADROOM, response, at->answer_got);
    at->is_kept = 1;
    at->exchange->response->base = fast_response_at(fast, at);
    return true;
}

int fast_collect_response(blitz_fast_path *fast, int fd, blitz_fast_report *report)
{
    const place *client = &fast->places[fd];
    slot *at = &fast->slots[client->slot];
    blitz_exchange *exchange = at->exchange;
    const blitz_body *body = &at->pipe.body;
    size_t most = most_wanted(exchange), here = at->answer_got - at->answer_size;
    if (body->done)                              /* it has none */
        return go_on(fast, fd, report);
    if (blitz_is_stream(exchange->response)) {
        exchange->body_truncated = 1;
        return go_on(fast, fd, report);
    }
    if (body->remaining >= 0 && (uint64_t)body->remaining > most)
        return give_up(fast, fd, report);
    bool goes_on = at->answer_got == fast_answer_room(fast) || fast->places[client->other].ended;
    at->collecting_since = fast->now;
    at->answer_got = at->answer_size;
    at->is_decoded = 1;
    int failed = here > 0 ? take(at, fast_response_at(fast, at) + at->answer_size, here) : 0;
    if (failed != 0)
        return fast_fail_response(fast, fd, report, failed);
    if (body->received > most)
        return give_up(fast, fd, report);
    if (body->done)
        return go_on(fast, fd, report);
    if (!keep(fast, at, most))
        return give_up(fast, fd, report);
    at->collects = COLLECTS_RESPONSE;
    return goes_on ? fast_collect_more(fast, fd, report) : wait_for_more(fast, fd, report);
}

bool fast_has_collected_long(const blitz_fast_path *fast, const place *client, double now)
{
    const slot *at = &fast->slots[client->slot];
    double most = client->route != NULL ? client->route->collect : 0;
    return client->busy && at->collects == COLLECTS_RESPONSE && most > 0 && now >= at->collecting_since + most;
}

int fast_stop_collecting(blitz_fast_path *fast, int fd, blitz_fast_report *report) { return give_up(fast, fd, report); }

/* ---------------------------------------------------------------- another body in its place */

/* What the upstream has sent is all here: its connection is as good as before. It has been read to its end then. */
static bool is_read(const blitz_fast_path *fast, slot *at)
{
    blitz_body *body = &at->pipe.body, copy = *body;
    size_t here = at->answer_got - at->answer_size, consumed;
    if (body->done) {                            /* of one that has no content nothing was decoded */
        note_behind(at, !at->is_decoded && here > 0);
        return true;
    }
    memcpy(fast->scratch.ptr, fast_response_at(fast, at) + at->answer_size, here);
    if (at->is_decoded || here == 0 || blitz_body_feed(&copy, fast->scratch.ptr, here, &consumed) < 0 || !copy.done)
        return false;
    *body = copy;
    note_behind(at, consumed < here);
    return true;
}

/* Where the message is written: small ones where all are, others where they can stay until the client has taken them. */
static bool find_space(blitz_fast_path *fast, const slot *at, fast_memory *own, blitz_space *space)
{
    const blitz_exchange *exchange = at->exchange;
    blitz_write_options options = {.date_len = fast->face.date_len};
    size_t size = blitz_head_write_bound(exchange->response, &options) + exchange->new_body.len;
    *space = fast->scratch;
    if (size <= BLITZ_PART_SIZE && size <= space->size)
        return true;
    if (!fast_take_memory(fast, own, BLITZ_PART_HEADROOM + size))
        return false;
    *space = (blitz_space){own->at + BLITZ_PART_HEADROOM, own->size - BLITZ_PART_HEADROOM};
    return true;
}

int fast_send_changed(blitz_fast_path *fast, int fd, blitz_fast_report *report)
{
    slot *at = &fast->slots[fast->places[fd].slot];
    blitz_exchange *exchange = at->exchange;
    const blitz_route_rules *rules = fast->places[fd].route->rules;
    fast_memory own = {0};
    blitz_space space;
    blitz_io io;
    if (!is_read(fast, at) || (rules != NULL && blitz_rules_response(rules, exchange) < 0))
        return fast_hand_response_over(fast, fd, report, BLITZ_CHAIN_CONTINUE, true);
    /* From here on the general path could not go on with it: the rules have been applied. */
    if (!find_space(fast, at, &own, &space))
        return fast_break_off(fast, fd, report, ENOMEM);
    int64_t left = blitz_step_answer_locally(fast_link(fast, fd), exchange, exchange->new_body,
                                             (blitz_text){fast->face.date, fast->face.date_len}, !fast->face.draining,
                                             space, &io);
    fast_release_upstream(fast, fd, report);
    report->line.sent = io.body;
    if (left > 0) {
        at->closes = io.closes;
        at->is_kept = 1;
        exchange->body = (blitz_text){NULL, 0};
        fast_drop_memory(fast, &at->memory);
        at->memory = own;
        blitz_body_begin(&at->pipe.body, BLITZ_BODY_LENGTH, 0, 0, 0, 0);
        at->pipe.body.received = io.body;
        at->pipe.chunked = 0;
        return fast_begin_response_stream(fast, fd, report, space.ptr + io.size - left, (size_t)left, false);
    }
    fast_drop_memory(fast, &own);
    return left < 0 ? fast_unsent_answer(fast, fd, report, left, &io) : fast_finish(fast, fd, report, io.closes);
}
