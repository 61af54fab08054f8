/* pool.c: the idle instances of one plugin, the last used first: its memory is warm. */
#include "guest.h"
#include <stdlib.h>

blitz_pool *blitz_pool_new(uint32_t most)
{
    size_t room = most > 0 ? most : 1;
    blitz_pool *pool = calloc(1, sizeof *pool);
    blitz_instance **idle = calloc(room, sizeof *idle), **worn = calloc(room, sizeof *worn);
    if (pool == NULL || idle == NULL || worn == NULL) {
        free(pool);
        free(idle);
        free(worn);
        return NULL;
    }
    pool->idle = idle;
    pool->worn = worn;
    pool->most = most;
    return pool;
}

void blitz_pool_free(blitz_pool *pool)
{
    if (pool == NULL)
        return;
    free(pool->idle);
    free(pool->worn);
    free(pool);
}

int blitz_pool_give(blitz_pool *pool, blitz_instance *instance)
{
    /* As many live as there may be idle ones: there is room in both. */
    if (pool->fresh || pool->closed || instance->calls >= pool->max_calls)
        pool->worn[pool->n_worn++] = instance;
    else
        pool->idle[pool->n++] = instance;
    return pool->n_worn > 0 || pool->waiting > 0;
}

uint32_t blitz_pool_take(blitz_pool *pool) { return pool->n > 0 ? pool->idle[--pool->n]->id : 0; }
uint32_t blitz_pool_take_worn(blitz_pool *pool) { return pool->n_worn > 0 ? pool->worn[--pool->n_worn]->id : 0; }
