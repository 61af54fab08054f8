/* random_code.h: the functions of a random module (random_module.h): valid code, and what it does is the input's
 * choice, statement by statement. */
#ifndef BLITZ_TEST_RANDOM_CODE_H
#define BLITZ_TEST_RANDOM_CODE_H
#include "guest.h"
#include "guard.h"
#include "input.h"
#include <string.h>

enum { MOST_CODE = 1 << 17, MOST_IMPORTS = 12, MOST_TYPES = 64, MOST_DEPTH = 4, MOST_NESTED_STATEMENTS = 3 };
enum { OWN = 12, OWN_HELPERS = 3 };                    /* functions of its own: parts START..BUFFER_SIZE, then helpers */

typedef struct { uint8_t bytes[MOST_CODE]; size_t len; } code;
typedef struct { const char *type; int how; uint32_t row; } random_import;
typedef struct {                                       /* part -> what plays it */
    bool used;
    uint32_t function;                                 /* index of function; of memory and table: 0, 1 */
} random_part;

typedef struct {
    source *in;
    const char *types[MOST_TYPES];
    uint32_t n_types;
    random_import imports[MOST_IMPORTS];
    uint32_t n_imports;
    const char *own[OWN];                              /* their types */
    random_part parts[BLITZ_X_COUNT];
    uint32_t pages;
    code wasm;
} random_module;

/* ---------------------------------------------------------------- bytes */

static inline void put_byte(code *out, uint8_t byte)
{
    MUST(out->len < sizeof out->bytes, "the module is too large");
    out->bytes[out->len++] = byte;
}

static inline void put_bytes(code *out, const void *bytes, size_t len)
{
    MUST(len <= sizeof out->bytes - out->len, "the module is too large");
    memcpy(out->bytes + out->len, bytes, len);
    out->len += len;
}

static inline void put_unsigned(code *out, uint64_t value)
{
    for (; value > 0x7f; value >>= 7)
        put_byte(out, (uint8_t)(value | 0x80));
    put_byte(out, (uint8_t)value);
}

static inline void put_signed(code *out, int64_t value)
{
    for (; value > 63 || value < -64; value >>= 7)
        put_byte(out, (uint8_t)((value & 0x7f) | 0x80));
    put_byte(out, (uint8_t)(value & 0x7f));
}

static inline void put_name(code *out, char letter, uint32_t number)
{
    char name[16];
    int len = snprintf(name, sizeof name, "%c%u", letter, number);
    put_unsigned(out, (uint64_t)len);
    put_bytes(out, name, (size_t)len);
}

static inline void put_section(code *out, uint8_t id, const code *body)
{
    put_byte(out, id);
    put_unsigned(out, body->len);
    put_bytes(out, body->bytes, body->len);
}

/* ---------------------------------------------------------------- types */

static inline uint8_t value_type(char letter)
{
    return letter == 'i' ? 0x7f : letter == 'I' ? 0x7e : letter == 'f' ? 0x7d : 0x7c;
}

static inline uint32_t type_index(random_module *m, const char *type)
{
    uint32_t i = 0;
    while (i < m->n_types && strcmp(m->types[i], type) != 0)
        i++;
    if (i == m->n_types) {
        MUST(i < MOST_TYPES, "too many types");
        m->types[m->n_types++] = type;
    }
    return i;
}

static inline uint32_t n_parameters(const char *type) { return (uint32_t)strcspn(type, ":"); }
static inline char result_of(const char *type) { return type[n_parameters(type) + 1]; }

static inline const char *type_of(const random_module *m, uint32_t function)
{
    return function < m->n_imports ? m->imports[function].type : m->own[function - m->n_imports];
}

/* ---------------------------------------------------------------- expressions and statements */

/* Of each function: its parameters, then these. */
typedef struct { uint32_t last, count, wide; } locals;   /* i32, i32, i64 */
enum { DATA = 16 };                                       /* where the words below stand in the memory */
static const char WORDS[] = "plugin.namehostxrequest.idKEYinfotrace/a?b\r\nGET";
static const struct { uint8_t at, len; } WORD[] = {{0, 11}, {11, 4}, {15, 1}, {16, 10}, {26, 3}, {29, 4}, {33, 5},
                                                   {38, 4}, {42, 2}, {44, 3}, {0, 47}, {0, 0}};

static inline void put_i32(code *out, uint32_t value)
{
    put_byte(out, 0x41);
    put_signed(out, (int32_t)value);
}

static inline void put_local(code *out, uint8_t what, uint32_t index)   /* 0x20 get, 0x21 set, 0x22 tee */
{
    put_byte(out, what);
    put_unsigned(out, index);
}

/* Near the start, near the end, anywhere, or what the last call gave. */
static inline void put_number(random_module *m, code *out, const locals *mine)
{
    uint8_t how = take_byte(m->in);
    if (how < 150)
        put_i32(out, how);
    else if (how < 190)
        put_i32(out, m->pages * 65536 - (how - 150u));
    else if (how < 230)
        put_local(out, 0x20, mine->last);
    else
        put_i32(out, take_word(m->in));
}

static inline void put_value(random_module *m, code *out, char letter, const locals *mine)
{
    static const uint8_t zeros[8] = {0};
    if (letter == 'i') {
        put_number(m, out, mine);
    } else if (letter == 'I') {
        put_byte(out, 0x42);
        put_signed(out, (int64_t)((uint64_t)take_word(m->in) << (take_byte(m->in) & 31)) - 1000);
    } else {
        put_byte(out, letter == 'f' ? 0x43 : 0x44);
        put_bytes(out, zeros, letter == 'f' ? 4 : 8);
    }
}

/* first: how many of them are no strings. */
static inline void put_arguments(random_module *m, code *out, const char *type, size_t first, const locals *mine)
{
    for (size_t i = 0; i < first; i++)
        put_value(m, out, type[i], mine);
    for (size_t i = first; type[i] != ':'; i++) {
        uint8_t word = type[i] == 'i' && type[i + 1] == 'i' ? take_byte(m->in) : 255;
        if (word < 128) {                              /* a pointer and a length that mean something */
            put_i32(out, DATA + (uint32_t)WORD[word % (sizeof WORD / sizeof *WORD)].at);
            put_i32(out, WORD[word % (sizeof WORD / sizeof *WORD)].len);
            i++;
        } else {
            put_value(m, out, type[i], mine);
        }
    }
}

static inline void put_call(random_module *m, code *out, uint32_t function, const locals *mine)
{
    const char *type = type_of(m, function);
    bool retptr = function < m->n_imports && m->imports[function].how == BLITZ_BIND_BINDGEN;
    put_arguments(m, out, type, retptr, mine);
    put_byte(out, 0x10);
    put_unsigned(out, function);
    if (result_of(type) == 'i')
        put_local(out, 0x21, mine->last);
    else if (result_of(type) == 'I')
        put_local(out, 0x21, mine->wide);
    else if (result_of(type) != 0)
        put_byte(out, 0x1a);
}

static inline void put_statement(random_module *m, code *out, const locals *mine, int nested);

/* count = n; do { statement } while (--count) */
static inline void put_loop(random_module *m, code *out, const locals *mine, int nested)
{
    put_i32(out, 1 + take_byte(m->in));
    put_local(out, 0x21, mine->count);
    put_bytes(out, "\x03\x40", 2);
    put_statement(m, out, mine, nested);
    put_local(out, 0x20, mine->count);
    put_bytes(out, "\x41\x01\x6b", 3);
    put_local(out, 0x22, mine->count);
    put_bytes(out, "\x0d\x00\x0b", 3);
}

static inline void put_grow_table(random_module *m, code *out)
{
    uint8_t what = take_byte(m->in), table = what & 1;
    put_bytes(out, table == 0 ? "\xd0\x70" : "\xd0\x6f", 2);
    put_i32(out, what < 200 ? what : take_word(m->in));
    put_bytes(out, "\xfc\x0f", 2);
    put_byte(out, table);
    put_byte(out, 0x1a);
}

static inline void put_access(random_module *m, code *out, const locals *mine)
{
    bool store = take_byte(m->in) & 1;
    put_number(m, out, mine);
    if (store)
        put_number(m, out, mine);
    put_bytes(out, store ? "\x36\x00\x00" : "\x28\x00\x00", 3);
    if (!store)
        put_local(out, 0x21, mine->last);
}

static inline void put_statement(random_module *m, code *out, const locals *mine, int nested)
{
    uint8_t what = take_byte(m->in), which = take_byte(m->in);
    uint32_t deep = m->n_imports + OWN - 1;
    switch (what % 19) {
    case 7: case 8:
        put_call(m, out, m->n_imports + which % (OWN - 1), mine);
        break;
    case 9:
        put_i32(out, which < 250 ? which % 20 : take_word(m->in));
        put_bytes(out, "\x40\x00", 2);
        put_local(out, 0x21, mine->last);
        break;
    case 10:
        put_access(m, out, mine);
        break;
    case 11:
        put_grow_table(m, out);
        break;
    case 12:
        if (nested < MOST_NESTED_STATEMENTS)
            put_loop(m, out, mine, nested + 1);
        break;
    case 13:
        put_local(out, 0x20, mine->last);
        put_bytes(out, which & 1 ? "\x41\x01\x71\x04\x40" : "\x04\x40", which & 1 ? 5 : 2);
        if (nested < MOST_NESTED_STATEMENTS)
            put_statement(m, out, mine, nested + 1);
        put_byte(out, 0x05);
        if (nested < MOST_NESTED_STATEMENTS)
            put_statement(m, out, mine, nested + 1);
        put_byte(out, 0x0b);
        break;
    case 14:
        if (which < 100) {                             /* host functions from the bottom of a deep stack */
            put_i32(out, which * 128u);
            put_byte(out, 0x10);
            put_unsigned(out, deep);
        } else if (which < 200) {                      /* anything of () -> () through a table */
            put_i32(out, which % 32);
            put_byte(out, 0x11);
            put_unsigned(out, type_index(m, ":"));
            put_byte(out, 0);
        }
        break;
    case 15:
        if (which % 8 == 0)
            put_byte(out, 0x00);
        else if (which % 32 == 1)
            put_bytes(out, "\x03\x40\x0c\x00\x0b", 5);
        break;
    case 16:
        if (which % 4 == 0)
            put_bytes(out, "\x08\x00", 2);             /* throw */
        break;
    case 17:                                           /* block try_table (catch_all 0) ... */
        put_bytes(out, "\x02\x40\x1f\x40\x01\x02\x00", 7);
        if (nested < MOST_NESTED_STATEMENTS)
            put_statement(m, out, mine, nested + 1);
        put_bytes(out, "\x0b\x0b", 2);
        break;
    case 18:                                           /* array.new_default, kept as long as another is not made */
        put_i32(out, which < 200 ? which * 64u : take_word(m->in));
        put_bytes(out, "\xfb\x07", 2);
        put_unsigned(out, m->n_types);
        put_bytes(out, "\x24\x01", 2);
        break;
    default:
        if (m->n_imports > 0)
            put_call(m, out, which % m->n_imports, mine);
    }
}

/* ---------------------------------------------------------------- functions */

static inline void put_result(random_module *m, code *out, int part, const locals *mine)
{
    uint8_t how = take_byte(m->in);
    if (part == BLITZ_X_ALLOC && how < 160)
        put_i32(out, 256 + 64 * (uint32_t)how);
    else if (how < 160)
        put_i32(out, how < 130 ? 0 : how % 3);
    else
        put_number(m, out, mine);
}

/* Recursion ends at a depth, so that most calls come to an end: if (depth > MOST) return; depth++; ...; depth--. */
static inline void put_body(random_module *m, code *out, int part, const char *type)
{
    uint32_t n = n_parameters(type);
    locals mine = {n, n + 1, n + 2};
    char result = result_of(type);
    put_bytes(out, "\x02\x02\x7f\x01\x7e", 5);
    put_bytes(out, "\x23\x00\x41", 3);
    put_byte(out, MOST_DEPTH);
    put_bytes(out, "\x4a\x04\x40", 3);
    if (result != 0)
        put_i32(out, 0);
    put_bytes(out, "\x0f\x0b\x23\x00\x41\x01\x6a\x24\x00", 9);
    for (uint32_t left = take_byte(m->in) % 8; left > 0; left--)
        put_statement(m, out, &mine, 0);
    put_bytes(out, "\x23\x00\x41\x01\x6b\x24\x00", 7);
    if (result != 0)
        put_result(m, out, part, &mine);
    put_byte(out, 0x0b);
}

/* (i32) -> (): recurse so often, then one statement. */
static inline void put_deep_body(random_module *m, code *out, uint32_t self)
{
    locals mine = {1, 2, 3};
    put_bytes(out, "\x02\x02\x7f\x01\x7e\x20\x00\x04\x40\x20\x00\x41\x01\x6b\x10", 15);
    put_unsigned(out, self);
    put_byte(out, 0x05);
    put_statement(m, out, &mine, MOST_NESTED_STATEMENTS);
    put_bytes(out, "\x0b\x0b", 2);
}
#endif
