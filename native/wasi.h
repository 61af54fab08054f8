/* wasi.h: WASI preview 1 with nothing granted; the rows are in host_calls.def. */
#ifndef BLITZ_WASI_H
#define BLITZ_WASI_H
#include "wasmtime_api.h"

#define BLITZ_WASI(name) \
    wasm_trap_t *name(void *env, wasmtime_caller_t *caller, wasmtime_val_raw_t *slots, size_t n)
BLITZ_WASI(wasi_args_sizes_get);
BLITZ_WASI(wasi_environ_get);
BLITZ_WASI(wasi_environ_sizes_get);
BLITZ_WASI(wasi_clock_res_get);
BLITZ_WASI(wasi_clock_time_get);
BLITZ_WASI(wasi_fd_close);
BLITZ_WASI(wasi_fd_fdstat_get);
BLITZ_WASI(wasi_fd_read);
BLITZ_WASI(wasi_fd_seek);
BLITZ_WASI(wasi_fd_write);
BLITZ_WASI(wasi_poll_oneoff);
BLITZ_WASI(wasi_proc_exit);
BLITZ_WASI(wasi_random_get);
/* Only a result: done, no such descriptor, no such file, not supported. */
BLITZ_WASI(wasi_success);
BLITZ_WASI(wasi_badf);
BLITZ_WASI(wasi_noent);
BLITZ_WASI(wasi_notsup);
#endif
