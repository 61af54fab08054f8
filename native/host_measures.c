/* host_measures.c: a plugin's own metrics: count, gauge, observe.
 *
 * A name is NAME or NAME{LABEL="VALUE",..}. It has one spelling only, so that no two names are one series: labels in
 * ascending order, values without quotation marks, backslashes and what is not printable ASCII. Its text goes into the
 * exposition as it is. How many names a plugin may have is bounded, and plugins together take half of the room at
 * most: what is over that is counted and nothing else.
 */
#include "host_calls.h"
#include "measures.h"
#include "measures_slot.h"
#include <math.h>
#include <stdlib.h>

typedef wasmtime_val_raw_t raw;
enum { MAX_SPELT = 256, MAX_NAME = 64, MAX_LABELS = 4, MAX_SERIES = 100 };

struct blitz_plugin_measures {
    blitz_measures *measures;
    blitz_plugin_figures figures;
    uint64_t *refused;
    uint32_t n;                          /* series that it has */
    size_t len;
    uint8_t labels[];                    /* plugin="NAME" */
};

static bool is_own(const blitz_plugin_measures *plugin, const measures_entry *entry)
{
    const blitz_plugin_figures *figures = &plugin->figures;
    bool is_custom = entry->figure == figures->count || entry->figure == figures->gauge ||
                     entry->figure == figures->observed;
    return is_custom && entry->len > plugin->len && entry->labels[plugin->len] == ',' &&
           memcmp(entry->labels, plugin->labels, plugin->len) == 0;
}

blitz_plugin_measures *blitz_plugin_measures_new(blitz_measures *measures, const blitz_plugin_figures *figures,
                                                 const uint8_t *labels, size_t len)
{
    blitz_plugin_measures *plugin = calloc(1, sizeof *plugin + len);
    if (plugin == NULL)
        return NULL;
    plugin->measures = measures;
    plugin->figures = *figures;
    plugin->len = len;
    memcpy(plugin->labels, labels, len);
    plugin->refused = blitz_measures_series(measures, figures->refused, BLITZ_MEASURE_COUNT, labels, len);
    const measures_entry *entry;         /* of whoever had the slot before */
    for (size_t at = 0; (entry = measures_next(measures_slot_of(measures), &at)) != NULL;)
        plugin->n += is_own(plugin, entry);
    return plugin;
}

void blitz_plugin_measures_free(blitz_plugin_measures *plugin) { free(plugin); }

/* ---------------------------------------------------------------- names */

static bool is_letter(uint8_t c) { return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '_'; }
static bool is_digit(uint8_t c) { return c >= '0' && c <= '9'; }

/* How many bytes at text are a name of a metric or a label. */
static size_t name_len(blitz_text text)
{
    size_t n = 0;
    while (n < text.len && (is_letter(text.ptr[n]) || (n > 0 && is_digit(text.ptr[n]))))
        n++;
    return n;
}

static bool is_named(blitz_text name, const char *word)
{
    return name.len == strlen(word) && memcmp(name.ptr, word, name.len) == 0;
}

static bool follows(blitz_text name, blitz_text before)
{
    size_t least = name.len < before.len ? name.len : before.len;
    int order = least > 0 ? memcmp(name.ptr, before.ptr, least) : 0;
    return order > 0 || (order == 0 && name.len > before.len);
}

static blitz_text rest_of(blitz_text text, size_t n) { return (blitz_text){text.ptr + n, text.len - n}; }

/* LABEL="VALUE" at the beginning of *text, behind the label *before; both move on. */
static bool take_label(blitz_text *text, blitz_text *before)
{
    blitz_text name = {text->ptr, name_len(*text)}, rest = rest_of(*text, name.len);
    bool is_reserved = is_named(name, "plugin") || is_named(name, "name") || is_named(name, "le") ||
                       (name.len >= 2 && memcmp(name.ptr, "__", 2) == 0);
    size_t n = 2;
    if (name.len == 0 || name.len > MAX_NAME || is_reserved || !follows(name, *before) || rest.len < 2 ||
        memcmp(rest.ptr, "=\"", 2) != 0)
        return false;
    while (n < rest.len && rest.ptr[n] >= 0x20 && rest.ptr[n] < 0x7f && rest.ptr[n] != '"' && rest.ptr[n] != '\\')
        n++;
    if (n == 2 || n == rest.len || rest.ptr[n] != '"')
        return false;
    *before = name;
    *text = rest_of(rest, n + 1);
    return true;
}

/* What stands within the braces; text begins with the first of them. */
static bool are_labels(blitz_text text)
{
    blitz_text before = {NULL, 0};
    for (int i = 0; i < MAX_LABELS; i++) {
        text = rest_of(text, 1);
        if (!take_label(&text, &before) || text.len == 0)
            return false;
        if (*text.ptr == '}')
            return text.len == 1;
        if (*text.ptr != ',')
            return false;
    }
    return false;
}

/* The labels of the series: plugin="..",name="NAME" and those of its own. -> bytes, 0: spelt is none. */
static size_t write_labels(const blitz_plugin_measures *plugin, blitz_text spelt, uint8_t *labels)
{
    static const char key[] = ",name=\"";
    blitz_text name = {spelt.ptr, name_len(spelt)}, more = rest_of(spelt, name.len);
    if (name.len == 0 || name.len > MAX_NAME || (more.len > 0 && (*more.ptr != '{' || !are_labels(more))))
        return 0;
    uint8_t *at = labels;
    memcpy(at, plugin->labels, plugin->len);
    at += plugin->len;
    memcpy(at, key, sizeof key - 1);
    at += sizeof key - 1;
    memcpy(at, name.ptr, name.len);
    at += name.len;
    *at++ = '"';
    if (more.len > 2) {
        *at++ = ',';
        memcpy(at, more.ptr + 1, more.len - 2);
        at += more.len - 2;
    }
    return (size_t)(at - labels);
}

/* ---------------------------------------------------------------- the calls */

/* The cells of the series that a call names; NULL: there is nothing to count, or call->trap says why. */
static uint64_t *cells_of(blitz_call *call, void *env, wasmtime_caller_t *caller, const raw *slots, int which)
{
    uint8_t labels[MEASURES_LABELS];
    blitz_text spelt;
    if (!blitz_call_open(call, env, caller) || !blitz_call_bytes(call, slots[0], slots[1], "name", &spelt))
        return NULL;
    static const blitz_plugin_measures nobody;   /* names are checked where nobody counts, too */
    blitz_plugin_measures *plugin = call->instance->plugin->measures;
    size_t len = 0;
    if (spelt.len <= MAX_SPELT && (plugin == NULL || plugin->len + 2 * MAX_SPELT <= sizeof labels))
        len = write_labels(plugin != NULL ? plugin : &nobody, spelt, labels);
    if (len == 0) {
        call->trap = blitz_call_refuse(call, "the name is none of a metric; wanted are letters, digits and _, up to "
                                       "4 labels in ascending order, as in name{a=\"x\",b=\"y\"}, 256 bytes in all");
        return NULL;
    }
    if (plugin == NULL)
        return NULL;
    uint32_t figure = which == BLITZ_MEASURE_COUNT   ? plugin->figures.count
                      : which == BLITZ_MEASURE_GAUGE ? plugin->figures.gauge
                                                     : plugin->figures.observed;
    uint64_t *cells = measures_find(plugin->measures, figure, labels, len);
    if (cells != NULL)
        return cells;
    if (plugin->n >= MAX_SERIES || measures_is_half_full(plugin->measures)) {
        measures_add(plugin->refused, 1);
        return NULL;
    }
    plugin->n++;
    return blitz_measures_series(plugin->measures, figure, which, labels, len);
}

wasm_trap_t *call_count(void *env, wasmtime_caller_t *caller, raw *slots, size_t n)
{
    (void)n;
    blitz_call call;
    uint64_t *cell = cells_of(&call, env, caller, slots, BLITZ_MEASURE_COUNT);
    if (call.trap == NULL && slots[2].i64 < 0)
        return blitz_call_refuse(&call, "the delta is negative; a counter only grows, gauge may fall");
    if (cell == NULL)
        return call.trap;
    uint64_t delta = (uint64_t)slots[2].i64, left = UINT64_MAX - measures_get(cell);
    measures_add(cell, delta < left ? delta : left);
    return NULL;
}

wasm_trap_t *call_gauge(void *env, wasmtime_caller_t *caller, raw *slots, size_t n)
{
    (void)n;
    blitz_call call;
    uint64_t *cell = cells_of(&call, env, caller, slots, BLITZ_MEASURE_GAUGE);
    if (call.trap == NULL && !isfinite(slots[2].f64))
        return blitz_call_refuse(&call, "the value is no finite number");
    if (cell != NULL)
        measures_set(cell, measures_bits(slots[2].f64));
    return call.trap;
}

wasm_trap_t *call_observe(void *env, wasmtime_caller_t *caller, raw *slots, size_t n)
{
    (void)n;
    blitz_call call;
    uint64_t *cells = cells_of(&call, env, caller, slots, BLITZ_MEASURE_VALUES);
    if (call.trap == NULL && !(isfinite(slots[2].f64) && slots[2].f64 >= 0))
        return blitz_call_refuse(&call, "the value is no finite number of 0 or more");
    if (cells != NULL)
        measures_observe(cells, BLITZ_MEASURE_VALUES, slots[2].f64);
    return call.trap;
}
