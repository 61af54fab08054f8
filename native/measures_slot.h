/* measures_slot.h: what a worker's slot looks like. measures.c writes it, measures_merge.c reads all of them. */
#ifndef BLITZ_MEASURES_SLOT_H
#define BLITZ_MEASURES_SLOT_H
#include "blitz_native.h"
#include <stddef.h>
#include <stdbool.h>
#include <stdint.h>

/* 500 routes and 500 plugins have room. Memory is touched only as far as it is used. */
enum { MEASURES_DIRECTORY = 2 << 20, MEASURES_CELLS = 128 * 1024, MEASURES_LABELS = 2048 };

typedef struct {
    uint64_t used_directory, used_cells; /* bytes of the directory; cells */
    uint64_t refused;                    /* series that found no room */
    uint64_t unused[5];
    uint8_t directory[MEASURES_DIRECTORY];
    uint64_t cells[MEASURES_CELLS];
} measures_slot;

typedef struct {
    uint32_t cell;                       /* its first one */
    uint16_t figure;
    uint8_t kind, unused;                /* BLITZ_MEASURE_* */
    uint32_t len, size;                  /* of the labels; of the entry, to the next one */
    uint8_t labels[];                    /* NAME="VALUE",.. as they are exposed */
} measures_entry;

/* Cells of a series. */
uint32_t measures_cells(int kind);
uint64_t measures_hash(uint32_t figure, const uint8_t *labels, size_t len);
/* The entry at *at, which goes on to the next one; NULL: there is no more. */
const measures_entry *measures_next(const measures_slot *slot, size_t *at);
measures_slot *measures_slot_of(blitz_measures *measures);
/* The cells of a series that there is, or NULL. */
uint64_t *measures_find(const blitz_measures *measures, uint32_t figure, const uint8_t *labels, size_t len);
bool measures_is_half_full(const blitz_measures *measures);
#endif
