/* head_scan_sse2.c: the scanner, 16 bytes at a time. SSE2 is part of x86_64. */
#include "head_scan.h"

#if defined(__x86_64__)
#include <emmintrin.h>
#include <string.h>

#define SCAN_TARGET
#define SCAN_PATH "sse2"
#define SCAN_FUNCTIONS blitz_scan_sse2
#define MASK_BYTES 16
#define MASK_BITS 1
typedef uint32_t mask_t;

static inline __m128i load(const uint8_t *at)
{
    return _mm_loadu_si128((const __m128i *)(const void *)at);
}

/* 0xff where low <= byte <= low + span, unsigned. */
static inline __m128i in_range(__m128i bytes, char low, char span)
{
    __m128i from = _mm_sub_epi8(bytes, _mm_set1_epi8(low));
    return _mm_cmpeq_epi8(_mm_min_epu8(from, _mm_set1_epi8(span)), from);
}

static inline mask_t mask_content(const uint8_t *at)
{
    __m128i bytes = load(at);
    __m128i control = in_range(bytes, 0, 0x1f);
    __m128i tab = _mm_cmpeq_epi8(bytes, _mm_set1_epi8('\t'));
    __m128i del = _mm_cmpeq_epi8(bytes, _mm_set1_epi8(0x7f));
    return (mask_t)_mm_movemask_epi8(_mm_or_si128(_mm_andnot_si128(tab, control), del));
}

static inline mask_t mask_visible(const uint8_t *at)
{
    return (mask_t)_mm_movemask_epi8(in_range(load(at), 0x21, 0x7e - 0x21)) ^ 0xffffu;
}

static inline mask_t mask_plain(const uint8_t *at)
{
    __m128i bytes = load(at);
    __m128i letter = in_range(_mm_or_si128(bytes, _mm_set1_epi8(0x20)), 'a', 25);
    __m128i digit = in_range(bytes, '0', 9);
    __m128i hyphen = _mm_cmpeq_epi8(bytes, _mm_set1_epi8('-'));
    return (mask_t)_mm_movemask_epi8(_mm_or_si128(_mm_or_si128(letter, digit), hyphen)) ^ 0xffffu;
}

#define FIRST_BYTES MASK_BYTES
#define first_content mask_content
#define first_visible mask_visible
#define first_plain mask_plain
#include "head_scan_find.h"
#include "head_scan_body.h"
#endif
