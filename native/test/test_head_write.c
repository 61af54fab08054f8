/* Invariants: the writer touches nothing outside its buffer and fits in its bound; what it wrote is read
 * back as the same head, on every path; heads outlive arenas that move. */
#include "head_invariants.h"

static const char *const names[] = {"A", "x-b", "Via", "TE", "Keep-Alive", "ETag", "Upgrade", "a.b!", "X-Forwarded-For"};
static const char *const values[] = {"", "b", "\xe9", "a \t b", " padded\t", "a much longer value, to fill more than one load"};
#define ANY(table, seed) table[next_random(seed) % (sizeof table / sizeof table[0])]

static void random_edits(blitz_head *head, uint64_t *seed)
{
    for (unsigned edits = (unsigned)(next_random(seed) % 12); edits; edits--) {
        const uint8_t *name = (const uint8_t *)ANY(names, seed), *value = (const uint8_t *)ANY(values, seed);
        size_t name_len = strlen((const char *)name), len = strlen((const char *)value);
        switch (next_random(seed) % 3) {
        case 0:
            MUST(blitz_head_add(head, name, name_len, value, len) == 0, "add");
            break;
        case 1:
            MUST(blitz_head_set(head, name, name_len, value, len) == 0, "set");
            break;
        default:
            MUST(blitz_head_remove(head, name, name_len) >= 0, "remove");
        }
    }
}

static size_t random_head(uint8_t *text, uint64_t *seed)
{
    size_t len = (size_t)sprintf((char *)text, "POST /t HTTP/1.1\r\nHost: a\r\n");
    for (unsigned fields = (unsigned)(next_random(seed) % 10); fields; fields--)
        len += (size_t)sprintf((char *)text + len, "%s:%s%s\r\n", ANY(names, seed), next_random(seed) & 3 ? " " : "",
                               ANY(values, seed));
    return len + (size_t)sprintf((char *)text + len, "\r\n");
}

/* The head without what the writer leaves out and with what it adds. */
static void expect_written(blitz_head *head, int64_t content_length)
{
    static const char *const never[] = {"te", "keep-alive", "upgrade"};
    char digits[24];
    for (size_t i = 0; i < 3; i++)
        blitz_head_remove(head, (const uint8_t *)never[i], strlen(never[i]));
    int len = sprintf(digits, "%lld", (long long)content_length);
    MUST(blitz_head_add(head, (const uint8_t *)"Content-Length", 14, (uint8_t *)digits, (size_t)len) == 0, "length");
    MUST(blitz_head_check(head, NULL, 0) == 0, "check");
}

int main(void)
{
    uint64_t seed = 9110;
    guarded page = guard_new(8192);
    uint8_t text[4096];
    blitz_head *head = blitz_head_new(), *back = blitz_head_new();
    const scan_input input = {.response = false};
    for (int round = 0; round < 20000; round++) {
        size_t len = random_head(text, &seed), first = (size_t)(next_random(&seed) % 30);
        if (scan_with("portable", head, &input, text, len, 0) < 0)
            continue;
        random_edits(head, &seed);
        head_must_be_clean(head);
        blitz_write_options options = {.body = BLITZ_BODY_LENGTH, .content_length = (int64_t)first, .first_is_last = 1};
        size_t bound = blitz_head_write_bound(head, &options) + first;
        uint8_t *out = page.end - bound;
        int64_t written = blitz_head_write(head, &options, text, first, out, bound);
        MUST(written > 0, "written %lld", (long long)written);
        memmove(page.end - written, out, (size_t)written);
        out = page.end - written;
        MUST(memcmp(page.end - first, text, first) == 0, "first part");
        int64_t size = scan_with(blitz_scan_path(), back, &input, out, (size_t)written, 0);
        MUST(size == written - (int64_t)first, "%lld of %lld", (long long)size, (long long)written);
        expect_written(head, (int64_t)first);
        heads_must_be_equal(head, back);
        MUST(blitz_head_write(head, &options, text, first, page.end - written + 1, (size_t)written - 1) < 0, "no room");
    }
    blitz_head_free(head);
    blitz_head_free(back);
    puts("head_write: what is written reads back");
    return 0;
}
