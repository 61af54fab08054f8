/* fast_path_table.h: what the fast path knows of each descriptor and each exchange, and what its files share.
 *
 *   fast_path_table.c     slots, places (a row per descriptor), what is watched, deadlines
 *   fast_path_report.c    what Python is told
 *   fast_path_client.c    the client behind a trusted proxy
 *   fast_path_access.c    lines of the access log, figures
 *   fast_path_exchange.c  the steps of an exchange, up to its upstream
 *   fast_path_response.c  those of the way back
 *   fast_path_local.c     responses of our own
 *   fast_path_stream.c    bodies that take more than one read
 *   fast_path_collect.c   those of them that plugins see
 *   fast_path_gone.c      clients that reset while somebody works for them
 *   fast_path.c           the turn of the event loop
 */
#ifndef BLITZ_FAST_PATH_TABLE_H
#define BLITZ_FAST_PATH_TABLE_H
#include "body_pipe.h"
#include "fast_path.h"
#include <sys/epoll.h>

enum { EVENTS = 64 };                    /* taken at once */
/* A turn looks again as long as it finds something, but no longer than this: others wait for their turn. */
static const uint64_t TURN_NS = 500000;
/* LEFT: a client that is in the epoll set, unless it was closed since; ELSEWHERE: one whose exchange runs in Python, and of
 * which only a reset is of interest. */
enum { PLACE_NONE, PLACE_CLIENT, PLACE_UPSTREAM, PLACE_LEFT, PLACE_ELSEWHERE };
static const uint32_t WATCHED = EPOLLIN | EPOLLRDHUP | EPOLLET;

typedef struct {
    uint8_t *buf;
    size_t size;
    blitz_exchange *exchange;
    blitz_text method, target;           /* as they came, whatever plugins do: a scanned head is all in buf */
    blitz_text host, user_agent, referrer;   /* the same, if the access log wants them */
    blitz_text body;                     /* of the request, if it came whole; ptr NULL: it has none, or is streamed */
    blitz_pipe up;                       /* of the request's body */
    blitz_rate rate;                     /* what its sender owes */
    uint8_t streamed;                    /* the request's body did not come whole, or is chunked */
    uint8_t collects;                    /* plugins wait until it is */
    size_t tracked;                      /* so far, of buf, it was seen to go on */
    size_t head_size;
    size_t next, got;                    /* what came behind the request is in buf from next to got */
    double began;
    uint64_t began_ns;                   /* the same on the system's monotonic clock */
    size_t answer_size, answer_got;      /* bytes in the answer buffer, while response hooks are run */
    uint8_t is_local;                    /* the response is our own */
    int32_t answered;                    /* as in reports */
    blitz_pipe pipe;                     /* of the response's body */
    uint8_t stream;                      /* BLITZ_STREAM_* */
    uint8_t unfit;                       /* the upstream has not ended its response as it should: BLITZ_UNFIT_* */
    uint8_t counted;                     /* in in_flight */
    uint8_t closes;                      /* the connection ends with the response, which has begun */
} slot;

typedef struct spare { struct spare *next; } spare;   /* at the front of a part that nobody uses */

typedef struct {                         /* what a descriptor is; one row per descriptor */
    uint8_t kind;                        /* PLACE_* */
    uint8_t busy, look, ask, served;     /* of a client */
    uint8_t told_minor;                  /* of a client: options say to upstreams that it speaks HTTP/1.told_minor */
    uint8_t late;                        /* of a client: its deadline has passed, and something had come by then */
    uint8_t resting;                     /* of an upstream connection: it is idle, and nothing may come on it */
    uint8_t ended;                       /* the end of what it sends was seen: read until there */
    uint8_t gone;                        /* of a client: it seemed to be reset when it did not wait for its upstream */
    uint8_t wants_out;                   /* watched for room to send */
    uint8_t waiting;                     /* of a client: BLITZ_WAIT_* */
    int32_t other;                       /* the upstream connection of a busy client, and the way back; or -1 */
    int32_t slot;                        /* of a busy client; or -1 */
    uint32_t at;                         /* its index in clients */
    uint32_t endpoint;                   /* of the route's cluster, of a busy client with an upstream connection */
    uint32_t generation;
    blitz_fast_route *route;
    blitz_tls *tls;                      /* of a client whose link is encrypted; or NULL */
    const blitz_peer *peer;
    const blitz_write_options *options;
    struct fast_words *words;            /* of a trusted proxy, by which Python found peer and options; or NULL; owned */
    double deadline, born;               /* born: of an upstream connection that the fast path has taken */
    double ends;                         /* of a busy client: its exchange, whatever it waits for */
    int64_t unsent;                      /* of one that waits for a receiver: what that had not acknowledged */
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
    blitz_body told, told_request;       /* of the last report */
    blitz_rate told_rate;
    uint8_t *part;                       /* for bodies that pass at once; or NULL */
    spare *parts;                        /* spare ones */
    uint32_t n_parts;
    double now, earliest;                /* no deadline is before earliest */
    uint64_t now_ns;                     /* the same moment as now */
    uint64_t event_ns;                   /* when the look at the present event began */
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
void fast_set_deadline(blitz_fast_path *fast, place *client, int waiting, double seconds);
/* Have an event when there is room to send, too; or no more. */
void fast_want_out(blitz_fast_path *fast, int fd, bool wanted);
/* The request was sent. */
void fast_await_response(blitz_fast_path *fast, place *client);
void fast_set_idle_deadline(blitz_fast_path *fast, place *client);
void fast_remove_client(blitz_fast_path *fast, place *client);

/* ---------------------------------------------------------------- fast_path_report.c */
void fast_begin_report(blitz_fast_report *report, int what, int fd);
/* What was asked, and what the access log says of it; sent has been set by whoever sent it. */
void fast_describe(const blitz_fast_path *fast, const place *client, blitz_fast_line *line);
/* The request is whole, and no plugin has seen it. */
void fast_remember(const blitz_fast_path *fast, slot *at);
/* The client leaves the fast path; its slot goes with the report, its upstream connection too. -> what */
int fast_leave(blitz_fast_path *fast, int fd, blitz_fast_report *report, int what);
/* Its exchange is in flight no more. */
void fast_uncount(blitz_fast_path *fast, place *client);
/* It leaves, and what it had in a slot is of no use any more. */
int fast_leave_empty(blitz_fast_path *fast, int fd, blitz_fast_report *report, int what);
/* It leaves with left bytes of its answer unsent, at the end of scratch; or (negative) they cannot be sent. */
int fast_unsent_answer(blitz_fast_path *fast, int fd, blitz_fast_report *report, int64_t left, const blitz_io *io);

/* ---------------------------------------------------------------- fast_path_stream.c */
/* The response of which left bytes at unsent could not be sent at once goes on as a stream. -> what it reports */
int fast_begin_response_stream(blitz_fast_path *fast, int fd, blitz_fast_report *report, const uint8_t *unsent,
                               size_t left, bool go_on);
/* The request's body does not lie whole behind its head. */
void fast_begin_request(blitz_fast_path *fast, slot *at);
/* The route bounds the body. False: it is too long already. */
bool fast_bound_request(slot *at, int64_t limit);
/* Head and first part of such a request go to the upstream connection that was taken for the client. */
int fast_stream_request(blitz_fast_path *fast, int fd, blitz_fast_report *report, int upstream,
                        const blitz_write_options *asked);
/* The client may have more of it, or the upstream room; or the time of a wait for either is over. */
int fast_pump_request(blitz_fast_path *fast, int fd, blitz_fast_report *report);
int fast_request_is_late(blitz_fast_path *fast, int fd, blitz_fast_report *report);
/* The wait for more of the request's body, of which received data bytes are here: it begins anew if something came, else
 * goes on. -> 0, or BLITZ_STREAM_SLOW. */
int fast_wait_for_body(blitz_fast_path *fast, place *client, slot *at, uint64_t received, bool came);
/* All of the body is in the slot: size data bytes behind the head, in front of what is from next to got. It lies there as
 * one of known length would, since it may have to be sent once more. */
void fast_make_whole(slot *at, size_t size);
/* A response was read, and its plugins have not been asked: how its body comes in, and how it goes out. */
void fast_begin_response(blitz_fast_path *fast, slot *at);
/* Its body is no body. */
int fast_fail_response(blitz_fast_path *fast, int fd, blitz_fast_report *report, int failed);
/* Its sender may have more, or its receiver room. */
int fast_pump_response(blitz_fast_path *fast, int fd, blitz_fast_report *report);
/* The client of a stream leaves: what is unsent and how far it has come goes with the report, which has begun. */
void fast_tell_stream(blitz_fast_path *fast, slot *at, blitz_fast_report *report);
/* The deadline of a wait for fd to take more has passed: it has acknowledged some since it was looked at last. */
bool fast_takes_some(place *client, int fd);
/* Give spare parts back to the system but for a few. */
void fast_drop_parts(blitz_fast_path *fast, uint32_t most);

/* ---------------------------------------------------------------- fast_path_collect.c
 * The body is still coming, and plugins may see at most limit bytes: can it be waited for here? */
bool fast_may_collect(const slot *at, uint64_t limit);
/* The chain wants it: both return what they report. */
int fast_begin_collecting(blitz_fast_path *fast, int fd, blitz_fast_report *report);
int fast_collect(blitz_fast_path *fast, int fd, blitz_fast_report *report);

/* ---------------------------------------------------------------- fast_path_gone.c
 * Only its upstream can go on with the exchange of client: nothing is received from the client, nor sent to it. */
bool fast_awaits_upstream(const place *client);
/* Its connection was thrown away: nothing that is sent can arrive. Its end alone, or bytes that wait, say no such thing. */
bool fast_is_gone(int fd);
/* The client is gone, and its upstream works for nobody: both leave. */
int fast_end_gone(blitz_fast_path *fast, int fd, blitz_fast_report *report);

/* ---------------------------------------------------------------- fast_path_client.c */
/* Does the trusted proxy say of its client what it said when Python last found that? */
bool fast_is_same_client(const place *client, const blitz_head *request);
/* Python has found peer and options for this request. */
void fast_remember_client(place *client, const blitz_head *request);
void fast_forget_client(place *client);

/* ---------------------------------------------------------------- fast_path_access.c
 * The exchange of client, which took so long, has come to its proper end: write its line. sent: bytes of the response's body. -> the writer
 * has to be woken. */
bool fast_log(const blitz_fast_path *fast, const place *client, size_t sent, uint64_t took_ns);
/* Such an exchange, which took so long, in the figures of its route. */
void fast_measure(const blitz_fast_path *fast, const place *client, size_t sent, uint64_t took_ns);

/* ---------------------------------------------------------------- fast_path_exchange.c
 * Each returns what it reports. */
int fast_shake(blitz_fast_path *fast, int fd, blitz_fast_report *report);
int fast_receive_request(blitz_fast_path *fast, int fd, blitz_fast_report *report);
/* The plugins of the route, behind those that ran before it was chosen, then what it says. */
int fast_ask(blitz_fast_path *fast, int fd, blitz_fast_route *route, blitz_fast_report *report);
/* What plugins made of the body goes on; else they see it as it came, if all is here and no more than limit. */
void fast_lend_body(blitz_exchange *exchange, const slot *at, uint64_t limit);
/* The request hooks have come to a step. */
int fast_go_through(blitz_fast_path *fast, int fd, blitz_fast_report *report, int step);
/* The request was sent to an upstream connection, all of it or as far as it is here. */
void fast_join(blitz_fast_path *fast, int fd, int upstream);

/* The chain has come to a step that is not the fast path's. */
int fast_hand_over(blitz_fast_path *fast, int fd, blitz_fast_report *report, int step);
/* The plugin in hand is content, but has left log lines: they are taken, and the exchange goes on here. */
bool fast_only_logs(const blitz_chain *chain, int step);
int fast_let_logs_be_taken(blitz_fast_path *fast, int fd, blitz_fast_report *report);

/* ---------------------------------------------------------------- fast_path_response.c
 * Each returns what it reports. */
int fast_receive_response(blitz_fast_path *fast, int upstream, blitz_fast_report *report);
/* The response hooks have come to a step. */
int fast_respond(blitz_fast_path *fast, int fd, blitz_fast_report *report, int step);
/* An upstream connection is clean, and nobody's. */
void fast_give_back(blitz_fast_path *fast, blitz_endpoint *endpoint, int upstream, blitz_fast_report *report);
/* The body of the response is complete: its upstream connection is free. */
void fast_release_upstream(blitz_fast_path *fast, int fd, blitz_fast_report *report);
/* The response has gone out: the client waits again, or its connection ends. */
int fast_finish(blitz_fast_path *fast, int fd, blitz_fast_report *report, bool closes);

/* ---------------------------------------------------------------- fast_path_local.c */
/* The route gives the response itself. */
int fast_reply(blitz_fast_path *fast, int fd, blitz_fast_report *report);
/* The exchange has a response of our own; answered as in reports: the response hooks, then the client. */
int fast_respond_locally(blitz_fast_path *fast, int fd, blitz_fast_report *report, int32_t answered);
/* The route's own bounds, who may come, its redirect. -> FAST_PASSES, or what it reports. */
enum { FAST_PASSES = -1 };
int fast_enter_route(blitz_fast_path *fast, int fd, blitz_fast_route *route, blitz_fast_report *report);
/* The same for one that no plugin is asked about, since none has seen the request. */
int fast_respond_without_hooks(blitz_fast_path *fast, int fd, blitz_fast_report *report);
/* Its response hooks have come to a step that is not log lines. */
int fast_responded_locally(blitz_fast_path *fast, int fd, blitz_fast_report *report, int step);
int fast_hand_local_over(blitz_fast_path *fast, int fd, blitz_fast_report *report, int step);
#endif
