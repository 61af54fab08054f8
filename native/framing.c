/* framing.c: how a response is framed for the client that gets it, and whether the client's connection stays.
 *
 * Both drivers ask here, for responses that are passed on and for those that the gateway makes itself.
 *
 *   Status 204 and 304 end with their head (RFC 9112 section 6.3). 205 has no content either, and says so in its
 *     length (RFC 9110 section 15.3.6). Plugins may set the status: what was the body is then not sent, and a
 *     response that may have content now where it had none says that it is empty.
 *   A response to HEAD brings no byte, and says the length that GET would get (RFC 9110 section 9.3.2).
 *   A body of unknown length is chunked, but for HTTP/1.0, which does not know that: there it ends with the
 *     connection (RFC 9112 section 6.1).
 *   HTTP/1.1 stays unless told otherwise, HTTP/1.0 only where the client asks for it and is told so (RFC 9112
 *     sections 9.3 and C.2.2).
 */
#include "head.h"
#include <string.h>

bool blitz_ends_with_head(uint32_t status) { return status < 200 || status == 204 || status == 304; }

bool blitz_may_have_content(uint32_t status) { return !blitz_ends_with_head(status) && status != 205; }

bool blitz_may_get_content(const blitz_exchange *exchange)
{
    const blitz_head *request = exchange->request;
    bool is_head = request->method.len == 4 && memcmp(blitz_at(request, request->method), "HEAD", 4) == 0;
    return !is_head && blitz_may_have_content(exchange->response->status);
}

static bool is_to_head(const blitz_head *request)
{
    return request->method.len == 4 && memcmp(blitz_at(request, request->method), "HEAD", 4) == 0;
}

static void frame(blitz_write_options *options, const blitz_head *request, uint8_t body, int64_t length, int stays)
{
    body = (uint8_t)blitz_body_framing(body, request->minor);
    options->body = body;
    options->content_length = length;
    options->close = !stays || body == BLITZ_BODY_CLOSE || !(request->flags & BLITZ_HEAD_KEEP_ALIVE);
    options->keep_alive_10 = !options->close && request->minor == 0;
    options->keep_length = body == BLITZ_BODY_NONE;
    options->first_is_last = 0;
    options->upgrade = 0;
}

int blitz_frame_response(blitz_write_options *options, const blitz_head *request, const blitz_head *response,
                         int stays)
{
    bool has_content = response->body != BLITZ_BODY_NONE && blitz_may_have_content(response->status);
    uint8_t body = response->body;
    int64_t length = response->content_length;
    if (blitz_ends_with_head(response->status)) {
        body = BLITZ_BODY_NONE;
    } else if (!has_content && !is_to_head(request)) {
        body = BLITZ_BODY_LENGTH;
        length = 0;
    }
    frame(options, request, body, length, stays);
    return has_content;
}

size_t blitz_frame_local_response(blitz_write_options *options, const blitz_head *request, const blitz_head *response,
                                  size_t size, int stays)
{
    if (!blitz_may_have_content(response->status))
        size = 0;
    uint8_t body = blitz_ends_with_head(response->status) ? BLITZ_BODY_NONE : BLITZ_BODY_LENGTH;
    frame(options, request, body, (int64_t)size, stays);
    options->first_is_last = 1;
    return is_to_head(request) ? 0 : size;
}
