/* pool.c: the idle instances of one plugin, the last used first: its memory is warm. */
#include "guest.h"
#include <stdlib.h>

blitz_pool *blitz_pool_new(uint32_t most)
{
    blitz_pool *pool = calloc(1, sizeof *pool);
    blitz_instance **idle = calloc(most > 0 ? most : 1, sizeof *idle);
    if (pool == NULL || idle == NULL) {
        free(pool);
        free(idle);
        return NULL;
    }
    pool->idle = idle;
    pool->most = most;
    return pool;
}

void blitz_pool_free(blitz_pool *pool)
{
    if (pool == NULL)
        return;
    free(pool->idle);
    free(pool);
}

int blitz_pool_give(blitz_pool *pool, blitz_instance *instance)
{
    if (pool->n == pool->most)
        return BLITZ_E_STATE;
    pool->idle[pool->n++] = instance;
    return 0;
}

uint32_t blitz_pool_take(blitz_pool *pool)
{
    return pool->n > 0 ? pool->idle[--pool->n]->id : 0;
}
