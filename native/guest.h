/* guest.h: the shapes that engine.c, module.c, plugin.c, guest.c and the host functions share.
 *
 * Who owns what: an engine outlives its modules, a module its plugins, a plugin its instances; each
 * keeps a borrowed pointer upwards. An instance owns one wasmtime store with one guest in it.
 *
 * How a call runs: on a stack that can be left, from a function of ours on: there C writes the arguments,
 * calls the hook, and frees, by nested synchronous calls into the guest. All of that is under the same epoch
 * clock: a nested call whose time slice ends leaves the stack, C frames included, and a later poll goes on
 * where it was. When the call is dropped instead, the nested call returns an error; our frames then return at
 * once. The stack is the engine's own (own_stack.h) if nobody is on it, else a fiber of wasmtime, whose
 * entry is a host function made once per store (enter() in guest.c). Only store_call.c knows which.
 */
#ifndef BLITZ_GUEST_H
#define BLITZ_GUEST_H
#include "blitz_native.h"
#include "own_stack.h"
#include "ticker.h"
#include "turn.h"
#include "wasmtime_api.h"

struct blitz_engine {
    wasm_engine_t *wasm;
    wasm_functype_t *enter_type;         /* () -> () */
    blitz_engine_options options;
    blitz_ticker ticker;
    blitz_turn turn;
    blitz_own_stack own_stack;           /* where a call runs if nobody is there */
    wasmtime_module_t *pause;            /* see blitz_store_pause; NULL until a plugin may wait */
    wasmtime_instance_pre_t *pause_pre;
    blitz_instance *instances;           /* list of the living, for statistics */
    uint64_t calls, pended, made, live;
    uint32_t slots_taken;                /* of options.max_instances */
};

struct blitz_module {
    blitz_engine *engine;
    wasmtime_module_t *wasm;
    wasm_importtype_vec_t imports;
    wasm_exporttype_vec_t exports;
    char **import_types, **export_types; /* owned strings, one each */
};

typedef struct blitz_abi blitz_abi;      /* abi.h */
typedef struct blitz_fetched blitz_fetched;   /* host_fetch.c */
typedef struct blitz_host_function blitz_host_function;
struct blitz_host_function {             /* a row of host_calls.def */
    blitz_host_row row;
    wasmtime_func_unchecked_callback_t call;
};
const blitz_host_function *blitz_host_function_at(uint32_t index);

typedef struct {                         /* env of a linked host function */
    blitz_plugin *plugin;
    uint32_t import;
    uint8_t how;                         /* BLITZ_BIND_* */
    bool bound;
    const blitz_host_function *function; /* NULL for BLITZ_BIND_TRAP and the externref table */
} blitz_binding;

/* How lines of one plugin, hook and level are spelt; bytes NULL: not known. */
typedef struct { const blitz_log_lines *lines; uint8_t *bytes; size_t len; bool json; } blitz_spelling;
enum { BLITZ_LOG_LEVELS = 5 };

typedef struct { uint32_t index; bool used; uint8_t parameters; } blitz_part;   /* of an export */
typedef struct { uint8_t *key; size_t key_len; uint8_t *value; size_t value_len; } blitz_pair;
typedef struct { blitz_pair *items; size_t n; } blitz_pairs;

struct blitz_plugin {
    blitz_engine *engine;
    blitz_module *module;
    const blitz_abi *abi;                /* how its hooks are entered, and what they say */
    char *name;
    size_t name_len;
    char *namespace;                     /* of its shared state; its name unless said otherwise */
    blitz_plugin_limits limits;
    wasmtime_instance_pre_t *pre;
    blitz_binding *bindings;             /* one per import */
    blitz_part parts[BLITZ_X_COUNT];
    blitz_pairs env, config;
    blitz_pairs upstreams;               /* that it may send requests to; without values */
    blitz_state *state;                  /* that its calls go to; borrowed; may be NULL */
    blitz_plugin_measures *measures;     /* the same */
    uint64_t log_tat_ns;                 /* rate limit of log lines: theoretical arrival time */
    uint64_t log_dropped;                /* lines dropped since somebody asked */
    uint64_t log_dropped_ns;             /* when the first of them was */
    uint32_t made, freed;                /* instances, and those of them that have ended */
    bool may_reroute;                    /* see blitz_plugin_allow_reroute */
    bool fine_clock;                     /* see blitz_plugin_allow_fine_clock */
    bool may_wait;                       /* see blitz_plugin_may_wait */
    bool goes_deep;                      /* one of them had used much of its stack */
    uint8_t changes;                     /* see blitz_plugin_set_changes */
    blitz_spelling spellings[2][BLITZ_LOG_LEVELS];   /* of request and response hooks: log_lines.c */
};
enum { BLITZ_STATE_NEW, BLITZ_STATE_PENDING, BLITZ_STATE_READY, BLITZ_STATE_ENDED, BLITZ_STATE_POISONED };
enum { BLITZ_HOOK_NONE, BLITZ_HOOK_INSTANTIATE, BLITZ_HOOK_INIT, BLITZ_HOOK_REQUEST, BLITZ_HOOK_RESPONSE,
       BLITZ_HOOK_CLEANUP, BLITZ_HOOK_REQUEST_CHUNK, BLITZ_HOOK_RESPONSE_CHUNK, BLITZ_HOOK_END, BLITZ_HOOK_COUNT };
static inline bool blitz_sees_request(int hook) { return hook == BLITZ_HOOK_REQUEST || hook == BLITZ_HOOK_REQUEST_CHUNK; }
static inline bool blitz_sees_response(int hook) { return hook == BLITZ_HOOK_RESPONSE || hook == BLITZ_HOOK_RESPONSE_CHUNK; }

/* NULL when there is none. */
const blitz_pair *blitz_pairs_find(const blitz_pairs *pairs, const uint8_t *key, size_t key_len);


typedef struct {                         /* made when the first fault happens */
    int kind, code;
    const char *hook;
    char message[640];
    char frames[4096];
} blitz_fault_record;

enum { BLITZ_STDIO_LINE = 512 };
typedef struct { uint32_t len[2]; uint8_t line[2][BLITZ_STDIO_LINE]; } blitz_stdio;  /* unfinished lines */

typedef struct {                         /* the part of a body in hand, see parts.c */
    blitz_text in;                       /* borrowed for the call, as into */
    uint32_t end;
    uint8_t *into;                       /* where set_chunk writes if there is room */
    size_t room;
    uint8_t *own;                        /* else here; made when it is needed */
    size_t own_cap;
    blitz_text out;
    bool is_set;
} blitz_part_call;

/* What the guest's own frames may take; a nested call into the guest gets a fresh allowance of it, so the
 * fiber's stack holds one per level of nesting (store_call.c). */
enum { BLITZ_WASM_STACK = 512 * 1024, BLITZ_FIBER_STACK = 2 * 1024 * 1024 };

struct blitz_instance {
    blitz_plugin *plugin;
    wasmtime_store_t *store;
    wasmtime_context_t *context;
    wasmtime_call_future_t *future;      /* of the call in progress, on a fiber */
    bool on_own_stack;                   /* the call in progress is there */
    wasmtime_func_t enter;
    wasmtime_func_t parts[BLITZ_X_COUNT];
    wasmtime_memory_t memory;
    uint8_t *memory_base;                /* of memory; NULL until it is known */
    wasmtime_table_t externrefs;
    wasmtime_instance_t instance;        /* of store 0 until instantiation came to a good end */
    bool has_slot;                       /* counted in the engine's slots_taken */
    bool has_exports;                    /* parts, memory, externrefs are known */
    bool running, broken;                /* inside poll; the last call did not come to a good end */
    bool ending;                         /* the guest ends where its next time slice would begin */
    uint8_t state, hook;                 /* BLITZ_STATE_*, BLITZ_HOOK_* */
    uint8_t waits;                       /* for what, while it is pending: BLITZ_WAITS_* */
    uint32_t wait_ms;                    /* how long a host function wants to wait */
    int64_t answer;                      /* what it waited for */
    wasmtime_func_t pause;               /* see blitz_store_pause; of store 0 unless the plugin may wait */
    blitz_fetched *fetched;              /* NULL until it has fetched something */
    blitz_part_call part;
    bool skips;                          /* the message hook in hand wants to see no part of the body */
    uint32_t id;
    uint64_t calls;                      /* message hooks that came to an end */
    uint8_t nested;                      /* calls of the guest's functions inside the one in progress */
    bool allocating;                     /* one of them is the allocator, which host functions use */
    uint32_t buffer, buffer_size;        /* the guest's fixed area for arguments; size 0: none */
    int32_t result;                      /* what the hook returned; its ABI knows what that means */
    blitz_exchange *exchange;            /* borrowed for the call; NULL between calls */
    wasm_trap_t *trap, *guest_trap;      /* outcome of the fiber; of the nested call of the hook */
    wasmtime_error_t *error, *guest_error;
    blitz_fault_record *fault;
    bool faulted;                        /* fault says why this call failed */
    uint8_t *log;                        /* records, see blitz_instance_take_log */
    uint32_t log_len, log_cap, log_used, log_lines; /* log_used, log_lines: of this call */
    blitz_stdio *stdio;
    uint64_t memory_size;                /* as last seen */
    uintptr_t stack;                     /* near the top of the fibers' stack; 0 before the first on one */
    blitz_instance *previous, *next;
};

/* Record why the call in progress fails and return the trap that ends it. The first reason stays. */
wasm_trap_t *blitz_trap(blitz_instance *instance, int kind, int code, const char *format, ...)
    __attribute__((format(printf, 4, 5)));

/* The guest's allocator. The memory may have grown, moved or been rewritten afterwards. -> NULL and
 * *offset, or the trap to return. len > 0. purpose is for the sentence of a refusal. */
wasm_trap_t *blitz_guest_alloc(blitz_instance *instance, uint32_t len, const char *purpose, uint32_t *offset);

/* Length of text as valid UTF-8 (ill-formed bytes become U+FFFD), and the copy into room for exactly that. */
size_t blitz_utf8_size(blitz_text text);
void blitz_write_text(uint8_t *dst, size_t size, blitz_text text);

/* Host functions that are no rows of the table. */
wasm_trap_t *blitz_call_unserved(void *env, wasmtime_caller_t *caller, wasmtime_val_raw_t *slots, size_t n);
wasm_trap_t *blitz_call_externref_table(void *env, wasmtime_caller_t *caller, wasmtime_val_raw_t *slots, size_t n);

/* log.c */
void blitz_log_line(blitz_instance *instance, int level, const uint8_t *text, size_t len);
void blitz_log_stdio(blitz_instance *instance, int stream, const uint8_t *text, size_t len);
void blitz_log_end_call(blitz_instance *instance);     /* unfinished lines */
/* log_lines.c: take what the hook that came to its end has said for exchange. false: nothing was taken. */
bool blitz_log_lines_collect(blitz_log_lines *lines, blitz_instance *instance, blitz_exchange *exchange);

/* SipHash-2-4 of bytes under a secret. */
uint64_t blitz_siphash(const uint64_t secret[2], const uint8_t *bytes, size_t len);
uint64_t blitz_monotonic_ns(void);
/* Fill with random bytes of the kernel. 0, or -1. */
int blitz_random(uint8_t *bytes, size_t len);
#endif
