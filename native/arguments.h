/* arguments.h: strings that a hook gets as its arguments, in memory of the guest. */
#ifndef BLITZ_ARGUMENTS_H
#define BLITZ_ARGUMENTS_H
#include "abi.h"

typedef struct { uint32_t offset, len; } blitz_lent;
enum { BLITZ_MOST_TEXTS = 2 };
typedef struct {
    blitz_text texts[BLITZ_MOST_TEXTS];  /* n of them, to be lent */
    blitz_lent out[BLITZ_MOST_TEXTS];    /* where they are */
    blitz_lent blocks[BLITZ_MOST_TEXTS]; /* allocated, for us to free */
    size_t n, n_blocks;
    bool raw;                            /* bytes of any kind, lent as they are; else text, lent as valid UTF-8 */
    size_t in_buffer;                    /* bytes of the guest's fixed area that were written to */
    const char *purpose;                 /* for the sentence of a refusal */
} blitz_loan;

static inline wasmtime_val_raw_t blitz_raw(uint32_t value) { return (wasmtime_val_raw_t){.i64 = (int64_t)value}; }

/* Are len bytes at offset in the guest's memory, as it is now? */
bool blitz_guest_fits(const blitz_instance *instance, uint64_t offset, uint64_t len);
/* Write the texts into the guest's fixed area (instance->buffer), else into blocks of its allocator.
 * On the fiber. -> NULL, or the trap to return. */
wasm_trap_t *blitz_lend(blitz_instance *instance, blitz_loan *loan);
/* After the hook: clear the area, free the blocks. -> NULL, or the trap to return. */
wasm_trap_t *blitz_take_back(blitz_instance *instance, const blitz_loan *loan);
#endif
