/* plugin.c: a module bound to what it may do: host functions, limits, granted environment, config. */
#include "abi.h"
#include "store_call.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

blitz_plugin *blitz_plugin_new(blitz_module *module, const char *name, const blitz_plugin_limits *limits)
{
    blitz_plugin *plugin = calloc(1, sizeof *plugin);
    if (plugin == NULL)
        return NULL;
    plugin->engine = module->engine;
    plugin->module = module;
    plugin->limits = *limits;
    plugin->name = strdup(name);
    plugin->namespace = strdup(name);
    plugin->bindings = calloc(module->imports.size + 1, sizeof *plugin->bindings);
    if (plugin->name == NULL || plugin->namespace == NULL || plugin->bindings == NULL) {
        blitz_plugin_free(plugin);
        return NULL;
    }
    plugin->name_len = strlen(name);
    return plugin;
}

static void free_pairs(blitz_pairs *pairs)
{
    for (size_t i = 0; i < pairs->n; i++) {
        free(pairs->items[i].key);
        free(pairs->items[i].value);
    }
    free(pairs->items);
}

void blitz_plugin_free(blitz_plugin *plugin)
{
    if (plugin == NULL)
        return;
    if (plugin->pre != NULL)
        blitz_wt.wasmtime_instance_pre_delete(plugin->pre);
    free_pairs(&plugin->env);
    free_pairs(&plugin->upstreams);
    free_pairs(&plugin->config);
    for (size_t i = 0; i < 2 * BLITZ_LOG_LEVELS; i++)
        free(plugin->spellings[i / BLITZ_LOG_LEVELS][i % BLITZ_LOG_LEVELS].bytes);
    free(plugin->bindings);
    free(plugin->name);
    free(plugin->namespace);
    free(plugin);
}

/* ---------------------------------------------------------------- grants and configuration */

static uint8_t *copy(const uint8_t *bytes, size_t len)
{
    uint8_t *made = malloc(len + 1);
    if (made != NULL && len > 0)
        memcpy(made, bytes, len);
    return made;
}

static int add_pair(blitz_pairs *pairs, const uint8_t *key, size_t key_len, const uint8_t *value, size_t value_len)
{
    blitz_pair *grown = realloc(pairs->items, (pairs->n + 1) * sizeof *grown);
    if (grown == NULL)
        return BLITZ_E_NOMEM;
    pairs->items = grown;
    blitz_pair pair = {copy(key, key_len), key_len, copy(value, value_len), value_len};
    if (pair.key == NULL || pair.value == NULL) {
        free(pair.key);
        free(pair.value);
        return BLITZ_E_NOMEM;
    }
    pairs->items[pairs->n++] = pair;
    return 0;
}

const blitz_pair *blitz_pairs_find(const blitz_pairs *pairs, const uint8_t *key, size_t key_len)
{
    for (size_t i = 0; i < pairs->n; i++) {
        const blitz_pair *pair = &pairs->items[i];
        if (pair->key_len == key_len && (key_len == 0 || memcmp(pair->key, key, key_len) == 0))
            return pair;
    }
    return NULL;
}

int blitz_plugin_grant_env(blitz_plugin *plugin, const uint8_t *name, size_t name_len,
                           const uint8_t *value, size_t value_len)
{
    return add_pair(&plugin->env, name, name_len, value, value_len);
}

int blitz_plugin_grant_upstream(blitz_plugin *plugin, const uint8_t *name, size_t len)
{
    return add_pair(&plugin->upstreams, name, len, NULL, 0);
}

int blitz_plugin_set_namespace(blitz_plugin *plugin, const char *name)
{
    char *made = strdup(name);
    if (made == NULL)
        return BLITZ_E_NOMEM;
    free(plugin->namespace);
    plugin->namespace = made;
    return 0;
}

int blitz_plugin_set_config(blitz_plugin *plugin, const uint8_t *key, size_t key_len,
                            const uint8_t *value, size_t value_len)
{
    return add_pair(&plugin->config, key, key_len, value, value_len);
}

void blitz_plugin_allow_reroute(blitz_plugin *plugin) { plugin->may_reroute = true; }
void blitz_plugin_allow_fine_clock(blitz_plugin *plugin) { plugin->fine_clock = true; }
void blitz_plugin_set_log_level(blitz_plugin *plugin, int level) { plugin->limits.log_level = level; }
void blitz_plugin_set_state(blitz_plugin *plugin, blitz_state *state) { plugin->state = state; }
void blitz_plugin_set_measures(blitz_plugin *plugin, blitz_plugin_measures *measures) { plugin->measures = measures; }

/* ---------------------------------------------------------------- imports */

static bool is_type(const char *found, const char *wanted)
{
    return wanted != NULL && strcmp(found, wanted) == 0;
}

int blitz_plugin_bind(blitz_plugin *plugin, uint32_t index, int how, uint32_t row)
{
    if (index >= plugin->module->imports.size || plugin->pre != NULL)
        return BLITZ_E_STATE;
    const char *type = plugin->module->import_types[index];
    const blitz_host_function *function = NULL;
    if (how == BLITZ_BIND_PLAIN || how == BLITZ_BIND_BINDGEN) {
        if (row >= blitz_host_n())
            return BLITZ_E_STATE;
        function = blitz_host_function_at(row);
        if (!is_type(type, how == BLITZ_BIND_PLAIN ? function->row.plain_type : function->row.bindgen_type))
            return BLITZ_E_STATE;
    } else if (how == BLITZ_BIND_EXTERNREF_TABLE ? !is_type(type, ":") : strchr(type, ':') == NULL) {
        return BLITZ_E_STATE;
    }
    plugin->bindings[index] = (blitz_binding){.plugin = plugin, .import = index, .how = (uint8_t)how,
                                              .bound = true, .function = function};
    return 0;
}

/* ---------------------------------------------------------------- exports */

int blitz_plugin_speak(blitz_plugin *plugin, const char *abi)
{
    plugin->abi = blitz_abi_named(abi);
    return plugin->abi != NULL ? 0 : BLITZ_E_STATE;
}

static bool may_play(const blitz_abi *abi, int part, const char *type)
{
    if (part == BLITZ_X_MEMORY)
        return type[0] == 'm' && strpbrk(type, "sl") == NULL;
    return is_type(type, abi->types[part][0]) || is_type(type, abi->types[part][1]);
}

int blitz_plugin_use_export(blitz_plugin *plugin, int part, uint32_t index)
{
    if (part < 0 || part >= BLITZ_X_COUNT || index >= plugin->module->exports.size || plugin->abi == NULL)
        return BLITZ_E_STATE;
    const char *type = plugin->module->export_types[index];
    if (!may_play(plugin->abi, part, type))
        return BLITZ_E_STATE;
    plugin->parts[part] = (blitz_part){.index = index, .used = true, .parameters = (uint8_t)strcspn(type, ":")};
    return 0;
}

/* ---------------------------------------------------------------- linking */

static wasmtime_func_unchecked_callback_t callback(const blitz_binding *binding)
{
    if (binding->how == BLITZ_BIND_TRAP)
        return blitz_call_unserved;
    if (binding->how == BLITZ_BIND_EXTERNREF_TABLE)
        return blitz_call_externref_table;
    return binding->function->call;
}

static wasmtime_error_t *define(wasmtime_linker_t *linker, blitz_binding *binding)
{
    const wasm_importtype_t *type = binding->plugin->module->imports.data[binding->import];
    const wasm_byte_vec_t *module = blitz_wt.wasm_importtype_module(type);
    const wasm_byte_vec_t *name = blitz_wt.wasm_importtype_name(type);
    const wasm_functype_t *function =
        blitz_wt.wasm_externtype_as_functype_const(blitz_wt.wasm_importtype_type(type));
    return blitz_wt.wasmtime_linker_define_func_unchecked(linker, module->data, module->size, name->data,
                                                          name->size, function, callback(binding), binding, NULL);
}

int blitz_plugin_link(blitz_plugin *plugin, char *error, size_t error_cap)
{
    if (plugin->pre != NULL || plugin->abi == NULL || !plugin->parts[BLITZ_X_MEMORY].used) {
        snprintf(error, error_cap, "a plugin is linked once, with an interface and a memory");
        return BLITZ_E_STATE;
    }
    if (plugin->may_wait && !blitz_store_can_pause(plugin->engine, error, error_cap))
        return BLITZ_E_ENGINE;
    wasmtime_linker_t *linker = blitz_wt.wasmtime_linker_new(plugin->engine->wasm);
    blitz_wt.wasmtime_linker_allow_shadowing(linker, true);    /* the same import twice is legal wasm */
    wasmtime_error_t *failed = NULL;
    for (size_t i = 0; failed == NULL && i < plugin->module->imports.size; i++)
        if (plugin->bindings[i].bound)
            failed = define(linker, &plugin->bindings[i]);
    if (failed == NULL)
        failed = blitz_wt.wasmtime_linker_instantiate_pre(linker, plugin->module->wasm, &plugin->pre);
    blitz_wt.wasmtime_linker_delete(linker);
    if (failed == NULL)
        return 0;
    blitz_wasmtime_explain(failed, error, error_cap);
    return BLITZ_E_ENGINE;
}
