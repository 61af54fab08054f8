/* body_pipe.h: one direction of a body, without sockets. body_pipe.c says what it is. */
#ifndef BLITZ_BODY_PIPE_H
#define BLITZ_BODY_PIPE_H
#include "blitz_native.h"
#include <stdbool.h>

/* A body on its way from one side to the other: what came is decoded, framed anew, and waits to be sent. */
typedef struct {
    blitz_body body;                     /* as it comes in */
    uint8_t chunked;                     /* it goes out in chunked coding, whatever it came in */
    uint8_t *part;                       /* what is unsent lies in it; NULL: nothing is */
    size_t start, end;                   /* of what is unsent */
    uint8_t borrowed;                    /* the part is somebody else's, who gives it back */
    uint8_t *ahead; size_t n_ahead;      /* what came behind the end of the body; borrowed from the part */
} blitz_pipe;

/* A part has room for the coding around its data: bytes are received at part + BLITZ_PART_HEADROOM. */
enum { BLITZ_PART_SIZE = 128 * 1024, BLITZ_PART_ROOM = BLITZ_PART_SIZE + BLITZ_PART_HEADROOM + BLITZ_PART_TAILROOM };

/* got bytes have come at part + BLITZ_PART_HEADROOM (0: the sender closed its side): pipe->start..end of the part are
 * to be sent; none, when they were no data. -> 0, or BLITZ_BODY_*: nothing is to be sent. */
int blitz_pipe_fill(blitz_pipe *pipe, uint8_t *part, size_t got);
/* How many bytes may be received at once: not beyond the end of a body that says where it is, or one byte, to see
 * whether there is any. */
static inline size_t blitz_pipe_room(const blitz_pipe *pipe, bool beyond)
{
    int64_t left = pipe->body.remaining;
    return left >= 0 && left < BLITZ_PART_SIZE ? (size_t)left + beyond : BLITZ_PART_SIZE;
}
#endif
