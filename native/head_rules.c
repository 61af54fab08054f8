/* head_rules.c: what a complete head means, and whether it may mean anything at all.
 *
 * One place for heads from either producer. The rules are those of a proxy that rewrites every message
 * (RFC 9110 section 7, RFC 9112 sections 3, 6 and 9). Where respected servers differ we take the
 * strictest reading that no honest peer trips over:
 *
 *   Content-Length and Transfer-Encoding together, in either direction: refused (RFC 9112 section 6.3
 *     allows preferring chunked, as h11 does; nginx refuses; HAProxy drops Content-Length).
 *   Content-Length: one field, one decimal without sign, list or space, of at most 19 digits and 2^63-1;
 *     leading zeros are legal (RFC 9110 section 8.6) and leave the table here. The section also allows
 *     repeated equal values; nginx refuses them, and so do we.
 *   Transfer-Encoding: one field, exactly "chunked" (any case), never in HTTP/1.0 (RFC 9112 section
 *     6.1: a fault; nginx and Envoy refuse, HAProxy passes).
 *   Content of GET, HEAD and DELETE in HTTP/1.0: refused as HAProxy does; old servers never look for
 *     it, so the content would be read as the next request. Content of TRACE: RFC 9110 section 9.3.8.
 *   Version: 1.0 to 1.9; above 1.1 it means 1.1 (RFC 9110 section 2.5), as nginx, HAProxy and h11 have it.
 *   Method: A-Z, '-', '_' (nginx); CONNECT and the HTTP/2 preface are refused.
 *   Host: exactly one in HTTP/1.1, at most one in 1.0, well-formed and not empty.
 *   absolute-form: must name the same authority as Host (HAProxy; RFC 9112 section 3.2.2 would let the
 *     target win silently), is rewritten to origin-form.
 *   Connection: a list of tokens. The fields it names leave the table here, before any plugin sees
 *     them, so that a field that a plugin adds can never be taken out by naming it. Naming framing,
 *     routing or forwarding fields is ignored: they are not the sender's to remove (nginx and HAProxy
 *     never remove named fields, Envoy answers 400 for X-Forwarded-* and removes the others). More than
 *     10 such names are refused (Envoy's bound): each costs a pass over the table.
 *   Names with '_': removed from requests (nginx's default), whatever else is in them: gateway-style
 *     upstreams cannot tell X_User from X-User (look_alike.c). Names that read as Content-Length or
 *     Transfer-Encoding but for their punctuation: refused; as any other field we know: removed.
 *   Singletons (RFC 9110) sent twice in a request: refused, as nginx does with Authorization; a plugin
 *     might judge one while the upstream obeys the other.
 *   Expect: only 100-continue; ignored (and removed) in HTTP/1.0 and without content (section 10.1.1).
 *   Upgrade: a single protocol, not an HTTP version, in HTTP/1.1, named by Connection, without content
 *     (Content-Length: 0 is none: RFC 9110 section 8.6; some WebSocket clients send it).
 *     Otherwise it is no upgrade and the field stays behind (section 7.8 lets a server ignore it), h2c
 *     included: curl --http2 sends it with every first request.
 *   101 must name its protocol; a status must be 100..599 (section 15).
 */
#include "head_rules.h"

static const uint64_t SINGLETONS =
    BIT(BLITZ_F_AUTHORIZATION) | BIT(BLITZ_F_PROXY_AUTHORIZATION) | BIT(BLITZ_F_CONTENT_TYPE) |
    BIT(BLITZ_F_CONTENT_RANGE) | BIT(BLITZ_F_RANGE) | BIT(BLITZ_F_IF_RANGE) |
    BIT(BLITZ_F_IF_MODIFIED_SINCE) | BIT(BLITZ_F_IF_UNMODIFIED_SINCE) | BIT(BLITZ_F_MAX_FORWARDS);

void blitz_head_survey(const blitz_head *head, presence *fields)
{
    fields->seen = fields->many = 0;
    for (uint32_t i = 0; i < head->n_fields; i++) {
        const blitz_field *field = &head->fields[i];
        if (field->id == BLITZ_F_OTHER || field->gone)
            continue;
        fields->many |= fields->seen & BIT(field->id);
        fields->seen |= BIT(field->id);
        fields->at[field->id] = (uint16_t)i;
    }
}

/* ---------------------------------------------------------------- look-alike names */

static int remove_twins(blitz_head *head)
{
    for (uint32_t i = 0; i < head->n_fields; i++) {
        blitz_field *field = &head->fields[i];
        if (field->id != BLITZ_F_OTHER || field->gone)
            continue;
        text name = {blitz_at(head, field->name), field->name.len};
        uint8_t id = blitz_look_alike_id(name.at, name.len);
        if (id == BLITZ_F_CONTENT_LENGTH || id == BLITZ_F_TRANSFER_ENCODING)
            return -BLITZ_BAD_FIELD_NAME;
        if (blitz_is_look_alike(head->kind, name.at, name.len))
            field->gone = 1;
    }
    return 0;
}

/* ---------------------------------------------------------------- framing (RFC 9112 section 6) */

/* -> the length, or -1 when it is not one decimal. */
static int64_t read_length(text value)
{
    if (value.len == 0 || value.len > 19)
        return -1;
    uint64_t number = 0;                    /* 19 digits fit in 64 bits */
    for (size_t i = 0; i < value.len; i++) {
        if (value.at[i] < '0' || value.at[i] > '9')
            return -1;
        number = number * 10 + (uint64_t)(value.at[i] - '0');
    }
    return number <= INT64_MAX ? (int64_t)number : -1;
}

/* "007" means 7, to everyone who reads it from here on. */
static int drop_leading_zeros(blitz_head *head, blitz_field *field)
{
    const uint8_t *digits = blitz_at(head, field->value);
    uint32_t zeros = 0;
    while (zeros + 1 < field->value.len && digits[zeros] == '0')
        zeros++;
    if (zeros == 0)
        return 0;
    field->plain = 0;
    return blitz_head_store(head, digits + zeros, field->value.len - zeros, &field->value);
}

/* body and content_length as the fields say, the message's kind and status aside. */
static int read_framing(blitz_head *head, const presence *fields)
{
    bool length = (fields->seen & BIT(BLITZ_F_CONTENT_LENGTH)) != 0;
    bool coding = (fields->seen & BIT(BLITZ_F_TRANSFER_ENCODING)) != 0;
    if (length && coding)
        return -BLITZ_BAD_FRAMING_BOTH;
    if (coding) {
        if (head->minor == 0)
            return -BLITZ_BAD_TE_IN_10;
        if ((fields->many & BIT(BLITZ_F_TRANSFER_ENCODING)) ||
            !is_word(value_of(head, fields, BLITZ_F_TRANSFER_ENCODING), "chunked"))
            return -BLITZ_BAD_TRANSFER_ENCODING;
        head->body = BLITZ_BODY_CHUNKED;
    } else if (length) {
        int64_t number = read_length(value_of(head, fields, BLITZ_F_CONTENT_LENGTH));
        if ((fields->many & BIT(BLITZ_F_CONTENT_LENGTH)) || number < 0)
            return -BLITZ_BAD_CONTENT_LENGTH;
        head->body = BLITZ_BODY_LENGTH;
        head->content_length = number;
        return drop_leading_zeros(head, &head->fields[fields->at[BLITZ_F_CONTENT_LENGTH]]);
    }
    return 0;
}

/* May content follow the head? A length of 0 says that none does. */
static bool has_content(const blitz_head *head)
{
    return head->body != BLITZ_BODY_NONE && head->content_length != 0;
}

static void no_body(blitz_head *head)
{
    head->body = BLITZ_BODY_NONE;
    head->content_length = -1;
}

/* ---------------------------------------------------------------- Upgrade (RFC 9110 section 7.8) */

static bool is_http_name(text name)
{
    return is_word(name, "h2c") || is_word(name, "h2") || is_word(name, "h3") || is_word(name, "http");
}

/* Is this an upgrade that may go on to the other side? */
static int read_upgrade(blitz_head *head, const presence *fields, const options *connection)
{
    if (!(fields->seen & BIT(BLITZ_F_UPGRADE)))
        return 0;
    text list = value_of(head, fields, BLITZ_F_UPGRADE), protocol;
    bool allowed = !(fields->many & BIT(BLITZ_F_UPGRADE));
    unsigned protocols = 0;
    while (blitz_next_element(&list, &protocol)) {
        const uint8_t *slash = memchr(protocol.at, '/', protocol.len);
        size_t len = slash ? (size_t)(slash - protocol.at) : protocol.len;
        if (!blitz_is_token(protocol.at, len) || (slash && !blitz_is_token(slash + 1, protocol.len - len - 1)))
            return -BLITZ_BAD_UPGRADE;
        allowed &= !is_http_name((text){protocol.at, len});
        protocols++;
    }
    if (allowed && protocols == 1 && connection->upgrade && head->minor >= 1 && !has_content(head))
        head->flags |= BLITZ_HEAD_UPGRADE;
    return 0;
}

/* ---------------------------------------------------------------- requests */

static int check_method(const blitz_head *head)
{
    const uint8_t *method = blitz_at(head, head->method);
    if (method_is(head, "CONNECT"))
        return -BLITZ_BAD_METHOD_CONNECT;
    if (method_is(head, "PRI"))
        return -BLITZ_BAD_H2C;
    for (uint32_t i = 0; i < head->method.len; i++)
        if ((method[i] < 'A' || method[i] > 'Z') && method[i] != '-' && method[i] != '_')
            return -BLITZ_BAD_METHOD;
    return head->method.len ? 0 : -BLITZ_BAD_METHOD;
}

static int check_singletons(const presence *fields)
{
    if (fields->many & SINGLETONS)
        return -BLITZ_BAD_DUPLICATE;
    return 0;
}

static int check_request_body(const blitz_head *head)
{
    if (!has_content(head))
        return 0;
    if (method_is(head, "TRACE"))
        return -BLITZ_BAD_BODY_METHOD;
    if (head->minor == 0 && (method_is(head, "GET") || method_is(head, "HEAD") || method_is(head, "DELETE")))
        return -BLITZ_BAD_BODY_METHOD;
    return 0;
}

static int check_host(blitz_head *head, const presence *fields)
{
    if (!(fields->seen & BIT(BLITZ_F_HOST)))
        return head->minor == 0 ? 0 : -BLITZ_BAD_HOST_MISSING;
    if (fields->many & BIT(BLITZ_F_HOST))
        return -BLITZ_BAD_HOST_MANY;
    size_t host_len;
    int32_t port;
    text host = value_of(head, fields, BLITZ_F_HOST);
    if (!blitz_parse_authority(host.at, host.len, &host_len, &port))
        return -BLITZ_BAD_HOST_SYNTAX;
    head->host = head->fields[fields->at[BLITZ_F_HOST]].value;
    return 0;
}

/* Scheme of an absolute-form: its default port and the bytes through "//"; 0 when it is none. */
static size_t scheme_length(text target, int32_t *default_port)
{
    static const char http[] = "http://", https[] = "https://";
    if (target.len >= 7 && blitz_name_equal(target.at, (const uint8_t *)http, 7)) {
        *default_port = 80;
        return 7;
    }
    if (target.len >= 8 && blitz_name_equal(target.at, (const uint8_t *)https, 8)) {
        *default_port = 443;
        return 8;
    }
    return 0;
}

static bool same_authority(text a, text b, int32_t default_port)
{
    size_t a_len, b_len;
    int32_t a_port, b_port;
    if (!blitz_parse_authority(a.at, a.len, &a_len, &a_port) ||
        !blitz_parse_authority(b.at, b.len, &b_len, &b_port))
        return false;
    a_port = a_port < 0 ? default_port : a_port;
    b_port = b_port < 0 ? default_port : b_port;
    return a_port == b_port && a_len == b_len && blitz_name_equal(a.at, b.at, a_len);
}

/* RFC 9112 section 3.2.2, 3.2.4: the target becomes the origin-form of what was asked for. */
static int store_origin_form(blitz_head *head, blitz_span rest)
{
    if (rest.len && blitz_at(head, rest)[0] == '/') {
        head->target = rest;
        return 0;
    }
    if (rest.len == 0)
        return blitz_head_store(head, (const uint8_t *)(method_is(head, "OPTIONS") ? "*" : "/"), 1, &head->target);
    blitz_span slash;
    int result = blitz_head_store(head, (const uint8_t *)"/", 1, &slash);
    if (result == 0)
        result = blitz_head_store(head, blitz_at(head, rest), rest.len, &rest);
    if (result < 0)
        return result;
    head->target = (blitz_span){slash.off, rest.len + 1};       /* the two are neighbours */
    return 0;
}

static int check_absolute_form(blitz_head *head, presence *fields)
{
    text target = {blitz_at(head, head->target), head->target.len};
    int32_t default_port = 0;
    size_t start = scheme_length(target, &default_port), end = start;
    if (start == 0)
        return -BLITZ_BAD_TARGET;
    while (end < target.len && target.at[end] != '/' && target.at[end] != '?')
        end++;
    text authority = {target.at + start, end - start};
    size_t host_len;
    int32_t port;
    if (!blitz_parse_authority(authority.at, authority.len, &host_len, &port))
        return -BLITZ_BAD_TARGET;
    blitz_span authority_span = {head->target.off + (uint32_t)start, (uint32_t)(end - start)};
    blitz_span rest = {head->target.off + (uint32_t)end, (uint32_t)(target.len - end)};
    if (head->host.len) {
        text host = {blitz_at(head, head->host), head->host.len};
        if (!same_authority(authority, host, default_port))
            return -BLITZ_BAD_TARGET_HOST;
    } else {                                /* HTTP/1.0 without Host: now it has one */
        int result = blitz_head_add(head, (const uint8_t *)"Host", 4, authority.at, authority.len);
        if (result < 0)
            return result;
        head->host = authority_span;
        blitz_head_survey(head, fields);               /* a full table moves its entries to take one more */
    }
    return store_origin_form(head, rest);
}

static int check_target(blitz_head *head, presence *fields)
{
    const uint8_t *target = blitz_at(head, head->target);
    if (head->target.len == 1 && target[0] == '*')
        return method_is(head, "OPTIONS") ? 0 : -BLITZ_BAD_TARGET;
    if (head->target.len && target[0] != '/') {
        int result = check_absolute_form(head, fields);
        if (result < 0)
            return result;
        target = blitz_at(head, head->target);
        if (head->target.len == 1 && target[0] == '*')
            return 0;
    }
    return blitz_is_origin_form(target, head->target.len) ? 0 : -BLITZ_BAD_TARGET;
}

/* RFC 9110 section 10.1.1. */
static int read_expect(blitz_head *head, const presence *fields)
{
    if (!(fields->seen & BIT(BLITZ_F_EXPECT)))
        return 0;
    if (head->minor >= 1 &&
        ((fields->many & BIT(BLITZ_F_EXPECT)) || !is_word(value_of(head, fields, BLITZ_F_EXPECT), "100-continue")))
        return -BLITZ_BAD_EXPECT;
    if (head->minor >= 1 && has_content(head))
        head->flags |= BLITZ_HEAD_EXPECT_CONTINUE;
    else
        blitz_head_remove(head, (const uint8_t *)"expect", 6);
    return 0;
}

static int check_request(blitz_head *head, presence *fields, const options *connection)
{
    int result = check_method(head);
    if (result == 0)
        result = check_singletons(fields);
    if (result == 0)
        result = read_framing(head, fields);
    if (result == 0)
        result = check_request_body(head);
    if (result == 0)
        result = check_host(head, fields);
    if (result == 0)
        result = check_target(head, fields);
    if (result == 0)
        result = read_expect(head, fields);
    if (result == 0)
        result = read_upgrade(head, fields, connection);
    return result;
}

/* ---------------------------------------------------------------- responses */

/* RFC 9112 section 6.3, in its order. */
static int check_response_body(blitz_head *head, const presence *fields, text request_method)
{
    int result = read_framing(head, fields);
    if (result < 0)
        return result;
    bool to_head = request_method.len == 4 && memcmp(request_method.at, "HEAD", 4) == 0;
    bool never = head->status < 200 || head->status == 204;
    if ((never || head->status == 205) && has_content(head))
        head->flags &= (uint8_t)~BLITZ_HEAD_KEEP_ALIVE;     /* it may mean to send some all the same */
    if (never || to_head || head->status == 304) {
        no_body(head);
    } else if (head->body == BLITZ_BODY_NONE) {
        head->body = BLITZ_BODY_CLOSE;
        head->flags &= (uint8_t)~BLITZ_HEAD_KEEP_ALIVE;
    }
    return 0;
}

static int check_response(blitz_head *head, presence *fields, const options *connection, text request_method)
{
    if (head->status < 100 || head->status > 599)
        return -BLITZ_BAD_STATUS;
    if (request_method.len == 7 && memcmp(request_method.at, "CONNECT", 7) == 0)
        return -BLITZ_BAD_METHOD_CONNECT;       /* we never ask for a tunnel */
    int result = check_response_body(head, fields, request_method);
    if (result == 0)
        result = read_upgrade(head, fields, connection);
    if (result == 0 && head->status == 101 && !(head->flags & BLITZ_HEAD_UPGRADE))
        return -BLITZ_BAD_UPGRADE;
    return result;
}

/* ---------------------------------------------------------------- both */

int blitz_head_rules(blitz_head *head, const uint8_t *request_method, size_t method_len, bool odd_names)
{
    head->flags &= BLITZ_HEAD_HAS_BODY_EDIT;
    head->host = (blitz_span){0, 0};
    no_body(head);
    if (head->minor > 9)
        return -BLITZ_BAD_VERSION;
    int result = odd_names ? remove_twins(head) : 0;
    if (result < 0)
        return result;
    presence fields;
    options connection = {0};
    blitz_head_survey(head, &fields);
    result = blitz_head_obey_connection(head, &fields, &connection);
    if (result < 0)
        return result;
    bool lasts = head->minor >= 1 ? !connection.close : connection.keep_alive && !connection.close;
    if (lasts)
        head->flags |= BLITZ_HEAD_KEEP_ALIVE;
    if (head->kind == BLITZ_REQUEST)
        return check_request(head, &fields, &connection);
    return check_response(head, &fields, &connection, (text){request_method, method_len});
}

int blitz_head_check(blitz_head *head, const uint8_t *request_method, size_t method_len)
{
    return blitz_head_rules(head, request_method, method_len, true);
}
