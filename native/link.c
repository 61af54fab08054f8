/* link.c: receive and send of a client connection. See link.h. */
#include "link.h"
#include <errno.h>
#include <sys/socket.h>

ssize_t blitz_link_receive(blitz_link link, uint8_t *bytes, size_t size)
{
    ssize_t got;
    do
        got = recv(link.fd, bytes, size, MSG_DONTWAIT);
    while (got < 0 && errno == EINTR);
    return got;
}

ssize_t blitz_link_send(blitz_link link, const uint8_t *bytes, size_t size)
{
    ssize_t sent;
    do
        sent = send(link.fd, bytes, size, MSG_DONTWAIT | MSG_NOSIGNAL);
    while (sent < 0 && errno == EINTR);
    return sent;
}

bool blitz_link_holds_more(blitz_link link)
{
    (void)link;
    return false;
}
