/* utf8_sse2.c: UTF-8 copying with what every x86_64 has. Blocks of ASCII go sixteen bytes at a time;
 * SSE2 has no byte shuffle, so anything else goes one sequence at a time. */
#if defined(__x86_64__)
#include "utf8.h"
#include <emmintrin.h>

enum { W = 16 };

static inline __m128i load(const uint8_t *from) { return _mm_loadu_si128((const __m128i *)(const void *)from); }
static inline void store(uint8_t *to, __m128i block) { _mm_storeu_si128((__m128i *)(void *)to, block); }
static inline bool is_ascii(__m128i block) { return _mm_movemask_epi8(block) == 0; }

/* Take whole sequences from *at until at least W bytes are taken or the input ends. False at a bad one. */
static inline bool take_sequences(uint8_t *dst, const uint8_t *src, size_t len, size_t *at)
{
    const size_t stop = len - *at < W ? len : *at + W;
    while (*at < stop) {
        const size_t size = blitz_utf8_sequence(src + *at, len - *at);
        if (size == 0)
            return false;
        for (size_t i = 0; dst && i < size; i++)
            dst[*at + i] = src[*at + i];
        *at += size;
    }
    return true;
}

static inline __attribute__((always_inline)) size_t run(uint8_t *dst, const uint8_t *src, size_t len)
{
    if (len < W)
        return blitz_ascii_short(dst, src, len) ? len
               : dst ? blitz_utf8_portable.copy(dst, src, len) : blitz_utf8_portable.check(src, len);
    size_t at = 0;                      /* always on the border of a sequence */
    while (at < len) {
        /* The last block overlaps the one before; it is ASCII only if that one's end was too. */
        const size_t from = len - at < W ? len - W : at;
        const __m128i block = load(src + from);
        if (is_ascii(block)) {
            if (dst)
                store(dst + from, block);
            at = from + W;
        } else if (!take_sequences(dst, src, len, &at)) {
            break;
        }
    }
    return at;
}

static size_t copy_sse2(uint8_t *dst, const uint8_t *src, size_t len) { return run(dst, src, len); }
static size_t check_sse2(const uint8_t *src, size_t len) { return run(NULL, src, len); }

const blitz_utf8_code blitz_utf8_sse2 = {"sse2", copy_sse2, check_sse2};
#else
typedef int blitz_utf8_sse2_is_for_x86_64;
#endif
