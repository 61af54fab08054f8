/* redact.c: a secret does not leave: each byte of it is sent as '*', wherever the parts of a body are cut.
 *
 *   [[plugins]]
 *   file = "redact.wasm"
 *   config = { secret = "s3cret" }
 *
 * What might be the beginning of the secret is held back until the next part says whether it is. Upstreams are asked
 * for bodies without a coding (Content-Encoding); one that has a coding all the same is not sent.
 */
#include "blitz.h"

enum { MAX_SECRET = 256 };
static char secret[MAX_SECRET];
static uint32_t secret_len;
/* What was held back, and behind it the part in hand. */
static char work[MAX_SECRET + BLITZ_BUFFER_SIZE];
static uint32_t held;

BLITZ_INIT()
{
    blitz_str said = blitz_config_value(BLITZ_STR("secret")).text;
    if (said.len == 0 || said.len > MAX_SECRET) {
        blitz_log(BLITZ_STR("error"), BLITZ_STR("config.secret must be 1 to 256 bytes"));
        return 1;
    }
    blitz_copy(secret, said.ptr, said.len);
    secret_len = said.len;
    return 0;
}

BLITZ_REQUEST(method, path)
{
    (void)method, (void)path;
    blitz_set_header(BLITZ_STR("accept-encoding"), BLITZ_STR("identity"));
    return BLITZ_CONTINUE;
}

BLITZ_RESPONSE_HEAD(status)
{
    (void)status;
    blitz_value coding = blitz_header(BLITZ_STR("content-encoding"));
    held = 0;
    if (coding.found && !blitz_equal_nocase(coding.text, BLITZ_STR("identity")))
        return BLITZ_ERROR; /* what cannot be read must not pass */
    return BLITZ_CONTINUE;
}

static bool is_secret(const char *at, uint32_t len)
{
    return blitz_equal(blitz_view(at, len), blitz_view(secret, len));
}

/* How many bytes at the end of text may be the beginning of the secret. */
static uint32_t beginning(blitz_str text)
{
    uint32_t n = secret_len - 1 < text.len ? secret_len - 1 : text.len;
    while (n > 0 && !is_secret(text.ptr + text.len - n, n))
        n--;
    return n;
}

BLITZ_RESPONSE_CHUNK(chunk, end)
{
    blitz_copy(work + held, chunk.ptr, chunk.len);
    uint32_t len = held + chunk.len;
    for (uint32_t at = 0; at + secret_len <= len; at++)
        if (work[at] == secret[0] && is_secret(work + at, secret_len))
            for (uint32_t i = 0; i < secret_len; i++)
                work[at + i] = '*';
    held = end ? 0 : beginning(blitz_view(work, len));
    blitz_set_chunk(blitz_view(work, len - held));
    for (uint32_t i = 0; i < held; i++)
        work[i] = work[len - held + i];
    return BLITZ_CONTINUE;
}
