/* Invariant: on any bytes every path of this machine copies the same prefix as a decoder that is written
 * from the definition, touches no byte outside src[0..len) and dst[0..len), and the repairing copy writes
 * nothing past its cap. */
#include "../utf8.h"
#include "guard.h"

enum { ROOM = 4096 };
static guarded source, target, second;
static const blitz_utf8_code *paths[4];
static size_t n_paths;

/* Length of the well-formed prefix: decode the number, then ask if it is a scalar value that needs that
 * many bytes. Shares no table and no bound with the code under test. */
static size_t prefix_by_definition(const uint8_t *src, size_t len)
{
    static const uint32_t smallest[5] = {0, 0, 0x80, 0x800, 0x10000};
    size_t at = 0;
    while (at < len) {
        const uint8_t lead = src[at];
        const size_t size = lead < 0x80 ? 1 : lead >> 5 == 6 ? 2 : lead >> 4 == 14 ? 3 : lead >> 3 == 30 ? 4 : 0;
        if (size == 0 || size > len - at)
            break;
        uint32_t value = size == 1 ? lead : lead & (0x7Fu >> size);
        size_t i = 1;
        for (; i < size && src[at + i] >> 6 == 2; i++)
            value = value << 6 | (src[at + i] & 0x3Fu);
        if (i < size || value < smallest[size] || value > 0x10FFFF || (value >= 0xD800 && value <= 0xDFFF))
            break;
        at += size;
    }
    return at;
}

static void check_one_place(const uint8_t *src, uint8_t *dst, size_t len, size_t expected)
{
    for (size_t i = 0; i < n_paths; i++) {
        memset(dst, 0x55, len);
        const size_t got = paths[i]->copy(dst, src, len);
        MUST(got == expected, "%s copied %zu of %zu, expected %zu", paths[i]->name, got, len, expected);
        MUST(memcmp(dst, src, got) == 0, "%s copied other bytes", paths[i]->name);
        const size_t seen = paths[i]->check(src, len);
        MUST(seen == expected, "%s checked %zu of %zu, expected %zu", paths[i]->name, seen, len, expected);
    }
}

/* The input once against the page after, once against the page before. */
static void check_input(const uint8_t *bytes, size_t len)
{
    const size_t expected = prefix_by_definition(bytes, len);
    memcpy(source.end - len, bytes, len);
    check_one_place(source.end - len, target.end - len, len, expected);
    memcpy(source.begin, bytes, len);
    check_one_place(source.begin, target.begin, len, expected);
}

static void check_lossy(const uint8_t *bytes, size_t len)
{
    memcpy(source.end - len, bytes, len);
    const uint8_t *src = source.end - len;
    const size_t needed = blitz_utf8_lossy(NULL, 0, src, len);
    MUST(needed <= 3 * len, "%zu bytes became %zu", len, needed);
    uint8_t *whole = second.end - needed;
    MUST(blitz_utf8_lossy(whole, needed, src, len) == needed, "two calls differ");
    MUST(prefix_by_definition(whole, needed) == needed, "the repaired copy is ill-formed");
    for (size_t cap = 0; cap < needed; cap++) {
        uint8_t *dst = target.end - cap;
        memset(dst, 0x55, cap);
        MUST(blitz_utf8_lossy(dst, cap, src, len) == needed, "cap %zu changes what is needed", cap);
        size_t same = 0;
        while (same < cap && dst[same] == whole[same])
            same++;
        MUST(same + 4 > cap, "cap %zu left %zu bytes unused", cap, cap - same);
        for (size_t i = same; i < cap && dst[same] == 0x55; i++)
            MUST(dst[i] == 0x55, "cap %zu: written past the last sequence", cap);
    }
}

/* Four bytes of all kinds that border on each other, at every offset in turn, in ASCII and in Greek. */
static void test_borders(void)
{
    static const uint8_t kinds[] = {0x00, 0x7F, 0x80, 0x8F, 0x90, 0x9F, 0xA0, 0xBF, 0xC0, 0xC1, 0xC2, 0xDF,
                                    0xE0, 0xE1, 0xEC, 0xED, 0xEE, 0xEF, 0xF0, 0xF1, 0xF4, 0xF5, 0xFF};
    enum { N = sizeof kinds };
    uint8_t bytes[144];
    for (size_t n = 0; n < (size_t)N * N * N * N; n++) {
        const size_t offset = n % 64, len = offset + 4 + n / 64 % 70;
        memset(bytes, 'a', sizeof bytes);
        if (n & 1)
            for (size_t i = offset % 2; i + 1 < sizeof bytes; i += 2)
                memcpy(bytes + i, "\xCE\xB1", 2);
        for (size_t i = 0, rest = n; i < 4; i++, rest /= N)
            bytes[offset + i] = kinds[rest % N];
        check_input(bytes, len);
    }
}

/* Every first, middle and last sequence of each length, cut after every byte, at every offset, and at
 * every distance from the end. */
static void test_truncations(void)
{
    static const char *const sequences[] = {
        "\xC2\x80", "\xDF\xBF", "\xE0\xA0\x80", "\xE2\x82\xAC", "\xED\x9F\xBF", "\xEE\x80\x80", "\xEF\xBF\xBF",
        "\xF0\x90\x80\x80", "\xF0\x9F\x98\x80", "\xF4\x8F\xBF\xBF"};
    uint8_t bytes[256];
    for (size_t which = 0; which < sizeof sequences / sizeof *sequences; which++) {
        const size_t size = strlen(sequences[which]);
        for (size_t offset = 0; offset < 130; offset++)
            for (size_t cut = 0; cut <= size; cut++)
                for (size_t after = 0; after < 70; after += after < 3 ? 1 : 11) {
                    memset(bytes, 'x', sizeof bytes);
                    memcpy(bytes + offset, sequences[which], cut);
                    check_input(bytes, offset + cut + after);
                }
    }
}

/* Pieces of text, good and bad, of every length: what a mutator of real text would do. */
static void test_random(void)
{
    static const char *const pieces[] = {"GET /index.html", "a", "\xC3\xA4", "\xE2\x82\xAC", "\xF0\x9F\x98\x80",
                                         "\xE4\xB8\xAD\xE6\x96\x87", "\xCE\xB1\xCE\xB2\xCE\xB3",
                                         "0123456789012345678901234567890123456789"};
    uint64_t state = 20240229;
    uint8_t bytes[600];
    for (int round = 0; round < 60000; round++) {
        const size_t wanted = next_random(&state) % 400;
        size_t len = 0;
        while (len < wanted) {
            const char *piece = pieces[next_random(&state) % (sizeof pieces / sizeof *pieces)];
            memcpy(bytes + len, piece, strlen(piece));
            len += strlen(piece);
        }
        len -= len ? next_random(&state) % (len < 4 ? len : 4) : 0;
        for (uint64_t hits = next_random(&state) % 3; len && hits > 0; hits--)
            bytes[next_random(&state) % len] = (uint8_t)next_random(&state);
        check_input(bytes, len);
        if (round % 16 == 0)
            check_lossy(bytes, len);
    }
}

static void test_lossy_borders(void)
{
    uint64_t state = 7;
    uint8_t bytes[12];
    static const uint8_t kinds[] = {'a', 0x80, 0xBF, 0xC2, 0xE0, 0xA0, 0xED, 0x9F, 0xF0, 0x90, 0xF4, 0x8F, 0xFF};
    for (int round = 0; round < 100000; round++) {
        const size_t len = next_random(&state) % sizeof bytes;
        for (size_t i = 0; i < len; i++)
            bytes[i] = kinds[next_random(&state) % sizeof kinds];
        check_lossy(bytes, len);
    }
}

int main(void)
{
    static const char *const names[] = {"portable", "sse2", "avx2", "neon"};
    for (size_t i = 0; i < 4; i++) {
        const blitz_utf8_code *code = blitz_utf8_by_name(names[i]);
        if (code)
            paths[n_paths++] = code;
    }
    source = guard_new(ROOM);
    target = guard_new(ROOM);
    second = guard_new(ROOM);
    test_truncations();
    test_borders();
    test_random();
    test_lossy_borders();
    printf("utf8: %zu paths agree, %s is used\n", n_paths, blitz_utf8_path());
    return 0;
}
