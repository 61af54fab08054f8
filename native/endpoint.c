/* endpoint.c: the idle connections to one endpoint, the last used first: the others age, and are closed. */
#include "lane.h"
#include <stdlib.h>
#include <string.h>

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

int blitz_endpoint_take(blitz_endpoint *endpoint, double now, uint8_t *stale)
{
    if (endpoint->n == 0)
        return -1;
    blitz_idle last = endpoint->idle[--endpoint->n];
    *stale = now - last.since >= endpoint->idle_timeout;
    return last.fd;
}

int blitz_endpoint_expire(blitz_endpoint *endpoint, double now)
{
    if (endpoint->n == 0 || now - endpoint->idle[0].since < endpoint->idle_timeout)
        return -1;
    int fd = endpoint->idle[0].fd;
    memmove(endpoint->idle, endpoint->idle + 1, --endpoint->n * sizeof *endpoint->idle);
    return fd;
}
