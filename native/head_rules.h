/* head_rules.h: what the files of the rules share: head_rules.c and head_connection.c. */
#ifndef BLITZ_HEAD_RULES_H
#define BLITZ_HEAD_RULES_H
#include "head.h"
#include <string.h>

#define BIT(id) (UINT64_C(1) << (id))

/* Which known fields are there: seen at all, seen more than once, and where the last one is. */
typedef struct {
    uint64_t seen, many;
    uint16_t at[BLITZ_F_COUNT];     /* valid where seen */
} presence;

/* What Connection said. */
typedef struct {
    bool close, keep_alive, upgrade;
    uint32_t n_named;               /* options that are none of close, keep-alive, upgrade, te */
    bool removable;                 /* one of them names a field that may leave the table */
} options;

typedef struct {
    const uint8_t *at;
    size_t len;
} text;

static inline text value_of(const blitz_head *head, const presence *fields, int id)
{
    blitz_span span = head->fields[fields->at[id]].value;
    return (text){blitz_at(head, span), span.len};
}

/* word: lower case. */
static inline bool is_word(text value, const char *word)
{
    size_t len = strlen(word);
    return value.len == len && blitz_name_equal(value.at, (const uint8_t *)word, len);
}

static inline bool method_is(const blitz_head *head, const char *method)
{
    size_t len = strlen(method);
    return head->method.len == len && memcmp(blitz_at(head, head->method), method, len) == 0;
}

/* Look through the fields of the head as it is now. */
void blitz_head_survey(const blitz_head *head, presence *fields);

/* Take the next element of a comma-separated list; false at its end. Empty elements are skipped
 * (RFC 9110 section 5.6.1). */
bool blitz_next_element(text *list, text *element);

/* Read Connection and take the fields that it names off the table (RFC 9110 section 7.6.1); fields is surveyed
 * anew then. -> 0, or a negative BLITZ_BAD_*. */
int blitz_head_obey_connection(blitz_head *head, presence *fields, options *found);
#endif
