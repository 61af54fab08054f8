/* Invariants: finding a route and folding a path touch nothing outside the path and the room for the result;
 * any bytes give a value or a reason; what is folded is folded, and no longer than it was. */
#include "../head.h"
#include "guard.h"
#include <string.h>

static const char *const PIECES[] = {
    "/", "/", "/", ".", "..", "a", "b", "%2f", "%2F", "%5c", "\\", ";", "%3b", "%2e", "%25", "%252f", "%2", "%",
    "5", "f", "%00", "%3f", "#", " ", "%c3%a9", "A", "?x=/../b", "%25%32%66",
};

static size_t random_path(uint8_t *path, size_t room, uint64_t *seed)
{
    size_t len = 0, pieces = next_random(seed) % 60;
    path[len++] = '/';
    for (size_t i = 0; i < pieces; i++) {
        uint64_t which = next_random(seed) % (sizeof PIECES / sizeof *PIECES + 1);
        if (which == sizeof PIECES / sizeof *PIECES) {
            path[len++] = (uint8_t)next_random(seed);
        } else {
            size_t n = strlen(PIECES[which]);
            if (len + n >= room)
                break;
            memcpy(path + len, PIECES[which], n);
            len += n;
        }
    }
    return len;
}

static blitz_path_table *make_table(void)
{
    static const char *const prefixes[] = {"/", "/a", "/a/b", "/b/a", "/a/b/a", "/b"};
    blitz_path_table *table = blitz_path_table_new(512);
    int64_t tree = blitz_path_table_tree(table);
    MUST(tree == 0, "%lld", (long long)tree);
    for (int i = 0; i < 6; i++)
        MUST(blitz_path_table_add(table, 0, (const uint8_t *)prefixes[i], strlen(prefixes[i]), i, i % 4, i == 5) == 0, "%d", i);
    blitz_path_table_seal(table);
    return table;
}

static void test_random_paths(const blitz_path_table *table, guarded in, guarded out)
{
    uint64_t seed = 7;
    uint8_t path[512], again[512];
    int passed = 0, refused = 0;
    for (int i = 0; i < 200000; i++) {
        size_t len = random_path(path, sizeof path - 1, &seed);
        uint8_t *at = in.end - len, *to = out.end - len;
        memcpy(at, path, len);
        int32_t found = blitz_path_find(table, 0, at, len);
        MUST(found >= BLITZ_PATH_TOO_LONG && found < 6, "%d", found);
        passed += found >= 0;
        refused += found == BLITZ_PATH_AMBIGUOUS || found == BLITZ_PATH_CLIMBS;
        size_t n = blitz_path_canonical(to, at, len);
        MUST(n >= 1 && n <= len && to[0] == '/', "%zu of %zu", n, len);
        MUST(blitz_path_canonical(at, at, len) == n && memcmp(at, to, n) == 0, "in place, path %d", i);
        if (memchr(to, '%', n) == NULL) {
            MUST(blitz_path_canonical(again, to, n) == n && memcmp(again, to, n) == 0, "twice, path %d", i);
        }
    }
    MUST(passed > 20000 && refused > 20000, "%d passed, %d refused", passed, refused);
}

static void test_bounds(const blitz_path_table *table, guarded in)
{
    uint8_t *at = in.end - 513;
    memset(at, 'x', 513);
    at[0] = '/';
    MUST(blitz_path_find(table, 0, at, 513) == 0, "a plain path has no bound");
    at[7] = ';';
    MUST(blitz_path_find(table, 0, at, 513) == BLITZ_PATH_TOO_LONG, "longer than the table's longest");
    MUST(blitz_path_find(table, 0, at, 512) == 0, "as long");
    for (int i = 0; i < 512; i += 2)
        at[i] = '/';
    MUST(blitz_path_find(table, 0, at, 512) == 0, "256 segments");
    at[511] = '/';
    MUST(blitz_path_find(table, 0, at, 512) == BLITZ_PATH_TOO_LONG, "257 segments");
    MUST(blitz_path_find(table, 0, at, 0) == 0, "nothing");
}

int main(void)
{
    guarded in = guard_new(1024), out = guard_new(1024);
    blitz_path_table *table = make_table();
    test_random_paths(table, in, out);
    test_bounds(table, in);
    blitz_path_table_free(table);
    puts("path: ok");
    return 0;
}
