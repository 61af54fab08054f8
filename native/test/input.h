/* input.h: what a fuzzer was given, taken from the front; zeros once it is used up. */
#ifndef BLITZ_TEST_INPUT_H
#define BLITZ_TEST_INPUT_H
#include <stdint.h>

typedef struct { const uint8_t *at, *end; } source;

static inline uint8_t take_byte(source *in) { return in->at < in->end ? *in->at++ : 0; }

static inline uint32_t take_word(source *in)
{
    uint32_t word = 0;
    for (int i = 0; i < 4; i++)
        word |= (uint32_t)take_byte(in) << (8 * i);
    return word;
}
#endif
