/* address.h: which clients count as one. An IPv4 address is one client; of an IPv6 address only the
 * network counts, because whoever has one address of a /64 has all of them. */
#ifndef RATE_LIMITER_ADDRESS_H
#define RATE_LIMITER_ADDRESS_H
#include "blitz.h"

enum { IPV6_GROUPS = 8 };

static bool parse_group(blitz_str text, uint16_t *group)
{
    uint32_t sum = 0;
    for (uint32_t i = 0; i < text.len; i++) {
        char c = blitz_lower(text.ptr[i]);
        bool is_digit = c >= '0' && c <= '9';
        if (!is_digit && (c < 'a' || c > 'f')) {
            return false;
        }
        sum = sum * 16 + (uint32_t)(is_digit ? c - '0' : c - 'a' + 10);
    }
    *group = (uint16_t)sum;
    return text.len >= 1 && text.len <= 4;
}

/* RFC 4291 section 2.2, forms 1 and 2. False for anything else. */
static bool parse_ipv6(blitz_str text, uint16_t groups[IPV6_GROUPS])
{
    uint32_t count = 0, gap = IPV6_GROUPS + 1; /* gap: groups before "::" */
    uint32_t at = 0;
    if (blitz_starts_with(text, BLITZ_STR("::"))) {
        gap = 0;
        at = 2;
    }
    while (at < text.len) {
        uint32_t end = blitz_find(text, ':', at);
        if (count == IPV6_GROUPS || !parse_group(blitz_slice(text, at, end), &groups[count])) {
            return false;
        }
        count++;
        at = end + 1;
        if (at < text.len && text.ptr[at] == ':') {
            if (gap <= IPV6_GROUPS) {
                return false; /* a second "::" */
            }
            gap = count;
            at++;
        } else if (end < text.len && at >= text.len) {
            return false; /* a single colon at the end */
        }
    }
    if (gap > IPV6_GROUPS) {
        return count == IPV6_GROUPS;
    }
    if (count >= IPV6_GROUPS) {
        return false; /* "::" stands for at least one group */
    }
    uint32_t tail = count - gap;
    for (uint32_t i = 0; i < IPV6_GROUPS - gap; i++) {
        uint32_t to = IPV6_GROUPS - 1 - i;
        groups[to] = i < tail ? groups[gap + tail - 1 - i] : 0;
    }
    return true;
}

/* ::ffff:192.0.2.1 is an IPv4 client seen through an IPv6 socket (RFC 4291 section 2.5.5.2). */
static blitz_str without_ipv4_mapping(blitz_str address)
{
    blitz_str prefix = BLITZ_STR("::ffff:");
    bool is_mapped = blitz_starts_with_nocase(address, prefix) && blitz_find(address, '.', 0) < address.len;
    return is_mapped ? blitz_slice(address, prefix.len, address.len) : address;
}

/* The name under which an address is counted: itself, or the first prefix bits of an IPv6 one. */
static void put_client(blitz_writer *key, blitz_str address, uint32_t prefix)
{
    uint16_t groups[IPV6_GROUPS];
    address = without_ipv4_mapping(address);
    address = blitz_slice(address, 0, blitz_find(address, '%', 0)); /* a zone is ours, not the client's */
    if (!parse_ipv6(address, groups)) {
        blitz_put(key, address);
        return;
    }
    blitz_put_u64(key, prefix); /* networks of another width are other clients */
    blitz_put(key, BLITZ_STR("/"));
    for (uint32_t i = 0; i < IPV6_GROUPS; i++) {
        uint32_t bits = prefix > i * 16 ? prefix - i * 16 : 0;
        uint32_t mask = bits >= 16 ? 0xffff : 0xffff0000u >> bits & 0xffff;
        uint8_t pair[2] = {(uint8_t)((groups[i] & mask) >> 8), (uint8_t)(groups[i] & mask)};
        blitz_put_hex(key, pair, 2);
    }
}
#endif
