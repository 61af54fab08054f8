#!/bin/sh
# Install the peers that this machine can have into a cache outside the tree.
#
#   benchmarks/setup.sh [debian] [npm] [pypi] [traefik]      no argument: all but traefik, which takes
#                                                           minutes of compiling
#
# The cache is $BLITZ_BENCH_CACHE, else ${XDG_CACHE_HOME:-~/.cache}/blitz-bench. Debian packages are
# downloaded and unpacked there: nothing is installed in the system, no service is started, no root
# is needed. A peer that the system has already is used as it is. What cannot be had is named and
# left out; the exit status is 0 unless an argument is wrong.
set -u
cache=${BLITZ_BENCH_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/blitz-bench}
python=${PYTHON:-python3}
mkdir -p "$cache"

# Versions are pinned: two runs of the suite months apart compare the same peers.
debian_packages="nginx libnginx-mod-http-lua libnginx-mod-http-js haproxy caddy"
npm_packages="workerd@1.20261117.1"
pypi_packages="granian==2.8.7 uvicorn==0.54.0 httptools==0.9.0 uvloop==0.23.0 hypercorn[trio]==0.18.0 extism==1.1.1"
traefik_version=v3.6.12   # the last line whose module is whole: from 3.7 on a part of it is on no proxy

left_out() { echo "setup: left out: $1" >&2; }

debian() {
    command -v apt-get >/dev/null || { left_out "$debian_packages (no apt-get here)"; return; }
    mkdir -p "$cache/debian" "$cache/deb"
    uris=$(apt-get install --print-uris -qq --no-install-recommends $debian_packages 2>"$cache/apt.log" | cut -d"'" -f2)
    if [ $? -ne 0 ] || { [ -z "$uris" ] && [ -s "$cache/apt.log" ]; }; then
        left_out "$debian_packages (apt-get: $(tail -n 1 "$cache/apt.log"))"
        return
    fi
    # --print-uris lists what the system lacks, dependencies included; apt-get download checks the
    # archive's signatures, which a plain fetch would not.
    for uri in $uris; do
        file=${uri##*/}
        package=${file%%_*}
        [ -e "$cache/deb/$file" ] && continue
        (cd "$cache/deb" && apt-get download -qq "$package" >>"$cache/apt.log" 2>&1 && touch "$file") ||
            left_out "$package (apt-get download failed, see $cache/apt.log)"
    done
    for deb in "$cache"/deb/*.deb; do
        [ -s "$deb" ] && dpkg -x "$deb" "$cache/debian"
    done
}

npm_() {
    command -v npm >/dev/null || { left_out "$npm_packages (no npm here)"; return; }
    mkdir -p "$cache/npm"
    npm install --prefix "$cache/npm" --no-audit --no-fund --loglevel=error $npm_packages >&2 ||
        left_out "$npm_packages (npm failed)"
}

pypi() {
    [ -x "$cache/venv/bin/python" ] || "$python" -m venv "$cache/venv" || { left_out "$pypi_packages (no venv)"; return; }
    for package in $pypi_packages; do
        "$cache/venv/bin/pip" install -q --disable-pip-version-check "$package" >&2 || left_out "$package (pip failed)"
    done
}

traefik() {
    command -v go >/dev/null || { left_out "traefik (no go here)"; return; }
    [ -x "$cache/go/bin/traefik" ] && return
    mkdir -p "$cache/go/build" "$cache/go/bin"
    # Traefik's go.mod has replace directives, which `go install path@version` refuses: build it as
    # the one dependency of an empty module that repeats them.
    (
        cd "$cache/go/build" || exit 1
        set -e
        rm -f go.mod go.sum
        go mod init traefik.bench
        printf 'package tools\n\nimport _ "github.com/traefik/traefik/v3/cmd/traefik"\n' >tools.go
        module=$(go mod download -json "github.com/traefik/traefik/v3@$traefik_version" | sed -n 's/.*"GoMod": "\(.*\)".*/\1/p')
        sed -n '/^replace (/,/^)/p; /^replace [^(]/p' "$module" >>go.mod
        go get "github.com/traefik/traefik/v3/cmd/traefik@$traefik_version"
        nice go build -o ../bin/traefik github.com/traefik/traefik/v3/cmd/traefik
    ) >"$cache/traefik.log" 2>&1 || left_out "traefik (build failed, see $cache/traefik.log)"
}

[ $# -eq 0 ] && set -- debian npm pypi
for part in "$@"; do
    case $part in
    debian) debian ;;
    npm) npm_ ;;
    pypi) pypi ;;
    traefik) traefik ;;
    *) echo "setup: unknown part $part; one of: debian npm pypi traefik" >&2; exit 2 ;;
    esac
done
echo "setup: peers are in $cache"
