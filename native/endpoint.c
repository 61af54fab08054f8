/* endpoint.c: the idle connections to one endpoint, and whose turn it is of several endpoints.
 *
 * The last used one goes first, so that those that are not needed age and are closed; but not before it has been
 * quiet for a moment. An upstream that sends a second answer behind the first (by its own fault, or because a
 * client tricked it) is found out while that connection rests; used at once, it would give that answer to
 * somebody else's request. Where none has rested for so long, the one that has for longest goes. */
#include "lane.h"
#include <stdlib.h>
#include <string.h>

static const double QUIET = 0.05;        /* seconds */

blitz_endpoint *blitz_endpoint_new(uint32_t most, double idle_timeout)
{
    blitz_endpoint *endpoint = calloc(1, sizeof *endpoint);
    blitz_idle *idle = calloc(most > 0 ? most : 1, sizeof *idle);
    if (endpoint == NULL || idle == NULL) {
        free(endpoint);
        free(idle);
        return NULL;
    }
    endpoint->idle = idle;
    endpoint->most = most;
    endpoint->idle_timeout = idle_timeout;
    return endpoint;
}

void blitz_endpoint_free(blitz_endpoint *endpoint)
{
    if (endpoint == NULL)
        return;
    free(endpoint->idle);
    free(endpoint);
}

int blitz_endpoint_give(blitz_endpoint *endpoint, int fd, double now)
{
    if (endpoint->n >= endpoint->most)
        return BLITZ_E_LIMIT;
    endpoint->idle[endpoint->n++] = (blitz_idle){fd, now};
    return 0;
}

static blitz_idle take_out(blitz_endpoint *endpoint, uint32_t at)
{
    blitz_idle taken = endpoint->idle[at];
    memmove(endpoint->idle + at, endpoint->idle + at + 1, (--endpoint->n - at) * sizeof taken);
    return taken;
}

int blitz_endpoint_take(blitz_endpoint *endpoint, double now, uint8_t *stale)
{
    if (endpoint->n == 0)
        return -1;
    uint32_t rested = 0;                 /* so many of them, from the front: they are in order */
    if (now - endpoint->idle[0].since >= QUIET)
        for (rested = endpoint->n; now - endpoint->idle[rested - 1].since < QUIET;)
            rested--;
    blitz_idle taken = take_out(endpoint, rested > 0 ? rested - 1 : 0);
    *stale = now - taken.since >= endpoint->idle_timeout;
    return taken.fd;
}

uint32_t blitz_cluster_turn(const blitz_cluster *cluster, double now)
{
    uint32_t first = cluster->next % cluster->n;
    for (uint32_t i = 0; i < cluster->n; i++) {
        uint32_t at = (first + i) % cluster->n;
        if (now >= cluster->endpoints[at]->fails_until)
            return at;
    }
    return first;
}

int blitz_endpoint_remove(blitz_endpoint *endpoint, int fd)
{
    for (uint32_t at = endpoint->n; at-- > 0;)
        if (endpoint->idle[at].fd == fd) {
            take_out(endpoint, at);
            return 0;
        }
    return BLITZ_E_STATE;
}

int blitz_endpoint_expire(blitz_endpoint *endpoint, double now)
{
    if (endpoint->n == 0 || now - endpoint->idle[0].since < endpoint->idle_timeout)
        return -1;
    return take_out(endpoint, 0).fd;
}
