/* abi.c: see abi.h. */
#include "abi.h"
#include "store_call.h"
#include <string.h>

const blitz_abi *blitz_abi_named(const char *name)
{
    static const blitz_abi *const known[] = {&blitz_abi_blitz};
    for (size_t i = 0; i < sizeof known / sizeof *known; i++)
        if (strcmp(known[i]->name, name) == 0)
            return known[i];
    return NULL;
}

wasm_trap_t *blitz_abi_call(blitz_instance *instance, int part, wasmtime_val_raw_t *slots, size_t n)
{
    if (!blitz_store_call(instance, part, slots, n))
        return blitz_store_trap(instance);
    instance->result = slots[0].i32;
    return NULL;
}
