/* blitz_sha256.h: SHA-256 (FIPS 180-4) and HMAC-SHA256 (RFC 2104), small and without tables in the
 * way of a cache: no branch and no address depends on the data. */
#ifndef BLITZ_SHA256_H
#define BLITZ_SHA256_H
#include "blitz.h"

enum { BLITZ_SHA256_SIZE = 32, BLITZ_SHA256_BLOCK = 64 };

typedef struct {
    uint32_t state[8];
    uint64_t length; /* bytes so far */
    uint8_t block[BLITZ_SHA256_BLOCK];
} blitz_sha256;

static const uint32_t blitz_sha256_k[64] = {
    0x428a2f98, 0x71374491, 0xb5c0fbcf, 0xe9b5dba5, 0x3956c25b, 0x59f111f1, 0x923f82a4, 0xab1c5ed5,
    0xd807aa98, 0x12835b01, 0x243185be, 0x550c7dc3, 0x72be5d74, 0x80deb1fe, 0x9bdc06a7, 0xc19bf174,
    0xe49b69c1, 0xefbe4786, 0x0fc19dc6, 0x240ca1cc, 0x2de92c6f, 0x4a7484aa, 0x5cb0a9dc, 0x76f988da,
    0x983e5152, 0xa831c66d, 0xb00327c8, 0xbf597fc7, 0xc6e00bf3, 0xd5a79147, 0x06ca6351, 0x14292967,
    0x27b70a85, 0x2e1b2138, 0x4d2c6dfc, 0x53380d13, 0x650a7354, 0x766a0abb, 0x81c2c92e, 0x92722c85,
    0xa2bfe8a1, 0xa81a664b, 0xc24b8b70, 0xc76c51a3, 0xd192e819, 0xd6990624, 0xf40e3585, 0x106aa070,
    0x19a4c116, 0x1e376c08, 0x2748774c, 0x34b0bcb5, 0x391c0cb3, 0x4ed8aa4a, 0x5b9cca4f, 0x682e6ff3,
    0x748f82ee, 0x78a5636f, 0x84c87814, 0x8cc70208, 0x90befffa, 0xa4506ceb, 0xbef9a3f7, 0xc67178f2};

BLITZ_FN uint32_t blitz_rotate_right(uint32_t x, uint32_t n)
{
    return x >> n | x << (32 - n);
}

BLITZ_FN uint32_t blitz_load_be32(const uint8_t *p)
{
    return (uint32_t)p[0] << 24 | (uint32_t)p[1] << 16 | (uint32_t)p[2] << 8 | p[3];
}

BLITZ_FN void blitz_store_be32(uint8_t *p, uint32_t x)
{
    p[0] = (uint8_t)(x >> 24);
    p[1] = (uint8_t)(x >> 16);
    p[2] = (uint8_t)(x >> 8);
    p[3] = (uint8_t)x;
}

/* FIPS 180-4 section 6.2.2. */
__attribute__((noinline)) BLITZ_FN void blitz_sha256_compress(uint32_t state[8], const uint8_t *block)
{
    uint32_t w[64];
    for (uint32_t i = 0; i < 16; i++) {
        w[i] = blitz_load_be32(block + 4 * i);
    }
    for (uint32_t i = 16; i < 64; i++) {
        uint32_t a = w[i - 15], b = w[i - 2];
        w[i] = w[i - 16] + w[i - 7] + (blitz_rotate_right(a, 7) ^ blitz_rotate_right(a, 18) ^ a >> 3) +
               (blitz_rotate_right(b, 17) ^ blitz_rotate_right(b, 19) ^ b >> 10);
    }
    uint32_t a = state[0], b = state[1], c = state[2], d = state[3];
    uint32_t e = state[4], f = state[5], g = state[6], h = state[7];
    for (uint32_t i = 0; i < 64; i++) {
        uint32_t sum1 = blitz_rotate_right(e, 6) ^ blitz_rotate_right(e, 11) ^ blitz_rotate_right(e, 25);
        uint32_t sum0 = blitz_rotate_right(a, 2) ^ blitz_rotate_right(a, 13) ^ blitz_rotate_right(a, 22);
        uint32_t t1 = h + sum1 + ((e & f) ^ (~e & g)) + blitz_sha256_k[i] + w[i];
        uint32_t t2 = sum0 + ((a & b) ^ (a & c) ^ (b & c));
        h = g;
        g = f;
        f = e;
        e = d + t1;
        d = c;
        c = b;
        b = a;
        a = t1 + t2;
    }
    state[0] += a;
    state[1] += b;
    state[2] += c;
    state[3] += d;
    state[4] += e;
    state[5] += f;
    state[6] += g;
    state[7] += h;
}

BLITZ_FN void blitz_sha256_start(blitz_sha256 *hash)
{
    static const uint32_t first[8] = {0x6a09e667, 0xbb67ae85, 0x3c6ef372, 0xa54ff53a,
                                      0x510e527f, 0x9b05688c, 0x1f83d9ab, 0x5be0cd19};
    for (uint32_t i = 0; i < 8; i++) {
        hash->state[i] = first[i];
    }
    hash->length = 0;
}

__attribute__((noinline)) BLITZ_FN void blitz_sha256_add(blitz_sha256 *hash, blitz_str bytes)
{
    uint32_t used = (uint32_t)(hash->length % BLITZ_SHA256_BLOCK);
    hash->length += bytes.len;
    while (bytes.len > 0) {
        uint32_t n = BLITZ_SHA256_BLOCK - used;
        if (n > bytes.len) {
            n = bytes.len;
        }
        blitz_copy((char *)hash->block + used, bytes.ptr, n);
        bytes = blitz_slice(bytes, n, bytes.len);
        used += n;
        if (used == BLITZ_SHA256_BLOCK) {
            blitz_sha256_compress(hash->state, hash->block);
            used = 0;
        }
    }
}

__attribute__((noinline)) BLITZ_FN void blitz_sha256_finish(blitz_sha256 *hash, uint8_t digest[BLITZ_SHA256_SIZE])
{
    uint64_t bits = hash->length * 8;
    uint32_t used = (uint32_t)(hash->length % BLITZ_SHA256_BLOCK);
    hash->block[used++] = 0x80;
    if (used > BLITZ_SHA256_BLOCK - 8) {
        __builtin_memset(hash->block + used, 0, BLITZ_SHA256_BLOCK - used);
        blitz_sha256_compress(hash->state, hash->block);
        used = 0;
    }
    __builtin_memset(hash->block + used, 0, BLITZ_SHA256_BLOCK - 8 - used);
    blitz_store_be32(hash->block + 56, (uint32_t)(bits >> 32));
    blitz_store_be32(hash->block + 60, (uint32_t)bits);
    blitz_sha256_compress(hash->state, hash->block);
    for (uint32_t i = 0; i < 8; i++) {
        blitz_store_be32(digest + 4 * i, hash->state[i]);
    }
}

BLITZ_FN void blitz_sha256_of(blitz_str bytes, uint8_t digest[BLITZ_SHA256_SIZE])
{
    blitz_sha256 hash;
    blitz_sha256_start(&hash);
    blitz_sha256_add(&hash, bytes);
    blitz_sha256_finish(&hash, digest);
}

/* The message may come in several pieces: start, blitz_sha256_add(&hmac->inner, ...), finish. */
typedef struct {
    blitz_sha256 inner, outer;
} blitz_hmac;

BLITZ_FN void blitz_hmac_start(blitz_hmac *hmac, blitz_str key)
{
    uint8_t block[BLITZ_SHA256_BLOCK] = {0};
    if (key.len > sizeof block) {
        blitz_sha256_of(key, block);
    } else {
        blitz_copy((char *)block, key.ptr, key.len);
    }
    for (uint32_t i = 0; i < sizeof block; i++) {
        block[i] ^= 0x36;
    }
    blitz_sha256_start(&hmac->inner);
    blitz_sha256_add(&hmac->inner, blitz_view((char *)block, sizeof block));
    for (uint32_t i = 0; i < sizeof block; i++) {
        block[i] ^= 0x36 ^ 0x5c;
    }
    blitz_sha256_start(&hmac->outer);
    blitz_sha256_add(&hmac->outer, blitz_view((char *)block, sizeof block));
}

BLITZ_FN void blitz_hmac_finish(blitz_hmac *hmac, uint8_t digest[BLITZ_SHA256_SIZE])
{
    blitz_sha256_finish(&hmac->inner, digest);
    blitz_sha256_add(&hmac->outer, blitz_view((char *)digest, BLITZ_SHA256_SIZE));
    blitz_sha256_finish(&hmac->outer, digest);
}
#endif /* BLITZ_SHA256_H */
