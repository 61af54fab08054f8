/* kv.h: making the table of kv.c in memory that is zero and shared; its calls are in blitz_native.h. */
#ifndef BLITZ_KV_H
#define BLITZ_KV_H
#include "blitz_native.h"
#include <stddef.h>

enum { BLITZ_KV_MAX_VALUE = 256 };

size_t blitz_kv_size(void);
/* 0, or BLITZ_E_NOMEM. Needs no end: the memory goes away with its mapping. */
int blitz_kv_init(blitz_kv *kv);
#endif
