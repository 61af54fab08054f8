"""Have a module compiled by a process of its own (``blitz.wasm.compile``), and put its end into words; have
its debug information read by another (``blitz.wasm.symbolize``).

Whatever a module does to that process (hang, balloon, crash, write nonsense), it is the module that is
refused. ``CannotStart`` is for a process that failed before it had read anything of the module: only
then may the module be compiled elsewhere.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import selectors
import signal
import subprocess
import sys
import threading
import time
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from blitz.errors import PluginLoadError
from blitz.text import one_line
from blitz.wasm.symbols import MAX_TABLE

__all__ = ["CannotStart", "Compiled", "Stop", "Stopped", "can_symbolize", "compile_apart", "symbolize_apart"]

GIB = 1024**3

# A Go module of 12 MB takes 5 s of CPU; a slow and busy machine gets twenty times that.
MAX_CPU = 120  # seconds
TIMEOUT = 180.0
# What compiling may write to: the Go module needs 0.4 GiB.
MAX_DATA = 2 * GIB
MAX_SAID = 8192  # bytes of each of its streams that are kept; the rest is read and forgotten
MAX_SENTENCE = 1000  # as long as the engine's errors are
PIECE = 65536
TRAITS = frozenset(("gc", "debug"))  # what may be said of a module
# Signals that such a process does not obey; SIGTERM ends it, as who started it does.
NOT_ITS = frozenset((signal.SIGHUP, signal.SIGINT, signal.SIGUSR1, signal.SIGUSR2))

# A table of symbols is worth less than a module. A Rust module of 2 MB takes 1.3 s of CPU.
MAX_SYMBOLS_CPU = 20  # seconds
SYMBOLS_TIMEOUT = 60.0
MAX_SYMBOLS_DATA = GIB


class CannotStart(Exception):
    """No process could be started, which is nobody's fault here."""


class Stopped(Exception):
    """Nobody wants the module any more; its process was killed."""


class Stop:
    """Ends a compilation from any other thread, at once, whether it has begun or not."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._process: subprocess.Popen[bytes] | None = None
        self.is_set = False

    def set(self) -> None:
        with self._lock:
            self.is_set = True
            if self._process is not None:
                self._process.kill()

    def watch(self, process: subprocess.Popen[bytes]) -> None:
        """From now on ``set`` kills *process*."""
        with self._lock:
            self._process = process
            if self.is_set:
                process.kill()


@dataclass(frozen=True, slots=True)
class Compiled:
    """What compiling a module told about it.

    Attributes:
        needs_gc: its plugin needs the grant ``gc``.
        has_debug: it has debug information.
    """

    needs_gc: bool
    has_debug: bool


def compile_apart(wasm: int, out: int, compiles_for: str, source: str, stop: Stop) -> Compiled:
    """Compile the module in the file *wasm* (a descriptor) into the file *out*; blocks.

    Args:
        compiles_for: of the engine that will load it.
        source: for messages.
    Returns:
        What was found about the module on the way.
    Raises:
        PluginLoadError: it does not compile, not within the limits, or the process came to harm over it.
        CannotStart: the system has no process, memory or interpreter for it.
        Stopped: *stop* was set.
        OSError: *out* does not take the compiled form.
    """
    words = (compiles_for, MAX_CPU, MAX_DATA, out)
    try:
        code, said, complaints = _run("blitz.wasm.compile", words, wasm, out, source, stop, TIMEOUT)
    except subprocess.TimeoutExpired:
        raise PluginLoadError(
            f"{source} does not compile within {TIMEOUT:g} s, and compiling it was stopped"
        ) from None
    return _judge(code, said, complaints, out, source)


def can_symbolize() -> bool:
    """Whether what reads debug information is installed (the extra ``symbols``)."""
    return find_spec("elftools") is not None


def symbolize_apart(wasm: int, out: int, source: str, stop: Stop) -> tuple[bytes, str]:
    """Have a table of symbols made of the module in the file *wasm* (a descriptor), by way of *out*; blocks.

    Returns:
        The table (``blitz.wasm.symbols``), empty when there is none; and in words why it is empty or has not
        all, or "".
    Raises:
        Stopped: *stop* was set.
    """
    numbers = (MAX_SYMBOLS_CPU, MAX_SYMBOLS_DATA, out)
    try:
        code, said, _ = _run("blitz.wasm.symbolize", numbers, wasm, out, source, stop, SYMBOLS_TIMEOUT)
    except subprocess.TimeoutExpired:
        return b"", f"reading its debug information takes longer than {SYMBOLS_TIMEOUT:g} s"
    except CannotStart as error:
        return b"", f"no process can read its debug information: {error}"
    *_, last = said.splitlines() or [""]
    if code == 0 and last == f"made {_describe(out)}" and os.fstat(out).st_size <= MAX_TABLE:
        partly = [line.partition(" ")[2] for line in said.splitlines() if line.startswith("partly ")]
        return os.pread(out, MAX_TABLE, 0), one_line(partly[0])[:MAX_SENTENCE] if partly else ""
    if -code == signal.SIGXCPU:
        return b"", f"reading its debug information takes more than {MAX_SYMBOLS_CPU} s of CPU time"
    return b"", "its debug information cannot be read"


def _run(
    what: str, words: tuple[object, ...], wasm: int, out: int, source: str, stop: Stop, timeout: float
) -> tuple[int, str, str]:
    """Run the module *what* of ours to its end: exit code, standard output, standard error.

    Raises:
        CannotStart: the system has no process for it.
        Stopped: *stop* was set.
        subprocess.TimeoutExpired: it was killed.
    """
    os.lseek(wasm, 0, os.SEEK_SET)
    command = [sys.executable, "-m", what, *map(str, words), source]
    try:
        process = _start(
            command,
            stdin=wasm,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            pass_fds=(out,),
        )
    except OSError as exc:
        raise CannotStart(f"{sys.executable}: {exc.strerror}") from exc
    with process:
        stop.watch(process)
        try:
            said, complaints = _listen(process, time.monotonic() + timeout)
        finally:
            process.kill()
    if stop.is_set:
        raise Stopped
    return process.returncode, said, complaints


def _start(command: list[str], **options: Any) -> subprocess.Popen[bytes]:
    """Start it so that what is meant for the whole group or for all that is called blitz does not end it: it
    gets the mask of this thread."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, NOT_ITS)
    try:
        return subprocess.Popen(command, env=_environment(), cwd="/", **options)
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _environment() -> dict[str, str]:
    """Where to import from, and nothing of the gateway's secrets."""
    paths = [str(Path(path).resolve()) for path in sys.path if path]
    own = str(Path(__file__).resolve().parents[2])
    return {"PYTHONPATH": os.pathsep.join(dict.fromkeys([own, *paths])), "PYTHONDONTWRITEBYTECODE": "1"}


def _listen(process: subprocess.Popen[bytes], deadline: float) -> tuple[str, str]:
    """The beginnings of its standard output and standard error; both are read until it has ended.

    Raises:
        subprocess.TimeoutExpired: it has not ended by *deadline*.
    """
    assert process.stdout is not None
    assert process.stderr is not None
    kept = {process.stdout.fileno(): bytearray(), process.stderr.fileno(): bytearray()}
    with selectors.DefaultSelector() as selector:
        for fd in kept:
            selector.register(fd, selectors.EVENT_READ)
        while selector.get_map():
            left = deadline - time.monotonic()
            if left <= 0:
                raise subprocess.TimeoutExpired(process.args, 0)
            for key, _ in selector.select(left):
                data = os.read(key.fd, PIECE)
                if not data:
                    selector.unregister(key.fd)
                kept[key.fd] += data[: MAX_SAID - len(kept[key.fd])]
    process.wait(max(deadline - time.monotonic(), 0))
    said, complaints = (bytes(one).decode("utf-8", "replace") for one in kept.values())
    return said, complaints


def _judge(code: int, said: str, complaints: str, out: int, source: str) -> Compiled:
    """If *out* has the compiled form, what the process says of the module; else raise why not."""
    ready, _, rest = said.partition("ready\n")
    if ready or not said.startswith("ready\n"):
        if code >= 0:
            raise CannotStart(f"the compiler's process failed: {_last_words(code, complaints)}")
        error = PluginLoadError(
            f"{source} is not compiled: its process was ended by {_name(-code)} as it began; load it again"
        )
        error.transient = True
        raise error
    word, _, about = rest.partition("\n")[0].partition(" ")
    size, _, more = about.partition(" ")
    digest, *traits = more.split(" ")
    if code == 0 and word == "made" and TRAITS.issuperset(traits) and f"{size} {digest}" == _describe(out):
        return Compiled("gc" in traits, "debug" in traits)
    if code > 0 and word == "refused":
        raise PluginLoadError(one_line(about)[:MAX_SENTENCE])
    if code > 0 and word == "unwritten" and about.isdecimal():
        raise OSError(int(about), os.strerror(int(about)))
    error = PluginLoadError(_how_it_broke(code, complaints, source))
    error.transient = -code == signal.SIGKILL  # by the system, short of memory, or by somebody
    raise error


def _how_it_broke(code: int, complaints: str, source: str) -> str:
    if -code == signal.SIGXCPU:
        return f"{source} does not compile within {MAX_CPU} s of CPU time"
    if "MemoryError" in complaints or "memory allocation of" in complaints or -code == signal.SIGKILL:
        return f"{source} does not compile within {MAX_DATA / GIB:g} GiB of memory: build it smaller"
    if code < 0:
        return f"{source} breaks the compiler ({_name(-code)}): build it in another way"
    if code == 0:
        return f"{source} breaks the compiler: what it made is not what it says; build it in another way"
    return f"{source} breaks the compiler ({_last_words(code, complaints)}): build it in another way"


def _name(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:  # between SIGRTMIN and SIGRTMAX
        return f"signal {number}"


def _last_words(code: int, complaints: str) -> str:
    last = complaints.strip().splitlines()[-1:]
    return one_line("".join(last))[:MAX_SENTENCE] or f"exit code {code}"


def _describe(out: int) -> str:
    """Size and digest of the file, as ``blitz.wasm.compile`` says them."""
    with contextlib.closing(os.fdopen(os.dup(out), "rb")) as stream:
        stream.seek(0)
        digest = hashlib.file_digest(stream, "sha256").hexdigest()
        return f"{stream.tell()} {digest}"
