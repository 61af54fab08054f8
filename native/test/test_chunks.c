/* Invariants: the decoder touches nothing outside its buffer, writes no byte behind the data it returns that
 * it had not read, and gives the same body however the coded bytes are cut. */
#include "../head.h"
#include "guard.h"
#include <string.h>

static guarded page;

typedef struct {
    uint8_t data[4096];
    size_t len, used;
    int result;         /* state at the end, or the error */
} decoded;

/* Decode in parts of at most step bytes (0: random), each flush against the page's end. */
static void decode(decoded *out, const uint8_t *body, size_t len, size_t step, uint64_t *seed)
{
    blitz_chunks chunks = {0};
    out->len = out->used = 0;
    while (out->used < len && chunks.state != 255) {
        size_t n = step ? step : 1 + (size_t)(next_random(seed) % 40), consumed;
        n = n < len - out->used ? n : len - out->used;
        uint8_t *at = page.end - n;
        memcpy(at, body + out->used, n);
        int64_t got = blitz_chunks_decode(&chunks, at, n, &consumed);
        if (got < 0) {
            out->result = (int)got;
            return;
        }
        MUST((size_t)got <= consumed && consumed <= n, "%lld of %zu of %zu", (long long)got, consumed, n);
        MUST(consumed == n || chunks.state == 255, "%zu of %zu", consumed, n);
        memcpy(out->data + out->len, at, (size_t)got);
        out->len += (size_t)got;
        out->used += consumed;
    }
    out->result = chunks.state;
}

static size_t random_body(uint8_t *body, uint64_t *seed)
{
    size_t len = 0;
    for (unsigned chunks = (unsigned)(next_random(seed) % 8); chunks; chunks--) {
        unsigned size = 1 + (unsigned)(next_random(seed) % (chunks & 1 ? 3 : 60));
        const char *extension = next_random(seed) & 3 ? "" : ";a=\"b\"";
        len += (size_t)sprintf((char *)body + len, "%x%s\r\n", size, extension);
        while (size--)
            body[len++] = (uint8_t)next_random(seed);
        len += (size_t)sprintf((char *)body + len, "\r\n");
    }
    return len + (size_t)sprintf((char *)body + len, "0\r\n%s\r\n", next_random(seed) & 1 ? "a: b\r\n" : "");
}

int main(void)
{
    static decoded whole, parts;
    uint8_t body[2048];
    uint64_t seed = 9112;
    page = guard_new(4096);
    for (int round = 0; round < 20000; round++) {
        size_t len = random_body(body, &seed);
        if (round & 1)
            body[next_random(&seed) % len] = (uint8_t)"\r\n;0a \0"[next_random(&seed) % 7];
        decode(&whole, body, len, len, &seed);
        MUST(round & 1 || (whole.result == 255 && whole.used == len), "a good body: %d", whole.result);
        for (size_t step = 0; step < 4; step++) {
            decode(&parts, body, len, step, &seed);
            MUST(parts.result == whole.result, "%d, whole %d", parts.result, whole.result);
            if (whole.result < 0)
                continue;
            MUST(parts.len == whole.len && parts.used == whole.used, "lengths");
            MUST(memcmp(parts.data, whole.data, whole.len) == 0, "data");
        }
    }
    puts("chunks: the same body in any parts");
    return 0;
}
