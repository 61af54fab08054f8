#!/usr/bin/env bash
# up.sh dev|prod [--profile with-plugins] COMMAND [ARGUMENTS]: the gateway in containers.
#
#   ./infra/up.sh dev up                            ./infra/up.sh dev --profile with-plugins up
#   ./infra/up.sh prod up -d                        ./infra/up.sh prod logs -f
#
# COMMAND and ARGUMENTS go to docker compose (or podman-compose). From the environment: UPSTREAM, where requests go
# (prod; dev has its own); CONFIG, a configuration; PLUGINS, a directory of plugins; API_KEY, of the clients of
# auth_custom. UP_DRY_RUN=1 prints the command only.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)

usage() { echo "up.sh: $1; usage: infra/up.sh dev|prod [--profile with-plugins] up|down|logs ..." >&2; exit 2; }

(($# >= 1)) || usage "say which environment"
environment=$1
shift
[[ $environment == dev || $environment == prod ]] || usage "no environment '$environment'"

profile=
while (($#)) && [[ $1 == --* ]]; do
    case $1 in
        --profile=*) profile=${1#*=}; shift ;;
        --profile) (($# >= 2)) || usage "--profile wants a name"; profile=$2; shift 2 ;;
        *) usage "no option '$1' before the command" ;;
    esac
    [[ $profile == with-plugins ]] || usage "no profile '$profile', there is with-plugins"
done
(($# >= 1)) || usage "say what to do"

# What is mounted. Compose reads a relative path from its own file's directory, people from theirs.
default_config=$here/examples/gateway.toml default_plugins=$here/examples/plugins
if [[ $profile ]]; then
    default_config=$here/examples/with-plugins.toml default_plugins=$here/../plugins
fi
[[ $environment == dev || ${UPSTREAM:-} ]] || default_config=$here/examples/no-upstream.toml
for variable in CONFIG PLUGINS; do
    [[ -z ${!variable:-} || -e ${!variable} ]] || { echo "up.sh: $variable: there is no ${!variable}" >&2; exit 2; }
done
CONFIG=$(realpath "${CONFIG:-$default_config}")
PLUGINS=$(realpath "${PLUGINS:-$default_plugins}")
export CONFIG PLUGINS

compose=()
if [[ ${UP_DRY_RUN:-} ]]; then compose=(echo "CONFIG=$CONFIG" "PLUGINS=$PLUGINS" docker compose)
elif docker compose version >/dev/null 2>&1; then compose=(docker compose)
elif podman compose version >/dev/null 2>&1; then compose=(podman compose)
elif command -v docker-compose >/dev/null; then compose=(docker-compose)
elif command -v podman-compose >/dev/null; then compose=(podman-compose)
else
    echo "up.sh needs docker or podman with compose, and found neither:" \
        "apt-get install podman podman-compose, or docker.io docker-compose-v2" >&2
    exit 1
fi
export BUILDAH_FORMAT=docker # podman keeps HEALTHCHECK in no other
exec "${compose[@]}" -f "$here/compose/$environment.yml" "$@"
