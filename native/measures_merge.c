/* measures_merge.c: the slots of all workers as one truth, and its text.
 *
 * Counters and histograms are added; what becomes of a gauge that several workers tell, its figure says. The text is the
 * samples of Prometheus' exposition format 0.0.4, which are those of OpenMetrics 1.0 too: families differ in what is
 * said above them, which comes from Python (blitz/measures/exposition.py).
 */
#include "measures.h"
#include "measures_slot.h"
#include <math.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>

typedef struct {
    const measures_entry *entry;         /* in the slot where it was first seen */
    uint32_t at;                         /* of its first cell in cells */
} series;

struct blitz_merged {
    series *all;
    uint32_t *index;                     /* places in all plus one, by hash */
    uint32_t n, room;
    uint64_t *cells;
    size_t n_cells, room_cells;
    uint64_t refused;
};

void blitz_merged_free(blitz_merged *merged)
{
    if (merged == NULL)
        return;
    free(merged->all);
    free(merged->index);
    free(merged->cells);
    free(merged);
}

static uint32_t *find(const blitz_merged *merged, uint32_t figure, const uint8_t *labels, size_t len)
{
    for (uint64_t i = measures_hash(figure, labels, len);; i++) {
        uint32_t *place = &merged->index[i & (merged->room - 1)];
        if (*place == 0)
            return place;
        const measures_entry *entry = merged->all[*place - 1].entry;
        if (entry->figure == figure && entry->len == len && memcmp(entry->labels, labels, len) == 0)
            return place;
    }
}

static int make_room(blitz_merged *merged, uint32_t cells)
{
    if (merged->n_cells + cells > merged->room_cells) {
        size_t room = 2 * merged->room_cells + 1024;
        uint64_t *all = realloc(merged->cells, room * sizeof *all);
        if (all == NULL)
            return BLITZ_E_NOMEM;
        merged->cells = all;
        merged->room_cells = room;
    }
    if (2 * (merged->n + 1) <= merged->room)
        return 0;
    uint32_t room = merged->room ? 2 * merged->room : 256;
    series *all = realloc(merged->all, room * sizeof *all);
    uint32_t *index = calloc(room, sizeof *index);
    if (all != NULL)
        merged->all = all;
    if (all == NULL || index == NULL) {
        free(index);
        return BLITZ_E_NOMEM;
    }
    free(merged->index);
    merged->index = index;
    merged->room = room;
    for (uint32_t i = 0; i < merged->n; i++) {
        const measures_entry *entry = all[i].entry;
        *find(merged, entry->figure, entry->labels, entry->len) = i + 1;
    }
    return 0;
}

static double merge_gauges(int how, double one, double other)
{
    if (isnan(one) || isnan(other))      /* nobody, or only one of them, tells it */
        return isnan(one) ? other : one;
    if (how == BLITZ_MERGE_MAX)
        return one > other ? one : other;
    if (how == BLITZ_MERGE_MIN)
        return one < other ? one : other;
    return one + other;
}

static void add(uint64_t *to, const uint64_t *cells, const measures_entry *entry, int how)
{
    uint32_t n = measures_cells(entry->kind);
    if (entry->kind == BLITZ_MEASURE_GAUGE) {
        to[0] = measures_bits(merge_gauges(how, measures_double(to[0]), measures_double(measures_get(cells))));
        return;
    }
    bool has_sum = n > 1;                /* the last cell of a histogram */
    for (uint32_t i = 0; i < n - has_sum; i++)
        to[i] += measures_get(&cells[i]);
    if (has_sum)
        to[n - 1] = measures_bits(measures_double(to[n - 1]) + measures_double(measures_get(&cells[n - 1])));
}

static int add_slot(blitz_merged *merged, const measures_slot *slot, const uint8_t *how, uint32_t n_figures)
{
    const measures_entry *entry;
    merged->refused += measures_get(&slot->refused);
    for (size_t at = 0; (entry = measures_next(slot, &at)) != NULL;) {
        uint32_t n = measures_cells(entry->kind);
        if (entry->figure >= n_figures || entry->cell > MEASURES_CELLS - n)
            continue;
        if (make_room(merged, n) != 0)
            return BLITZ_E_NOMEM;
        uint32_t *place = find(merged, entry->figure, entry->labels, entry->len);
        if (*place == 0) {
            merged->all[merged->n++] = (series){entry, (uint32_t)merged->n_cells};
            *place = merged->n;
            for (uint32_t i = 0; i < n; i++)
                merged->cells[merged->n_cells++] = entry->kind == BLITZ_MEASURE_GAUGE ? measures_bits(NAN) : 0;
        }
        const series *found = &merged->all[*place - 1];
        if (found->entry->kind == entry->kind)
            add(&merged->cells[found->at], &slot->cells[entry->cell], entry, how[entry->figure]);
    }
    return 0;
}

blitz_merged *blitz_measures_merge(const uint8_t *memory, uint32_t slots, const uint8_t *how, uint32_t n_figures)
{
    blitz_merged *merged = calloc(1, sizeof *merged);
    if (merged == NULL)
        return NULL;
    int failed = make_room(merged, 0);
    for (uint32_t i = 0; i < slots && failed == 0; i++)
        failed = add_slot(merged, (const measures_slot *)(memory + i * sizeof(measures_slot)), how, n_figures);
    if (failed == 0)
        return merged;
    blitz_merged_free(merged);
    return NULL;
}

uint64_t blitz_merged_refused(const blitz_merged *merged) { return merged->refused; }

double blitz_merged_value(const blitz_merged *merged, uint32_t figure, const uint8_t *labels, size_t len)
{
    uint32_t place = *find(merged, figure, labels, len);
    if (place == 0)
        return NAN;
    const series *found = &merged->all[place - 1];
    const uint64_t *cells = &merged->cells[found->at];
    uint32_t n = measures_cells(found->entry->kind);
    uint64_t count = 0;
    if (found->entry->kind == BLITZ_MEASURE_GAUGE)
        return measures_double(cells[0]);
    for (uint32_t i = 0; i < (n > 1 ? n - 1 : 1); i++)
        count += cells[i];
    return (double)count;
}

/* ---------------------------------------------------------------- text */

typedef struct {
    uint8_t *bytes;
    size_t len, room;
    bool failed;
} text;

static void put(text *out, const void *bytes, size_t len)
{
    if (len > out->room - out->len && !out->failed) {
        size_t room = 2 * out->room + len + 65536;
        uint8_t *more = realloc(out->bytes, room);
        out->failed = more == NULL;
        if (more != NULL) {
            out->bytes = more;
            out->room = room;
        }
    }
    if (out->failed || len == 0)
        return;
    memcpy(out->bytes + out->len, bytes, len);
    out->len += len;
}

static void put_text(text *out, blitz_text bytes) { put(out, bytes.ptr, bytes.len); }

static void put_count(text *out, uint64_t count)
{
    char digits[20];
    size_t at = sizeof digits;
    do
        digits[--at] = (char)('0' + count % 10);
    while (count /= 10);
    put(out, digits + at, sizeof digits - at);
}

/* The shortest decimal that is the same double. */
static void put_double(text *out, double value)
{
    char digits[32];
    if (isinf(value)) {
        put(out, value > 0 ? "+Inf" : "-Inf", 4);
        return;
    }
    int len = 0;
    for (int precision = 15; precision <= 17; precision++) {
        len = snprintf(digits, sizeof digits, "%.*g", precision, value);
        if (strtod(digits, NULL) == value)
            break;
    }
    put(out, digits, (size_t)len);
}

/* NAME{LABELS */
static void put_series(text *out, blitz_text name, const char *suffix, const measures_entry *entry, const char *more)
{
    bool has_more = *more != '\0';
    put_text(out, name);
    put(out, suffix, strlen(suffix));
    if (entry->len > 0 || has_more)
        put(out, "{", 1);
    put(out, entry->labels, entry->len);
    if (entry->len > 0 && has_more)
        put(out, ",", 1);
    put(out, more, strlen(more));
    if (entry->len > 0 && !has_more)
        put(out, "}", 1);
    if (!has_more)
        put(out, " ", 1);
}

static void put_histogram(text *out, const blitz_figure *figure, const measures_entry *entry, const uint64_t *cells)
{
    uint32_t n = measures_buckets(entry->kind);
    uint64_t count = 0;
    for (uint32_t i = 0; i < n; i++) {
        count += cells[i];
        put_series(out, figure->name, "_bucket", entry, "le=\"");
        put_text(out, figure->bounds[i]);
        put(out, "\"} ", 3);
        put_count(out, count);
        put(out, "\n", 1);
    }
    put_series(out, figure->name, "_sum", entry, "");
    put_double(out, measures_double(cells[n]));
    put(out, "\n", 1);
    put_series(out, figure->name, "_count", entry, "");
    put_count(out, count);
    put(out, "\n", 1);
}

static void put_sample(text *out, const blitz_figure *figure, const measures_entry *entry, const uint64_t *cells)
{
    if (measures_cells(entry->kind) > 1) {
        put_histogram(out, figure, entry, cells);
        return;
    }
    double gauge = measures_double(cells[0]);
    if (entry->kind == BLITZ_MEASURE_GAUGE && isnan(gauge))
        return;
    put_series(out, figure->name, "", entry, "");
    if (entry->kind == BLITZ_MEASURE_GAUGE)
        put_double(out, gauge);
    else
        put_count(out, cells[0]);
    put(out, "\n", 1);
}

static int compare(const void *left, const void *right)
{
    const measures_entry *one = ((const series *)left)->entry, *other = ((const series *)right)->entry;
    if (one->figure != other->figure)
        return one->figure < other->figure ? -1 : 1;
    size_t least = one->len < other->len ? one->len : other->len;
    int order = memcmp(one->labels, other->labels, least);
    return order != 0 ? order : (one->len > other->len) - (one->len < other->len);
}

int64_t blitz_merged_text(const blitz_merged *merged, const blitz_figure *figures, uint32_t n_figures, uint8_t **out)
{
    text told = {0};
    series *sorted = malloc((merged->n + 1) * sizeof *sorted);
    if (sorted == NULL)
        return BLITZ_E_NOMEM;
    memcpy(sorted, merged->all, merged->n * sizeof *sorted);
    qsort(sorted, merged->n, sizeof *sorted, compare);
    for (uint32_t figure = 0, i = 0; figure < n_figures; figure++) {
        put_text(&told, figures[figure].header);
        for (; i < merged->n && sorted[i].entry->figure == figure; i++)
            put_sample(&told, &figures[figure], sorted[i].entry, &merged->cells[sorted[i].at]);
    }
    free(sorted);
    if (told.failed) {
        free(told.bytes);
        return BLITZ_E_NOMEM;
    }
    *out = told.bytes;
    return (int64_t)told.len;
}
