/* blitz.h: write a Blitz plugin in C or C++. One header, freestanding wasm32 or WASI, C11 or C++17.
 *
 * How a plugin works
 *   The gateway calls the hooks that a module exports. A hook reads the message in hand through host
 *   functions, notes edits through others, and returns a verdict. Nothing changes before it returns:
 *     BLITZ_CONTINUE  the edits apply to the message passing through; the next plugin runs
 *     BLITZ_STOP      request hook: the edits build the answer (set_status, set_header, set_body);
 *                     response hook: the edits apply, the remaining response hooks are skipped
 *     BLITZ_ERROR     the edits are thrown away; the plugin's failure policy decides
 *
 * What this header gives, from top to bottom
 *   text      blitz_str, a borrowed (ptr, len) view; compare, trim, split, parse numbers
 *   writer    blitz_writer, text into a fixed buffer
 *   host      one function per host function of the ABI "blitz/1"
 *   memory    blitz_alloc_bytes: freed all at once when the hook returns
 *   values    header, property, config and environment lookups of any length
 *   notes     one number from a request hook to the response hook of the same exchange
 *   hooks     BLITZ_INIT, BLITZ_REQUEST, BLITZ_RESPONSE, BLITZ_CLEANUP; of streams: BLITZ_REQUEST_CHUNK,
 *             BLITZ_RESPONSE_HEAD, BLITZ_RESPONSE_CHUNK, BLITZ_END
 *
 * Switches, defined before the #include
 *   BLITZ_BUFFER_SIZE  bytes of the fixed area that the host writes arguments into (default: a method
 *                      and a 64 KiB path)
 *   BLITZ_ALLOCATOR    define it in a plugin that takes response bodies (response_body = "full"):
 *                      what does not fit the fixed area goes through blitz_alloc
 *   BLITZ_NO_EXPORTS   define it in every source file of a plugin but one
 *   BLITZ_LIBC         a C library with malloc is linked; set by itself for WASI and Emscripten
 *
 * Strings are bytes with a length, never NUL-terminated. Method, path and body are valid UTF-8;
 * header values and parts of bodies are raw bytes.
 */
#ifndef BLITZ_H
#define BLITZ_H
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#if defined(__wasi__) || defined(__EMSCRIPTEN__)
#define BLITZ_LIBC
#endif
#ifdef BLITZ_LIBC
#include <stdlib.h>
#endif

#ifndef BLITZ_BUFFER_SIZE
#define BLITZ_BUFFER_SIZE (64 * 1024 + 256)
#endif

#ifdef __cplusplus
extern "C" {
#define BLITZ_C extern "C" /* for the hooks, which stand outside of this block */
#else
#define BLITZ_C
#endif

enum { BLITZ_CONTINUE = 0, BLITZ_STOP = 1, BLITZ_ERROR = -1 };

/* A helper that a plugin does not use must neither warn nor take room. */
#define BLITZ_FN __attribute__((unused)) static

/* ---------------------------------------------------------------- text */

typedef struct {
    const char *ptr; /* borrowed */
    uint32_t len;
} blitz_str;

/* A value of a struct type, as each of the two languages spells it. */
#ifdef __cplusplus
#define BLITZ_VALUE(type, ...) (type{__VA_ARGS__})
#else
#define BLITZ_VALUE(type, ...) ((type){__VA_ARGS__})
#endif

/* A string literal as a view. */
#define BLITZ_STR(literal) BLITZ_VALUE(blitz_str, (literal), (uint32_t)(sizeof(literal) - 1))

BLITZ_FN blitz_str blitz_view(const char *ptr, uint32_t len)
{
    return BLITZ_VALUE(blitz_str, ptr, len);
}

/* The bytes from start up to end (not included); both are cut to what is there. */
BLITZ_FN blitz_str blitz_slice(blitz_str text, uint32_t start, uint32_t end)
{
    if (end > text.len) {
        end = text.len;
    }
    if (start > end) {
        start = end;
    }
    return blitz_view(text.ptr + start, end - start);
}

BLITZ_FN bool blitz_equal(blitz_str a, blitz_str b)
{
    if (a.len != b.len) {
        return false;
    }
    for (uint32_t i = 0; i < a.len; i++) {
        if (a.ptr[i] != b.ptr[i]) {
            return false;
        }
    }
    return true;
}

BLITZ_FN char blitz_lower(char c)
{
    return c >= 'A' && c <= 'Z' ? (char)(c | 0x20) : c;
}

/* Equal but for the case of ASCII letters: how header names compare. */
BLITZ_FN bool blitz_equal_nocase(blitz_str a, blitz_str b)
{
    if (a.len != b.len) {
        return false;
    }
    for (uint32_t i = 0; i < a.len; i++) {
        if (blitz_lower(a.ptr[i]) != blitz_lower(b.ptr[i])) {
            return false;
        }
    }
    return true;
}

/* Equal, in a time that depends on the lengths only. The empty asm keeps a compiler from finding
 * out that it could stop early. */
BLITZ_FN bool blitz_equal_constant_time(blitz_str a, blitz_str b)
{
    if (a.len != b.len) {
        return false;
    }
    uint32_t difference = 0;
    for (uint32_t i = 0; i < a.len; i++) {
        difference |= (uint32_t)((uint8_t)a.ptr[i] ^ (uint8_t)b.ptr[i]);
        __asm__("" : "+r"(difference));
    }
    return difference == 0;
}

BLITZ_FN bool blitz_starts_with(blitz_str text, blitz_str prefix)
{
    return text.len >= prefix.len && blitz_equal(blitz_slice(text, 0, prefix.len), prefix);
}

BLITZ_FN bool blitz_starts_with_nocase(blitz_str text, blitz_str prefix)
{
    return text.len >= prefix.len && blitz_equal_nocase(blitz_slice(text, 0, prefix.len), prefix);
}

/* Is the path the prefix, or below it? Prefix "/a": "/a", "/a/" and "/a/b" are, "/ab" is not. */
BLITZ_FN bool blitz_is_under(blitz_str path, blitz_str prefix)
{
    uint32_t len = prefix.len > 0 && prefix.ptr[prefix.len - 1] == '/' ? prefix.len - 1 : prefix.len;
    return blitz_starts_with(path, blitz_slice(prefix, 0, len)) && (path.len == len || path.ptr[len] == '/');
}

/* Position of the first c at or after start, or text.len. */
BLITZ_FN uint32_t blitz_find(blitz_str text, char c, uint32_t start)
{
    uint32_t i = start;
    while (i < text.len && text.ptr[i] != c) {
        i++;
    }
    return i < text.len ? i : text.len;
}

BLITZ_FN bool blitz_is_space(char c)
{
    return c == ' ' || c == '\t' || c == '\r' || c == '\n';
}

BLITZ_FN blitz_str blitz_trim(blitz_str text)
{
    while (text.len > 0 && blitz_is_space(text.ptr[0])) {
        text.ptr++;
        text.len--;
    }
    while (text.len > 0 && blitz_is_space(text.ptr[text.len - 1])) {
        text.len--;
    }
    return text;
}

/* Take the next piece off the front of *rest, up to the separator; false when nothing is left.
 *     blitz_str rest = list, item;
 *     while (blitz_split(&rest, '\n', &item)) { ... } */
BLITZ_FN bool blitz_split(blitz_str *rest, char separator, blitz_str *piece)
{
    if (rest->len == 0) {
        return false;
    }
    uint32_t end = blitz_find(*rest, separator, 0);
    *piece = blitz_slice(*rest, 0, end);
    *rest = blitz_slice(*rest, end + 1, rest->len);
    return true;
}

/* Decimal digits only, at most max; *value is written only on success. */
BLITZ_FN bool blitz_parse_u64(blitz_str text, uint64_t max, uint64_t *value)
{
    if (text.len == 0) {
        return false;
    }
    uint64_t sum = 0;
    for (uint32_t i = 0; i < text.len; i++) {
        if (text.ptr[i] < '0' || text.ptr[i] > '9') {
            return false;
        }
        uint64_t digit = (uint64_t)(text.ptr[i] - '0');
        if (digit > max || sum > (max - digit) / 10) {
            return false;
        }
        sum = sum * 10 + digit;
    }
    *value = sum;
    return true;
}

/* Copy that never overlaps; with the wasm feature bulk-memory this is one instruction. */
BLITZ_FN void blitz_copy(char *to, const char *from, uint32_t len)
{
    __builtin_memcpy(to, from, len);
}

/* ---------------------------------------------------------------- writer */

/* Text into a buffer of fixed size. What does not fit is cut, and full says so. */
typedef struct {
    char *ptr;
    uint32_t len, cap;
    bool full;
} blitz_writer;

BLITZ_FN blitz_writer blitz_writer_on(char *buffer, uint32_t cap)
{
    return BLITZ_VALUE(blitz_writer, buffer, 0, cap, false);
}

BLITZ_FN blitz_str blitz_written(const blitz_writer *writer)
{
    return blitz_view(writer->ptr, writer->len);
}

BLITZ_FN void blitz_put_char(blitz_writer *writer, char c)
{
    if (writer->len == writer->cap) {
        writer->full = true;
        return;
    }
    writer->ptr[writer->len++] = c;
}

BLITZ_FN void blitz_put(blitz_writer *writer, blitz_str text)
{
    uint32_t room = writer->cap - writer->len;
    if (text.len > room) {
        text.len = room;
        writer->full = true;
    }
    blitz_copy(writer->ptr + writer->len, text.ptr, text.len);
    writer->len += text.len;
}

BLITZ_FN void blitz_put_u64(blitz_writer *writer, uint64_t value)
{
    char digits[20];
    uint32_t at = sizeof digits;
    do {
        digits[--at] = (char)('0' + value % 10);
        value /= 10;
    } while (value != 0);
    blitz_put(writer, blitz_view(digits + at, (uint32_t)sizeof digits - at));
}

BLITZ_FN void blitz_put_i64(blitz_writer *writer, int64_t value)
{
    if (value < 0) {
        blitz_put_char(writer, '-');
    }
    /* Unsigned negation: right for INT64_MIN too. */
    blitz_put_u64(writer, value < 0 ? 0 - (uint64_t)value : (uint64_t)value);
}

/* Lower-case hex, two digits per byte. */
BLITZ_FN void blitz_put_hex(blitz_writer *writer, const uint8_t *bytes, uint32_t len)
{
    for (uint32_t i = 0; i < len; i++) {
        blitz_put_char(writer, "0123456789abcdef"[bytes[i] >> 4]);
        blitz_put_char(writer, "0123456789abcdef"[bytes[i] & 15]);
    }
}

/* ---------------------------------------------------------------- host functions
 * The imports as the ABI spells them; the wrappers below take views. Only what a plugin calls becomes
 * an import of its module. Two imports change what the gateway does: a module that imports get_body
 * makes it collect request bodies. */

#define BLITZ_IMPORT(symbol, name) __attribute__((import_module("blitz"), import_name(name))) extern symbol

BLITZ_IMPORT(void blitz_host_log(const char *level, uint32_t level_len, const char *text, uint32_t len), "log");
BLITZ_IMPORT(int32_t blitz_host_get_env(const char *name, uint32_t len, char *buf, uint32_t cap), "get_env");
BLITZ_IMPORT(int32_t blitz_host_get_header(const char *name, uint32_t len, char *buf, uint32_t cap), "get_header");
BLITZ_IMPORT(void blitz_host_set_header(const char *name, uint32_t len, const char *value, uint32_t value_len),
             "set_header");
BLITZ_IMPORT(void blitz_host_add_header(const char *name, uint32_t len, const char *value, uint32_t value_len),
             "add_header");
BLITZ_IMPORT(void blitz_host_remove_header(const char *name, uint32_t len), "remove_header");
BLITZ_IMPORT(int32_t blitz_host_get_body(char *buf, uint32_t cap), "get_body");
BLITZ_IMPORT(void blitz_host_set_body(const char *body, uint32_t len), "set_body");
BLITZ_IMPORT(void blitz_host_set_chunk(const char *chunk, uint32_t len), "set_chunk");
BLITZ_IMPORT(void blitz_host_skip_body(void), "skip_body");
BLITZ_IMPORT(void blitz_host_set_status(int32_t status), "set_status");
BLITZ_IMPORT(void blitz_host_set_path(const char *path, uint32_t len), "set_path");
BLITZ_IMPORT(void blitz_host_set_method(const char *method, uint32_t len), "set_method");
BLITZ_IMPORT(int32_t blitz_host_get_property(const char *name, uint32_t len, char *buf, uint32_t cap), "get_property");
BLITZ_IMPORT(int32_t blitz_host_get_config(char *buf, uint32_t cap), "get_config");
BLITZ_IMPORT(int64_t blitz_host_now_ms(void), "now_ms");
BLITZ_IMPORT(void blitz_host_random(uint8_t *buf, uint32_t len), "random");
BLITZ_IMPORT(int32_t blitz_host_rate_limit(const char *key, uint32_t len, int32_t per_minute, int32_t burst),
             "rate_limit");
BLITZ_IMPORT(int64_t blitz_host_kv_incr(const char *key, uint32_t len, int64_t delta, int64_t ttl_ms), "kv_incr");
BLITZ_IMPORT(int32_t blitz_host_kv_get(const char *key, uint32_t len, char *buf, uint32_t cap), "kv_get");
BLITZ_IMPORT(void blitz_host_count(const char *name, uint32_t len, int64_t delta), "count");
BLITZ_IMPORT(void blitz_host_gauge(const char *name, uint32_t len, double value), "gauge");
BLITZ_IMPORT(void blitz_host_observe(const char *name, uint32_t len, double value), "observe");
BLITZ_IMPORT(void blitz_host_kv_set(const char *key, uint32_t len, const char *value, uint32_t value_len,
                                    int64_t ttl_ms), "kv_set");
BLITZ_IMPORT(void blitz_host_sleep_ms(int32_t ms), "sleep_ms");
BLITZ_IMPORT(int32_t blitz_host_http_fetch(const char *upstream, uint32_t upstream_len, const char *method,
                                           uint32_t method_len, const char *target, uint32_t target_len,
                                           const char *headers, uint32_t headers_len, const char *body,
                                           uint32_t body_len, int32_t timeout_ms), "http_fetch");
BLITZ_IMPORT(int32_t blitz_host_fetch_header(const char *name, uint32_t len, char *buf, uint32_t cap), "fetch_header");
BLITZ_IMPORT(int32_t blitz_host_fetch_body(char *buf, uint32_t cap), "fetch_body");

/* A line in the gateway's log. level: trace, debug, info, warn, error. */
BLITZ_FN void blitz_log(blitz_str level, blitz_str text)
{
    blitz_host_log(level.ptr, level.len, text.ptr, text.len);
}

/* Replace all values of a header (set), or add one more. A name that is not a token, or a value with
 * control characters, traps. Framing fields (content-length, connection ...) are refused. */
BLITZ_FN void blitz_set_header(blitz_str name, blitz_str value)
{
    blitz_host_set_header(name.ptr, name.len, value.ptr, value.len);
}

BLITZ_FN void blitz_add_header(blitz_str name, blitz_str value)
{
    blitz_host_add_header(name.ptr, name.len, value.ptr, value.len);
}

BLITZ_FN void blitz_remove_header(blitz_str name)
{
    blitz_host_remove_header(name.ptr, name.len);
}

BLITZ_FN void blitz_set_status(int32_t status)
{
    blitz_host_set_status(status);
}

/* Replace the part in hand, by max_body bytes at most; empty: nothing is sent for it. */
BLITZ_FN void blitz_set_chunk(blitz_str chunk)
{
    blitz_host_set_chunk(chunk.ptr, chunk.len);
}

/* In a hook that sees a head: no part of its body is for this plugin, and the head stays as it is. */
BLITZ_FN void blitz_skip_body(void)
{
    blitz_host_skip_body();
}

BLITZ_FN void blitz_set_body(blitz_str body)
{
    blitz_host_set_body(body.ptr, body.len);
}

BLITZ_FN void blitz_set_path(blitz_str path)
{
    blitz_host_set_path(path.ptr, path.len);
}

BLITZ_FN void blitz_set_method(blitz_str method)
{
    blitz_host_set_method(method.ptr, method.len);
}

/* Milliseconds since 1970-01-01 UTC. */
BLITZ_FN int64_t blitz_now_ms(void)
{
    return blitz_host_now_ms();
}

BLITZ_FN void blitz_random(uint8_t *buf, uint32_t len)
{
    blitz_host_random(buf, len);
}

/* Take one token of the bucket named key: refilled per_minute, burst at most. The state is the
 * host's. -> tokens left (>= 0), or minus the milliseconds until there is one. */
BLITZ_FN int32_t blitz_rate_limit(blitz_str key, int32_t per_minute, int32_t burst)
{
    return blitz_host_rate_limit(key.ptr, key.len, per_minute, burst);
}

/* Values that all instances and workers share, for keys and values of at most 256 bytes. ttl_ms: how long
 * a new key lives; 0: as long as there is room. incr adds to a counter (from 0, and a counter keeps its
 * time to live) -> the sum. set replaces the value and its time to live. */
BLITZ_FN int64_t blitz_kv_incr(blitz_str key, int64_t delta, int64_t ttl_ms)
{
    return blitz_host_kv_incr(key.ptr, key.len, delta, ttl_ms);
}

BLITZ_FN void blitz_kv_set(blitz_str key, blitz_str value, int64_t ttl_ms)
{
    blitz_host_kv_set(key.ptr, key.len, value.ptr, value.len, ttl_ms);
}

/* -> length of the value, of which cap bytes at most are in buf (256 are enough), or -1: no such key. */
BLITZ_FN int32_t blitz_kv_get(blitz_str key, char *buf, uint32_t cap)
{
    return blitz_host_kv_get(key.ptr, key.len, buf, cap);
}

/* Wait. The gateway goes on with other exchanges meanwhile; this instance waits with this one. Only in request and
 * response hooks; what one call waits for all together is bounded by the plugin's wait_timeout. */
BLITZ_FN void blitz_sleep_ms(int32_t ms)
{
    blitz_host_sleep_ms(ms);
}

enum { BLITZ_FETCH_NOT_GRANTED = -1, BLITZ_FETCH_LATE = -2, BLITZ_FETCH_FAILED = -3 };

/* Send a request to an upstream that the operator granted, by its name in the configuration, and wait for the response.
 * headers: lines "name: value\r\n", may be empty. timeout_ms 0: as long as the plugin may wait. -> the status, or one of the
 * above; then blitz_fetch_header and blitz_fetch_body read the response, until the next fetch or the end of the hook. */
BLITZ_FN int32_t blitz_fetch(blitz_str upstream, blitz_str method, blitz_str target, blitz_str headers, blitz_str body,
                             int32_t timeout_ms)
{
    return blitz_host_http_fetch(upstream.ptr, upstream.len, method.ptr, method.len, target.ptr, target.len,
                                 headers.ptr, headers.len, body.ptr, body.len, timeout_ms);
}

/* -> length of the value, of which cap bytes at most are in buf, or -1: there is none. */
BLITZ_FN int32_t blitz_fetch_header(blitz_str name, char *buf, uint32_t cap)
{
    return blitz_host_fetch_header(name.ptr, name.len, buf, cap);
}

BLITZ_FN int32_t blitz_fetch_body(char *buf, uint32_t cap)
{
    return blitz_host_fetch_body(buf, cap);
}

/* Metrics of the plugin's own, at /metrics of the gateway. name: letters, digits and _, with up to 4 labels in
 * ascending order: hits{kind="a",where="b"}; another one traps. At most 100 names. count grows by delta, gauge is
 * value from now on, observe puts value into a histogram. */
BLITZ_FN void blitz_count(blitz_str name, int64_t delta)
{
    blitz_host_count(name.ptr, name.len, delta);
}

BLITZ_FN void blitz_gauge(blitz_str name, double value)
{
    blitz_host_gauge(name.ptr, name.len, value);
}

BLITZ_FN void blitz_observe(blitz_str name, double value)
{
    blitz_host_observe(name.ptr, name.len, value);
}

/* ---------------------------------------------------------------- memory
 * What init allocates stays; what a hook allocates is gone when it returns. There is nothing to free, so
 * nothing to free twice. Without a C library it is one region after the module's own data; with one, that
 * place is malloc's, and each piece is a block of it. */

#ifdef BLITZ_LIBC
typedef struct blitz_block {
    struct blitz_block *before;
    uint64_t fill; /* what follows is aligned as the block is */
} blitz_block;
typedef blitz_block *blitz_mark;
#else
extern char __heap_base;      /* the linker's: the end of data and stack */
typedef uintptr_t blitz_mark; /* first free byte; 0 before the first use */
#endif

typedef struct {
    blitz_mark top;
    blitz_mark kept; /* what init left: a hook's end goes back here */
} blitz_region;

#ifdef BLITZ_NO_EXPORTS
extern blitz_region blitz_memory;
#else
__attribute__((visibility("hidden"))) blitz_region blitz_memory;
#endif

#ifdef BLITZ_LIBC
/* size bytes, aligned to 16, or NULL when the instance's memory limit is reached. */
BLITZ_FN void *blitz_alloc_bytes(uint32_t size)
{
    if (size > UINT32_MAX - sizeof(blitz_block)) {
        return NULL;
    }
    blitz_block *block = (blitz_block *)malloc(sizeof(blitz_block) + size);
    if (block == NULL) {
        return NULL;
    }
    block->before = blitz_memory.top;
    blitz_memory.top = block;
    return block + 1;
}

/* Free what was allocated since mark was the top. */
BLITZ_FN void blitz_memory_back(blitz_mark mark)
{
    while (blitz_memory.top != mark) {
        blitz_block *block = blitz_memory.top;
        blitz_memory.top = block->before;
        free(block);
    }
}

/* The newest piece keeps its first bytes, up to end. */
BLITZ_FN void blitz_memory_trim(uintptr_t end)
{
    (void)end;
}
#else
/* size bytes, aligned to 16, or NULL when the instance's memory limit is reached. */
BLITZ_FN void *blitz_alloc_bytes(uint32_t size)
{
    uintptr_t start = blitz_memory.top != 0 ? blitz_memory.top : (uintptr_t)&__heap_base;
    start = (start + 15) & ~(uintptr_t)15;
    size_t pages = __builtin_wasm_memory_size(0);
    uint64_t end = (uint64_t)start + size;
    if (end > (uint64_t)pages * 65536) {
        uint64_t more = (end - (uint64_t)pages * 65536 + 65535) / 65536;
        if (more > 65536 || __builtin_wasm_memory_grow(0, (size_t)more) == (size_t)-1) {
            return NULL;
        }
    }
    blitz_memory.top = (uintptr_t)end;
    return (void *)start; /* NOLINT: an address by design */
}

/* Free what was allocated since mark was the top. */
BLITZ_FN void blitz_memory_back(blitz_mark mark)
{
    blitz_memory.top = mark;
}

/* The newest piece keeps its first bytes, up to end. */
BLITZ_FN void blitz_memory_trim(uintptr_t end)
{
    blitz_memory.top = end;
}
#endif

/* ---------------------------------------------------------------- values */

/* What a lookup found. found tells an empty value from none. */
typedef struct {
    blitz_str text;
    bool found;
} blitz_value;

typedef int32_t (*blitz_reader)(blitz_str name, char *buf, uint32_t cap);

BLITZ_FN int32_t blitz_read_header(blitz_str name, char *buf, uint32_t cap)
{
    return blitz_host_get_header(name.ptr, name.len, buf, cap);
}

BLITZ_FN int32_t blitz_read_property(blitz_str name, char *buf, uint32_t cap)
{
    return blitz_host_get_property(name.ptr, name.len, buf, cap);
}

BLITZ_FN int32_t blitz_read_env(blitz_str name, char *buf, uint32_t cap)
{
    return blitz_host_get_env(name.ptr, name.len, buf, cap);
}

BLITZ_FN int32_t blitz_read_config(blitz_str name, char *buf, uint32_t cap)
{
    (void)name;
    return blitz_host_get_config(buf, cap);
}

BLITZ_FN int32_t blitz_read_body(blitz_str name, char *buf, uint32_t cap)
{
    (void)name;
    return blitz_host_get_body(buf, cap);
}

/* Read a value into a buffer; a longer one is cut to the buffer. */
__attribute__((always_inline, unused)) static inline blitz_value blitz_read_into(blitz_reader reader, blitz_str name,
                                                                                 char *buf, uint32_t cap)
{
    int32_t len = reader(name, buf, cap);
    if (len < 0) {
        return BLITZ_VALUE(blitz_value, {buf, 0}, false);
    }
    return BLITZ_VALUE(blitz_value, {buf, (uint32_t)len < cap ? (uint32_t)len : cap}, true);
}

/* Read a value of any length into memory that lives until the hook returns: first into a small piece,
 * once more when it was longer. Out of memory ends the call with a trap: the gateway answers by the
 * plugin's failure policy, which is right where a value must not be ignored. */
__attribute__((always_inline, unused)) static inline blitz_value blitz_read_all(blitz_reader reader, blitz_str name)
{
    uint32_t cap = 256;
    for (;;) {
        blitz_mark mark = blitz_memory.top;
        char *buf = (char *)blitz_alloc_bytes(cap);
        if (buf == NULL) {
            __builtin_trap();
        }
        int32_t len = reader(name, buf, cap);
        if (len < 0) {
            blitz_memory_back(mark);
            return BLITZ_VALUE(blitz_value, {buf, 0}, false);
        }
        if ((uint32_t)len <= cap) {
            blitz_memory_trim((uintptr_t)buf + (uint32_t)len);
            return BLITZ_VALUE(blitz_value, {buf, (uint32_t)len}, true);
        }
        blitz_memory_back(mark);
        cap = (uint32_t)len;
    }
}

/* First value of a header of the message in hand. */
BLITZ_FN blitz_value blitz_header(blitz_str name)
{
    return blitz_read_all(blitz_read_header, name);
}

/* The same into a buffer of the caller's; a longer value is cut. */
BLITZ_FN blitz_value blitz_header_into(blitz_str name, char *buf, uint32_t cap)
{
    return blitz_read_into(blitz_read_header, name, buf, cap);
}

/* client.address, client.port, request.id, request.method, request.path, request.path.canonical, request.host,
 * response.status, route.name, upstream.address, plugin.name, body.truncated, config.<key>, header.count.<name> */
BLITZ_FN blitz_value blitz_property(blitz_str name)
{
    return blitz_read_all(blitz_read_property, name);
}

BLITZ_FN blitz_value blitz_property_into(blitz_str name, char *buf, uint32_t cap)
{
    return blitz_read_into(blitz_read_property, name, buf, cap);
}

/* The request's path in the one spelling that a guard may compare: decoded, with dot segments resolved and slashes
 * merged, without parameters and query. Servers find "/private/x" behind "/%70rivate/x", "//private/x" and many
 * more. A gateway that does not know it ends the call with a trap. */
BLITZ_FN blitz_str blitz_canonical_path(void)
{
    blitz_value path = blitz_property(BLITZ_STR("request.path.canonical"));
    if (!path.found) {
        __builtin_trap();
    }
    return path.text;
}

/* Whether a header, a property or a variable is there, without reading it. */
BLITZ_FN bool blitz_has_header(blitz_str name)
{
    return blitz_host_get_header(name.ptr, name.len, NULL, 0) >= 0;
}

/* Fields of that name, in a request in any spelling that a server may take for it (x_user for x-user): who judges
 * the first of two does not know which of them the upstream obeys. The name has at most 128 bytes. */
BLITZ_FN uint32_t blitz_header_count(blitz_str name)
{
    char bytes[144], digits[16];
    blitz_writer key = blitz_writer_on(bytes, sizeof bytes);
    blitz_put(&key, BLITZ_STR("header.count."));
    blitz_put(&key, name);
    uint64_t count = 0;
    blitz_parse_u64(blitz_property_into(blitz_written(&key), digits, sizeof digits).text, UINT32_MAX, &count);
    return (uint32_t)count;
}

/* An environment variable that the operator granted to this plugin. */
BLITZ_FN blitz_value blitz_env(blitz_str name)
{
    return blitz_read_all(blitz_read_env, name);
}

/* The whole config: JSON for a table. One value: blitz_config_value. */
BLITZ_FN blitz_value blitz_config(void)
{
    return blitz_read_all(blitz_read_config, BLITZ_STR(""));
}

/* The body of the message in hand. Using it makes the gateway collect request bodies. */
BLITZ_FN blitz_value blitz_body(void)
{
    return blitz_read_all(blitz_read_body, BLITZ_STR(""));
}

/* One value of the plugin's config as text: numbers in decimal, true or false, lists one item per
 * line, nested tables by dotted keys. */
BLITZ_FN blitz_value blitz_config_value(blitz_str key)
{
    char name[128];
    blitz_writer writer = blitz_writer_on(name, sizeof name);
    blitz_put(&writer, BLITZ_STR("config."));
    blitz_put(&writer, key);
    return blitz_property(blitz_written(&writer));
}

BLITZ_FN void blitz_config_complaint(blitz_str key, blitz_str seen, const char *wanted, uint32_t wanted_len)
{
    char line[320];
    blitz_writer writer = blitz_writer_on(line, sizeof line);
    blitz_put(&writer, BLITZ_STR("config "));
    blitz_put(&writer, key);
    blitz_put(&writer, BLITZ_STR(" is \""));
    blitz_put(&writer, blitz_slice(seen, 0, 64));
    blitz_put(&writer, BLITZ_STR("\", expected "));
    blitz_put(&writer, blitz_view(wanted, wanted_len));
    blitz_log(BLITZ_STR("error"), blitz_written(&writer));
}

/* Log what is wrong with a config value: 'config burst is "x", expected a whole number ...'. */
#define BLITZ_CONFIG_COMPLAINT(key, seen, wanted) blitz_config_complaint((key), (seen), (wanted), sizeof(wanted) - 1)

/* A whole number from min to max, into *value; fallback where the key is not set. False, with a line
 * in the log, when the value is something else. */
BLITZ_FN bool blitz_config_u32(blitz_str key, uint32_t fallback, uint32_t min, uint32_t max, uint32_t *value)
{
    blitz_value found = blitz_config_value(key);
    uint64_t number = fallback;
    if (found.found && (!blitz_parse_u64(found.text, max, &number) || number < min)) {
        char wanted[64];
        blitz_writer writer = blitz_writer_on(wanted, sizeof wanted);
        blitz_put(&writer, BLITZ_STR("a whole number from "));
        blitz_put_u64(&writer, min);
        blitz_put(&writer, BLITZ_STR(" to "));
        blitz_put_u64(&writer, max);
        blitz_config_complaint(key, found.text, writer.ptr, writer.len);
        return false;
    }
    *value = (uint32_t)number;
    return true;
}

BLITZ_FN bool blitz_config_bool(blitz_str key, bool fallback, bool *value)
{
    blitz_value found = blitz_config_value(key);
    if (!found.found) {
        *value = fallback;
        return true;
    }
    if (blitz_equal(found.text, BLITZ_STR("true")) || blitz_equal(found.text, BLITZ_STR("false"))) {
        *value = found.text.ptr[0] == 't';
        return true;
    }
    BLITZ_CONFIG_COMPLAINT(key, found.text, "true or false");
    return false;
}

/* A token (RFC 9110 section 5.6.2): what a method or a header name is made of. */
BLITZ_FN bool blitz_is_token(blitz_str text)
{
    static const char others[] = "!#$%&'*+-.^_`|~";
    for (uint32_t i = 0; i < text.len; i++) {
        char c = text.ptr[i];
        bool ok = (c >= '0' && c <= '9') || (blitz_lower(c) >= 'a' && blitz_lower(c) <= 'z');
        if (!ok && blitz_find(BLITZ_STR(others), c, 0) == sizeof others - 1) {
            return false;
        }
    }
    return text.len > 0;
}

/* ---------------------------------------------------------------- notes
 * Which instance serves which exchange is no promise, and an instance may hold several at a time
 * (instances = "single"). So a number that the response hook needs is kept by request id, in a ring:
 * what no response came for is overwritten. */

enum { BLITZ_NOTE_COUNT = 64, BLITZ_ID_SIZE = 32 };

typedef struct {
    char id[BLITZ_ID_SIZE];
    uint32_t id_len; /* 0: free */
    int64_t number;
} blitz_note;

__attribute__((unused)) static blitz_note blitz_notes[BLITZ_NOTE_COUNT];
__attribute__((unused)) static uint32_t blitz_next_note;

/* In a request hook: leave a number for this exchange. */
BLITZ_FN void blitz_note_put(int64_t number)
{
    blitz_note *note = &blitz_notes[blitz_next_note++ % BLITZ_NOTE_COUNT];
    blitz_value id = blitz_property_into(BLITZ_STR("request.id"), note->id, sizeof note->id);
    note->id_len = id.text.len;
    note->number = number;
}

/* In a response hook: take it. False when there is none. */
BLITZ_FN bool blitz_note_take(int64_t *number)
{
    char buf[BLITZ_ID_SIZE];
    blitz_str id = blitz_property_into(BLITZ_STR("request.id"), buf, sizeof buf).text;
    if (id.len == 0) {
        return false;
    }
    /* Backwards from the newest: in a pooled instance that is the one. */
    for (uint32_t i = 1; i <= BLITZ_NOTE_COUNT; i++) {
        blitz_note *note = &blitz_notes[(blitz_next_note - i) % BLITZ_NOTE_COUNT];
        if (blitz_equal(blitz_view(note->id, note->id_len), id)) {
            note->id_len = 0;
            *number = note->number;
            return true;
        }
    }
    return false;
}

#ifdef __cplusplus
} /* extern "C" */
#endif

/* ---------------------------------------------------------------- hooks
 *     BLITZ_INIT() { return 0; }
 *     BLITZ_REQUEST(method, path) { ...; return BLITZ_CONTINUE; }
 *     BLITZ_RESPONSE(status, body) { ... }
 *     BLITZ_CLEANUP() { return 0; }
 * and of bodies of any length, part by part; what an instance keeps in statics is the exchange's own:
 *     BLITZ_RESPONSE_HEAD(status) { ... }            instead of BLITZ_RESPONSE
 *     BLITZ_REQUEST_CHUNK(chunk, end) { ... }        BLITZ_STOP: the rest passes unseen; BLITZ_ERROR: it is cut
 *     BLITZ_RESPONSE_CHUNK(chunk, end) { ... }
 *     BLITZ_END(cause) { ... }                       the exchange is over
 * All are optional, but a plugin has at least one besides init, cleanup and end. Anything but 0 from init
 * means that the plugin does not load. */

#define BLITZ_EXPORT(name) BLITZ_C __attribute__((export_name(name), visibility("default")))

#define BLITZ_INIT()                                                                               \
    static int32_t blitz_on_init(void);                                                            \
    BLITZ_EXPORT("init") int32_t blitz_export_init(void);                                          \
    int32_t blitz_export_init(void)                                                                \
    {                                                                                              \
        int32_t result = blitz_on_init();                                                          \
        blitz_memory.kept = blitz_memory.top;                                                      \
        return result;                                                                             \
    }                                                                                              \
    static int32_t blitz_on_init(void)

#define BLITZ_REQUEST(method, path)                                                                \
    static int32_t blitz_on_request(blitz_str method, blitz_str path);                             \
    BLITZ_EXPORT("process_request")                                                                \
    int32_t blitz_export_request(const char *m, uint32_t m_len, const char *p, uint32_t p_len);    \
    int32_t blitz_export_request(const char *m, uint32_t m_len, const char *p, uint32_t p_len)     \
    {                                                                                              \
        int32_t verdict = blitz_on_request(blitz_view(m, m_len), blitz_view(p, p_len));            \
        blitz_memory_back(blitz_memory.kept);                                                      \
        return verdict;                                                                            \
    }                                                                                              \
    static int32_t blitz_on_request(blitz_str method, blitz_str path)

#define BLITZ_RESPONSE(status, body)                                                               \
    static int32_t blitz_on_response(int32_t status, blitz_str body);                              \
    BLITZ_EXPORT("process_response")                                                               \
    int32_t blitz_export_response(int32_t status, const char *b, uint32_t b_len);                  \
    int32_t blitz_export_response(int32_t code, const char *b, uint32_t b_len)                     \
    {                                                                                              \
        int32_t verdict = blitz_on_response(code, blitz_view(b, b_len));                           \
        blitz_memory_back(blitz_memory.kept);                                                      \
        return verdict;                                                                            \
    }                                                                                              \
    static int32_t blitz_on_response(int32_t status, blitz_str body)

#define BLITZ_RESPONSE_HEAD(status)                                                                \
    static int32_t blitz_on_response_head(int32_t status);                                         \
    BLITZ_EXPORT("process_response_head") int32_t blitz_export_response_head(int32_t code);        \
    int32_t blitz_export_response_head(int32_t code)                                               \
    {                                                                                              \
        int32_t verdict = blitz_on_response_head(code);                                            \
        blitz_memory_back(blitz_memory.kept);                                                      \
        return verdict;                                                                            \
    }                                                                                              \
    static int32_t blitz_on_response_head(int32_t status)

#define BLITZ_CHUNK_HOOK(name, on, exported, chunk, end)                                           \
    static int32_t on(blitz_str chunk, bool end);                                                  \
    BLITZ_EXPORT(name) int32_t exported(const char *c, uint32_t c_len, int32_t last);              \
    int32_t exported(const char *c, uint32_t c_len, int32_t last)                                  \
    {                                                                                              \
        int32_t verdict = on(blitz_view(c, c_len), last != 0);                                     \
        blitz_memory_back(blitz_memory.kept);                                                      \
        return verdict;                                                                            \
    }                                                                                              \
    static int32_t on(blitz_str chunk, bool end)

#define BLITZ_REQUEST_CHUNK(chunk, end)                                                            \
    BLITZ_CHUNK_HOOK("process_request_chunk", blitz_on_request_chunk, blitz_export_request_chunk,  \
                     chunk, end)

#define BLITZ_RESPONSE_CHUNK(chunk, end)                                                           \
    BLITZ_CHUNK_HOOK("process_response_chunk", blitz_on_response_chunk,                            \
                     blitz_export_response_chunk, chunk, end)

#define BLITZ_END(cause)                                                                           \
    static void blitz_on_end(blitz_str cause);                                                     \
    BLITZ_EXPORT("process_end") void blitz_export_end(const char *c, uint32_t c_len);              \
    void blitz_export_end(const char *c, uint32_t c_len)                                           \
    {                                                                                              \
        blitz_on_end(blitz_view(c, c_len));                                                        \
        blitz_memory_back(blitz_memory.kept);                                                      \
    }                                                                                              \
    static void blitz_on_end(blitz_str cause)

#define BLITZ_CLEANUP()                                                                            \
    static int32_t blitz_on_cleanup(void);                                                         \
    BLITZ_EXPORT("cleanup") int32_t blitz_export_cleanup(void);                                    \
    int32_t blitz_export_cleanup(void)                                                             \
    {                                                                                              \
        return blitz_on_cleanup();                                                                 \
    }                                                                                              \
    static int32_t blitz_on_cleanup(void)

#ifndef BLITZ_NO_EXPORTS

/* The fast path for arguments: the host writes them here without calling the guest. */
static char blitz_buffer_bytes[BLITZ_BUFFER_SIZE];

BLITZ_EXPORT("blitz_buffer") char *blitz_export_buffer(void);
char *blitz_export_buffer(void)
{
    return blitz_buffer_bytes;
}

BLITZ_EXPORT("blitz_buffer_size") uint32_t blitz_export_buffer_size(void);
uint32_t blitz_export_buffer_size(void)
{
    return BLITZ_BUFFER_SIZE;
}

#if defined(__has_feature) && !defined(BLITZ_LIBC)
#if __has_feature(undefined_behavior_sanitizer)
#include "blitz_ubsan.h"
#endif
#endif

#if defined(__cplusplus) && !defined(BLITZ_LIBC)
/* Run the constructors of global objects once per instance. (A C library brings this export along. Without
 * it the linker would have every call of a hook run them.) */
extern "C" void __wasm_call_ctors(void);
BLITZ_EXPORT("_initialize") void blitz_export_initialize(void);
void blitz_export_initialize(void)
{
    __wasm_call_ctors();
}
#endif

#ifdef BLITZ_ALLOCATOR
/* For arguments that the buffer cannot hold. They go when the hook returns. */
BLITZ_EXPORT("blitz_alloc") void *blitz_export_alloc(uint32_t size);
void *blitz_export_alloc(uint32_t size)
{
    return blitz_alloc_bytes(size);
}

BLITZ_EXPORT("blitz_free") void blitz_export_free(void *ptr, uint32_t len);
void blitz_export_free(void *ptr, uint32_t len)
{
    (void)ptr;
    (void)len;
}
#endif /* BLITZ_ALLOCATOR */
#endif /* BLITZ_NO_EXPORTS */
#endif /* BLITZ_H */
