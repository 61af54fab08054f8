/* utf8_portable.c: UTF-8 copying without any instruction set's help; the oracle for the others.
 * One sequence at a time, except that eight ASCII bytes are taken at once. */
#include "utf8.h"

static inline __attribute__((always_inline)) size_t run(uint8_t *dst, const uint8_t *src, size_t len)
{
    size_t at = 0;
    while (at < len) {
        while (len - at >= 8) {
            const uint64_t word = blitz_load64(src + at);
            if (word & 0x8080808080808080u)
                break;
            if (dst)
                blitz_store64(dst + at, word);
            at += 8;
        }
        if (at == len)
            break;
        const size_t size = blitz_utf8_sequence(src + at, len - at);
        if (size == 0)
            break;
        for (size_t i = 0; dst && i < size; i++)
            dst[at + i] = src[at + i];
        at += size;
    }
    return at;
}

static size_t copy_portable(uint8_t *dst, const uint8_t *src, size_t len) { return run(dst, src, len); }
static size_t check_portable(const uint8_t *src, size_t len) { return run(NULL, src, len); }

const blitz_utf8_code blitz_utf8_portable = {"portable", copy_portable, check_portable};
