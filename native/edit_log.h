/* edit_log.h: how the edits of one call lie in memory, for edit_log.c, which writes them down, and edits.c, which
 * applies them. */
#ifndef BLITZ_EDIT_LOG_H
#define BLITZ_EDIT_LOG_H
#include "edits.h"

typedef struct { uint32_t name, name_len, value, value_len; uint8_t op, id; } edit;

struct blitz_edits {
    edit *list;
    uint8_t *bytes;               /* names and values, one after another */
    uint8_t *body;                /* owned until committed */
    uint32_t n, cap, len, bytes_cap, body_len, status;
    bool has_body;
    uint64_t size;                /* counted against max_edits_size */
};
#endif
