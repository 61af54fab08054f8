/* tls.h: receive and send over TLS, for link.c. The contract is that of link.h. */
#ifndef BLITZ_TLS_H
#define BLITZ_TLS_H
#include "blitz_native.h"
#include <stdbool.h>
#include <sys/types.h>

ssize_t blitz_tls_receive(blitz_tls *tls, int fd, uint8_t *bytes, size_t size);
ssize_t blitz_tls_send(blitz_tls *tls, int fd, const uint8_t *bytes, size_t size);
#endif
