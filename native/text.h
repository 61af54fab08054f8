/* text.h: bytes of others made fit for a log line or a sentence. */
#ifndef BLITZ_TEXT_H
#define BLITZ_TEXT_H
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* blitz_text_escape of a message of several lines: NUL-terminated, line breaks and the white space around
 * them become one space. */
void blitz_text_one_line(char *dst, size_t cap, const char *src, size_t len);

/* snprintf that appends at *length (kept < cap). */
void blitz_text_append(char *dst, size_t cap, size_t *length, const char *format, ...)
    __attribute__((format(printf, 4, 5)));
#endif
