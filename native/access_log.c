/* access_log.c: the lines of the access log until a thread writes them: in blocks of whole lines, up to a bound.
 *
 * The event loop adds lines and takes the blocks; a block that was taken is its taker's alone, so there is no lock.
 */
#include "access_line.h"
#include <stdlib.h>
#include <string.h>

enum { BLOCK_SIZE = 64 * 1024 };         /* holds many lines; what is allocated at once */

struct blitz_access_log {
    int kind;
    bool writer_sleeps;
    size_t most, size;                   /* bytes that may wait, and that do */
    uint64_t dropped;
    blitz_access_block *first, *last;
    blitz_access_clock clock;
};

blitz_access_log *blitz_access_log_new(size_t most)
{
    blitz_access_log *log = calloc(1, sizeof *log);
    if (log != NULL)
        log->most = most;
    return log;
}

void blitz_access_blocks_free(blitz_access_block *block)
{
    while (block != NULL) {
        blitz_access_block *next = block->next;
        free(block);
        block = next;
    }
}

void blitz_access_log_free(blitz_access_log *log)
{
    if (log != NULL)
        blitz_access_blocks_free(log->first);
    free(log);
}

void blitz_access_log_set_kind(blitz_access_log *log, int kind) { log->kind = kind; }

uint64_t blitz_access_log_dropped(const blitz_access_log *log) { return log->dropped; }

/* A block with room for one more line; NULL when there is no memory. */
static blitz_access_block *room(blitz_access_log *log)
{
    blitz_access_block *last = log->last;
    if (last != NULL && BLOCK_SIZE - last->len > BLITZ_ACCESS_LINE_SIZE)
        return last;
    blitz_access_block *block = malloc(sizeof *block + BLOCK_SIZE);
    if (block == NULL)
        return NULL;
    block->next = NULL;
    block->len = 0;
    block->data = (uint8_t *)(block + 1);
    *(last != NULL ? &last->next : &log->first) = block;
    log->last = block;
    return block;
}

int blitz_access_log_add(blitz_access_log *log, const blitz_access_record *record)
{
    if (log->kind == BLITZ_ACCESS_OFF)
        return 0;
    blitz_access_block *block = log->size <= log->most ? room(log) : NULL;
    if (block == NULL) {
        log->dropped++;
        return 0;
    }
    size_t len = blitz_access_line(block->data + block->len, log->kind, record, &log->clock);
    block->data[block->len + len] = '\n';
    block->len += len + 1;
    log->size += len + 1;
    bool wakes = log->writer_sleeps;
    log->writer_sleeps = false;
    return wakes;
}

blitz_access_block *blitz_access_log_take(blitz_access_log *log)
{
    blitz_access_block *first = log->first;
    log->first = log->last = NULL;
    log->size = 0;
    return first;
}

int blitz_access_log_sleep(blitz_access_log *log)
{
    log->writer_sleeps = log->first == NULL;
    return log->writer_sleeps;
}
