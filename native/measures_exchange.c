/* measures_exchange.c: what is counted of each exchange, whoever drove it: its route's figures, and where its time went.
 *
 * Labels are bounded: an unknown method is "other", a status code that has no name is its class, a route's name is the
 * configuration's.
 */
#include "guest.h"
#include "head.h"
#include "measures.h"
#include <stdio.h>
#include <stdlib.h>

enum { KNOWN = 16, CLIENT_GONE = 499 };

struct blitz_route_measures {
    blitz_measures *measures;
    blitz_route_figures figures;
    uint64_t *total, *gateway, *plugins, *upstream, *received, *sent;
    struct { uint32_t is; uint64_t *cell; } known[KNOWN];   /* requests by method and code; is: both, or 0 */
    size_t len;
    uint8_t labels[];                    /* route="NAME" */
};

static uint64_t *series(const blitz_route_measures *route, uint32_t figure, int kind)
{
    return blitz_measures_series(route->measures, figure, kind, route->labels, route->len);
}

blitz_route_measures *blitz_route_measures_new(blitz_measures *measures, const blitz_route_figures *figures,
                                               const uint8_t *labels, size_t len)
{
    blitz_route_measures *route = calloc(1, sizeof *route + len);
    if (route == NULL)
        return NULL;
    route->measures = measures;
    route->figures = *figures;
    route->len = len;
    memcpy(route->labels, labels, len);
    route->total = series(route, figures->total, BLITZ_MEASURE_SECONDS);
    route->gateway = series(route, figures->gateway, BLITZ_MEASURE_SECONDS);
    route->plugins = series(route, figures->plugins, BLITZ_MEASURE_SECONDS);
    route->upstream = series(route, figures->upstream, BLITZ_MEASURE_SECONDS);
    route->received = series(route, figures->received, BLITZ_MEASURE_COUNT);
    route->sent = series(route, figures->sent, BLITZ_MEASURE_COUNT);
    return route;
}

void blitz_route_measures_free(blitz_route_measures *route) { free(route); }

static const char *const METHODS[] = {"other", "GET", "HEAD", "POST", "PUT", "DELETE", "PATCH", "OPTIONS", "TRACE",
                                      "CONNECT"};

static uint32_t method_of(blitz_text method)
{
    for (uint32_t i = 1; i < sizeof METHODS / sizeof *METHODS; i++)
        if (strlen(METHODS[i]) == method.len && memcmp(METHODS[i], method.ptr, method.len) == 0)
            return i;
    return 0;
}

static uint64_t *enter_requests(const blitz_route_measures *route, uint32_t method, uint32_t status)
{
    char labels[64], code[8];
    bool is_named = *blitz_reason(status) != '\0' || status == CLIENT_GONE;
    snprintf(code, sizeof code, is_named ? "%u" : status >= 100 && status < 600 ? "%uxx" : "other",
             is_named ? status : status / 100);
    int more = snprintf(labels, sizeof labels, "%smethod=\"%s\",code=\"%s\"", route->len > 0 ? "," : "", METHODS[method],
                        code);
    size_t len = route->len + (size_t)more;
    uint8_t *all = malloc(len);
    if (all == NULL)
        return NULL;
    memcpy(all, route->labels, route->len);
    memcpy(all + route->len, labels, (size_t)more);
    uint64_t *cell = blitz_measures_series(route->measures, route->figures.requests, BLITZ_MEASURE_COUNT, all, len);
    free(all);
    return cell;
}

static void count_request(blitz_route_measures *route, uint32_t method, uint32_t status)
{
    uint32_t is = method << 16 | (status & 0xffff);
    uint32_t place = (method * 7 + status) % KNOWN;
    if (route->known[place].is != is || route->known[place].cell == NULL) {
        route->known[place].cell = enter_requests(route, method, status);
        route->known[place].is = is;
    }
    if (route->known[place].cell != NULL)
        measures_add(route->known[place].cell, 1);
}

void blitz_route_measure(blitz_route_measures *route, const blitz_measured *measured)
{
    uint64_t spent = measured->plugins_ns + measured->upstream_ns;
    count_request(route, method_of(measured->method), measured->status);
    measures_observe_ns(route->total, measured->total_ns);
    measures_observe_ns(route->gateway, measured->total_ns > spent ? measured->total_ns - spent : 0);
    if (measured->plugins_ns > 0)
        measures_observe_ns(route->plugins, measured->plugins_ns);
    if (measured->upstream_ns > 0)
        measures_observe_ns(route->upstream, measured->upstream_ns);
    measures_add(route->received, measured->received);
    measures_add(route->sent, measured->sent);
}

/* ---------------------------------------------------------------- where the time goes */

void blitz_exchange_ask(blitz_exchange *exchange)
{
    if (exchange->asked_ns != 0)
        return;
    exchange->asked_ns = blitz_monotonic_ns();
    exchange->hooks_before_ns = exchange->chain.hooks_ns;
}

void blitz_exchange_answered_at(blitz_exchange *exchange, uint64_t now_ns)
{
    if (exchange->asked_ns == 0)
        return;
    const blitz_chain *chain = &exchange->chain;
    /* Response hooks that ran meanwhile are no time of the upstream's. */
    uint64_t hooks = chain->hooked_ns <= now_ns ? chain->hooks_ns - exchange->hooks_before_ns : 0;
    uint64_t passed = now_ns > exchange->asked_ns ? now_ns - exchange->asked_ns : 0;
    exchange->upstream_ns += passed > hooks ? passed - hooks : 0;
    exchange->asked_ns = 0;
}

void blitz_exchange_answered(blitz_exchange *exchange)
{
    if (exchange->asked_ns != 0)
        blitz_exchange_answered_at(exchange, blitz_monotonic_ns());
}
