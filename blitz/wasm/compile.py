"""Compile one module in a process of its own, which a hostile module may hang or balloon.

    python -m blitz.wasm.compile MAX_MEMORY_SIZE MAX_CPU MAX_DATA SOURCE  < module.wasm  > compiled form

Exit code 0: the compiled form is complete. REFUSED: standard error says why, in one sentence. Anything
else: the process was stopped by a limit, or broke.

``compile_apart`` is the other side: it starts that process, waits, and puts its end into words.
"""

from __future__ import annotations

import os
import resource
import signal
import subprocess
import sys
from pathlib import Path

from blitz.errors import PluginLoadError
from blitz.wasm.engine import Engine
from blitz.wasm.module import Module

__all__ = ["CannotStart", "compile_apart"]

REFUSED = 3
GIB = 1024**3

# A Go module of 12 MB takes 5 s of CPU; a slow and busy machine gets twenty times that.
MAX_CPU = 120  # seconds
TIMEOUT = 180.0
# What compiling may write to: the Go module needs 0.4 GiB. Reserved address space (a slot of 4 GiB for
# the one instance that the engine of this process could hold, guards, stacks) is counted apart.
MAX_DATA = 2 * GIB
MAX_ADDRESS_SPACE = 16 * GIB
MAX_OUTPUT = GIB


class CannotStart(Exception):
    """No process could be started, which is nobody's fault here."""


def compile_apart(wasm: int, out: int, max_memory_size: int, source: str) -> None:
    """Compile the module in the file *wasm* (a descriptor) into the file *out*; blocks.

    Args:
        max_memory_size: of the engine that will load it.
        source: for messages.
    Raises:
        PluginLoadError: it does not compile, or not within the limits.
        CannotStart: the system has no process, memory or interpreter for it.
    """
    os.lseek(wasm, 0, os.SEEK_SET)
    numbers = (max_memory_size, MAX_CPU, MAX_DATA)
    command = [sys.executable, "-m", __name__, *map(str, numbers), source]
    try:
        done = subprocess.run(
            command,
            stdin=wasm,
            stdout=out,
            stderr=subprocess.PIPE,
            env=_environment(),
            cwd="/",
            timeout=TIMEOUT,
            check=False,
        )
    except subprocess.TimeoutExpired:
        raise PluginLoadError(
            f"{source} does not compile within {TIMEOUT:g} s, and compiling it was stopped"
        ) from None
    except OSError as exc:
        raise CannotStart(f"{sys.executable}: {exc.strerror}") from exc
    if done.returncode:
        raise _why(done.returncode, done.stderr.decode("utf-8", "replace"), source)


def _environment() -> dict[str, str]:
    """Where to import from, and nothing of the gateway's secrets."""
    paths = [str(Path(path).resolve()) for path in sys.path if path]
    own = str(Path(__file__).resolve().parents[2])
    return {"PYTHONPATH": os.pathsep.join(dict.fromkeys([own, *paths])), "PYTHONDONTWRITEBYTECODE": "1"}


def _why(code: int, said: str, source: str) -> PluginLoadError | CannotStart:
    if code == REFUSED:
        return PluginLoadError(said.strip())
    if -code == signal.SIGXCPU:
        return PluginLoadError(f"{source} does not compile within {MAX_CPU} s of CPU time")
    if "MemoryError" in said or "memory allocation of" in said or -code == signal.SIGKILL:
        return PluginLoadError(
            f"{source} does not compile within {MAX_DATA / GIB:g} GiB of memory: build it smaller"
        )
    if -code in (signal.SIGSEGV, signal.SIGABRT, signal.SIGBUS, signal.SIGILL):
        return PluginLoadError(f"{source} breaks the compiler ({signal.Signals(-code).name})")
    last = said.strip().splitlines()[-1:] or [f"exit code {code}"]
    return CannotStart(f"the compiler's process failed: {last[0]}")


# ---------------------------------------------------------------- the process


def main(words: list[str]) -> int:
    """Compile standard input to standard output."""
    max_memory_size, max_cpu, max_data = (int(word) for word in words[:3])
    source = words[3]
    _bound_this_process(max_cpu, max_data)
    wasm = sys.stdin.buffer.read()
    engine = Engine(1, max_memory_size)
    try:
        module = Module.compile(engine, wasm, source)
    except PluginLoadError as error:
        print(error, file=sys.stderr, flush=True)
        return REFUSED
    sys.stdout.buffer.write(module.serialize())
    sys.stdout.buffer.flush()
    return 0


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
