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

/* Classes of bytes, the bits of blitz_class. */
enum {
    BLITZ_C_TOKEN = 1,      /* RFC 9110 section 5.6.2 tchar */
    BLITZ_C_CONTENT = 2,    /* RFC 9110 section 5.5: HTAB, SP, VCHAR, obs-text; no other byte */
    BLITZ_C_ODD = 4,        /* a tchar that is neither alphanumeric nor '-' */
    BLITZ_C_HOST = 8,       /* RFC 3986 section 2.3 unreserved: what a host name is made of */
    BLITZ_C_PATH = 16,      /* may stand in a path as it is: see blitz_is_origin_form */
    BLITZ_C_QUERY = 32      /* may stand in a query as it is */
};
extern const uint8_t blitz_class[256];

/* BLITZ_F_* of a field name, whatever its case. */
uint8_t blitz_field_id(const uint8_t *name, size_t len);
bool blitz_is_token(const uint8_t *bytes, size_t len);          /* one byte at least */
/* A name that another program may read as a different one: the name of a known field but for its
 * punctuation, or, in a request, one with '_', which CGI and its heirs cannot tell from '-'; look_alike.c. */
bool blitz_is_look_alike(int kind, const uint8_t *name, size_t len);
/* BLITZ_F_* of the field that the name reads as but for its punctuation; OTHER for a name without odd bytes. */
uint8_t blitz_look_alike_id(const uint8_t *name, size_t len);
bool blitz_is_field_content(const uint8_t *bytes, size_t len);  /* may be empty */
/* RFC 9112 section 3.2.1 origin-form, strict: see head_target.c. */
bool blitz_is_origin_form(const uint8_t *bytes, size_t len);
/* RFC 3986 authority without userinfo, as Host and absolute-form carry it: see head_target.c.
 * host_len: bytes of the host; port: its number, or -1 when there is none. */
bool blitz_parse_authority(const uint8_t *bytes, size_t len, size_t *host_len, int32_t *port);
bool blitz_name_equal(const uint8_t *a, const uint8_t *b, size_t len);   /* ASCII case-insensitive */
/* The standard reason phrase of a status, NUL-terminated; "" for one that is not registered. */
const char *blitz_reason(uint32_t status);
/* Copy into the arena. -> 0 and *out, or BLITZ_E_NOMEM. */
int blitz_head_store(blitz_head *head, const uint8_t *bytes, size_t len, blitz_span *out);

/* blitz_head_check for a producer that knows whether any name has a byte of class ODD. */
int blitz_head_rules(blitz_head *head, const uint8_t *request_method, size_t method_len, bool odd_names);
/* framing.c: this status ends with its head, whatever that says; it may have content. */
bool blitz_ends_with_head(uint32_t status);
bool blitz_may_have_content(uint32_t status);
/* The same of the response of this exchange: that to HEAD has none. */
bool blitz_may_get_content(const blitz_exchange *exchange);
#endif
