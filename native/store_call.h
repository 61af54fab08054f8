/* store_call.h: the calls into wasmtime whose precondition a guest's behaviour could break.
 *
 * wasmtime holds its preconditions with assertions, and a failed one ends the process. When our host functions
 * run, and in what order, is the guest's choice: a start section calls them before the instance is complete, an
 * allocator from inside one, and each instantiation may do otherwise. So these calls are made in store_call.c
 * and nowhere else, and each is checked there first:
 *
 *   wasmtime call                       holds only if                                        checked by
 *   func_call_unchecked                 the function is this store's; on the stack of the    blitz_store_call
 *                                       store's call; not while that is unwound; it has
 *                                       room for one more allowance of wasm stack; slots for
 *                                       the larger of parameters and results
 *   memory_data, memory_data_size       the memory is this store's; nobody else runs in it   blitz_store_find_exports,
 *                                                                                            blitz_store_memory_size
 *   table_grow                          the table is this store's; null is an element of it  blitz_store_grow_externrefs
 *   caller_export_get                   inside a host function                               blitz_store_find_exports
 *   instance_export_get                 instantiation came to a good end                     blitz_store_find_exports
 *   func_call_async,                    no call in progress, in a store whose last one did   blitz_store_begin
 *   instance_pre_instantiate_async,     not fail; instantiate once, before all calls
 *   instance_pre_instantiate
 *   call_future_poll                    a call in progress, which has not ended; not inside  blitz_store_poll,
 *                                       itself                                               blitz_store_drop
 *   (going on, on the own stack)        the same; in its own thread only                     blitz_store_poll
 *   call_future_delete                  not inside poll                                      blitz_store_drop
 *   store_delete                        no call in progress                                  blitz_store_delete
 *
 * What a handle is of is known once and for all when a module is loaded, and held there: types of functions,
 * memories and tables by blitz_plugin_use_export, types of imports by blitz_plugin_bind (plugin.c). The kind
 * of a value type is never asked for, only compared (module.c): wasm_valtype_kind knows too few of them.
 */
#ifndef BLITZ_STORE_CALL_H
#define BLITZ_STORE_CALL_H
#include "guest.h"

/* Look up every export that plays a part. caller: of a host function that a start section called, since then
 * only the caller knows the exports; NULL once the instance is complete. false: one is not there. */
bool blitz_store_find_exports(blitz_instance *instance, wasmtime_caller_t *caller);

/* Call the export that plays a part, from a function of ours that runs on the stack of the instance's call. slots: as
 * many as its parameters, and one for a result. false: it trapped, the call is being unwound, or it cannot be
 * called; blitz_store_trap says which. */
bool blitz_store_call(blitz_instance *instance, int part, wasmtime_val_raw_t *slots, size_t n);
/* Leave the stack, from a host function that waits, until the next poll. false: this is no place for that, or the call is
 * being unwound; blitz_store_trap says which. */
bool blitz_store_pause(blitz_instance *instance);
/* Put what that needs into the store of an instance that is complete, between its calls. */
bool blitz_store_add_pause(blitz_instance *instance);
/* Make what all stores share of that, once. false: with one sentence in error. */
bool blitz_store_can_pause(blitz_engine *engine, char *error, size_t error_cap);
/* The trap that hands a failed blitz_store_call on upwards. */
wasm_trap_t *blitz_store_trap(blitz_instance *instance);

/* The memory as it is now; NULL and 0 while the exports are not known. The size is stale once guest code has run. */
uint8_t *blitz_store_memory(const blitz_instance *instance);
size_t blitz_store_memory_size(const blitz_instance *instance);
/* false: it cannot grow, or there is no such table. */
bool blitz_store_grow_externrefs(blitz_instance *instance, uint64_t by);

/* Find a stack for the call of instance->hook. false: this store cannot take a call. */
bool blitz_store_begin(blitz_instance *instance);
/* The call of instance->hook, on the own stack from its beginning to its end. */
void blitz_store_run(blitz_instance *instance);
/* The callback of the deadline: leave the stack until the next slice. */
wasmtime_error_t *blitz_store_slice_is_over(wasmtime_context_t *context, void *env, uint64_t *ticks, uint8_t *what);
/* Run until the call ends (true) or its time slice does. */
bool blitz_store_poll(blitz_instance *instance);
/* Forget the call; one that has not ended is unwound: its nested calls fail and our frames return. false: it
 * runs at this moment, or is on the own stack of another thread, so that neither it nor its store may go. */
bool blitz_store_drop(blitz_instance *instance);
/* After blitz_store_drop, which said true. */
void blitz_store_delete(blitz_instance *instance);
#endif
