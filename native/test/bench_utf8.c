/* How long does one validating copy take, by path, length and kind of text? ns per call, best of 15
 * rounds; memcpy beside it. Not a test: `make bench`. */
#include "../utf8.h"
#include "guard.h"
#include <time.h>

static uint8_t source[1 << 20], target[1 << 20];

static double now_ns(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec * 1e9 + (double)t.tv_nsec;
}

static size_t copy_memcpy(uint8_t *dst, const uint8_t *src, size_t len)
{
    memcpy(dst, src, len);
    return len;
}

static double time_one(size_t (*volatile copy)(uint8_t *, const uint8_t *, size_t), size_t len)
{
    const int calls = len < 4096 ? 20000 : 200;
    double best = 1e18;
    for (int round = 0; round < 15; round++) {
        const double start = now_ns();
        for (int i = 0; i < calls; i++)
            MUST(copy(target, source, len) == len, "the text is ill-formed");
        const double took = (now_ns() - start) / calls;
        best = took < best ? took : best;
    }
    return best;
}

static size_t fill(const char *piece, size_t len)
{
    const size_t size = strlen(piece);
    len = len / size * size;
    for (size_t at = 0; at < len; at += size)
        memcpy(source + at, piece, size);
    return len;
}

int main(void)
{
    static const char *const names[] = {"portable", "sse2", "avx2", "neon"};
    static const struct { const char *name, *piece; } texts[] = {
        {"ascii", "a"}, {"latin", "gr\xC3\xBC\xC3\x9F "}, {"chinese", "\xE4\xB8\x96\xE7\x95\x8C"}};
    static const size_t lengths[] = {7, 14, 28, 60, 256, 4096, 1 << 20};
    printf("%-8s %8s %9s", "text", "bytes", "memcpy");
    for (size_t p = 0; p < 4; p++)
        if (blitz_utf8_by_name(names[p]))
            printf(" %9s", names[p]);
    puts("   ns per call");
    for (size_t t = 0; t < sizeof texts / sizeof *texts; t++)
        for (size_t l = 0; l < sizeof lengths / sizeof *lengths; l++) {
            const size_t len = fill(texts[t].piece, lengths[l]);
            printf("%-8s %8zu %9.1f", texts[t].name, len, time_one(copy_memcpy, len));
            for (size_t p = 0; p < 4; p++) {
                const blitz_utf8_code *code = blitz_utf8_by_name(names[p]);
                if (code)
                    printf(" %9.1f", time_one(code->copy, len));
            }
            putchar('\n');
        }
    return 0;
}
