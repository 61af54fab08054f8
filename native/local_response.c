/* local_response.c: a response that the gateway makes itself: its head and its body, in the exchange. */
#include "guest.h"
#include "head.h"
#include <stdlib.h>
#include <string.h>

int blitz_local_response(blitz_exchange *exchange, int status, const uint8_t *kind, size_t kind_len,
                         const uint8_t *body, size_t len)
{
    uint8_t *copy = malloc(len > 0 ? len : 1);
    if (copy == NULL)
        return BLITZ_E_NOMEM;
    if (len > 0)
        memcpy(copy, body, len);
    if (exchange->body.ptr == exchange->new_body.ptr)
        exchange->body = (blitz_text){NULL, 0};
    free((void *)exchange->new_body.ptr);
    exchange->new_body = (blitz_text){copy, len};
    exchange->body_edited = 0;
    int failed = blitz_head_start_response(exchange->response, status, NULL, 0, 1);
    if (failed != 0 || kind_len == 0)
        return failed;
    return blitz_head_add(exchange->response, (const uint8_t *)"content-type", 12, kind, kind_len);
}

void blitz_chain_begin_local_response(blitz_exchange *exchange)
{
    static const uint8_t nothing[1];
    blitz_chain_begin_response(exchange);
    exchange->chain.body_ready = 1;
    exchange->chain.has_parts = blitz_may_get_content(exchange);
    exchange->body = exchange->new_body.ptr != NULL ? exchange->new_body : (blitz_text){nothing, 0};
    exchange->body_truncated = 0;
    exchange->body_edited = 0;
}
