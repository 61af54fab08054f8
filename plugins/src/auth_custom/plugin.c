/* auth_custom: who is calling? API keys and HMAC-signed requests.
 *
 * A request that shows a good credential goes on, with the caller's identity in a header that no
 * client can set itself. Any other is answered 401 with a challenge (RFC 9110 section 11.6.1), and one that
 * has a field of a credential twice 400. */
#include "blitz.h"
#include "credentials.h"
#include "signature.h"

#define API_KEY_HEADER BLITZ_STR("x-api-key")
#define AUTHORIZATION BLITZ_STR("authorization")

enum { MAX_IDENTITY_HEADER = 64 };

static blitz_str config_identity_header, config_realm;
static bool config_authorization, config_remove_credentials;
static uint32_t config_hmac_window;

/* Only '-' may separate: other punctuation is what clients must not be able to slip in. */
static bool is_plain_name(blitz_str name)
{
    for (uint32_t i = 0; i < name.len; i++) {
        char c = name.ptr[i];
        if (!(c >= 'a' && c <= 'z') && !(c >= 'A' && c <= 'Z') && !(c >= '0' && c <= '9') && c != '-') {
            return false;
        }
    }
    return name.len > 0 && name.len <= MAX_IDENTITY_HEADER;
}

static bool read_identity_header(void)
{
    blitz_str key = BLITZ_STR("identity_header");
    blitz_value name = blitz_config_value(key);
    config_identity_header = name.found ? name.text : BLITZ_STR("x-authenticated-identity");
    if (!is_plain_name(config_identity_header)) {
        BLITZ_CONFIG_COMPLAINT(key, config_identity_header,
                               "a field name of letters, digits and hyphens, at most 64 bytes");
        return false;
    }
    return true;
}

static bool read_realm(void)
{
    blitz_str key = BLITZ_STR("realm");
    blitz_value realm = blitz_config_value(key);
    config_realm = realm.found ? realm.text : BLITZ_STR("blitz");
    for (uint32_t i = 0; i < config_realm.len; i++) {
        char c = config_realm.ptr[i];
        if (c < ' ' || c > '~' || c == '"' || c == '\\') {
            BLITZ_CONFIG_COMPLAINT(key, config_realm, "printable ASCII without quotes and backslashes");
            return false;
        }
    }
    return true;
}

static bool read_credentials(void)
{
    blitz_str keys = BLITZ_STR("BLITZ_API_KEYS"), secrets = BLITZ_STR("BLITZ_HMAC_SECRETS");
    return read_pairs(keys, blitz_env(keys).text, add_api_key) &&
           read_pairs(BLITZ_STR("config keys"), blitz_config_value(BLITZ_STR("keys")).text, add_api_key) &&
           read_pairs(secrets, blitz_env(secrets).text, add_hmac_secret) &&
           read_pairs(BLITZ_STR("config hmac_secrets"), blitz_config_value(BLITZ_STR("hmac_secrets")).text,
                      add_hmac_secret);
}

BLITZ_INIT()
{
    bool ok = read_identity_header() && read_realm() &&
              blitz_config_bool(BLITZ_STR("authorization"), true, &config_authorization) &&
              blitz_config_bool(BLITZ_STR("remove_credentials"), true, &config_remove_credentials) &&
              blitz_config_u32(BLITZ_STR("hmac_window"), 300, 1, 86400, &config_hmac_window) && read_credentials();
    if (ok && api_key_count + hmac_secret_count == 0) {
        blitz_log(BLITZ_STR("warn"), BLITZ_STR("no keys are configured, so every request is refused: set BLITZ_API_KEYS="
                                               "identity:key in the environment and grant it (env = [\"BLITZ_API_KEYS\"]),"
                                               " or keys = [\"identity:key\"] in the plugin's config"));
    }
    return ok ? 0 : -1;
}

/* What the client sent as the identity leaves with this, in every spelling that a server may read as the name. */
static int32_t accept(blitz_str identity)
{
    if (config_remove_credentials) {
        blitz_remove_header(API_KEY_HEADER);
    }
    blitz_set_header(config_identity_header, identity);
    return BLITZ_CONTINUE;
}

static void challenge(blitz_str scheme, blitz_str parameters)
{
    char bytes[512];
    blitz_writer value = blitz_writer_on(bytes, sizeof bytes);
    blitz_put(&value, scheme);
    blitz_put(&value, BLITZ_STR(" realm=\""));
    blitz_put(&value, blitz_slice(config_realm, 0, 256));
    blitz_put_char(&value, '"');
    blitz_put(&value, parameters);
    blitz_add_header(BLITZ_STR("www-authenticate"), blitz_written(&value));
}

/* One line per refusal, with what ties it to the other lines of the request; no part of a credential. */
static void log_refusal(blitz_str reason)
{
    char bytes[256], buf[64];
    blitz_writer line = blitz_writer_on(bytes, sizeof bytes);
    blitz_put(&line, BLITZ_STR("refused: "));
    blitz_put(&line, reason);
    blitz_put(&line, BLITZ_STR(", client="));
    blitz_put(&line, blitz_property_into(BLITZ_STR("client.address"), buf, sizeof buf).text);
    blitz_put(&line, BLITZ_STR(" id="));
    blitz_put(&line, blitz_property_into(BLITZ_STR("request.id"), buf, sizeof buf).text);
    blitz_log(BLITZ_STR("info"), blitz_written(&line));
}

static int32_t answer(int32_t status, blitz_str phrase, blitz_str reason)
{
    char bytes[160];
    blitz_writer text = blitz_writer_on(bytes, sizeof bytes);
    blitz_put(&text, phrase);
    blitz_put(&text, BLITZ_STR(": "));
    blitz_put(&text, reason);
    blitz_put_char(&text, '\n');
    log_refusal(reason);
    blitz_set_status(status);
    blitz_set_header(BLITZ_STR("content-type"), BLITZ_STR("text/plain; charset=utf-8"));
    blitz_set_header(BLITZ_STR("cache-control"), BLITZ_STR("no-store"));
    blitz_set_body(blitz_written(&text));
    return BLITZ_STOP;
}

/* bearer: what the Bearer challenge adds (RFC 6750 section 3.1). reason: for the log and the client;
 * it never says which part of a credential was wrong. */
static int32_t refuse(blitz_str bearer, blitz_str reason)
{
    if (api_key_count > 0 || hmac_secret_count == 0) {
        challenge(BLITZ_STR("ApiKey"), BLITZ_STR(""));
        if (config_authorization) {
            challenge(BLITZ_STR("Bearer"), bearer);
        }
    }
    if (hmac_secret_count > 0) {
        challenge(BLITZ_STR("Blitz-HMAC-SHA256"), BLITZ_STR(""));
    }
    return answer(401, BLITZ_STR("unauthorized"), reason);
}

/* The first field of those read here that is there twice, or not as it is spelt here; empty when all are clear.
 * We judge the first one; which one the upstream obeys is its own choice. */
static blitz_str doubtful_field(void)
{
    const blitz_str names[] = {SIGNATURE_HEADER, KEY_ID_HEADER, TIMESTAMP_HEADER, CONTENT_HEADER, API_KEY_HEADER,
                               AUTHORIZATION};
    for (uint32_t i = 0; i < sizeof names / sizeof *names; i++) {
        uint32_t count = blitz_header_count(names[i]);
        if (count > 1 || (count == 1 && !blitz_has_header(names[i]))) {
            return names[i];
        }
    }
    return BLITZ_STR("");
}

static int32_t refuse_doubtful(blitz_str name)
{
    char bytes[96];
    blitz_writer reason = blitz_writer_on(bytes, sizeof bytes);
    blitz_put(&reason, name);
    blitz_put(&reason, BLITZ_STR(" is there twice, or in another spelling"));
    return answer(400, BLITZ_STR("bad request"), blitz_written(&reason));
}

static int32_t by_signature(blitz_str method, blitz_str target, blitz_str signature)
{
    signed_request request = {
        .method = method,
        .target = target,
        .timestamp = blitz_header(TIMESTAMP_HEADER).text,
        .content = blitz_header(CONTENT_HEADER).text,
        .key_id = blitz_header(KEY_ID_HEADER).text,
        .signature = signature,
    };
    switch (check_signature(&request, blitz_now_ms(), config_hmac_window)) {
    case SIGNATURE_EXPIRED:
        return refuse(BLITZ_STR(""), BLITZ_STR("the timestamp is too far from the gateway's clock"));
    case SIGNATURE_WRONG:
        return refuse(BLITZ_STR(""), BLITZ_STR("the signature is not valid"));
    case SIGNATURE_GOOD:
        break;
    }
    return accept(request.key_id);
}

static int32_t by_api_key(blitz_str key)
{
    blitz_str identity = find_api_key(key);
    return identity.len > 0 ? accept(identity) : refuse(BLITZ_STR(""), BLITZ_STR("the API key is not valid"));
}

/* The credential of an Authorization field of a scheme that carries our keys; empty for any other. */
static blitz_str authorization_key(blitz_str value)
{
    uint32_t space = blitz_find(value, ' ', 0);
    blitz_str scheme = blitz_slice(value, 0, space);
    bool is_ours = blitz_equal_nocase(scheme, BLITZ_STR("bearer")) || blitz_equal_nocase(scheme, BLITZ_STR("apikey"));
    return is_ours ? blitz_trim(blitz_slice(value, space, value.len)) : BLITZ_STR("");
}

static int32_t by_authorization(blitz_str key)
{
    blitz_str identity = find_api_key(key);
    if (identity.len == 0) {
        return refuse(BLITZ_STR(", error=\"invalid_token\""), BLITZ_STR("the API key is not valid"));
    }
    if (config_remove_credentials) {
        blitz_remove_header(AUTHORIZATION);
    }
    return accept(identity);
}

/* One credential counts: the strongest that is there. A request with a bad signature is not saved by
 * a good key. */
BLITZ_REQUEST(method, path)
{
    blitz_str doubtful = doubtful_field();
    if (doubtful.len > 0) {
        return refuse_doubtful(doubtful);
    }
    blitz_value signature = blitz_header(SIGNATURE_HEADER);
    if (signature.found) {
        return by_signature(method, path, signature.text);
    }
    blitz_value key = blitz_header(API_KEY_HEADER);
    if (key.found) {
        return by_api_key(key.text);
    }
    blitz_str token = config_authorization ? authorization_key(blitz_header(AUTHORIZATION).text) : BLITZ_STR("");
    if (token.len > 0) {
        return by_authorization(token);
    }
    return refuse(BLITZ_STR(""), BLITZ_STR("a credential is needed"));
}
