#!/usr/bin/env bash
# sanitized.sh [PYTEST ARGUMENTS]: the Python tests that drive the native part, with the extension built
# under the address and undefined-behaviour sanitizers. Any report ends the run.
#
# The interpreter itself is not instrumented, so leaks are not looked for (it has some of its own), and
# wasmtime keeps its signal handlers: guests trap through them.
set -euo pipefail
cd "$(dirname "$0")/../.."

PYTHON=$(realpath -s "${PYTHON:-.venv/bin/python}")
CC=${CC:-gcc}
APP=$PWD/build/sanitized

rm -rf "$APP"
mkdir -p "$APP"
cp -a pyproject.toml setup.py blitz native plugins tests "$APP"
[[ ! -d docs ]] || cp -a docs "$APP"
find "$APP/blitz" -name '*.so' -delete
cd "$APP"

"$PYTHON" -c 'import sys; sys.path.insert(0, "native"); import build; build.ffi.emit_c_code("native.c")'
include=$("$PYTHON" -c 'import sysconfig; print(sysconfig.get_path("include"))')
"$CC" -std=gnu11 -g -O1 -fno-omit-frame-pointer -fPIC -shared -fvisibility=hidden -Wall -Wextra -Werror \
    -Wno-unused-function -Wno-missing-field-initializers -fsanitize=address,undefined \
    -fno-sanitize-recover=all -Inative -I"$include" -o blitz/_native.abi3.so native.c native/*.c \
    -ldl -lm -lpthread

suites=()
for suite in tests/native tests/wasm tests/hostile tests/plugins; do
    [[ ! -d $suite ]] || suites+=("$suite")
done
# The compile cache runs processes with bounds on their memory, which the sanitizer's own cannot keep; it is Python.
suites+=(--ignore=tests/wasm/test_cache.py --ignore=tests/wasm/test_compile_process.py --ignore=tests/wasm/test_symbols.py)
suites+=(--ignore=tests/hostile/test_files.py)
# pytest keeps what a test prints, and a report with it: reports go to files.
options=log_path=$APP/report:detect_leaks=0:allocator_may_return_null=1
for signal in segv sigbus sigfpe sigill; do options+=:handle_$signal=0; done
status=0
LD_PRELOAD=$("$CC" -print-file-name=libasan.so):$("$CC" -print-file-name=libubsan.so) \
    ASAN_OPTIONS=$options UBSAN_OPTIONS=log_path=$APP/report:print_stacktrace=1 \
    PYTHONPATH=$APP PYTHONMALLOC=malloc \
    "$PYTHON" -m pytest -p no:cacheprovider "$@" "${suites[@]}" || status=$?
cat "$APP"/report.* 2>/dev/null && exit 1
exit $status
