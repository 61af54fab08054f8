"""What the processes that read a hostile module have in common: bounds, and lines for the parent."""

from __future__ import annotations

import ctypes
import os
import resource
import signal

__all__ = ["bound_this_process", "end_with_parent", "say", "write_all"]

# Reserved address space (a slot of 8 GiB for the one instance that the engine of such a process could hold,
# guards, stacks) is counted apart from what may be written to.
MAX_ADDRESS_SPACE = 16 * 1024**3
PR_SET_PDEATHSIG = 1


def say(line: str) -> None:
    print(line, flush=True)


def write_all(fd: int, data: bytes) -> None:
    view = memoryview(data)
    while view:
        view = view[os.write(fd, view) :]


def end_with_parent() -> None:
    """A worker that is killed leaves nobody behind who would use a processor for minutes."""
    prctl = getattr(ctypes.CDLL(None), "prctl", None)
    if prctl is not None:
        prctl(PR_SET_PDEATHSIG, int(signal.SIGKILL), 0, 0, 0)


def bound_this_process(max_cpu: int, max_data: int, max_output: int) -> None:
    """*max_cpu*: seconds. *max_data*, *max_output*: bytes, in memory and of a file."""
    for what, limit in (
        (resource.RLIMIT_CPU, max_cpu),
        (resource.RLIMIT_DATA, max_data),
        (resource.RLIMIT_AS, MAX_ADDRESS_SPACE),
        (resource.RLIMIT_FSIZE, max_output),
        (resource.RLIMIT_CORE, 0),
    ):
        _, most = resource.getrlimit(what)
        least = limit if most == resource.RLIM_INFINITY else min(limit, most)
        # At the soft limit of CPU time comes SIGXCPU, which says what it is; at the hard one SIGKILL.
        hard = least + 1 if what == resource.RLIMIT_CPU and most == resource.RLIM_INFINITY else least
        resource.setrlimit(what, (least, hard))
