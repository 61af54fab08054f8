#!/usr/bin/env bash
# aarch64.sh [PYTEST ARGUMENTS]: the native part on aarch64, under qemu's user-mode emulation.
#
# Cross-compiles native/, runs its C tests, then the Python tests of the native part and of guests with
# an aarch64 CPython of this distribution. Nothing is installed: the arm64 packages are unpacked into a
# folder of the cache, the wheels too. Wants: gcc-aarch64-linux-gnu, qemu-user-static, python3 with
# cffi and pip (PYTHON), apt.
set -euo pipefail
cd "$(dirname "$0")/../.."

PYTHON=${PYTHON:-.venv/bin/python}
CACHE=${BLITZ_CACHE:-$HOME/.cache/blitz}/aarch64
CC=aarch64-linux-gnu-gcc
QEMU="qemu-aarch64-static -cpu max"
ROOT=$CACHE/root SITE=$CACHE/site APP=$CACHE/app

wants() { command -v "$1" >/dev/null || { echo "aarch64.sh needs $1: apt-get install $2" >&2; exit 1; }; }

# Do a step again only when what it depends on has changed: once STAMP TEXT COMMAND...
once() {
    local stamp=$CACHE/$1.stamp text=$2
    shift 2
    [[ -f $stamp && $(<"$stamp") == "$text" ]] && return
    rm -f "$stamp"
    "$@"
    printf '%s' "$text" > "$stamp"
}

# The sources of this machine, with the architecture changed. Ubuntu keeps arm64 in another archive.
arm64_sources() {
    apt-get indextargets --format '$(ORIGIN)|$(REPO_URI)|$(RELEASE)|$(COMPONENT)' 'Created-By: Packages' \
        | sort -u | while IFS='|' read -r origin uri release component; do
        case $origin in
            Debian) ;;
            Ubuntu) uri=${BLITZ_UBUNTU_PORTS:-http://ports.ubuntu.com/ubuntu-ports/} ;;
            *) continue ;;
        esac
        local key=/usr/share/keyrings/${origin,,}-archive-keyring.gpg
        [[ -f $key ]] && key=" signed-by=$key" || key=
        echo "deb [arch=arm64$key] $uri $release $component"
    done
}

# apt-get with lists, cache and status of its own; proxies and keys are the machine's.
private_apt() {
    local apt=$CACHE/apt
    mkdir -p "$apt"/{lists/partial,archives/partial,state,empty}
    : > "$apt/state/status"
    arm64_sources > "$apt/sources.list"
    cat > "$apt/apt.conf" <<END
APT::Architecture "arm64";
APT::Architectures { "arm64"; };
Dir::Etc::SourceList "$apt/sources.list";
Dir::Etc::SourceParts "$apt/empty";
Dir::State "$apt/state";
Dir::State::status "$apt/state/status";
Dir::State::Lists "$apt/lists";
Dir::Cache "$apt";
Dir::Cache::archives "$apt/archives";
APT::Sandbox::User "root";
APT::Install-Recommends "false";
APT::Keep-Downloaded-Packages "true";
#clear DPkg::Post-Invoke;
#clear APT::Update::Post-Invoke;
END
    APT_CONFIG=$apt/apt.conf DEBIAN_FRONTEND=noninteractive apt-get -qq "$@"
}

unpack_packages() {
    rm -rf "$ROOT" "$CACHE/apt"
    mkdir -p "$ROOT"
    private_apt update
    private_apt install --download-only -y python3 libpython3-dev
    for package in "$CACHE"/apt/archives/*.deb; do dpkg -x "$package" "$ROOT"; done
    # Where /usr is merged the loader is in /usr/lib, and its path begins with /lib.
    [[ -e $ROOT/lib ]] || ln -s usr/lib "$ROOT/lib"
    rm -rf "$CACHE/apt/archives"
}

# What pyproject.toml names for running and testing, as wheels for the other machine.
requirements() {
    "$PYTHON" - <<'END'
import tomllib
with open("pyproject.toml", "rb") as file:
    project = tomllib.load(file)["project"]
print(*project["dependencies"], *project["optional-dependencies"]["test"], sep="\n")
END
}

install_wheels() {
    rm -rf "$SITE"
    requirements > "$CACHE/requirements.txt"
    "$PYTHON" -m pip install --quiet --disable-pip-version-check --target "$SITE" --only-binary=:all: \
        --platform manylinux2014_aarch64 --platform manylinux_2_28_aarch64 \
        --implementation cp --python-version "$ARM_PYTHON" -r "$CACHE/requirements.txt"
}

build_app() {
    rm -rf "$APP"
    mkdir -p "$APP"
    cp -a pyproject.toml blitz tests native docs "$APP"
    [[ -d plugins ]] && cp -a plugins "$APP"
    find "$APP" -name '*.so' -delete
    "$PYTHON" -c 'import sys; sys.path.insert(0, "native"); import build; build.ffi.emit_c_code(sys.argv[1])' \
        "$APP/native.c"
    local include=$ROOT/usr/include
    # No C of the target's libc is needed: the cross compiler brings its own.
    "$CC" -std=gnu11 -O2 -fPIC -shared -fvisibility=hidden -Wall -Wextra -Werror -Wno-unused-function \
        -Wno-missing-field-initializers -Inative -I"$include/python$ARM_PYTHON" -idirafter "$include" \
        -o "$APP/blitz/_native.abi3.so" "$APP/native.c" native/*.c -ldl -lm -lpthread
}

wants "$CC" gcc-aarch64-linux-gnu
wants "${QEMU%% *}" qemu-user-static
mkdir -p "$CACHE"

make -s -C native/test check BUILD=build/aarch64 CC="$CC" SANITIZE= LDFLAGS=-static RUN="$QEMU"

# shellcheck source=/dev/null
once packages "2 $(. /etc/os-release; echo "$ID $VERSION_ID")" unpack_packages
ARM_PYTHON=$(basename "$(readlink "$ROOT/usr/bin/python3")" | sed 's/^python//')
once wheels "$ARM_PYTHON $(requirements)" install_wheels
build_app

cd "$APP"
suites=()
for suite in tests/native tests/wasm tests/plugins/test_cases.py; do
    [[ ! -e $suite ]] || suites+=("$suite")
done
# Left out: what starts programs (the kernel would have to know the emulator), what wants dozens of
# slots, and the reference host, which does not use our code.
for left_out in cache compile_process symbols memory_given_back; do suites+=("--ignore=tests/wasm/test_$left_out.py"); done
# qemu-user has no robust mutexes: a writer that is killed is not told of.
skip='not reference_host and not an_idle_instance and not wasmtime_itself_is_not_imported and not killed_writers'
# The emulator's record of guest pages makes a reserved gigabyte cost it 7 MB: few slots for instances,
# and a bound (-R), so that one test that wants many fails instead of the machine.
PYTHONPATH=$APP:$SITE PYTHONDONTWRITEBYTECODE=1 BLITZ_TEST_INSTANCES=8 $QEMU -R 0x4000000000 -L "$ROOT" \
    "$ROOT/usr/bin/python$ARM_PYTHON" -m pytest -p no:cacheprovider -k "$skip" "$@" "${suites[@]}"
