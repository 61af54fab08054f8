/* head_scan.c: the scanner's entrance: bounds, the path of this machine, and heads in several parts.
 *
 * A head that arrives in parts is not scanned again for each of them: from the second part on the
 * extent (head_extent.c) looks at every new byte once, and the scan runs when the end is there. */
#include "head_scan.h"

#include <string.h>

scan_bounds blitz_scan_bounds(const blitz_head_limits *limits)
{
    scan_bounds bounds = {0x7fffffff, 0x7fffffff, 0x7fffffff, BLITZ_MAX_FIELDS};
    if (!limits)
        return bounds;
    if (limits->max_head_size && limits->max_head_size < bounds.head)
        bounds.head = limits->max_head_size;
    if (limits->max_line_size && limits->max_line_size < bounds.line)
        bounds.line = limits->max_line_size;
    if (limits->max_field_size && limits->max_field_size < bounds.field)
        bounds.field = limits->max_field_size;
    if (limits->max_fields && limits->max_fields < bounds.fields)
        bounds.fields = limits->max_fields;
    return bounds;
}

#if defined(__x86_64__)
static bool has_avx2(void)
{
    return __builtin_cpu_supports("avx2") && __builtin_cpu_supports("bmi");
}
#endif

const scan_functions *blitz_scan_named(const char *path)
{
    if (strcmp(path, "portable") == 0)
        return &blitz_scan_portable;
#if defined(__x86_64__)
    if (strcmp(path, "sse2") == 0)
        return &blitz_scan_sse2;
    if (strcmp(path, "avx2") == 0 && has_avx2())
        return &blitz_scan_avx2;
#elif defined(__aarch64__)
    if (strcmp(path, "neon") == 0)
        return &blitz_scan_neon;
#endif
    return NULL;
}

static const scan_functions *chosen = &blitz_scan_portable;

__attribute__((constructor)) static void choose(void)
{
#if defined(__x86_64__)
    __builtin_cpu_init();
    chosen = has_avx2() ? &blitz_scan_avx2 : &blitz_scan_sse2;
#elif defined(__aarch64__)
    chosen = &blitz_scan_neon;
#endif
}

const scan_functions *blitz_scan_functions(void)
{
    return chosen;
}

const char *blitz_scan_path(void)
{
    return chosen->path;
}

/* After an incomplete part. -> > 0: the whole head is there; else the answer for the caller. */
static int64_t rest(const scan_functions *functions, blitz_head *head, int kind, const uint8_t *buf, size_t len,
                    size_t seen, const scan_bounds *bounds)
{
    int why;
    int64_t extent = blitz_extent_with(functions, buf, len, seen, bounds, &why);
    if (extent <= 0)
        blitz_head_reset(head, kind);
    return extent == BLITZ_E_SYNTAX ? BLITZ_E_DECLINED : extent;
}

static int64_t request(const scan_functions *functions, blitz_head *head, const uint8_t *buf, size_t len,
                       size_t seen, const blitz_head_limits *limits)
{
    scan_bounds bounds = blitz_scan_bounds(limits);
    if (seen) {
        int64_t extent = rest(functions, head, BLITZ_REQUEST, buf, len, seen, &bounds);
        if (extent <= 0)
            return extent;
    }
    return functions->request(head, buf, len, &bounds);
}

static int64_t response(const scan_functions *functions, blitz_head *head, const uint8_t *buf, size_t len,
                        size_t seen, const blitz_head_limits *limits, const uint8_t *request_method,
                        size_t method_len)
{
    scan_bounds bounds = blitz_scan_bounds(limits);
    if (seen) {
        int64_t extent = rest(functions, head, BLITZ_RESPONSE, buf, len, seen, &bounds);
        if (extent <= 0)
            return extent;
    }
    return functions->response(head, buf, len, &bounds, request_method, method_len);
}

int64_t blitz_scan_request(blitz_head *head, const uint8_t *buf, size_t len, size_t seen,
                           const blitz_head_limits *limits)
{
    return request(chosen, head, buf, len, seen, limits);
}

int64_t blitz_scan_response(blitz_head *head, const uint8_t *buf, size_t len, size_t seen,
                            const blitz_head_limits *limits, const uint8_t *request_method,
                            size_t method_len)
{
    return response(chosen, head, buf, len, seen, limits, request_method, method_len);
}

int64_t blitz_scan_request_with(const char *path, blitz_head *head, const uint8_t *buf, size_t len,
                                size_t seen, const blitz_head_limits *limits)
{
    const scan_functions *functions = blitz_scan_named(path);
    return functions ? request(functions, head, buf, len, seen, limits) : BLITZ_E_STATE;
}

int64_t blitz_scan_response_with(const char *path, blitz_head *head, const uint8_t *buf, size_t len,
                                 size_t seen, const blitz_head_limits *limits,
                                 const uint8_t *request_method, size_t method_len)
{
    const scan_functions *functions = blitz_scan_named(path);
    if (!functions)
        return BLITZ_E_STATE;
    return response(functions, head, buf, len, seen, limits, request_method, method_len);
}
