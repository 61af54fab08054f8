/* utf8.c: which UTF-8 code this machine runs, and the copy that repairs what is ill-formed. */
#include "utf8.h"

static const blitz_utf8_code *chosen = &blitz_utf8_portable;   /* written once, when we are loaded */

const blitz_utf8_code *blitz_utf8_by_name(const char *name)
{
    if (strcmp(name, "portable") == 0)
        return &blitz_utf8_portable;
#if defined(__x86_64__)
    if (strcmp(name, "sse2") == 0)
        return &blitz_utf8_sse2;
    __builtin_cpu_init();
    /* True only if the operating system keeps the wide registers too. */
    if (strcmp(name, "avx2") == 0 && __builtin_cpu_supports("avx2"))
        return &blitz_utf8_avx2;
#elif defined(__aarch64__)
    if (strcmp(name, "neon") == 0)      /* part of every aarch64 */
        return &blitz_utf8_neon;
#endif
    return NULL;
}

__attribute__((constructor)) static void choose(void)
{
    static const char *const best_first[] = {"avx2", "sse2", "neon", "portable"};
    const blitz_utf8_code *found = NULL;
    for (size_t i = 0; !found; i++)
        found = blitz_utf8_by_name(best_first[i]);
    chosen = found;
}

const char *blitz_utf8_path(void) { return chosen->name; }

size_t blitz_utf8_copy(uint8_t *dst, const uint8_t *src, size_t len) { return chosen->copy(dst, src, len); }

int64_t blitz_utf8_copy_with(const char *path, uint8_t *dst, const uint8_t *src, size_t len)
{
    const blitz_utf8_code *code = blitz_utf8_by_name(path);
    return code ? (int64_t)code->copy(dst, src, len) : BLITZ_E_STATE;
}

/* Length (1..3) of the maximal subpart of an ill-formed sequence at the front of src: the longest start
 * of some well-formed sequence, or one byte (Unicode Standard, section 3.9, U+FFFD substitution). */
static size_t ill_formed(const uint8_t *src, size_t len)
{
    const uint8_t lead = src[0];
    if (len < 2 || lead < 0xE0 || lead > 0xF4)
        return 1;                       /* a two-byte lead has no longer start that is ill-formed */
    const uint8_t low = lead == 0xE0 ? 0xA0 : lead == 0xF0 ? 0x90 : 0x80;
    const uint8_t high = lead == 0xED ? 0x9F : lead == 0xF4 ? 0x8F : 0xBF;
    if (src[1] < low || src[1] > high)
        return 1;
    return lead >= 0xF0 && len > 2 && blitz_utf8_continues(src[2]) ? 3 : 2;
}

/* Copy the well-formed prefix of src as far as whole sequences fit into *room. *room becomes 0 when
 * they did not all fit. -> length of the prefix, copied or not. */
static size_t copy_prefix(uint8_t *dst, size_t *room, const uint8_t *src, size_t len)
{
    const size_t copied = chosen->copy(dst, src, len < *room ? len : *room);
    const size_t whole = len <= *room ? copied : copied + chosen->check(src + copied, len - copied);
    *room = whole > copied ? 0 : *room - copied;
    return whole;
}

size_t blitz_utf8_lossy(uint8_t *dst, size_t cap, const uint8_t *src, size_t len)
{
    size_t room = dst ? cap : 0, at = 0, out = 0;
    while (at < len) {
        const size_t good = room ? copy_prefix(dst + out, &room, src + at, len - at)
                                 : chosen->check(src + at, len - at);
        at += good;
        out += good;
        if (at == len)
            break;
        if (room >= 3) {
            memcpy(dst + out, "\xEF\xBF\xBD", 3);
            room -= 3;
        } else {
            room = 0;
        }
        at += ill_formed(src + at, len - at);
        out += 3;
    }
    return out;
}
