/* kept_responses.c: responses of static routes that Python has made, for requests that mean the same a moment later.
 *
 * Nothing is decided here. Python plans a response from the request and from what it knows of the disk; what is kept is
 * one whose request says nothing but a path and, where files have codings, Accept-Encoding: those two are all that
 * another such request has to be like, and until what was known is to be asked again, the plan would be the same.
 *
 * A slot for each hash, and the last response for it stays: what clients choose takes no more than SLOTS responses of
 * MAX_BODY each.
 */
#include "guest.h"
#include "head.h"
#include <stdlib.h>
#include <string.h>

enum { SLOTS = 256, MAX_FIELDS = 16, MAX_KEY = 1024, MAX_BODY = 64 * 1024 };

typedef struct { blitz_text name, value; } kept_field;
typedef struct {
    double until;
    uint32_t route, n_fields;
    blitz_text path, coding, kind, body;         /* all bytes lie behind this */
    kept_field fields[MAX_FIELDS];
} kept_response;

struct blitz_kept { kept_response *slots[SLOTS]; };

blitz_kept *blitz_kept_new(void) { return calloc(1, sizeof(blitz_kept)); }

void blitz_kept_free(blitz_kept *kept)
{
    for (size_t i = 0; kept != NULL && i < SLOTS; i++)
        free(kept->slots[i]);
    free(kept);
}

/* ---------------------------------------------------------------- requests */

typedef struct { blitz_text path, coding; } kept_key;

static bool is_word(const blitz_head *head, blitz_span span, const char *word)
{
    size_t len = strlen(word);
    return span.len == len && blitz_name_equal(blitz_at(head, span), (const uint8_t *)word, len);
}

/* True: the request says no more than *key: no range, no condition, one Accept-Encoding at most. */
static bool read_key(const blitz_head *request, uint8_t files, kept_key *key)
{
    bool get = request->method.len == 3 && memcmp(blitz_at(request, request->method), "GET", 3) == 0;
    bool head = request->method.len == 4 && memcmp(blitz_at(request, request->method), "HEAD", 4) == 0;
    blitz_text target = {blitz_at(request, request->target), request->target.len};
    if ((!get && !head) || target.len == 0 || target.ptr[0] != '/')
        return false;
    const uint8_t *query = memchr(target.ptr, '?', target.len);
    *key = (kept_key){{target.ptr, query != NULL ? (size_t)(query - target.ptr) : target.len}, {NULL, 0}};
    for (uint32_t i = 0; i < request->n_fields; i++) {
        const blitz_field *field = &request->fields[i];
        if (field->gone)
            continue;
        const uint8_t *name = blitz_at(request, field->name);
        if (is_word(request, field->name, "range") ||
            (field->name.len > 3 && blitz_name_equal(name, (const uint8_t *)"if-", 3)))
            return false;
        if ((files & BLITZ_FILES_CODED) && is_word(request, field->name, "accept-encoding")) {
            if (key->coding.ptr != NULL)
                return false;
            key->coding = (blitz_text){blitz_at(request, field->value), field->value.len};
        }
    }
    return key->path.len + key->coding.len <= MAX_KEY;
}

static bool same(blitz_text one, blitz_text other)
{
    return one.len == other.len && (one.ptr == NULL) == (other.ptr == NULL) &&
           (one.len == 0 || memcmp(one.ptr, other.ptr, one.len) == 0);
}

static uint32_t add_to_hash(uint32_t hash, blitz_text text)
{
    for (size_t i = 0; i < text.len; i++)
        hash = (hash ^ text.ptr[i]) * 16777619u; /* FNV-1a */
    return hash;
}

static kept_response **slot_of(blitz_kept *kept, uint32_t route, const kept_key *key)
{
    uint32_t hash = add_to_hash(add_to_hash(2166136261u ^ route, key->path), key->coding);
    return &kept->slots[(hash ^ hash >> 16) % SLOTS];
}

/* ---------------------------------------------------------------- responses */

static blitz_text copy(uint8_t **at, blitz_text text)
{
    blitz_text made = {text.ptr != NULL ? *at : NULL, text.len};
    if (text.len > 0)
        memcpy(*at, text.ptr, text.len);
    *at += text.len;
    return made;
}

static blitz_text span_text(const blitz_head *head, blitz_span span)
{
    return (blitz_text){blitz_at(head, span), span.len};
}

void blitz_kept_put(blitz_kept *kept, const blitz_fast_route *route, const blitz_exchange *exchange, double until)
{
    const blitz_head *response = exchange->response;
    kept_key key;
    if (!route->files || response->status != 200 || response->n_fields > MAX_FIELDS || exchange->new_body.len > MAX_BODY ||
        !read_key(exchange->request, route->files, &key))
        return;
    size_t size = sizeof(kept_response) + key.path.len + key.coding.len + exchange->new_body.len;
    for (uint32_t i = 0; i < response->n_fields; i++)
        size += response->fields[i].name.len + response->fields[i].value.len;
    kept_response **slot = slot_of(kept, route->id, &key), *made = malloc(size);
    if (made == NULL)
        return;
    uint8_t *at = (uint8_t *)(made + 1);
    *made = (kept_response){.until = until, .route = route->id};
    made->path = copy(&at, key.path);
    made->coding = copy(&at, key.coding);
    made->body = copy(&at, exchange->new_body);
    for (uint32_t i = 0; i < response->n_fields; i++) {
        const blitz_field *field = &response->fields[i];
        if (field->gone)
            continue;
        blitz_text value = copy(&at, span_text(response, field->value));
        if (is_word(response, field->name, "content-type"))
            made->kind = value;
        else
            made->fields[made->n_fields++] = (kept_field){copy(&at, span_text(response, field->name)), value};
    }
    free(*slot);
    *slot = made;
}

int blitz_kept_take(blitz_kept *kept, const blitz_fast_route *route, blitz_exchange *exchange, double now)
{
    kept_key key;
    if (!read_key(exchange->request, route->files, &key))
        return 0;
    const kept_response *found = *slot_of(kept, route->id, &key);
    if (found == NULL || found->route != route->id || found->until <= now || !same(found->path, key.path) ||
        !same(found->coding, key.coding))
        return 0;
    int code = blitz_local_response(exchange, 200, found->kind.ptr, found->kind.len, found->body.ptr, found->body.len);
    for (uint32_t i = 0; code == 0 && i < found->n_fields; i++)
        code = blitz_head_add(exchange->response, found->fields[i].name.ptr, found->fields[i].name.len,
                              found->fields[i].value.ptr, found->fields[i].value.len);
    return code == 0 ? 1 : code;
}
