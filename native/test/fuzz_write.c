/* Invariant: whatever was built, edited and found good by the rules is written as one head that the
 * scanner accepts with the same fields, or is refused; options cannot bring in a line of their own. */
#include "head_invariants.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

typedef struct {
    const uint8_t *at, *end;
} source;

/* Text up to the next NUL. */
static const uint8_t *take(source *in, size_t *len)
{
    const uint8_t *from = in->at;
    const uint8_t *end = in->at < in->end ? memchr(from, 0, (size_t)(in->end - from)) : NULL;
    *len = end ? (size_t)(end - from) : (size_t)(in->end - from);
    in->at = end ? end + 1 : in->end;
    return from;
}

static bool build(blitz_head *head, source *in, bool response, uint8_t what)
{
    size_t a_len, b_len;
    const uint8_t *a = take(in, &a_len), *b = take(in, &b_len);
    int minor = what >> 1 & 1;
    if (response ? blitz_head_start_response(head, 100 + (int)(a_len ? a[0] : 0) * 2, b, b_len, minor) < 0
                 : blitz_head_start_request(head, a, a_len, b, b_len, minor) < 0)
        return false;
    while (in->at < in->end) {
        a = take(in, &a_len);
        b = take(in, &b_len);
        switch (a_len ? a[0] : 0) {         /* one letter in front says which call */
        case '=':
            blitz_head_set(head, a + 1, a_len - 1, b, b_len);
            break;
        case '-':
            blitz_head_remove(head, a + 1, a_len - 1);
            break;
        case '~':
            blitz_head_remove_spellings(head, a + 1, a_len - 1);
            break;
        case '/':
            blitz_head_set_target(head, a, a_len);
            break;
        default:
            blitz_head_add(head, a, a_len, b, b_len);
        }
    }
    return true;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static blitz_head *head, *back;
    if (!head) {
        head = blitz_head_new();
        back = blitz_head_new();
    }
    if (size < 2)
        return 0;
    source in = {data + 2, data + size};
    bool response = data[0] & 1;
    size_t extra_len = 0, host_len = 0;
    const uint8_t *extra = data[0] & 4 ? take(&in, &extra_len) : NULL;
    const uint8_t *host = data[0] & 8 ? take(&in, &host_len) : NULL;
    if (!build(head, &in, response, data[0]) || blitz_head_check(head, (const uint8_t *)"GET", 3) < 0)
        return 0;
    head_must_be_clean(head);
    blitz_write_options options = {.body = head->body, .content_length = head->content_length,
                                   .extra = extra, .extra_len = extra_len, .host = host, .host_len = host_len};
    options.close = data[1] & 1;
    options.keep_alive_10 = data[1] >> 1 & 1;
    options.upgrade = head->flags & BLITZ_HEAD_UPGRADE ? 1 : 0;
    options.strip_expect = data[1] >> 2 & 1;
    bool ends_with_head = response && (head->status < 200 || head->status == 204 || head->status == 304);
    if (data[1] & 8 && options.body == BLITZ_BODY_NONE && !ends_with_head)
        options.body = BLITZ_BODY_CHUNKED;
    size_t cap = blitz_head_write_bound(head, &options);
    uint8_t *out = malloc(cap);
    int64_t written = blitz_head_write(head, &options, NULL, 0, out, cap);
    MUST(written > 0 || written == BLITZ_E_SYNTAX, "written %lld", (long long)written);
    if (written > 0) {
        int64_t extent = blitz_head_extent(out, (size_t)written, 0, NULL);
        MUST(extent == written || extent == BLITZ_E_LIMIT, "%lld of %lld", (long long)extent, (long long)written);
        const scan_input input = {.response = response, .method = (const uint8_t *)"GET", .method_len = 3};
        int64_t again = scan_with("portable", back, &input, out, (size_t)written, 0);
        /* Lines of ours may repeat what must stand alone, a body may be forced on an answer that has
         * none, and an empty Host stands for a request of HTTP/1.0 without one. */
        bool hostless = !response && (host ? host_len : head->host.len) == 0;
        bool ours = extra_len || options.body != head->body || hostless;
        MUST(again == written || again == BLITZ_E_LIMIT || (again == BLITZ_E_DECLINED && ours), "%lld", (long long)again);
        if (again > 0)
            MUST(response || back->body == options.body, "body %u", back->body);
    }
    free(out);
    return 0;
}
