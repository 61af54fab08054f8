/* fast_path_memory.c: where bodies lie that are on their way, or are collected for plugins.
 *
 * Parts all have one size; spare ones are kept for reuse. A collected body lies in a part, too, if it fits; a larger one in
 * pages of its own. Those are reserved for as much as it may become, become memory only as bytes come, and go back to
 * the system with the exchange. face.parts and face.reserved say how much there is of both.
 */
#include "fast_path_table.h"
#include <string.h>
#include <sys/mman.h>

static uint8_t *map(size_t size)
{
    void *made = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    return made != MAP_FAILED ? made : NULL;
}

uint8_t *fast_take_part(blitz_fast_path *fast)
{
    spare *first = fast->parts;
    if (first != NULL) {
        fast->parts = first->next;
        fast->n_parts--;
        return (uint8_t *)first;
    }
    uint8_t *made = map(BLITZ_PART_ROOM);
    if (made != NULL)
        fast->face.parts++;
    return made;
}

void fast_give_part(blitz_fast_path *fast, uint8_t *part)
{
    spare *first = (spare *)(void *)part;    /* in its headroom: no byte of a body is there */
    first->next = fast->parts;
    fast->parts = first;
    fast->n_parts++;
}

void fast_drop_parts(blitz_fast_path *fast, uint32_t most)
{
    fast_drop_memory(fast, &fast->told_memory);
    while (fast->n_parts > most) {
        munmap(fast_take_part(fast), BLITZ_PART_ROOM);
        fast->face.parts--;
    }
}

bool fast_take_memory(blitz_fast_path *fast, fast_memory *memory, size_t size)
{
    bool fits = size <= BLITZ_PART_ROOM;
    uint8_t *at = fits ? fast_take_part(fast) : map(size);
    if (at == NULL)
        return false;
    *memory = (fast_memory){.at = at, .size = fits ? BLITZ_PART_ROOM : size};
    if (!fits)
        fast->face.reserved += size;
    return true;
}

bool fast_grow_memory(blitz_fast_path *fast, fast_memory *memory, size_t size)
{
    fast_memory before = *memory;
    if (!fast_take_memory(fast, memory, size))
        return false;
    memory->start = before.start;
    memory->end = before.end;
    memcpy(memory->at + before.start, before.at + before.start, before.end - before.start);
    fast_drop_memory(fast, &before);
    return true;
}

void fast_drop_memory(blitz_fast_path *fast, fast_memory *memory)
{
    if (memory->at == NULL)
        return;
    if (memory->size == BLITZ_PART_ROOM) {
        fast_give_part(fast, memory->at);
    } else {
        munmap(memory->at, memory->size);
        fast->face.reserved -= memory->size;
    }
    *memory = (fast_memory){0};
}
