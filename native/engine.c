/* engine.c: wasmtime's engine as Blitz wants it, and its clock.
 *
 * Pooling allocator: a fresh instance costs microseconds, and the number of slots bounds what guests can
 * take together. Epoch interruption: every loop head and function entry of a guest looks at a counter
 * that the ticker advances. An engine belongs to the process that made it: after fork its ticker is
 * not there and its locks are in an unknown state, so each worker makes its own.
 */
#include "store_call.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/random.h>
#include <errno.h>
#include <time.h>

static const uint32_t MAX_TABLES = 4;    /* of an instance; wasm-bindgen modules have two */
/* Of an instance: its linear memory, and the heap of whoever has a table or global of externrefs, which is
 * empty unless the plugin may have garbage-collected values. */
enum { MEMORIES = 2 };
/* In its store: itself, and one that has nothing but a function (blitz_store_pause). */
enum { INSTANCES = 2 };
/* Free slots that stay mapped for the module that used them last. Each keeps keep_resident_size resident,
 * also for modules that a reload has replaced: with wasmtime's 100 a gateway grew by a slot per reload for hours. */
static const uint32_t MAX_WARM_SLOTS = 32;

/* What wasmtime takes of each when it is not told. */
static const uint64_t RESERVATION = (uint64_t)4 << 30, GUARD = (uint64_t)32 << 20;
enum { TABLE_ELEMENTS = 20000, PAGE = 4096 };

static wasmtime_pooling_config_t *pooling(const blitz_engine_options *options)
{
    wasmtime_pooling_config_t *pool = blitz_wt.wasmtime_pooling_allocation_config_new();
    size_t keep = (size_t)options->keep_resident_size;
    uint32_t slots = options->max_instances;
    blitz_wt.wasmtime_pooling_allocation_config_total_core_instances_set(pool, slots * INSTANCES);
    blitz_wt.wasmtime_pooling_allocation_config_total_memories_set(pool, slots * MEMORIES);
    blitz_wt.wasmtime_pooling_allocation_config_total_gc_heaps_set(pool, slots);
    blitz_wt.wasmtime_pooling_allocation_config_max_unused_warm_slots_set(pool, MAX_WARM_SLOTS);
    blitz_wt.wasmtime_pooling_allocation_config_total_stacks_set(pool, slots);
    blitz_wt.wasmtime_pooling_allocation_config_total_tables_set(pool, slots * MAX_TABLES);
    blitz_wt.wasmtime_pooling_allocation_config_max_tables_per_module_set(pool, MAX_TABLES);
    blitz_wt.wasmtime_pooling_allocation_config_table_elements_set(pool, TABLE_ELEMENTS);
    blitz_wt.wasmtime_pooling_allocation_config_max_memory_size_set(pool, (size_t)options->max_memory_size);
    blitz_wt.wasmtime_pooling_allocation_config_linear_memory_keep_resident_set(pool, keep);
    blitz_wt.wasmtime_pooling_allocation_config_table_keep_resident_set(pool, 4096);
    return pool;
}

static wasm_engine_t *configure(const blitz_engine_options *options)
{
    wasm_config_t *config = blitz_wt.wasm_config_new();
    wasmtime_pooling_config_t *pool = pooling(options);
    blitz_wt.wasmtime_config_epoch_interruption_set(config, true);
    blitz_wt.wasmtime_config_wasm_threads_set(config, false);
    blitz_wt.wasmtime_config_max_wasm_stack_set(config, BLITZ_WASM_STACK);
    blitz_wt.wasmtime_config_async_stack_size_set(config, BLITZ_FIBER_STACK);
    if (options->reservation_size > 0) {
        /* The heap for garbage-collected values follows: the allocator has one size of slots for both. */
        blitz_wt.wasmtime_config_memory_reservation_set(config, options->reservation_size);
        blitz_wt.wasmtime_config_memory_guard_size_set(config, options->guard_size);
    }
    blitz_wt.wasmtime_pooling_allocation_strategy_set(config, pool);
    blitz_wt.wasmtime_pooling_allocation_config_delete(pool);
    return blitz_wt.wasm_engine_new_with_config(config);
}

blitz_slot_size blitz_engine_slot_size(const blitz_engine_options *options)
{
    uint64_t memory = options->reservation_size > 0 ? options->reservation_size + options->guard_size : RESERVATION + GUARD;
    uint64_t tables = (uint64_t)MAX_TABLES * TABLE_ELEMENTS * sizeof(void *);
    uint64_t data = BLITZ_FIBER_STACK + PAGE + (tables + PAGE - 1) / PAGE * PAGE;
    return (blitz_slot_size){MEMORIES * memory + data, data};
}

/* wasmtime ends the process when it cannot reserve what its slots need: so ask the kernel first. */
static bool can_reserve(const blitz_engine_options *options)
{
    size_t wanted = (size_t)(options->max_instances * blitz_engine_slot_size(options).address_space);
    void *area = mmap(NULL, wanted, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (area == MAP_FAILED)
        return false;
    munmap(area, wanted);
    return true;
}

static wasm_functype_t *nothing_to_nothing(void)
{
    wasm_valtype_vec_t parameters, results;
    blitz_wt.wasm_valtype_vec_new_empty(&parameters);
    blitz_wt.wasm_valtype_vec_new_empty(&results);
    return blitz_wt.wasm_functype_new(&parameters, &results);
}

blitz_engine *blitz_engine_new(const char *library, const blitz_engine_options *options,
                               char *error, size_t error_cap)
{
    /* With "1" here wasmtime reads a module's DWARF at every trap, for seconds when that is hostile; it looks
     * when the configuration is made. Our modules have none (blitz/wasm/sections.py), and it stays so. */
    setenv("WASMTIME_BACKTRACE_DETAILS", "0", 1);
    if (blitz_wasmtime_open(library, error, error_cap) != 0)
        return NULL;
    blitz_engine *engine = calloc(1, sizeof *engine);
    if (engine == NULL) {
        snprintf(error, error_cap, "out of memory");
        return NULL;
    }
    engine->options = *options;
    if (can_reserve(options))
        engine->wasm = configure(options);
    if (engine->wasm == NULL) {
        snprintf(error, error_cap, "cannot reserve address space for %u instances (%llu MiB each): "
                 "raise the limit of address space (ulimit -v) or lower the number of instances",
                 options->max_instances,
                 (unsigned long long)(blitz_engine_slot_size(options).address_space >> 20));
        free(engine);
        return NULL;
    }
    engine->enter_type = nothing_to_nothing();
    blitz_own_stack_open(&engine->own_stack, BLITZ_FIBER_STACK, blitz_store_run);
    int failed = blitz_ticker_start(&engine->ticker, engine->wasm, options->tick_us);
    if (failed != 0) {
        snprintf(error, error_cap, "cannot start the tick thread: %s", strerror(failed));
        blitz_engine_free(engine);
        return NULL;
    }
    return engine;
}

void blitz_engine_free(blitz_engine *engine)
{
    if (engine == NULL)
        return;
    blitz_ticker_stop(&engine->ticker);
    blitz_wt.wasm_functype_delete(engine->enter_type);
    if (engine->pause_pre != NULL)
        blitz_wt.wasmtime_instance_pre_delete(engine->pause_pre);
    if (engine->pause != NULL)
        blitz_wt.wasmtime_module_delete(engine->pause);
    blitz_wt.wasm_engine_delete(engine->wasm);
    blitz_own_stack_close(&engine->own_stack);
    free(engine);
}

void blitz_engine_statistics(const blitz_engine *engine, blitz_engine_stats *out)
{
    memset(out, 0, sizeof *out);
    out->ticks = atomic_load_explicit(&engine->ticker.ticks, memory_order_relaxed);
    out->parked = (uint8_t)atomic_load_explicit(&engine->ticker.parked, memory_order_relaxed);
    out->calls = engine->calls;
    out->pended = engine->pended;
    out->instances_live = engine->live;
    out->instances_made = engine->made;
    for (const blitz_instance *at = engine->instances; at != NULL; at = at->next)
        out->memory_bytes += blitz_instance_memory_size(at);
}

uint64_t blitz_monotonic_ns(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec;
}

int blitz_random(uint8_t *bytes, size_t len)
{
    while (len > 0) {
        ssize_t n = getrandom(bytes, len, 0);
        if (n < 0 && errno != EINTR)
            return -1;
        if (n > 0) {
            bytes += n;
            len -= (size_t)n;
        }
    }
    return 0;
}
