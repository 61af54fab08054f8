/* utf8_neon.c: UTF-8 copying on aarch64, every block checked by the lookup algorithm (utf8_tables.h).
 * As in utf8_avx2.c a block's check loads the three bytes before it, so blocks may overlap and the last
 * one ends with the input. */
#if defined(__aarch64__)
#include "utf8.h"
#include "utf8_tables.h"
#include <arm_neon.h>

enum { W = 16 };

static inline bool is_ascii(uint8x16_t block) { return vmaxvq_u8(block) < 0x80; }
static inline void store(uint8_t *to, uint8x16_t block)
{
    if (to)
        vst1q_u8(to, block);
}

/* Are the pairs (one, block) fine, and third and fourth bytes there where (two, three) ask for them?
 * one, two, three: the block moved back by as many bytes. */
static inline bool valid(uint8x16_t block, uint8x16_t one, uint8x16_t two, uint8x16_t three)
{
    const uint8x16_t pair = vandq_u8(
        vandq_u8(vqtbl1q_u8(vld1q_u8(BLITZ_UTF8_FIRST_HIGH), vshrq_n_u8(one, 4)),
                 vqtbl1q_u8(vld1q_u8(BLITZ_UTF8_FIRST_LOW), vandq_u8(one, vdupq_n_u8(0x0F)))),
        vqtbl1q_u8(vld1q_u8(BLITZ_UTF8_SECOND_HIGH), vshrq_n_u8(block, 4)));
    const uint8x16_t third = vqsubq_u8(two, vdupq_n_u8(0xE0 - 0x80));
    const uint8x16_t fourth = vqsubq_u8(three, vdupq_n_u8(0xF0 - 0x80));
    const uint8x16_t wanted = vandq_u8(vorrq_u8(third, fourth), vdupq_n_u8(0x80));
    return vmaxvq_u8(veorq_u8(pair, wanted)) == 0;
}

/* The block at src + at, which has at least three bytes before it. */
static inline bool valid_at(uint8x16_t block, const uint8_t *src, size_t at)
{
    return valid(block, vld1q_u8(src + at - 1), vld1q_u8(src + at - 2), vld1q_u8(src + at - 3));
}

/* The first block: zeros stand before it. */
static inline bool valid_first(uint8x16_t block)
{
    const uint8x16_t zero = vdupq_n_u8(0);
    return valid(block, vextq_u8(zero, block, 15), vextq_u8(zero, block, 14), vextq_u8(zero, block, 13));
}

/* Everything before at is well-formed but for a sequence that may be open there: go on one by one. */
static inline size_t finish(uint8_t *dst, const uint8_t *src, size_t len, size_t at)
{
    const size_t start = blitz_utf8_restart(src, at);
    return start + (dst ? blitz_utf8_portable.copy(dst + start, src + start, len - start)
                        : blitz_utf8_portable.check(src + start, len - start));
}

static inline __attribute__((always_inline)) size_t run(uint8_t *dst, const uint8_t *src, size_t len)
{
    if (len < W)
        return blitz_ascii_short(dst, src, len) ? len : finish(dst, src, len, 0);
    uint8x16_t block = vld1q_u8(src);
    bool ascii = is_ascii(block);       /* of the last block: nothing is open at its end */
    if (!ascii && !valid_first(block))
        return finish(dst, src, len, 0);
    store(dst, block);
    size_t at = W;
    while (len - at >= W) {
        while (ascii && len - at >= 4 * W) {
            const uint8x16_t a = vld1q_u8(src + at), b = vld1q_u8(src + at + W),
                             c = vld1q_u8(src + at + 2 * W), d = vld1q_u8(src + at + 3 * W);
            if (!is_ascii(vorrq_u8(vorrq_u8(a, b), vorrq_u8(c, d))))
                break;
            if (dst) {
                vst1q_u8(dst + at, a);
                vst1q_u8(dst + at + W, b);
                vst1q_u8(dst + at + 2 * W, c);
                vst1q_u8(dst + at + 3 * W, d);
            }
            at += 4 * W;
        }
        if (len - at < W)
            break;
        block = vld1q_u8(src + at);
        const bool next = is_ascii(block);
        if (!(ascii && next) && !valid_at(block, src, at))
            return finish(dst, src, len, at);
        store(dst ? dst + at : NULL, block);
        ascii = next;
        at += W;
    }
    if (at < len) {
        const size_t last = len - W;
        block = vld1q_u8(src + last);
        ascii = is_ascii(block);        /* it overlaps the block before: nothing can be open there then */
        if (!ascii && (last < 3 || !valid_at(block, src, last)))
            return finish(dst, src, len, at);
        store(dst ? dst + last : NULL, block);
    }
    return ascii || !blitz_utf8_ends_open(src, len) ? len : finish(dst, src, len, len);
}

static size_t copy_neon(uint8_t *dst, const uint8_t *src, size_t len) { return run(dst, src, len); }
static size_t check_neon(const uint8_t *src, size_t len) { return run(NULL, src, len); }

const blitz_utf8_code blitz_utf8_neon = {"neon", copy_neon, check_neon};
#else
typedef int blitz_utf8_neon_is_for_aarch64;
#endif
