/* abi.h: the door between the calls (guest.c) and what a plugin interface makes of them.
 *
 * guest.c gives a guest its stack, its time slices and its end, and knows no interface: which export is called with
 * which arguments, and what its result means, stands in a table like this, one for each interface, in a file of its own
 * (abi_blitz.c). Which imports and exports make a module one of that interface is found when it is loaded
 * (blitz/wasm/abi/); the functions that it may import are rows of host_calls.def, by module and name.
 *
 * A new interface is a table here, a row in abi.c, its host functions in host_calls.def, and how it is recognized in
 * blitz/wasm/abi/. native/test/test_abi.c has a small one.
 */
#ifndef BLITZ_ABI_H
#define BLITZ_ABI_H
#include "guest.h"

typedef struct {
    int part;                 /* BLITZ_X_*: without that export there is no such hook; -1: needs says */
    /* Write the arguments, call, take back what was lent, and leave the hook's result in instance->result. Runs on the
     * call's stack: it may be left in each nested call, which is the place where memory moves, and is
     * unwound there when the call is given up, so it owns nothing that somebody would have to free. -> NULL, or
     * the trap that ends the call (blitz_trap, blitz_store_trap). */
    wasm_trap_t *(*enter)(blitz_instance *instance);
    int or_part;              /* another export that makes the hook, instead of part; 0: there is no other */
} blitz_hook;

struct blitz_abi {
    const char *name;                            /* as Python's Plan has it: "blitz/1" */
    const char *const (*types)[2];               /* by BLITZ_X_*: what types the export may have; NULL: no such part */
    blitz_hook hooks[BLITZ_HOOK_COUNT];          /* by BLITZ_HOOK_*, from INIT on */
    /* Does a new instance have anything to run before its first message? */
    bool (*needs_init)(const blitz_plugin *plugin);
    /* What instance->result says at the end of instance->hook: BLITZ_V_*, or BLITZ_E_SYNTAX with one sentence in why,
     * which poisons the instance. */
    int (*verdict)(const blitz_instance *instance, char *why, size_t why_cap);
    /* A message hook came to its end with that verdict (CONTINUE or STOP): apply what the guest asked for, all or
     * nothing. -> flags BLITZ_R_*, BLITZ_EDIT_MOVED among them; or negative, with one sentence in why. */
    int (*end)(blitz_instance *instance, int verdict, char *why, size_t why_cap);
};

/* The table of that name, or NULL. */
const blitz_abi *blitz_abi_named(const char *name);
extern const blitz_abi blitz_abi_blitz;

static inline bool blitz_has_part(const blitz_instance *instance, int part)
{
    return instance->plugin->parts[part].used;
}
/* Call an export and keep its result. slots: its arguments; room for one at least. */
wasm_trap_t *blitz_abi_call(blitz_instance *instance, int part, wasmtime_val_raw_t *slots, size_t n);
#endif
