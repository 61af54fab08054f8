/* head.c: the head table: lifetime, arena, building, finding, editing.
 *
 * A head is a table of spans over two buffers: the received bytes (base, borrowed) and the arena
 * (owned), which takes whatever was added since. Spans are offsets, never pointers, so the arena may
 * move when it grows. Everything that enters the table has passed blitz_is_token or
 * blitz_is_field_content; head_write.c relies on that.
 */
#include "head.h"

#include <stdlib.h>
#include <string.h>

enum { ARENA_FIRST = 512, ARENA_KEPT = 4096, ARENA_LARGEST = 0x7fffffff };

/* One row per run of bytes; head.h says what the bits mean. */
#define V BLITZ_C_CONTENT
#define Q (V | BLITZ_C_QUERY)
#define P (Q | BLITZ_C_PATH)
#define T (BLITZ_C_TOKEN | BLITZ_C_ODD)
#define H BLITZ_C_HOST
#define N (P | BLITZ_C_TOKEN | BLITZ_C_HOST)
const uint8_t blitz_class[256] = {
    ['\t'] = V,
    [' '] = V,
    ['!'] = P | T,
    ['"'] = V,
    ['#'] = V | T,
    ['$'] = P | T,
    ['%'] = Q | T,                  /* in a path only with two hexadecimal digits after it */
    ['&' ... '\''] = P | T,
    ['(' ... ')'] = P,
    ['*' ... '+'] = P | T,
    [','] = P,
    ['-'] = N,
    ['.'] = P | T | H,
    ['/'] = P,
    ['0' ... '9'] = N,
    [':' ... ';'] = P,
    ['<'] = V,
    ['='] = P,
    ['>'] = V,
    ['?'] = Q,
    ['@'] = P,
    ['A' ... 'Z'] = N,
    ['['] = P,
    ['\\'] = Q,
    [']'] = P,
    ['^'] = P | T,
    ['_'] = P | T | H,
    ['`'] = Q | T,
    ['a' ... 'z'] = N,
    ['{'] = Q,
    ['|'] = P | T,
    ['}'] = Q,
    ['~'] = P | T | H,
    [0x80 ... 0xff] = V,
};
#undef V
#undef Q
#undef P
#undef T
#undef H
#undef N

static uint8_t lower(uint8_t byte)
{
    return (byte >= 'A' && byte <= 'Z') ? (uint8_t)(byte | 0x20) : byte;
}

bool blitz_is_token(const uint8_t *bytes, size_t len)
{
    uint8_t all = BLITZ_C_TOKEN;
    for (size_t i = 0; i < len; i++)
        all &= blitz_class[bytes[i]];
    return len > 0 && all != 0;
}

bool blitz_is_field_content(const uint8_t *bytes, size_t len)
{
    uint8_t all = BLITZ_C_CONTENT;
    for (size_t i = 0; i < len; i++)
        all &= blitz_class[bytes[i]];
    return all != 0;
}

bool blitz_name_equal(const uint8_t *a, const uint8_t *b, size_t len)
{
    for (size_t i = 0; i < len; i++)
        if (a[i] != b[i] && lower(a[i]) != lower(b[i]))
            return false;
    return true;
}

/* ---------------------------------------------------------------- field ids */

typedef struct {
    char name[24];
    uint8_t len, id;
} known_name;

/* Sorted by length: known_from[len] is the first row of that length. */
static const known_name known[] = {
    {"te", 2, BLITZ_F_TE},
    {"via", 3, BLITZ_F_VIA},
    {"host", 4, BLITZ_F_HOST},
    {"date", 4, BLITZ_F_DATE},
    {"etag", 4, BLITZ_F_ETAG},
    {"range", 5, BLITZ_F_RANGE},
    {"expect", 6, BLITZ_F_EXPECT},
    {"server", 6, BLITZ_F_SERVER},
    {"digest", 6, BLITZ_F_DIGEST},
    {"upgrade", 7, BLITZ_F_UPGRADE},
    {"trailer", 7, BLITZ_F_TRAILER},
    {"if-range", 8, BLITZ_F_IF_RANGE},
    {"forwarded", 9, BLITZ_F_FORWARDED},
    {"connection", 10, BLITZ_F_CONNECTION},
    {"keep-alive", 10, BLITZ_F_KEEP_ALIVE},
    {"content-type", 12, BLITZ_F_CONTENT_TYPE},
    {"max-forwards", 12, BLITZ_F_MAX_FORWARDS},
    {"x-request-id", 12, BLITZ_F_X_REQUEST_ID},
    {"authorization", 13, BLITZ_F_AUTHORIZATION},
    {"content-range", 13, BLITZ_F_CONTENT_RANGE},
    {"content-length", 14, BLITZ_F_CONTENT_LENGTH},
    {"http2-settings", 14, BLITZ_F_HTTP2_SETTINGS},
    {"x-forwarded-for", 15, BLITZ_F_X_FORWARDED_FOR},
    {"content-encoding", 16, BLITZ_F_CONTENT_ENCODING},
    {"proxy-connection", 16, BLITZ_F_PROXY_CONNECTION},
    {"x-forwarded-host", 16, BLITZ_F_X_FORWARDED_HOST},
    {"transfer-encoding", 17, BLITZ_F_TRANSFER_ENCODING},
    {"x-forwarded-proto", 17, BLITZ_F_X_FORWARDED_PROTO},
    {"if-modified-since", 17, BLITZ_F_IF_MODIFIED_SINCE},
    {"proxy-authenticate", 18, BLITZ_F_PROXY_AUTHENTICATE},
    {"proxy-authorization", 19, BLITZ_F_PROXY_AUTHORIZATION},
    {"if-unmodified-since", 19, BLITZ_F_IF_UNMODIFIED_SINCE},
};
enum { KNOWN = sizeof known / sizeof known[0], LONGEST_KNOWN = 19 };
static const uint8_t known_from[LONGEST_KNOWN + 2] = {
    0, 0, 0, 1, 2, 5, 6, 9, 11, 12, 13, 15, 15, 18, 20, 22, 23, 26, 29, 30, 32,
};
_Static_assert(KNOWN == 32 && BLITZ_F_COUNT <= 64, "known_from and the writer's bit set follow the enum");

/* Up to eight bytes, letters folded to lower case (other bytes may fold too: a filter, not a proof). */
static uint64_t folded(const uint8_t *bytes, size_t len)
{
    uint64_t word = 0;
    memcpy(&word, bytes, len < 8 ? len : 8);
    return word | 0x2020202020202020u;
}

uint8_t blitz_field_id(const uint8_t *name, size_t len)
{
    if (len > LONGEST_KNOWN)
        return BLITZ_F_OTHER;
    uint8_t at = known_from[len], end = known_from[len + 1];
    if (at == end)
        return BLITZ_F_OTHER;
    uint64_t word;
    switch (len) {                      /* constant sizes: one load each, not a call */
    case 2: word = folded(name, 2); break;
    case 3: word = folded(name, 3); break;
    case 4: word = folded(name, 4); break;
    case 5: word = folded(name, 5); break;
    case 6: word = folded(name, 6); break;
    case 7: word = folded(name, 7); break;
    default: word = folded(name, 8); break;
    }
    for (; at < end; at++) {
        const uint8_t *row = (const uint8_t *)known[at].name;
        if (word == folded(row, 8) && blitz_name_equal(name, row, len))
            return known[at].id;
    }
    return BLITZ_F_OTHER;
}

/* ---------------------------------------------------------------- lifetime and arena */

blitz_head *blitz_head_new(void)
{
    blitz_head *head = malloc(sizeof *head);
    if (!head)
        return NULL;
    head->arena = NULL;
    head->arena_cap = 0;
    blitz_head_reset(head, BLITZ_REQUEST);
    return head;
}

void blitz_head_free(blitz_head *head)
{
    if (!head)
        return;
    free(head->arena);
    free(head);
}

void blitz_head_reset(blitz_head *head, int kind)
{
    const blitz_span none = {0, 0};
    if (head->arena_cap > ARENA_KEPT) {
        free(head->arena);
        head->arena = NULL;
        head->arena_cap = 0;
    }
    head->base = NULL;
    head->base_len = 0;
    head->kind = (uint8_t)kind;
    head->minor = 1;
    head->body = BLITZ_BODY_NONE;
    head->flags = 0;
    head->status = 0;
    head->n_fields = 0;
    head->content_length = -1;
    head->method = head->target = head->reason = head->host = none;
    head->arena_len = 0;
    head->ruled = 0;
    head->edits = 0;
}

/* Room for len more bytes; doubling keeps the cost of many small additions linear. The arena moves
 * when it grows: *a and *b follow it if they point into it. */
static int reserve(blitz_head *head, size_t len, const uint8_t **a, const uint8_t **b)
{
    if (len <= head->arena_cap - head->arena_len)
        return 0;
    if (len > (size_t)ARENA_LARGEST - head->arena_len)
        return BLITZ_E_NOMEM;
    size_t wanted = (size_t)head->arena_len + len;
    size_t cap = head->arena_cap ? head->arena_cap : ARENA_FIRST;
    while (cap < wanted)
        cap *= 2;
    if (cap > ARENA_LARGEST)
        cap = ARENA_LARGEST;
    uintptr_t old = (uintptr_t)head->arena, end = old + head->arena_len;
    uintptr_t at_a = (uintptr_t)*a, at_b = (uintptr_t)*b;
    uint8_t *arena = realloc(head->arena, cap);
    if (!arena)
        return BLITZ_E_NOMEM;
    if (at_a >= old && at_a < end)
        *a = arena + (at_a - old);
    if (at_b >= old && at_b < end)
        *b = arena + (at_b - old);
    head->arena = arena;
    head->arena_cap = (uint32_t)cap;
    return 0;
}

/* After reserve. */
static blitz_span append(blitz_head *head, const uint8_t *bytes, size_t len)
{
    blitz_span span = {head->arena_len | (uint32_t)BLITZ_ARENA, (uint32_t)len};
    if (len)
        memcpy(head->arena + head->arena_len, bytes, len);
    head->arena_len += (uint32_t)len;
    return span;
}

int blitz_head_store(blitz_head *head, const uint8_t *bytes, size_t len, blitz_span *out)
{
    const uint8_t *none = NULL;
    int result = reserve(head, len, &bytes, &none);
    if (result < 0)
        return result;
    *out = append(head, bytes, len);
    return 0;
}

const uint8_t *blitz_head_at(const blitz_head *head, blitz_span span)
{
    return blitz_at(head, span);
}

/* ---------------------------------------------------------------- building and editing */

static bool is_ows(uint8_t byte)
{
    return byte == ' ' || byte == '\t';
}

/* Field values are stored without the whitespace around them (RFC 9110 section 5.5). */
static int clean_value(const uint8_t **value, size_t *len)
{
    const uint8_t *at = *value;
    size_t n = *len;
    if (!blitz_is_field_content(at, n) || n > ARENA_LARGEST)
        return BLITZ_E_SYNTAX;
    while (n && is_ows(at[n - 1]))
        n--;
    while (n && is_ows(at[0])) {
        at++;
        n--;
    }
    *value = at;
    *len = n;
    return 0;
}

/* Visible ASCII: what may stand between two spaces of a request line at all. Which targets are
 * allowed is head_rules.c's question. */
static bool is_visible(const uint8_t *bytes, size_t len)
{
    for (size_t i = 0; i < len; i++)
        if (bytes[i] <= 0x20 || bytes[i] >= 0x7f)
            return false;
    return len > 0;
}

int blitz_head_start_request(blitz_head *head, const uint8_t *method, size_t method_len,
                             const uint8_t *target, size_t target_len, int minor)
{
    if (!blitz_is_token(method, method_len) || !is_visible(target, target_len) || minor < 0 || minor > 255)
        return BLITZ_E_SYNTAX;
    blitz_head_reset(head, BLITZ_REQUEST);
    head->minor = (uint8_t)minor;
    int result = blitz_head_store(head, method, method_len, &head->method);
    if (result < 0)
        return result;
    return blitz_head_store(head, target, target_len, &head->target);
}

int blitz_head_start_response(blitz_head *head, int status, const uint8_t *reason, size_t reason_len,
                              int minor)
{
    if ((reason != NULL && clean_value(&reason, &reason_len) < 0) || minor < 0 || minor > 255 || status < 0 || status > 999)
        return BLITZ_E_SYNTAX;
    blitz_head_reset(head, BLITZ_RESPONSE);
    head->minor = (uint8_t)minor;
    head->status = (uint32_t)status;
    if (reason == NULL) {
        reason = (const uint8_t *)blitz_reason(head->status);
        reason_len = strlen((const char *)reason);
    }
    return blitz_head_store(head, reason, reason_len, &head->reason);
}

/* Forget the entries that are gone, so that a full table can take more. */
static void compact(blitz_head *head)
{
    uint32_t kept = 0;
    for (uint32_t i = 0; i < head->n_fields; i++)
        if (!head->fields[i].gone)
            head->fields[kept++] = head->fields[i];
    head->n_fields = kept;
}

int blitz_head_add(blitz_head *head, const uint8_t *name, size_t name_len, const uint8_t *value,
                   size_t value_len)
{
    if (!blitz_is_token(name, name_len) || clean_value(&value, &value_len) < 0)
        return BLITZ_E_SYNTAX;
    if (head->n_fields == BLITZ_MAX_FIELDS)
        compact(head);
    if (head->n_fields == BLITZ_MAX_FIELDS)
        return BLITZ_E_LIMIT;
    if (name_len > ARENA_LARGEST)
        return BLITZ_E_LIMIT;
    int result = reserve(head, name_len + value_len, &name, &value);
    if (result < 0)
        return result;
    blitz_field field = {.id = blitz_field_id(name, name_len)};
    field.name = append(head, name, name_len);
    field.value = append(head, value, value_len);
    head->fields[head->n_fields++] = field;
    return 0;
}

int blitz_head_set(blitz_head *head, const uint8_t *name, size_t name_len, const uint8_t *value,
                   size_t value_len)
{
    if (!blitz_is_token(name, name_len))
        return BLITZ_E_SYNTAX;
    int first = blitz_head_find(head, name, name_len, 0);
    if (first < 0)
        return blitz_head_add(head, name, name_len, value, value_len);
    if (clean_value(&value, &value_len) < 0)
        return BLITZ_E_SYNTAX;
    int result = reserve(head, value_len, &value, &name);
    if (result < 0)
        return result;
    head->fields[first].value = append(head, value, value_len);
    head->fields[first].plain = 0;
    for (int i = first; (i = blitz_head_find(head, name, name_len, (uint32_t)i + 1)) >= 0;)
        head->fields[i].gone = 1;
    return 0;
}

int blitz_head_remove(blitz_head *head, const uint8_t *name, size_t name_len)
{
    int removed = 0;
    for (int i = -1; (i = blitz_head_find(head, name, name_len, (uint32_t)(i + 1))) >= 0; removed++)
        head->fields[i].gone = 1;
    return removed;
}

int blitz_head_set_target(blitz_head *head, const uint8_t *target, size_t len)
{
    bool asterisk = len == 1 && target[0] == '*';
    if (head->kind != BLITZ_REQUEST)
        return BLITZ_E_STATE;
    if (!asterisk && !blitz_is_origin_form(target, len))
        return BLITZ_E_SYNTAX;
    return blitz_head_store(head, target, len, &head->target);
}

int blitz_head_set_method(blitz_head *head, const uint8_t *method, size_t len)
{
    if (head->kind != BLITZ_REQUEST)
        return BLITZ_E_STATE;
    if (!blitz_is_token(method, len))
        return BLITZ_E_SYNTAX;
    return blitz_head_store(head, method, len, &head->method);
}

int blitz_head_find(const blitz_head *head, const uint8_t *name, size_t name_len, uint32_t start)
{
    uint8_t id = blitz_field_id(name, name_len);
    for (uint32_t i = start; i < head->n_fields; i++) {
        const blitz_field *field = &head->fields[i];
        if (field->gone || field->id != id || field->name.len != name_len)
            continue;
        if (id != BLITZ_F_OTHER || blitz_name_equal(blitz_at(head, field->name), name, name_len))
            return (int)i;
    }
    return -1;
}
