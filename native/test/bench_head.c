/* What does one head cost? ns per scan by path, per write, per chunk decode; best of 25 rounds. Not a test:
 * `make bench`. */
#include "head_invariants.h"
#include <time.h>

static const char small[] = "GET / HTTP/1.1\r\nHost: localhost:8080\r\nUser-Agent: bench\r\n\r\n";
static const char browser[] =
    "GET /search?q=a+b&lang=de HTTP/1.1\r\nHost: www.example.org\r\nUser-Agent: Mozilla/5.0 (X11; Linux x86_64; "
    "rv:128.0) Gecko/20100101 Firefox/128.0\r\nAccept: text/html,application/xhtml+xml,application/xml;q=0.9,*/*;"
    "q=0.8\r\nAccept-Language: de,en-US;q=0.7,en;q=0.3\r\nAccept-Encoding: gzip, deflate\r\nConnection: "
    "keep-alive\r\nCookie: session=0123456789abcdef0123456789abcdef; theme=dark\r\nUpgrade-Insecure-Requests: "
    "1\r\n\r\n";
static const char answer[] =
    "HTTP/1.1 200 OK\r\nServer: nginx/1.26.1\r\nDate: Mon, 29 Jul 2024 10:00:00 GMT\r\nContent-Type: text/html\r\n"
    "Content-Length: 615\r\nLast-Modified: Tue, 28 May 2024 13:22:30 GMT\r\nConnection: keep-alive\r\nETag: "
    "\"6655da96-267\"\r\nAccept-Ranges: bytes\r\n\r\n";
#define FILL64 "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef"
#define FILL512 FILL64 FILL64 FILL64 FILL64 FILL64 FILL64 FILL64 FILL64
static const char cookies[] = "GET / HTTP/1.1\r\nHost: www.example.org\r\nCookie: a=" FILL512 FILL512 FILL512 FILL512
                              "; b=" FILL512 "\r\nAuthorization: Bearer " FILL512 FILL512 "\r\n\r\n";
enum { ROUNDS = 25, CALLS = 20000 };

static double now_ns(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec * 1e9 + (double)t.tv_nsec;
}

static double scan_ns(const char *path, blitz_head *head, const scan_input *input, const char *text, size_t len)
{
    double best = 1e9;
    for (int round = 0; round < ROUNDS; round++) {
        double start = now_ns();
        for (int call = 0; call < CALLS; call++)
            if (scan_with(path, head, input, (const uint8_t *)text, len, 0) != (int64_t)len)
                return -1;
        double each = (now_ns() - start) / CALLS;
        best = each < best ? each : best;
    }
    return best;
}

static double write_ns(const blitz_head *head, const blitz_write_options *options)
{
    static uint8_t out[4096];
    double best = 1e9;
    for (int round = 0; round < ROUNDS; round++) {
        double start = now_ns();
        for (int call = 0; call < CALLS; call++)
            if (blitz_head_write(head, options, NULL, 0, out, sizeof out) < 0)
                return -1;
        double each = (now_ns() - start) / CALLS;
        best = each < best ? each : best;
    }
    return best;
}

static void report(const char *name, bool response, const char *text, size_t len)
{
    static const char extra[] = "Via: 1.1 blitz\r\nX-Forwarded-For: 203.0.113.7\r\nX-Forwarded-Proto: http\r\n";
    blitz_head *head = blitz_head_new();
    const scan_input input = {.response = response, .method = (const uint8_t *)"GET", .method_len = 3};
    printf("%-8s %4zu bytes", name, len);
    for (int i = 0; i < EVERY_PATH; i++) {
        double each = scan_ns(every_path[i], head, &input, text, len);
        if (each >= 0)
            printf("  %s %.0f", every_path[i], each);
    }
    scan_with(blitz_scan_path(), head, &input, (const uint8_t *)text, len, 0);
    blitz_write_options options = {.body = head->body, .content_length = head->content_length};
    printf("  write %.0f", write_ns(head, &options));
    options.extra = (const uint8_t *)extra;
    options.extra_len = sizeof extra - 1;
    if (!response) {
        options.host = (const uint8_t *)"backend:8080";
        options.host_len = 12;
    }
    printf("  with host and 3 more %.0f  bound %zu\n", write_ns(head, &options), blitz_head_write_bound(head, &options));
    blitz_head_free(head);
}

static void report_chunks(size_t chunk)
{
    enum { SIZE = 1 << 20 };
    static uint8_t body[SIZE + 64], copy[SIZE + 64];
    size_t len = 0, data = 0;
    double best = 1e12;
    for (; len + chunk + 16 < SIZE; data += chunk) {
        len += (size_t)sprintf((char *)body + len, "%zx\r\n", chunk);
        memset(body + len, 'x', chunk);
        len += chunk;
        memcpy(body + len, "\r\n", 2);
        len += 2;
    }
    for (int round = 0; round < ROUNDS; round++) {
        blitz_chunks chunks = {0};
        size_t consumed;
        memcpy(copy, body, len);
        double start = now_ns();
        MUST(blitz_chunks_decode(&chunks, copy, len, &consumed) == (int64_t)data, "decode");
        double each = now_ns() - start;
        best = each < best ? each : best;
    }
    printf("chunks of %6zu: %.2f ns each, %.2f GB/s of input\n", chunk, best / (double)(data / chunk), (double)len / best);
}

int main(void)
{
    report("small", false, small, sizeof small - 1);
    report("browser", false, browser, sizeof browser - 1);
    report("cookies", false, cookies, sizeof cookies - 1);
    report("answer", true, answer, sizeof answer - 1);
    for (size_t chunk = 1; chunk <= 65536; chunk *= 16)
        report_chunks(chunk);
    return 0;
}
