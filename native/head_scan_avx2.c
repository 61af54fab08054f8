/* head_scan_avx2.c: the scanner, 16 bytes and then 32 at a time. Compiled for AVX2 whatever the rest is compiled
 * for; head_scan.c calls it only where the processor has it. */
#include "head_scan.h"

#if defined(__x86_64__)
#include <immintrin.h>
#include <string.h>

#define SCAN_TARGET __attribute__((target("avx2,bmi")))
#define SCAN_PATH "avx2"
#define SCAN_FUNCTIONS blitz_scan_avx2
#define MASK_BYTES 32
#define MASK_BITS 1
typedef uint32_t mask_t;

SCAN_TARGET static inline __m256i load(const uint8_t *at)
{
    return _mm256_loadu_si256((const __m256i *)(const void *)at);
}

/* 0xff where low <= byte <= low + span, unsigned. */
SCAN_TARGET static inline __m256i in_range(__m256i bytes, char low, char span)
{
    __m256i from = _mm256_sub_epi8(bytes, _mm256_set1_epi8(low));
    return _mm256_cmpeq_epi8(_mm256_min_epu8(from, _mm256_set1_epi8(span)), from);
}

SCAN_TARGET static inline mask_t mask_content(const uint8_t *at)
{
    __m256i bytes = load(at);
    __m256i control = in_range(bytes, 0, 0x1f);
    __m256i tab = _mm256_cmpeq_epi8(bytes, _mm256_set1_epi8('\t'));
    __m256i del = _mm256_cmpeq_epi8(bytes, _mm256_set1_epi8(0x7f));
    return (mask_t)_mm256_movemask_epi8(_mm256_or_si256(_mm256_andnot_si256(tab, control), del));
}

SCAN_TARGET static inline mask_t mask_visible(const uint8_t *at)
{
    return ~(mask_t)_mm256_movemask_epi8(in_range(load(at), 0x21, 0x7e - 0x21));
}

SCAN_TARGET static inline mask_t mask_plain(const uint8_t *at)
{
    __m256i bytes = load(at);
    __m256i letter = in_range(_mm256_or_si256(bytes, _mm256_set1_epi8(0x20)), 'a', 25);
    __m256i digit = in_range(bytes, '0', 9);
    __m256i hyphen = _mm256_cmpeq_epi8(bytes, _mm256_set1_epi8('-'));
    return ~(mask_t)_mm256_movemask_epi8(_mm256_or_si256(_mm256_or_si256(letter, digit), hyphen));
}

#define FIRST_BYTES 16

SCAN_TARGET static inline __m128i load16(const uint8_t *at)
{
    return _mm_loadu_si128((const __m128i *)(const void *)at);
}

SCAN_TARGET static inline __m128i in_range16(__m128i bytes, char low, char span)
{
    __m128i from = _mm_sub_epi8(bytes, _mm_set1_epi8(low));
    return _mm_cmpeq_epi8(_mm_min_epu8(from, _mm_set1_epi8(span)), from);
}

SCAN_TARGET static inline mask_t first_content(const uint8_t *at)
{
    __m128i bytes = load16(at);
    __m128i control = in_range16(bytes, 0, 0x1f);
    __m128i tab = _mm_cmpeq_epi8(bytes, _mm_set1_epi8('\t'));
    __m128i del = _mm_cmpeq_epi8(bytes, _mm_set1_epi8(0x7f));
    return (mask_t)_mm_movemask_epi8(_mm_or_si128(_mm_andnot_si128(tab, control), del));
}

SCAN_TARGET static inline mask_t first_visible(const uint8_t *at)
{
    return (mask_t)_mm_movemask_epi8(in_range16(load16(at), 0x21, 0x7e - 0x21)) ^ 0xffffu;
}

SCAN_TARGET static inline mask_t first_plain(const uint8_t *at)
{
    __m128i bytes = load16(at);
    __m128i letter = in_range16(_mm_or_si128(bytes, _mm_set1_epi8(0x20)), 'a', 25);
    __m128i digit = in_range16(bytes, '0', 9);
    __m128i hyphen = _mm_cmpeq_epi8(bytes, _mm_set1_epi8('-'));
    return (mask_t)_mm_movemask_epi8(_mm_or_si128(_mm_or_si128(letter, digit), hyphen)) ^ 0xffffu;
}

#include "head_scan_find.h"
#include "head_scan_body.h"
#endif
