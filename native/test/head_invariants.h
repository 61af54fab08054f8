/* head_invariants.h: what must be true of every head and of every pair of scans, for tests and fuzzers. */
#ifndef BLITZ_TEST_HEAD_INVARIANTS_H
#define BLITZ_TEST_HEAD_INVARIANTS_H
#include "../head_scan.h"
#include "guard.h"
#include <string.h>

static const char *const every_path[] = {"portable", "sse2", "avx2", "neon"};
enum { EVERY_PATH = sizeof every_path / sizeof every_path[0] };

static inline void span_must_be_inside(const blitz_head *head, blitz_span span)
{
    uint32_t off = span.off & 0x7fffffffu;
    uint32_t size = (span.off & (uint32_t)BLITZ_ARENA) ? head->arena_len : head->base_len;
    MUST(span.len == 0 || (off <= size && span.len <= size - off), "span %u+%u of %u", off, span.len, size);
}

static inline bool is_blank(uint8_t byte)
{
    return byte == ' ' || byte == '\t';
}

/* A checked head: every span inside, names tokens, values field-content without whitespace around, the
 * line of a plain field exactly as the writer will copy it, framing one of the four. */
static inline void head_must_be_clean(const blitz_head *head)
{
    MUST(head->n_fields <= BLITZ_MAX_FIELDS, "%u fields", head->n_fields);
    span_must_be_inside(head, head->method);
    span_must_be_inside(head, head->target);
    span_must_be_inside(head, head->reason);
    span_must_be_inside(head, head->host);
    for (uint32_t i = 0; i < head->n_fields; i++) {
        const blitz_field *field = &head->fields[i];
        span_must_be_inside(head, field->name);
        span_must_be_inside(head, field->value);
        const uint8_t *name = blitz_at(head, field->name), *value = blitz_at(head, field->value);
        uint32_t name_len = field->name.len, len = field->value.len;
        MUST(blitz_is_token(name, name_len), "name of field %u", i);
        MUST(blitz_is_field_content(value, len), "value of field %u", i);
        MUST(len == 0 || (!is_blank(value[0]) && !is_blank(value[len - 1])), "space around value %u", i);
        MUST(field->id == blitz_field_id(name, name_len), "id of field %u", i);
        if (field->plain) {
            MUST(!(field->name.off & (uint32_t)BLITZ_ARENA), "plain field %u in the arena", i);
            MUST(value == name + name_len + 2 && memcmp(name + name_len, ": ", 2) == 0, "plain field %u", i);
            MUST(memcmp(value + len, "\r\n", 2) == 0, "end of plain field %u", i);
        }
    }
    MUST(head->body <= BLITZ_BODY_CLOSE, "body %u", head->body);
    MUST((head->body == BLITZ_BODY_LENGTH) == (head->content_length >= 0), "length and body");
    if (head->kind == BLITZ_REQUEST) {
        size_t host_len;
        int32_t port;
        MUST(head->body != BLITZ_BODY_CLOSE, "request until close");
        MUST(head->minor == 0 || head->host.len > 0, "no host");
        MUST(head->host.len == 0 || blitz_parse_authority(blitz_at(head, head->host), head->host.len, &host_len, &port),
             "host");
        const uint8_t *target = blitz_at(head, head->target);
        MUST(blitz_is_origin_form(target, head->target.len) || (head->target.len == 1 && target[0] == '*'), "target");
    } else {
        MUST(head->status >= 100 && head->status <= 599, "status %u", head->status);
    }
}

static inline bool same_text(const blitz_head *a, blitz_span in_a, const blitz_head *b, blitz_span in_b)
{
    return in_a.len == in_b.len && (in_a.len == 0 || memcmp(blitz_at(a, in_a), blitz_at(b, in_b), in_a.len) == 0);
}

/* The next live field at or after i. */
static inline uint32_t next_live(const blitz_head *head, uint32_t i)
{
    while (i < head->n_fields && head->fields[i].gone)
        i++;
    return i;
}

/* Two heads that say the same. */
static inline void heads_must_be_equal(const blitz_head *a, const blitz_head *b)
{
    MUST(a->kind == b->kind && a->minor == b->minor && a->body == b->body && a->flags == b->flags, "numbers");
    MUST(a->status == b->status && a->content_length == b->content_length, "more numbers");
    MUST(same_text(a, a->method, b, b->method) && same_text(a, a->target, b, b->target), "request line");
    MUST(same_text(a, a->reason, b, b->reason) && same_text(a, a->host, b, b->host), "reason, host");
    uint32_t i = next_live(a, 0), j = next_live(b, 0);
    for (; i < a->n_fields && j < b->n_fields; i = next_live(a, i + 1), j = next_live(b, j + 1)) {
        MUST(same_text(a, a->fields[i].name, b, b->fields[j].name), "name %u", i);
        MUST(same_text(a, a->fields[i].value, b, b->fields[j].value), "value %u", i);
    }
    MUST(i >= a->n_fields && j >= b->n_fields, "number of fields");
}

typedef struct {
    bool response;
    const uint8_t *method;      /* the request that a response answers */
    size_t method_len;
    blitz_head_limits limits;
} scan_input;

static inline int64_t scan_with(const char *path, blitz_head *head, const scan_input *input, const uint8_t *buf,
                                size_t len, size_t seen)
{
    if (input->response)
        return blitz_scan_response_with(path, head, buf, len, seen, &input->limits, input->method, input->method_len);
    return blitz_scan_request_with(path, head, buf, len, seen, &input->limits);
}

/* Every path of this machine says of these bytes what the portable one says. -> its answer; portable
 * has the table. */
static inline int64_t paths_must_agree(blitz_head *portable, blitz_head *other, const scan_input *input,
                                       const uint8_t *buf, size_t len, size_t seen)
{
    int64_t result = scan_with("portable", portable, input, buf, len, seen);
    int64_t extent = blitz_head_extent_with("portable", buf, len, seen, &input->limits);
    MUST(result >= BLITZ_E_LIMIT && result != BLITZ_E_NOMEM && result != BLITZ_E_SPACE, "result %lld", (long long)result);
    if (result > 0) {
        MUST(extent == result, "extent %lld of %lld", (long long)extent, (long long)result);
        head_must_be_clean(portable);
    } else {
        MUST(portable->n_fields == 0 && portable->base == NULL, "a table without a head");
    }
    if (result == 0)
        MUST(extent == 0, "extent %lld of an incomplete head", (long long)extent);
    for (int i = 1; i < EVERY_PATH; i++) {
        int64_t got = scan_with(every_path[i], other, input, buf, len, seen);
        if (got == BLITZ_E_STATE)
            continue;
        MUST(got == result, "%s: %lld, portable: %lld", every_path[i], (long long)got, (long long)result);
        if (result > 0)
            heads_must_be_equal(portable, other);
        int64_t other_extent = blitz_head_extent_with(every_path[i], buf, len, seen, &input->limits);
        MUST(other_extent == extent, "%s: extent", every_path[i]);
    }
    return result;
}
#endif
