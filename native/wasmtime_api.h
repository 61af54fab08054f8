/* wasmtime_api.h: the part of wasmtime's C API that Blitz uses, bound at run time.
 *
 * The wheel of wasmtime ships its shared library without headers, so the declarations stand here.
 * They are those of version 50 (wasm.h, wasmtime.h and wasmtime/ of the C API), checked against the
 * prototypes that the wheel lists in wasmtime/_bindings.py. A move to another major version re-reads
 * both and the sizes asserted below, in one commit.
 *
 * Everything is opaque but the few values that cross by value: functions, memories, tables,
 * instances, raw values. None of them owns anything; their lifetime is the store's.
 */
#ifndef BLITZ_WASMTIME_API_H
#define BLITZ_WASMTIME_API_H
#include <assert.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

typedef struct wasm_config wasm_config_t;
typedef struct wasm_engine wasm_engine_t;
typedef struct wasm_valtype wasm_valtype_t;
typedef struct wasm_functype wasm_functype_t;
typedef struct wasm_globaltype wasm_globaltype_t;
typedef struct wasm_tabletype wasm_tabletype_t;
typedef struct wasm_memorytype wasm_memorytype_t;
typedef struct wasm_externtype wasm_externtype_t;
typedef struct wasm_importtype wasm_importtype_t;
typedef struct wasm_exporttype wasm_exporttype_t;
typedef struct wasm_frame wasm_frame_t;
typedef struct wasm_trap wasm_trap_t;
typedef struct wasmtime_error wasmtime_error_t;
typedef struct wasmtime_module wasmtime_module_t;
typedef struct wasmtime_store wasmtime_store_t;
typedef struct wasmtime_context wasmtime_context_t;
typedef struct wasmtime_caller wasmtime_caller_t;
typedef struct wasmtime_linker wasmtime_linker_t;
typedef struct wasmtime_instance_pre wasmtime_instance_pre_t;
typedef struct wasmtime_call_future wasmtime_call_future_t;
typedef struct wasmtime_pooling_config wasmtime_pooling_config_t;

/* Owned vectors: size first, then the elements. */
typedef struct { size_t size; char *data; } wasm_byte_vec_t;
typedef struct { size_t size; wasm_valtype_t **data; } wasm_valtype_vec_t;
typedef struct { size_t size; wasm_importtype_t **data; } wasm_importtype_vec_t;
typedef struct { size_t size; wasm_exporttype_t **data; } wasm_exporttype_vec_t;
typedef struct { size_t size; wasm_frame_t **data; } wasm_frame_vec_t;

typedef struct { uint64_t store_id; void *private_; } wasmtime_func_t;
typedef struct { uint64_t store_id; size_t private_; } wasmtime_instance_t;
typedef struct { struct { uint64_t store_id; uint32_t private1; } of; uint32_t private2; } wasmtime_table_t;
typedef struct { struct { uint64_t store_id; uint32_t private1; } of; uint32_t private2; } wasmtime_memory_t;
typedef struct { uint64_t store_id; uint32_t private1, private2, private3; } wasmtime_global_t;
typedef struct { uint64_t store_id; uint32_t private1, private2; void *private3; } wasmtime_ref_t;
static_assert(sizeof(wasmtime_func_t) == 16, "wasmtime_func_t of wasmtime 50");
static_assert(sizeof(wasmtime_instance_t) == 16, "wasmtime_instance_t of wasmtime 50");
static_assert(sizeof(wasmtime_table_t) == 24, "wasmtime_table_t of wasmtime 50");
static_assert(sizeof(wasmtime_memory_t) == 24, "wasmtime_memory_t of wasmtime 50");
static_assert(sizeof(wasmtime_global_t) == 24, "wasmtime_global_t of wasmtime 50");
static_assert(sizeof(wasmtime_ref_t) == 24, "wasmtime_externref_t of wasmtime 50");

enum { WASMTIME_EXTERN_FUNC = 0, WASMTIME_EXTERN_GLOBAL, WASMTIME_EXTERN_TABLE, WASMTIME_EXTERN_MEMORY };
typedef struct {
    uint8_t kind;
    union { wasmtime_func_t func; wasmtime_global_t global; wasmtime_table_t table; wasmtime_memory_t memory; } of;
} wasmtime_extern_t;
static_assert(sizeof(wasmtime_extern_t) == 32, "wasmtime_extern_t of wasmtime 50");

enum { WASMTIME_KIND_EXTERNREF = 6 };
typedef struct {
    uint8_t kind;
    union {
        int32_t i32; int64_t i64; float f32; double f64;
        wasmtime_func_t funcref; wasmtime_ref_t ref; uint8_t v128[16];
    } of;
} wasmtime_val_t;
static_assert(sizeof(wasmtime_val_t) == 32, "wasmtime_val_t of wasmtime 50");

typedef union {
    int32_t i32; int64_t i64; float f32; double f64; uint8_t v128[16]; void *funcref;
} wasmtime_val_raw_t;
static_assert(sizeof(wasmtime_val_raw_t) == 16, "wasmtime_val_raw_t of wasmtime 50");

/* A host function: reads its arguments from slots, writes its result to slots[0]; a trap returned is
 * owned by the caller. */
typedef wasm_trap_t *(*wasmtime_func_unchecked_callback_t)(void *env, wasmtime_caller_t *caller,
                                                           wasmtime_val_raw_t *slots, size_t n_slots);

/* Called at a loop or a function's entrance once the deadline is over. An error (owned by the caller) ends the
 * guest there; without one, *what says how it goes on after *ticks more. */
typedef wasmtime_error_t *(*wasmtime_epoch_callback_t)(wasmtime_context_t *context, void *env, uint64_t *ticks,
                                                       uint8_t *what);
enum { WASMTIME_UPDATE_DEADLINE_CONTINUE = 0, WASMTIME_UPDATE_DEADLINE_YIELD };

/* kinds of wasm_externtype_t and wasm_valtype_t */
enum { WASM_EXTERN_FUNC = 0, WASM_EXTERN_GLOBAL, WASM_EXTERN_TABLE, WASM_EXTERN_MEMORY };
enum { WASM_I32 = 0, WASM_I64, WASM_F32, WASM_F64, WASM_EXTERNREF = 128, WASM_FUNCREF = 129 };

/* X(result, name, parameters) for every function bound. */
#define BLITZ_WASMTIME_FUNCTIONS(X)                                                                    \
    X(wasm_config_t *, wasm_config_new, (void))                                                        \
    X(void, wasmtime_config_epoch_interruption_set, (wasm_config_t *, bool))                           \
    X(void, wasmtime_config_max_wasm_stack_set, (wasm_config_t *, size_t))                             \
    X(void, wasmtime_config_async_stack_size_set, (wasm_config_t *, size_t))                           \
    X(void, wasmtime_config_memory_reservation_set, (wasm_config_t *, uint64_t))                       \
    X(void, wasmtime_config_memory_guard_size_set, (wasm_config_t *, uint64_t))                        \
    X(void, wasmtime_config_wasm_threads_set, (wasm_config_t *, bool))                                 \
    X(void, wasmtime_config_wasm_gc_set, (wasm_config_t *, bool))                                      \
    X(void, wasmtime_config_wasm_exceptions_set, (wasm_config_t *, bool))                              \
    X(void, wasmtime_config_wasm_function_references_set, (wasm_config_t *, bool))                     \
    X(void, wasmtime_pooling_allocation_strategy_set, (wasm_config_t *, wasmtime_pooling_config_t *))  \
    X(wasmtime_pooling_config_t *, wasmtime_pooling_allocation_config_new, (void))                     \
    X(void, wasmtime_pooling_allocation_config_delete, (wasmtime_pooling_config_t *))                  \
    X(void, wasmtime_pooling_allocation_config_linear_memory_keep_resident_set,                        \
      (wasmtime_pooling_config_t *, size_t))                                                           \
    X(void, wasmtime_pooling_allocation_config_table_keep_resident_set,                                \
      (wasmtime_pooling_config_t *, size_t))                                                           \
    X(void, wasmtime_pooling_allocation_config_max_unused_warm_slots_set,                              \
      (wasmtime_pooling_config_t *, uint32_t))                                                         \
    X(void, wasmtime_pooling_allocation_config_total_memories_set,                                     \
      (wasmtime_pooling_config_t *, uint32_t))                                                         \
    X(void, wasmtime_pooling_allocation_config_total_tables_set,                                       \
      (wasmtime_pooling_config_t *, uint32_t))                                                         \
    X(void, wasmtime_pooling_allocation_config_total_stacks_set,                                       \
      (wasmtime_pooling_config_t *, uint32_t))                                                         \
    X(void, wasmtime_pooling_allocation_config_total_core_instances_set,                               \
      (wasmtime_pooling_config_t *, uint32_t))                                                         \
    X(void, wasmtime_pooling_allocation_config_total_gc_heaps_set,                                     \
      (wasmtime_pooling_config_t *, uint32_t))                                                         \
    X(void, wasmtime_pooling_allocation_config_max_tables_per_module_set,                              \
      (wasmtime_pooling_config_t *, uint32_t))                                                         \
    X(void, wasmtime_pooling_allocation_config_table_elements_set,                                     \
      (wasmtime_pooling_config_t *, size_t))                                                           \
    X(void, wasmtime_pooling_allocation_config_max_memory_size_set,                                    \
      (wasmtime_pooling_config_t *, size_t))                                                           \
    X(wasm_engine_t *, wasm_engine_new_with_config, (wasm_config_t *))                                 \
    X(void, wasm_engine_delete, (wasm_engine_t *))                                                     \
    X(void, wasmtime_engine_increment_epoch, (wasm_engine_t *))                                        \
    X(wasmtime_error_t *, wasmtime_module_new,                                                         \
      (wasm_engine_t *, const uint8_t *, size_t, wasmtime_module_t **))                                \
    X(wasmtime_error_t *, wasmtime_module_validate, (wasm_engine_t *, const uint8_t *, size_t))        \
    X(void, wasmtime_module_delete, (wasmtime_module_t *))                                             \
    X(void, wasmtime_module_imports, (const wasmtime_module_t *, wasm_importtype_vec_t *))             \
    X(void, wasmtime_module_exports, (const wasmtime_module_t *, wasm_exporttype_vec_t *))             \
    X(wasmtime_error_t *, wasmtime_module_serialize, (wasmtime_module_t *, wasm_byte_vec_t *))         \
    X(wasmtime_error_t *, wasmtime_module_deserialize_file,                                            \
      (wasm_engine_t *, const char *, wasmtime_module_t **))                                           \
    X(wasmtime_linker_t *, wasmtime_linker_new, (wasm_engine_t *))                                     \
    X(void, wasmtime_linker_delete, (wasmtime_linker_t *))                                             \
    X(void, wasmtime_linker_allow_shadowing, (wasmtime_linker_t *, bool))                              \
    X(wasmtime_error_t *, wasmtime_linker_define_func_unchecked,                                       \
      (wasmtime_linker_t *, const char *, size_t, const char *, size_t, const wasm_functype_t *,       \
       wasmtime_func_unchecked_callback_t, void *, void (*)(void *)))                                  \
    X(wasmtime_error_t *, wasmtime_linker_instantiate_pre,                                             \
      (const wasmtime_linker_t *, const wasmtime_module_t *, wasmtime_instance_pre_t **))              \
    X(void, wasmtime_instance_pre_delete, (wasmtime_instance_pre_t *))                                 \
    X(wasmtime_error_t *, wasmtime_instance_pre_instantiate,                                           \
      (const wasmtime_instance_pre_t *, wasmtime_context_t *, wasmtime_instance_t *, wasm_trap_t **))  \
    X(wasmtime_call_future_t *, wasmtime_instance_pre_instantiate_async,                               \
      (const wasmtime_instance_pre_t *, wasmtime_context_t *, wasmtime_instance_t *, wasm_trap_t **,   \
       wasmtime_error_t **))                                                                           \
    X(bool, wasmtime_instance_export_get,                                                              \
      (wasmtime_context_t *, const wasmtime_instance_t *, const char *, size_t, wasmtime_extern_t *))  \
    X(wasmtime_store_t *, wasmtime_store_new, (wasm_engine_t *, void *, void (*)(void *)))             \
    X(void, wasmtime_store_delete, (wasmtime_store_t *))                                               \
    X(wasmtime_context_t *, wasmtime_store_context, (wasmtime_store_t *))                              \
    X(void, wasmtime_store_limiter, (wasmtime_store_t *, int64_t, int64_t, int64_t, int64_t, int64_t)) \
    X(void *, wasmtime_context_get_data, (const wasmtime_context_t *))                                 \
    X(void, wasmtime_context_set_epoch_deadline, (wasmtime_context_t *, uint64_t))                     \
    X(void, wasmtime_store_epoch_deadline_callback,                                                    \
      (wasmtime_store_t *, wasmtime_epoch_callback_t, void *, void (*)(void *)))                       \
    X(wasmtime_call_future_t *, wasmtime_func_call_async,                                              \
      (wasmtime_context_t *, const wasmtime_func_t *, const wasmtime_val_t *, size_t,                  \
       wasmtime_val_t *, size_t, wasm_trap_t **, wasmtime_error_t **))                                 \
    X(bool, wasmtime_call_future_poll, (wasmtime_call_future_t *))                                     \
    X(void, wasmtime_call_future_delete, (wasmtime_call_future_t *))                                   \
    X(void, wasmtime_func_new_unchecked,                                                               \
      (wasmtime_context_t *, const wasm_functype_t *, wasmtime_func_unchecked_callback_t, void *,      \
       void (*)(void *), wasmtime_func_t *))                                                           \
    X(wasmtime_error_t *, wasmtime_func_call_unchecked,                                                \
      (wasmtime_context_t *, const wasmtime_func_t *, wasmtime_val_raw_t *, size_t, wasm_trap_t **))   \
    X(wasmtime_context_t *, wasmtime_caller_context, (wasmtime_caller_t *))                            \
    X(bool, wasmtime_caller_export_get,                                                                \
      (wasmtime_caller_t *, const char *, size_t, wasmtime_extern_t *))                                \
    X(uint8_t *, wasmtime_memory_data, (const wasmtime_context_t *, const wasmtime_memory_t *))        \
    X(size_t, wasmtime_memory_data_size, (const wasmtime_context_t *, const wasmtime_memory_t *))      \
    X(wasmtime_error_t *, wasmtime_table_grow,                                                         \
      (wasmtime_context_t *, const wasmtime_table_t *, uint64_t, const wasmtime_val_t *, uint64_t *))  \
    X(bool, wasmtime_context_has_exception, (wasmtime_context_t *))                                    \
    X(wasmtime_error_t *, wasmtime_error_new, (const char *))                                          \
    X(void, wasmtime_error_message, (const wasmtime_error_t *, wasm_byte_vec_t *))                     \
    X(void, wasmtime_error_delete, (wasmtime_error_t *))                                               \
    X(void, wasmtime_error_wasm_trace, (const wasmtime_error_t *, wasm_frame_vec_t *))                 \
    X(wasm_trap_t *, wasmtime_trap_new, (const char *, size_t))                                        \
    X(bool, wasmtime_trap_code, (const wasm_trap_t *, uint8_t *))                                      \
    X(void, wasm_trap_trace, (const wasm_trap_t *, wasm_frame_vec_t *))                                \
    X(void, wasm_trap_delete, (wasm_trap_t *))                                                         \
    X(const wasm_byte_vec_t *, wasmtime_frame_func_name, (const wasm_frame_t *))                       \
    X(uint32_t, wasm_frame_func_index, (const wasm_frame_t *))                                         \
    X(size_t, wasm_frame_module_offset, (const wasm_frame_t *))                                        \
    X(void, wasm_frame_vec_delete, (wasm_frame_vec_t *))                                               \
    X(void, wasm_byte_vec_delete, (wasm_byte_vec_t *))                                                 \
    X(wasm_valtype_t *, wasm_valtype_new, (uint8_t))                                                   \
    X(wasm_valtype_t *, wasmtime_wasm_valtype_v128, (void))                                            \
    X(bool, wasmtime_wasm_valtype_equal, (const wasm_valtype_t *, const wasm_valtype_t *))             \
    X(void, wasm_valtype_delete, (wasm_valtype_t *))                                                   \
    X(void, wasm_valtype_vec_new_empty, (wasm_valtype_vec_t *))                                        \
    X(wasm_functype_t *, wasm_functype_new, (wasm_valtype_vec_t *, wasm_valtype_vec_t *))              \
    X(void, wasm_functype_delete, (wasm_functype_t *))                                                 \
    X(const wasm_valtype_vec_t *, wasm_functype_params, (const wasm_functype_t *))                     \
    X(const wasm_valtype_vec_t *, wasm_functype_results, (const wasm_functype_t *))                    \
    X(const wasm_valtype_t *, wasm_globaltype_content, (const wasm_globaltype_t *))                    \
    X(const wasm_valtype_t *, wasm_tabletype_element, (const wasm_tabletype_t *))                      \
    X(uint64_t, wasmtime_memorytype_minimum, (const wasm_memorytype_t *))                              \
    X(bool, wasmtime_memorytype_maximum, (const wasm_memorytype_t *, uint64_t *))                      \
    X(bool, wasmtime_memorytype_is64, (const wasm_memorytype_t *))                                     \
    X(bool, wasmtime_memorytype_isshared, (const wasm_memorytype_t *))                                 \
    X(uint8_t, wasm_externtype_kind, (const wasm_externtype_t *))                                      \
    X(const wasm_functype_t *, wasm_externtype_as_functype_const, (const wasm_externtype_t *))         \
    X(const wasm_globaltype_t *, wasm_externtype_as_globaltype_const, (const wasm_externtype_t *))     \
    X(const wasm_tabletype_t *, wasm_externtype_as_tabletype_const, (const wasm_externtype_t *))       \
    X(const wasm_memorytype_t *, wasm_externtype_as_memorytype_const, (const wasm_externtype_t *))     \
    X(const wasm_byte_vec_t *, wasm_importtype_module, (const wasm_importtype_t *))                    \
    X(const wasm_byte_vec_t *, wasm_importtype_name, (const wasm_importtype_t *))                      \
    X(const wasm_externtype_t *, wasm_importtype_type, (const wasm_importtype_t *))                    \
    X(void, wasm_importtype_vec_delete, (wasm_importtype_vec_t *))                                     \
    X(const wasm_byte_vec_t *, wasm_exporttype_name, (const wasm_exporttype_t *))                      \
    X(const wasm_externtype_t *, wasm_exporttype_type, (const wasm_exporttype_t *))                    \
    X(void, wasm_exporttype_vec_delete, (wasm_exporttype_vec_t *))

typedef struct {
    void *library;               /* dlopen handle; never closed, code of it may still be on a stack */
#define X(result, name, parameters) result(*name) parameters;
    BLITZ_WASMTIME_FUNCTIONS(X)
#undef X
} blitz_wasmtime;

/* The bound address table: the one global of this directory. Written once by blitz_wasmtime_open. */
extern blitz_wasmtime blitz_wt;

/* Open the library and bind every function. 0, or -1 with one sentence in error. Idempotent. */
int blitz_wasmtime_open(const char *path, char *error, size_t error_cap);

/* Put the message of a wasmtime error into text as one line (causes joined by ": ") and free the error. */
void blitz_wasmtime_explain(wasmtime_error_t *error, char *text, size_t cap);
#endif
