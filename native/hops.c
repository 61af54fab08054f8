/* hops.c: OPTIONS and TRACE count the proxies on their way, with Max-Forwards (RFC 9110 section 7.6.2). */
#include "guest.h"
#include "head.h"
#include <stdio.h>
#include <string.h>

enum { MOST_DIGITS = 9 };
static const uint8_t NAME[] = "max-forwards";

static bool is(blitz_text text, const char *word)
{
    return text.len == strlen(word) && memcmp(text.ptr, word, text.len) == 0;
}

/* -> the number, or -1 where there is none of at most nine digits. */
static int64_t read_number(const uint8_t *digits, size_t len)
{
    int64_t number = 0;
    if (len == 0 || len > MOST_DIGITS)
        return -1;
    for (size_t i = 0; i < len; i++) {
        if (digits[i] < '0' || digits[i] > '9')
            return -1;
        number = number * 10 + (digits[i] - '0');
    }
    return number;
}

int blitz_take_hop(blitz_exchange *exchange, blitz_text method)
{
    blitz_head *request = exchange->request;
    if (exchange->hop_taken || (!is(method, "OPTIONS") && !is(method, "TRACE")))
        return 1;
    int index = blitz_head_find(request, NAME, sizeof NAME - 1, 0);
    if (index < 0)
        return 1;
    blitz_span value = request->fields[index].value;
    int64_t hops = read_number(blitz_at(request, value), value.len);
    if (hops <= 0)
        return hops < 0 ? BLITZ_E_SYNTAX : 0;
    char left[MOST_DIGITS + 1];
    int len = snprintf(left, sizeof left, "%lld", (long long)hops - 1);
    int failed = blitz_head_set(request, NAME, sizeof NAME - 1, (const uint8_t *)left, (size_t)len);
    if (failed != 0)
        return failed;
    exchange->hop_taken = 1;
    return 1;
}
