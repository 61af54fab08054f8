/* head_scan_body.h: the scanner, once for every instruction set. Included by head_scan_<path>.c, which
 * has defined SCAN_TARGET (a function attribute, or nothing), SCAN_PATH, SCAN_FUNCTIONS and
 *   find_content_end, find_visible_end (at, end, low)    find_token_end (at, end, low, odd)
 *
 * It accepts a strict subset of RFC 9112 and nothing else: one space between the parts of the start
 * line, HTTP/1.1 or HTTP/1.0, origin-form targets, CRLF, tokens and field-content exactly, no obs-fold, and nothing
 * that the rules had to rewrite, so that the table says what the bytes say. Whatever it accepts h11
 * accepts with the same meaning; whatever it declines h11 gets.
 *
 * One pass, in order, so that the first thing wrong decides however the bytes arrived. Results:
 * positions as pointers, or NULL with *result telling why. */

/* Not there yet, unless the bound leaves no room for the rest. */
SCAN_TARGET static int64_t incomplete(bool cut)
{
    return cut ? BLITZ_E_LIMIT : 0;
}

typedef struct {
    blitz_head *head;
    const uint8_t *buf, *end;
    const scan_bounds *bounds;
    bool cut;                   /* end is the bound, not the end of what arrived */
    bool odd;                   /* a name has a byte of class ODD */
    int64_t result;
} scan;

/* The line that began at line has no CR yet. */
SCAN_TARGET static const uint8_t *unfinished(scan *s, const uint8_t *line, size_t bound)
{
    s->result = (size_t)(s->end - line) > bound ? BLITZ_E_LIMIT : incomplete(s->cut);
    return NULL;
}

SCAN_TARGET static const uint8_t *decline(scan *s)
{
    s->result = BLITZ_E_DECLINED;
    return NULL;
}

/* at: where a line's content ends. -> behind its CRLF. */
SCAN_TARGET static inline const uint8_t *line_end(scan *s, const uint8_t *at, const uint8_t *line, size_t bound)
{
    if (at == s->end)
        return unfinished(s, line, bound);
    if (*at != '\r')
        return decline(s);
    if ((size_t)(at - line) > bound) {
        s->result = BLITZ_E_LIMIT;
        return NULL;
    }
    if (s->end - at < 2) {
        s->result = incomplete(s->cut);
        return NULL;
    }
    return at[1] == '\n' ? at + 2 : decline(s);
}

/* The constant text, as far as it has arrived. -> behind it; at itself when not all is there. */
SCAN_TARGET static inline const uint8_t *expect(scan *s, const uint8_t *at, const char *text, size_t len)
{
    size_t there = (size_t)(s->end - at);
    size_t n = there < len ? there : len;
    if (memcmp(at, text, n) != 0)
        return decline(s);
    return n == len ? at + len : at;
}

/* "HTTP/1.0" or "HTTP/1.1", as far as it has arrived. -> behind it; at itself when not all is there. */
SCAN_TARGET static inline const uint8_t *version(scan *s, const uint8_t *at)
{
    const uint8_t *minor = expect(s, at, "HTTP/1.", 7);
    if (!minor || minor == at)
        return minor;
    if (minor == s->end)
        return at;
    if (*minor != '0' && *minor != '1')
        return decline(s);
    s->head->minor = (uint8_t)(*minor - '0');
    return minor + 1;
}

SCAN_TARGET static inline blitz_span between(const scan *s, const uint8_t *from, const uint8_t *to)
{
    return (blitz_span){(uint32_t)(from - s->buf), (uint32_t)(to - from)};
}

/* RFC 9112 section 3. */
SCAN_TARGET static inline const uint8_t *request_line(scan *s)
{
    const uint8_t *line = s->buf;
    size_t bound = s->bounds->line;
    bool odd = false;
    const uint8_t *method_end = find_token_end(line, s->end, s->buf, &odd);
    if (method_end == s->end)
        return unfinished(s, line, bound);
    if (*method_end != ' ' || method_end == line)
        return decline(s);
    const uint8_t *target = method_end + 1;
    const uint8_t *target_end = find_visible_end(target, s->end, s->buf);
    if (target < s->end && *target != '/')
        return decline(s);
    if (target_end == s->end)
        return unfinished(s, line, bound);
    if (*target_end != ' ')
        return decline(s);
    const uint8_t *at = version(s, target_end + 1);
    if (!at)
        return NULL;
    if (at == target_end + 1)
        return unfinished(s, line, bound);
    s->head->method = between(s, line, method_end);
    s->head->target = between(s, target, target_end);
    return line_end(s, at, line, bound);
}

/* RFC 9112 section 4. */
SCAN_TARGET static inline const uint8_t *status_line(scan *s)
{
    const uint8_t *line = s->buf;
    size_t bound = s->bounds->line;
    const uint8_t *at = version(s, line);
    if (!at)
        return NULL;
    if (at == line || at == s->end)
        return unfinished(s, line, bound);
    if (*at++ != ' ')
        return decline(s);
    uint32_t status = 0;
    for (int digit = 0; digit < 3; digit++, at++) {
        if (at == s->end)
            return unfinished(s, line, bound);
        if (*at < '0' || *at > '9')
            return decline(s);
        status = status * 10 + (uint32_t)(*at - '0');
    }
    if (at == s->end)
        return unfinished(s, line, bound);
    if (*at++ != ' ')
        return decline(s);
    const uint8_t *reason_end = find_content_end(at, s->end, s->buf);
    const uint8_t *next = line_end(s, reason_end, line, bound);
    if (!next)
        return NULL;
    if (reason_end > at && (*at <= ' ' || reason_end[-1] <= ' '))
        return decline(s);
    s->head->status = status;
    s->head->reason = between(s, at, reason_end);
    return next;
}

/* RFC 9112 section 5: one field line from line on. */
SCAN_TARGET static inline const uint8_t *field_line(scan *s, const uint8_t *line)
{
    blitz_head *head = s->head;
    const uint8_t *name_end = find_token_end(line, s->end, s->buf, &s->odd);
    if (name_end == s->end)
        return unfinished(s, line, s->bounds->field);
    if (*name_end != ':' || name_end == line)
        return decline(s);
    const uint8_t *value = name_end + 1;
    while (value < s->end && (*value == ' ' || *value == '\t'))
        value++;
    const uint8_t *content_end = find_content_end(value, s->end, s->buf);
    const uint8_t *next = line_end(s, content_end, line, s->bounds->field);
    if (!next)
        return NULL;
    const uint8_t *value_end = content_end;
    while (value_end > value && value_end[-1] <= ' ')
        value_end--;
    if (head->n_fields == s->bounds->fields) {
        s->result = BLITZ_E_LIMIT;
        return NULL;
    }
    blitz_field *field = &head->fields[head->n_fields++];
    field->name = between(s, line, name_end);
    field->value = between(s, value, value_end);
    field->id = blitz_field_id(line, field->name.len);
    field->gone = 0;
    field->plain = value == name_end + 2 && name_end[1] == ' ' && value_end == content_end;
    return next;
}

/* Field lines up to and with the empty line. */
SCAN_TARGET static inline const uint8_t *field_lines(scan *s, const uint8_t *at)
{
    for (;;) {
        if (at == s->end) {
            s->result = incomplete(s->cut);
            return NULL;
        }
        if (*at == '\r')
            return line_end(s, at, at, s->bounds->field);
        at = field_line(s, at);
        if (!at)
            return NULL;
    }
}

SCAN_TARGET static inline scan begin(blitz_head *head, int kind, const uint8_t *buf, size_t len,
                                     const scan_bounds *bounds)
{
    bool cut = len >= bounds->head;
    blitz_head_reset(head, kind);
    return (scan){.head = head, .buf = buf, .end = buf + (cut ? bounds->head : len), .bounds = bounds, .cut = cut};
}

/* at: behind the head, or NULL. */
SCAN_TARGET static inline int64_t finish(scan *s, const uint8_t *at, const uint8_t *request_method, size_t method_len)
{
    blitz_head *head = s->head;
    if (at) {
        head->base = s->buf;
        head->base_len = (uint32_t)(at - s->buf);
        if (blitz_head_rules(head, request_method, method_len, s->odd) == 0 && head->arena_len == 0)
            return at - s->buf;
        s->result = BLITZ_E_DECLINED;
    }
    blitz_head_reset(head, head->kind);
    return s->result;
}

SCAN_TARGET static int64_t scan_request(blitz_head *head, const uint8_t *buf, size_t len, const scan_bounds *bounds)
{
    scan s = begin(head, BLITZ_REQUEST, buf, len, bounds);
    const uint8_t *at = request_line(&s);
    return finish(&s, at ? field_lines(&s, at) : NULL, NULL, 0);
}

SCAN_TARGET static int64_t scan_response(blitz_head *head, const uint8_t *buf, size_t len,
                                         const scan_bounds *bounds, const uint8_t *request_method,
                                         size_t method_len)
{
    scan s = begin(head, BLITZ_RESPONSE, buf, len, bounds);
    const uint8_t *at = status_line(&s);
    return finish(&s, at ? field_lines(&s, at) : NULL, request_method, method_len);
}

SCAN_TARGET static const uint8_t *content_end(const uint8_t *at, const uint8_t *end)
{
    return find_content_end(at, end, at);
}

const scan_functions SCAN_FUNCTIONS = {SCAN_PATH, scan_request, scan_response, content_end};
