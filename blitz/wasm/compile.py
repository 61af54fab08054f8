"""Compile one module in a process of its own, which a hostile module may hang or balloon.

    python -m blitz.wasm.compile MAX_MEMORY_SIZE MAX_CPU MAX_DATA OUT SOURCE  < module.wasm

OUT is the number of an open descriptor, which gets the compiled form. On standard output stand lines for
``blitz.wasm.apart``, the other side:

    ready                  all is set up, and nothing of the module was read
    made SIZE SHA256 NEED  the compiled form is complete; NEED: the grant "gc", or "plain": none
    refused SENTENCE       it does not compile
    unwritten ERRNO        OUT does not take the compiled form

Without "ready" it is the process that cannot run here; after it, whatever goes wrong comes of the module.
"""

from __future__ import annotations

import ctypes
import errno
import hashlib
import os
import resource
import signal
import sys

from blitz.errors import PluginLoadError
from blitz.wasm.engine import Engine
from blitz.wasm.module import Module

__all__ = ["MAX_OUTPUT"]

GIB = 1024**3
# Reserved address space (a slot of 8 GiB for the one instance that the engine of this process could hold,
# guards, stacks) is counted apart from what may be written to.
MAX_ADDRESS_SPACE = 16 * GIB
MAX_OUTPUT = GIB
PR_SET_PDEATHSIG = 1


def main(words: list[str]) -> int:
    """Compile standard input to a descriptor; the exit code."""
    max_memory_size, max_cpu, max_data, out = (int(word) for word in words[:4])
    source = words[4]
    _end_with_parent()
    _bound_this_process(max_cpu, max_data)
    engine = Engine(1, max_memory_size)
    _say("ready")
    try:
        module = Module.compile(engine, sys.stdin.buffer.read(), source)
    except PluginLoadError as error:
        _say(f"refused {error}")
        return 1
    made = module.serialize()
    try:
        _write(out, made)
    except OSError as error:
        _say(f"unwritten {error.errno or errno.EIO}")
        return 1
    needs = "gc" if module.needs_gc else "plain"
    _say(f"made {len(made)} {hashlib.sha256(made).hexdigest()} {needs}")
    return 0


def _say(line: str) -> None:
    print(line, flush=True)


def _write(out: int, data: bytes) -> None:
    view = memoryview(data)
    while view:
        view = view[os.write(out, view) :]


def _end_with_parent() -> None:
    """A worker that is killed leaves nobody behind who would use a processor for minutes."""
    prctl = getattr(ctypes.CDLL(None), "prctl", None)
    if prctl is not None:
        prctl(PR_SET_PDEATHSIG, int(signal.SIGKILL), 0, 0, 0)


def _bound_this_process(max_cpu: int, max_data: int) -> None:
    for what, limit in (
        (resource.RLIMIT_CPU, max_cpu),
        (resource.RLIMIT_DATA, max_data),
        (resource.RLIMIT_AS, MAX_ADDRESS_SPACE),
        (resource.RLIMIT_FSIZE, MAX_OUTPUT),
        (resource.RLIMIT_CORE, 0),
    ):
        _, most = resource.getrlimit(what)
        least = limit if most == resource.RLIM_INFINITY else min(limit, most)
        # At the soft limit of CPU time comes SIGXCPU, which says what it is; at the hard one SIGKILL.
        hard = least + 1 if what == resource.RLIMIT_CPU and most == resource.RLIM_INFINITY else least
        resource.setrlimit(what, (least, hard))


if __name__ == "__main__":
    status = main(sys.argv[1:])
    # Nothing to tidy: the process ends here, and its memory with it.
    os._exit(status)
