/* Invariant: any bytes as a path give a route or a reason; the canonical path is no longer than the path, and where
 * nothing in it is encoded it is its own canonical path. */
#include "../head.h"
#include "guard.h"
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static blitz_path_table *make_table(void)
{
    static const char *const prefixes[] = {"/", "/a", "/a/b", "/b/a", "/a/b/a", "/100%", "/a b"};
    blitz_path_table *table = blitz_path_table_new(4096);
    int64_t tree = blitz_path_table_tree(table);
    for (int i = 0; i < 7; i++)
        blitz_path_table_add(table, (uint32_t)tree, (const uint8_t *)prefixes[i], strlen(prefixes[i]), i, i % 3, i % 4 == 3);
    blitz_path_table_seal(table);
    return table;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static blitz_path_table *table;
    if (table == NULL)
        table = make_table();
    uint8_t *path = malloc(size + 1), *made = malloc(size + 1), *again = malloc(size + 1);
    path[0] = '/';
    if (size > 0)
        memcpy(path + 1, data, size);
    int32_t found = blitz_path_find(table, 0, path, size + 1);
    MUST(found >= BLITZ_PATH_TOO_LONG && found < 7, "%d", found);
    MUST(blitz_path_stays(table, 0, 0, path, size + 1) == (found >= 0 && found % 3 == 0), "%d", found);
    size_t n = blitz_path_canonical(made, path, size + 1);
    MUST(n >= 1 && n <= size + 1 && made[0] == '/', "%zu of %zu", n, size + 1);
    if (memchr(made, '%', n) == NULL) {
        MUST(blitz_path_canonical(again, made, n) == n && memcmp(again, made, n) == 0, "%zu bytes", n);
    }
    free(path);
    free(made);
    free(again);
    return 0;
}
