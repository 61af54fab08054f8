/* head.h: the head table, as the other C files of this directory use it. See blitz_native.h for
 * what a head is; this file adds what only C needs. */
#ifndef BLITZ_HEAD_H
#define BLITZ_HEAD_H
#include "blitz_native.h"
#include <stdbool.h>

/* Address of a span. */
static inline const uint8_t *blitz_at(const blitz_head *head, blitz_span span)
{
    return (span.off & 0x80000000u) ? head->arena + (span.off & 0x7fffffffu) : head->base + span.off;
}

/* BLITZ_F_* of a field name, whatever its case. */
uint8_t blitz_field_id(const uint8_t *name, size_t len);
/* RFC 9110 section 5.6.2 token; section 5.5 field-content (HTAB, SP, VCHAR, obs-text; no other byte). */
bool blitz_is_token(const uint8_t *bytes, size_t len);
bool blitz_is_field_content(const uint8_t *bytes, size_t len);
/* RFC 9112 section 3.2.1 origin-form, as bytes we forward: '/', then visible ASCII without '#', '"', '<',
 * '>', '\\', '^', '`', '{', '|', '}' only where RFC 3986 forbids them and no other server accepts them: see head_rules.c. */
bool blitz_is_origin_form(const uint8_t *bytes, size_t len);
bool blitz_name_equal(const uint8_t *a, const uint8_t *b, size_t len);   /* ASCII case-insensitive */
/* Copy into the arena. -> 0 and *out, or BLITZ_E_NOMEM. */
int blitz_head_store(blitz_head *head, const uint8_t *bytes, size_t len, blitz_span *out);
#endif
