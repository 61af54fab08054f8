/* utf8.h: validating copies of UTF-8, as the C files of this directory share them.
 *
 * Well-formed is Table 3-7 of the Unicode Standard (section 3.9): no overlong form, no surrogate,
 * nothing above U+10FFFF. The portable path is the oracle; the others must agree with it on every
 * input, and read and write the same bytes at most: src[0..len) and dst[0..len).
 */
#ifndef BLITZ_UTF8_H
#define BLITZ_UTF8_H
#include "blitz_native.h"
#include <stdbool.h>
#include <string.h>

typedef struct {
    const char *name;
    /* -> length of the longest well-formed prefix of src, which is then also in dst. dst past the
     * result, up to len, may hold anything. The two must not overlap. */
    size_t (*copy)(uint8_t *dst, const uint8_t *src, size_t len);
    size_t (*check)(const uint8_t *src, size_t len);   /* the same without the copy */
} blitz_utf8_code;

extern const blitz_utf8_code blitz_utf8_portable;
#if defined(__x86_64__)
extern const blitz_utf8_code blitz_utf8_sse2, blitz_utf8_avx2;
#elif defined(__aarch64__)
extern const blitz_utf8_code blitz_utf8_neon;
#endif
/* By name, or NULL when this machine cannot run it. */
const blitz_utf8_code *blitz_utf8_by_name(const char *name);

static inline bool blitz_utf8_continues(uint8_t byte) { return (byte & 0xC0) == 0x80; }

/* Length (1..4) of the well-formed sequence at the front of src, or 0. len > 0. */
static inline size_t blitz_utf8_sequence(const uint8_t *src, size_t len)
{
    const uint8_t lead = src[0];
    if (lead < 0x80)
        return 1;
    if (lead < 0xC2 || lead > 0xF4 || len < 2)
        return 0;
    const uint8_t second = src[1];
    if (lead < 0xE0)
        return blitz_utf8_continues(second) ? 2 : 0;
    if (lead < 0xF0) {
        const uint8_t low = lead == 0xE0 ? 0xA0 : 0x80, high = lead == 0xED ? 0x9F : 0xBF;
        return second >= low && second <= high && len > 2 && blitz_utf8_continues(src[2]) ? 3 : 0;
    }
    const uint8_t low = lead == 0xF0 ? 0x90 : 0x80, high = lead == 0xF4 ? 0x8F : 0xBF;
    return second >= low && second <= high && len > 3 && blitz_utf8_continues(src[2])
                   && blitz_utf8_continues(src[3]) ? 4 : 0;
}

/* Do the last bytes of src begin a sequence that they do not finish? Everything before is well-formed. */
static inline bool blitz_utf8_ends_open(const uint8_t *src, size_t len)
{
    return (len > 0 && src[len - 1] >= 0xC0) || (len > 1 && src[len - 2] >= 0xE0)
           || (len > 2 && src[len - 3] >= 0xF0);
}

/* Where the sequence begins that may still be open before at: at itself, or up to 3 less (an open one
 * has at most two continuations). */
static inline size_t blitz_utf8_restart(const uint8_t *src, size_t at)
{
    size_t back = 0;
    while (back < 2 && back < at && blitz_utf8_continues(src[at - back - 1]))
        back++;
    return back < at && src[at - back - 1] >= 0xC0 ? at - back - 1 : at;
}

static inline uint64_t blitz_load64(const uint8_t *from)
{
    uint64_t word;
    memcpy(&word, from, sizeof word);
    return word;
}
static inline uint32_t blitz_load32(const uint8_t *from)
{
    uint32_t word;
    memcpy(&word, from, sizeof word);
    return word;
}
static inline void blitz_store64(uint8_t *to, uint64_t word) { memcpy(to, &word, sizeof word); }
static inline void blitz_store32(uint8_t *to, uint32_t word) { memcpy(to, &word, sizeof word); }

/* Copy 0..15 bytes if all are ASCII, with two words that overlap in the middle. dst NULL: only look. */
static inline bool blitz_ascii_short(uint8_t *dst, const uint8_t *src, size_t len)
{
    if (len >= 8) {
        const uint64_t front = blitz_load64(src), back = blitz_load64(src + len - 8);
        if ((front | back) & 0x8080808080808080u)
            return false;
        if (dst) {
            blitz_store64(dst, front);
            blitz_store64(dst + len - 8, back);
        }
        return true;
    }
    if (len >= 4) {
        const uint32_t front = blitz_load32(src), back = blitz_load32(src + len - 4);
        if ((front | back) & 0x80808080u)
            return false;
        if (dst) {
            blitz_store32(dst, front);
            blitz_store32(dst + len - 4, back);
        }
        return true;
    }
    if (len == 0)
        return true;
    const uint8_t first = src[0], middle = src[len / 2], last = src[len - 1];
    if ((first | middle | last) & 0x80)
        return false;
    if (dst) {
        dst[0] = first;
        dst[len / 2] = middle;
        dst[len - 1] = last;
    }
    return true;
}
#endif
