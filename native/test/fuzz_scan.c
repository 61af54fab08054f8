/* Invariant: any bytes give a head, incomplete, declined or a limit, the same on every path and however
 * they were cut; a head that is given is clean, and written out it reads back as itself. */
#include "head_invariants.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* First byte: bit 0 response, bits 1-2 the request's method or which bound is small, rest where to cut. */
static void write_and_read_back(const blitz_head *head, blitz_head *back, const scan_input *input)
{
    blitz_write_options options = {.body = head->body, .content_length = head->content_length};
    options.upgrade = head->flags & BLITZ_HEAD_UPGRADE ? 1 : 0;
    options.close = head->flags & BLITZ_HEAD_KEEP_ALIVE ? 0 : 1;
    options.keep_length = 1;
    size_t cap = blitz_head_write_bound(head, &options);
    uint8_t *out = malloc(cap);
    int64_t written = blitz_head_write(head, &options, NULL, 0, out, cap);
    MUST(written > 0, "written %lld", (long long)written);
    const scan_input unbound = {.response = input->response, .method = input->method, .method_len = input->method_len};
    int64_t again = scan_with("portable", back, &unbound, out, (size_t)written, 0);
    MUST(again == written, "%lld of %lld", (long long)again, (long long)written);
    head_must_be_clean(back);
    MUST(head->body == back->body && head->content_length == back->content_length, "framing");
    MUST(same_text(head, head->target, back, back->target) && same_text(head, head->host, back, back->host), "start");
    free(out);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static blitz_head *head, *other;
    static const char *const methods[] = {"GET", "HEAD", "POST", "OPTIONS"};
    static const blitz_head_limits limits[] = {{0, 0, 0, 0}, {512, 0, 0, 0}, {0, 40, 100, 0}, {0, 0, 0, 8}};
    if (!head) {
        head = blitz_head_new();
        other = blitz_head_new();
    }
    if (size < 2)
        return 0;
    const char *method = methods[data[0] >> 1 & 3];
    scan_input input = {.response = data[0] & 1, .method = (const uint8_t *)method, .method_len = strlen(method)};
    input.limits = limits[data[0] >> 3 & 3];
    size_t len = size - 1, cut = data[0] >> 5 ? len * (data[0] >> 5) / 8 : 0;
    uint8_t *bytes = malloc(len);           /* exact, so that the sanitizer sees one byte too many */
    memcpy(bytes, data + 1, len);
    int64_t part = paths_must_agree(head, other, &input, bytes, cut, 0);
    int64_t whole = paths_must_agree(head, other, &input, bytes, len, part == 0 ? cut : 0);
    if (part > 0)
        MUST(whole == part, "%lld, of the first part %lld", (long long)whole, (long long)part);
    int64_t afresh = paths_must_agree(head, other, &input, bytes, len, 0);
    MUST((whole > 0) == (afresh > 0), "%lld, afresh %lld", (long long)whole, (long long)afresh);
    bool no_host = !input.response && head->minor == 0 && head->host.len == 0;    /* whoever sends it on adds one */
    if (afresh > 0 && !no_host)
        write_and_read_back(head, other, &input);
    free(bytes);
    return 0;
}
