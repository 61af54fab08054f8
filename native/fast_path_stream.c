/* fast_path_stream.c: bodies that take more than one read, on the fast path.
 *
 * A body passes through one part that all exchanges share, received and sent in one go. Only when its receiver does
 * not take all of it does the exchange get a part of its own, until that is sent; its sender is not read meanwhile.
 * So an exchange that waits for its sender holds no buffer.
 *
 * What goes wrong here is not answered here: the exchange is handed over with what ended it, and the general path says
 * it as it always does.
 */
#include "fast_path_table.h"
#include <errno.h>
#include <linux/sockios.h>
#include <math.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>

enum { ROUNDS = 4 };                     /* reads of one body in a row: then others have their turn */
static const int64_t SPLICED = 1024 * 1024;    /* so much left of a body: the general path can splice it */
enum { PASSED = 0, WAITS_FOR_SOURCE = 1, WAITS_FOR_SINK = 2, GOES_ON = 3, NO_PART = 4 };

/* ---------------------------------------------------------------- parts */

static uint8_t *take_part(blitz_fast_path *fast)
{
    spare *first = fast->parts;
    if (first != NULL) {
        fast->parts = first->next;
        fast->n_parts--;
        return (uint8_t *)first;
    }
    void *made = mmap(NULL, BLITZ_PART_ROOM, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (made == MAP_FAILED)
        return NULL;
    fast->face.parts++;
    return made;
}

/* What lies in it stays readable until another one is taken. */
static void give_part(blitz_fast_path *fast, uint8_t *part)
{
    spare *first = (spare *)(void *)part;    /* in its headroom: no byte of a body is there */
    first->next = fast->parts;
    fast->parts = first;
    fast->n_parts++;
}

void fast_drop_parts(blitz_fast_path *fast, uint32_t most)
{
    while (fast->n_parts > most) {
        munmap(take_part(fast), BLITZ_PART_ROOM);
        fast->face.parts--;
    }
}

/* A stream keeps what is unsent: the part that it lies in is its own. */
static void keep_part(blitz_fast_path *fast, blitz_pipe *pipe, uint8_t *part)
{
    pipe->part = part;
    if (part == fast->part)
        fast->part = NULL;
}

static void drop_part(blitz_fast_path *fast, blitz_pipe *pipe)
{
    if (pipe->part == NULL)
        return;
    if (fast->part == NULL)
        fast->part = pipe->part;
    else
        give_part(fast, pipe->part);
    pipe->part = NULL;
}

/* ---------------------------------------------------------------- one body */

/* Send what is in part. -> PASSED, WAITS_FOR_SINK or BLITZ_STREAM_SINK. */
static int send_part(blitz_fast_path *fast, int sink, blitz_pipe *pipe, uint8_t *part)
{
    size_t size = pipe->end - pipe->start;
    ssize_t sent = size > 0 ? blitz_link_send(fast_link(fast, sink), part + pipe->start, size) : 0;
    if (sent < 0 && errno != EAGAIN && errno != EWOULDBLOCK) {
        keep_part(fast, pipe, part);
        return BLITZ_STREAM_SINK;
    }
    pipe->start += sent > 0 ? (size_t)sent : 0;
    if (pipe->start == pipe->end) {
        drop_part(fast, pipe);
        return PASSED;
    }
    keep_part(fast, pipe, part);
    return WAITS_FOR_SINK;
}

/* Move a body on, as far as it goes now, at most bytes at a time. -> PASSED: all of it was sent; WAITS_*; GOES_ON: there may be more; NO_PART;
 * BLITZ_BODY_* or BLITZ_STREAM_*: it ends here. *came: something was received, or sent that had come before. */
static int pump(blitz_fast_path *fast, int source, int sink, blitz_pipe *pipe, size_t most, bool *came)
{
    /* What an upstream says behind its response is its fault; what a client does is its next request. */
    bool sink_is_client = fast->places[sink].kind == PLACE_CLIENT;
    bool drained = false;
    if (pipe->part != NULL) {
        int result = send_part(fast, sink, pipe, pipe->part);
        if (result != PASSED)
            return result;
        *came = true;
    }
    for (int round = 0; round < ROUNDS && !pipe->body.done && !drained; round++) {
        if (fast->part == NULL && (fast->part = take_part(fast)) == NULL)
            return NO_PART;
        size_t room = blitz_pipe_room(pipe, sink_is_client);
        room = room < most ? room : most;
        ssize_t got = blitz_link_receive(fast_link(fast, source), fast->part + BLITZ_PART_HEADROOM, room);
        if (got < 0 && errno != EAGAIN && errno != EWOULDBLOCK)
            return BLITZ_STREAM_SOURCE;
        if (got < 0 && blitz_link_holds_more(fast_link(fast, source)))
            continue;                            /* a part of a record, and the rest has no edge of its own */
        if (got < 0)
            return WAITS_FOR_SOURCE;
        *came = true;
        int result = blitz_pipe_fill(pipe, fast->part, (size_t)got);
        if (result == 0)
            result = send_part(fast, sink, pipe, fast->part);
        if (result != PASSED)
            return result;
        /* What comes behind a short read has an edge of its own, but for an end that has been seen. */
        drained = (size_t)got < room && !fast->places[source].ended &&
                  !blitz_link_holds_more(fast_link(fast, source));
    }
    if (pipe->body.done)
        return PASSED;
    return drained ? WAITS_FOR_SOURCE : GOES_ON;
}

/* ---------------------------------------------------------------- waits */

static int64_t unsent_of(int fd)
{
    int unsent;
    return ioctl(fd, SIOCOUTQ, &unsent) == 0 ? unsent : -1;
}

bool fast_takes_some(place *client, int fd)
{
    int64_t before = client->unsent;
    client->unsent = unsent_of(fd);
    return blitz_took_some(before, client->unsent);
}

static void wait_for_sink(blitz_fast_path *fast, place *client, int sink, int waiting)
{
    fast_want_out(fast, sink, true);
    client->unsent = unsent_of(sink);
    fast_set_deadline(fast, client, waiting, client->route->send_idle);
}

static int fail(blitz_fast_path *fast, int fd, blitz_fast_report *report, int failed)
{
    fast_leave(fast, fd, report, BLITZ_FAST_HAND_OVER);
    report->failed = failed < 0 ? failed : 0;
    return BLITZ_FAST_HAND_OVER;
}

/* ---------------------------------------------------------------- the body of a request */

void fast_begin_request(blitz_fast_path *fast, slot *at)
{
    const blitz_head *request = at->exchange->request;
    blitz_body_begin(&at->up.body, request->body, request->content_length, fast->face.max_body, fast->face.max_chunk_line,
                     fast->face.max_trailers);
    at->up.chunked = request->body == BLITZ_BODY_CHUNKED;
    at->up.part = NULL;
    at->up.n_ahead = 0;
    at->rate = fast->face.rate;
}

bool fast_bound_request(slot *at, int64_t limit)
{
    at->up.body.limit = limit;
    return limit == 0 || at->up.body.kind != BLITZ_BODY_LENGTH || at->up.body.remaining <= limit;
}

int fast_wait_for_body(blitz_fast_path *fast, place *client, slot *at, uint64_t received, bool came)
{
    if (!came && client->waiting == BLITZ_WAIT_BODY) {   /* part of a record: a client could put the end off with those */
        if (client->late)
            client->deadline = fast->earliest = fast->now;
        return 0;
    }
    double seconds = client->route->body_idle;
    if (at->rate.owed > 0) {
        double left = blitz_rate_begin(&at->rate, fast->now, received);
        if (left <= 0)
            return BLITZ_STREAM_SLOW;
        seconds = seconds > 0 && seconds < left ? seconds : left;
    }
    fast_set_deadline(fast, client, BLITZ_WAIT_BODY, seconds);
    return 0;
}

/* came: there was more of it. */
static int settle_request(blitz_fast_path *fast, int fd, blitz_fast_report *report, int result, bool came)
{
    place *client = &fast->places[fd];
    slot *at = &fast->slots[client->slot];
    if (result == WAITS_FOR_SOURCE || result == GOES_ON) {
        int slow = fast_wait_for_body(fast, client, at, at->up.body.received, came);
        result = slow < 0 ? slow : result;
    }
    if (result < 0 || result == NO_PART)
        return fail(fast, fd, report, result);
    if (at->up.n_ahead > 0) {                    /* room was made for it: see fast_pump_request */
        at->next = at->head_size;
        at->got = at->next + at->up.n_ahead;
        memcpy(at->buf + at->next, at->up.ahead, at->up.n_ahead);
        at->up.n_ahead = 0;
    }
    if (result == PASSED) {
        at->stream = BLITZ_STREAM_NONE;
        client->look = 1;
        fast_want_out(fast, client->other, false);
        fast_set_deadline(fast, client, BLITZ_WAIT_FIRST_BYTE, client->route->first_byte);
    }
    if (result == WAITS_FOR_SINK)
        wait_for_sink(fast, client, client->other, BLITZ_WAIT_SEND_UPSTREAM);
    if (result == GOES_ON)
        fast_watch_again(fast, fd);
    return report->what = BLITZ_FAST_QUIET;
}

int fast_pump_request(blitz_fast_path *fast, int fd, blitz_fast_report *report)
{
    place *client = &fast->places[fd];
    slot *at = &fast->slots[client->slot];
    uint64_t before = at->up.body.received;
    size_t most = at->up.chunked ? at->size - at->head_size : BLITZ_PART_SIZE;
    bool came = false;
    int result = pump(fast, fd, client->other, &at->up, most, &came);
    if (at->up.body.received > before)
        blitz_rate_end(&at->rate, fast->now);
    return settle_request(fast, fd, report, result, came);
}

int fast_request_is_late(blitz_fast_path *fast, int fd, blitz_fast_report *report)
{
    bool stalled = fast->places[fd].waiting == BLITZ_WAIT_BODY;
    return fail(fast, fd, report, stalled ? BLITZ_STREAM_STALLED : BLITZ_STREAM_UNTAKEN);
}

void fast_make_whole(slot *at, size_t size)
{
    uint8_t *behind = at->buf + at->head_size + size;
    memmove(behind, at->buf + at->next, at->got - at->next);
    at->got -= at->next - (at->head_size + size);
    at->next = at->head_size + size;
    at->body = (blitz_text){at->buf + at->head_size, size};
    at->streamed = 0;
    blitz_body_begin(&at->up.body, BLITZ_BODY_LENGTH, (int64_t)size, 0, 0, 0);
}

int fast_stream_request(blitz_fast_path *fast, int fd, blitz_fast_report *report, int upstream,
                        const blitz_write_options *asked)
{
    place *client = &fast->places[fd];
    slot *at = &fast->slots[client->slot];
    blitz_body *body = &at->up.body;
    uint8_t *first = at->buf + at->head_size;
    size_t consumed = 0;
    blitz_io io;
    blitz_write_options options = *asked;
    options.body = body->kind;
    options.content_length = at->exchange->request->content_length;
    blitz_head *head = at->exchange->request;
    /* May it be written at all? Decoding changes what came, and nobody could decode that again. */
    int64_t written = blitz_head_write(head, &options, NULL, 0, fast->scratch.ptr, fast->scratch.size), size = 0;
    if (written >= 0)
        size = blitz_body_feed(body, first, at->got - at->head_size, &consumed);
    options.first_is_last = body->done;
    if (written >= 0 && size >= 0)
        written = blitz_head_write(head, &options, first, (size_t)size, fast->scratch.ptr, fast->scratch.size);
    if (written < 0 || size < 0) {               /* nothing was sent */
        fast_give_back(fast, client->route->cluster->endpoints[client->endpoint], upstream, report);
        return fail(fast, fd, report, size < 0 ? (int)size : 0);
    }
    bool is_whole = body->done;
    at->next = at->head_size + consumed;
    if (is_whole)
        fast_make_whole(at, (size_t)size);
    fast_join(fast, fd, upstream);
    at->stream = is_whole ? BLITZ_STREAM_NONE : BLITZ_STREAM_REQUEST;
    int64_t left = blitz_step_send((blitz_link){upstream, NULL}, fast->scratch.ptr, (size_t)written, &io);
    left = left < 0 ? written : left;            /* it may have answered before it closed: reading will tell */
    if (left == 0 && is_whole) {
        fast_set_deadline(fast, client, BLITZ_WAIT_FIRST_BYTE, client->route->first_byte);
        return BLITZ_FAST_QUIET;
    }
    bool waits = left > 0 && left <= BLITZ_PART_SIZE && !is_whole;
    uint8_t *part = waits ? take_part(fast) : NULL;
    bool spliced = body->remaining >= SPLICED && fast->places[fd].tls == NULL;
    if (spliced || (left > 0 && part == NULL)) {
        fail(fast, fd, report, 0);
        report->unsent = fast->scratch.ptr + written - left;
        report->n_unsent = (size_t)left;
        return BLITZ_FAST_HAND_OVER;
    }
    if (left == 0)
        return fast_pump_request(fast, fd, report);
    at->up.part = part;
    at->up.start = BLITZ_PART_HEADROOM;
    at->up.end = at->up.start + (size_t)left;
    memcpy(part + at->up.start, fast->scratch.ptr + written - left, (size_t)left);
    return settle_request(fast, fd, report, WAITS_FOR_SINK, true);
}

/* ---------------------------------------------------------------- the body of a response */

/* What of a response waits for its receiver, its sender, or nothing any more. */
static int settle(blitz_fast_path *fast, int fd, blitz_fast_report *report, int result)
{
    place *client = &fast->places[fd];
    slot *at = &fast->slots[client->slot];
    if (result < 0 || result == NO_PART)
        return fail(fast, fd, report, result);
    if (at->pipe.body.done && client->other >= 0) {
        if (at->pipe.n_ahead > 0 && !at->unfit)
            at->unfit = BLITZ_UNFIT_UNASKED;
        fast_release_upstream(fast, fd, report);
    }
    if (result == PASSED) {
        report->line.sent = at->pipe.body.received;
        return fast_finish(fast, fd, report, at->closes);
    }
    if (result == WAITS_FOR_SINK)
        wait_for_sink(fast, client, fd, BLITZ_WAIT_SEND);
    else
        fast_set_deadline(fast, client, BLITZ_WAIT_RESPONSE, client->route->response_idle);
    if (result == GOES_ON)
        fast_watch_again(fast, client->other);
    return report->what = report->returned >= 0 || report->unfit >= 0 ? BLITZ_FAST_RETURNED : BLITZ_FAST_QUIET;
}

int fast_pump_response(blitz_fast_path *fast, int fd, blitz_fast_report *report)
{
    place *client = &fast->places[fd];
    blitz_pipe *pipe = &fast->slots[client->slot].pipe;
    bool came;
    return settle(fast, fd, report, pump(fast, client->other, fd, pipe, BLITZ_PART_SIZE, &came));
}

void fast_begin_response(blitz_fast_path *fast, slot *at)
{
    const blitz_head *response = at->exchange->response;
    blitz_body_begin(&at->pipe.body, response->body, response->content_length, 0, fast->face.max_chunk_line,
                     fast->face.max_trailers);
    int out = blitz_body_framing(response->body, at->exchange->request->minor);
    at->pipe.chunked = out == BLITZ_BODY_CHUNKED;
    at->pipe.part = NULL;
    at->pipe.n_ahead = 0;
    at->unfit = response->flags & BLITZ_HEAD_KEEP_ALIVE ? 0 : BLITZ_UNFIT_CLOSE;
}

int fast_fail_response(blitz_fast_path *fast, int fd, blitz_fast_report *report, int failed)
{
    return fail(fast, fd, report, failed);
}

int fast_begin_response_stream(blitz_fast_path *fast, int fd, blitz_fast_report *report, const uint8_t *unsent,
                               size_t left, bool go_on)
{
    slot *at = &fast->slots[fast->places[fd].slot];
    blitz_pipe *pipe = &at->pipe;
    at->stream = BLITZ_STREAM_RESPONSE;
    uint8_t *part = NULL;
    bool spliced = pipe->body.remaining >= SPLICED && fast->places[fd].tls == NULL;
    if (left > 0 && left <= BLITZ_PART_SIZE && !spliced)
        part = take_part(fast);
    if (spliced || (left > 0 && part == NULL)) {
        fail(fast, fd, report, 0);
        report->unsent = unsent;
        report->n_unsent = left;
        return BLITZ_FAST_HAND_OVER;
    }
    if (left > 0) {
        pipe->part = part;
        pipe->start = BLITZ_PART_HEADROOM;
        pipe->end = pipe->start + left;
        memcpy(part + pipe->start, unsent, left);
        return settle(fast, fd, report, WAITS_FOR_SINK);
    }
    return go_on ? fast_pump_response(fast, fd, report) : settle(fast, fd, report, WAITS_FOR_SOURCE);
}

void fast_tell_stream(blitz_fast_path *fast, slot *at, blitz_fast_report *report)
{
    blitz_pipe *pipe = at->stream == BLITZ_STREAM_REQUEST ? &at->up : &at->pipe;
    report->stream = at->stream;
    report->chunked = pipe->chunked;
    report->closes = at->closes;
    fast->told = pipe->body;
    report->body_state = &fast->told;
    if (pipe->part == NULL)
        return;
    report->unsent = pipe->part + pipe->start;
    report->n_unsent = pipe->end - pipe->start;
    give_part(fast, pipe->part);
    pipe->part = NULL;
}
