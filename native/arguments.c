/* arguments.c: see arguments.h. */
#include "arguments.h"
#include "store_call.h"
#include <string.h>

/* A pointer for strings of no bytes: not null, since a guest may hold it to that. */
enum { DANGLING = 1 };
typedef wasmtime_val_raw_t raw;

bool blitz_guest_fits(const blitz_instance *instance, uint64_t offset, uint64_t len)
{
    size_t size = blitz_store_memory_size(instance);
    return offset <= size && len <= size - offset;
}

static uint8_t *memory_at(const blitz_instance *instance, uint32_t offset)
{
    return blitz_store_memory(instance) + offset;
}

wasm_trap_t *blitz_guest_alloc(blitz_instance *instance, uint32_t len, const char *purpose, uint32_t *offset)
{
    if (!blitz_has_part(instance, BLITZ_X_ALLOC))
        return blitz_trap(instance, BLITZ_FAULT_HOST, 0, "%s needs an allocator (blitz_alloc, __wbindgen_malloc "
                          "or malloc), and the module exports none", purpose);
    if (instance->allocating)
        return blitz_trap(instance, BLITZ_FAULT_HOST, 0, "%s needs the guest's allocator, which is the caller",
                          purpose);
    raw slots[2] = {blitz_raw(len), blitz_raw(1)};
    instance->allocating = true;
    bool good = blitz_store_call(instance, BLITZ_X_ALLOC, slots, 2);
    instance->allocating = false;
    if (!good)
        return blitz_store_trap(instance);
    uint32_t at = (uint32_t)slots[0].i32;
    if (at == 0)
        return blitz_trap(instance, BLITZ_FAULT_MEMORY, 0, "the guest's allocator returned 0 for %u bytes (%s)", len,
                          purpose);
    if (!blitz_guest_fits(instance, at, len))
        return blitz_trap(instance, BLITZ_FAULT_MEMORY, 0, "the guest's allocator returned %u for %u bytes (%s), "
                          "outside the memory", at, len, purpose);
    *offset = at;
    return NULL;
}

void blitz_write_text(uint8_t *dst, size_t size, blitz_text text)
{
    size_t valid = text.len <= size ? blitz_utf8_copy(dst, text.ptr, text.len) : 0;
    if (valid < text.len)
        blitz_utf8_lossy(dst, size, text.ptr, text.len);
}

/* Validates through a scratch buffer with the fast copy; only ill-formed text is counted. */
size_t blitz_utf8_size(blitz_text text)
{
    uint8_t scratch[2048];
    size_t at = 0;
    while (at < text.len) {
        size_t part = text.len - at < sizeof scratch ? text.len - at : sizeof scratch;
        size_t valid = blitz_utf8_copy(scratch, text.ptr + at, part);
        bool cut = part == sizeof scratch && part - valid < 4;     /* a sequence across the border */
        if (valid < part && !cut)
            return blitz_utf8_lossy(NULL, 0, text.ptr, text.len);
        at += valid;
    }
    return text.len;
}

/* -> bytes that were copied: all, unless ill-formed ones have to be replaced. */
static size_t copy(const blitz_loan *loan, uint8_t *dst, blitz_text text)
{
    if (!loan->raw)
        return blitz_utf8_copy(dst, text.ptr, text.len);
    if (text.len > 0)
        memcpy(dst, text.ptr, text.len);
    return text.len;
}

/* The common case in one pass: everything fits the guest's fixed area and is valid. */
static bool lend_in_buffer(blitz_instance *instance, blitz_loan *loan)
{
    uint64_t total = 0;
    for (size_t i = 0; i < loan->n; i++)
        total += loan->texts[i].len;
    if (total > instance->buffer_size)
        return false;
    loan->in_buffer = (size_t)total;
    uint32_t offset = instance->buffer;
    uint8_t *dst = memory_at(instance, offset);
    for (size_t i = 0; i < loan->n; i++) {
        blitz_text text = loan->texts[i];
        if (copy(loan, dst, text) != text.len)
            return false;
        loan->out[i] = (blitz_lent){offset, (uint32_t)text.len};
        offset += (uint32_t)text.len;
        dst += text.len;
    }
    return true;
}

static void write_at(blitz_instance *instance, blitz_loan *loan, size_t i, uint32_t offset, uint32_t size)
{
    loan->out[i] = (blitz_lent){offset, size};
    if (loan->raw)
        copy(loan, memory_at(instance, offset), loan->texts[i]);
    else
        blitz_write_text(memory_at(instance, offset), size, loan->texts[i]);
}

static wasm_trap_t *lend_one(blitz_instance *instance, blitz_loan *loan, size_t i, uint32_t size)
{
    if (size == 0) {
        loan->out[i] = (blitz_lent){DANGLING, 0};
        return NULL;
    }
    uint32_t offset;
    wasm_trap_t *trap = blitz_guest_alloc(instance, size, loan->purpose, &offset);
    if (trap != NULL)
        return trap;
    if (blitz_has_part(instance, BLITZ_X_FREE))
        loan->blocks[loan->n_blocks++] = (blitz_lent){offset, size};
    write_at(instance, loan, i, offset, size);
    return NULL;
}

wasm_trap_t *blitz_lend(blitz_instance *instance, blitz_loan *loan)
{
    if (instance->buffer_size > 0 && lend_in_buffer(instance, loan))
        return NULL;
    uint64_t total = 0;
    uint32_t sizes[BLITZ_MOST_TEXTS];
    for (size_t i = 0; i < loan->n; i++) {
        size_t size = loan->raw ? loan->texts[i].len : blitz_utf8_size(loan->texts[i]);
        total += size;
        sizes[i] = (uint32_t)size;
        if (total > INT32_MAX)
            return blitz_trap(instance, BLITZ_FAULT_MEMORY, 0, "%s is larger than 2 GiB", loan->purpose);
    }
    bool in_buffer = instance->buffer_size > 0 && total <= instance->buffer_size;
    if (in_buffer && total > loan->in_buffer)
        loan->in_buffer = (size_t)total;
    if (!in_buffer && instance->buffer_size > 0 && total > 0 && !blitz_has_part(instance, BLITZ_X_ALLOC))
        return blitz_trap(instance, BLITZ_FAULT_HOST, 0, "%s takes %u bytes, blitz_buffer has %u, and the module "
                          "exports no allocator", loan->purpose, (uint32_t)total, instance->buffer_size);
    uint32_t offset = instance->buffer;
    for (size_t i = 0; i < loan->n; i++) {
        wasm_trap_t *trap = NULL;
        if (in_buffer)
            write_at(instance, loan, i, offset, sizes[i]);
        else
            trap = lend_one(instance, loan, i, sizes[i]);
        if (trap != NULL)
            return trap;
        offset += sizes[i];
    }
    return NULL;
}

/* What was lent in the fixed area is cleared: the next exchange, which may be another client's, finds nothing
 * behind its own, shorter arguments. What was lent in blocks is the allocator's again. */
wasm_trap_t *blitz_take_back(blitz_instance *instance, const blitz_loan *loan)
{
    if (loan->in_buffer > 0)
        memset(memory_at(instance, instance->buffer), 0, loan->in_buffer);
    for (size_t i = loan->n_blocks; i-- > 0;) {
        raw slots[2] = {blitz_raw(loan->blocks[i].offset), blitz_raw(loan->blocks[i].len)};
        if (!blitz_store_call(instance, BLITZ_X_FREE, slots, 2))
            return blitz_store_trap(instance);
    }
    return NULL;
}
