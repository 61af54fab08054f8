/* fast_path_gone.c: clients that reset while somebody works for them.
 *
 * epoll tells of a reset whether or not it was asked for. What it says may be out of date, or be about a descriptor
 * that was another's: the socket itself is asked before anything ends. A client that has ended its sending half only
 * is not gone: it gets its response (RFC 9112 section 9.6).
 */
#include "fast_path_table.h"
#include "measures.h"
#include <errno.h>
#include <poll.h>

bool fast_awaits_upstream(const place *client)
{
    bool waits = client->waiting == BLITZ_WAIT_FIRST_BYTE || client->waiting == BLITZ_WAIT_RESPONSE ||
                 client->waiting == BLITZ_WAIT_SEND_UPSTREAM;
    return waits && client->busy && client->other >= 0;
}

bool fast_is_gone(int fd)
{
    struct pollfd socket = {.fd = fd};           /* errors and hang-ups are told without asking */
    return poll(&socket, 1, 0) > 0 && (socket.revents & (POLLERR | POLLHUP));
}

int fast_end_gone(blitz_fast_path *fast, int fd, blitz_fast_report *report)
{
    const slot *at = &fast->slots[fast->places[fd].slot];
    bool has_begun = at->stream == BLITZ_STREAM_RESPONSE;
    if (has_begun)
        report->line.sent = at->pipe.body.received;
    else
        blitz_exchange_answered_at(at->exchange, fast->event_ns);
    fast_leave_empty(fast, fd, report, BLITZ_FAST_BROKEN);
    if (!has_begun)
        report->line.status = 0;
    report->unfit = report->upstream;
    report->unfit_why = BLITZ_UNFIT_CLOSE;
    report->upstream = -1;
    report->error = ECONNRESET;
    return BLITZ_FAST_BROKEN;
}
