/* signature.h: requests signed with HMAC-SHA256.
 *
 * The client sends
 *   x-blitz-key-id          which secret
 *   x-blitz-timestamp       seconds since 1970-01-01 UTC, in decimal
 *   x-blitz-content-sha256  optional: the body's SHA-256, in hex
 *   x-blitz-signature       HMAC-SHA256(secret, text), in hex
 * where text is  method LF target LF timestamp LF content-sha256  (the last one empty if not sent), and
 * target is the path with its query, as in the request line. The body itself is not read here: that
 * would make the gateway collect it. Who gets the signed hash can check it. */
#ifndef AUTH_CUSTOM_SIGNATURE_H
#define AUTH_CUSTOM_SIGNATURE_H
#include "credentials.h"

enum { HEX_DIGEST = 2 * BLITZ_SHA256_SIZE };

#define KEY_ID_HEADER BLITZ_STR("x-blitz-key-id")
#define TIMESTAMP_HEADER BLITZ_STR("x-blitz-timestamp")
#define SIGNATURE_HEADER BLITZ_STR("x-blitz-signature")
#define CONTENT_HEADER BLITZ_STR("x-blitz-content-sha256")

typedef struct {
    blitz_str method, target, timestamp, content, key_id, signature;
} signed_request;

typedef enum { SIGNATURE_GOOD, SIGNATURE_WRONG, SIGNATURE_EXPIRED } signature_result;

static blitz_str signature_expected(const signed_request *request, blitz_str secret, char hex[HEX_DIGEST])
{
    const blitz_str pieces[] = {request->method, request->target, request->timestamp, request->content};
    blitz_hmac hmac;
    blitz_hmac_start(&hmac, secret);
    for (uint32_t i = 0; i < 4; i++) {
        if (i > 0) {
            blitz_sha256_add(&hmac.inner, BLITZ_STR("\n"));
        }
        blitz_sha256_add(&hmac.inner, pieces[i]);
    }
    uint8_t digest[BLITZ_SHA256_SIZE];
    blitz_hmac_finish(&hmac, digest);
    blitz_writer writer = blitz_writer_on(hex, HEX_DIGEST);
    blitz_put_hex(&writer, digest, sizeof digest);
    return blitz_written(&writer);
}

/* Every secret with that id is tried (an old and a new one during a rotation). An id that nobody has
 * costs as much as one that exists. */
static bool signature_matches(const signed_request *request)
{
    char hex[HEX_DIGEST];
    bool good = false, known = false;
    for (uint32_t i = 0; i < hmac_secret_count; i++) {
        if (blitz_equal(hmac_secrets[i].id, request->key_id)) {
            known = true;
            good |= blitz_equal_constant_time(signature_expected(request, hmac_secrets[i].secret, hex),
                                              request->signature);
        }
    }
    if (!known) {
        signature_expected(request, BLITZ_STR("nobody's secret, for the time it takes"), hex);
    }
    return good;
}

/* now_ms: the host's clock. window: seconds that a timestamp may lie before or after it. */
static signature_result check_signature(const signed_request *request, int64_t now_ms, uint32_t window)
{
    uint64_t timestamp, now = now_ms > 0 ? (uint64_t)now_ms / 1000 : 0;
    if (!blitz_parse_u64(request->timestamp, 99999999999, &timestamp) || !signature_matches(request)) {
        return SIGNATURE_WRONG;
    }
    uint64_t distance = now > timestamp ? now - timestamp : timestamp - now;
    return distance <= window ? SIGNATURE_GOOD : SIGNATURE_EXPIRED;
}
#endif
