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
#include "fast_path.h"
#include <errno.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

enum { EVENTS = 64 };                    /* taken at once */
/* A turn looks again as long as it finds something, but no longer than this: others wait for their turn. */
static const uint64_t TURN_NS = 500000;
enum { PLACE_NONE, PLACE_CLIENT, PLACE_UPSTREAM };
static const uint32_t WATCHED = EPOLLIN | EPOLLRDHUP | EPOLLET;

typedef struct {
    uint8_t *buf;
    size_t size;
    blitz_exchange *exchange;
    blitz_text method, target;           /* as they came, whatever plugins do: a scanned head is all in buf */
    blitz_text host, user_agent, referrer;   /* the same, if the access log wants them */
    blitz_text body;                     /* as it came, behind the head; ptr NULL: the request has none */
    size_t head_size;
    double began;
    size_t answer_size, answer_got;      /* bytes in the answer buffer, while response hooks are run */
} slot;

typedef struct {                         /* what a descriptor is; one row per descriptor */
    uint8_t kind;                        /* PLACE_* */
    uint8_t busy, look, ask, served;     /* of a client */
    uint8_t resting;                     /* of an upstream connection: it is idle, and nothing may come on it */
    int32_t other;                       /* the upstream connection of a busy client, and the way back; or -1 */
    int32_t slot;                        /* of a busy client; or -1 */
    uint32_t at;                         /* its index in clients */
    uint32_t endpoint;                   /* of the route's cluster, of a busy client with an upstream connection */
    uint32_t generation;
    blitz_fast_route *route;
    const blitz_peer *peer;
    const blitz_write_options *options;
    double deadline, born;               /* born: of an upstream connection that the fast path has taken */
    double ends;                         /* of a busy client: its exchange, whatever it waits for */
} place;

struct blitz_fast_path {
    blitz_fast_face face;
    int epoll;
    place *places;
    size_t n_places;
    int32_t *clients;
    size_t cap_clients;
    slot *slots;
    int32_t *free_slots;
    size_t cap_slots;
    blitz_space answer, scratch;
    double now, earliest;                /* no deadline is before earliest */
    uint32_t expiring, leaving;          /* how far a look at all clients has come; 0: none is under way */
    int at, got;                         /* events[at..got) are still to be looked at */
    uint64_t turn_ends;
    struct epoll_event events[EVENTS];
};

/* ---------------------------------------------------------------- making */

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

static size_t grown(size_t cap, size_t need)
{
    size_t size = cap > 0 ? cap : 64;
    while (size < need)
        size *= 2;
    return size;
}

int blitz_fast_add_slot(blitz_fast_path *fast)
{
    if (fast->face.slots == fast->cap_slots) {
        size_t cap = grown(fast->cap_slots, fast->cap_slots + 1);
        slot *slots = realloc(fast->slots, cap * sizeof *slots);
        if (slots == NULL)
            return BLITZ_E_NOMEM;
        fast->slots = slots;
        int32_t *free_slots = realloc(fast->free_slots, cap * sizeof *free_slots);
        if (free_slots == NULL)
            return BLITZ_E_NOMEM;
        fast->free_slots = free_slots;
        fast->cap_slots = cap;
    }
    return (int)fast->face.slots++;
}

static void give_slot(blitz_fast_path *fast, int32_t index) { fast->free_slots[fast->face.free_slots++] = index; }

void blitz_fast_fill_slot(blitz_fast_path *fast, int32_t index, uint8_t *buf, size_t size, blitz_exchange *exchange)
{
    fast->slots[index] = (slot){.buf = buf, .size = size, .exchange = exchange};
    give_slot(fast, index);
}

int32_t blitz_fast_drop_slot(blitz_fast_path *fast)
{
    /* Slots have numbers: only the last one can go, and only if nobody uses it. */
    int32_t last = (int32_t)fast->face.slots - 1;
    for (uint32_t i = 0; i < fast->face.free_slots; i++)
        if (fast->free_slots[i] == last) {
            fast->free_slots[i] = fast->free_slots[--fast->face.free_slots];
            fast->face.slots--;
            return last;
        }
    return -1;
}

/* ---------------------------------------------------------------- places */

static int make_place(blitz_fast_path *fast, int fd)
{
    size_t need = (size_t)fd + 1;
    if (need <= fast->n_places)
        return 0;
    size_t n = grown(fast->n_places, need);
    place *places = realloc(fast->places, n * sizeof *places);
    if (places == NULL)
        return BLITZ_E_NOMEM;
    memset(places + fast->n_places, 0, (n - fast->n_places) * sizeof *places);
    fast->places = places;
    fast->n_places = n;
    return 0;
}

/* Have an event for fd at once if it is readable, and for every later edge. 0, or errno. */
static int watch(blitz_fast_path *fast, int fd)
{
    struct epoll_event event = {.events = WATCHED, .data.fd = fd};
    if (epoll_ctl(fast->epoll, EPOLL_CTL_ADD, fd, &event) == 0)
        return 0;
    return errno == EEXIST && epoll_ctl(fast->epoll, EPOLL_CTL_MOD, fd, &event) == 0 ? 0 : errno;
}

static void watch_again(blitz_fast_path *fast, int fd)
{
    struct epoll_event event = {.events = WATCHED, .data.fd = fd};
    epoll_ctl(fast->epoll, EPOLL_CTL_MOD, fd, &event);   /* fails for one that was closed: then nobody waits */
}

static void set_deadline(blitz_fast_path *fast, place *client, double seconds)
{
    client->deadline = seconds > 0 ? fast->now + seconds : INFINITY;
    if (client->busy && client->ends < client->deadline)
        client->deadline = client->ends;
    if (client->deadline < fast->earliest)
        fast->earliest = client->deadline;
}

static void set_idle_deadline(blitz_fast_path *fast, place *client)
{
    set_deadline(fast, client, client->served ? fast->face.keepalive : fast->face.first_request);
}

static int add_client(blitz_fast_path *fast, int fd)
{
    if (fast->face.clients == fast->cap_clients) {
        size_t cap = grown(fast->cap_clients, fast->cap_clients + 1);
        int32_t *clients = realloc(fast->clients, cap * sizeof *clients);
        if (clients == NULL)
            return BLITZ_E_NOMEM;
        fast->clients = clients;
        fast->cap_clients = cap;
    }
    fast->places[fd].at = fast->face.clients;
    fast->clients[fast->face.clients++] = fd;
    return 0;
}

static void remove_client(blitz_fast_path *fast, place *client)
{
    int32_t last = fast->clients[--fast->face.clients];
    fast->clients[client->at] = last;
    fast->places[last].at = client->at;
    client->kind = PLACE_NONE;
    if (fast->places[last].deadline < fast->earliest)     /* a look that is under way may have passed its place */
        fast->earliest = fast->places[last].deadline;
}

int blitz_fast_enter(blitz_fast_path *fast, int fd, const blitz_peer *peer, const blitz_write_options *options, int ask,
                     int served, double now)
{
    if (make_place(fast, fd) != 0 || add_client(fast, fd) != 0)
        return ENOMEM;
    place *client = &fast->places[fd];
    *client = (place){.kind = PLACE_CLIENT, .ask = ask != 0, .served = served != 0, .other = -1, .slot = -1,
                      .at = client->at, .generation = fast->face.generation, .peer = peer, .options = options};
    fast->now = now;
    set_idle_deadline(fast, client);
    int failed = watch(fast, fd);
    if (failed != 0)
        remove_client(fast, client);
    return failed;
}

int blitz_fast_watch_upstream(blitz_fast_path *fast, int fd)
{
    if (make_place(fast, fd) != 0)
        return ENOMEM;
    fast->places[fd] = (place){.kind = PLACE_UPSTREAM, .other = -1, .slot = -1};
    return watch(fast, fd);
}

void blitz_fast_rest(blitz_fast_path *fast, int fd, int resting) { fast->places[fd].resting = resting != 0; }

/* ---------------------------------------------------------------- reports */

static void begin_report(blitz_fast_report *report, int what, int fd)
{
    *report = (blitz_fast_report){.what = what, .fd = fd, .slot = -1, .upstream = -1, .unfit = -1, .returned = -1};
}

/* What was asked, and what the access log says of it; sent has been set by whoever sent it. */
static void describe(const blitz_fast_path *fast, const place *client, blitz_fast_line *line)
{
    const slot *at = &fast->slots[client->slot];
    line->method = at->method;
    line->target = at->target;
    line->began = at->began;
    line->received = at->body.len;
    if (!fast->face.logged)
        return;
    line->host = at->host;
    line->user_agent = at->user_agent;
    line->referrer = at->referrer;
    line->status = at->exchange->response->status;
    memcpy(line->id, blitz_exchange_id(at->exchange), sizeof line->id);
}

static blitz_text text_of(const blitz_head *head, blitz_span span)
{
    return (blitz_text){blitz_at(head, span), span.len};
}

static blitz_text value_of(const blitz_head *head, const char *name)
{
    int index = blitz_head_find(head, (const uint8_t *)name, strlen(name), 0);
    return index >= 0 ? text_of(head, head->fields[index].value) : (blitz_text){0};
}

/* The request is whole, and no plugin has seen it. */
static void remember(slot *at, double now, bool logged)
{
    const blitz_head *head = at->exchange->request;
    at->method = text_of(head, head->method);
    at->target = text_of(head, head->target);
    at->began = now;
    if (!logged)
        return;
    at->host = text_of(head, head->host);
    at->user_agent = value_of(head, "user-agent");
    at->referrer = value_of(head, "referer");
}

/* The client leaves the fast path; its slot goes with the report, its upstream connection too. */
static int leave(blitz_fast_path *fast, int fd, blitz_fast_report *report, int what)
{
    place *client = &fast->places[fd];
    blitz_fast_report before = *report;
    begin_report(report, what, fd);
    report->returned = before.returned;
    report->told = before.told;
    report->unfit = before.unfit;
    report->line.sent = before.line.sent;
    if (client->busy)
        describe(fast, client, &report->line);
    report->slot = client->slot;
    report->upstream = client->other;
    report->endpoint = client->endpoint;
    report->route = client->route;
    if (client->busy) {
        const slot *at = &fast->slots[client->slot];
        report->began = at->began;
        report->body = at->body.ptr != NULL ? (int64_t)at->body.len : -1;
        report->size = at->head_size;
        report->got = report->size + at->body.len;
        report->index = (uint32_t)at->exchange->chain.index;
        at->exchange->chain.lines = NULL;        /* nobody takes them in the general path */
    }
    report->served = client->served;
    if (client->other >= 0) {
        fast->places[client->other].other = -1;
        client->route->in_flight--;
        fast->face.in_flight--;
    }
    remove_client(fast, client);
    return what;
}

/* It leaves, and what it had in a slot is of no use any more. */
static int leave_empty(blitz_fast_path *fast, int fd, blitz_fast_report *report, int what)
{
    leave(fast, fd, report, what);
    if (report->slot >= 0) {
        report->told |= (uint8_t)blitz_chain_release(fast->slots[report->slot].exchange);
        blitz_exchange_reset(fast->slots[report->slot].exchange);
        give_slot(fast, report->slot);
        report->slot = -1;
    }
    return what;
}

static int unsent_answer(blitz_fast_path *fast, int fd, blitz_fast_report *report, int64_t left, const blitz_io *io)
{
    if (left < 0) {
        leave_empty(fast, fd, report, BLITZ_FAST_BROKEN);
        report->error = io->error;
        return BLITZ_FAST_BROKEN;
    }
    leave_empty(fast, fd, report, BLITZ_FAST_UNSENT);
    report->unsent = fast->scratch.ptr + io->size - left;
    report->n_unsent = (size_t)left;
    return BLITZ_FAST_UNSENT;
}

/* ---------------------------------------------------------------- an exchange */

/* The answer has gone out: the client waits again. */
static int finish(blitz_fast_path *fast, int fd, blitz_fast_report *report)
{
    place *client = &fast->places[fd];
    blitz_exchange *exchange = fast->slots[client->slot].exchange;
    if (fast->face.logged)
        describe(fast, client, &report->line);
    report->fd = fd;
    report->route = client->route;
    report->endpoint = client->endpoint;
    report->index = (uint32_t)exchange->chain.index;
    report->told |= (uint8_t)blitz_chain_release(exchange);
    blitz_exchange_reset(exchange);
    give_slot(fast, client->slot);
    client->slot = -1;
    client->busy = 0;
    client->served = 1;
    client->route = NULL;
    set_idle_deadline(fast, client);
    if (client->look) {
        client->look = 0;
        watch_again(fast, fd);
    }
    if (fast->face.logged)
        return report->what = BLITZ_FAST_LOGGED;
    return report->what = report->returned >= 0 || report->told ? BLITZ_FAST_RETURNED : BLITZ_FAST_QUIET;
}

/* The chain has come to a step that is not the fast path's. */
static int hand_over(blitz_fast_path *fast, int fd, blitz_fast_report *report, int step)
{
    leave(fast, fd, report, BLITZ_FAST_HAND_OVER);
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
    int64_t left = blitz_step_answer_of_plugin(fd, exchange, date, fast->scratch, &io);
    report->line.sent = io.body;
    if (left == BLITZ_IO_ODD)
        return hand_over(fast, fd, report, BLITZ_CHAIN_ANSWER);
    int what = left != 0 ? unsent_answer(fast, fd, report, left, &io) : finish(fast, fd, report);
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
    set_deadline(fast, client, client->route->first_byte);
    return BLITZ_FAST_QUIET;
}

/* A part of a body cannot be replaced by what plugins made of it (RFC 9110 section 14.5): Python looks at it. */
static bool is_part(const blitz_exchange *exchange)
{
    static const char name[] = "content-range";
    return exchange->body_edited && blitz_head_find(exchange->request, (const uint8_t *)name, sizeof name - 1, 0) >= 0;
}

/* The request hooks have come to a step. */
static int go_through(blitz_fast_path *fast, int fd, blitz_fast_report *report, int step)
{
    place *client = &fast->places[fd];
    const blitz_fast_route *route = client->route;
    blitz_exchange *exchange = fast->slots[client->slot].exchange;
    if (step == BLITZ_CHAIN_PENDING && blitz_call_waits(exchange->chain.at) == BLITZ_WAITS_SLICE)
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
static int ask(blitz_fast_path *fast, int fd, blitz_fast_report *report)
{
    place *client = &fast->places[fd];
    const blitz_fast_route *route = client->route;
    const slot *at = &fast->slots[client->slot];
    blitz_exchange *exchange = at->exchange;
    exchange->peer = client->peer;
    exchange->route = route->name;
    if (blitz_chain_begin(exchange, route->pools, route->n_pools) != 0) {
        client->route = NULL;                    /* Python finds out that there is no memory */
        leave(fast, fd, report, BLITZ_FAST_HAND_OVER);
        return BLITZ_FAST_HAND_OVER;
    }
    exchange->chain.lines = fast->face.lines;
    if (at->body.len <= route->body_limit) {
        exchange->body = at->body;
        exchange->chain.body_ready = 1;
    }
    return go_through(fast, fd, report, route->n_pools > 0 ? blitz_chain_go(exchange) : BLITZ_CHAIN_CONTINUE);
}

static int receive_request(blitz_fast_path *fast, int fd, blitz_fast_report *report)
{
    place *client = &fast->places[fd];
    if (client->generation != fast->face.generation)
        return leave(fast, fd, report, BLITZ_FAST_RELOADED);
    if (fast->face.free_slots == 0) {
        fast->at--;                              /* the same event once more, with slots */
        return report->what = BLITZ_FAST_NO_SLOT;
    }
    int32_t index = fast->free_slots[--fast->face.free_slots];
    slot *at = &fast->slots[index];
    blitz_io io;
    int64_t size = blitz_step_receive_request(fd, (blitz_space){at->buf, at->size}, at->exchange->request,
                                              fast->face.limits, fast->face.max_body, &io);
    client->slot = index;
    if (size == BLITZ_IO_AGAIN) {
        client->slot = -1;
        give_slot(fast, index);
        return BLITZ_FAST_QUIET;
    }
    if (size < 0) {
        leave_empty(fast, fd, report, size == BLITZ_IO_EOF ? BLITZ_FAST_CLOSED : BLITZ_FAST_BROKEN);
        report->error = io.error;
        return report->what;
    }
    report->size = (size_t)size;
    report->got = io.got;
    if (size > 0) {
        bool has_body = io.is_short && at->exchange->request->body == BLITZ_BODY_LENGTH;
        remember(at, fast->now, fast->face.logged);
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
        leave(fast, fd, report, size == 0 ? BLITZ_FAST_HEAD_BYTES : BLITZ_FAST_HAND_OVER);
    } else if (client->ask || client->options == NULL || fast->face.route == NULL) {
        begin_report(report, BLITZ_FAST_ASK, fd);
        report->slot = index;
    } else {
        client->route = fast->face.route;
        if (ask(fast, fd, report) == BLITZ_FAST_QUIET)
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
    int64_t left = blitz_step_answer(fd, exchange, (blitz_text){fast->answer.ptr + size, got - size},
                                     (blitz_text){fast->face.date, fast->face.date_len}, fast->scratch, &io);
    if (left == BLITZ_IO_ODD)
        return hand_answer_over(fast, fd, report, BLITZ_CHAIN_CONTINUE, begun ? size : 0, got);
    client->other = -1;
    client->route->in_flight--;
    fast->face.in_flight--;
    give_upstream(fast, client->route->cluster->endpoints[client->endpoint], upstream, report);
    report->line.sent = got - size;
    return left != 0 ? unsent_answer(fast, fd, report, left, &io) : finish(fast, fd, report);
}

/* The response hooks have come to a step. */
static int respond(blitz_fast_path *fast, int fd, blitz_fast_report *report, int step)
{
    const slot *at = &fast->slots[fast->places[fd].slot];
    const blitz_chain *chain = &at->exchange->chain;
    if (step == BLITZ_CHAIN_PENDING && blitz_call_waits(chain->at) == BLITZ_WAITS_SLICE)
        fast->turn_ends = blitz_monotonic_ns() + TURN_NS;
    if (only_logs(chain, step))
        return let_logs_be_taken(fast, fd, report);
    if (step != BLITZ_CHAIN_CONTINUE || at->exchange->body_edited)
        return hand_answer_over(fast, fd, report, step, at->answer_size, at->answer_got);
    return send_answer(fast, fd, report, at->answer_size, at->answer_got, true);
}

static int receive_response(blitz_fast_path *fast, int upstream, blitz_fast_report *report)
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
    return respond(fast, fd, report, blitz_chain_go(exchange));
}

/* ---------------------------------------------------------------- the loop's turn */

static int look_at(blitz_fast_path *fast, const struct epoll_event *event, blitz_fast_report *report)
{
    int fd = event->data.fd;
    place *at = &fast->places[fd];
    begin_report(report, BLITZ_FAST_QUIET, fd);
    if (at->kind == PLACE_UPSTREAM && at->resting) {
        at->resting = 0;
        return report->what = BLITZ_FAST_STIRRED;
    }
    if (at->kind == PLACE_UPSTREAM)
        return at->other >= 0 ? receive_response(fast, fd, report) : BLITZ_FAST_QUIET;
    if (at->kind != PLACE_CLIENT)
        return BLITZ_FAST_QUIET;
    /* The end of a stream has one edge, often the same as the last bytes: look again behind them. */
    at->look = at->busy || (event->events & (EPOLLRDHUP | EPOLLHUP | EPOLLERR));
    return at->busy ? BLITZ_FAST_QUIET : receive_request(fast, fd, report);
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
    begin_report(report, BLITZ_FAST_QUIET, fd);
    client->route = route;
    client->peer = peer;
    client->options = options;
    int what = route != NULL ? ask(fast, fd, report) : leave(fast, fd, report, BLITZ_FAST_HAND_OVER);
    report->size = size;
    report->got = got;
    return what;
}

int blitz_fast_accept(blitz_fast_path *fast, int fd, blitz_fast_report *report)
{
    blitz_exchange *exchange = fast->slots[fast->places[fd].slot].exchange;
    begin_report(report, BLITZ_FAST_QUIET, fd);
    int step = blitz_chain_accept(exchange);
    return exchange->chain.is_response ? respond(fast, fd, report, step) : go_through(fast, fd, report, step);
}

void blitz_fast_leave(blitz_fast_path *fast, int fd, blitz_fast_report *report)
{
    begin_report(report, BLITZ_FAST_QUIET, fd);
    if ((size_t)fd < fast->n_places && fast->places[fd].kind == PLACE_CLIENT)
        leave(fast, fd, report, BLITZ_FAST_QUIET);
}

void blitz_fast_look(const blitz_fast_path *fast, int fd, blitz_fast_report *report)
{
    begin_report(report, BLITZ_FAST_QUIET, fd);
    if ((size_t)fd >= fast->n_places || fast->places[fd].kind != PLACE_CLIENT || !fast->places[fd].busy)
        return;
    report->route = fast->places[fd].route;
    describe(fast, &fast->places[fd], &report->line);
}

int blitz_fast_next_idle(blitz_fast_path *fast, blitz_fast_report *report)
{
    while (fast->leaving < fast->face.clients) {
        int fd = fast->clients[fast->leaving];
        if (!fast->places[fd].busy) {
            begin_report(report, BLITZ_FAST_QUIET, fd);
            return leave_empty(fast, fd, report, BLITZ_FAST_RELOADED);
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
    watch_again(fast, fd);
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
        begin_report(report, BLITZ_FAST_EXPIRED, fd);
        report->served = client->served;
        report->upstream = client->other;
        report->is_total = client->busy && client->ends <= now;
        return BLITZ_FAST_EXPIRED;
    }
    fast->expiring = 0;
    return BLITZ_FAST_QUIET;
}
