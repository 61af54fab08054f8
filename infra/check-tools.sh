#!/bin/sh
# check-tools.sh PYTHON CC: is there what the build needs? If not, one sentence that says what to install.
python=${1:-python3} cc=${2:-cc}
missing=

version=$("$python" -c 'import sys; print("%d.%d" % sys.version_info[:2])' 2>/dev/null)
case $version in
    '') missing="python3 python3-venv python3-dev" ;;
    2.* | 3.[0-9] | 3.10)
        echo "Blitz needs Python 3.11 or newer and found only $version: install a newer one (apt-get install" \
            "python3.11 python3.11-venv python3.11-dev) or name it (make PYTHON=/path/to/python3.11 ...)." >&2
        exit 1 ;;
    *)
        # Debian's plain name for its own Python; python3.x-... for one beside it.
        name=python3
        [ "$(basename "$python")" = python3 ] || name=python$version
        "$python" -c 'import ensurepip, venv' 2>/dev/null || missing="$missing $name-venv"
        "$python" -c 'import os, sys, sysconfig
sys.exit(not os.path.exists(os.path.join(sysconfig.get_path("include"), "Python.h")))' || missing="$missing $name-dev" ;;
esac
command -v "$cc" >/dev/null 2>&1 || missing="$missing build-essential"

missing=${missing# }
[ -z "$missing" ] && exit 0
echo "Something that Blitz is built with is missing: run 'sudo apt-get install $missing' and try again." >&2
exit 1
