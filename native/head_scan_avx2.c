/* head_scan_avx2.c: the scanner, 32 bytes at a time. Compiled for AVX2 whatever the rest is compiled
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

#include "head_scan_find.h"
#include "head_scan_body.h"
#endif
