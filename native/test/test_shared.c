/* The hash of the rate-limit table is SipHash-2-4: its authors' vectors, and the input at the edge of a page. */
#include "guard.h"
#include "guest.h"

/* Aumasson and Bernstein, "SipHash: a fast short-input PRF", appendix A and the reference's vectors:
 * key 00 01 .. 0f, input 00 01 .. of that length. */
static const struct { size_t len; uint64_t hash; } VECTORS[] = {
    {0, 0x726fdb47dd0e0e31u}, {1, 0x74f839c593dc67fdu}, {2, 0x0d6c8009d9a94f5au}, {7, 0xab0200f58b01d137u},
    {8, 0x93f5f5799a932462u}, {15, 0xa129ca6149be45e5u},
};

int main(void)
{
    const uint64_t secret[2] = {0x0706050403020100u, 0x0f0e0d0c0b0a0908u};
    guarded area = guard_new(64);
    for (size_t i = 0; i < sizeof VECTORS / sizeof *VECTORS; i++) {
        uint8_t *input = area.end - VECTORS[i].len;
        for (size_t at = 0; at < VECTORS[i].len; at++)
            input[at] = (uint8_t)at;
        uint64_t hash = blitz_siphash(secret, input, VECTORS[i].len);
        MUST(hash == VECTORS[i].hash, "%zu bytes: %016llx", VECTORS[i].len, (unsigned long long)hash);
    }
    puts("test_shared: ok");
    return 0;
}
