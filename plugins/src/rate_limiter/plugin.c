/* rate_limiter: a token bucket per client address, or per value of a header.
 *
 * The state is the host's, so every instance, and every worker of the host, counts into one bucket.
 * Past the limit the answer is 429 with Retry-After (RFC 6585 section 4); every answer carries
 * RateLimit-Limit, -Remaining and -Reset (draft-ietf-httpapi-ratelimit-headers-07). */
#include "address.h"
#include "blitz.h"
#include "blitz_sha256.h"

enum {
    MAX_PLAIN_KEY = 128, /* a longer header name and value is counted by its SHA-256: keys stay small */
    MAX_RATE = 1000000,
};

static uint32_t config_per_minute, config_burst, config_ipv6_prefix;
static bool config_headers;
static blitz_str config_header; /* empty: count per address */

static bool read_key(void)
{
    blitz_str key_name = BLITZ_STR("key");
    blitz_value key = blitz_config_value(key_name);
    config_header = BLITZ_STR("");
    if (!key.found || blitz_equal(key.text, BLITZ_STR("address"))) {
        return true;
    }
    blitz_str prefix = BLITZ_STR("header:");
    config_header = blitz_slice(key.text, prefix.len, key.text.len);
    if (!blitz_starts_with(key.text, prefix) || !blitz_is_token(config_header)) {
        BLITZ_CONFIG_COMPLAINT(key_name, key.text, "\"address\" or \"header:<name>\"");
        return false;
    }
    return true;
}

BLITZ_INIT()
{
    bool ok = blitz_config_u32(BLITZ_STR("requests_per_minute"), 600, 1, MAX_RATE, &config_per_minute) &&
              blitz_config_u32(BLITZ_STR("burst"), 100, 1, MAX_RATE, &config_burst) &&
              blitz_config_u32(BLITZ_STR("ipv6_prefix"), 64, 1, 128, &config_ipv6_prefix) &&
              blitz_config_bool(BLITZ_STR("headers"), true, &config_headers) && read_key();
    return ok ? 0 : -1;
}

static void put_address_key(blitz_writer *key)
{
    char buf[64];
    blitz_put(key, BLITZ_STR("address:"));
    put_client(key, blitz_property_into(BLITZ_STR("client.address"), buf, sizeof buf).text, config_ipv6_prefix);
}

/* The name of the header is part of the key: when the configuration names another one, its values begin anew.
 * Values that are long are hashed; so a client can neither fill the host's memory with them nor make two
 * keys equal. */
static void put_header_key(blitz_writer *key, blitz_str value)
{
    blitz_str colon = BLITZ_STR(":");
    if (config_header.len + value.len <= MAX_PLAIN_KEY) {
        blitz_put(key, BLITZ_STR("header:"));
        blitz_put(key, config_header);
        blitz_put(key, colon);
        blitz_put(key, value);
        return;
    }
    blitz_sha256 hash;
    uint8_t digest[BLITZ_SHA256_SIZE];
    blitz_sha256_start(&hash);
    blitz_sha256_add(&hash, config_header);
    blitz_sha256_add(&hash, colon);
    blitz_sha256_add(&hash, value);
    blitz_sha256_finish(&hash, digest);
    blitz_put(key, BLITZ_STR("sha256:"));
    blitz_put_hex(key, digest, sizeof digest);
}

/* Who is counted. Without the header it is the address: leaving the header out is no escape. */
static void put_key(blitz_writer *key)
{
    blitz_value value = {{NULL, 0}, false};
    if (config_header.len > 0) {
        value = blitz_header(config_header);
    }
    if (value.text.len > 0) {
        put_header_key(key, value.text);
    } else {
        put_address_key(key);
    }
}

static void set_number(blitz_str name, uint64_t number)
{
    char digits[20];
    blitz_writer writer = blitz_writer_on(digits, sizeof digits);
    blitz_put_u64(&writer, number);
    blitz_set_header(name, blitz_written(&writer));
}

static uint64_t seconds_up(uint64_t ms)
{
    return (ms + 999) / 1000;
}

/* wait_ms: until the next token when none is left. Reset is when the bucket is full again. */
static void set_limit_headers(uint32_t remaining, uint64_t wait_ms)
{
    if (!config_headers) {
        return;
    }
    uint64_t missing = config_burst - (remaining < config_burst ? remaining : config_burst);
    if (wait_ms > 0 && missing > 0) {
        missing--; /* the wait itself brings one */
    }
    set_number(BLITZ_STR("ratelimit-limit"), config_burst);
    set_number(BLITZ_STR("ratelimit-remaining"), remaining);
    set_number(BLITZ_STR("ratelimit-reset"), seconds_up(wait_ms + missing * 60000 / config_per_minute));
}

static int32_t refuse(uint64_t wait_ms)
{
    uint64_t seconds = seconds_up(wait_ms);
    char text[96];
    blitz_writer body = blitz_writer_on(text, sizeof text);
    blitz_put(&body, BLITZ_STR("too many requests: try again in "));
    blitz_put_u64(&body, seconds);
    blitz_put(&body, BLITZ_STR(" s\n"));
    blitz_set_status(429);
    set_number(BLITZ_STR("retry-after"), seconds);
    set_limit_headers(0, wait_ms);
    blitz_set_header(BLITZ_STR("content-type"), BLITZ_STR("text/plain; charset=utf-8"));
    blitz_set_header(BLITZ_STR("cache-control"), BLITZ_STR("no-store"));
    blitz_set_body(blitz_written(&body));
    return BLITZ_STOP;
}

BLITZ_REQUEST(method, path)
{
    (void)method;
    (void)path;
    char key_bytes[MAX_PLAIN_KEY + 16];
    blitz_writer key = blitz_writer_on(key_bytes, sizeof key_bytes);
    put_key(&key);
    int32_t left = blitz_rate_limit(blitz_written(&key), (int32_t)config_per_minute, (int32_t)config_burst);
    if (left < 0) {
        return refuse(0 - (uint64_t)left);
    }
    if (config_headers) {
        blitz_note_put(left);
    }
    return BLITZ_CONTINUE;
}

BLITZ_RESPONSE(status, body)
{
    (void)status;
    (void)body;
    int64_t left;
    if (config_headers && blitz_note_take(&left)) {
        set_limit_headers((uint32_t)left, 0);
    }
    return BLITZ_CONTINUE;
}
