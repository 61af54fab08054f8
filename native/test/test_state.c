/* The state door: what a guest's calls (host_state.c) make of each answer that an operation can give, with a state that
 * answers as the test says; and operations that are waited for. wasmtime is stood in for. */
#include "../fault.h"
#include "../host_calls.h"
#include "../state.h"
#include "guard.h"

enum { STORE = 7, MEMORY = 256 };
static blitz_instance instance;
static uint8_t memory[MEMORY];
static char a_trap;

static wasmtime_context_t *caller_context(wasmtime_caller_t *caller) { return (wasmtime_context_t *)caller; }
static void *get_data(const wasmtime_context_t *context) { (void)context; return &instance; }
static size_t data_size(const wasmtime_context_t *context, const wasmtime_memory_t *at) { (void)context, (void)at; return MEMORY; }
static wasm_trap_t *trap_new(const char *message, size_t len) { (void)message, (void)len; return (wasm_trap_t *)&a_trap; }
static void frames_delete(wasm_frame_vec_t *frames) { (void)frames; }

/* ---------------------------------------------------------------- the double */

enum { TICKET = 4711 };
static struct {
    blitz_state state;               /* first */
    int rc;                          /* what operations come to ... */
    int pending;                     /* ... after so many times that they were pending */
    int64_t number;
    const char *value;
    int asked, resumed, forgotten;
    uint8_t key[1024];
    size_t key_len;
} twin;

static int answer(blitz_state_result *result)
{
    if (twin.pending > 0) {
        twin.pending--;
        result->ticket = TICKET;
        return BLITZ_PENDING;
    }
    result->number = twin.number;
    result->len = twin.value != NULL ? strlen(twin.value) : 0;
    if (result->len > 0 && result->len <= sizeof result->value)
        memcpy(result->value, twin.value, result->len);
    return twin.rc;
}
static int ask(blitz_state *state, const uint8_t *key, size_t len, blitz_state_result *result)
{
    MUST(state == &twin.state, "another state");
    twin.asked++;
    twin.key_len = len;
    memcpy(twin.key, key, len);
    return answer(result);
}
static int take_token(blitz_state *state, const uint8_t *key, size_t len, uint64_t interval, uint32_t burst,
                      uint64_t now_us, blitz_state_result *result)
{
    MUST(interval == 1000000000 && burst == 5 && now_us > 0, "%llu %u", (unsigned long long)interval, burst);
    return ask(state, key, len, result);
}
static int add(blitz_state *state, const uint8_t *key, size_t len, int64_t delta, int64_t ttl_ms, uint64_t now_us,
               blitz_state_result *result)
{
    MUST(delta == -3 && ttl_ms == 9 && now_us > 0, "%lld", (long long)delta);
    return ask(state, key, len, result);
}
static int set(blitz_state *state, const uint8_t *key, size_t len, const uint8_t *value, size_t value_len,
               int64_t ttl_ms, uint64_t now_us, blitz_state_result *result)
{
    MUST(value_len == 5 && memcmp(value, "value", 5) == 0 && ttl_ms == 9 && now_us > 0, "value");
    return ask(state, key, len, result);
}
static int get(blitz_state *state, const uint8_t *key, size_t len, uint64_t now_us, blitz_state_result *result)
{
    MUST(now_us > 0, "time");
    return ask(state, key, len, result);
}
static int resume(blitz_state *state, uint64_t ticket, blitz_state_result *result)
{
    MUST(state == &twin.state && ticket == TICKET, "ticket %llu", (unsigned long long)ticket);
    twin.resumed++;
    return answer(result);
}
static void forget(blitz_state *state, uint64_t ticket)
{
    MUST(state == &twin.state && ticket == TICKET, "ticket %llu", (unsigned long long)ticket);
    twin.forgotten++;
}
static const blitz_state_operations OPERATIONS = {take_token, add, set, get, resume, forget};

/* ---------------------------------------------------------------- a guest's calls */

enum { TAKE, ADD, SET, GET, CALLS };
static const char *const NAMES[CALLS] = {"rate_limit", "kv_incr", "kv_set", "kv_get"};

static const blitz_host_function *function_named(const char *name)
{
    for (uint32_t i = 0; i < blitz_host_n(); i++)
        if (strcmp(blitz_host_at(i).name, name) == 0)
            return blitz_host_function_at(i);
    MUST(false, "no %s", name);
    return NULL;
}

/* Memory: "key" at 0, "value" at 8; a value is given at 64. -> whether it trapped. */
static bool call(int which, int64_t *result)
{
    const blitz_host_function *function = function_named(NAMES[which]);
    blitz_binding binding = {.plugin = instance.plugin, .how = BLITZ_BIND_PLAIN, .bound = true, .function = function};
    wasmtime_val_raw_t slots[5] = {{.i64 = 0}, {.i64 = 3}};
    if (which == TAKE)
        slots[2].i32 = 60, slots[3].i32 = 5;
    else if (which == ADD)
        slots[2].i64 = -3, slots[3].i64 = 9;
    else if (which == SET)
        slots[2].i64 = 8, slots[3].i64 = 5, slots[4].i64 = 9;
    else
        slots[2].i64 = 64, slots[3].i64 = 64;
    memcpy(memory, "key", 3);
    memcpy(memory + 8, "value", 5);
    instance.faulted = false;
    bool trapped = function->call(&binding, (wasmtime_caller_t *)&a_trap, slots, 5) != NULL;
    *result = which == TAKE || which == GET ? slots[0].i32 : slots[0].i64;
    return trapped;
}

static void begin(int rc, int pending)
{
    memset(&twin, 0, sizeof twin);
    twin.state.operations = &OPERATIONS;
    twin.rc = rc;
    twin.pending = pending;
}

static void must_fault(int which, const char *sentence)
{
    int64_t result;
    MUST(call(which, &result) && instance.faulted, "%s went on", NAMES[which]);
    MUST(strncmp(instance.fault->message, NAMES[which], strlen(NAMES[which])) == 0 &&
         strstr(instance.fault->message, sentence) != NULL, "%s: %s", NAMES[which], instance.fault->message);
}

static void test_answers(void)
{
    int64_t result;
    for (int which = 0; which < CALLS; which++) {
        begin(0, 0);
        twin.number = -1500;
        twin.value = "found";
        MUST(!call(which, &result), "%s", NAMES[which]);
        MUST(which == SET || result == (which == GET ? 5 : -1500), "%s gave %lld", NAMES[which], (long long)result);
        MUST(which != GET || memcmp(memory + 64, "found", 5) == 0, "the value");
        MUST(twin.asked == 1 && twin.key_len == 9 && memcmp(twin.key, "space\0key", 9) == 0, "the key of %s", NAMES[which]);
    }
    begin(BLITZ_E_DECLINED, 0);
    MUST(!call(GET, &result) && result == -1, "a key that is not there gave %lld", (long long)result);
}

static void test_refusals(void)
{
    static const struct { int which, rc; const char *sentence; } CASES[] = {
        {ADD, BLITZ_E_SYNTAX, "no decimal number"}, {SET, BLITZ_E_LIMIT, "longer than 256"},
        {TAKE, BLITZ_E_STATE, "cannot be had now"}, {ADD, BLITZ_E_STATE, "cannot be had now"},
        {SET, BLITZ_E_STATE, "cannot be had now"},  {GET, BLITZ_E_STATE, "cannot be had now"},
    };
    for (size_t i = 0; i < sizeof CASES / sizeof *CASES; i++) {
        begin(CASES[i].rc, 0);
        must_fault(CASES[i].which, CASES[i].sentence);
    }
    instance.plugin->state = NULL;
    must_fault(GET, "was given no shared state");
    instance.plugin->state = &twin.state;
}

/* A guest cannot be left inside a host function: its call ends, and nobody is left waiting for the operation. */
static void test_pending(void)
{
    for (int which = 0; which < CALLS; which++) {
        begin(0, 1);
        must_fault(which, "did not answer at once");
        MUST(twin.forgotten == 1 && twin.resumed == 0, "%s: forgotten %d times", NAMES[which], twin.forgotten);
    }
}

/* ---------------------------------------------------------------- who can wait */

static int patience;
static bool wait_for(void *env, uint64_t ticket)
{
    MUST(env == &patience && ticket == TICKET, "ticket %llu", (unsigned long long)ticket);
    return patience-- > 0;
}

static void test_waiting(void)
{
    for (int pending = 0; pending < 4; pending++)
        for (int most = 0; most < 4; most++) {
            blitz_state_result result;
            begin(BLITZ_E_SYNTAX, pending);
            patience = most;
            int first = get(&twin.state, (const uint8_t *)"k", 1, 1, &result);
            int rc = blitz_state_settle(&twin.state, first, &result, wait_for, &patience);
            bool in_time = most >= pending;
            MUST(rc == (in_time ? BLITZ_E_SYNTAX : BLITZ_PENDING), "%d after %d: %d", pending, most, rc);
            MUST(twin.resumed == (in_time ? pending : most) && twin.forgotten == !in_time, "%d %d", twin.resumed, twin.forgotten);
        }
}

int main(void)
{
    static blitz_plugin plugin;
    static char name[] = "space";
    blitz_wt.wasmtime_caller_context = caller_context;
    blitz_wt.wasmtime_context_get_data = get_data;
    blitz_wt.wasmtime_memory_data_size = data_size;
    blitz_wt.wasmtime_trap_new = trap_new;
    blitz_wt.wasm_frame_vec_delete = frames_delete;
    plugin.name = plugin.namespace = name;
    plugin.state = &twin.state;
    instance.plugin = &plugin;
    instance.has_exports = instance.running = true;
    instance.enter.store_id = instance.memory.of.store_id = STORE;
    instance.memory_base = memory;
    test_answers();
    test_refusals();
    test_pending();
    test_waiting();
    free(instance.fault);
    puts("test_state: ok");
    return 0;
}
