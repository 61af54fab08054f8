/* module.c: compiled code, and what it imports and exports, spelt as short strings. */
#include "guest.h"
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const char LETTERS[] = "iIfFvrx";          /* in the order of the kinds below */

/* wasm_valtype_kind aborts the process on types it does not know; comparing does not. */
static char letter(const wasm_valtype_t *type)
{
    static const uint8_t kinds[] = {WASM_I32, WASM_I64, WASM_F32, WASM_F64, 0, WASM_FUNCREF, WASM_EXTERNREF};
    char found = '?';
    for (size_t i = 0; i < sizeof kinds && found == '?'; i++) {
        wasm_valtype_t *known = LETTERS[i] == 'v' ? blitz_wt.wasmtime_wasm_valtype_v128()
                                                  : blitz_wt.wasm_valtype_new(kinds[i]);
        if (blitz_wt.wasmtime_wasm_valtype_equal(type, known))
            found = LETTERS[i];
        blitz_wt.wasm_valtype_delete(known);
    }
    return found;
}

static char *spell_function(const wasm_functype_t *type)
{
    const wasm_valtype_vec_t *parameters = blitz_wt.wasm_functype_params(type);
    const wasm_valtype_vec_t *results = blitz_wt.wasm_functype_results(type);
    char *text = malloc(parameters->size + results->size + 2);
    if (text == NULL)
        return NULL;
    char *at = text;
    for (size_t i = 0; i < parameters->size; i++)
        *at++ = letter(parameters->data[i]);
    *at++ = ':';
    for (size_t i = 0; i < results->size; i++)
        *at++ = letter(results->data[i]);
    *at = 0;
    return text;
}

static char *spell_memory(const wasm_memorytype_t *type)
{
    char text[64];
    uint64_t maximum;
    int n = snprintf(text, sizeof text, "m%" PRIu64 ",", blitz_wt.wasmtime_memorytype_minimum(type));
    if (blitz_wt.wasmtime_memorytype_maximum(type, &maximum))
        n += snprintf(text + n, sizeof text - (size_t)n, "%" PRIu64, maximum);
    else
        n += snprintf(text + n, sizeof text - (size_t)n, "-");
    snprintf(text + n, sizeof text - (size_t)n, "%s%s", blitz_wt.wasmtime_memorytype_isshared(type) ? "s" : "",
             blitz_wt.wasmtime_memorytype_is64(type) ? "l" : "");
    return strdup(text);
}

static char *spell(const wasm_externtype_t *type)
{
    char text[3] = "?";
    switch (blitz_wt.wasm_externtype_kind(type)) {
    case WASM_EXTERN_FUNC:
        return spell_function(blitz_wt.wasm_externtype_as_functype_const(type));
    case WASM_EXTERN_MEMORY:
        return spell_memory(blitz_wt.wasm_externtype_as_memorytype_const(type));
    case WASM_EXTERN_TABLE:
        text[0] = 't';
        text[1] = letter(blitz_wt.wasm_tabletype_element(blitz_wt.wasm_externtype_as_tabletype_const(type)));
        break;
    case WASM_EXTERN_GLOBAL:
        text[0] = 'g';
        text[1] = letter(blitz_wt.wasm_globaltype_content(blitz_wt.wasm_externtype_as_globaltype_const(type)));
        break;
    default:
        break;
    }
    return strdup(text);
}

static bool spell_all(blitz_module *module)
{
    module->import_types = calloc(module->imports.size + 1, sizeof(char *));
    module->export_types = calloc(module->exports.size + 1, sizeof(char *));
    if (module->import_types == NULL || module->export_types == NULL)
        return false;
    bool good = true;
    for (size_t i = 0; i < module->imports.size; i++) {
        module->import_types[i] = spell(blitz_wt.wasm_importtype_type(module->imports.data[i]));
        good = good && module->import_types[i] != NULL;
    }
    for (size_t i = 0; i < module->exports.size; i++) {
        module->export_types[i] = spell(blitz_wt.wasm_exporttype_type(module->exports.data[i]));
        good = good && module->export_types[i] != NULL;
    }
    return good;
}

/* An engine that knows none of it refuses what uses it. Nothing is compiled by it. */
int blitz_wasm_needs_gc(const uint8_t *wasm, size_t len)
{
    wasm_config_t *config = blitz_wt.wasm_config_new();
    blitz_wt.wasmtime_config_wasm_gc_set(config, false);
    blitz_wt.wasmtime_config_wasm_function_references_set(config, false);
    blitz_wt.wasmtime_config_wasm_exceptions_set(config, false);
    wasm_engine_t *without = blitz_wt.wasm_engine_new_with_config(config);
    wasmtime_error_t *refused = blitz_wt.wasmtime_module_validate(without, wasm, len);
    blitz_wt.wasm_engine_delete(without);
    if (refused == NULL)
        return 0;
    blitz_wt.wasmtime_error_delete(refused);
    return 1;
}

/* Takes wasm. */
static blitz_module *wrap(blitz_engine *engine, wasmtime_module_t *wasm, char *error, size_t error_cap)
{
    blitz_module *module = calloc(1, sizeof *module);
    if (module == NULL) {
        blitz_wt.wasmtime_module_delete(wasm);
        snprintf(error, error_cap, "out of memory");
        return NULL;
    }
    module->engine = engine;
    module->wasm = wasm;
    blitz_wt.wasmtime_module_imports(wasm, &module->imports);
    blitz_wt.wasmtime_module_exports(wasm, &module->exports);
    if (!spell_all(module)) {
        blitz_module_free(module);
        snprintf(error, error_cap, "out of memory");
        return NULL;
    }
    return module;
}

blitz_module *blitz_module_compile(blitz_engine *engine, const uint8_t *wasm, size_t len,
                                   char *error, size_t error_cap)
{
    wasmtime_module_t *module = NULL;
    wasmtime_error_t *failed = blitz_wt.wasmtime_module_new(engine->wasm, wasm, len, &module);
    if (failed != NULL) {
        blitz_wasmtime_explain(failed, error, error_cap);
        return NULL;
    }
    return wrap(engine, module, error, error_cap);
}

blitz_module *blitz_module_load(blitz_engine *engine, const char *path, char *error, size_t error_cap)
{
    wasmtime_module_t *module = NULL;
    wasmtime_error_t *failed = blitz_wt.wasmtime_module_deserialize_file(engine->wasm, path, &module);
    if (failed != NULL) {
        blitz_wasmtime_explain(failed, error, error_cap);
        return NULL;
    }
    return wrap(engine, module, error, error_cap);
}

int64_t blitz_module_serialize(blitz_module *module, uint8_t **out)
{
    wasm_byte_vec_t bytes = {0, NULL};
    wasmtime_error_t *failed = blitz_wt.wasmtime_module_serialize(module->wasm, &bytes);
    if (failed != NULL) {
        blitz_wt.wasmtime_error_delete(failed);
        return BLITZ_E_ENGINE;
    }
    uint8_t *copy = malloc(bytes.size + 1);
    int64_t size = copy == NULL ? BLITZ_E_NOMEM : (int64_t)bytes.size;
    if (copy != NULL) {
        memcpy(copy, bytes.data, bytes.size);
        *out = copy;
    }
    blitz_wt.wasm_byte_vec_delete(&bytes);
    return size;
}

void blitz_bytes_free(uint8_t *bytes) { free(bytes); }

void blitz_module_free(blitz_module *module)
{
    if (module == NULL)
        return;
    for (size_t i = 0; module->import_types != NULL && i < module->imports.size; i++)
        free(module->import_types[i]);
    for (size_t i = 0; module->export_types != NULL && i < module->exports.size; i++)
        free(module->export_types[i]);
    free(module->import_types);
    free(module->export_types);
    blitz_wt.wasm_importtype_vec_delete(&module->imports);
    blitz_wt.wasm_exporttype_vec_delete(&module->exports);
    blitz_wt.wasmtime_module_delete(module->wasm);
    free(module);
}

static blitz_text text_of(const wasm_byte_vec_t *bytes)
{
    return (blitz_text){(const uint8_t *)bytes->data, bytes->size};
}

uint32_t blitz_module_n_imports(const blitz_module *module) { return (uint32_t)module->imports.size; }
uint32_t blitz_module_n_exports(const blitz_module *module) { return (uint32_t)module->exports.size; }

blitz_import blitz_module_import(const blitz_module *module, uint32_t index)
{
    const wasm_importtype_t *type = module->imports.data[index];
    return (blitz_import){text_of(blitz_wt.wasm_importtype_module(type)),
                          text_of(blitz_wt.wasm_importtype_name(type)), module->import_types[index]};
}

blitz_export blitz_module_export(const blitz_module *module, uint32_t index)
{
    return (blitz_export){text_of(blitz_wt.wasm_exporttype_name(module->exports.data[index])),
                          module->export_types[index]};
}
