/* head_write.c: a head as it goes out, with the first part of its body, into one buffer.
 *
 * Invariant: what is written is exactly one message head in canonical form. Names and values come from
 * the table, where only tokens and field-content can be (head.c, head_scan_body.h); what options add is
 * checked here. Framing is written by us, never copied, and says what options.body says.
 *
 * Left out, both ways (RFC 9110 section 7.6.1): Connection and what belongs to it (Keep-Alive,
 * Proxy-Connection, TE, Trailer, Transfer-Encoding, Upgrade, HTTP2-Settings), and the Proxy-Auth* pair,
 * which is meant for the next hop (sections 11.7.1, 11.7.2) and we are the one it reached. TE: trailers is not
 * passed on because trailers are not. What Connection named has already left the table
 * (head_rules.c), so nothing that was added since can be taken out by it.
 *
 * Fields that stand in the received bytes as "name: value CRLF" are copied in runs: one memcpy for a
 * stretch of neighbours. */
#include "head_scan.h"

#include <string.h>

#define BIT(id) (UINT64_C(1) << (id))

static const uint64_t NEVER_SENT =
    BIT(BLITZ_F_CONNECTION) | BIT(BLITZ_F_KEEP_ALIVE) | BIT(BLITZ_F_PROXY_CONNECTION) | BIT(BLITZ_F_TE) |
    BIT(BLITZ_F_TRAILER) | BIT(BLITZ_F_TRANSFER_ENCODING) | BIT(BLITZ_F_CONTENT_LENGTH) |
    BIT(BLITZ_F_UPGRADE) | BIT(BLITZ_F_PROXY_AUTHENTICATE) | BIT(BLITZ_F_PROXY_AUTHORIZATION) |
    BIT(BLITZ_F_HTTP2_SETTINGS);

/* Longest text of ours in one head: start line punctuation, framing, Connection, chunk framing. */
enum { OWN_TEXT = 256 };

typedef struct {
    uint8_t *at, *end;
    bool full;                  /* something did not fit: at is meaningless */
} output;

static inline void put(output *out, const void *bytes, size_t len)
{
    if (len > (size_t)(out->end - out->at)) {
        out->full = true;
        return;
    }
    memcpy(out->at, bytes, len);
    out->at += len;
}

/* Constant text: the compiler turns these into a few stores. */
#define PUT_TEXT(out, text) put(out, text, sizeof(text) - 1)

static void put_span(output *out, const blitz_head *head, blitz_span span)
{
    if (span.len)
        put(out, blitz_at(head, span), span.len);
}

static void put_decimal(output *out, uint64_t number)
{
    char digits[20];
    size_t at = sizeof digits;
    do {
        digits[--at] = (char)('0' + number % 10);
        number /= 10;
    } while (number);
    put(out, digits + at, sizeof digits - at);
}

static void put_hexadecimal(output *out, uint64_t number)
{
    char digits[16];
    size_t at = sizeof digits;
    do {
        digits[--at] = "0123456789abcdef"[number & 15];
        number >>= 4;
    } while (number);
    put(out, digits + at, sizeof digits - at);
}

static void put_field(output *out, const blitz_head *head, const blitz_field *field)
{
    put_span(out, head, field->name);
    PUT_TEXT(out, ": ");
    put_span(out, head, field->value);
    PUT_TEXT(out, "\r\n");
}

/* ---------------------------------------------------------------- what options may bring */

static bool is_target(const uint8_t *target, size_t len)
{
    return (len == 1 && target[0] == '*') || blitz_is_origin_form(target, len);
}

static bool is_authority(const uint8_t *host, size_t len)
{
    size_t host_len;
    int32_t port;
    return len == 0 || blitz_parse_authority(host, len, &host_len, &port);
}

/* Complete field lines, and none of those that are written here. */
static bool are_field_lines(const uint8_t *at, size_t len)
{
    const scan_functions *functions = blitz_scan_functions();
    const uint8_t *end = at + len;
    while (at < end) {
        const uint8_t *line_end = functions->content_end(at, end);
        if (end - line_end < 2 || line_end[0] != '\r' || line_end[1] != '\n')
            return false;
        const uint8_t *colon = memchr(at, ':', (size_t)(line_end - at));
        if (!colon || !blitz_is_token(at, (size_t)(colon - at)))
            return false;
        uint8_t id = blitz_field_id(at, (size_t)(colon - at));
        if ((NEVER_SENT | BIT(BLITZ_F_HOST)) & BIT(id))
            return false;
        at = line_end + 2;
    }
    return true;
}

static bool never_has_body(const blitz_head *head)
{
    return head->kind == BLITZ_RESPONSE && blitz_ends_with_head(head->status);
}

static int check_options(const blitz_head *head, const blitz_write_options *options, size_t first_len)
{
    bool request = head->kind == BLITZ_REQUEST;
    if (options->body > BLITZ_BODY_CLOSE || (request && options->body == BLITZ_BODY_CLOSE))
        return BLITZ_E_STATE;
    if (options->body == BLITZ_BODY_NONE ? first_len > 0 : never_has_body(head))
        return BLITZ_E_STATE;
    if (options->body == BLITZ_BODY_LENGTH) {
        if (options->content_length < 0 || first_len > (uint64_t)options->content_length)
            return BLITZ_E_STATE;
        /* An answer of nothing but a head: to HEAD it says the length and brings no byte. */
        bool head_only = !request && first_len == 0;
        if (options->first_is_last && first_len != (uint64_t)options->content_length && !head_only)
            return BLITZ_E_STATE;
    }
    if (request && options->host && !is_authority(options->host, options->host_len))
        return BLITZ_E_SYNTAX;
    if (request && options->target && !is_target(options->target, options->target_len))
        return BLITZ_E_SYNTAX;
    if (options->extra_len && !are_field_lines(options->extra, options->extra_len))
        return BLITZ_E_SYNTAX;
    if (options->date_len && !blitz_is_field_content(options->date, options->date_len))
        return BLITZ_E_SYNTAX;
    return 0;
}

/* ---------------------------------------------------------------- the parts, in their order */

static void put_request_line(output *out, const blitz_head *head, const blitz_write_options *options)
{
    put_span(out, head, head->method);
    PUT_TEXT(out, " ");
    if (options->target)
        put(out, options->target, options->target_len);
    else
        put_span(out, head, head->target);
    PUT_TEXT(out, " HTTP/1.1\r\n");
}

/* The client is told our version, 1.1, whatever the upstream spoke (RFC 9110 section 2.5). */
static void put_status_line(output *out, const blitz_head *head)
{
    char digits[3] = {
        (char)('0' + head->status / 100 % 10),
        (char)('0' + head->status / 10 % 10),
        (char)('0' + head->status % 10),
    };
    PUT_TEXT(out, "HTTP/1.1 ");
    put(out, digits, 3);
    PUT_TEXT(out, " ");
    put_span(out, head, head->reason);
    PUT_TEXT(out, "\r\n");
}

static void put_host(output *out, const uint8_t *host, size_t len)
{
    PUT_TEXT(out, "Host: ");
    if (len)
        put(out, host, len);
    PUT_TEXT(out, "\r\n");
}

/* BLITZ_F_* to leave out, as bits. */
static uint64_t dropped(const blitz_head *head, const blitz_write_options *options)
{
    uint64_t drop = NEVER_SENT;
    if (options->upgrade)
        drop &= ~BIT(BLITZ_F_UPGRADE);
    /* RFC 9110 section 8.6: no Content-Length in 1xx and 204. */
    bool may_say_length = head->kind == BLITZ_RESPONSE && head->status >= 200 && head->status != 204;
    if (options->keep_length && may_say_length && options->body == BLITZ_BODY_NONE)
        drop &= ~BIT(BLITZ_F_CONTENT_LENGTH);
    if (options->strip_expect)
        drop |= BIT(BLITZ_F_EXPECT);
    if (head->kind == BLITZ_REQUEST && options->host)
        drop |= BIT(BLITZ_F_HOST);
    for (size_t i = 0; i < options->n_drop_ids; i++)
        if (options->drop_ids[i] != BLITZ_F_OTHER && options->drop_ids[i] < BLITZ_F_COUNT)
            drop |= BIT(options->drop_ids[i]);
    return drop;
}

/* -> the known fields that were written, as bits. */
static uint64_t put_fields(output *out, const blitz_head *head, uint64_t drop)
{
    uint64_t written = 0;
    uint32_t run = 0, run_end = 0;          /* bytes of base that wait to be copied */
    for (uint32_t i = 0; i < head->n_fields; i++) {
        const blitz_field *field = &head->fields[i];
        if (field->gone || (drop & BIT(field->id)))
            continue;
        written |= BIT(field->id);
        if (field->plain) {
            if (field->name.off != run_end) {
                put(out, head->base + run, run_end - run);
                run = field->name.off;
            }
            run_end = field->value.off + field->value.len + 2;
            continue;
        }
        if (run_end != run)
            put(out, head->base + run, run_end - run);
        run = run_end = 0;
        put_field(out, head, field);
    }
    if (run_end != run)
        put(out, head->base + run, run_end - run);
    return written;
}

/* RFC 9110 section 6.6.1: who has a clock dates what arrived without a date. */
static void put_date(output *out, const blitz_write_options *options)
{
    PUT_TEXT(out, "Date: ");
    put(out, options->date, options->date_len);
    PUT_TEXT(out, "\r\n");
}

static void put_framing(output *out, const blitz_write_options *options)
{
    if (options->body == BLITZ_BODY_CHUNKED) {
        PUT_TEXT(out, "Transfer-Encoding: chunked\r\n");
    } else if (options->body == BLITZ_BODY_LENGTH) {
        PUT_TEXT(out, "Content-Length: ");
        put_decimal(out, (uint64_t)options->content_length);
        PUT_TEXT(out, "\r\n");
    }
}

static void put_connection(output *out, const blitz_write_options *options)
{
    if (options->upgrade)
        PUT_TEXT(out, "Connection: upgrade\r\n");
    else if (options->close || options->body == BLITZ_BODY_CLOSE)
        PUT_TEXT(out, "Connection: close\r\n");
    else if (options->keep_alive_10)
        PUT_TEXT(out, "Connection: keep-alive\r\n");
}

static void put_first_part(output *out, const blitz_write_options *options, const uint8_t *first, size_t len)
{
    if (options->body != BLITZ_BODY_CHUNKED) {
        if (len)
            put(out, first, len);
        return;
    }
    if (len) {                              /* a chunk of no bytes would end the body */
        put_hexadecimal(out, len);
        PUT_TEXT(out, "\r\n");
        put(out, first, len);
        PUT_TEXT(out, "\r\n");
    }
    if (options->first_is_last)
        PUT_TEXT(out, "0\r\n\r\n");
}

int64_t blitz_head_write(const blitz_head *head, const blitz_write_options *options, const uint8_t *first,
                         size_t first_len, uint8_t *dst, size_t cap)
{
    if (!first)
        first_len = 0;
    int result = check_options(head, options, first_len);
    if (result < 0)
        return result;
    output out = {dst, dst + cap, false};
    bool request = head->kind == BLITZ_REQUEST;
    if (request)
        put_request_line(&out, head, options);
    else
        put_status_line(&out, head);
    if (request && options->host)
        put_host(&out, options->host, options->host_len);
    uint64_t written = put_fields(&out, head, dropped(head, options));
    /* An HTTP/1.0 request without Host: RFC 9112 section 3.2 wants one in ours, empty if need be. */
    if (request && !options->host && !(written & BIT(BLITZ_F_HOST)))
        put_host(&out, NULL, 0);
    if (options->date_len && !(written & BIT(BLITZ_F_DATE)))
        put_date(&out, options);
    if (options->extra_len)
        put(&out, options->extra, options->extra_len);
    put_framing(&out, options);
    put_connection(&out, options);
    PUT_TEXT(&out, "\r\n");
    put_first_part(&out, options, first, first_len);
    return out.full ? BLITZ_E_SPACE : out.at - dst;
}

size_t blitz_head_write_bound(const blitz_head *head, const blitz_write_options *options)
{
    size_t size = OWN_TEXT + options->extra_len + options->host_len + options->target_len + options->date_len;
    size += (size_t)head->method.len + head->target.len + head->reason.len;
    for (uint32_t i = 0; i < head->n_fields; i++)
        size += (size_t)head->fields[i].name.len + head->fields[i].value.len + 4;
    return size;
}
