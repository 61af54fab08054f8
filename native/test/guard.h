/* guard.h: memory whose ends are flush with pages that cannot be touched, so that a single byte read or
 * written outside ends the test. */
#ifndef BLITZ_TEST_GUARD_H
#define BLITZ_TEST_GUARD_H
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

typedef struct { uint8_t *begin, *end; } guarded;   /* [begin, end) is usable; both neighbours are not */

static inline guarded guard_new(size_t size)
{
    const size_t page = (size_t)sysconf(_SC_PAGESIZE), inner = (size + page - 1) / page * page;
    uint8_t *all = mmap(NULL, inner + 2 * page, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (all == MAP_FAILED || mprotect(all + page, inner, PROT_READ | PROT_WRITE) != 0) {
        perror("guard_new");
        exit(2);
    }
    return (guarded){all + page, all + page + inner};
}

/* Say what is wrong, with the line, and end. */
#define MUST(condition, ...)                                                          \
    do {                                                                              \
        if (!(condition)) {                                                           \
            fprintf(stderr, "%s:%d: not true: %s: ", __FILE__, __LINE__, #condition); \
            fprintf(stderr, __VA_ARGS__);                                             \
            fputc('\n', stderr);                                                      \
            exit(1);                                                                  \
        }                                                                             \
    } while (0)

/* xorshift64*: the same numbers on every machine. */
static inline uint64_t next_random(uint64_t *state)
{
    *state ^= *state >> 12;
    *state ^= *state << 25;
    *state ^= *state >> 27;
    return *state * UINT64_C(2685821657736338717);
}
#endif
