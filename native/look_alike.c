/* look_alike.c: names that another program may read as one name.
 *
 * CGI and its heirs (WSGI, PHP, Rack, servlets behind them) make a variable of a request field's name: letters
 * become upper case, and whatever is neither a letter nor a digit becomes '_' (RFC 3875 section 4.1.18 has it for
 * '-'; servers do it for the other bytes of a token too). So "X-User", "x_user" and "x.user" are one variable, and
 * which of the fields it holds is the server's choice. Two rules keep that from mattering here:
 *
 *   from a client   A name that reads as a field we know, and any request name with '_', leaves the head
 *                   (head_rules.c). Nginx drops names with '_' too, and all that have another odd byte.
 *   for a plugin    What it sets, adds or removes in a request it sets, adds or removes for every spelling: the
 *                   others leave the head with its edit (edits.c). So does what the gateway writes itself.
 *
 * A field that we know is only ever spelt with '-' once the rules have run: no odd spelling can name it.
 */
#include "head.h"

enum { LONGEST_TWIN = 32 };              /* longer than the name of any field we know */

/* The id of the known field that this name would be if all its punctuation were '-'. */
uint8_t blitz_look_alike_id(const uint8_t *name, size_t len)
{
    uint8_t plain[LONGEST_TWIN];
    bool odd = false;
    if (len > sizeof plain)
        return BLITZ_F_OTHER;
    for (size_t i = 0; i < len; i++) {
        bool here = (blitz_class[name[i]] & BLITZ_C_ODD) != 0;
        odd |= here;
        plain[i] = here ? '-' : name[i];
    }
    return odd ? blitz_field_id(plain, len) : BLITZ_F_OTHER;
}

bool blitz_is_look_alike(int kind, const uint8_t *name, size_t len)
{
    if (kind == BLITZ_REQUEST)
        for (size_t i = 0; i < len; i++)
            if (name[i] == '_')
                return true;
    return blitz_look_alike_id(name, len) != BLITZ_F_OTHER;
}

static bool is_punctuation(uint8_t byte) { return byte == '-' || (blitz_class[byte] & BLITZ_C_ODD); }

/* Both names become the same variable. */
static bool same_variable(const uint8_t *a, const uint8_t *b, size_t len)
{
    for (size_t i = 0; i < len; i++)
        if (!(is_punctuation(a[i]) && is_punctuation(b[i])) && !blitz_name_equal(a + i, b + i, 1))
            return false;
    return true;
}

/* How a field reads: as another name, as this one, or as this one in another spelling. */
typedef enum { OTHER_NAME, THIS_NAME, OTHER_SPELLING } reading;

static reading read_as(const blitz_head *head, const blitz_field *field, const uint8_t *name, size_t len)
{
    if (field->gone || field->name.len != len)
        return OTHER_NAME;
    const uint8_t *its = blitz_at(head, field->name);
    if (blitz_name_equal(its, name, len))
        return THIS_NAME;
    bool may_differ = head->kind == BLITZ_REQUEST && field->id == BLITZ_F_OTHER;
    return may_differ && same_variable(its, name, len) ? OTHER_SPELLING : OTHER_NAME;
}

int blitz_head_remove_spellings(blitz_head *head, const uint8_t *name, size_t name_len)
{
    int removed = 0;
    for (uint32_t i = 0; i < head->n_fields; i++)
        if (read_as(head, &head->fields[i], name, name_len) == OTHER_SPELLING) {
            head->fields[i].gone = 1;
            removed++;
        }
    return removed;
}

uint32_t blitz_head_count(const blitz_head *head, const uint8_t *name, size_t name_len)
{
    uint32_t count = 0;
    for (uint32_t i = 0; i < head->n_fields; i++)
        count += read_as(head, &head->fields[i], name, name_len) != OTHER_NAME;
    return count;
}
