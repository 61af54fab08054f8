/* fast_path_report.c: what Python is told of a client connection, and how one leaves the fast path. */
#include "fast_path_table.h"
#include <string.h>

void fast_begin_report(blitz_fast_report *report, int what, int fd)
{
    *report = (blitz_fast_report){.what = what, .fd = fd, .slot = -1, .upstream = -1, .unfit = -1, .returned = -1,
                                  .answered = BLITZ_ANSWERED_BY_NONE};
}

/* What was asked, and what the access log says of it; sent has been set by whoever sent it. */
void fast_describe(const blitz_fast_path *fast, const place *client, blitz_fast_line *line)
{
    const slot *at = &fast->slots[client->slot];
    line->method = at->method;
    line->target = at->target;
    line->began = at->began;
    line->minor = at->exchange->request->minor;
    line->received = at->streamed ? at->up.body.received : at->body.len;
    line->status = at->exchange->response->status;
    line->plugins_ns = at->exchange->chain.hooks_ns;
    line->upstream_ns = at->exchange->upstream_ns;
    if (!fast->face.logged)
        return;
    line->host = at->host;
    line->user_agent = at->user_agent;
    line->referrer = at->referrer;
    memcpy(line->id, blitz_exchange_id(at->exchange), sizeof line->id);
}

static blitz_text text_of(const blitz_head *head, blitz_span span)
{
    return (blitz_text){blitz_at(head, span), span.len};
}

static blitz_text value_of(const blitz_head *head, const char *name)
{
    int index = blitz_head_find(head, (const uint8_t *)name, strlen(name), 0);
    return index >= 0 ? text_of(head, head->fields[index].value) : (blitz_text){0};
}

/* The request is whole, and no plugin has seen it. */
void fast_remember(const blitz_fast_path *fast, slot *at)
{
    const blitz_head *head = at->exchange->request;
    at->method = text_of(head, head->method);
    at->target = text_of(head, head->target);
    at->began = fast->now;
    at->began_ns = fast->now_ns;
    if (!fast->face.logged)
        return;
    at->host = text_of(head, head->host);
    at->user_agent = value_of(head, "user-agent");
    at->referrer = value_of(head, "referer");
}

void fast_uncount(blitz_fast_path *fast, place *client)
{
    slot *at = &fast->slots[client->slot];
    if (!at->counted)
        return;
    at->counted = 0;
    client->route->in_flight--;
    client->route->cluster->endpoints[client->endpoint]->active--;
    fast->face.in_flight--;
}

/* The client leaves the fast path; its slot goes with the report, its upstream connection too. */
int fast_leave(blitz_fast_path *fast, int fd, blitz_fast_report *report, int what)
{
    place *client = &fast->places[fd];
    blitz_fast_report before = *report;
    fast_begin_report(report, what, fd);
    report->returned = before.returned;
    report->told = before.told;
    report->unfit = before.unfit;
    report->unfit_why = before.unfit_why;
    report->line.sent = before.line.sent;
    if (client->busy)
        fast_describe(fast, client, &report->line);
    report->slot = client->slot;
    report->upstream = client->other;
    report->endpoint = client->endpoint;
    report->route = client->route;
    if (client->busy) {
        slot *at = &fast->slots[client->slot];
        report->began = at->began;
        /* What was streamed is done with; else Python reads the body behind the head. */
        bool is_sent = what == BLITZ_FAST_HEAD_BYTES || (at->streamed && at->counted);
        report->size = is_sent ? at->next : at->head_size;
        report->got = at->got;
        if (at->body.ptr != NULL || at->streamed) {
            fast->told_request = at->up.body;
            fast->told_rate = at->rate;
            report->request_body = &fast->told_request;
            report->rate = &fast->told_rate;
        }
        report->index = (uint32_t)at->exchange->chain.index;
        at->exchange->chain.lines = NULL;        /* nobody takes them in the general path */
        fast_uncount(fast, client);
        if (at->stream != BLITZ_STREAM_NONE)
            fast_tell_stream(fast, at, report);
    }
    report->served = client->served;
    if (client->other >= 0) {
        fast->places[client->other].other = -1;
        fast_want_out(fast, client->other, false);
    }
    fast_remove_client(fast, client);
    return what;
}

/* It leaves, and what it had in a slot is of no use any more. */
int fast_leave_empty(blitz_fast_path *fast, int fd, blitz_fast_report *report, int what)
{
    fast_leave(fast, fd, report, what);
    if (report->slot >= 0) {
        report->told |= (uint8_t)blitz_chain_release(fast->slots[report->slot].exchange);
        blitz_exchange_reset(fast->slots[report->slot].exchange);
        fast_give_slot(fast, report->slot);
        report->slot = -1;
    }
    return what;
}

int fast_unsent_answer(blitz_fast_path *fast, int fd, blitz_fast_report *report, int64_t left, const blitz_io *io)
{
    if (left < 0) {
        fast_leave_empty(fast, fd, report, BLITZ_FAST_BROKEN);
        report->line.status = 0;                 /* the client has been told nothing */
        report->error = io->error;
        return BLITZ_FAST_BROKEN;
    }
    fast_leave_empty(fast, fd, report, BLITZ_FAST_UNSENT);
    report->unsent = fast->scratch.ptr + io->size - left;
    report->n_unsent = (size_t)left;
    report->closes = io->closes;
    return BLITZ_FAST_UNSENT;
}
