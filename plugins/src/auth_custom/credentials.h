/* credentials.h: the keys and secrets that this instance knows, read once in init.
 *
 * Of an API key only its SHA-256 is kept. A presented key is hashed once and compared with every
 * digest, without an early exit: the time tells the number of keys and the length of what the client
 * sent, nothing else. */
#ifndef AUTH_CUSTOM_CREDENTIALS_H
#define AUTH_CUSTOM_CREDENTIALS_H
#include "blitz.h"
#include "blitz_sha256.h"

enum { MAX_KEYS = 256, MAX_SECRETS = 64 };

typedef struct {
    uint8_t digest[BLITZ_SHA256_SIZE];
    blitz_str identity;
} api_key;

typedef struct {
    blitz_str id; /* also the identity */
    blitz_str secret;
} hmac_secret;

static api_key api_keys[MAX_KEYS];
static uint32_t api_key_count;
static hmac_secret hmac_secrets[MAX_SECRETS];
static uint32_t hmac_secret_count;

/* An identity becomes a header value: visible ASCII. */
static bool is_identity(blitz_str text)
{
    for (uint32_t i = 0; i < text.len; i++) {
        if (text.ptr[i] < '!' || text.ptr[i] > '~') {
            return false;
        }
    }
    return text.len > 0 && text.len <= 256;
}

static bool add_api_key(blitz_str identity, blitz_str key)
{
    if (api_key_count == MAX_KEYS) {
        return false;
    }
    api_key *slot = &api_keys[api_key_count++];
    slot->identity = identity;
    blitz_sha256_of(key, slot->digest);
    return true;
}

static bool add_hmac_secret(blitz_str id, blitz_str secret)
{
    if (hmac_secret_count == MAX_SECRETS) {
        return false;
    }
    hmac_secrets[hmac_secret_count++] = (hmac_secret){id, secret};
    return true;
}

/* Say which entry is wrong by its number: the text of it is a secret. */
static void complain_about_entry(blitz_str source, uint32_t number, blitz_str wanted)
{
    char bytes[256];
    blitz_writer line = blitz_writer_on(bytes, sizeof bytes);
    blitz_put(&line, source);
    blitz_put(&line, BLITZ_STR(": entry "));
    blitz_put_u64(&line, number);
    blitz_put(&line, wanted);
    blitz_log(BLITZ_STR("error"), blitz_written(&line));
}

typedef bool (*pair_adder)(blitz_str name, blitz_str secret);

/* "name:secret" entries, separated by commas or lines. A malformed one is an error, not skipped: an
 * operator who mistypes a key finds out at start. */
static bool read_pairs(blitz_str source, blitz_str text, pair_adder add)
{
    blitz_str line;
    uint32_t number = 0;
    while (blitz_split(&text, '\n', &line)) {
        blitz_str pair;
        while (blitz_split(&line, ',', &pair)) {
            pair = blitz_trim(pair);
            if (pair.len == 0) {
                continue;
            }
            number++;
            uint32_t colon = blitz_find(pair, ':', 0);
            blitz_str identity = blitz_trim(blitz_slice(pair, 0, colon));
            blitz_str secret = blitz_trim(blitz_slice(pair, colon + 1, pair.len));
            if (!is_identity(identity) || secret.len == 0) {
                complain_about_entry(source, number, BLITZ_STR(" is not of the form identity:secret"));
                return false;
            }
            if (!add(identity, secret)) {
                complain_about_entry(source, number, BLITZ_STR(" is one too many: at most 256 keys, 64 secrets"));
                return false;
            }
        }
    }
    return true;
}

/* All ones when two digests are equal, else 0, in constant time. */
static uint32_t digest_mask(const uint8_t *a, const uint8_t *b)
{
    bool equal = blitz_equal_constant_time(blitz_view((const char *)a, BLITZ_SHA256_SIZE),
                                           blitz_view((const char *)b, BLITZ_SHA256_SIZE));
    return 0 - (uint32_t)equal;
}

/* Whose key it is; empty when nobody's. */
static blitz_str find_api_key(blitz_str key)
{
    uint8_t digest[BLITZ_SHA256_SIZE];
    blitz_sha256_of(key, digest);
    uint32_t found = 0; /* 1 + index */
    for (uint32_t i = 0; i < api_key_count; i++) {
        found |= digest_mask(digest, api_keys[i].digest) & (i + 1) & (0 - (uint32_t)(found == 0));
    }
    return found != 0 ? api_keys[found - 1].identity : BLITZ_STR("");
}
#endif
