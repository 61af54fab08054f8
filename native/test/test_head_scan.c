/* Invariants: every path of this machine reads a head as the portable one does and touches nothing behind
 * it; a head is the same head however it was cut; its prefixes are incomplete. */
#include "head_invariants.h"

static const char *const requests[] = {
    "GET / HTTP/1.1\r\nHost: a\r\n\r\n",
    "GET /index.html?q=%zz HTTP/1.1\r\nHost: www.example.org:8080\r\nUser-Agent: Mozilla/5.0 (X11; Linux "
    "x86_64; rv:128.0) Gecko/20100101 Firefox/128.0\r\nAccept: text/html,application/xhtml+xml\r\n"
    "Accept-Language: en-US,en;q=0.5\r\nConnection: keep-alive\r\nCookie: a=b; c=d\r\n\r\n",
    "POST /upload HTTP/1.1\r\nHOST: [::1]\r\nContent-Length: 12345\r\nExpect: 100-continue\r\nX_Odd: 1\r\n\r\n",
    "OPTIONS /a HTTP/1.1\r\nHost:a\r\nX:\t\xe9 \t\r\nTransfer-Encoding: chunked\r\nEmpty:\r\nx!#$: %&\r\n\r\n",
    "GET / HTTP/1.1\r\nHost: a\r\nConnection: close, host\r\nX-A: 1\r\n\r\n",
    "GET /a HTTP/1.0\r\nUser-Agent: ApacheBench/2.3\r\nConnection: Keep-Alive\r\n\r\n",
};
static const char *const responses[] = {
    "HTTP/1.1 200 OK\r\n\r\n",
    "HTTP/1.1 404 Not Found\r\nServer: x\r\nContent-Type: text/plain\r\nContent-Length: 9\r\n\r\n",
    "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n",
    "HTTP/1.0 200 OK\r\nContent-Length: 2\r\nConnection: keep-alive\r\n\r\n",
    "HTTP/1.1 200 \r\nTransfer-Encoding: chunked\r\nSet-Cookie: a=b\r\nSet-Cookie: c=d\r\n\r\n",
};

static guarded page;
static blitz_head *portable, *other, *cut;

/* The bytes end where the page ends. */
static const uint8_t *flush(const uint8_t *bytes, size_t len)
{
    memcpy(page.end - len, bytes, len);
    return page.end - len;
}

static void every_prefix(const scan_input *input, const char *text)
{
    size_t len = strlen(text);
    for (size_t n = 0; n < len; n++) {
        int64_t result = paths_must_agree(portable, other, input, flush((const uint8_t *)text, n), n, 0);
        MUST(result == 0, "%zu bytes of %s", n, text);
    }
    int64_t whole = paths_must_agree(portable, other, input, flush((const uint8_t *)text, len), len, 0);
    MUST(whole == (int64_t)len, "%s: %lld", text, (long long)whole);
}

static void every_cut(const scan_input *input, const char *text)
{
    size_t len = strlen(text);
    const uint8_t *at = flush((const uint8_t *)text, len);
    MUST(scan_with("portable", portable, input, at, len, 0) == (int64_t)len, "%s", text);
    for (int path = 0; path < EVERY_PATH; path++) {
        for (size_t n = 1; n < len; n++) {
            int64_t result = scan_with(every_path[path], cut, input, at, len, n);
            if (result == BLITZ_E_STATE)
                break;
            MUST(result == (int64_t)len, "%s cut at %zu: %lld", text, n, (long long)result);
            heads_must_be_equal(portable, cut);
        }
    }
}

/* One byte changed, removed or added anywhere, whole and byte by byte: one answer. */
static void mutated(const scan_input *input, const char *text, uint64_t *seed)
{
    static const uint8_t nasty[] = "\r\n\t\0 :,;\x7f\x80\xff\x01\"#_";
    uint8_t bytes[1024];
    size_t len = strlen(text), at = (size_t)(next_random(seed) % len);
    memcpy(bytes, text, len);
    uint8_t byte = next_random(seed) & 1 ? nasty[next_random(seed) % sizeof nasty] : (uint8_t)next_random(seed);
    switch (next_random(seed) % 3) {
    case 0:
        bytes[at] = byte;
        break;
    case 1:
        memmove(bytes + at, bytes + at + 1, len - at - 1);
        len--;
        break;
    default:
        memmove(bytes + at + 1, bytes + at, len - at);
        bytes[at] = byte;
        len++;
    }
    const uint8_t *start = flush(bytes, len);
    int64_t whole = paths_must_agree(portable, other, input, start, len, 0);
    int64_t parts = 0;
    for (size_t n = 1, seen = 0; n <= len && parts == 0; seen = n++)
        parts = paths_must_agree(cut, other, input, start, n, seen);
    /* In parts, what only the scan can see is seen when the end is there. */
    int64_t extent = blitz_head_extent(start, len, 0, &input->limits);
    bool open = parts == 0 && whole == BLITZ_E_DECLINED && extent == 0;
    MUST(whole == parts || open, "whole %lld, in parts %lld", (long long)whole, (long long)parts);
}

static void random_bytes(const scan_input *input, uint64_t *seed)
{
    static const uint8_t alphabet[] = "aA-_:: \t\r\n\r\n/0.\x7f\xff";
    uint8_t bytes[200];
    size_t len = (size_t)(next_random(seed) % sizeof bytes);
    for (size_t i = 0; i < len; i++)
        bytes[i] = alphabet[next_random(seed) % (sizeof alphabet - 1)];
    /* Behind a good start line, so that the fields are reached. */
    const char *line = input->response ? "HTTP/1.1 200 OK\r\n" : "GET / HTTP/1.1\r\nHost: a\r\n";
    size_t line_len = strlen(line);
    memmove(bytes + line_len, bytes, sizeof bytes - line_len);
    memcpy(bytes, line, line_len);
    len = len + line_len < sizeof bytes ? len + line_len : sizeof bytes;
    paths_must_agree(portable, other, input, flush(bytes, len), len, 0);
}

/* Bounds to the byte, whole and byte by byte. */
static void bounds_hold(void)
{
    const char *text = "GET /abc HTTP/1.1\r\nHost: a\r\nLong-Name: long value\r\n\r\n";
    size_t len = strlen(text);
    const struct {
        blitz_head_limits limits;
        int64_t expected;
    } cases[] = {
        {{(uint32_t)len, 0, 0, 0}, (int64_t)len},  {{(uint32_t)len - 1, 0, 0, 0}, BLITZ_E_LIMIT},
        {{0, 17, 0, 0}, (int64_t)len},             {{0, 16, 0, 0}, BLITZ_E_LIMIT},
        {{0, 0, 21, 0}, (int64_t)len},             {{0, 0, 20, 0}, BLITZ_E_LIMIT},
        {{0, 0, 0, 2}, (int64_t)len},              {{0, 0, 0, 1}, BLITZ_E_LIMIT},
    };
    const uint8_t *at = flush((const uint8_t *)text, len);
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        scan_input input = {.limits = cases[i].limits};
        int64_t whole = paths_must_agree(portable, other, &input, at, len, 0), parts = 0;
        for (size_t n = 1, seen = 0; n <= len && parts == 0; seen = n++)
            parts = paths_must_agree(cut, other, &input, at, n, seen);
        MUST(whole == cases[i].expected && parts == whole, "case %zu: %lld, %lld", i, (long long)whole, (long long)parts);
    }
}

int main(void)
{
    uint64_t seed = 20260731;
    page = guard_new(4096);
    portable = blitz_head_new();
    other = blitz_head_new();
    cut = blitz_head_new();
    const scan_input request = {.response = false};
    const scan_input response = {.response = true, .method = (const uint8_t *)"GET", .method_len = 3};
    for (size_t i = 0; i < sizeof requests / sizeof requests[0]; i++) {
        every_prefix(&request, requests[i]);
        every_cut(&request, requests[i]);
        for (int round = 0; round < 400; round++)
            mutated(&request, requests[i], &seed);
    }
    for (size_t i = 0; i < sizeof responses / sizeof responses[0]; i++) {
        every_prefix(&response, responses[i]);
        every_cut(&response, responses[i]);
        for (int round = 0; round < 400; round++)
            mutated(&response, responses[i], &seed);
    }
    for (int round = 0; round < 20000; round++)
        random_bytes(round & 1 ? &request : &response, &seed);
    bounds_hold();
    blitz_head_free(portable);
    blitz_head_free(other);
    blitz_head_free(cut);
    printf("head_scan: %s and all others agree with portable\n", blitz_scan_path());
    return 0;
}
