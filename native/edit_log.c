/* edit_log.c: what a plugin asks to change, checked and written down. It is checked as strictly as what a client
 * writes: names are tokens (RFC 9110 section 5.6.2), values field-content (section 5.5), and the fields that frame
 * a message or belong to one connection (section 7.6.1) are the gateway's own. */
#include "edit_log.h"
#include "head.h"
#include <stdlib.h>
#include <string.h>

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
