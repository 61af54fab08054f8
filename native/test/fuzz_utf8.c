/* Invariant: on any bytes all paths of this machine agree, and a repaired copy is well-formed. */
#include "../utf8.h"
#include "guard.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const char *const names[] = {"sse2", "avx2", "neon"};
    uint8_t *copy = malloc(3 * size + 1);
    const size_t expected = blitz_utf8_portable.check(data, size);
    for (size_t i = 0; i < 3; i++) {
        const blitz_utf8_code *code = blitz_utf8_by_name(names[i]);
        if (!code)
            continue;
        MUST(code->check(data, size) == expected, "%s checks otherwise", names[i]);
        MUST(code->copy(copy, data, size) == expected, "%s copies otherwise", names[i]);
        MUST(memcmp(copy, data, expected) == 0, "%s copies other bytes", names[i]);
    }
    const size_t needed = blitz_utf8_lossy(copy, 3 * size, data, size);
    MUST(needed <= 3 * size && blitz_utf8_portable.check(copy, needed) == needed, "ill-formed repair");
    free(copy);
    return 0;
}
