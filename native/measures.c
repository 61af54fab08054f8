/* measures.c: figures of a service, in memory that its processes share.
 *
 * Each worker writes a slot of its own: a directory of series (a figure with its labels), and the cells where they are
 * counted. A series is entered once and stays; whoever gets the slot next, after a crash or a new generation of
 * workers, finds it there and counts on, so that no counter goes back. Gauges are what somebody says of himself:
 * they are forgotten with their writer.
 *
 * An entry is written before the size of the directory says that it is there; a reader sees whole entries only, and a
 * writer that dies in between leaves nothing. measures_merge.c makes one truth of all slots.
 */
#include "measures.h"
#include "measures_slot.h"
#include <stdlib.h>

enum { SPILL = 64 };                     /* cells: more than any series has */

struct blitz_measures {
    measures_slot *slot;
    uint32_t *index;                     /* places in the directory plus one, by hash; 0: none */
    uint32_t room, used;
    uint64_t spill[SPILL];               /* for series that there is no room for; nobody reads it */
};

size_t blitz_measures_slot_size(void) { return sizeof(measures_slot); }

uint32_t measures_cells(int kind)
{
    return kind == BLITZ_MEASURE_SECONDS || kind == BLITZ_MEASURE_VALUES ? measures_buckets(kind) + 1 : 1;
}

uint64_t measures_hash(uint32_t figure, const uint8_t *labels, size_t len)
{
    uint64_t hash = 14695981039346656037u ^ figure;      /* FNV-1a */
    for (size_t i = 0; i < len; i++)
        hash = (hash ^ labels[i]) * 1099511628211u;
    return hash ^ hash >> 29;
}

const measures_entry *measures_next(const measures_slot *slot, size_t *at)
{
    uint64_t used = __atomic_load_n(&slot->used_directory, __ATOMIC_ACQUIRE);
    const measures_entry *entry = (const measures_entry *)(slot->directory + *at);
    if (used > MEASURES_DIRECTORY || *at + sizeof *entry > used || *at + entry->size > used || entry->size == 0)
        return NULL;
    *at += entry->size;
    return entry;
}

static uint32_t *find(const blitz_measures *measures, uint32_t figure, const uint8_t *labels, size_t len)
{
    for (uint64_t i = measures_hash(figure, labels, len);; i++) {
        uint32_t *place = &measures->index[i & (measures->room - 1)];
        if (*place == 0)
            return place;
        const measures_entry *entry = (const measures_entry *)(measures->slot->directory + *place - 1);
        if (entry->figure == figure && entry->len == len && memcmp(entry->labels, labels, len) == 0)
            return place;
    }
}

/* Room in the index for one more. 0, or BLITZ_E_NOMEM. */
static int grow(blitz_measures *measures)
{
    if (2 * (measures->used + 1) <= measures->room)
        return 0;
    uint32_t room = measures->room ? measures->room : 256;
    while (2 * (measures->used + 1) > room)
        room *= 2;
    uint32_t *index = calloc(room, sizeof *index);
    if (index == NULL)
        return BLITZ_E_NOMEM;
    free(measures->index);
    measures->index = index;
    measures->room = room;
    const measures_entry *entry;
    for (size_t at = 0, from = 0; (entry = measures_next(measures->slot, &at)) != NULL; from = at)
        *find(measures, entry->figure, entry->labels, entry->len) = (uint32_t)from + 1;
    return 0;
}

void blitz_measures_forget_gauges(uint8_t *memory)
{
    measures_slot *slot = (measures_slot *)memory;
    const measures_entry *entry;
    for (size_t at = 0; (entry = measures_next(slot, &at)) != NULL;)
        if (entry->kind == BLITZ_MEASURE_GAUGE)
            measures_set(&slot->cells[entry->cell], measures_bits(__builtin_nan("")));
}

blitz_measures *blitz_measures_open(uint8_t *memory)
{
    blitz_measures *measures = calloc(1, sizeof *measures);
    if (measures == NULL)
        return NULL;
    measures->slot = (measures_slot *)memory;
    for (size_t at = 0; measures_next(measures->slot, &at) != NULL;)
        measures->used++;
    if (grow(measures) != 0) {
        blitz_measures_close(measures);
        return NULL;
    }
    blitz_measures_forget_gauges(memory);
    return measures;
}

void blitz_measures_close(blitz_measures *measures)
{
    if (measures != NULL)
        free(measures->index);
    free(measures);
}

measures_slot *measures_slot_of(blitz_measures *measures) { return measures->slot; }

uint64_t *measures_find(const blitz_measures *measures, uint32_t figure, const uint8_t *labels, size_t len)
{
    uint32_t place = *find(measures, figure, labels, len);
    measures_slot *slot = measures->slot;
    return place != 0 ? &slot->cells[((const measures_entry *)(slot->directory + place - 1))->cell] : NULL;
}

bool measures_is_half_full(const blitz_measures *measures)
{
    const measures_slot *slot = measures->slot;
    return slot->used_cells > MEASURES_CELLS / 2 || slot->used_directory > MEASURES_DIRECTORY / 2;
}

static uint64_t *refuse(blitz_measures *measures)
{
    measures_add(&measures->slot->refused, 1);
    return measures->spill;
}

uint64_t *blitz_measures_series(blitz_measures *measures, uint32_t figure, int kind, const uint8_t *labels, size_t len)
{
    measures_slot *slot = measures->slot;
    uint32_t *place = find(measures, figure, labels, len), n = measures_cells(kind);
    if (*place != 0) {
        const measures_entry *known = (const measures_entry *)(slot->directory + *place - 1);
        return known->kind == kind ? &slot->cells[known->cell] : refuse(measures);
    }
    size_t size = (sizeof(measures_entry) + len + 7) & ~(size_t)7;
    if (len > MEASURES_LABELS || size > MEASURES_DIRECTORY - slot->used_directory ||
        n > MEASURES_CELLS - slot->used_cells || grow(measures) != 0)
        return refuse(measures);
    uint64_t *cells = &slot->cells[slot->used_cells], zero = 0;
    for (uint32_t i = 0; i < n; i++)
        measures_set(&cells[i], kind == BLITZ_MEASURE_GAUGE ? measures_bits(__builtin_nan("")) : zero);
    measures_entry *entry = (measures_entry *)(slot->directory + slot->used_directory);
    *entry = (measures_entry){.cell = (uint32_t)slot->used_cells, .figure = (uint16_t)figure, .kind = (uint8_t)kind,
                              .len = (uint32_t)len, .size = (uint32_t)size};
    memcpy(entry->labels, labels, len);
    *find(measures, figure, labels, len) = (uint32_t)slot->used_directory + 1;
    measures->used++;
    slot->used_cells += n;
    __atomic_store_n(&slot->used_directory, slot->used_directory + size, __ATOMIC_RELEASE);
    return cells;
}

void blitz_measures_add(uint64_t *cell, uint64_t n) { measures_add(cell, n); }
void blitz_measures_set(uint64_t *cell, double value) { measures_set(cell, measures_bits(value)); }
void blitz_measures_observe(uint64_t *cells, int kind, double value) { measures_observe(cells, kind, value); }
