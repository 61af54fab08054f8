/* fast_path_client.c: who a trusted proxy speaks for, as long as it says the same.
 *
 * Python finds the client (blitz/server/peer.py). A proxy that says the same words in its next request on the same
 * connection means the same client, so peer and options stay.
 */
#include "fast_path_table.h"
#include <stdlib.h>
#include <string.h>

enum { MOST = 512 };                     /* bytes of words that are remembered; with more of them Python looks */

struct fast_words {
    size_t len;
    uint8_t octets[MOST];
};

static bool add(struct fast_words *words, const void *octets, size_t len)
{
    if (len > MOST - words->len)
        return false;
    memcpy(words->octets + words->len, octets, len);
    words->len += len;
    return true;
}

/* Values of all fields that may say who the client is, with bytes between them that no value has. */
static bool collect(struct fast_words *words, const blitz_head *head)
{
    static const char *const names[] = {"x-forwarded-for", "x-forwarded-proto", "x-forwarded-host", "forwarded"};
    words->len = 0;
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        const uint8_t *name = (const uint8_t *)names[i];
        size_t len = strlen(names[i]);
        for (int at = blitz_head_find(head, name, len, 0); at >= 0; at = blitz_head_find(head, name, len, (uint32_t)at + 1)) {
            blitz_span value = head->fields[at].value;
            if (!add(words, "\r", 1) || !add(words, blitz_at(head, value), value.len))
                return false;
        }
        if (!add(words, "\n", 1))
            return false;
    }
    return true;
}

bool fast_is_same_client(const place *client, const blitz_head *request)
{
    struct fast_words words;
    return client->words != NULL && collect(&words, request) && words.len == client->words->len &&
           memcmp(words.octets, client->words->octets, words.len) == 0;
}

void fast_remember_client(place *client, const blitz_head *request)
{
    if (client->words == NULL)
        client->words = malloc(sizeof *client->words);
    if (client->words != NULL && !collect(client->words, request))
        fast_forget_client(client);
}

void fast_forget_client(place *client)
{
    free(client->words);
    client->words = NULL;
}
