#!/usr/bin/env bash
# infra/ci/containers.sh PYTHON: build the image with podman, and run tests/infra/test_containers.py on it.
#
# Where no registry is reached, the base image is made of Debian's packages under the tag that the Containerfile names.
# Exit code 3: this machine cannot run containers at all, and the reason was said.
set -euo pipefail
cd "$(dirname "$0")/../.."
python=${1:-python3}
cache=${BLITZ_CACHE:-$HOME/.cache/blitz}
base=docker.io/library/python:3.12-slim-bookworm
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
mkdir -p "$cache"

export BUILDAH_FORMAT=docker CONTAINERS_CONF=$work/containers.conf
cat >"$CONTAINERS_CONF" <<CONF
[engine]
runtime = "chosen"
[engine.runtimes]
chosen = ["$(command -v runc)"]
CONF

# May root raise limits here? Where it may not, no runtime starts a container as podman asks for it.
if ! (ulimit -H -n $(($(ulimit -H -n) + 1))) 2>/dev/null; then
    sed -i "s|chosen = .*|chosen = [\"$PWD/infra/ci/runtime_without_limits.py\"]|" "$CONTAINERS_CONF"
    export BUILDAH_ISOLATION=chroot
fi

if ! podman image exists "$base" && ! timeout 60 podman pull -q "$base" >/dev/null 2>&1; then
    [[ -f $cache/base-bookworm.tar ]] || {
        mmdebstrap --quiet --variant=apt --include=python3,python3-venv,python3-dev,ca-certificates,gcc,libc6-dev \
            bookworm "$work/base.tar"
        mv "$work/base.tar" "$cache/base-bookworm.tar"
    }
    mkdir "$work/root"
    tar -C "$work/root" -xf "$cache/base-bookworm.tar"
    ln -sf python3 "$work/root/usr/bin/python"
    # How this machine reaches a package index, if it is told.
    cp -L /etc/ssl/certs/ca-certificates.crt "$work/root/etc/ssl/certs/"
    [[ ! -f /etc/pip.conf ]] || cp /etc/pip.conf "$work/root/etc/"
    tar -C "$work/root" -c . | podman import -q - "$base" >/dev/null
    rm -rf "$work/root"
fi
if ! podman run --rm --network=none "$base" true 2>"$work/why"; then
    echo "no container runs on this machine: $(tail -1 "$work/why")" >&2
    exit 3
fi
podman build -q --build-arg REVISION="$(git rev-parse HEAD 2>/dev/null || echo unknown)" \
    -f infra/container/Containerfile -t blitz:dev . >/dev/null
"$python" -m pytest -q -m containers tests/infra
