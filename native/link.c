/* link.c: receive and send of a client connection. See link.h. */
#include "link.h"
#include "tls.h"
#include <errno.h>
#include <sys/socket.h>

ssize_t blitz_link_receive(blitz_link link, uint8_t *bytes, size_t size)
{
    if (link.tls != NULL)
        return blitz_tls_receive(link.tls, link.fd, bytes, size);
    ssize_t got;
    do
        got = recv(link.fd, bytes, size, MSG_DONTWAIT);
    while (got < 0 && errno == EINTR);
    return got;
}

ssize_t blitz_link_send(blitz_link link, const uint8_t *bytes, size_t size)
{
    if (link.tls != NULL)
        return blitz_tls_send(link.tls, link.fd, bytes, size);
    ssize_t sent;
    do
        sent = send(link.fd, bytes, size, MSG_DONTWAIT | MSG_NOSIGNAL);
    while (sent < 0 && errno == EINTR);
    return sent;
}

bool blitz_link_holds_more(blitz_link link) { return link.tls != NULL && link.tls->holds_more; }

void blitz_link_rest(blitz_link link)
{
    if (link.tls != NULL)
        blitz_tls_rest(link.tls);
}
