/* fast_path_table.h: what the fast path knows of each descriptor and each exchange, and what its files share.
 *
 *   fast_path_table.c     slots, places (a row per descriptor), what is watched, deadlines
 *   fast_path_report.c    what Python is told
 *   fast_path_exchange.c  the steps of an exchange
 *   fast_path.c           the turn of the event loop
 */
#ifndef BLITZ_FAST_PATH_TABLE_H
#define BLITZ_FAST_PATH_TABLE_H
#include "fast_path.h"
#include <sys/epoll.h>

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
    blitz_tls *tls;                      /* of a client whose link is encrypted; or NULL */
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

static inline blitz_link fast_link(const blitz_fast_path *fast, int fd)
{
    return (blitz_link){fd, fast->places[fd].tls};
}

/* ---------------------------------------------------------------- fast_path_table.c */
void fast_give_slot(blitz_fast_path *fast, int32_t index);
/* Have an event for fd at once if it is readable: an edge that came while nobody wanted it. */
void fast_watch_again(blitz_fast_path *fast, int fd);
/* The wait that begins now may last so long (0: any time), and no longer than the exchange may. */
void fast_set_deadline(blitz_fast_path *fast, place *client, double seconds);
void fast_set_idle_deadline(blitz_fast_path *fast, place *client);
void fast_remove_client(blitz_fast_path *fast, place *client);

/* ---------------------------------------------------------------- fast_path_report.c */
void fast_begin_report(blitz_fast_report *report, int what, int fd);
/* What was asked, and what the access log says of it; sent has been set by whoever sent it. */
void fast_describe(const blitz_fast_path *fast, const place *client, blitz_fast_line *line);
/* The request is whole, and no plugin has seen it. */
void fast_remember(slot *at, double now, bool logged);
/* The client leaves the fast path; its slot goes with the report, its upstream connection too. -> what */
int fast_leave(blitz_fast_path *fast, int fd, blitz_fast_report *report, int what);
/* It leaves, and what it had in a slot is of no use any more. */
int fast_leave_empty(blitz_fast_path *fast, int fd, blitz_fast_report *report, int what);
/* It leaves with left bytes of its answer unsent, at the end of scratch; or (negative) they cannot be sent. */
int fast_unsent_answer(blitz_fast_path *fast, int fd, blitz_fast_report *report, int64_t left, const blitz_io *io);

/* ---------------------------------------------------------------- fast_path_exchange.c
 * Each returns what it reports. */
int fast_receive_request(blitz_fast_path *fast, int fd, blitz_fast_report *report);
int fast_receive_response(blitz_fast_path *fast, int upstream, blitz_fast_report *report);
/* The plugins of the route, then the upstream. */
int fast_ask(blitz_fast_path *fast, int fd, blitz_fast_report *report);
/* The request hooks, or the response hooks, have come to a step. */
int fast_go_through(blitz_fast_path *fast, int fd, blitz_fast_report *report, int step);
int fast_respond(blitz_fast_path *fast, int fd, blitz_fast_report *report, int step);
#endif
