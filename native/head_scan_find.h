/* head_scan_find.h: the three searches of the scanner, made from masks. Included by a file that has
 * defined, for W consecutive bytes, masks of B bits per byte (the lowest bit of a byte's group is what
 * counts) that mark the bytes at which a search stops:
 *   MASK_BYTES (W), MASK_BITS (B), mask_t,
 *   mask_content(at)   no field-content: a control byte but HTAB, or DEL
 *   mask_visible(at)   not 0x21..0x7e
 *   mask_plain(at)     neither alphanumeric nor '-'
 * and the same for the first step alone, over FIRST_BYTES: first_content, first_visible, first_plain. Most
 * names and values end within 16 bytes, where a wider load only crosses more cache lines.
 * Nothing outside [low, end) is read: the last bytes are read as the end of a full load. */
#include <stdint.h>
#include <stddef.h>

#define DEFINE_FIND(name, mask, first, stops)                                                        \
    SCAN_TARGET static inline const uint8_t *name(const uint8_t *at, const uint8_t *end, const uint8_t *low) \
    {                                                                                                \
        if (end - at >= FIRST_BYTES) {                                                               \
            mask_t found = first(at);                                                                \
            if (found)                                                                               \
                return at + __builtin_ctzll(found) / MASK_BITS;                                      \
            at += FIRST_BYTES;                                                                       \
        }                                                                                            \
        while (end - at >= MASK_BYTES) {                                                             \
            mask_t found = mask(at);                                                                 \
            if (found)                                                                               \
                return at + __builtin_ctzll(found) / MASK_BITS;                                      \
            at += MASK_BYTES;                                                                        \
        }                                                                                            \
        if (end - low >= MASK_BYTES) {                                                               \
            long known = MASK_BYTES - (end - at);                                                    \
            mask_t found = known == MASK_BYTES ? 0 : (mask_t)(mask(end - MASK_BYTES) >> (known * MASK_BITS)); \
            return found ? at + __builtin_ctzll(found) / MASK_BITS : end;                            \
        }                                                                                            \
        while (at < end && !(stops))                                                                 \
            at++;                                                                                    \
        return at;                                                                                   \
    }

DEFINE_FIND(find_content_end, mask_content, first_content, !(blitz_class[*at] & BLITZ_C_CONTENT))
DEFINE_FIND(find_visible_end, mask_visible, first_visible, *at <= 0x20 || *at >= 0x7f)
DEFINE_FIND(find_plain_end, mask_plain, first_plain,
            (blitz_class[*at] & (BLITZ_C_TOKEN | BLITZ_C_ODD)) != BLITZ_C_TOKEN)
#undef DEFINE_FIND

/* End of a token. Names are nearly always plain; the first odd byte sends the rest to the table. */
SCAN_TARGET static inline const uint8_t *find_token_end(const uint8_t *at, const uint8_t *end,
                                                        const uint8_t *low, bool *odd)
{
    at = find_plain_end(at, end, low);
    if (at == end || !(blitz_class[*at] & BLITZ_C_TOKEN))
        return at;
    *odd = true;
    while (at < end && (blitz_class[*at] & BLITZ_C_TOKEN))
        at++;
    return at;
}
