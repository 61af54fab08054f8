/* tls.h: receive and send over TLS, for link.c. The contract is that of link.h. */
#ifndef BLITZ_TLS_H
#define BLITZ_TLS_H
#include "blitz_native.h"
#include <stdbool.h>
#include <sys/types.h>

/* Go on with the handshake. 1: it is done; 0: it waits for the peer; -1: it failed: errno, and tls->error. */
int blitz_tls_shake(blitz_tls *tls, int fd);
ssize_t blitz_tls_receive(blitz_tls *tls, int fd, uint8_t *bytes, size_t size);
ssize_t blitz_tls_send(blitz_tls *tls, int fd, const uint8_t *bytes, size_t size);
#endif
