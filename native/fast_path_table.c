/* fast_path_table.c: slots, a row per descriptor, what is watched, deadlines. See fast_path_table.h. */
#include "fast_path_table.h"
#include <errno.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

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

void fast_give_slot(blitz_fast_path *fast, int32_t index) { fast->free_slots[fast->face.free_slots++] = index; }

void blitz_fast_fill_slot(blitz_fast_path *fast, int32_t index, uint8_t *buf, size_t size, blitz_exchange *exchange)
{
    fast->slots[index] = (slot){.buf = buf, .size = size, .exchange = exchange};
    fast_give_slot(fast, index);
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

/* What the link itself holds has no edge; that there is room to send has one at once. */
static struct epoll_event wanted(const blitz_fast_path *fast, int fd)
{
    if (fast->places[fd].kind == PLACE_ELSEWHERE)
        return (struct epoll_event){.events = EPOLLET, .data.fd = fd};    /* errors and hang-ups alone */
    bool holds = fast->places[fd].wants_out || blitz_link_holds_more(fast_link(fast, fd));
    uint32_t more = holds ? EPOLLOUT : 0;
    return (struct epoll_event){.events = WATCHED | more, .data.fd = fd};
}

/* Have an event for fd at once if it is readable, and for every later edge. is_known: it is likely to be registered
 * already. 0, or errno. */
static int watch(blitz_fast_path *fast, int fd, bool is_known)
{
    struct epoll_event event = wanted(fast, fd);
    if (epoll_ctl(fast->epoll, is_known ? EPOLL_CTL_MOD : EPOLL_CTL_ADD, fd, &event) == 0)
        return 0;
    if (errno != (is_known ? ENOENT : EEXIST))
        return errno;
    return epoll_ctl(fast->epoll, is_known ? EPOLL_CTL_ADD : EPOLL_CTL_MOD, fd, &event) == 0 ? 0 : errno;
}

void fast_watch_again(blitz_fast_path *fast, int fd)
{
    struct epoll_event event = wanted(fast, fd);
    epoll_ctl(fast->epoll, EPOLL_CTL_MOD, fd, &event);   /* fails for one that was closed: then nobody waits */
}

void fast_want_out(blitz_fast_path *fast, int fd, bool wanted)
{
    if (fast->places[fd].wants_out == wanted)
        return;
    fast->places[fd].wants_out = wanted;
    fast_watch_again(fast, fd);
}

void fast_set_deadline(blitz_fast_path *fast, place *client, int waiting, double seconds)
{
    client->waiting = (uint8_t)waiting;
    client->late = 0;
    client->deadline = seconds > 0 ? fast->now + seconds : INFINITY;
    if (client->busy && client->ends < client->deadline)
        client->deadline = client->ends;
    if (client->deadline < fast->earliest)
        fast->earliest = client->deadline;
    if (client->gone && fast_awaits_upstream(client))
        fast_watch_again(fast, (int)(client - fast->places));   /* its edge came before there was a wait to end */
}

void fast_await_response(blitz_fast_path *fast, place *client)
{
    const blitz_fast_route *route = client->route;
    bool may_retry = route->per_try > 0 && (route->first_byte <= 0 || route->per_try < route->first_byte);
    fast_set_deadline(fast, client, BLITZ_WAIT_FIRST_BYTE, may_retry ? route->per_try : route->first_byte);
}

void fast_set_idle_deadline(blitz_fast_path *fast, place *client)
{
    fast_set_deadline(fast, client, BLITZ_WAIT_HEAD, client->served ? fast->face.keepalive : fast->face.first_request);
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

void fast_remove_client(blitz_fast_path *fast, place *client)
{
    int32_t last = fast->clients[--fast->face.clients];
    fast->clients[client->at] = last;
    fast->places[last].at = client->at;
    client->kind = PLACE_LEFT;
    fast_forget_client(client);
    if (fast->places[last].deadline < fast->earliest)     /* a look that is under way may have passed its place */
        fast->earliest = fast->places[last].deadline;
}

int blitz_fast_enter(blitz_fast_path *fast, int fd, blitz_tls *tls, const blitz_peer *peer,
                     const blitz_write_options *options, int ask, int served, double now)
{
    if (make_place(fast, fd) != 0 || add_client(fast, fd) != 0)
        return ENOMEM;
    place *client = &fast->places[fd];
    *client = (place){.kind = PLACE_CLIENT, .ask = ask != 0, .told_minor = 1, .served = served != 0, .other = -1,
                      .slot = -1, .at = client->at, .generation = fast->face.generation, .tls = tls, .peer = peer,
                      .options = options};
    fast->now = now;
    if (tls == NULL || tls->shaken)
        fast_set_idle_deadline(fast, client);
    else
        fast_set_deadline(fast, client, BLITZ_WAIT_HEAD, 0);
    blitz_link_rest(fast_link(fast, fd));
    int failed = watch(fast, fd, served != 0 || (tls != NULL && tls->shaken));
    if (failed != 0)
        fast_remove_client(fast, client);
    return failed;
}

int blitz_fast_watch_upstream(blitz_fast_path *fast, int fd)
{
    if (make_place(fast, fd) != 0)
        return ENOMEM;
    fast->places[fd] = (place){.kind = PLACE_UPSTREAM, .other = -1, .slot = -1};
    return watch(fast, fd, false);
}

int blitz_fast_watch_elsewhere(blitz_fast_path *fast, int fd)
{
    if (make_place(fast, fd) != 0)
        return ENOMEM;
    bool is_known = fast->places[fd].kind == PLACE_LEFT;
    fast->places[fd] = (place){.kind = PLACE_ELSEWHERE, .other = -1, .slot = -1};
    return watch(fast, fd, is_known);
}

void blitz_fast_rest(blitz_fast_path *fast, int fd, int resting) { fast->places[fd].resting = resting != 0; }
