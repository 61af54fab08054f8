#!/usr/bin/env bash
# infra/ci/twice.sh NAME COMMAND...: run COMMAND, which calls pytest; if at most three tests fail, those once more.
#
# The tests are thousands, and the machine that runs them may be busy with others' work. What is broken fails
# both times. A test that passes the second time is named as unsteady: that is a fault of the test's, and no
# reason to hold up what it does not test.
set -uo pipefail
cache=build/pytest-$1
shift
rm -rf "$cache"
status=0
PYTEST_ADDOPTS="-o cache_dir=$cache" "$@" || status=$?
((status)) || exit 0

# What failed, one name a line. No names: pytest itself failed, or was ended.
failed=$(python3 -c 'import json, sys; print("\n".join(json.load(open(sys.argv[1]))))' \
    "$cache/v/cache/lastfailed" 2>/dev/null)
[[ -n $failed ]] && (($(wc -l <<<"$failed") <= 3)) || exit $status

PYTEST_ADDOPTS="-o cache_dir=$cache --last-failed --last-failed-no-failures none" "$@" || exit $?
sed 's/^/unsteady: /' <<<"$failed"
