#!/usr/bin/env bash
# infra/ci/seed_listing.sh OUT [older|newer]: build the Rust listing of plugins/README.md into
# OUT/plugin_bg.wasm, as wasm-pack would: rustc, then the wasm-bindgen CLI.
#
#   older  wasm-bindgen 0.2.83, all of it built by Debian's rustc: works on a bare Debian 12
#   newer  wasm-bindgen 0.2.105: the plugin by Debian's rustc, the CLI by a newer cargo if there is one
#
# The two differ in what a host sees: how import names are mangled, and the type of the guest's malloc.
# Debian's rustc compiles the plugin in both because it comes with the standard library for wasm32.
# Packages that are missing are installed; all else stays in BLITZ_CACHE (default ~/.cache/blitz).
# Exit 0: built. 3: cannot be built on this machine, the reason is the last line. 1: failed.
set -euo pipefail

(($# >= 1)) || { sed -n '2,12s/^# \{0,1\}//p' "$0"; exit 2; }
OUT=$(realpath -m "$1")
KIND=${2:-older}
ROOT=$(cd "$(dirname "$0")/../.." && pwd)
CACHE=${BLITZ_CACHE:-$HOME/.cache/blitz}
DEBIAN_RUSTC=/usr/bin/rustc
DEBIAN_CARGO=/usr/bin/cargo

case $KIND in
    older) CRATE=$ROOT/tests/guests/seed_listing ;;
    newer) CRATE=$ROOT/tests/guests/seed_listing/newer ;;
    *) echo "there is no '$KIND', only older and newer" >&2; exit 2 ;;
esac
VERSION=$(sed -n 's/^wasm-bindgen = "=\(.*\)"/\1/p' "$CRATE/Cargo.toml")
CLI=$CACHE/wasm-bindgen-$VERSION/bin/wasm-bindgen

cannot() { echo "seed listing ($KIND): $*" >&2; exit 3; }

# minor version of a rustc or cargo: "cargo 1.65.0" -> 65
minor() { "$@" --version | sed 's/^[a-z]* 1\.\([0-9]*\)\..*/\1/'; }

install_packages() {
    local packages=(rustc cargo libstd-rust-dev-wasm32 lld gcc libc6-dev ca-certificates pkg-config libssl-dev)
    local missing=()
    command -v apt-get >/dev/null || cannot "needs Debian's rustc and libstd-rust-dev-wasm32, and there is no apt"
    for package in "${packages[@]}"; do
        [[ $(dpkg-query -W -f '${Status}' "$package" 2>/dev/null) == "install ok installed" ]] \
            || missing+=("$package")
    done
    ((${#missing[@]})) || return 0
    local sudo=
    if ((EUID != 0)); then
        command -v sudo >/dev/null || cannot "needs the packages ${missing[*]}: install them as root"
        sudo=sudo
    fi
    $sudo apt-get -qq update
    for package in "${missing[@]}"; do
        [[ -n $(apt-cache madison "$package") ]] || cannot "this release has no package $package"
    done
    $sudo env DEBIAN_FRONTEND=noninteractive \
        apt-get -qq install -y --no-install-recommends "${missing[@]}" >/dev/null
}

# Debian's cargo is older than the sparse index, which is the only one that does not need a clone of
# the whole registry; it has it as an unstable option.
debian_cargo() {
    local sparse=()
    (($(minor $DEBIAN_CARGO) >= 68)) || sparse=(-Z sparse-registry)
    CARGO_HOME=$CACHE/cargo-debian RUSTC=$DEBIAN_RUSTC RUSTC_BOOTSTRAP=1 \
        nice $DEBIAN_CARGO "${sparse[@]}" "$@"
}

build_cli() {
    [[ -x $CLI ]] && return
    local install=(install --quiet --locked wasm-bindgen-cli --version "$VERSION" --root "$CACHE/wasm-bindgen-$VERSION")
    echo "building wasm-bindgen-cli $VERSION: some minutes, once" >&2
    export CARGO_TARGET_DIR=$CACHE/build/wasm-bindgen-$VERSION
    if [[ $KIND == older ]] || (($(minor $DEBIAN_RUSTC) >= 80)); then
        debian_cargo "${install[@]}"
    elif command -v cargo >/dev/null && (($(minor cargo) >= 80)); then
        CARGO_HOME=$CACHE/cargo nice cargo "${install[@]}"
    else
        cannot "building wasm-bindgen-cli $VERSION needs cargo 1.80 or newer"
    fi
    rm -rf "$CARGO_TARGET_DIR"
}

install_packages
if [[ $KIND == older ]] && (($(minor $DEBIAN_RUSTC) >= 78)); then
    cannot "wasm-bindgen $VERSION does not compile with rustc $($DEBIAN_RUSTC --version), it wants one before 1.78"
fi
build_cli
export CARGO_TARGET_DIR=$CACHE/build/seed-listing-$VERSION
(cd "$CRATE" && debian_cargo build --quiet --locked --release --target wasm32-unknown-unknown)
mkdir -p "$OUT"
"$CLI" --target web --out-dir "$OUT" "$CARGO_TARGET_DIR/wasm32-unknown-unknown/release/plugin.wasm"
echo "$OUT/plugin_bg.wasm"
