/* edits.c: see edits.h: the edit log of a call becomes the message, all of it or nothing. */
#include "edit_log.h"
#include "head.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

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

/* What a call does to the body: replaces it, or will see and perhaps change it part by part. Parts that nobody has decoded
 * are still in their coding. */
typedef enum { BODY_KEPT, BODY_WHOLE, BODY_IN_PARTS } new_body;

/* What described the bytes that the body had goes before the edits are applied, so what this call says of the
 * new ones stays: coding and digests (RFC 9110 section 8.4, RFC 9530); of a response also what let a client put
 * old and new bytes together: validators, ranges (RFC 9110 sections 8.8, 14). nginx does the same where it
 * changes bodies. A request's Content-Range stays: without it a part would replace the whole
 * (section 14.5); send_request.py refuses one that no longer fits. */
static int forget_old_body(blitz_head *head, new_body how)
{
    static const char *const coding[] = {"content-encoding"};
    static const char *const digests[] = {"content-digest", "repr-digest", "digest", "content-md5"};
    static const char *const answered[] = {"etag", "last-modified", "accept-ranges", "content-range"};
    int code = how == BODY_WHOLE ? remove_all(head, coding, 1) : 0;
    if (code >= 0)
        code = remove_all(head, digests, sizeof digests / sizeof *digests);
    if (code >= 0 && head->kind == BLITZ_RESPONSE)
        code = remove_all(head, answered, sizeof answered / sizeof *answered);
    return code;
}

/* How many bytes there will be is not known. */
static int frame_parts(blitz_head *head)
{
    static const char *const framing[] = {"content-length"};
    if (head->body == BLITZ_BODY_LENGTH) {
        head->body = BLITZ_BODY_CHUNKED;
        head->content_length = -1;
    }
    int code = remove_all(head, framing, 1);
    return code < 0 ? code : 0;
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

static bool is_chosen_by(const blitz_chosen_by *by, const blitz_edits *edits, const edit *what)
{
    if (what->op == BLITZ_EDIT_METHOD)
        return by->method;
    if (what->op == BLITZ_EDIT_PATH)
        return by->query;
    for (size_t i = 0; i < by->n_fields; i++)
        if (by->fields[i].len == what->name_len && blitz_name_equal(edits->bytes + what->name, by->fields[i].ptr, what->name_len))
            return true;
    return false;
}

/* Routes are chosen by something besides path and host that this call has changed. */
static bool is_moved_by_more(const blitz_chosen_by *by, const blitz_edits *edits)
{
    for (uint32_t i = 0; by != NULL && i < edits->n; i++)
        if (is_chosen_by(by, edits, &edits->list[i]))
            return true;
    return false;
}

/* The path or the host is not what it was. */
static bool is_moved(const blitz_head *head, blitz_span old_target, blitz_span old_host)
{
    const uint8_t *path = blitz_at(head, head->target), *old_path = blitz_at(head, old_target);
    size_t len = path_length(path, head->target.len);
    if (len != path_length(old_path, old_target.len) || memcmp(path, old_path, len) != 0)
        return true;
    return head->host.len != old_host.len ||
           !blitz_name_equal(blitz_at(head, head->host), blitz_at(head, old_host), old_host.len);
}

/* All edits on one head, or none. -> BLITZ_EDIT_MOVED or 0. */
static int edit_head(blitz_head *head, const blitz_edits *edits, new_body how, const blitz_chosen_by *by, char *why,
                     size_t why_cap)
{
    snapshot saved;
    save(&saved, head);
    int code = how != BODY_KEPT ? forget_old_body(head, how) : 0;
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
    if (code >= 0 && how != BODY_KEPT)
        code = make_whole(head, edits);
    if (code >= 0 && how != BODY_KEPT)
        code = how == BODY_WHOLE ? frame_body(head, edits) : frame_parts(head);
    if (code >= 0)
        return (routed && is_moved(head, saved.head.target, saved.head.host)) || is_moved_by_more(by, edits) ? BLITZ_EDIT_MOVED : 0;
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
    code = edit_head(response, edits, blitz_ends_with_head((uint32_t)status) ? BODY_KEPT : BODY_WHOLE, NULL, why, why_cap);
    if (code < 0)
        return code;
    move_body(exchange);
    return BLITZ_R_EDITS | BLITZ_R_BODY;
}

static int commit_message(blitz_exchange *exchange, blitz_head *head, bool streams, char *why, size_t why_cap)
{
    blitz_edits *edits = exchange->edits;
    bool replace = edits->has_body;
    new_body how = replace ? BODY_WHOLE : streams ? BODY_IN_PARTS : BODY_KEPT;
    int code = edit_head(head, edits, how, head->kind == BLITZ_REQUEST ? exchange->chosen_by : NULL, why, why_cap);
    if (code < 0)
        return code;
    if (replace) {
        move_body(exchange);
        exchange->body = exchange->new_body;      /* what the next plugin reads */
    }
    head->edits += edits->n;
    return BLITZ_R_EDITS | code | (replace ? BLITZ_R_BODY : 0);
}

int blitz_edits_stream(blitz_head *head)
{
    static const blitz_edits none;
    char why[160];
    return edit_head(head, &none, BODY_IN_PARTS, NULL, why, sizeof why);
}

int blitz_edits_commit(blitz_exchange *exchange, int kind, bool stop, bool streams, char *why, size_t why_cap)
{
    const blitz_edits *edits = exchange->edits;
    if (kind == BLITZ_REQUEST && stop)
        return commit_answer(exchange, why, why_cap);
    if (edits->n == 0 && edits->status == 0 && !edits->has_body && !streams)
        return 0;
    blitz_head *head = kind == BLITZ_REQUEST ? exchange->request : exchange->response;
    return commit_message(exchange, head, streams, why, why_cap);
}
