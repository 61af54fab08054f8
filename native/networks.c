/* networks.c: is an address in a network. One definition, for trusted proxies and for the lists of routes. */
#include "blitz_native.h"
#include <arpa/inet.h>
#include <string.h>

int blitz_ip_read(blitz_ip *ip, const uint8_t *text, size_t len)
{
    static const uint8_t mapped[12] = {[10] = 0xff, [11] = 0xff};
    char name[INET6_ADDRSTRLEN];
    const uint8_t *zone = len > 0 ? memchr(text, '%', len) : NULL;
    if (zone != NULL)
        len = (size_t)(zone - text);
    if (len == 0 || len >= sizeof name)
        return 0;
    memcpy(name, text, len);
    name[len] = '\0';
    if (strlen(name) != len)
        return 0;
    if (inet_pton(AF_INET6, name, ip->bytes) == 1) {
        ip->is_v4 = memcmp(ip->bytes, mapped, sizeof mapped) == 0;
        return 1;
    }
    memcpy(ip->bytes, mapped, sizeof mapped);
    ip->is_v4 = 1;
    return inet_pton(AF_INET, name, ip->bytes + sizeof mapped) == 1;
}

int blitz_ip_is_in(const blitz_ip *ip, const blitz_network *networks, uint32_t n)
{
    for (uint32_t i = 0; i < n; i++) {
        const blitz_network *network = &networks[i];
        size_t whole = network->bits / 8, left = network->bits % 8;
        uint8_t mask = (uint8_t)(0xff00u >> left);
        if (network->first.is_v4 != ip->is_v4 || memcmp(network->first.bytes, ip->bytes, whole) != 0)
            continue;
        if (left == 0 || ((network->first.bytes[whole] ^ ip->bytes[whole]) & mask) == 0)
            return 1;
    }
    return 0;
}
