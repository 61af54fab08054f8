#!/usr/bin/env bash
# up.sh dev|prod [--profile with-plugins] COMMAND [ARGUMENTS]: the gateway in containers.
#
#   ./infra/up.sh dev up                            ./infra/up.sh dev --profile with-plugins up
#   ./infra/up.sh prod up -d                        ./infra/up.sh prod logs -f
#
# COMMAND and ARGUMENTS go to docker compose (or podman compose). UP_DRY_RUN=1 prints the command only.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)

usage() { echo "up.sh: $1; usage: infra/up.sh dev|prod [--profile with-plugins] up|down|logs ..." >&2; exit 2; }

(($# >= 1)) || usage "say which environment"
environment=$1
shift
[[ $environment == dev || $environment == prod ]] || usage "no environment '$environment'"

files=(-f "$here/compose/$environment.yml")
options=()
while (($#)) && [[ $1 == --* ]]; do
    case $1 in
        --profile=*) profile=${1#*=}; shift ;;
        --profile) (($# >= 2)) || usage "--profile wants a name"; profile=$2; shift 2 ;;
        *) usage "no option '$1' before the command" ;;
    esac
    [[ $profile == with-plugins ]] || usage "no profile '$profile', there is with-plugins"
    files+=(-f "$here/compose/with-plugins.yml")
    options=(--profile "$profile")
done
(($# >= 1)) || usage "say what to do"

compose=()
if [[ ${UP_DRY_RUN:-} ]]; then compose=(echo docker compose)
elif docker compose version >/dev/null 2>&1; then compose=(docker compose)
elif podman compose version >/dev/null 2>&1; then compose=(podman compose)
elif command -v docker-compose >/dev/null; then compose=(docker-compose)
elif command -v podman-compose >/dev/null; then compose=(podman-compose)
else
    echo "up.sh needs docker or podman with compose, and found neither:" \
        "apt-get install podman podman-compose, or docker.io docker-compose-v2" >&2
    exit 1
fi
exec "${compose[@]}" "${files[@]}" "${options[@]}" "$@"
