/* utf8_avx2.c: UTF-8 copying with AVX2, every block checked by the lookup algorithm (utf8_tables.h).
 *
 * The check of a block needs the three bytes before it and nothing else, so it loads them instead of
 * carrying state: blocks may overlap, and the last one simply ends with the input. 32-byte blocks from
 * 35 bytes on (so that the last one has three bytes before it), 16-byte blocks below.
 */
#if defined(__x86_64__)
#include "utf8.h"
#include "utf8_tables.h"
#include <immintrin.h>

#define AVX2 __attribute__((target("avx2")))
#define AVX2_INLINE __attribute__((target("avx2"), always_inline)) static inline

AVX2_INLINE __m128i load16(const uint8_t *from)
{
    return _mm_loadu_si128((const __m128i *)(const void *)from);
}
AVX2_INLINE __m256i load32(const uint8_t *from)
{
    return _mm256_loadu_si256((const __m256i *)(const void *)from);
}
AVX2_INLINE void store16(uint8_t *to, __m128i block)
{
    if (to)
        _mm_storeu_si128((__m128i *)(void *)to, block);
}
AVX2_INLINE void store32(uint8_t *to, __m256i block)
{
    if (to)
        _mm256_storeu_si256((__m256i *)(void *)to, block);
}
AVX2_INLINE bool ascii16(__m128i block) { return _mm_movemask_epi8(block) == 0; }
AVX2_INLINE bool ascii32(__m256i block) { return _mm256_movemask_epi8(block) == 0; }

/* Are the pairs (one, block) fine, and third and fourth bytes there where (two, three) ask for them?
 * one, two, three: the block moved back by as many bytes. */
AVX2_INLINE bool valid16(__m128i block, __m128i one, __m128i two, __m128i three)
{
    const __m128i nibble = _mm_set1_epi8(0x0F);
    const __m128i pair = _mm_and_si128(
        _mm_and_si128(
            _mm_shuffle_epi8(load16(BLITZ_UTF8_FIRST_HIGH), _mm_and_si128(_mm_srli_epi16(one, 4), nibble)),
            _mm_shuffle_epi8(load16(BLITZ_UTF8_FIRST_LOW), _mm_and_si128(one, nibble))),
        _mm_shuffle_epi8(load16(BLITZ_UTF8_SECOND_HIGH), _mm_and_si128(_mm_srli_epi16(block, 4), nibble)));
    const __m128i third = _mm_subs_epu8(two, _mm_set1_epi8(0xE0 - 0x80));
    const __m128i fourth = _mm_subs_epu8(three, _mm_set1_epi8(0xF0 - 0x80));
    const __m128i wanted = _mm_and_si128(_mm_or_si128(third, fourth), _mm_set1_epi8((char)0x80));
    const __m128i mistakes = _mm_xor_si128(pair, wanted);
    return _mm_testz_si128(mistakes, mistakes);
}

AVX2_INLINE __m256i twice(const uint8_t *table) { return _mm256_broadcastsi128_si256(load16(table)); }

AVX2_INLINE bool valid32(__m256i block, __m256i one, __m256i two, __m256i three)
{
    const __m256i nibble = _mm256_set1_epi8(0x0F);
    const __m256i pair = _mm256_and_si256(
        _mm256_and_si256(
            _mm256_shuffle_epi8(twice(BLITZ_UTF8_FIRST_HIGH), _mm256_and_si256(_mm256_srli_epi16(one, 4), nibble)),
            _mm256_shuffle_epi8(twice(BLITZ_UTF8_FIRST_LOW), _mm256_and_si256(one, nibble))),
        _mm256_shuffle_epi8(twice(BLITZ_UTF8_SECOND_HIGH), _mm256_and_si256(_mm256_srli_epi16(block, 4), nibble)));
    const __m256i third = _mm256_subs_epu8(two, _mm256_set1_epi8(0xE0 - 0x80));
    const __m256i fourth = _mm256_subs_epu8(three, _mm256_set1_epi8(0xF0 - 0x80));
    const __m256i wanted = _mm256_and_si256(_mm256_or_si256(third, fourth), _mm256_set1_epi8((char)0x80));
    const __m256i mistakes = _mm256_xor_si256(pair, wanted);
    return _mm256_testz_si256(mistakes, mistakes);
}

/* The block at src + at, which has at least three bytes before it. */
AVX2_INLINE bool valid16_at(__m128i block, const uint8_t *src, size_t at)
{
    return valid16(block, load16(src + at - 1), load16(src + at - 2), load16(src + at - 3));
}
AVX2_INLINE bool valid32_at(__m256i block, const uint8_t *src, size_t at)
{
    return valid32(block, load32(src + at - 1), load32(src + at - 2), load32(src + at - 3));
}

/* The first block: zeros stand before it. */
AVX2_INLINE bool valid16_first(__m128i block)
{
    return valid16(block, _mm_slli_si128(block, 1), _mm_slli_si128(block, 2), _mm_slli_si128(block, 3));
}
AVX2_INLINE bool valid32_first(__m256i block)
{
    const __m256i before = _mm256_permute2x128_si256(block, block, 0x08);   /* zeros, then the low half */
    return valid32(block, _mm256_alignr_epi8(block, before, 15), _mm256_alignr_epi8(block, before, 14),
                   _mm256_alignr_epi8(block, before, 13));
}

/* Everything before at is well-formed but for a sequence that may be open there: go on one by one. */
AVX2_INLINE size_t finish(uint8_t *dst, const uint8_t *src, size_t len, size_t at)
{
    const size_t start = blitz_utf8_restart(src, at);
    return start + (dst ? blitz_utf8_portable.copy(dst + start, src + start, len - start)
                        : blitz_utf8_portable.check(src + start, len - start));
}

/* 16..34 bytes. */
AVX2_INLINE size_t run16(uint8_t *dst, const uint8_t *src, size_t len)
{
    __m128i block = load16(src);
    bool ascii = ascii16(block);
    if (!ascii && !valid16_first(block))
        return finish(dst, src, len, 0);
    store16(dst, block);
    size_t at = 16;
    if (len >= 32) {
        block = load16(src + 16);
        const bool next = ascii16(block);
        if (!(ascii && next) && !valid16_at(block, src, 16))
            return finish(dst, src, len, 16);
        store16(dst ? dst + 16 : NULL, block);
        ascii = next;
        at = 32;
    }
    if (at < len) {
        const size_t last = len - 16;
        block = load16(src + last);
        ascii = ascii16(block);         /* it overlaps the block before: nothing can be open there then */
        if (!ascii && (last < 3 || !valid16_at(block, src, last)))
            return finish(dst, src, len, at);
        store16(dst ? dst + last : NULL, block);
    }
    return ascii || !blitz_utf8_ends_open(src, len) ? len : finish(dst, src, len, len);
}

/* 35 bytes or more. */
AVX2_INLINE size_t run32(uint8_t *dst, const uint8_t *src, size_t len)
{
    __m256i block = load32(src);
    bool ascii = ascii32(block);        /* of the last block: nothing is open at its end */
    if (!ascii && !valid32_first(block))
        return finish(dst, src, len, 0);
    store32(dst, block);
    size_t at = 32;
    while (len - at >= 32) {
        while (ascii && len - at >= 128) {
            const __m256i a = load32(src + at), b = load32(src + at + 32), c = load32(src + at + 64),
                          d = load32(src + at + 96);
            if (!ascii32(_mm256_or_si256(_mm256_or_si256(a, b), _mm256_or_si256(c, d))))
                break;
            if (dst) {
                store32(dst + at, a);
                store32(dst + at + 32, b);
                store32(dst + at + 64, c);
                store32(dst + at + 96, d);
            }
            at += 128;
        }
        if (len - at < 32)
            break;
        block = load32(src + at);
        const bool next = ascii32(block);
        if (!(ascii && next) && !valid32_at(block, src, at))
            return finish(dst, src, len, at);
        store32(dst ? dst + at : NULL, block);
        ascii = next;
        at += 32;
    }
    if (at < len) {
        const size_t last = len - 32;
        block = load32(src + last);
        ascii = ascii32(block);
        if (!ascii && !valid32_at(block, src, last))
            return finish(dst, src, len, at);
        store32(dst ? dst + last : NULL, block);
    }
    return ascii || !blitz_utf8_ends_open(src, len) ? len : finish(dst, src, len, len);
}

AVX2_INLINE size_t run(uint8_t *dst, const uint8_t *src, size_t len)
{
    if (len >= 35)
        return run32(dst, src, len);
    if (len >= 16)
        return run16(dst, src, len);
    return blitz_ascii_short(dst, src, len) ? len : finish(dst, src, len, 0);
}

AVX2 static size_t copy_avx2(uint8_t *dst, const uint8_t *src, size_t len) { return run(dst, src, len); }
AVX2 static size_t check_avx2(const uint8_t *src, size_t len) { return run(NULL, src, len); }

const blitz_utf8_code blitz_utf8_avx2 = {"avx2", copy_avx2, check_avx2};
#else
typedef int blitz_utf8_avx2_is_for_x86_64;
#endif
