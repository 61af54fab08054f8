/* head_scan.h: what the scanner's files share: limits made explicit, and one table of functions per
 * instruction set. */
#ifndef BLITZ_HEAD_SCAN_H
#define BLITZ_HEAD_SCAN_H
#include "head.h"

typedef struct {
    size_t head, line, field;       /* bytes */
    uint32_t fields;
} scan_bounds;

typedef struct {
    const char *path;
    /* Scan from the front, as blitz_scan_request does with seen 0. */
    int64_t (*request)(blitz_head *head, const uint8_t *buf, size_t len, const scan_bounds *bounds);
    int64_t (*response)(blitz_head *head, const uint8_t *buf, size_t len, const scan_bounds *bounds,
                        const uint8_t *request_method, size_t method_len);
    /* First byte of [at, end) that is no field-content; end when there is none. */
    const uint8_t *(*content_end)(const uint8_t *at, const uint8_t *end);
} scan_functions;

extern const scan_functions blitz_scan_portable;
#if defined(__x86_64__)
extern const scan_functions blitz_scan_sse2, blitz_scan_avx2;
#elif defined(__aarch64__)
extern const scan_functions blitz_scan_neon;
#endif
/* The one chosen for this machine. */
const scan_functions *blitz_scan_functions(void);
/* By name; NULL when this machine lacks it. */
const scan_functions *blitz_scan_named(const char *path);
scan_bounds blitz_scan_bounds(const blitz_head_limits *limits);
/* blitz_head_extent; a refusal also says why: *why is a BLITZ_BAD_*. */
int64_t blitz_extent_with(const scan_functions *functions, const uint8_t *buf, size_t len, size_t seen,
                          const scan_bounds *bounds, int *why);
#endif
