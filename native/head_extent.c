/* head_extent.c: where a head ends, before anyone says what it means: the gate before h11.
 *
 * h11 accepts bare LF, obs-fold, control bytes, and folds repeated Content-Length fields into one; none
 * of that must get through (RFC 9112 sections 2.2, 5.2, 6.3). Lines are found here, CRLF only; what is
 * in them is for h11 and head_rules.c.
 *
 * Incremental: every call starts at the line that was unfinished, so a head that comes byte by byte
 * costs one look at each line's bytes per call, bounded by the line and head bounds. */
#define _GNU_SOURCE     /* memrchr */
#include "head_scan.h"

#include <string.h>

static bool is_content_length(const uint8_t *line, size_t len)
{
    static const char name[] = "content-length";
    return len > 14 && line[14] == ':' && blitz_name_equal(line, (const uint8_t *)name, 14);
}

static int64_t refuse(int64_t result, int reason, int *why)
{
    *why = reason;
    return result;
}

/* What needs the whole head: the number of fields, and Content-Length as h11 will not show it. */
static int64_t check_lines(const uint8_t *buf, const uint8_t *end, const scan_bounds *bounds, int *why)
{
    uint32_t fields = 0, lengths = 0;
    const uint8_t *line = (const uint8_t *)memchr(buf, '\n', (size_t)(end - buf)) + 1;
    while (*line != '\r') {
        const uint8_t *next = (const uint8_t *)memchr(line, '\n', (size_t)(end - line)) + 1;
        size_t len = (size_t)(next - line);
        if (++fields > bounds->fields)
            return refuse(BLITZ_E_LIMIT, BLITZ_BAD_FIELD_COUNT, why);
        if (is_content_length(line, len) && (++lengths > 1 || memchr(line, ',', len)))
            return refuse(BLITZ_E_SYNTAX, BLITZ_BAD_CONTENT_LENGTH, why);
        line = next;
    }
    return end - buf;
}

int64_t blitz_extent_with(const scan_functions *functions, const uint8_t *buf, size_t len, size_t seen,
                          const scan_bounds *bounds, int *why)
{
    bool cut = len >= bounds->head;
    const uint8_t *end = buf + (cut ? bounds->head : len);
    if (seen > (size_t)(end - buf))
        seen = (size_t)(end - buf);
    const uint8_t *before = seen ? memrchr(buf, '\n', seen) : NULL;
    const uint8_t *line = before ? before + 1 : buf;
    for (;;) {
        size_t bound = line == buf ? bounds->line : bounds->field;
        const uint8_t *at = functions->content_end(line, end);
        size_t size = (size_t)(at - line);
        if (line < end && (*line == ' ' || *line == '\t'))
            return refuse(BLITZ_E_SYNTAX, line == buf ? BLITZ_BAD_FIRST_LINE : BLITZ_BAD_FOLD, why);
        if (size > bound)                   /* first, so that the answer is the same byte by byte */
            return refuse(BLITZ_E_LIMIT, line == buf ? BLITZ_BAD_LINE_SIZE : BLITZ_BAD_FIELD_SIZE, why);
        if (at < end && *at != '\r')
            return refuse(BLITZ_E_SYNTAX, *at == '\n' ? BLITZ_BAD_LINE_END : BLITZ_BAD_CONTROL, why);
        if (end - at < 2)
            return cut ? refuse(BLITZ_E_LIMIT, BLITZ_BAD_HEAD_SIZE, why) : 0;
        if (at[1] != '\n')
            return refuse(BLITZ_E_SYNTAX, BLITZ_BAD_LINE_END, why);
        if (size == 0 && line == buf)
            return refuse(BLITZ_E_SYNTAX, BLITZ_BAD_FIRST_LINE, why);
        if (size == 0)
            return check_lines(buf, at + 2, bounds, why);
        line = at + 2;
    }
}

int64_t blitz_head_extent(const uint8_t *buf, size_t len, size_t seen, const blitz_head_limits *limits)
{
    scan_bounds bounds = blitz_scan_bounds(limits);
    int why;
    return blitz_extent_with(blitz_scan_functions(), buf, len, seen, &bounds, &why);
}

int blitz_head_refusal(const uint8_t *buf, size_t len, const blitz_head_limits *limits)
{
    scan_bounds bounds = blitz_scan_bounds(limits);
    int why = 0;
    int64_t extent = blitz_extent_with(blitz_scan_functions(), buf, len, 0, &bounds, &why);
    if (extent >= 0)
        return 0;
    bool tls = (buf[0] == 0x15 || buf[0] == 0x16) && (len == 1 || buf[1] == 3);      /* RFC 8446 section 5.1 */
    return tls ? BLITZ_BAD_TLS : why;
}

int64_t blitz_head_extent_with(const char *path, const uint8_t *buf, size_t len, size_t seen,
                               const blitz_head_limits *limits)
{
    const scan_functions *functions = blitz_scan_named(path);
    scan_bounds bounds = blitz_scan_bounds(limits);
    int why;
    return functions ? blitz_extent_with(functions, buf, len, seen, &bounds, &why) : BLITZ_E_STATE;
}
