/* floor.c: what the call itself costs. The guest of the one-header job, called in a C loop with an
 * unchecked synchronous call of wasmtime's C API; host functions in C over a table of headers. No
 * fiber, no deadline, no edit log, no UTF-8 check, no Python: nothing can be under this.
 *
 *   floor LIBRARY WASM       then, per line "call SECONDS" on standard input, one line with the
 *                            nanoseconds per call
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <time.h>

typedef struct { size_t size; void *data; } vec;
typedef struct { uint64_t store; void *index; } func;
typedef struct { uint64_t store; size_t index; } instance;
typedef struct { struct { uint64_t store; uint32_t a; } of; uint32_t b; } memory;
typedef struct { uint8_t kind; union { func func; memory memory; uint64_t room[3]; } of; } item;
typedef union { int32_t i32; uint32_t u32; uint8_t v128[16]; } raw;
typedef void *(*host)(void *env, void *caller, raw *slots, size_t n);

#define FUNCTIONS(X) \
    X(void *, wasm_engine_new, (void)) \
    X(void *, wasmtime_module_new, (void *, const void *, size_t, void **)) \
    X(void *, wasmtime_store_new, (void *, void *, void *)) \
    X(void *, wasmtime_store_context, (void *)) \
    X(void *, wasmtime_linker_new, (void *)) \
    X(void *, wasmtime_linker_define_func_unchecked, \
      (void *, const char *, size_t, const char *, size_t, void *, host, void *, void *)) \
    X(void *, wasmtime_linker_instantiate, (void *, void *, void *, instance *, void **)) \
    X(bool, wasmtime_instance_export_get, (void *, const instance *, const char *, size_t, item *)) \
    X(void *, wasmtime_func_call_unchecked, (void *, const func *, raw *, size_t, void **)) \
    X(uint8_t *, wasmtime_memory_data, (void *, const memory *)) \
    X(size_t, wasmtime_memory_data_size, (void *, const memory *)) \
    X(void *, wasm_functype_new, (vec *, vec *)) \
    X(void, wasm_valtype_vec_new, (vec *, size_t, void *const *)) \
    X(void *, wasm_valtype_new, (uint8_t))
#define DECLARE(result, name, parameters) static result(*name) parameters;
FUNCTIONS(DECLARE)

static struct { const char *name, *value; size_t name_len, value_len; } headers[] = {
    { "host", "bench.example", 4, 13 }, { "user-agent", "blitz-bench", 10, 11 }, { "accept", "*/*", 6, 3 },
    { "x-user", "0123456789abcdef", 6, 16 },
};
static uint8_t *base, set[256];
static size_t size, set_len;

static void die(const char *what)
{
    fprintf(stderr, "floor: %s failed\n", what);
    exit(1);
}

static bool inside(uint32_t at, uint32_t len)
{
    return at <= size && len <= size - at;
}

static void *get_header(void *env, void *caller, raw *s, size_t n)
{
    (void)env, (void)caller, (void)n;
    uint32_t name = s[0].u32, name_len = s[1].u32, buf = s[2].u32, cap = s[3].u32;
    s[0].i32 = -1;
    if (!inside(name, name_len) || !inside(buf, cap)) die("bounds");
    for (size_t i = 0; i < sizeof headers / sizeof *headers; i++) {
        if (headers[i].name_len != name_len || strncasecmp(headers[i].name, (char *)base + name, name_len)) continue;
        memcpy(base + buf, headers[i].value, headers[i].value_len < cap ? headers[i].value_len : cap);
        s[0].u32 = (uint32_t)headers[i].value_len;
        break;
    }
    return NULL;
}

static void *set_header(void *env, void *caller, raw *s, size_t n)
{
    (void)env, (void)caller, (void)n;
    uint32_t name = s[0].u32, name_len = s[1].u32, value = s[2].u32, value_len = s[3].u32;
    if (!inside(name, name_len) || !inside(value, value_len) || name_len + value_len > sizeof set) die("bounds");
    memcpy(set, base + name, name_len);
    memcpy(set + name_len, base + value, value_len);
    set_len = name_len + value_len;
    return NULL;
}

static void bind(const char *library)
{
    void *handle = dlopen(library, RTLD_NOW | RTLD_LOCAL);
    if (!handle) die("dlopen");
#define BIND(result, name, parameters) \
    if (!(name = (result(*) parameters)dlsym(handle, #name))) die(#name);
    FUNCTIONS(BIND)
}

static vec read_file(const char *path)
{
    vec bytes = { 0, malloc(1 << 20) };
    FILE *file = fopen(path, "rb");
    if (!file || !bytes.data) die(path);
    bytes.size = fread(bytes.data, 1, 1 << 20, file);
    fclose(file);
    return bytes;
}

static void define(void *linker, const char *name, host call, size_t parameters, size_t results)
{
    void *types[4];
    vec in, out;
    for (size_t i = 0; i < parameters; i++) types[i] = wasm_valtype_new(0);
    wasm_valtype_vec_new(&in, parameters, types);
    if (results) types[0] = wasm_valtype_new(0);
    wasm_valtype_vec_new(&out, results, types);
    void *type = wasm_functype_new(&in, &out);
    if (wasmtime_linker_define_func_unchecked(linker, "blitz", 5, name, strlen(name), type, call, NULL, NULL)) die(name);
}

static double now(clockid_t clock)
{
    struct timespec t;
    clock_gettime(clock, &t);
    return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

static void call(void *context, const func *hook, unsigned times)
{
    for (unsigned i = 0; i < times; i++) {
        raw slots[4] = { { .u32 = 4096 }, { .u32 = 3 }, { .u32 = 4099 }, { .u32 = 1 } };
        void *trap = NULL;
        if (wasmtime_func_call_unchecked(context, hook, slots, 4, &trap) || trap || slots[0].i32) die("call");
    }
}

int main(int argc, char **argv)
{
    if (argc != 3) return 2;
    bind(argv[1]);
    vec wasm = read_file(argv[2]);
    void *engine = wasm_engine_new(), *module = NULL, *trap = NULL;
    if (wasmtime_module_new(engine, wasm.data, wasm.size, &module)) die("compile");
    void *context = wasmtime_store_context(wasmtime_store_new(engine, NULL, NULL)), *linker = wasmtime_linker_new(engine);
    define(linker, "get_header", get_header, 4, 1);
    define(linker, "set_header", set_header, 4, 0);
    instance guest;
    item hook, mem;
    if (wasmtime_linker_instantiate(linker, context, module, &guest, &trap) || trap) die("instantiate");
    if (!wasmtime_instance_export_get(context, &guest, "process_request", 15, &hook) ||
        !wasmtime_instance_export_get(context, &guest, "memory", 6, &mem)) die("exports");
    base = wasmtime_memory_data(context, &mem.of.memory);
    size = wasmtime_memory_data_size(context, &mem.of.memory);
    memcpy(base + 4096, "GET/", 4);
    call(context, &hook.of.func, 1);
    if (set_len != 24 || memcmp(set, "x-seen-10123456789abcdef", 24)) die("the guest's work");
    printf("ready\n");
    fflush(stdout);
    for (char line[64]; fgets(line, sizeof line, stdin);) {
        double seconds = atof(strchr(line, ' ') ? strchr(line, ' ') : "0"), begin = now(CLOCK_MONOTONIC);
        double cpu = now(CLOCK_PROCESS_CPUTIME_ID);      /* as loop.py: neighbours do not count */
        unsigned long calls = 0;
        do {
            call(context, &hook.of.func, 10000);
            calls += 10000;
        } while (now(CLOCK_MONOTONIC) - begin < seconds);
        printf("%.2f\n", (now(CLOCK_PROCESS_CPUTIME_ID) - cpu) / (double)calls * 1e9);
        fflush(stdout);
    }
    return 0;
}
