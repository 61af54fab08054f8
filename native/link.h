/* link.h: a client connection as the fast path reads and writes it. Plain: recv and send on its descriptor. */
#ifndef BLITZ_LINK_H
#define BLITZ_LINK_H
#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

typedef struct blitz_tls blitz_tls;

typedef struct {
    int fd;
    blitz_tls *tls;                      /* what encrypts it; NULL: plain, and only then may it be spliced */
} blitz_link;

/* As recv and send on a non-blocking stream socket: bytes moved; 0: end of the stream; -1: errno says why, EAGAIN
 * when it would block. Never EINTR.
 *
 * After a short count of bytes sent, and after EAGAIN, the next send must begin with the very bytes that were not
 * taken: TLS may have encrypted them already. */
ssize_t blitz_link_receive(blitz_link link, uint8_t *bytes, size_t size);
ssize_t blitz_link_send(blitz_link link, const uint8_t *bytes, size_t size);
/* Bytes may be left in the link itself, of which the descriptor will not tell: receive before waiting. */
bool blitz_link_holds_more(blitz_link link);
#endif
