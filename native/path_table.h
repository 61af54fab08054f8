/* path_table.h: the prefixes that routes are matched by, as path.c walks them. path_table.c keeps them, path_decode.c
 * decodes what is looked up. */
#ifndef BLITZ_PATH_TABLE_H
#define BLITZ_PATH_TABLE_H
#include "blitz_native.h"
#include <stdbool.h>

typedef struct { uint32_t off, len; } blitz_path_text;      /* in names */
typedef struct {
    uint32_t parent, child;
    blitz_path_text key;      /* the name, folded: whatever may mean the name folds to it */
    blitz_path_text name;     /* of the segment, decoded */
} blitz_path_edge;
typedef struct {
    uint32_t parent, depth;
    int32_t value, here;      /* of what lies below it, and of the path that it is itself */
    bool own, own_here;
} blitz_path_node;

struct blitz_path_table {
    blitz_path_node *nodes;
    blitz_path_edge *edges;   /* ordered by parent and key */
    uint8_t *names;
    int32_t *protections;     /* by value */
    uint8_t *bytes, *levels;  /* of the path in hand: see path.c */
    size_t longest;
    uint32_t n_nodes, n_edges, n_names, n_values;
};

/* Edges from a node whose key is text, whatever the case of text: edges[*first .. result). */
uint32_t blitz_path_edges(const blitz_path_table *table, uint32_t node, const uint8_t *text, size_t len,
                          uint32_t *first);
bool blitz_path_names(const blitz_path_table *table, const blitz_path_edge *edge, const uint8_t *text, size_t len);

/* Decode bytes as often as they can be, to dst, which has room for len; levels: how often each was: 0, 1, or
 * 2 for more. -> bytes left. */
size_t blitz_path_unfold(uint8_t *dst, uint8_t *levels, const uint8_t *bytes, size_t len);
/* What a segment may be called: without parameters, without the space around it and dots at its end. */
typedef struct { size_t from, to; } blitz_path_range;
blitz_path_range blitz_path_trim(const uint8_t *bytes, size_t from, size_t to);
static inline bool blitz_path_is_border(uint8_t byte) { return byte == '/' || byte == '\\'; }
static inline uint8_t blitz_path_lower(uint8_t byte) { return byte >= 'A' && byte <= 'Z' ? byte | 0x20 : byte; }
#endif
