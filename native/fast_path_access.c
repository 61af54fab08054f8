/* fast_path_access.c: the facts of an exchange of the fast path, for the access log and for the figures of its route.
 * access_line.c writes the line, measures_exchange.c counts. */
#include "fast_path_table.h"
#include <time.h>

static double wall_clock(void)
{
    struct timespec now;
    clock_gettime(CLOCK_REALTIME, &now);
    return (double)now.tv_sec + (double)now.tv_nsec * 1e-9;
}

static uint64_t received(const slot *at) { return at->streamed ? at->up.body.received : at->body.len; }

void fast_measure(const blitz_fast_path *fast, const place *client, size_t sent, uint64_t took_ns)
{
    const slot *at = &fast->slots[client->slot];
    if (client->route == NULL || client->route->measures == NULL)
        return;
    blitz_measured measured = {
        .method = at->method,
        .status = at->exchange->response->status,
        .total_ns = took_ns,
        .plugins_ns = at->exchange->chain.hooks_ns,
        .upstream_ns = at->exchange->upstream_ns,
        .received = received(at),
        .sent = sent,
    };
    blitz_route_measure(client->route->measures, &measured);
}

bool fast_log(const blitz_fast_path *fast, const place *client, size_t sent, uint64_t took_ns)
{
    const slot *at = &fast->slots[client->slot];
    blitz_exchange *exchange = at->exchange;
    const blitz_fast_route *route = client->route;
    static const char identity[] = "identity";
    double duration = (double)took_ns * 1e-9;
    blitz_access_record record = {
        .time = wall_clock() - duration,
        .duration = duration,
        .method = at->method,
        .target = at->target,
        .host = at->host,
        .user_agent = at->user_agent,
        .referrer = at->referrer,
        .id = {blitz_exchange_id(exchange), sizeof exchange->id},
        .client = client->peer->address,
        .http = {(const uint8_t *)(exchange->request->minor ? "1.1" : "1.0"), 3},
        .scheme = client->peer->client_scheme,
        .route = route->name,
        .identity = blitz_exchange_fact(exchange, (blitz_text){(const uint8_t *)identity, sizeof identity - 1}),
        .received = received(at),
        .sent = sent,
        .status = exchange->response->status,
    };
    if (at->is_local && at->answered >= 0) {
        record.plugin = exchange->chain.pools[at->answered]->name;
    } else if (route->cluster != NULL) {
        record.upstream = route->cluster->endpoints[client->endpoint]->name;
        record.tries = 1;
    }
    return blitz_access_log_add(fast->face.access_log, &record);
}
