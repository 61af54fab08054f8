/* edits.c: see edits.h. What a plugin writes is checked as strictly as what a client writes: names are
 * tokens (RFC 9110 section 5.6.2), values field-content (section 5.5), and the fields that frame a
 * message or belong to one connection (section 7.6.1) are the gateway's own. */
#include "edits.h"
#include "head.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

typedef struct { uint32_t name, name_len, value, value_len; uint8_t op, id; } edit;

struct blitz_edits {
    edit *list;
    uint8_t *bytes;               /* names and values, one after another */
    uint8_t *body;                /* owned until committed */
    uint32_t n, cap, len, bytes_cap, body_len, status;
    bool has_body;
    uint64_t size;                /* counted against max_edits_size */
};
enum { KEEP_EDITS = 64, KEEP_BYTES = 4096 };

static const char *const WHY[] = {
    [BLITZ_EDIT_NAME] = "the name is not a token (RFC 9110 section 5.6.2)",
    [BLITZ_EDIT_LOOK_ALIKE] = "others may read the name as another field's: '-' is the only punctuation that is safe",
    [BLITZ_EDIT_VALUE] = "the value is not field-content (RFC 9110 section 5.5): control bytes are not allowed",
    [BLITZ_EDIT_CONNECTION] = "framing and connection-level fields are the gateway's own",
    [BLITZ_EDIT_HOST_ONCE] = "host can be replaced with set_header, not added or removed",
    [BLITZ_EDIT_HOST_IN_RESPONSE] = "a response has no host",
    [BLITZ_EDIT_TARGET] = "the path is not an origin-form target (RFC 9112 section 3.2.1)",
    [BLITZ_EDIT_METHOD_NAME] = "the method is not a token (RFC 9110 section 9.1)",
    [BLITZ_EDIT_STATUS] = "the status is not within 200 to 599",
    [BLITZ_EDIT_TOO_MANY] = "the call made more edits than the plugin may",
    [BLITZ_EDIT_TOO_LONG] = "longer than limits.max_line_size or limits.max_field_size lets a client's be",
    [BLITZ_EDIT_TOO_BIG] = "the edits of the call take more bytes than the plugin may",
    [BLITZ_EDIT_NOMEM] = "the host is out of memory",
};

const char *blitz_edit_why(blitz_edit_refusal refusal) { return WHY[refusal]; }

blitz_edits *blitz_edits_new(void) { return calloc(1, sizeof(blitz_edits)); }

void blitz_edits_free(blitz_edits *edits)
{
    if (edits == NULL)
        return;
    free(edits->list);
    free(edits->bytes);
    free(edits->body);
    free(edits);
}

void blitz_edits_clear(blitz_edits *edits)
{
    free(edits->body);
    if (edits->cap > KEEP_EDITS) {
        free(edits->list);
        edits->list = NULL;
        edits->cap = 0;
    }
    if (edits->bytes_cap > KEEP_BYTES) {
        free(edits->bytes);
        edits->bytes = NULL;
        edits->bytes_cap = 0;
    }
    blitz_edits empty = {.list = edits->list, .cap = edits->cap, .bytes = edits->bytes, .bytes_cap = edits->bytes_cap};
    *edits = empty;
}

/* ---------------------------------------------------------------- appending */

static void *grown(void *old, uint32_t *cap, uint64_t wanted, size_t each, uint32_t first)
{
    if (wanted <= *cap)
        return old;
    uint64_t next = *cap > 0 ? *cap : first;
    while (next < wanted)
        next *= 2;
    void *made = realloc(old, (size_t)next * each);
    if (made != NULL)
        *cap = (uint32_t)next;
    return made;
}

static bool over(uint32_t limit, uint64_t size) { return limit > 0 && size > limit; }

static blitz_edit_refusal append(blitz_edits *edits, const blitz_plugin_limits *limits, edit what,
                                 blitz_text name, blitz_text value)
{
    uint64_t more = (uint64_t)name.len + value.len;
    if (edits->n >= limits->max_edits)
        return BLITZ_EDIT_TOO_MANY;
    if (edits->size + more > limits->max_edits_size || over(limits->head.max_head_size, edits->len + more))
        return BLITZ_EDIT_TOO_BIG;
    edit *list = grown(edits->list, &edits->cap, (uint64_t)edits->n + 1, sizeof *list, 8);
    if (list == NULL)
        return BLITZ_EDIT_NOMEM;
    edits->list = list;
    uint8_t *bytes = grown(edits->bytes, &edits->bytes_cap, edits->len + more + 1, 1, 256);
    if (bytes == NULL)
        return BLITZ_EDIT_NOMEM;
    edits->bytes = bytes;
    what.name = edits->len;
    what.name_len = (uint32_t)name.len;
    what.value = edits->len + what.name_len;
    what.value_len = (uint32_t)value.len;
    if (name.len > 0)
        memcpy(bytes + what.name, name.ptr, name.len);
    if (value.len > 0)
        memcpy(bytes + what.value, value.ptr, value.len);
    edits->list[edits->n++] = what;
    edits->len += (uint32_t)more;
    edits->size += more;
    return BLITZ_EDIT_OK;
}

/* The gateway alone writes these. Expect is one: the answer to it is ours. */
static bool is_connection_level(uint8_t id)
{
    switch (id) {
    case BLITZ_F_CONNECTION: case BLITZ_F_CONTENT_LENGTH: case BLITZ_F_TRANSFER_ENCODING: case BLITZ_F_EXPECT:
    case BLITZ_F_UPGRADE: case BLITZ_F_TE: case BLITZ_F_TRAILER: case BLITZ_F_KEEP_ALIVE:
    case BLITZ_F_PROXY_CONNECTION: case BLITZ_F_HTTP2_SETTINGS:
        return true;
    default:
        return false;
    }
}

blitz_edit_refusal blitz_edits_field(blitz_edits *edits, const blitz_plugin_limits *limits, int kind, int op,
                                     blitz_text name, blitz_text value)
{
    if ((uint64_t)name.len + value.len > limits->max_edits_size)      /* before a scan of megabytes */
        return BLITZ_EDIT_TOO_BIG;
    if (over(limits->head.max_field_size, (uint64_t)name.len + value.len + sizeof ": " - 1))
        return BLITZ_EDIT_TOO_LONG;
    if (!blitz_is_token(name.ptr, name.len))
        return BLITZ_EDIT_NAME;
    if (op == BLITZ_EDIT_REMOVE)
        value = (blitz_text){NULL, 0};
    else if (!blitz_is_field_content(value.ptr, value.len))
        return BLITZ_EDIT_VALUE;
    uint8_t id = blitz_field_id(name.ptr, name.len);
    if (is_connection_level(id))
        return BLITZ_EDIT_CONNECTION;
    if (id == BLITZ_F_OTHER && op != BLITZ_EDIT_REMOVE && blitz_is_look_alike(kind, name.ptr, name.len))
        return BLITZ_EDIT_LOOK_ALIKE;
    if (id == BLITZ_F_HOST && kind == BLITZ_RESPONSE)
        return BLITZ_EDIT_HOST_IN_RESPONSE;
    if (id == BLITZ_F_HOST && op != BLITZ_EDIT_SET)
        return BLITZ_EDIT_HOST_ONCE;
    return append(edits, limits, (edit){.op = (uint8_t)op, .id = id}, name, value);
}

blitz_edit_refusal blitz_edits_target(blitz_edits *edits, const blitz_plugin_limits *limits, blitz_text target)
{
    if (target.len > limits->max_edits_size)
        return BLITZ_EDIT_TOO_BIG;
    if (over(limits->head.max_line_size, target.len))
        return BLITZ_EDIT_TOO_LONG;
    if (!blitz_is_origin_form(target.ptr, target.len))
        return BLITZ_EDIT_TARGET;
    return append(edits, limits, (edit){.op = BLITZ_EDIT_PATH}, (blitz_text){NULL, 0}, target);
}

blitz_edit_refusal blitz_edits_method(blitz_edits *edits, const blitz_plugin_limits *limits, blitz_text method)
{
    if (method.len > limits->max_edits_size)
        return BLITZ_EDIT_TOO_BIG;
    if (over(limits->head.max_line_size, method.len))
        return BLITZ_EDIT_TOO_LONG;
    if (!blitz_is_token(method.ptr, method.len))
        return BLITZ_EDIT_METHOD_NAME;
    return append(edits, limits, (edit){.op = BLITZ_EDIT_METHOD}, (blitz_text){NULL, 0}, method);
}

/* 1xx is no final answer, and 101 would hand the connection over. */
blitz_edit_refusal blitz_edits_status(blitz_edits *edits, int32_t status)
{
    if (status < 200 || status > 599)
        return BLITZ_EDIT_STATUS;
    edits->status = (uint32_t)status;
    return BLITZ_EDIT_OK;
}

blitz_edit_refusal blitz_edits_body(blitz_edits *edits, const blitz_plugin_limits *limits, blitz_text body)
{
    uint64_t others = edits->size - edits->body_len;
    if (others + body.len > limits->max_edits_size)
        return BLITZ_EDIT_TOO_BIG;
    uint8_t *copy = malloc(body.len + 1);
    if (copy == NULL)
        return BLITZ_EDIT_NOMEM;
    if (body.len > 0)
        memcpy(copy, body.ptr, body.len);
    free(edits->body);
    edits->body = copy;
    edits->body_len = (uint32_t)body.len;
    edits->has_body = true;
    edits->size = others + body.len;
    return BLITZ_EDIT_OK;
}

/* ---------------------------------------------------------------- committing */

/* Enough of a head to put it back: the arena only grows, so its length says what was there. */
typedef struct { blitz_head head; } snapshot;

static size_t live_size(const blitz_head *head)
{
    return offsetof(blitz_head, fields) + head->n_fields * sizeof head->fields[0];
}

static void save(snapshot *saved, const blitz_head *head)
{
    memcpy(&saved->head, head, live_size(head));
}

static void restore(blitz_head *head, const snapshot *saved)
{
    uint8_t *arena = head->arena;                 /* it may have moved while growing */
    uint32_t arena_cap = head->arena_cap;
    memcpy(head, &saved->head, live_size(&saved->head));
    head->arena = arena;
    head->arena_cap = arena_cap;
}

/* To HEAD and from HEAD is no change that a request survives: only a HEAD's answer ends with its head, and
 * the client and the upstream would take one answer for two lengths (RFC 9112 section 6.3). */
static int set_method(blitz_head *head, const uint8_t *method, size_t len)
{
    bool was_head = head->method.len == 4 && memcmp(blitz_at(head, head->method), "HEAD", 4) == 0;
    bool is_head = len == 4 && memcmp(method, "HEAD", 4) == 0;
    return was_head == is_head ? blitz_head_set_method(head, method, len) : BLITZ_E_STATE;
}

static int apply(blitz_head *head, const blitz_edits *edits, const edit *what)
{
    const uint8_t *name = edits->bytes + what->name, *value = edits->bytes + what->value;
    if (what->op == BLITZ_EDIT_SET || what->op == BLITZ_EDIT_ADD || what->op == BLITZ_EDIT_REMOVE)
        blitz_head_remove_spellings(head, name, what->name_len);
    switch (what->op) {
    case BLITZ_EDIT_SET:
        return blitz_head_set(head, name, what->name_len, value, what->value_len);
    case BLITZ_EDIT_ADD:
        return blitz_head_add(head, name, what->name_len, value, what->value_len);
    case BLITZ_EDIT_REMOVE:
        return blitz_head_remove(head, name, what->name_len);
    case BLITZ_EDIT_PATH:
        return blitz_head_set_target(head, value, what->value_len);
    default:
        return set_method(head, value, what->value_len);
    }
}

/* Which edits have a meaning for this head: host, path and method only for a request. */
static bool concerns(const blitz_head *head, const edit *what)
{
    bool for_request = what->id == BLITZ_F_HOST || what->op == BLITZ_EDIT_PATH || what->op == BLITZ_EDIT_METHOD;
    return head->kind == BLITZ_REQUEST || !for_request;
}

/* Does this call set a field of that id? */
static bool names_field(const blitz_edits *edits, uint8_t id)
{
    for (uint32_t i = 0; i < edits->n; i++)
        if (edits->list[i].id == id && edits->list[i].op != BLITZ_EDIT_REMOVE)
            return true;
    return false;
}

static int remove_all(blitz_head *head, const char *const *names, size_t n)
{
    int code = 0;
    for (size_t i = 0; code >= 0 && i < n; i++)
        code = blitz_head_remove(head, (const uint8_t *)names[i], strlen(names[i]));
    return code;
}

/* What described the bytes that the body had goes before the edits are applied, so what this call says of the
 * new ones stays: coding and digests (RFC 9110 section 8.4, RFC 9530); of a response also what let a client put
 * old and new bytes together: validators, ranges (RFC 9110 sections 8.8, 14). nginx does the same where it
 * changes bodies. A request's Content-Range stays: without it a part would replace the whole
 * (section 14.5); send_request.py refuses one that no longer fits. */
static int forget_old_body(blitz_head *head)
{
    static const char *const coded[] = {"content-encoding", "content-digest", "repr-digest", "digest", "content-md5"};
    static const char *const answered[] = {"etag", "last-modified", "accept-ranges", "content-range"};
    int code = remove_all(head, coded, sizeof coded / sizeof *coded);
    if (code >= 0 && head->kind == BLITZ_RESPONSE)
        code = remove_all(head, answered, sizeof answered / sizeof *answered);
    return code;
}

/* After the head was checked with the framing that the sender gave it. */
static int frame_body(blitz_head *head, const blitz_edits *edits)
{
    static const char *const framing[] = {"transfer-encoding"};
    char digits[24];
    int n = snprintf(digits, sizeof digits, "%u", edits->body_len);
    head->body = BLITZ_BODY_LENGTH;
    head->content_length = edits->body_len;
    head->flags |= BLITZ_HEAD_HAS_BODY_EDIT;
    if (edits->body_len > 0)
        head->flags &= (uint8_t)~BLITZ_HEAD_UPGRADE;      /* no upgrade with content: see head_rules.c */
    int code = remove_all(head, framing, 1);
    if (code < 0)
        return code;
    return blitz_head_set(head, (const uint8_t *)"content-length", 14, (const uint8_t *)digits, (size_t)n);
}

static int store_status(blitz_head *head, uint32_t status)
{
    const char *reason = blitz_reason(status);
    head->status = status;
    return blitz_head_store(head, (const uint8_t *)reason, strlen(reason), &head->reason);
}

static int set_status(blitz_head *head, const blitz_edits *edits)
{
    return head->kind == BLITZ_RESPONSE && edits->status != 0 ? store_status(head, edits->status) : 0;
}

static bool is_multipart_ranges(const blitz_head *head)
{
    static const char type[] = "multipart/byteranges";
    int at = blitz_head_find(head, (const uint8_t *)"content-type", 12, 0);
    if (at < 0)
        return false;
    blitz_span value = head->fields[at].value;
    return value.len >= sizeof type - 1 &&
           blitz_name_equal(blitz_at(head, value), (const uint8_t *)type, sizeof type - 1);
}

/* A body that replaces a part (206) is no part of anything, unless the call says which (RFC 9110 section
 * 15.3.7): the answer is whole now. */
static int make_whole(blitz_head *head, const blitz_edits *edits)
{
    if (head->kind != BLITZ_RESPONSE || head->status != 206 || names_field(edits, BLITZ_F_CONTENT_RANGE))
        return 0;
    if (is_multipart_ranges(head)) {
        if (names_field(edits, BLITZ_F_CONTENT_TYPE))
            return 0;                             /* ranges of its own, as many as it likes */
        int code = blitz_head_remove(head, (const uint8_t *)"content-type", 12);
        if (code < 0)
            return code;
    }
    return store_status(head, 200);
}

static void sentence(char *why, size_t why_cap, int code, const char *message)
{
    snprintf(why, why_cap, "the edits cannot be applied: the %s head %s", message,
             code == BLITZ_E_LIMIT ? "has no room for more fields" :
             code == BLITZ_E_NOMEM ? "needs more memory than the host has" : "would no longer be valid");
}

static size_t path_length(const uint8_t *target, size_t len)
{
    const uint8_t *query = len > 0 ? memchr(target, '?', len) : NULL;
    return query != NULL ? (size_t)(query - target) : len;
}

/* The path or the host is not what it was. A route does not depend on anything else. */
static bool is_moved(const blitz_head *head, blitz_span old_target, blitz_span old_host)
{
    const uint8_t *path = blitz_at(head, head->target), *old_path = blitz_at(head, old_target);
    size_t len = path_length(path, head->target.len);
    if (len != path_length(old_path, old_target.len) || memcmp(path, old_path, len) != 0)
        return true;
    return head->host.len != old_host.len ||
           !blitz_name_equal(blitz_at(head, head->host), blitz_at(head, old_host), old_host.len);
}

/* All edits on one head, or none. new_body: they bring the message's content. -> BLITZ_EDIT_MOVED or 0. */
static int edit_head(blitz_head *head, const blitz_edits *edits, bool new_body, char *why, size_t why_cap)
{
    snapshot saved;
    save(&saved, head);
    int code = new_body ? forget_old_body(head) : 0;
    bool routed = false;                          /* host, target or method changed: check the whole */
    for (uint32_t i = 0; code >= 0 && i < edits->n; i++) {
        const edit *what = &edits->list[i];
        if (!concerns(head, what))
            continue;
        code = apply(head, edits, what);
        routed = routed || what->id == BLITZ_F_HOST || what->op == BLITZ_EDIT_PATH || what->op == BLITZ_EDIT_METHOD;
    }
    if (code >= 0 && routed)
        code = blitz_head_check(head, NULL, 0);
    if (code >= 0)
        code = set_status(head, edits);
    if (code >= 0 && new_body)
        code = make_whole(head, edits);
    if (code >= 0 && new_body)
        code = frame_body(head, edits);
    if (code >= 0)
        return routed && is_moved(head, saved.head.target, saved.head.host) ? BLITZ_EDIT_MOVED : 0;
    restore(head, &saved);
    sentence(why, why_cap, code, head->kind == BLITZ_REQUEST ? "request" : "response");
    return code;
}

/* The edits log's body becomes the exchange's. */
static void move_body(blitz_exchange *exchange)
{
    blitz_edits *edits = exchange->edits;
    if (exchange->body.ptr == exchange->new_body.ptr)
        exchange->body = (blitz_text){NULL, 0};
    free((void *)exchange->new_body.ptr);
    exchange->new_body = (blitz_text){edits->body, edits->body_len};
    exchange->body_edited = 1;
    exchange->body_truncated = 0;
    edits->body = NULL;
}

static int commit_answer(blitz_exchange *exchange, char *why, size_t why_cap)
{
    blitz_edits *edits = exchange->edits;
    int status = edits->status != 0 ? (int)edits->status : 200;
    if (!blitz_may_have_content((uint32_t)status) && edits->body_len > 0) {
        snprintf(why, why_cap, "the answer has status %d, which has no body, and a body of %u bytes", status,
                 edits->body_len);
        return BLITZ_E_SYNTAX;
    }
    blitz_head *response = exchange->response;
    blitz_head_reset(response, BLITZ_RESPONSE);
    int code = blitz_head_start_response(response, status, NULL, 0, 1);
    if (code < 0) {
        sentence(why, why_cap, code, "response");
        return code;
    }
    code = edit_head(response, edits, !blitz_ends_with_head((uint32_t)status), why, why_cap);
    if (code < 0)
        return code;
    move_body(exchange);
    return BLITZ_R_EDITS | BLITZ_R_BODY;
}

static int commit_message(blitz_exchange *exchange, blitz_head *head, char *why, size_t why_cap)
{
    blitz_edits *edits = exchange->edits;
    bool replace = edits->has_body;
    int code = edit_head(head, edits, replace, why, why_cap);
    if (code < 0)
        return code;
    if (replace) {
        move_body(exchange);
        exchange->body = exchange->new_body;      /* what the next plugin reads */
    }
    head->edits += edits->n;
    return BLITZ_R_EDITS | code | (replace ? BLITZ_R_BODY : 0);
}

int blitz_edits_commit(blitz_exchange *exchange, int kind, bool stop, char *why, size_t why_cap)
{
    const blitz_edits *edits = exchange->edits;
    if (kind == BLITZ_REQUEST && stop)
        return commit_answer(exchange, why, why_cap);
    if (edits->n == 0 && edits->status == 0 && !edits->has_body)
        return 0;
    return commit_message(exchange, kind == BLITZ_REQUEST ? exchange->request : exchange->response, why, why_cap);
}
