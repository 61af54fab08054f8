/* text.h: bytes of others made fit for a log line or a sentence. */
#ifndef BLITZ_TEXT_H
#define BLITZ_TEXT_H
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Copy src to dst with control characters escaped (\n, \r, \t, \xNN, \u0085 for C1 and for the line
 * separators of Unicode) and ill-formed UTF-8 as U+FFFD, so that the result is one line of valid
 * UTF-8. Stops before what does not fit whole. -> bytes written; *used: bytes of src consumed. */
size_t blitz_text_escape(uint8_t *dst, size_t cap, const uint8_t *src, size_t len, size_t *used);

/* The same for a message of several lines: NUL-terminated, line breaks and the white space around
 * them become one space. */
void blitz_text_one_line(char *dst, size_t cap, const char *src, size_t len);

/* snprintf that appends at *length (kept < cap). */
void blitz_text_append(char *dst, size_t cap, size_t *length, const char *format, ...)
    __attribute__((format(printf, 4, 5)));
#endif
