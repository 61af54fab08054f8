/* head_scan_portable.c: the scanner byte by byte. The oracle for the others: it decides what is right. */
#include "head_scan.h"

#include <string.h>

#define SCAN_TARGET
#define SCAN_PATH "portable"
#define SCAN_FUNCTIONS blitz_scan_portable

static inline const uint8_t *find_content_end(const uint8_t *at, const uint8_t *end, const uint8_t *low)
{
    (void)low;
    while (at < end && (blitz_class[*at] & BLITZ_C_CONTENT))
        at++;
    return at;
}

static inline const uint8_t *find_visible_end(const uint8_t *at, const uint8_t *end, const uint8_t *low)
{
    (void)low;
    while (at < end && *at > 0x20 && *at < 0x7f)
        at++;
    return at;
}

static inline const uint8_t *find_token_end(const uint8_t *at, const uint8_t *end, const uint8_t *low, bool *odd)
{
    (void)low;
    uint8_t seen = 0;
    for (; at < end && (blitz_class[*at] & BLITZ_C_TOKEN); at++)
        seen |= blitz_class[*at];
    *odd |= (seen & BLITZ_C_ODD) != 0;
    return at;
}

#include "head_scan_body.h"
