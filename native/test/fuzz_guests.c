/* Invariant: whatever a guest does in its start section, its start functions, its hooks, its getters, its allocator
 * and its cleanup, and in whatever order instances are made, called, cancelled and freed, each call ends as its
 * header says, with a reason when it fails, and the process goes on.
 *
 * wasmtime runs the guests: WASMTIME_LIBRARY is the path of its library. Each input is a module
 * (random_module.h) and the order of what the host does with instances of it.
 */
#include "head_invariants.h"
#include "random_module.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum { INSTANCES = 3, MOST_STEPS = 128, MEMORY_LIMIT = 5 * 65536, ERROR_SIZE = 1024 };

typedef struct { blitz_instance *instance; blitz_exchange *exchange; bool failed; } guest;
static struct {
    blitz_engine *engine;
    blitz_shared *shared;
    blitz_module *module;
    blitz_plugin *plugin;
    guest guests[INSTANCES];
    char error[ERROR_SIZE];
} t;

/* Made with the first input, and not before: the sanitizer's handlers are there then, and wasmtime's go before. */
static void begin(void)
{
    const char *library = getenv("WASMTIME_LIBRARY");
    MUST(library != NULL, "WASMTIME_LIBRARY names no library");
    blitz_engine_options options = {.max_instances = INSTANCES, .max_memory_size = MEMORY_LIMIT,
                                    .keep_resident_size = 32768, .tick_us = 100};
    t.engine = blitz_engine_new(library, &options, t.error, sizeof t.error);
    MUST(t.engine != NULL, "%s", t.error);
    t.shared = blitz_shared_new(64);
    for (int i = 0; i < INSTANCES; i++)
        t.guests[i].exchange = blitz_exchange_new();
}

/* ---------------------------------------------------------------- the plugin */

static void load(const random_module *m)
{
    static const blitz_plugin_limits limits = {
        .max_memory_size = MEMORY_LIMIT, .max_table_elements = 1000, .max_edits_size = 2000, .max_edits = 40,
        .max_log_size = 1000, .log_lines_per_second = 1000000, .log_burst = 1000000};
    static const uint8_t text[] = "KEYvaluedotted.key";
    t.module = blitz_module_compile(t.engine, m->wasm.bytes, m->wasm.len, t.error, sizeof t.error);
    MUST(t.module != NULL, "the generator made no module: %s", t.error);
    t.plugin = blitz_plugin_new(t.module, "plugin", &limits);
    MUST(t.plugin != NULL && blitz_plugin_speak(t.plugin, "blitz/1") == 0, "plugin");
    for (uint32_t i = 0; i < m->n_imports; i++)
        MUST(blitz_plugin_bind(t.plugin, i, m->imports[i].how, m->imports[i].row) == 0, "import %u", i);
    uint32_t export = 0;
    for (int part = 0; part < BLITZ_X_COUNT; part++)
        if (m->parts[part].used)
            MUST(blitz_plugin_use_export(t.plugin, part, export++) == 0, "part %d", part);
    MUST(blitz_plugin_grant_env(t.plugin, text, 3, text + 3, 5) == 0, "env");
    MUST(blitz_plugin_set_config(t.plugin, text, 0, text, 18) == 0, "config");
    MUST(blitz_plugin_set_config(t.plugin, text + 8, 10, text + 3, 5) == 0, "config");
    blitz_plugin_set_state(t.plugin, blitz_shared_state(t.shared));
    MUST(blitz_plugin_grant_upstream(t.plugin, text, 3) == 0, "upstream");
    if (m->wasm.len % 2 == 0)                    /* the others run on the own stack, and may not wait */
        blitz_plugin_may_wait(t.plugin);
    MUST(blitz_plugin_link(t.plugin, t.error, sizeof t.error) == 0, "%s", t.error);
}

/* ---------------------------------------------------------------- calls */

static void fill(blitz_exchange *exchange, uint8_t what)
{
    static uint8_t body[3000];
    const uint8_t *target = (const uint8_t *)"/path?q=1", *method = (const uint8_t *)"GET";
    blitz_exchange_reset(exchange);
    MUST(blitz_head_start_request(exchange->request, method, 3, target, 9, 1) == 0, "request");
    MUST(blitz_head_add(exchange->request, (const uint8_t *)"Host", 4, (const uint8_t *)"a.example", 9) == 0, "host");
    MUST(blitz_head_add(exchange->request, (const uint8_t *)"X", 1, (const uint8_t *)"\xff\xfe", 2) == 0, "field");
    MUST(blitz_head_check(exchange->request, NULL, 0) == 0, "check");
    MUST(blitz_head_start_response(exchange->response, 200, NULL, 0, 1) == 0, "response");
    MUST(blitz_head_check(exchange->response, method, 3) == 0, "check");
    memset(body, what & 1 ? 0xff : 'b', sizeof body);
    exchange->body = (blitz_text){body, what * 11u};
}

static void must_be_sound(guest *guest, int code)
{
    blitz_fault fault = blitz_instance_fault(guest->instance);
    MUST(code >= 0 || code == BLITZ_PENDING || code == BLITZ_FAULT || code == BLITZ_E_STATE, "code %d", code);
    MUST(strlen(fault.message) < 640 && strlen(fault.frames) < 4096 && strlen(fault.hook) < 32, "fault");
    if (code == BLITZ_FAULT)
        MUST(fault.kind != 0 && fault.message[0] != 0, "a fault without a reason (kind %d)", fault.kind);
    MUST(blitz_instance_memory_size(guest->instance) <= MEMORY_LIMIT, "memory");
    if (code != BLITZ_PENDING) {
        head_must_be_clean(guest->exchange->request);
        head_must_be_clean(guest->exchange->response);
    }
}

/* What a guest waits for has come, or has not. */
static void answer(blitz_instance *instance, uint8_t how)
{
    const blitz_fetch *fetch = blitz_call_fetch(instance);
    if (fetch != NULL && how % 2 == 0) {
        head_must_be_clean(fetch->exchange->request);
        MUST(blitz_head_start_response(fetch->exchange->response, 200, NULL, 0, 1) == 0, "response");
        MUST(blitz_head_add(fetch->exchange->response, (const uint8_t *)"KEY", 3, (const uint8_t *)"v", 1) == 0, "field");
        MUST(blitz_fetch_keep(instance, (const uint8_t *)"a body", how % 7) == 0, "kept");
    }
    blitz_call_answer(instance, how);
}

static void step(guest *guest, source *in)
{
    uint8_t what = take_byte(in) % 16;
    int code;
    if (guest->instance == NULL) {
        guest->instance = blitz_instance_new(t.plugin, t.error, sizeof t.error);
        MUST(guest->instance != NULL, "%s", t.error);
        guest->failed = false;
        fill(guest->exchange, what);
    }
    switch (what) {
    case 0: case 1:
        code = blitz_call_start(guest->instance);
        break;
    case 2: case 3: case 4: case 5:
        code = blitz_call_request(guest->instance, guest->exchange);
        break;
    case 6: case 7: case 8:
        code = blitz_call_response(guest->instance, guest->exchange);
        break;
    case 9:
        code = blitz_call_cleanup(guest->instance);
        break;
    case 10:
        if (blitz_instance_id(guest->instance) % 2)
            blitz_call_time_out(guest->instance);
        else
            blitz_call_cancel(guest->instance);
        code = BLITZ_E_STATE;
        break;
    case 11:
        blitz_instance_free(guest->instance);
        guest->instance = NULL;
        return;
    case 12:
        blitz_instance_take_log(guest->instance);
        code = BLITZ_E_STATE;
        break;
    case 13:
        answer(guest->instance, take_byte(in));
        code = blitz_call_resume(guest->instance);
        break;
    default:
        code = blitz_call_resume(guest->instance);
    }
    for (int slices = what & 3; code == BLITZ_PENDING && slices > 0; slices--)
        code = blitz_call_resume(guest->instance);
    must_be_sound(guest, code);
    MUST(!guest->failed || code == BLITZ_E_STATE, "a call of a poisoned instance");
    guest->failed = guest->failed || code == BLITZ_FAULT || what == 10;
}

static void end(void)
{
    for (int i = 0; i < INSTANCES; i++) {
        blitz_instance_free(t.guests[i].instance);
        t.guests[i].instance = NULL;
    }
    blitz_engine_stats stats;
    blitz_engine_statistics(t.engine, &stats);
    MUST(stats.instances_live == 0 && stats.memory_bytes == 0, "instances left");
    blitz_plugin_free(t.plugin);
    blitz_module_free(t.module);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const uint8_t start[] = {0};
    static random_module module;
    if (t.engine == NULL)
        begin();
    size_t n_steps = size / 4 < MOST_STEPS ? size / 4 : MOST_STEPS;   /* two bytes each, from the end */
    source in = {data, data + size - n_steps}, steps = {data + size - n_steps, data + size};
    random_module_make(&module, &in);
    load(&module);
    for (int i = 0; i < INSTANCES; i++)               /* each begins with a start, so that much is reached */
        step(&t.guests[i], &(source){start, start + sizeof start});
    while (steps.at < steps.end)
        step(&t.guests[take_byte(&steps) % INSTANCES], &steps);
    end();
    return 0;
}
