/* exchange.c: what a guest can see of one request and its response. */
#include "edits.h"
#include "guest.h"
#include "head.h"
#include <stdlib.h>
#include <string.h>

blitz_exchange *blitz_exchange_new(void)
{
    blitz_exchange *exchange = calloc(1, sizeof *exchange);
    if (exchange == NULL)
        return NULL;
    exchange->request = blitz_head_new();
    exchange->response = blitz_head_new();
    exchange->edits = blitz_edits_new();
    if (exchange->request == NULL || exchange->response == NULL || exchange->edits == NULL) {
        blitz_exchange_free(exchange);
        return NULL;
    }
    return exchange;
}

void blitz_exchange_free(blitz_exchange *exchange)
{
    if (exchange == NULL)
        return;
    free((void *)exchange->new_body.ptr);
    blitz_head_free(exchange->request);
    blitz_head_free(exchange->response);
    blitz_edits_free(exchange->edits);
    free(exchange->chain.held);
    free(exchange->chain.passes);
    free(exchange);
}

void blitz_exchange_reset(blitz_exchange *exchange)
{
    free((void *)exchange->new_body.ptr);
    blitz_head_reset(exchange->request, BLITZ_REQUEST);
    blitz_head_reset(exchange->response, BLITZ_RESPONSE);
    blitz_edits_clear(exchange->edits);
    blitz_exchange fresh = {.request = exchange->request, .response = exchange->response, .edits = exchange->edits};
    fresh.chain.held = exchange->chain.held;
    fresh.chain.passes = exchange->chain.passes;
    fresh.chain.n_held = exchange->chain.n_held;
    *exchange = fresh;
}

const uint8_t *blitz_exchange_id(blitz_exchange *exchange)
{
    static const char digits[] = "0123456789abcdef";
    uint8_t random[16];
    if (exchange->request_id.ptr == NULL && blitz_random(random, sizeof random) == 0) {
        for (size_t i = 0; i < sizeof random; i++) {
            exchange->id[2 * i] = (uint8_t)digits[random[i] >> 4];
            exchange->id[2 * i + 1] = (uint8_t)digits[random[i] & 15];
        }
        exchange->request_id = (blitz_text){exchange->id, sizeof exchange->id};
    }
    return exchange->id;
}

int blitz_exchange_tell_id(blitz_exchange *exchange, const uint8_t *field, size_t len)
{
    blitz_head_remove_spellings(exchange->request, field, len);
    return blitz_head_set(exchange->request, field, len, blitz_exchange_id(exchange), sizeof exchange->id);
}

blitz_text blitz_exchange_fact(const blitz_exchange *exchange, blitz_text name)
{
    for (uint32_t i = 0; i < exchange->n_facts; i++) {
        const blitz_fact *fact = &exchange->facts[i];
        if (fact->name.len == name.len && memcmp(fact->name.ptr, name.ptr, name.len) == 0)
            return fact->value;
    }
    return (blitz_text){NULL, 0};
}

blitz_text blitz_exchange_path(blitz_exchange *exchange)
{
    blitz_head *request = exchange->request;
    blitz_span target = request->target, known = exchange->canonical_of;
    if (target.len == 0)
        return (blitz_text){(const uint8_t *)"", 0};
    if (target.off != known.off || target.len != known.len) {
        blitz_text text = {blitz_at(request, target), target.len};
        const uint8_t *query = text.len > 0 ? memchr(text.ptr, '?', text.len) : NULL;
        blitz_span path;
        if (query != NULL)
            text.len = (size_t)(query - text.ptr);
        if (blitz_head_store(request, text.ptr, text.len, &path) != 0)
            return (blitz_text){NULL, 0};
        uint8_t *at = request->arena + (path.off & ~(uint32_t)BLITZ_ARENA);
        path.len = (uint32_t)blitz_path_canonical(at, at, path.len);
        exchange->canonical = path;
        exchange->canonical_of = target;
    }
    return (blitz_text){blitz_at(request, exchange->canonical), exchange->canonical.len};
}
