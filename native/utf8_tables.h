/* utf8_tables.h: the tables of the lookup algorithm, shared by the AVX2 and the NEON path.
 *
 * J. Keiser, D. Lemire, "Validating UTF-8 In Less Than One Instruction Per Byte" (Software: Practice
 * and Experience 51, 2021). Every mistake that two neighbouring bytes can show is a bit. Each of three
 * nibbles (high and low one of the first byte, high one of the second) says by table which mistakes it
 * allows; the mistakes that all three allow are made. What is left is that a third or fourth byte must
 * be there: it shows as TWO_CONTS, which is a mistake unless a long sequence began two or three bytes
 * before, and a mistake if it is missing then.
 */
#ifndef BLITZ_UTF8_TABLES_H
#define BLITZ_UTF8_TABLES_H
#include <stdint.h>

enum {
    TOO_SHORT = 1,          /* a lead byte, then no continuation */
    TOO_LONG = 2,           /* ASCII, then a continuation */
    OVERLONG_3 = 4,         /* E0 80..9F */
    TOO_LARGE = 8,          /* F4 90.., F5.. 90.. */
    SURROGATE = 16,         /* ED A0..BF */
    OVERLONG_2 = 32,        /* C0, C1 */
    TOO_LARGE_1000 = 64,    /* F5.. 80..8F */
    OVERLONG_4 = 64,        /* F0 80..8F: shares the bit, no pair of nibbles is both */
    TWO_CONTS = 128,        /* two continuations */
    CARRY = TOO_SHORT | TOO_LONG | TWO_CONTS,     /* the low nibble does not matter */
    F5_AND_UP = CARRY | TOO_LARGE | TOO_LARGE_1000
};

static const uint8_t BLITZ_UTF8_FIRST_HIGH[16] = {
    TOO_LONG, TOO_LONG, TOO_LONG, TOO_LONG, TOO_LONG, TOO_LONG, TOO_LONG, TOO_LONG,
    TWO_CONTS, TWO_CONTS, TWO_CONTS, TWO_CONTS,
    TOO_SHORT | OVERLONG_2, TOO_SHORT, TOO_SHORT | OVERLONG_3 | SURROGATE,
    TOO_SHORT | TOO_LARGE | TOO_LARGE_1000 | OVERLONG_4
};
static const uint8_t BLITZ_UTF8_FIRST_LOW[16] = {
    CARRY | OVERLONG_2 | OVERLONG_3 | OVERLONG_4, CARRY | OVERLONG_2, CARRY, CARRY,
    CARRY | TOO_LARGE, F5_AND_UP, F5_AND_UP, F5_AND_UP, F5_AND_UP, F5_AND_UP, F5_AND_UP, F5_AND_UP, F5_AND_UP,
    F5_AND_UP | SURROGATE, F5_AND_UP, F5_AND_UP
};
static const uint8_t BLITZ_UTF8_SECOND_HIGH[16] = {
    TOO_SHORT, TOO_SHORT, TOO_SHORT, TOO_SHORT, TOO_SHORT, TOO_SHORT, TOO_SHORT, TOO_SHORT,
    TOO_LONG | TWO_CONTS | OVERLONG_2 | OVERLONG_3 | OVERLONG_4 | TOO_LARGE_1000,
    TOO_LONG | TWO_CONTS | OVERLONG_2 | OVERLONG_3 | TOO_LARGE,
    TOO_LONG | TWO_CONTS | OVERLONG_2 | SURROGATE | TOO_LARGE,
    TOO_LONG | TWO_CONTS | OVERLONG_2 | SURROGATE | TOO_LARGE,
    TOO_SHORT, TOO_SHORT, TOO_SHORT, TOO_SHORT
};
#endif
