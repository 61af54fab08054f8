/* wasi.c: the functions of WASI preview 1, so that what toolchains link is there, with nothing granted.
 *
 * There are no files, no directories, no sockets, no arguments. Standard output and error become lines of
 * the plugin's log (info and error), standard input is at its end. The environment holds what the
 * operator granted. Both module names are served, wasi_snapshot_preview1 and wasi_unstable: the functions
 * that differ between them are refused in either. A pointer outside the memory traps, as in every host
 * function.
 */
#include "host_calls.h"
#include <time.h>

#define BLITZ_WASI(name) \
    wasm_trap_t *name(void *env, wasmtime_caller_t *caller, wasmtime_val_raw_t *slots, size_t n)

typedef wasmtime_val_raw_t raw;
enum { SUCCESS = 0, BADF = 8, INVAL = 28, NOENT = 44, NOTSUP = 58, SPIPE = 70 };
enum { STDIN = 0, STDOUT = 1, STDERR = 2 };
/* One call's work is bounded, since it cannot be preempted: a longer write is a short write. */
enum { MAX_IOVS = 1024, MAX_WRITE = 65536, MAX_RANDOM = 65536 };
enum { CHARACTER_DEVICE = 2, RIGHT_READ = 2, RIGHT_WRITE = 64 };

static wasm_trap_t *result(raw *slots, int32_t code)
{
    slots[0].i64 = code;
    return NULL;
}

static void put(uint8_t *at, uint64_t value, size_t bytes)
{
    for (size_t i = 0; i < bytes; i++)
        at[i] = (uint8_t)(value >> (8 * i));
}

static uint32_t get_u32(const uint8_t *at)
{
    return (uint32_t)at[0] | (uint32_t)at[1] << 8 | (uint32_t)at[2] << 16 | (uint32_t)at[3] << 24;
}

/* Store a number at a pointer argument. false leaves the trap. */
static bool store(blitz_call *call, raw pointer, uint64_t value, size_t bytes, const char *argument)
{
    uint8_t *at = blitz_call_area(call, (uint32_t)pointer.i32, bytes, argument);
    if (at != NULL)
        put(at, value, bytes);
    return at != NULL;
}

BLITZ_WASI(wasi_success) { (void)env, (void)caller, (void)n; return result(slots, SUCCESS); }
BLITZ_WASI(wasi_badf) { (void)env, (void)caller, (void)n; return result(slots, BADF); }
BLITZ_WASI(wasi_noent) { (void)env, (void)caller, (void)n; return result(slots, NOENT); }
BLITZ_WASI(wasi_notsup) { (void)env, (void)caller, (void)n; return result(slots, NOTSUP); }

/* ---------------------------------------------------------------- arguments and environment */

BLITZ_WASI(wasi_args_sizes_get)
{
    (void)n;
    blitz_call call;
    if (!blitz_call_open(&call, env, caller) || !store(&call, slots[0], 0, 4, "argc") ||
        !store(&call, slots[1], 0, 4, "argv_size"))
        return call.trap;
    return result(slots, SUCCESS);
}

static uint64_t environ_size(const blitz_pairs *pairs)
{
    uint64_t size = 0;
    for (size_t i = 0; i < pairs->n; i++)
        size += pairs->items[i].key_len + pairs->items[i].value_len + 2;      /* '=' and NUL */
    return size;
}

BLITZ_WASI(wasi_environ_sizes_get)
{
    (void)n;
    blitz_call call;
    if (!blitz_call_open(&call, env, caller))
        return call.trap;
    const blitz_pairs *pairs = &call.instance->plugin->env;
    if (!store(&call, slots[0], pairs->n, 4, "count") || !store(&call, slots[1], environ_size(pairs), 4, "size"))
        return call.trap;
    return result(slots, SUCCESS);
}

BLITZ_WASI(wasi_environ_get)
{
    (void)n;
    blitz_call call;
    if (!blitz_call_open(&call, env, caller))
        return call.trap;
    const blitz_pairs *pairs = &call.instance->plugin->env;
    uint32_t text = (uint32_t)slots[1].i32;
    uint8_t *pointers = blitz_call_area(&call, (uint32_t)slots[0].i32, (uint64_t)pairs->n * 4, "environ");
    if (pointers == NULL || blitz_call_area(&call, text, environ_size(pairs), "environ_buf") == NULL)
        return call.trap;
    for (size_t i = 0; i < pairs->n; i++) {
        const blitz_pair *pair = &pairs->items[i];
        uint8_t *at = call.memory + text;
        put(pointers + 4 * i, text, 4);
        memcpy(at, pair->key, pair->key_len);
        at[pair->key_len] = '=';
        memcpy(at + pair->key_len + 1, pair->value, pair->value_len);
        at[pair->key_len + 1 + pair->value_len] = 0;
        text += (uint32_t)(pair->key_len + pair->value_len + 2);
    }
    return result(slots, SUCCESS);
}

/* ---------------------------------------------------------------- clock, chance, end */

static bool clock_of(int32_t wasi, clockid_t *clock)
{
    *clock = wasi == 0 ? CLOCK_REALTIME : CLOCK_MONOTONIC;
    return wasi == 0 || wasi == 1;
}

/* Nanoseconds. A guest that measures what its host or another guest does in the caches needs less than a
 * microsecond; what plugins ask a clock for, a millisecond answers. */
static uint64_t resolution_of(const blitz_call *call) { return call->instance->plugin->fine_clock ? 1 : 1000000; }

BLITZ_WASI(wasi_clock_res_get)
{
    (void)n;
    blitz_call call;
    clockid_t clock;
    if (!clock_of(slots[0].i32, &clock))
        return result(slots, INVAL);
    if (!blitz_call_open(&call, env, caller) ||
        !store(&call, slots[1], resolution_of(&call), 8, "resolution"))
        return call.trap;
    return result(slots, SUCCESS);
}

BLITZ_WASI(wasi_clock_time_get)
{
    (void)n;
    blitz_call call;
    clockid_t clock;
    struct timespec now;
    if (!clock_of(slots[0].i32, &clock))
        return result(slots, INVAL);
    if (!blitz_call_open(&call, env, caller))
        return call.trap;
    clock_gettime(clock, &now);
    uint64_t time = (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec;
    if (!store(&call, slots[2], time - time % resolution_of(&call), 8, "time"))
        return call.trap;
    return result(slots, SUCCESS);
}

BLITZ_WASI(wasi_random_get)
{
    (void)n;
    blitz_call call;
    blitz_text area;
    if (!blitz_call_open(&call, env, caller) || !blitz_call_bytes(&call, slots[0], slots[1], "buf", &area))
        return call.trap;
    if (area.len > MAX_RANDOM || blitz_random(call.memory + (uint32_t)slots[0].i32, area.len) != 0)
        return result(slots, INVAL);
    return result(slots, SUCCESS);
}

/* No event ever comes: a guest that sleeps goes on at once. */
BLITZ_WASI(wasi_poll_oneoff)
{
    (void)n;
    blitz_call call;
    if (!blitz_call_open(&call, env, caller) || !store(&call, slots[3], 0, 4, "nevents"))
        return call.trap;
    return result(slots, SUCCESS);
}

BLITZ_WASI(wasi_proc_exit)
{
    (void)env, (void)n;
    blitz_instance *instance = blitz_wt.wasmtime_context_get_data(blitz_wt.wasmtime_caller_context(caller));
    return blitz_trap(instance, BLITZ_FAULT_EXIT, slots[0].i32, "the guest exited with status %d", slots[0].i32);
}

/* ---------------------------------------------------------------- descriptors */

static bool is_open(int32_t fd) { return fd >= STDIN && fd <= STDERR; }

BLITZ_WASI(wasi_fd_close)
{
    (void)env, (void)caller, (void)n;
    return result(slots, is_open(slots[0].i32) ? SUCCESS : BADF);
}

BLITZ_WASI(wasi_fd_seek)
{
    (void)env, (void)caller, (void)n;
    return result(slots, is_open(slots[0].i32) ? SPIPE : BADF);
}

/* A character device without seek: C libraries then flush line by line. */
BLITZ_WASI(wasi_fd_fdstat_get)
{
    (void)n;
    blitz_call call;
    int32_t fd = slots[0].i32;
    if (!is_open(fd))
        return result(slots, BADF);
    uint8_t *stat = blitz_call_open(&call, env, caller)
                        ? blitz_call_area(&call, (uint32_t)slots[1].i32, 24, "stat") : NULL;
    if (stat == NULL)
        return call.trap;
    memset(stat, 0, 24);
    stat[0] = CHARACTER_DEVICE;
    put(stat + 8, fd == STDIN ? RIGHT_READ : RIGHT_WRITE, 8);
    return result(slots, SUCCESS);
}

BLITZ_WASI(wasi_fd_read)
{
    (void)n;
    blitz_call call;
    if (slots[0].i32 != STDIN)
        return result(slots, BADF);
    if (!blitz_call_open(&call, env, caller) || !store(&call, slots[3], 0, 4, "nread"))
        return call.trap;
    return result(slots, SUCCESS);
}

/* Hand the buffers of one write to the log. false leaves the trap. */
static bool write_iovs(blitz_call *call, int32_t fd, const uint8_t *iovs, uint32_t count, uint32_t *written)
{
    *written = 0;
    for (uint32_t i = 0; i < count && *written < MAX_WRITE; i++) {
        raw pointer = {.i64 = get_u32(iovs + 8 * i)}, len = {.i64 = get_u32(iovs + 8 * i + 4)};
        blitz_text part;
        if (!blitz_call_bytes(call, pointer, len, "a buffer of iovs", &part))
            return false;
        if (part.len > MAX_WRITE - *written)
            part.len = MAX_WRITE - *written;
        blitz_log_stdio(call->instance, fd - STDOUT, part.ptr, part.len);
        *written += (uint32_t)part.len;
    }
    return true;
}

BLITZ_WASI(wasi_fd_write)
{
    (void)n;
    blitz_call call;
    int32_t fd = slots[0].i32;
    uint32_t count = (uint32_t)slots[2].i32, written;
    if (fd != STDOUT && fd != STDERR)
        return result(slots, BADF);
    if (count > MAX_IOVS)
        return result(slots, INVAL);
    uint8_t *iovs = blitz_call_open(&call, env, caller)
                        ? blitz_call_area(&call, (uint32_t)slots[1].i32, (uint64_t)count * 8, "iovs") : NULL;
    if (iovs == NULL || !write_iovs(&call, fd, iovs, count, &written) ||
        !store(&call, slots[3], written, 4, "nwritten"))
        return call.trap;
    return result(slots, SUCCESS);
}
