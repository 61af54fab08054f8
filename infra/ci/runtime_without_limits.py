#!/usr/bin/python3
"""runc where root may not raise limits (no CAP_SYS_RESOURCE): containers keep those of the machine.

podman writes limits into what it hands to the runtime, and runc refuses to start when one cannot be set. For
infra/ci/containers.sh only: on such a machine nothing of ours could have been raised either.
"""

import json
import os
import sys
from pathlib import Path


def without_limits(path: Path, *, whole: bool) -> None:
    found = json.loads(path.read_text())
    (found["process"] if whole else found).pop("rlimits", None)
    path.write_text(json.dumps(found))


def option(words: list[str], *names: str) -> str:
    return next((words[place + 1] for place, word in enumerate(words[:-1]) if word in names), "")


words = sys.argv[1:]
if {"create", "run"} & set(words):
    without_limits(Path(option(words, "--bundle", "-b") or ".") / "config.json", whole=True)
elif "exec" in words and option(words, "--process", "-p"):
    without_limits(Path(option(words, "--process", "-p")), whole=False)
os.execvp("runc", ["runc", *words])
