/* access_line.h: how a line of the access log is written. access_line.c does it, access_log.c keeps the lines. */
#ifndef BLITZ_ACCESS_LINE_H
#define BLITZ_ACCESS_LINE_H
#include "blitz_native.h"
#include <stdbool.h>
#include <time.h>

/* PIPE_BUF of Linux: a write of up to so many bytes is not mixed with those of others. */
enum { BLITZ_ACCESS_LINE_SIZE = 4096 };

typedef struct {
    bool is_known;
    int64_t second;                      /* the one below; most lines are of the same as the one before */
    struct tm utc;
    char text[32];                       /* 2024-01-02T03:04:05 */
    size_t len;
} blitz_access_clock;

/* Write the line of record, without its end, to dst, which has room for BLITZ_ACCESS_LINE_SIZE. kind: not OFF.
 * -> bytes, less than BLITZ_ACCESS_LINE_SIZE. */
size_t blitz_access_line(uint8_t *dst, int kind, const blitz_access_record *record, blitz_access_clock *clock);
#endif
