/* head_scan_neon.c: the scanner, 16 bytes at a time. NEON is part of aarch64. */
#include "head_scan.h"

#if defined(__aarch64__)
#include <arm_neon.h>
#include <string.h>

#define SCAN_TARGET
#define SCAN_PATH "neon"
#define SCAN_FUNCTIONS blitz_scan_neon
#define MASK_BYTES 16
#define MASK_BITS 4
typedef uint64_t mask_t;

/* NEON has no movemask: narrowing 16-bit pairs by 4 leaves four equal bits per byte. */
static inline mask_t to_mask(uint8x16_t found)
{
    uint8x8_t nibbles = vshrn_n_u16(vreinterpretq_u16_u8(found), 4);
    return vget_lane_u64(vreinterpret_u64_u8(nibbles), 0);
}

static inline uint8x16_t in_range(uint8x16_t bytes, uint8_t low, uint8_t span)
{
    return vcleq_u8(vsubq_u8(bytes, vdupq_n_u8(low)), vdupq_n_u8(span));
}

static inline mask_t mask_content(const uint8_t *at)
{
    uint8x16_t bytes = vld1q_u8(at);
    uint8x16_t control = vbicq_u8(in_range(bytes, 0, 0x1f), vceqq_u8(bytes, vdupq_n_u8('\t')));
    return to_mask(vorrq_u8(control, vceqq_u8(bytes, vdupq_n_u8(0x7f))));
}

static inline mask_t mask_visible(const uint8_t *at)
{
    return to_mask(vmvnq_u8(in_range(vld1q_u8(at), 0x21, 0x7e - 0x21)));
}

static inline mask_t mask_plain(const uint8_t *at)
{
    uint8x16_t bytes = vld1q_u8(at);
    uint8x16_t letter = in_range(vorrq_u8(bytes, vdupq_n_u8(0x20)), 'a', 25);
    uint8x16_t digit = in_range(bytes, '0', 9);
    uint8x16_t hyphen = vceqq_u8(bytes, vdupq_n_u8('-'));
    return to_mask(vmvnq_u8(vorrq_u8(vorrq_u8(letter, digit), hyphen)));
}

#define FIRST_BYTES MASK_BYTES
#define first_content mask_content
#define first_visible mask_visible
#define first_plain mask_plain
#include "head_scan_find.h"
#include "head_scan_body.h"
#endif
