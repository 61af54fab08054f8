/* random_module.h: a valid WebAssembly module whose every function does what the input says: calls host functions
 * with any arguments, calls its own, grows memory and tables, recurses, loops, traps, throws and catches, makes
 * garbage-collected values. Its start section, its hooks, its allocator and its getters are such functions, or are
 * host functions that it exports again. */
#ifndef BLITZ_TEST_RANDOM_MODULE_H
#define BLITZ_TEST_RANDOM_MODULE_H
#include "random_code.h"

/* ---------------------------------------------------------------- what it imports and exports */

static const char *const PART_TYPES[BLITZ_X_COUNT][2] = {
    [BLITZ_X_START] = {":", ":"},           [BLITZ_X_INIT] = {":i", ":i"},
    [BLITZ_X_REQUEST] = {"iiii:i", "iiii:i"}, [BLITZ_X_RESPONSE] = {"iii:i", "iii:i"},
    [BLITZ_X_CLEANUP] = {":i", ":i"},       [BLITZ_X_ALLOC] = {"i:i", "ii:i"},
    [BLITZ_X_FREE] = {"i:", "ii:"},         [BLITZ_X_BUFFER] = {":i", ":i"},
    [BLITZ_X_BUFFER_SIZE] = {":i", ":i"},
};

/* Any row; one in two is of those that use the allocator. */
static inline uint32_t choose_row(random_module *m)
{
    uint8_t how = take_byte(m->in);
    uint32_t row = how % blitz_host_n();
    while (how >= 128 && blitz_host_at(row).bindgen_type == NULL)
        row = (row + 1) % blitz_host_n();
    return row;
}

static inline void choose_imports(random_module *m)
{
    uint8_t many = take_byte(m->in);
    m->n_imports = many == 0 ? 0 : 1 + many % MOST_IMPORTS;
    for (uint32_t i = 0; i < m->n_imports; i++) {
        random_import *import = &m->imports[i];
        uint8_t how = take_byte(m->in);
        blitz_host_row row = blitz_host_at(import->row = choose_row(m));
        *import = (random_import){row.plain_type, BLITZ_BIND_PLAIN, import->row};
        if (row.bindgen_type != NULL && how < 160)
            *import = (random_import){row.bindgen_type, BLITZ_BIND_BINDGEN, import->row};
        if (how >= 240)
            import->how = BLITZ_BIND_TRAP;
        if (how >= 225 && how < 240)
            *import = (random_import){":", BLITZ_BIND_EXTERNREF_TABLE, 0};
    }
}

/* Its own function of that part, or an import of the same type. */
static inline void choose_parts(random_module *m)
{
    m->own[0] = ":";                                   /* of the memory's place: never exported */
    for (int part = BLITZ_X_START; part <= BLITZ_X_BUFFER_SIZE; part++) {
        uint8_t how = take_byte(m->in);
        const char *type = m->own[part] = PART_TYPES[part][how & 1];
        uint32_t function = m->n_imports + (uint32_t)part;
        for (uint32_t i = 0; i < m->n_imports && how >= 200; i++)
            if (strcmp(m->imports[i].type, type) == 0)
                function = i;
        m->parts[part] = (random_part){how % 4 != 3, function};
    }
    m->own[10] = "i:i";
    m->own[OWN - 1] = "i:";                            /* the deep one */
    m->parts[BLITZ_X_MEMORY] = (random_part){true, 0};
    m->parts[BLITZ_X_EXTERNREFS] = (random_part){take_byte(m->in) % 4 != 3, 1};
    static_assert(BLITZ_X_BUFFER_SIZE == 9 && OWN == 12, "places of the functions");
}

/* ---------------------------------------------------------------- sections */

static inline void put_types(random_module *m, code *body)
{
    put_unsigned(body, m->n_types + 1);
    for (uint32_t i = 0; i < m->n_types; i++) {
        const char *type = m->types[i];
        put_byte(body, 0x60);
        put_unsigned(body, n_parameters(type));
        for (; *type != ':'; type++)
            put_byte(body, value_type(*type));
        put_unsigned(body, type[1] != 0);
        if (type[1] != 0)
            put_byte(body, value_type(type[1]));
    }
    put_bytes(body, "\x5e\x78\x01", 3);                /* (array (mut i8)), behind those of functions */
}

static inline void put_imports(random_module *m, code *body)
{
    put_unsigned(body, m->n_imports);
    for (uint32_t i = 0; i < m->n_imports; i++) {
        put_name(body, 'm', 0);
        put_name(body, 'f', i);
        put_byte(body, 0);
        put_unsigned(body, type_index(m, m->imports[i].type));
    }
}

static inline uint32_t put_exports(random_module *m, code *body)
{
    uint32_t n = 0;
    for (int part = 0; part < BLITZ_X_COUNT; part++)
        n += m->parts[part].used;
    put_unsigned(body, n);
    for (int part = 0; part < BLITZ_X_COUNT; part++) {
        if (!m->parts[part].used)
            continue;
        put_name(body, 'p', (uint32_t)part);
        put_byte(body, part == BLITZ_X_MEMORY ? 2 : part == BLITZ_X_EXTERNREFS ? 1 : 0);
        put_unsigned(body, m->parts[part].function);
    }
    return n;
}

static inline void put_small_sections(random_module *m)
{
    static code body;
    body.len = 0;                                      /* tables: of all functions, of externrefs */
    put_bytes(&body, "\x02\x70\x00\x20\x6f\x00\x01", 7);
    put_section(&m->wasm, 4, &body);
    body.len = 0;
    uint8_t how = take_byte(m->in);
    m->pages = how % 4;
    put_bytes(&body, how & 128 ? "\x01\x01" : "\x01\x00", 2);
    put_unsigned(&body, m->pages);
    if (how & 128)
        put_unsigned(&body, m->pages + how % 3);
    put_section(&m->wasm, 5, &body);
    body.len = 0;                                      /* a tag; the depth of recursion and the array kept */
    put_bytes(&body, "\x01\x00", 2);
    put_unsigned(&body, type_index(m, ":"));
    put_section(&m->wasm, 13, &body);
    body.len = 0;
    put_bytes(&body, "\x02\x7f\x01\x41\x00\x0b\x63", 7);
    put_signed(&body, m->n_types);
    put_bytes(&body, "\x01\xd0", 2);
    put_signed(&body, m->n_types);
    put_byte(&body, 0x0b);
    put_section(&m->wasm, 6, &body);
    body.len = 0;
    put_exports(m, &body);
    put_section(&m->wasm, 7, &body);
}

/* One that is () -> () and not all too seldom a host function. */
static inline void put_start(random_module *m)
{
    static code body;
    uint8_t how = take_byte(m->in);
    uint32_t start = m->n_imports;
    for (uint32_t i = 0; i < m->n_imports && how >= 200; i++)
        if (strcmp(m->imports[i].type, ":") == 0)
            start = i;
    body.len = 0;
    put_unsigned(&body, start);
    if (how < 64 || how >= 128)
        put_section(&m->wasm, 8, &body);
}

static inline void put_elements(random_module *m)
{
    static code body;
    body.len = 0;
    put_bytes(&body, "\x01\x00\x41\x00\x0b", 5);
    put_unsigned(&body, m->n_imports + OWN);
    for (uint32_t i = 0; i < m->n_imports + OWN; i++)
        put_unsigned(&body, i);
    put_section(&m->wasm, 9, &body);
}

static inline void put_code(random_module *m)
{
    static code body, one;
    body.len = 0;
    put_unsigned(&body, OWN);
    for (int i = 0; i < OWN; i++) {
        one.len = 0;
        if (i == OWN - 1)
            put_deep_body(m, &one, m->n_imports + (uint32_t)i);
        else
            put_body(m, &one, i, m->own[i]);
        put_unsigned(&body, one.len);
        put_bytes(&body, one.bytes, one.len);
    }
    put_section(&m->wasm, 10, &body);
}

static inline void put_data(random_module *m)
{
    static code body;
    body.len = 0;
    put_bytes(&body, "\x01\x00\x41", 3);
    put_signed(&body, DATA);
    put_byte(&body, 0x0b);
    put_unsigned(&body, sizeof WORDS - 1);
    put_bytes(&body, WORDS, sizeof WORDS - 1);
    if (m->pages > 0)
        put_section(&m->wasm, 11, &body);
}

/* Make the module that the input describes. */
static inline void random_module_make(random_module *m, source *in)
{
    static code body;
    m->in = in;
    m->wasm.len = m->n_types = 0;
    choose_imports(m);
    choose_parts(m);
    for (uint32_t i = 0; i < m->n_imports; i++)
        type_index(m, m->imports[i].type);
    for (int i = 0; i < OWN; i++)
        type_index(m, m->own[i]);
    put_bytes(&m->wasm, "\0asm\x01\0\0\0", 8);
    body.len = 0;
    put_types(m, &body);
    put_section(&m->wasm, 1, &body);
    body.len = 0;
    put_imports(m, &body);
    put_section(&m->wasm, 2, &body);
    body.len = 0;
    put_unsigned(&body, OWN);
    for (int i = 0; i < OWN; i++)
        put_unsigned(&body, type_index(m, m->own[i]));
    put_section(&m->wasm, 3, &body);
    put_small_sections(m);
    put_start(m);
    put_elements(m);
    put_code(m);
    put_data(m);
}
#endif
