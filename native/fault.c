/* fault.c: see fault.h. */
#define _GNU_SOURCE
#include "fault.h"
#include "store_call.h"
#include "text.h"
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { STACK_OVERFLOW = 0, OUT_OF_BOUNDS = 1, UNREACHABLE = 9 };   /* of wasmtime_trap_code_t */
/* wasmtime keeps the 20 innermost frames. A name is cut when its module is compiled (blitz/wasm/sections.py);
 * its escapes may make it longer. */
enum { MAX_FRAMES = 20, MAX_NAME = 160 };

static const char *const CAUSES[] = {            /* by wasmtime_trap_code_t; those of components are missing */
    "the stack overflowed", "memory access out of bounds", "misaligned atomic access",
    "table access out of bounds", "indirect call to a null table entry", "indirect call of another type",
    "integer overflow", "integer division by zero", "invalid conversion to integer",
    "unreachable code was executed (a panic or an abort of the guest)",
    [12] = "atomic wait on memory that is not shared", [13] = "use of a null reference",
    [14] = "array access out of bounds", [15] = "an allocation was too large", [16] = "a cast to another type failed",
    [19] = "suspended to a tag that nobody handles", [20] = "a continuation was resumed twice",
    [49] = "an exception was not caught",
};

static const char *const HOOKS[] = {
    [BLITZ_HOOK_NONE] = "", [BLITZ_HOOK_INSTANTIATE] = "start", [BLITZ_HOOK_INIT] = "init",
    [BLITZ_HOOK_REQUEST] = "process_request", [BLITZ_HOOK_RESPONSE] = "process_response",
    [BLITZ_HOOK_CLEANUP] = "cleanup", [BLITZ_HOOK_REQUEST_CHUNK] = "process_request_chunk",
    [BLITZ_HOOK_RESPONSE_CHUNK] = "process_response_chunk", [BLITZ_HOOK_END] = "process_end",
};

static const char *hook_of(const blitz_instance *instance)
{
    bool head = instance->hook == BLITZ_HOOK_RESPONSE && instance->plugin->parts[BLITZ_X_RESPONSE_HEAD].used;
    return head ? "process_response_head" : HOOKS[instance->hook];
}

static blitz_fault_record *record(blitz_instance *instance)
{
    if (instance->fault == NULL)
        instance->fault = calloc(1, sizeof *instance->fault);
    return instance->fault;
}

void blitz_fault_set(blitz_instance *instance, int kind, int code, const char *message)
{
    blitz_fault_record *fault = record(instance);
    if (instance->faulted || fault == NULL)
        return;
    instance->faulted = true;
    fault->kind = kind;
    fault->code = code;
    fault->hook = hook_of(instance);
    fault->frames[0] = 0;
    blitz_text_one_line(fault->message, sizeof fault->message, message, strlen(message));
}

wasm_trap_t *blitz_trap(blitz_instance *instance, int kind, int code, const char *format, ...)
{
    char message[640];
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(message, sizeof message, format, arguments);
    va_end(arguments);
    blitz_fault_set(instance, kind, code, message);
    return blitz_wt.wasmtime_trap_new("", 0);
}

/* ---------------------------------------------------------------- frames
 * wasmtime's own words for a trap or an error are never asked for when guest frames are in it: it demangles the
 * names, which took 20 s for one of 210 bytes, and a guest chooses them. */

static size_t trace(const wasm_trap_t *trap, const wasmtime_error_t *error, wasm_frame_vec_t *frames)
{
    *frames = (wasm_frame_vec_t){0, NULL};
    if (trap != NULL)
        blitz_wt.wasm_trap_trace(trap, frames);
    else if (error != NULL)
        blitz_wt.wasmtime_error_wasm_trace(error, frames);
    return frames->size;
}

static void write_frame(blitz_fault_record *fault, size_t *len, const wasm_frame_t *frame)
{
    const wasm_byte_vec_t *name = blitz_wt.wasmtime_frame_func_name(frame);
    char clean[MAX_NAME];
    if (name != NULL)
        blitz_text_one_line(clean, sizeof clean, name->data, name->size < MAX_NAME ? name->size : MAX_NAME);
    else
        snprintf(clean, sizeof clean, "<wasm function %u>", (unsigned)blitz_wt.wasm_frame_func_index(frame));
    blitz_text_append(fault->frames, sizeof fault->frames, len, "%s\t%zu\n", clean,
                      blitz_wt.wasm_frame_module_offset(frame));
}

static void write_frames(blitz_fault_record *fault, const wasm_frame_vec_t *frames)
{
    static_assert(sizeof fault->frames > (MAX_FRAMES + 1) * (MAX_NAME + 24), "every frame finds room");
    size_t len = 0;
    for (size_t i = 0; i < frames->size && i < MAX_FRAMES; i++)
        write_frame(fault, &len, frames->data[i]);
    if (frames->size >= MAX_FRAMES)
        blitz_text_append(fault->frames, sizeof fault->frames, &len, "... (the engine keeps the %d innermost)\n",
                          MAX_FRAMES);
}

/* ---------------------------------------------------------------- reasons */

/* The last cause of an error without frames, which is refused memory or a table, or no free slot:
 *     what was tried
 *
 *     Caused by:
 *         0: why
 *         1: and why that */
static void last_cause(char *out, size_t cap, const char *text, size_t len)
{
    enum { LOOK = 4096 };
    size_t end = len < LOOK ? len : LOOK;
    const char *newline = end > 0 ? memrchr(text, '\n', end) : NULL;
    size_t at = newline != NULL ? (size_t)(newline - text) + 1 : 0;
    while (at < end && text[at] == ' ')
        at++;
    size_t digits = at;
    while (digits < end && text[digits] >= '0' && text[digits] <= '9')
        digits++;
    if (digits > at && digits + 1 < end && text[digits] == ':' && text[digits + 1] == ' ')
        at = digits + 2;
    blitz_text_one_line(out, cap, end > 0 ? text + at : "", end - at);
}

static bool is_memory_refusal(const char *message)
{
    return strstr(message, "exceeds memory limits") != NULL || strstr(message, "memory limit") != NULL;
}

static bool recurses(const wasm_frame_vec_t *frames)
{
    enum { OFTEN = 4 };
    uint32_t functions[MAX_FRAMES];
    size_t n = 0, same = 0;
    for (; n < frames->size && n < MAX_FRAMES; n++)
        functions[n] = blitz_wt.wasm_frame_func_index(frames->data[n]);
    for (size_t i = 0; n == MAX_FRAMES && i < n && same < OFTEN; i++) {
        same = 0;
        for (size_t k = 0; k < n; k++)
            same += functions[k] == functions[i];
    }
    return same >= OFTEN;
}

/* What a cause leaves open. Compilers keep a stack of their own in the memory, below all else, for what has an
 * address: to its end, recursion leaves the memory. And a guest that could not grow mostly gives up with a trap and
 * does not say so: the size of its memory does, full, or so large that twice as much would not fit. */
static void explain(const blitz_instance *instance, uint8_t code, const wasm_frame_vec_t *frames, char *out,
                    size_t cap)
{
    enum { PAGE = 65536 };
    unsigned long long most = instance->plugin->limits.max_memory_size;
    size_t size = blitz_store_memory_size(instance);
    out[0] = 0;
    if (code == STACK_OVERFLOW)
        snprintf(out, cap, ": its calls took more than %d bytes, which is a fixed limit", BLITZ_WASM_STACK);
    else if (code == OUT_OF_BOUNDS && recurses(frames))
        snprintf(out, cap, "; its calls nest deeply: the stack that its compiler keeps in the memory may have overflowed");
    else if (code == UNREACHABLE && size + PAGE > most)
        snprintf(out, cap, "; its memory is full: %zu of %llu bytes", size, most);
    else if (code == UNREACHABLE && size > most / 2)
        snprintf(out, cap, "; its memory has %zu of %llu bytes", size, most);
}

static void trapped(blitz_instance *instance, uint8_t code, const wasm_frame_vec_t *frames)
{
    const char *cause = code < sizeof CAUSES / sizeof *CAUSES ? CAUSES[code] : NULL;
    char message[256], more[128];
    explain(instance, code, frames, more, sizeof more);
    if (cause == NULL)
        snprintf(message, sizeof message, "the engine ended the call (trap code %u)", code);
    else
        snprintf(message, sizeof message, "%s%s", cause, more);
    blitz_fault_set(instance, BLITZ_FAULT_TRAP, code, message);
}

/* An error of the engine before any guest has run. */
static void refused(blitz_instance *instance, const wasmtime_error_t *error)
{
    char message[512] = "the engine ended the call";
    if (error != NULL) {
        wasm_byte_vec_t text = {0, NULL};
        blitz_wt.wasmtime_error_message(error, &text);
        last_cause(message, sizeof message, text.data, text.size);
        blitz_wt.wasm_byte_vec_delete(&text);
    }
    blitz_fault_set(instance, is_memory_refusal(message) ? BLITZ_FAULT_MEMORY : BLITZ_FAULT_ENGINE, 0, message);
}

/* An error without a code in a guest: an exception, which waits in the store then, or the GC heap is full. */
static void ended(blitz_instance *instance)
{
    char message[160] = "an exception was not caught";
    bool thrown = blitz_wt.wasmtime_context_has_exception(instance->context);
    if (!thrown)
        snprintf(message, sizeof message, "no room for an object: the GC heap may have %llu bytes, as the memory",
                 (unsigned long long)instance->plugin->limits.max_memory_size);
    blitz_fault_set(instance, thrown ? BLITZ_FAULT_TRAP : BLITZ_FAULT_MEMORY, 0, message);
}

void blitz_fault_from(blitz_instance *instance, const wasm_trap_t *trap, const wasmtime_error_t *error)
{
    wasm_frame_vec_t frames;
    bool has_frames = trace(trap, error, &frames) > 0;
    uint8_t code = 0;
    if (!instance->faulted && trap != NULL && blitz_wt.wasmtime_trap_code(trap, &code))
        trapped(instance, code, &frames);
    else if (!instance->faulted && has_frames)
        ended(instance);
    else if (!instance->faulted)
        refused(instance, error);
    if (instance->fault != NULL && instance->fault->frames[0] == 0)
        write_frames(instance->fault, &frames);
    blitz_wt.wasm_frame_vec_delete(&frames);
}

void blitz_fault_drop(wasm_trap_t **trap, wasmtime_error_t **error)
{
    if (*trap != NULL)
        blitz_wt.wasm_trap_delete(*trap);
    if (*error != NULL)
        blitz_wt.wasmtime_error_delete(*error);
    *trap = NULL;
    *error = NULL;
}

blitz_fault blitz_instance_fault(const blitz_instance *instance)
{
    const blitz_fault_record *fault = instance->fault;
    if (fault == NULL || !instance->faulted)
        return (blitz_fault){.hook = "", .message = "", .frames = ""};
    return (blitz_fault){fault->kind, fault->code, fault->hook, fault->message, fault->frames};
}
