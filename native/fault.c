/* fault.c: see fault.h. */
#define _GNU_SOURCE
#include "fault.h"
#include "store_call.h"
#include "text.h"
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { UNREACHABLE = 9 };                         /* of wasmtime_trap_code_t */

static const char *const CAUSES[] = {            /* by wasmtime_trap_code_t */
    "the stack overflowed", "memory access out of bounds", "misaligned atomic access",
    "table access out of bounds", "indirect call to a null table entry", "indirect call of another type",
    "integer overflow", "integer division by zero", "invalid conversion to integer",
    "unreachable code was executed (a panic or an abort of the guest)",
};

static const char *const HOOKS[] = {
    [BLITZ_HOOK_NONE] = "", [BLITZ_HOOK_INSTANTIATE] = "start", [BLITZ_HOOK_INIT] = "init",
    [BLITZ_HOOK_REQUEST] = "process_request", [BLITZ_HOOK_RESPONSE] = "process_response",
    [BLITZ_HOOK_CLEANUP] = "cleanup",
};

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
    fault->hook = HOOKS[instance->hook];
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

/* ---------------------------------------------------------------- frames */

/* wasmtime gives file and line only inside its message, one frame in two lines:
 *     0:   0x3a - module!function
 *                     at /src/file.c:12:5
 * and an inlined function as a further "- name" under its frame. */
typedef struct { char *out; size_t cap, len; bool open; } writer;

static void end_frame(writer *frames)
{
    if (frames->open)
        blitz_text_append(frames->out, frames->cap, &frames->len, "\n");
    frames->open = false;
}

static void begin_frame(writer *frames, const char *name, size_t len)
{
    end_frame(frames);
    const char *bang = memchr(name, '!', len);
    size_t skip = bang != NULL ? (size_t)(bang - name) + 1 : 0;
    char clean[200];
    blitz_text_one_line(clean, sizeof clean, name + skip, len - skip);
    blitz_text_append(frames->out, frames->cap, &frames->len, "%s\t", clean);
    frames->open = true;
}

static void read_frame_line(writer *frames, const char *line, size_t len)
{
    while (len > 0 && *line == ' ')
        line++, len--;
    if (len > 3 && memcmp(line, "at ", 3) == 0 && frames->open) {
        char clean[200];
        blitz_text_one_line(clean, sizeof clean, line + 3, len - 3);
        blitz_text_append(frames->out, frames->cap, &frames->len, "%s", clean);
        end_frame(frames);
    } else if (len > 2 && memcmp(line, "- ", 2) == 0) {
        begin_frame(frames, line + 2, len - 2);
    } else if (len > 0 && *line >= '0' && *line <= '9') {
        const char *dash = memmem(line, len, " - ", 3);
        if (dash != NULL)
            begin_frame(frames, dash + 3, len - (size_t)(dash + 3 - line));
    }
}

static void read_frames(blitz_fault_record *fault, const char *text, size_t len)
{
    static const char heading[] = "wasm backtrace:";
    writer frames = {fault->frames, sizeof fault->frames, 0, false};
    const char *at = len > 0 ? memmem(text, len, heading, sizeof heading - 1) : NULL;
    const char *end = text + len;
    while (at != NULL && (at = memchr(at, '\n', (size_t)(end - at))) != NULL) {
        const char *line = ++at;
        const char *stop = memchr(line, '\n', (size_t)(end - line));
        size_t n = stop != NULL ? (size_t)(stop - line) : (size_t)(end - line);
        if (n == 0 || *line != ' ')
            break;                                 /* the list of causes follows */
        read_frame_line(&frames, line, n);
    }
    end_frame(&frames);
}

/* ---------------------------------------------------------------- reasons */

/* What went wrong, out of a message that begins with the backtrace: its last cause. */
static void last_cause(char *out, size_t cap, const char *text, size_t len)
{
    const char *at = text, *end = text + len;
    for (const char *next = text; (next = memmem(next, (size_t)(end - next), "\n    ", 5)) != NULL; next += 5) {
        const char *digit = next + 5;
        while (digit < end && *digit >= '0' && *digit <= '9')
            digit++;
        if (digit > next + 5 && digit + 1 < end && digit[0] == ':' && digit[1] == ' ' &&
            memmem(next, (size_t)(end - next), "0x", 2) != digit + 4)
            at = digit + 2;
    }
    blitz_text_one_line(out, cap, at, (size_t)(end - at));
}

static bool is_memory_refusal(const char *message)
{
    return strstr(message, "exceeds memory limits") != NULL || strstr(message, "memory limit") != NULL;
}

/* A guest that could not grow mostly gives up with a trap: say so, since it does not. */
static void trapped(blitz_instance *instance, uint8_t code)
{
    enum { PAGE = 65536 };
    uint64_t most = instance->plugin->limits.max_memory_size;
    size_t size = blitz_store_memory_size(instance);
    char message[256];
    bool full = code == UNREACHABLE && size + PAGE > most;
    snprintf(message, sizeof message, full ? "%s; its memory is full: %zu of %llu bytes" : "%s", CAUSES[code], size,
             (unsigned long long)most);
    blitz_fault_set(instance, BLITZ_FAULT_TRAP, code, message);
}

static void from_text(blitz_instance *instance, const wasm_trap_t *trap, const char *text, size_t len)
{
    uint8_t code = 0;
    char message[512];
    bool known = trap != NULL && blitz_wt.wasmtime_trap_code(trap, &code);
    if (known && code < sizeof CAUSES / sizeof *CAUSES)
        trapped(instance, code);
    last_cause(message, sizeof message, text, len);
    int kind = known ? BLITZ_FAULT_TRAP : is_memory_refusal(message) ? BLITZ_FAULT_MEMORY : BLITZ_FAULT_ENGINE;
    blitz_fault_set(instance, kind, known ? code : 0, message);
}

void blitz_fault_from(blitz_instance *instance, const wasm_trap_t *trap, const wasmtime_error_t *error)
{
    wasm_byte_vec_t text = {0, NULL};
    if (trap != NULL)
        blitz_wt.wasm_trap_message(trap, &text);
    else if (error != NULL)
        blitz_wt.wasmtime_error_message(error, &text);
    const char *words = text.data != NULL ? text.data : "";
    if (!instance->faulted)
        from_text(instance, trap, words, text.size);
    if (instance->fault != NULL && instance->fault->frames[0] == 0)
        read_frames(instance->fault, words, text.size);
    blitz_wt.wasm_byte_vec_delete(&text);
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
