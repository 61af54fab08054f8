/* fast_path.h: what the files of the fast path share. fast_path.c says what it is. */
#ifndef BLITZ_FAST_H
#define BLITZ_FAST_H
#include "guest.h"
#include "head.h"
#include "link.h"

/* The steps of a short exchange between two non-blocking sockets, each with its one system call. What is not
 * short is reported as it stands (is_short 0, or a negative code), for the general path to go on. */
typedef struct {
    size_t got;                          /* bytes received into buf */
    size_t body;                         /* received: of got, the request's body, all of it; sent: of a plugin's answer */
    size_t size;                         /* bytes of the message in scratch; what is unsent is its end */
    int32_t error;                       /* errno of BLITZ_IO_ERROR */
    bool is_short;
} blitz_io;
enum {
    BLITZ_IO_AGAIN = -200,               /* nothing there */
    BLITZ_IO_EOF = -201, BLITZ_IO_ERROR = -202,
    BLITZ_IO_STALE = -203,               /* upstream connection: not quiet, so not to be used; nothing was sent */
    BLITZ_IO_ODD = -204                  /* the message cannot be written this way; nothing was sent */
};
typedef struct { uint8_t *ptr; size_t size; } blitz_space;

/* The plugins have changed path or host: do they still lead to what is protected as the route is? Where that
 * cannot be told here: no. */
bool blitz_fast_stays(const blitz_fast_route *route, const blitz_head *request);
/* recv and scan. -> bytes of the head; 0: io->got bytes are there, and no head was found in them. Short: the
 * connection is kept, and a body is of known length, of max_body bytes at most (0: any), and all here. */
int64_t blitz_step_receive_request(blitz_link link, blitz_space buf, blitz_head *head, const blitz_head_limits *limits,
                                   int64_t max_body, blitz_io *io);
/* Write head and body (NULL: none); is the connection quiet? Then send. -> bytes unsent. */
int64_t blitz_step_send_request(int fd, const blitz_head *head, const blitz_text *body,
                                const blitz_write_options *options, blitz_space scratch, blitz_io *io);
/* As receive_request, for the answer to exchange->request. Short: final, kept alive, all of it here. */
int64_t blitz_step_receive_response(int fd, blitz_space buf, blitz_exchange *exchange,
                                    const blitz_head_limits *limits, blitz_io *io);
/* Write exchange->response and its body (a short answer's), with Date if it has none; send. -> bytes unsent. */
int64_t blitz_step_answer(blitz_link link, const blitz_exchange *exchange, blitz_text body, blitz_text date,
                          blitz_space scratch, blitz_io *io);
/* The same for an answer that a plugin built: exchange->response and new_body. */
int64_t blitz_step_answer_of_plugin(blitz_link link, const blitz_exchange *exchange, blitz_text date, blitz_space scratch,
                                    blitz_io *io);
#endif
