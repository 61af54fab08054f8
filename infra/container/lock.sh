#!/usr/bin/env bash
# lock.sh: write requirements.lock and build.lock anew: what the image is made of, with the hashes of every file
# that an index has for it (both architectures). Run it when dependencies of pyproject.toml change, or to take
# newer versions; it needs uv (pip install uv).
set -euo pipefail
cd "$(dirname "$0")/../.."

EXTRAS=(auth watch symbols yaml acme re2 compress)

compile() {
    uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-header --no-annotate \
        --no-emit-index-url --no-emit-find-links "$@"
}
compile pyproject.toml "${EXTRAS[@]/#/--extra=}" -o infra/container/requirements.lock
compile infra/container/build.in -o infra/container/build.lock
