/* head_connection.c: Connection, and the fields that it names (RFC 9110 section 7.6.1). What is refused and what is
 * only ignored is said at the head of head_rules.c.
 */
#include "head_rules.h"

enum { MOST_NAMED = 10 };

/* Not the sender's to remove: their loss changes what the message is, or hides where it comes from. */
static const uint64_t PROTECTED =
    BIT(BLITZ_F_HOST) | BIT(BLITZ_F_CONTENT_LENGTH) | BIT(BLITZ_F_TRANSFER_ENCODING) |
    BIT(BLITZ_F_CONTENT_TYPE) | BIT(BLITZ_F_CONTENT_ENCODING) | BIT(BLITZ_F_CONTENT_RANGE) |
    BIT(BLITZ_F_X_FORWARDED_FOR) | BIT(BLITZ_F_X_FORWARDED_PROTO) | BIT(BLITZ_F_X_FORWARDED_HOST) |
    BIT(BLITZ_F_FORWARDED) | BIT(BLITZ_F_VIA) | BIT(BLITZ_F_MAX_FORWARDS) | BIT(BLITZ_F_X_REQUEST_ID) |
    BIT(BLITZ_F_CONNECTION);

/* The writer leaves these out whether they are named or not. */
static const uint64_t ALWAYS_DROPPED =
    BIT(BLITZ_F_TE) | BIT(BLITZ_F_TRAILER) | BIT(BLITZ_F_KEEP_ALIVE) | BIT(BLITZ_F_UPGRADE) |
    BIT(BLITZ_F_PROXY_CONNECTION) | BIT(BLITZ_F_PROXY_AUTHENTICATE) |
    BIT(BLITZ_F_PROXY_AUTHORIZATION) | BIT(BLITZ_F_HTTP2_SETTINGS);

bool blitz_next_element(text *list, text *element)
{
    while (list->len) {
        const uint8_t *comma = memchr(list->at, ',', list->len);
        size_t len = comma ? (size_t)(comma - list->at) : list->len;
        *element = (text){list->at, len};
        size_t used = len + (comma != NULL);
        list->at += used;
        list->len -= used;
        while (element->len && (element->at[0] == ' ' || element->at[0] == '\t')) {
            element->at++;
            element->len--;
        }
        while (element->len && (element->at[element->len - 1] == ' ' || element->at[element->len - 1] == '\t'))
            element->len--;
        if (element->len)
            return true;
    }
    return false;
}

static void remove_named(blitz_head *head, text name, options *found)
{
    uint8_t id = blitz_field_id(name.at, name.len);
    if ((PROTECTED | ALWAYS_DROPPED) & BIT(id))
        return;
    blitz_head_remove(head, name.at, name.len);
    found->removable = true;
}

static int read_options(blitz_head *head, text list, options *found)
{
    text option;
    while (blitz_next_element(&list, &option)) {
        if (!blitz_is_token(option.at, option.len))
            return -BLITZ_BAD_CONNECTION;
        if (is_word(option, "close"))
            found->close = true;
        else if (is_word(option, "keep-alive"))
            found->keep_alive = true;
        else if (is_word(option, "upgrade"))
            found->upgrade = true;
        else if (!is_word(option, "te")) {
            if (++found->n_named > MOST_NAMED)
                return -BLITZ_BAD_CONNECTION_MANY;
            remove_named(head, option, found);
        }
    }
    return 0;
}

/* After its names were obeyed Connection says only what is left, so that a second check finds the same
 * and takes out nothing that was added since. */
static int rewrite_connection(blitz_head *head, const options *found)
{
    char left[32] = "";
    if (found->close)
        strcat(left, ", close");
    if (found->keep_alive)
        strcat(left, ", keep-alive");
    if (found->upgrade)
        strcat(left, ", upgrade");
    if (left[0] == '\0') {
        blitz_head_remove(head, (const uint8_t *)"connection", 10);
        return 0;
    }
    return blitz_head_set(head, (const uint8_t *)"connection", 10, (const uint8_t *)left + 2, strlen(left) - 2);
}

int blitz_head_obey_connection(blitz_head *head, presence *fields, options *found)
{
    if (!(fields->seen & BIT(BLITZ_F_CONNECTION)))
        return 0;
    for (uint32_t i = 0; i < head->n_fields; i++) {
        const blitz_field *field = &head->fields[i];
        if (field->id != BLITZ_F_CONNECTION || field->gone)
            continue;
        text list = {blitz_at(head, field->value), field->value.len};
        int result = read_options(head, list, found);
        if (result < 0)
            return result;
    }
    if (found->n_named)
        head->flags |= BLITZ_HEAD_NAMED_OPTIONS;
    if (!found->removable)
        return 0;
    int result = rewrite_connection(head, found);
    if (result < 0)
        return result;
    blitz_head_survey(head, fields);
    return 0;
}
