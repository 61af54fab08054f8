/* Invariant: the decoded body and the bytes consumed do not depend on how the coded bytes were cut; an
 * error is the same error. */
#include "../head.h"
#include "guard.h"
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

typedef struct {
    uint8_t *data;
    size_t len, used;
    int result;
} decoded;

static void decode(decoded *out, const uint8_t *body, size_t len, size_t step, uint8_t bounds)
{
    blitz_chunks chunks = {.max_line = bounds & 1 ? 12 : 0, .max_trailers = bounds & 2 ? 20 : 0};
    *out = (decoded){malloc(len + 1), 0, 0, 0};
    while (out->used < len && chunks.state != 255) {
        size_t n = step < len - out->used ? step : len - out->used, consumed = 0;
        uint8_t *part = malloc(n);
        memcpy(part, body + out->used, n);
        int64_t got = blitz_chunks_decode(&chunks, part, n, &consumed);
        if (got >= 0) {
            MUST((size_t)got <= consumed && consumed <= n, "%lld of %zu", (long long)got, consumed);
            memcpy(out->data + out->len, part, (size_t)got);
        }
        free(part);
        if (got < 0) {
            out->result = (int)got;
            return;
        }
        out->len += (size_t)got;
        out->used += consumed;
    }
    out->result = chunks.state;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size < 2)
        return 0;
    decoded whole, parts;
    size_t step = 1 + (data[0] >> 2);
    decode(&whole, data + 1, size - 1, size - 1, data[0]);
    decode(&parts, data + 1, size - 1, step, data[0]);
    MUST(whole.result == parts.result, "%d, in parts %d", whole.result, parts.result);
    if (whole.result >= 0) {
        MUST(whole.len == parts.len && whole.used == parts.used, "lengths");
        MUST(memcmp(whole.data, parts.data, whole.len) == 0, "data");
    }
    free(whole.data);
    free(parts.data);
    return 0;
}
