/* Invariant: in whatever order guests are made, called, left at the end of a slice, gone on with, cancelled and dropped,
 * on the engine's own stack and on fibers beside it, each call ends as its guest says, and the process goes on.
 *
 * Real guests, which wasmtime runs: WASMTIME_LIBRARY is the path of its library. What a guest does is the target of the
 * request that it is called with.
 *
 *   stress_guests OPERATIONS [SEED]
 */
#include "../guest.h"
#include "guard.h"
#include <dlfcn.h>
#include <string.h>

enum { GUESTS = 20, ERROR_SIZE = 1024, MEMORY_LIMIT = 8 * 65536 };

/* $spin keeps a sum of doubles beside one of integers: both must be right however often it was left. The allocator
 * spins too: it runs nested in the host's lending of arguments, and in the host function with a string result. */
static const char MODULE[] =
    "(module"
    "  (import \"blitz\" \"get_header\" (func $get (param i32 i32 i32 i32) (result i32)))"
    "  (import \"wbg\" \"get_header\" (func $get_string (param i32 i32 i32)))"
    "  (memory (export \"memory\") 1)"
    "  (global $heap (mut i32) (i32.const 4096))"
    "  (global $slow (mut i32) (i32.const 0))"
    "  (data (i32.const 0) \"host\")"
    "  (func $spin (param $n i32) (result i32) (local $i i32) (local $sum i32) (local $real f64)"
    "    (loop $again"
    "      (local.set $i (i32.add (local.get $i) (i32.const 1)))"
    "      (local.set $sum (i32.add (local.get $sum) (local.get $i)))"
    "      (local.set $real (f64.add (local.get $real) (f64.convert_i32_s (local.get $i))))"
    "      (br_if $again (i32.lt_u (local.get $i) (local.get $n))))"
    "    (i32.and (i32.eq (local.get $i) (local.get $n))"
    "      (f64.eq (local.get $real) (f64.div (f64.mul (f64.convert_i32_s (local.get $n))"
    "        (f64.add (f64.convert_i32_s (local.get $n)) (f64.const 1))) (f64.const 2)))))"
    "  (func $deep (param i32) (result i32) (i32.add (i32.const 1) (call $deep (local.get 0))))"
    "  (func (export \"blitz_alloc\") (param $n i32) (result i32)"
    "    (if (global.get $slow) (then (if (i32.eqz (call $spin (global.get $slow))) (then unreachable))))"
    "    (if (i32.gt_u (global.get $heap) (i32.const 60000)) (then (global.set $heap (i32.const 4096))))"
    "    (global.set $heap (i32.add (global.get $heap) (local.get $n)))"
    "    (i32.sub (global.get $heap) (local.get $n)))"
    "  (func $start @)"
    "  (func (export \"process_request\") (param $m i32) (param $ml i32) (param $p i32) (param $pl i32) (result i32)"
    "    (local $what i32) (local $n i32)"
    "    (local.set $what (i32.load8_u offset=1 (local.get $p)))"
    "    (local.set $n (i32.mul (i32.sub (i32.load8_u offset=2 (local.get $p)) (i32.const 47)) (i32.const 100000)))"
    "    (if (i32.eq (local.get $what) (i32.const 115)) (then"                                         /* s */
    "      (return (i32.sub (call $spin (local.get $n)) (i32.const 1)))))"
    "    (if (i32.eq (local.get $what) (i32.const 116)) (then unreachable))"                           /* t */
    "    (if (i32.eq (local.get $what) (i32.const 111)) (then"                                         /* o */
    "      (return (i32.load (i32.const -16)))))"
    "    (if (i32.eq (local.get $what) (i32.const 100)) (then (return (call $deep (i32.const 0)))))"   /* d */
    "    (if (i32.eq (local.get $what) (i32.const 108)) (then (loop $l (br $l))))"                     /* l */
    "    (if (i32.eq (local.get $what) (i32.const 103)) (then (drop (memory.grow (i32.const 1)))))"    /* g */
    "    (if (i32.eq (local.get $what) (i32.const 97)) (then"                                          /* a */
    "      (global.set $slow (local.get $n))"
    "      (call $get_string (i32.const 64) (i32.const 0) (i32.const 4))"
    "      (global.set $slow (i32.const 0))"
    "      (if (i32.ne (i32.load (i32.const 68)) (i32.const 9)) (then unreachable))))"
    "    (i32.sub (call $get (i32.const 0) (i32.const 4) (i32.const 128) (i32.const 64)) (i32.const 9))))";

/* What a start section does; the last two never come to a good end. */
static const char PLACE[] = " @)";
static const char *const STARTS[] = {
    ") (func $never",
    ") (start $start",
    "(loop $l (br $l))) (start $start",
    "unreachable) (start $start",
};
enum { PLUGINS = 4, GOOD_STARTS = 2, ENDLESS_START = 2 };

typedef struct {
    blitz_instance *instance;
    blitz_exchange *exchange;
    int plugin;
    char job;                     /* the call in progress, or the last one; 0: its start */
    bool pending, over;           /* it has failed, or was cleaned up */
} guest;

static blitz_engine *engine;
static blitz_plugin *plugins[PLUGINS];
static guest guests[GUESTS];
static struct { uint64_t calls, own, left, faults, cancels; } counted;
static char error[ERROR_SIZE];

/* ---------------------------------------------------------------- the plugins */

static wasm_byte_vec_t assemble(const char *start)
{
    typedef wasmtime_error_t *(*wat2wasm)(const char *, size_t, wasm_byte_vec_t *);
    static char text[8192];
    wasm_byte_vec_t wasm;
    void *address = dlsym(blitz_wt.library, "wasmtime_wat2wasm");
    MUST(address != NULL, "no wasmtime_wat2wasm");
    wat2wasm convert;
    memcpy(&convert, &address, sizeof convert);
    const char *at = strstr(MODULE, PLACE);
    size_t before = (size_t)(at - MODULE);
    snprintf(text, sizeof text, "%.*s %s)%s", (int)before, MODULE, start, at + strlen(PLACE));
    wasmtime_error_t *failed = convert(text, strlen(text), &wasm);
    if (failed != NULL)
        blitz_wasmtime_explain(failed, error, sizeof error);
    MUST(failed == NULL, "%s", error);
    return wasm;
}

static uint32_t row_of(const char *name)
{
    uint32_t row = 0;
    while (strcmp(blitz_host_at(row).name, name) != 0)
        row++;
    return row;
}

static blitz_plugin *load(const char *start)
{
    static const blitz_plugin_limits limits = {
        .max_memory_size = MEMORY_LIMIT, .max_table_elements = 10, .max_edits_size = 1000, .max_edits = 4,
        .max_log_size = 1000, .log_lines_per_second = 10, .log_burst = 10};
    wasm_byte_vec_t wasm = assemble(start);
    blitz_module *module = blitz_module_compile(engine, (uint8_t *)wasm.data, wasm.size, error, sizeof error);
    MUST(module != NULL, "%s", error);
    blitz_wt.wasm_byte_vec_delete(&wasm);
    blitz_plugin *plugin = blitz_plugin_new(module, "stress", &limits);
    MUST(plugin != NULL && blitz_plugin_speak(plugin, "blitz/1") == 0, "plugin");
    MUST(blitz_plugin_bind(plugin, 0, BLITZ_BIND_PLAIN, row_of("get_header")) == 0, "bind");
    MUST(blitz_plugin_bind(plugin, 1, BLITZ_BIND_BINDGEN, row_of("get_header")) == 0, "bind");
    MUST(blitz_plugin_use_export(plugin, BLITZ_X_MEMORY, 0) == 0, "memory");
    MUST(blitz_plugin_use_export(plugin, BLITZ_X_ALLOC, 1) == 0, "alloc");
    MUST(blitz_plugin_use_export(plugin, BLITZ_X_REQUEST, 2) == 0, "request");
    MUST(blitz_plugin_link(plugin, error, sizeof error) == 0, "%s", error);
    return plugin;
}

static void open_all(void)
{
    const char *library = getenv("WASMTIME_LIBRARY");
    MUST(library != NULL && library[0] != 0, "WASMTIME_LIBRARY names no library");
    blitz_engine_options options = {.max_instances = GUESTS, .max_memory_size = MEMORY_LIMIT,
                                    .keep_resident_size = 32768, .tick_us = 100};
    engine = blitz_engine_new(library, &options, error, sizeof error);
    MUST(engine != NULL, "%s", error);
    for (int i = 0; i < PLUGINS; i++)
        plugins[i] = load(STARTS[i]);
    for (int i = 0; i < GUESTS; i++)
        guests[i].exchange = blitz_exchange_new();
}

static void close_all(void)
{
    for (int i = 0; i < GUESTS; i++) {
        blitz_instance_free(guests[i].instance);
        blitz_exchange_free(guests[i].exchange);
    }
    MUST(engine->live == 0 && engine->own_stack.instance == NULL, "something is left");
    for (int i = 0; i < PLUGINS; i++) {
        blitz_module *module = plugins[i]->module;
        blitz_plugin_free(plugins[i]);
        blitz_module_free(module);
    }
    blitz_engine_free(engine);
}

/* ---------------------------------------------------------------- the operations */

static void must_be_sound(const guest *g)
{
    const blitz_instance *instance = g->instance;
    if (instance->state == BLITZ_STATE_READY)
        MUST(instance->memory_base == blitz_wt.wasmtime_memory_data(instance->context, &instance->memory),
             "the memory has moved");
}

static bool must_fail(const guest *g)
{
    return g->job == 0 ? g->plugin >= GOOD_STARTS : strchr("tod", g->job) != NULL;
}

/* A call or a slice of it came back with that. */
static void came_back(guest *g, int code)
{
    counted.left += code == BLITZ_PENDING;
    g->pending = code == BLITZ_PENDING;
    if (g->pending)
        return;
    MUST(g->job != 'l', "an endless loop ended with %d", code);
    if (must_fail(g)) {
        blitz_fault fault = blitz_instance_fault(g->instance);
        MUST(code == BLITZ_FAULT && fault.kind == BLITZ_FAULT_TRAP, "job %c of %d: %d, a fault of kind %d", g->job,
             g->plugin, code, fault.kind);
        counted.faults++;
        g->over = true;
    } else
        MUST(code == BLITZ_V_CONTINUE, "job %c of %d: %d, %s", g->job, g->plugin, code,
             blitz_instance_fault(g->instance).message);
    must_be_sound(g);
}

static void make(guest *g, uint64_t chance)
{
    g->plugin = chance % 8 < 6 ? (int)(chance % 2) : (int)(chance % 4);
    g->instance = blitz_instance_new(plugins[g->plugin], error, sizeof error);
    MUST(g->instance != NULL, "%s", error);
    g->job = 0;
    g->over = false;
    came_back(g, blitz_call_start(g->instance));
}

static void call(guest *g, uint64_t chance)
{
    static const char JOBS[] = "qqqqqqqqqqqqqqqqqqssssssaaatodlg";
    char target[] = "/.0";
    target[1] = g->job = JOBS[chance % (sizeof JOBS - 1)];
    target[2] = (char)('0' + chance / 64 % 10);
    blitz_exchange_reset(g->exchange);
    blitz_head *head = g->exchange->request;
    MUST(blitz_head_start_request(head, (const uint8_t *)"GET", 3, (const uint8_t *)target, 3, 1) == 0, "head");
    MUST(blitz_head_add(head, (const uint8_t *)"host", 4, (const uint8_t *)"a.example", 9) == 0, "host");
    MUST(blitz_head_check(head, NULL, 0) == 0, "check");
    bool was_free = engine->own_stack.instance == NULL;
    int code = blitz_call_request(g->instance, g->exchange);
    MUST(!g->instance->on_own_stack || was_free, "two on one stack");
    counted.calls++;
    counted.own += was_free;
    came_back(g, code);
}

static void end(guest *g)
{
    blitz_instance_free(g->instance);
    g->instance = NULL;
    g->pending = false;
}

static void step(guest *g, uint64_t chance)
{
    uint64_t percent = chance % 100, more = chance / 100;
    if (g->instance == NULL)
        make(g, more);
    else if (g->over)
        end(g);
    else if (!g->pending) {
        if (percent < 5)
            end(g);
        else
            call(g, more);
    } else if (percent < 3) {
        counted.cancels++;
        blitz_call_cancel(g->instance);
        MUST(blitz_instance_fault(g->instance).kind == BLITZ_FAULT_CANCELLED, "cancelled");
        end(g);
    } else if (percent < 6) {
        counted.cancels++;
        blitz_call_time_out(g->instance);
        blitz_fault fault = blitz_instance_fault(g->instance);
        MUST(fault.kind == BLITZ_FAULT_CANCELLED, "job %c: %s", g->job, fault.message);
        /* A start that was at its end when it was timed out had no frames any more. */
        MUST(fault.frames[0] != 0 || (g->job == 0 && g->plugin != ENDLESS_START), "no frames of job %c", g->job);
        end(g);
    } else if (percent < 9)
        end(g);
    else
        came_back(g, blitz_call_resume(g->instance));
}

/* One in four times the guest that is on the own stack, so that others come there too. */
static guest *choose(uint64_t chance)
{
    for (int i = 0; i < GUESTS && chance % 4 == 0; i++)
        if (guests[i].instance != NULL && guests[i].instance == engine->own_stack.instance)
            return &guests[i];
    return &guests[chance / 4 % GUESTS];
}

int main(int n, char **arguments)
{
    MUST(n > 1, "stress_guests OPERATIONS [SEED]");
    long operations = atol(arguments[1]);
    uint64_t state = n > 2 ? strtoull(arguments[2], NULL, 10) : 1;
    open_all();
    for (long i = 0; i < operations; i++) {
        guest *g = choose(next_random(&state) >> 8);
        step(g, next_random(&state) >> 8);
    }
    close_all();
    MUST(counted.own > 0 && counted.own < counted.calls && counted.left > 0, "only one kind of stack was used");
    printf("stress_guests: %ld operations, %llu calls, %llu of them on the own stack; left %llu times, %llu faults, "
           "%llu cancelled\n", operations, (unsigned long long)counted.calls, (unsigned long long)counted.own,
           (unsigned long long)counted.left, (unsigned long long)counted.faults, (unsigned long long)counted.cancels);
    return 0;
}
