/* fast_path_steps.c: the steps of a short exchange, each one system call and one pass over a head. See fast_path.h.
 *
 * Nothing here decides anything that the general path would decide otherwise.
 */
#include "fast_path.h"
#include <errno.h>
#include <string.h>
#include <sys/socket.h>

static blitz_link plain(int fd) { return (blitz_link){fd, NULL}; }

static int64_t receive(blitz_link link, blitz_space buf, blitz_io *io)
{
    ssize_t got = blitz_link_receive(link, buf.ptr, buf.size);
    io->got = got > 0 ? (size_t)got : 0;
    io->is_short = false;
    io->error = got < 0 ? errno : 0;
    if (got > 0)
        return got;
    if (got == 0)
        return BLITZ_IO_EOF;
    return errno == EAGAIN || errno == EWOULDBLOCK ? BLITZ_IO_AGAIN : BLITZ_IO_ERROR;
}

/* Send size bytes; -> how many are left. */
static int64_t send_all(blitz_link link, const uint8_t *bytes, size_t size, blitz_io *io)
{
    ssize_t sent = blitz_link_send(link, bytes, size);
    io->size = size;
    if (sent >= 0)
        return (int64_t)(size - (size_t)sent);
    if (errno == EAGAIN || errno == EWOULDBLOCK)
        return (int64_t)size;
    io->error = errno;
    return BLITZ_IO_ERROR;
}

/* OPTIONS and TRACE count hops (RFC 9110 section 7.6.2). */
static bool counts_hops(const blitz_head *head)
{
    uint8_t first = head->method.len > 0 ? *blitz_at(head, head->method) : 0;
    return first == 'O' || first == 'T';
}

bool blitz_fast_stays(const blitz_fast_route *route, const blitz_head *request)
{
    if (route->alone || route->paths == NULL)
        return route->alone;
    return blitz_path_stays(route->paths, route->tree, route->value, blitz_at(request, request->target),
                            request->target.len);
}

int64_t blitz_step_receive_request(blitz_link link, blitz_space buf, blitz_head *head, const blitz_head_limits *limits,
                                   int64_t max_body, blitz_io *io)
{
    io->body = 0;
    int64_t got = receive(link, buf, io);
    if (got < 0)
        return got;
    int64_t size = blitz_scan_request(head, buf.ptr, (size_t)got, 0, limits);
    if (size <= 0)
        return 0;
    int64_t body = head->body == BLITZ_BODY_LENGTH ? head->content_length : 0;
    io->is_short = body == got - size && head->minor == 1 && head->body <= BLITZ_BODY_LENGTH &&
                   head->flags == BLITZ_HEAD_KEEP_ALIVE && !counts_hops(head) && (max_body == 0 || body <= max_body);
    if (io->is_short)
        io->body = (size_t)body;
    return size;
}

int64_t blitz_step_send_request(int fd, const blitz_head *head, const blitz_text *body,
                                const blitz_write_options *options, blitz_space scratch, blitz_io *io)
{
    blitz_write_options with_body;
    if (body != NULL) {
        with_body = *options;
        with_body.body = BLITZ_BODY_LENGTH;
        with_body.content_length = (int64_t)body->len;
        with_body.first_is_last = 1;
        options = &with_body;
    }
    int64_t size = blitz_head_write(head, options, body != NULL ? body->ptr : NULL, body != NULL ? body->len : 0,
                                    scratch.ptr, scratch.size);
    if (size < 0)
        return BLITZ_IO_ODD;
    /* Data nobody asked for, the end, or an error: only silence is clean. The look comes last, because what
     * arrives between it and the request is taken for the answer. */
    uint8_t byte;
    ssize_t ahead = recv(fd, &byte, 1, MSG_DONTWAIT | MSG_PEEK);
    if (ahead >= 0 || (errno != EAGAIN && errno != EWOULDBLOCK))
        return BLITZ_IO_STALE;
    return send_all(plain(fd), scratch.ptr, (size_t)size, io);
}

int64_t blitz_step_receive_response(int fd, blitz_space buf, blitz_exchange *exchange,
                                    const blitz_head_limits *limits, blitz_io *io)
{
    int64_t got = receive(plain(fd), buf, io);
    if (got < 0)
        return got;
    blitz_head *response = exchange->response, *request = exchange->request;
    blitz_head_reset(response, BLITZ_RESPONSE);
    int64_t size = blitz_scan_response(response, buf.ptr, (size_t)got, 0, limits,
                                       blitz_at(request, request->method), request->method.len);
    if (size <= 0)
        return 0;
    int64_t body = response->body == BLITZ_BODY_LENGTH ? response->content_length : 0;
    io->is_short = response->status >= 200 && (response->flags & BLITZ_HEAD_KEEP_ALIVE) &&
                   (response->body == BLITZ_BODY_LENGTH || response->body == BLITZ_BODY_NONE) &&
                   body == got - size;
    return size;
}

int64_t blitz_step_answer(blitz_link link, const blitz_exchange *exchange, blitz_text body, blitz_text date,
                          blitz_space scratch, blitz_io *io)
{
    const blitz_head *response = exchange->response;
    /* Plugins may have made it a response without content, or one that could have some of one that has none. */
    bool contentless = response->status == 204 || response->status == 205 || response->status == 304;
    if (exchange->chain.is_response && (response->body == BLITZ_BODY_NONE || contentless))
        return BLITZ_IO_ODD;
    blitz_write_options options = {
        .body = response->body,
        .content_length = response->content_length,
        .keep_length = response->body == BLITZ_BODY_NONE,
        .first_is_last = 1,
        .date = date.ptr,
        .date_len = date.len,
    };
    int64_t size = blitz_head_write(response, &options, body.ptr, body.len, scratch.ptr, scratch.size);
    return size < 0 ? BLITZ_IO_ODD : send_all(link, scratch.ptr, (size_t)size, io);
}

int64_t blitz_step_answer_of_plugin(blitz_link link, const blitz_exchange *exchange, blitz_text date, blitz_space scratch,
                                    blitz_io *io)
{
    const blitz_head *response = exchange->response, *request = exchange->request;
    bool bodiless = response->status == 204 || response->status == 304;
    bool head_only = request->method.len == 4 && memcmp(blitz_at(request, request->method), "HEAD", 4) == 0;
    size_t len = bodiless ? 0 : exchange->new_body.len;
    blitz_write_options options = {
        .body = bodiless ? BLITZ_BODY_NONE : BLITZ_BODY_LENGTH,
        .content_length = (int64_t)len,
        .first_is_last = 1,
        .date = date.ptr,
        .date_len = date.len,
    };
    io->body = head_only ? 0 : len;
    int64_t size = blitz_head_write(response, &options, exchange->new_body.ptr, io->body, scratch.ptr, scratch.size);
    return size < 0 ? BLITZ_IO_ODD : send_all(link, scratch.ptr, (size_t)size, io);
}
