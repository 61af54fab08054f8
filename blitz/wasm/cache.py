"""Compiled modules in a directory that only we can write, so that a plugin is compiled once.

An entry is two files, or three. ``<key>.cwasm`` is what wasmtime's ``serialize`` made: native code, which is
mapped and run as it is. ``<key>.json`` says what it is: its own size and digest, whether the module needs
the grant ``gc``, and the *stamp* of the file when it was written. ``<key>.symbols`` says where the code
comes from, if the module has debug information. The key is a digest over the module's sha256, wasmtime's
version, the engine's settings and the processor's features: an entry of another machine or version has
another name.

Trust. Loading native code is safe only if we wrote it. So the directory and each file must be ours and closed
to others (``cachedir.py``), and a file must have the digest that its ``.json`` says. What is loaded is
what was checked, through one descriptor.
Checking a digest takes 20 ms for a large module, and loading must not: while device, inode, size and
both times of a file are what they were when its digest was last checked, in this boot of the machine,
nobody has written to it. The same holds for ``<path>.src``, which remembers the digest of a ``.wasm``.
What is damaged, foreign or half-written is compiled again; that is no error.

Without a usable directory everything works, and each start compiles.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import logging
import mmap
import os
import platform
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from blitz.errors import PluginLoadError
from blitz.extras import how_to_install
from blitz.files import MODULE, FileRefused, open_file, read_open, shown
from blitz.trouble import Trouble, reason_of
from blitz.wasm.cachedir import CacheDirectory, NotOurs, stamp_of
from blitz.wasm.compile_process import CannotStart, Stop, can_symbolize, compile_apart, symbolize_apart
from blitz.wasm.engine import Engine
from blitz.wasm.library import library_version
from blitz.wasm.module import Module, check_preamble
from blitz.wasm.symbols import Symbols

__all__ = ["CompileCache", "Source", "default_directory", "open_cache"]

_log = logging.getLogger("blitz.wasm")

FORMAT = 2  # of the entries; part of the key
MAX_SIZE = 1024**3  # bytes of all entries: some 30 of the largest plugins, thousands of ordinary ones
# A file that changed this recently may change again within the resolution of its times.
SETTLED = 2.0
TOUCH_INTERVAL = 3600.0  # how exact "oldest" is

_warned: set[str] = set()
_keeping = Trouble(_log, "the compile cache", "what is compiled is not kept, and compiled at every start")


@dataclass(frozen=True, slots=True)
class Source:
    """A module as it was read.

    Attributes:
        file: path. digest: sha256, in hex.
        content: None while only the digest is known: the file is as it was when that was computed.
    """

    file: str
    digest: str
    content: bytes | None


def default_directory(environ: Mapping[str, str]) -> Path | None:
    """``$XDG_CACHE_HOME/blitz``, else ``~/.cache/blitz``; None when there is no home."""
    base = environ.get("XDG_CACHE_HOME", "")
    if base.startswith("/"):
        return Path(base, "blitz")
    home = environ.get("HOME", "")
    return Path(home, ".cache", "blitz") if home.startswith("/") else None


def open_cache(said: str) -> CompileCache:
    """The cache in the directory that the configuration names; "" for the usual one."""
    return CompileCache(Path(said) if said else default_directory(os.environ))


class CompileCache:
    """Loads modules from files, compiling where it must. May be used from any thread.

    Args:
        directory: made (0700) when it does not exist; None: keep nothing. One that others could write
            to is not used, with one warning per process.
        max_size: bytes; the entries that were not used for longest go first.
        quiet: somebody has said already why there is no directory.
    """

    def __init__(self, directory: Path | None, max_size: int = MAX_SIZE, *, quiet: bool = False) -> None:
        self.max_size = max_size
        self._directory: CacheDirectory | None = None
        reason = "there is no home directory"
        if directory is not None:
            try:
                self._directory = CacheDirectory(directory)
                return
            except NotOurs as exc:
                reason = str(exc)
        if not quiet and reason not in _warned:
            _warned.add(reason)
            _log.warning(
                "plugins are compiled at every start: %s; set cache_dir to a directory of ours", shown(reason)
            )

    def load(self, engine: Engine, file: str, *, stop: Stop | None = None) -> tuple[Module, str]:
        """Return the module in *file*, and its sha256. Milliseconds to minutes when it must be compiled.

        Raises:
            PluginLoadError: it cannot be read, or does not compile.
            Stopped: *stop* was set while it compiled.
        """
        source = self.read(file)
        module = self.find(engine, source.digest, file)
        if module is None:
            if source.content is None:
                source = self.read(file, whole=True)  # it may have changed since; what was read counts
            module = self.compile(engine, source, stop or Stop())
        return module, source.digest

    # -- sources

    def read(self, file: str, *, whole: bool = False) -> Source:
        """Read a module, or only look at it when its digest is known. Waits for nothing but the disk.

        Args:
            whole: read it in any case.
        Raises:
            PluginLoadError: it cannot be read.
        """
        try:
            fd = open_file(file, MODULE)
        except FileRefused as refused:
            raise PluginLoadError(f"{file}: {refused}") from refused
        try:
            known = "" if whole else self._remembered(file, fd)
            if known:
                return Source(file, known, None)
            began = time.time()
            content = read_open(fd, MODULE)
            digest = hashlib.sha256(content).hexdigest()
            self._remember(file, fd, digest, began)
            return Source(file, digest, content)
        except FileRefused as refused:
            raise PluginLoadError(f"{file}: {refused}") from refused
        finally:
            os.close(fd)

    def _remembered(self, file: str, fd: int) -> str:
        """The digest of the open file if it was computed before and nothing changed since, else ""."""
        if self._directory is not None:
            with contextlib.suppress(FileRefused, ValueError, KeyError, OSError):
                said = self._directory.read_note(_note(file))
                if said["stamp"] == stamp_of(os.fstat(fd)):
                    return str(said["wasm"])
        return ""

    def _remember(self, file: str, fd: int, digest: str, began: float) -> None:
        found = os.fstat(fd)
        if self._directory is not None and began - max(found.st_mtime, found.st_ctime) > SETTLED:
            with contextlib.suppress(OSError):
                said = {"source": file, "wasm": digest, "stamp": stamp_of(found)}
                self._directory.write_note(_note(file), said)

    # -- entries

    def find(self, engine: Engine, digest: str, file: str) -> Module | None:
        """The module of that digest if it was compiled before; *file* is for messages."""
        directory = self._directory
        if directory is None:
            return None
        key = _key(engine, digest)
        about = f"{key}.json"
        try:
            said = directory.read_note(about)
            code = directory.open_code(f"{key}.cwasm")
        except (FileRefused, ValueError):
            return None
        try:
            found = os.fstat(code)
            if said["stamp"] != stamp_of(found):
                if found.st_size != said["size"] or _digest_of(code, found.st_size) != said["sha256"]:
                    return None
                directory.write_note(about, said | {"stamp": stamp_of(found)})
            elif directory.age(about) > TOUCH_INTERVAL:
                directory.touch(about)
            symbols = _kept_symbols(directory, key, str(said.get("symbols", "")))
            return _load(engine, code, file, symbols, needs_gc=said["gc"] is not False)
        except (OSError, KeyError, TypeError):
            return None
        except PluginLoadError as error:
            _log.info("%s; compiling it again", error)
            return None
        finally:
            os.close(code)

    def compile(self, engine: Engine, source: Source, stop: Stop) -> Module:
        """Compile what was read whole, and keep it if that is possible.

        Raises:
            PluginLoadError: it does not compile.
            Stopped: *stop* was set.
        """
        wasm, name = source.content, shown(source.file)
        assert wasm is not None
        check_preamble(wasm, name)
        try:
            with _in_memory(wasm) as given:
                if self._directory is not None:
                    try:
                        module = self._compile_here(self._directory, engine, source, given, stop)
                        _keeping.ends()
                        return module
                    except OSError as exc:  # no room, say
                        _keeping.begins(f"{shown(str(self._directory.path))}: {reason_of(exc)}")
                with _in_memory(b"") as made:
                    found = compile_apart(given, made, engine.compiles_for, name, stop)
                    table = _symbols_of(given, name, stop) if found.has_debug else b""
                    return _load(engine, made, name, _opened(table), needs_gc=found.needs_gc)
        except OSError as exc:
            error = PluginLoadError(
                f"{name}: there is no room for its compiled form: {exc.strerror}; make some, and load again"
            )
            error.transient = True
            raise error from exc
        except CannotStart as cause:
            # Nothing has read the module yet: it is not what stopped that process.
            if "apart" not in _warned:
                _warned.add("apart")
                _log.warning("compiling inside the gateway's own process: %s", cause)
            return Module.compile(engine, wasm, name)

    def _compile_here(
        self, directory: CacheDirectory, engine: Engine, source: Source, wasm: int, stop: Stop
    ) -> Module:
        """Compile into an entry and load that. OSError when it cannot be written."""
        key, name = _key(engine, source.digest), shown(source.file)
        made, aside = directory.create()
        try:
            found = compile_apart(wasm, made, engine.compiles_for, name, stop)
            table = _symbols_of(wasm, name, stop) if found.has_debug else b""
            size = os.fstat(made).st_size
            digest = _digest_of(made, size)
            # First: what does not load is no entry.
            module = _load(engine, made, name, _opened(table), needs_gc=found.needs_gc)
            try:
                directory.rename(aside, f"{key}.cwasm")
                # The stamp last: renaming sets a time.
                said = {"source": name, "size": size, "sha256": digest, "gc": found.needs_gc}
                said["symbols"] = _keep_symbols(directory, key, table)
                directory.write_note(f"{key}.json", said | {"stamp": stamp_of(os.fstat(made))})
            except BaseException:
                module.close()
                raise
            module.symbols = _opened(table)
        finally:
            directory.remove(aside)
            os.close(made)
        directory.shrink(self.max_size, keep=key)
        return module


def _load(engine: Engine, code: int, source: str, symbols: Symbols | None, *, needs_gc: bool) -> Module:
    """The module in an open file: the one that was checked, whatever its name leads to by now."""
    module = Module.load(engine, f"/proc/self/fd/{code}", source, needs_gc=needs_gc)
    module.symbols = symbols
    return module


# ---------------------------------------------------------------- where the code comes from


def _symbols_of(wasm: int, source: str, stop: Stop) -> bytes:
    """The table of symbols of the module in the file *wasm*, which has debug information; empty when there
    can be none, which the log explains."""
    if not can_symbolize():
        if "symbols" not in _warned:
            _warned.add("symbols")
            _log.info(
                "%s has debug information; for file and line in the frames of its faults %s",
                source,
                how_to_install("pyelftools"),
            )
        return b""
    with _in_memory(b"") as made:
        table, why = symbolize_apart(wasm, made, source, stop)
    if why:
        _log.warning(
            "%s: %s frames of its faults have file and line: %s", source, "few" if table else "no", why
        )
    return table


def _keep_symbols(directory: CacheDirectory, key: str, table: bytes) -> str:
    """The digest of what was written; "" when there is nothing."""
    if table:
        with contextlib.suppress(OSError):
            directory.write(f"{key}.symbols", table)
            return hashlib.sha256(table).hexdigest()
    return ""


def _kept_symbols(directory: CacheDirectory, key: str, digest: str) -> Symbols | None:
    """What was kept beside the module, if it is there and ours."""
    if not digest:
        return None
    with contextlib.suppress(FileRefused, OSError, ValueError):
        fd = directory.open_code(f"{key}.symbols")
        try:
            table = mmap.mmap(fd, 0, access=mmap.ACCESS_READ)
        finally:
            os.close(fd)
        if hashlib.sha256(table).hexdigest() == digest:
            return _opened(table)
    return None


def _opened(table: bytes | mmap.mmap) -> Symbols | None:
    with contextlib.suppress(ValueError):
        return Symbols(table)
    return None


# ---------------------------------------------------------------- keys and content


def _note(file: str) -> str:
    return f"{hashlib.sha256(os.fsencode(os.path.abspath(file))).hexdigest()}.src"


def _key(engine: Engine, digest: str) -> str:
    said = json.dumps([FORMAT, digest, library_version(), engine.settings, _processor(), can_symbolize()])
    return hashlib.sha256(said.encode()).hexdigest()


@cache
def _processor() -> str:
    """The architecture and its features, as far as the kernel says them."""
    with contextlib.suppress(OSError), open("/proc/cpuinfo", encoding="utf-8", errors="replace") as lines:
        for line in lines:
            name, _, value = line.partition(":")
            if name.strip() in ("flags", "Features"):
                return f"{platform.machine()} {' '.join(sorted(value.split()))}"
    return platform.machine()


def _digest_of(fd: int, size: int) -> str:
    """The sha256 of the first *size* bytes of an open file, in hex."""
    digest = hashlib.sha256()
    at = 0
    while at < size and (part := os.pread(fd, min(size - at, 1024**2), at)):
        digest.update(part)
        at += len(part)
    return digest.hexdigest()


@contextlib.contextmanager
def _in_memory(content: bytes) -> Iterator[int]:
    """A descriptor of a file without a name, at its beginning."""
    fd = os.memfd_create("blitz", os.MFD_CLOEXEC)
    try:
        view = memoryview(content)
        while view:
            view = view[os.write(fd, view) :]
        os.lseek(fd, 0, os.SEEK_SET)
        yield fd
    finally:
        os.close(fd)
