/* path.c: what a path may mean to the servers behind us, and which routes that leads to.
 *
 * Servers differ in what they make of a path: docs/http.md lists the rules. A reading is one way to apply them;
 * each rule may be applied or not at each place, in any order, since requests pass through several servers in a
 * row. A path passes when all its readings lead to the same protection.
 *
 * Readings are not enumerated. The path is unfolded first: everything that can be decoded is, with a note of how
 * often each byte was (its level). Then its segments are walked once with the set of all states that some reading
 * may be in. A state is a node of the prefix tree and how many segments that no prefix has stand below it, which
 * is all that a later ".." and the route at the end depend on. For each segment a reading goes
 *
 *   to a child    the segment may be its name: exactly, or with something undone on the way;
 *   one deeper    it may be any other name (parameters, a slash or dots kept; not decoded; not folded);
 *   one up        it may be "..": above the root the path is refused, whatever else it may mean;
 *   nowhere       it may be ".", or empty and merged with its neighbour.
 *
 * An encoded slash or a backslash is a border that readings may look over: "glued" are the states in which the
 * segment goes on behind it. An encoded "?", "#" or NUL may end the path.
 *
 * Cost: linear in the path, times the states, of which a path without ".." has a few. Both are bounded.
 */
#include "head.h"
#include "path_table.h"
#include <string.h>

enum { MAX_SEGMENTS = 256, MAX_NODES = 32, WORDS = MAX_SEGMENTS / 64 + 1 };

typedef struct {              /* some readings' states: bit i of below: i segments below that node */
    uint32_t n;
    uint32_t node[MAX_NODES];
    uint64_t below[MAX_NODES][WORDS];
    bool full, climbs;        /* nodes were left out; one went above the root */
} states;

typedef struct {              /* bytes from one border to the next */
    const uint8_t *text;      /* all of it */
    size_t len;
    const uint8_t *core;      /* what it may be called */
    size_t core_len;
    bool plain;               /* spelt as it is meant, and all of it is the name */
    bool cut;                 /* it has parameters, or an end of the path */
    bool ends, pops, skips;   /* may end the path, be "..", or be no segment at all */
} piece;

/* ---------------------------------------------------------------- segments */

/* Not what it spells to every server: encoded without need, or more than once. */
static bool is_doubtful(uint8_t byte, uint8_t level)
{
    return level > 1 || (level == 1 && (blitz_class[byte] & BLITZ_C_PATH));
}

static bool is_space(uint8_t byte) { return byte <= ' '; }
static bool ends_a_path(uint8_t byte) { return byte == '?' || byte == '#' || byte == 0; }

blitz_path_range blitz_path_trim(const uint8_t *bytes, size_t from, size_t to)
{
    while (from < to && is_space(bytes[from]))
        from++;
    while (from < to && (is_space(bytes[to - 1]) || bytes[to - 1] == '.'))
        to--;
    return (blitz_path_range){from, to};
}

static bool is_dot_dot(const uint8_t *bytes, size_t from, size_t to)
{
    while (from < to && is_space(bytes[from]))
        from++;
    while (from < to && is_space(bytes[to - 1]))
        to--;
    return to - from == 2 && bytes[from] == '.' && bytes[from + 1] == '.';
}

/* A border that a reading may look over. */
static bool is_soft(const blitz_path_table *table, size_t at)
{
    return table->levels[at] > 0 || table->bytes[at] == '\\';
}

/* from is behind a border; a soft one may have been no border to whoever trimmed the dots behind it. */
static piece read_piece(const blitz_path_table *table, size_t from, size_t to)
{
    const uint8_t *bytes = table->bytes;
    piece made = {.text = bytes + from, .len = to - from, .plain = true};
    size_t stop = to;
    for (size_t i = to; i-- > from;) {
        made.plain = made.plain && !is_doubtful(bytes[i], table->levels[i]);
        made.ends = made.ends || ends_a_path(bytes[i]);
        if (bytes[i] == ';' || ends_a_path(bytes[i]))
            stop = i;
    }
    made.cut = stop < to;
    made.plain = made.plain && !made.cut;
    blitz_path_range core = blitz_path_trim(bytes, from, stop);
    made.core = bytes + core.from;
    made.core_len = core.to - core.from;
    made.pops = is_dot_dot(bytes, from, stop);
    made.skips = made.core_len == 0 && (!made.pops || is_soft(table, from - 1));
    return made;
}

/* ---------------------------------------------------------------- states */

/* hint: where the node probably is. */
static uint64_t *room(states *set, uint32_t node, uint32_t hint)
{
    if (hint < set->n && set->node[hint] == node)
        return set->below[hint];
    uint32_t i = 0;
    while (i < set->n && set->node[i] != node)
        i++;
    if (i == MAX_NODES) {
        set->full = true;
        return NULL;
    }
    if (i == set->n) {
        set->node[set->n++] = node;
        memset(set->below[i], 0, sizeof set->below[i]);
    }
    return set->below[i];
}

static void add_one(states *set, uint32_t node, uint32_t hint)
{
    uint64_t *below = room(set, node, hint);
    if (below != NULL)
        below[0] |= 1;
}

static bool is_none(const uint64_t *below)
{
    uint64_t all = 0;
    for (int i = 0; i < WORDS; i++)
        all |= below[i];
    return all == 0;
}

static void add(states *set, uint32_t node, const uint64_t *more, uint32_t hint)
{
    uint64_t *below = is_none(more) ? NULL : room(set, node, hint);
    for (int i = 0; below != NULL && i < WORDS; i++)
        below[i] |= more[i];
}

static void add_deeper(states *set, uint32_t node, const uint64_t *more, uint32_t hint)
{
    uint64_t moved[WORDS];
    for (int i = 0; i < WORDS; i++)
        moved[i] = more[i] << 1 | (i > 0 ? more[i - 1] >> 63 : 0);
    add(set, node, moved, hint);
}

static void add_higher(states *set, uint32_t node, const uint64_t *more, uint32_t hint)
{
    uint64_t moved[WORDS];
    for (int i = 0; i < WORDS; i++)
        moved[i] = more[i] >> 1 | (i + 1 < WORDS ? more[i + 1] << 63 : 0);
    add(set, node, moved, hint);
}

static void add_all(states *set, const states *more)
{
    for (uint32_t i = 0; i < more->n; i++)
        add(set, more->node[i], more->below[i], i);
    set->full = set->full || more->full;
    set->climbs = set->climbs || more->climbs;
}

/* From a node itself: the children that the piece may name. True: it is exactly one of them, and nothing else. */
static bool add_children(states *to, const blitz_path_table *table, uint32_t node, const piece *segment, uint32_t hint)
{
    uint32_t first, end;
    if (segment->core_len == 0)
        return false;
    end = blitz_path_edges(table, node, segment->core, segment->core_len, &first);
    for (uint32_t i = first; segment->plain && i < end; i++)
        if (blitz_path_names(table, &table->edges[i], segment->text, segment->len)) {
            add_one(to, table->edges[i].child, hint);
            return true;
        }
    for (uint32_t i = first; i < end; i++)
        add_one(to, table->edges[i].child, hint);
    return false;
}

/* The states behind a segment. */
static void take(states *to, const blitz_path_table *table, const states *from, const piece *segment)
{
    for (uint32_t i = 0; i < from->n; i++) {
        uint32_t node = from->node[i];
        uint64_t below[WORDS];
        memcpy(below, from->below[i], sizeof below);
        bool here = below[0] & 1;
        if (segment->skips)
            add(to, node, below, i);
        if (segment->pops) {
            add_higher(to, node, below, i);
            if (here && table->nodes[node].parent == node)
                to->climbs = true;
            else if (here)
                add_one(to, table->nodes[node].parent, i);
        }
        if (here && add_children(to, table, node, segment, i))
            below[0] &= ~(uint64_t)1;
        add_deeper(to, node, below, i);
    }
}

static void deeper(states *to, const states *from)
{
    for (uint32_t i = 0; i < from->n; i++)
        add_deeper(to, from->node[i], from->below[i], i);
}

/* ---------------------------------------------------------------- the walk */

typedef struct { states fresh, glued, next, next_glued, ended; } walk;

/* soft: the border behind the piece is one that a reading may look over. */
static void go_over(walk *at, const blitz_path_table *table, const piece *segment, bool soft)
{
    at->next.n = at->next_glued.n = 0;
    take(&at->next, table, &at->fresh, segment);
    if (segment->ends) {
        add_all(&at->ended, &at->next);
        add_all(&at->ended, &at->glued);
    }
    if (soft) {
        if (segment->cut)                        /* what goes on behind the border belongs to what is cut off */
            add_all(&at->next_glued, &at->next);
        deeper(&at->next_glued, &at->fresh);
        add_all(&at->next_glued, &at->glued);
    }
    add_all(&at->next, &at->glued);
    at->fresh.full = at->next.full || at->next_glued.full;
    at->fresh.climbs = at->next.climbs;
}

static void copy(states *to, const states *from)
{
    to->n = from->n;
    to->full = to->full || from->full;
    to->climbs = to->climbs || from->climbs;
    memcpy(to->node, from->node, from->n * sizeof from->node[0]);
    memcpy(to->below, from->below, from->n * sizeof from->below[0]);
}

/* What readings lead to: the value of a node, or of what lies below it. rank: the longer path has the larger one. */
enum { MAX_ENDS = 2 * MAX_NODES };
typedef struct { int32_t value; uint32_t rank; } path_end;

static uint32_t add_end(path_end *ends, uint32_t n, int32_t value, uint32_t rank)
{
    for (uint32_t i = 0; i < n; i++)
        if (ends[i].value == value) {
            ends[i].rank = rank > ends[i].rank ? rank : ends[i].rank;
            return n;
        }
    ends[n] = (path_end){value, rank};
    return n + 1;
}

static uint32_t find_ends(const blitz_path_table *table, const states *set, path_end *ends)
{
    uint32_t n = 0;
    for (uint32_t i = 0; i < set->n; i++) {
        const blitz_path_node *node = &table->nodes[set->node[i]];
        uint64_t below[WORDS];
        memcpy(below, set->below[i], sizeof below);
        if (below[0] & 1)
            n = add_end(ends, n, node->here, 2 * node->depth + 1);
        below[0] &= ~(uint64_t)1;
        if (!is_none(below))
            n = add_end(ends, n, node->value, 2 * node->depth);
    }
    return n;
}

/* The value of the longest path, if all have one protection. */
static int32_t judge(const blitz_path_table *table, const path_end *ends, uint32_t n)
{
    path_end best = ends[0];
    for (uint32_t i = 1; i < n; i++) {
        int32_t one = ends[i].value, other = ends[0].value;
        if (one < 0 || other < 0 || table->protections[one] != table->protections[other])
            return BLITZ_PATH_AMBIGUOUS;
        if (ends[i].rank > best.rank)
            best = ends[i];
    }
    return best.value;
}

static int32_t find_in_all_readings(const blitz_path_table *table, uint32_t tree, const uint8_t *path, size_t len,
                                    path_end *ends)
{
    walk at;
    at.fresh.n = at.glued.n = at.next.n = at.next_glued.n = at.ended.n = 0;
    at.fresh.full = at.glued.full = at.next.full = at.next_glued.full = at.ended.full = false;
    at.fresh.climbs = at.glued.climbs = at.next.climbs = at.next_glued.climbs = at.ended.climbs = false;
    add_one(&at.fresh, tree, 0);
    if (len > table->longest)
        return BLITZ_PATH_TOO_LONG;
    size_t n = blitz_path_unfold(table->bytes, table->levels, path, len), segments = 0;
    for (size_t from = 1; from <= n;) {
        size_t to = from;
        while (to < n && !blitz_path_is_border(table->bytes[to]))
            to++;
        if (++segments > MAX_SEGMENTS)
            return BLITZ_PATH_TOO_LONG;
        bool soft = to < n && is_soft(table, to);
        piece segment = read_piece(table, from, to);
        go_over(&at, table, &segment, soft);
        copy(&at.fresh, &at.next);
        copy(&at.glued, &at.next_glued);
        if (at.fresh.climbs)
            return BLITZ_PATH_CLIMBS;
        if (at.fresh.full)
            return BLITZ_PATH_AMBIGUOUS;
        from = to + 1;
    }
    add_all(&at.fresh, &at.glued);
    add_all(&at.fresh, &at.ended);
    return at.fresh.full ? BLITZ_PATH_AMBIGUOUS : (int32_t)find_ends(table, &at.fresh, ends);
}

/* Every byte is what it spells, and no segment is empty or one that readings may trim or resolve. */
static bool is_clear(const uint8_t *path, size_t len)
{
    uint8_t before = 0;
    for (size_t i = 0; i < len; i++) {
        uint8_t byte = path[i];
        if (byte == '%' || byte == ';' || byte == '\\' || is_space(byte) || ends_a_path(byte))
            return false;
        if ((before == '/' && (byte == '/' || byte == '.')) || (before == '.' && byte == '/'))
            return false;
        before = byte;
    }
    return before != '.';
}

/* A clear path has one reading, unless it is the case of letters that keeps it from a route, or a slash at its end
 * counts. -> ends; 0: readings tell. */
static uint32_t find_clear(const blitz_path_table *table, uint32_t tree, const uint8_t *path, size_t len,
                           path_end *ends)
{
    uint32_t node = tree, first;
    for (size_t from = 1; from < len;) {
        size_t to = from;
        while (to < len && path[to] != '/')
            to++;
        uint32_t end = blitz_path_edges(table, node, path + from, to - from, &first);
        if (first == end)
            return add_end(ends, 0, table->nodes[node].value, 0);
        while (first < end && !blitz_path_names(table, &table->edges[first], path + from, to - from))
            first++;
        if (first == end)
            return 0;
        node = table->edges[first].child;
        from = to + 1;
    }
    uint32_t n = add_end(ends, 0, table->nodes[node].here, 1);
    return len > 1 && path[len - 1] == '/' ? add_end(ends, n, table->nodes[node].value, 0) : n;
}

/* All that the target may lead to. -> how many, or BLITZ_PATH_*. */
static int32_t find_all(const blitz_path_table *table, uint32_t tree, const uint8_t *target, size_t len, path_end *ends)
{
    const uint8_t *query = len > 0 ? memchr(target, '?', len) : NULL;
    if (query != NULL)
        len = (size_t)(query - target);
    if (len == 0 || target[0] != '/')            /* the asterisk */
        return (int32_t)add_end(ends, 0, table->nodes[tree].value, 0);
    uint32_t n = is_clear(target, len) ? find_clear(table, tree, target, len, ends) : 0;
    return n > 0 ? (int32_t)n : find_in_all_readings(table, tree, target, len, ends);
}

int32_t blitz_path_find(const blitz_path_table *table, uint32_t tree, const uint8_t *target, size_t len)
{
    path_end ends[MAX_ENDS];
    int32_t n = find_all(table, tree, target, len, ends);
    return n > 0 ? judge(table, ends, (uint32_t)n) : n;
}

int32_t blitz_path_all(const blitz_path_table *table, uint32_t tree, const uint8_t *target, size_t len,
                       int32_t *values)
{
    path_end ends[MAX_ENDS];
    int32_t n = find_all(table, tree, target, len, ends);
    for (int32_t i = 0; i < n; i++) {
        int32_t best = i;
        for (int32_t k = i + 1; k < n; k++)
            if (ends[k].rank > ends[best].rank)
                best = k;
        path_end longest = ends[best];
        ends[best] = ends[i];
        ends[i] = longest;
        values[i] = longest.value;
    }
    return n;
}

int blitz_path_stays(const blitz_path_table *table, uint32_t tree, int32_t value, const uint8_t *target, size_t len)
{
    int32_t found = blitz_path_find(table, tree, target, len);
    return found >= 0 && table->protections[found] == table->protections[value];
}
