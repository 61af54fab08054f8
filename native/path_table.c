/* path_table.c: route prefixes as a tree of segments.
 *
 * A node is a prefix; an edge leads to it from the prefix without its last segment. All edges stand in one
 * array, ordered by parent and key, so that a step is one binary search. The key of a segment is what is left
 * of its name when everything that servers may do to it has been done; path.c does the same to a request's
 * segment, and finds what it may mean. Values come down to the nodes below that have none of their own: the
 * value of a node is that of its longest prefix.
 *
 * One table holds many trees (one per host), since all of them need room for one path to work on.
 */
#include "path_table.h"
#include <stdlib.h>
#include <string.h>

blitz_path_table *blitz_path_table_new(size_t longest)
{
    blitz_path_table *table = calloc(1, sizeof *table);
    if (table == NULL)
        return NULL;
    table->longest = longest;
    table->bytes = malloc(longest + 1);
    table->levels = malloc(longest + 1);
    if (table->bytes == NULL || table->levels == NULL) {
        blitz_path_table_free(table);
        return NULL;
    }
    return table;
}

void blitz_path_table_free(blitz_path_table *table)
{
    if (table == NULL)
        return;
    free(table->nodes);
    free(table->edges);
    free(table->names);
    free(table->protections);
    free(table->bytes);
    free(table->levels);
    free(table);
}

/* ---------------------------------------------------------------- finding */

/* Before, at (0) or behind the edges of that parent and key. */
static int order(const blitz_path_table *table, const blitz_path_edge *edge, uint32_t parent, const uint8_t *text,
                 size_t len)
{
    if (edge->parent != parent)
        return parent < edge->parent ? -1 : 1;
    if (edge->key.len != len)
        return len < edge->key.len ? -1 : 1;
    const uint8_t *key = table->names + edge->key.off;
    for (size_t i = 0; i < len; i++) {
        uint8_t byte = blitz_path_lower(text[i]);
        if (byte != key[i])
            return byte < key[i] ? -1 : 1;
    }
    return 0;
}

uint32_t blitz_path_edges(const blitz_path_table *table, uint32_t node, const uint8_t *text, size_t len,
                          uint32_t *first)
{
    uint32_t low = 0, high = table->n_edges;
    while (low < high) {
        uint32_t middle = low + (high - low) / 2;
        if (order(table, &table->edges[middle], node, text, len) > 0)
            low = middle + 1;
        else
            high = middle;
    }
    *first = low;
    while (high < table->n_edges && order(table, &table->edges[high], node, text, len) == 0)
        high++;
    return high;
}

bool blitz_path_names(const blitz_path_table *table, const blitz_path_edge *edge, const uint8_t *text, size_t len)
{
    return edge->name.len == len && memcmp(table->names + edge->name.off, text, len) == 0;
}

/* ---------------------------------------------------------------- making */

static bool grow(void *array, size_t n, size_t each)
{
    void **at = array;
    if (n & (n - 1))                             /* room doubles whenever n is a power of two */
        return true;
    void *made = realloc(*at, (n > 0 ? 2 * n : 1) * each);
    if (made == NULL)
        return false;
    *at = made;
    return true;
}

static int64_t new_node(blitz_path_table *table, uint32_t parent, uint32_t depth)
{
    if (!grow(&table->nodes, table->n_nodes, sizeof *table->nodes))
        return BLITZ_E_NOMEM;
    table->nodes[table->n_nodes] = (blitz_path_node){parent, depth, BLITZ_PATH_NONE, BLITZ_PATH_NONE, false, false};
    return table->n_nodes++;
}

int64_t blitz_path_table_tree(blitz_path_table *table)
{
    return new_node(table, table->n_nodes, 0);   /* a root is its own parent */
}

/* Name and key of a new edge, behind one another in names. */
static bool store(blitz_path_table *table, const uint8_t *name, size_t len, blitz_path_edge *edge)
{
    uint8_t *names = realloc(table->names, table->n_names + 2 * len);
    if (names == NULL)
        return false;
    table->names = names;
    edge->name = (blitz_path_text){table->n_names, (uint32_t)len};
    memcpy(names + table->n_names, name, len);
    size_t folded = blitz_path_unfold(table->bytes, table->levels, name, len);
    blitz_path_range core = blitz_path_trim(table->bytes, 0, folded);
    edge->key = (blitz_path_text){table->n_names + (uint32_t)len, (uint32_t)(core.to - core.from)};
    for (size_t i = core.from; i < core.to; i++)
        names[edge->key.off + (i - core.from)] = blitz_path_lower(table->bytes[i]);
    table->n_names += (uint32_t)(2 * len);
    return true;
}

/* The node behind a segment, made if there is none. */
static int64_t step(blitz_path_table *table, uint32_t node, const uint8_t *name, size_t len)
{
    blitz_path_edge edge = {.parent = node};
    uint32_t before = table->n_names, first;
    if (!store(table, name, len, &edge))
        return BLITZ_E_NOMEM;
    uint32_t end = blitz_path_edges(table, node, table->names + edge.key.off, edge.key.len, &first);
    for (uint32_t i = first; i < end; i++)
        if (blitz_path_names(table, &table->edges[i], name, len)) {
            table->n_names = before;
            return table->edges[i].child;
        }
    int64_t child = new_node(table, node, table->nodes[node].depth + 1);
    if (child < 0 || !grow(&table->edges, table->n_edges, sizeof *table->edges))
        return BLITZ_E_NOMEM;
    edge.child = (uint32_t)child;
    memmove(table->edges + first + 1, table->edges + first, (table->n_edges - first) * sizeof edge);
    table->edges[first] = edge;
    table->n_edges++;
    return child;
}

static bool remember(blitz_path_table *table, int32_t value, int32_t protection)
{
    while (table->n_values <= (uint32_t)value) {
        if (!grow(&table->protections, table->n_values, sizeof *table->protections))
            return false;
        table->protections[table->n_values++] = BLITZ_PATH_NONE;
    }
    table->protections[value] = protection;
    return true;
}

int blitz_path_table_add(blitz_path_table *table, uint32_t tree, const uint8_t *prefix, size_t len, int32_t value,
                         int32_t protection, int exact)
{
    if (len > table->longest)
        return BLITZ_E_LIMIT;
    int64_t node = tree;
    for (size_t at = 0; node >= 0 && at < len;) {
        while (at < len && prefix[at] == '/')
            at++;
        size_t from = at;
        while (at < len && prefix[at] != '/')
            at++;
        if (at > from)
            node = step(table, (uint32_t)node, prefix + from, at - from);
    }
    if (node < 0 || !remember(table, value, protection))
        return BLITZ_E_NOMEM;
    blitz_path_node *made = &table->nodes[node];
    *(exact ? &made->here : &made->value) = value;
    *(exact ? &made->own_here : &made->own) = true;
    return 0;
}

void blitz_path_table_seal(blitz_path_table *table)
{
    for (uint32_t i = 0; i < table->n_nodes; i++) {  /* a node is made after its parent */
        blitz_path_node *node = &table->nodes[i];
        if (!node->own && node->parent != i)
            node->value = table->nodes[node->parent].value;
        if (!node->own_here)
            node->here = node->value;
    }
}
