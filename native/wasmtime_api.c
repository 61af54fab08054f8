/* wasmtime_api.c: opens wasmtime's shared library and fills the address table. */
#include "wasmtime_api.h"
#include "text.h"
#include <dlfcn.h>
#include <stdio.h>
#include <string.h>

blitz_wasmtime blitz_wt;

static const struct { const char *name; size_t offset; } FUNCTIONS[] = {
#define X(result, name, parameters) {#name, offsetof(blitz_wasmtime, name)},
    BLITZ_WASMTIME_FUNCTIONS(X)
#undef X
};

int blitz_wasmtime_open(const char *path, char *error, size_t error_cap)
{
    if (blitz_wt.library != NULL)
        return 0;
    void *library = dlopen(path, RTLD_NOW | RTLD_LOCAL);
    if (library == NULL) {
        snprintf(error, error_cap, "cannot open wasmtime's library: %s", dlerror());
        return -1;
    }
    blitz_wasmtime table = {0};
    for (size_t i = 0; i < sizeof FUNCTIONS / sizeof *FUNCTIONS; i++) {
        void *address = dlsym(library, FUNCTIONS[i].name);
        if (address == NULL) {
            snprintf(error, error_cap, "%s has no %s: wasmtime 50 is wanted", path, FUNCTIONS[i].name);
            dlclose(library);
            return -1;
        }
        /* An object pointer becomes a function pointer, as POSIX requires of dlsym. */
        memcpy((char *)&table + FUNCTIONS[i].offset, &address, sizeof address);
    }
    table.library = library;
    blitz_wt = table;
    return 0;
}

void blitz_wasmtime_explain(wasmtime_error_t *error, char *text, size_t cap)
{
    wasm_byte_vec_t message = {0, NULL};
    blitz_wt.wasmtime_error_message(error, &message);
    blitz_text_one_line(text, cap, message.data, message.size);
    blitz_wt.wasm_byte_vec_delete(&message);
    blitz_wt.wasmtime_error_delete(error);
}
