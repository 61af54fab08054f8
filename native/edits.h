/* edits.h: the edit log of one call. Host functions append to it; nothing changes until the hook has
 * returned and its verdict says to which message the edits apply. */
#ifndef BLITZ_EDITS_H
#define BLITZ_EDITS_H
#include "blitz_native.h"
#include <stdbool.h>

enum { BLITZ_EDIT_SET, BLITZ_EDIT_ADD, BLITZ_EDIT_REMOVE, BLITZ_EDIT_PATH, BLITZ_EDIT_METHOD };

/* Why an edit is refused. Appending functions return 0 or one of these. */
typedef enum {
    BLITZ_EDIT_OK = 0, BLITZ_EDIT_NAME, BLITZ_EDIT_LOOK_ALIKE, BLITZ_EDIT_VALUE, BLITZ_EDIT_CONNECTION, BLITZ_EDIT_HOST_ONCE,
    BLITZ_EDIT_HOST_IN_RESPONSE, BLITZ_EDIT_TARGET, BLITZ_EDIT_METHOD_NAME, BLITZ_EDIT_STATUS,
    BLITZ_EDIT_TOO_MANY, BLITZ_EDIT_TOO_LONG, BLITZ_EDIT_TOO_BIG, BLITZ_EDIT_NOMEM
} blitz_edit_refusal;
/* The rest of the sentence "<host function>: ...". */
const char *blitz_edit_why(blitz_edit_refusal refusal);

/* Empty; memory comes with the first edit. NULL when out of memory. */
blitz_edits *blitz_edits_new(void);
void blitz_edits_free(blitz_edits *edits);
/* Forget all; big buffers are given back. */
void blitz_edits_clear(blitz_edits *edits);

/* value is ignored for REMOVE. kind: of the hook, BLITZ_REQUEST or BLITZ_RESPONSE. */
blitz_edit_refusal blitz_edits_field(blitz_edits *edits, const blitz_plugin_limits *limits, int kind, int op,
                                     blitz_text name, blitz_text value);
blitz_edit_refusal blitz_edits_target(blitz_edits *edits, const blitz_plugin_limits *limits, blitz_text target);
blitz_edit_refusal blitz_edits_method(blitz_edits *edits, const blitz_plugin_limits *limits, blitz_text method);
blitz_edit_refusal blitz_edits_status(blitz_edits *edits, int32_t status);
blitz_edit_refusal blitz_edits_body(blitz_edits *edits, const blitz_plugin_limits *limits, blitz_text body);

/* Apply to the exchange as the verdict says, all or nothing. kind: of the hook; stop: verdict 1; streams: the plugin
 * may change the body part by part.
 * -> BLITZ_R_* flags, and BLITZ_EDIT_MOVED when the request's path or host is not what it was; or negative with
 * one sentence in why and nothing changed. */
enum { BLITZ_EDIT_MOVED = 256 };
int blitz_edits_commit(blitz_exchange *exchange, int kind, bool stop, bool streams, char *why, size_t why_cap);
/* The body of this message goes through a plugin that may change it part by part: nothing that was said of its bytes is
 * true any more, and how many there will be is not known. 0, or negative: nothing has changed. */
int blitz_edits_stream(blitz_head *head);
#endif
