/* idle_connections.c: the idle connections to one endpoint.
 *
 * The last used one goes first, so that those that are not needed age and are closed; but not before it has been
 * quiet for a moment. An upstream that sends a second answer behind the first (by its own fault, or because a
 * client tricked it) is found out while that connection rests; used at once, it would give that answer to
 * somebody else's request. Where none has rested for so long, the one that has for longest goes.
 *
 * None becomes older than max_age, however busy it is: a name that moved, or a balancer behind an address that did,
 * is followed by new connections. The age is looked at when one comes back and when it is taken. */
#include "fast_path.h"
#include <math.h>
#include <stdlib.h>
#include <string.h>

static const double QUIET = 0.05;        /* seconds */

blitz_endpoint *blitz_endpoint_new(uint32_t most, double idle_timeout, double max_age)
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
    endpoint->max_age = max_age > 0 ? max_age : INFINITY;
    endpoint->weight = 1;
    endpoint->fails_until = endpoint->back_since = -INFINITY;
    return endpoint;
}

void blitz_endpoint_free(blitz_endpoint *endpoint)
{
    if (endpoint == NULL)
        return;
    free(endpoint->idle);
    free(endpoint);
}

static bool is_stale(const blitz_endpoint *endpoint, const blitz_idle *one, double now)
{
    return now - one->since >= endpoint->idle_timeout || now - one->born >= endpoint->max_age;
}

int blitz_endpoint_give(blitz_endpoint *endpoint, int fd, double born, double now)
{
    if (endpoint->n >= endpoint->most || now - born >= endpoint->max_age)
        return BLITZ_E_LIMIT;
    endpoint->idle[endpoint->n++] = (blitz_idle){fd, now, born};
    return 0;
}

static blitz_idle take_out(blitz_endpoint *endpoint, uint32_t at)
{
    blitz_idle taken = endpoint->idle[at];
    memmove(endpoint->idle + at, endpoint->idle + at + 1, (--endpoint->n - at) * sizeof taken);
    return taken;
}

int blitz_endpoint_take(blitz_endpoint *endpoint, double now, blitz_taken *out)
{
    if (endpoint->n == 0)
        return -1;
    uint32_t rested = 0;                 /* so many of them, from the front: they are in order */
    if (now - endpoint->idle[0].since >= QUIET)
        for (rested = endpoint->n; now - endpoint->idle[rested - 1].since < QUIET;)
            rested--;
    blitz_idle taken = take_out(endpoint, rested > 0 ? rested - 1 : 0);
    *out = (blitz_taken){taken.born, is_stale(endpoint, &taken, now)};
    return taken.fd;
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
    for (uint32_t at = 0; at < endpoint->n; at++)
        if (is_stale(endpoint, &endpoint->idle[at], now))
            return take_out(endpoint, at).fd;
    return -1;
}
