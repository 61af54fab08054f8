"""Compiled modules in a directory that only we can write, so that a plugin is compiled once.

An entry is two files, or three. ``<key>.cwasm`` is what wasmtime's ``serialize`` made: native code, which is
mapped and run as it is. ``<key>.json`` says what it is: its own size and digest, and the *stamp* of the
file when it was written. ``<key>.symbols`` says where the code comes from, if the module has debug
information. The key is a digest over the module's sha256, wasmtime's version, the engine's settings and the
processor's features: an entry of another machine or version has another name.

Trust. Loading native code is safe only if we wrote it. So the directory must be ours and closed to
others, all the way up; so must each file; and its content must have the digest that its ``.json`` says.
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
import stat
import tempfile
import time
from collections.abc import Iterator, Mapping
from functools import cache
from pathlib import Path
from typing import Any

from blitz.errors import PluginLoadError
from blitz.wasm.apart import CannotStart, Stop, can_symbolize, compile_apart, symbolize_apart
from blitz.wasm.engine import Engine
from blitz.wasm.library import library_version
from blitz.wasm.module import Module, check_preamble
from blitz.wasm.symbols import Symbols

__all__ = ["CompileCache", "default_directory", "open_cache"]

_log = logging.getLogger("blitz.wasm")

FORMAT = 2  # of the entries; part of the key
MAX_SIZE = 1024**3  # bytes of all entries: some 30 of the largest plugins, thousands of ordinary ones
# A file that changed this recently may change again within the resolution of its times.
SETTLED = 2.0
TOUCH_INTERVAL = 3600.0  # how exact "oldest" is

_warned: set[str] = set()


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
    """

    def __init__(self, directory: Path | None, max_size: int = MAX_SIZE) -> None:
        self.max_size = max_size
        self.directory: Path | None = None
        reason = "there is no home directory" if directory is None else _refusal(directory)
        if not reason:
            self.directory = directory
        elif reason not in _warned:
            _warned.add(reason)
            _log.warning(
                "plugins are compiled at every start: %s; set cache_dir to a directory of ours", reason
            )

    def digest(self, file: str) -> str:
        """The sha256 of *file*, in hex.

        Raises:
            PluginLoadError: it cannot be read.
        """
        return self._digest(file)[0]

    def load(
        self, engine: Engine, file: str, *, pin: str = "", stop: Stop | None = None
    ) -> tuple[Module, str]:
        """Return the module in *file*, and its sha256. Milliseconds to minutes when it must be compiled.

        Args:
            pin: the sha256 that it must have, or "". A pinned file is always read.
            stop: ends a compilation from another thread.
        Raises:
            PluginLoadError: it cannot be read, has another digest, or does not compile.
            Stopped: *stop* was set while it compiled.
        """
        digest, wasm = _read(file) if pin else self._digest(file)
        if pin and digest != pin:
            raise PluginLoadError(f"{file}: sha256 is {digest}, and the configuration pins {pin}")
        key = _key(engine, digest)
        module = self._find(engine, key, file)
        if module is None:
            if wasm is None:
                digest, wasm = _read(file)  # it may have changed since; what was read counts
                key = _key(engine, digest)
            module = self._compile(engine, key, wasm, file, stop or Stop())
        return module, digest

    # -- sources

    def _digest(self, file: str) -> tuple[str, bytes | None]:
        """Digest, and the content if it had to be read."""
        note = self._note(file)
        if note is not None:
            with contextlib.suppress(OSError, ValueError, KeyError, TypeError):
                said = _read_json(note)
                if said["stamp"] == _stamp(os.stat(file)):
                    return str(said["wasm"]), None
        began = time.time()
        digest, content = _read(file)
        if note is not None:
            with contextlib.suppress(OSError):
                found = os.stat(file)
                if began - max(found.st_mtime, found.st_ctime) > SETTLED:
                    self._write_json(note, {"source": file, "wasm": digest, "stamp": _stamp(found)})
        return digest, content

    def _note(self, file: str) -> Path | None:
        if self.directory is None:
            return None
        return self.directory / f"{hashlib.sha256(os.path.abspath(file).encode()).hexdigest()}.src"

    # -- entries

    def _find(self, engine: Engine, key: str, source: str) -> Module | None:
        """The compiled form, if it is there and ours."""
        if self.directory is None:
            return None
        code, about = self.directory / f"{key}.cwasm", self.directory / f"{key}.json"
        try:
            said = _read_json(about)
            found = os.lstat(code)
            if not _is_ours(found) or not _is_ours(os.lstat(about)):
                return None
            if said["stamp"] != _stamp(found):
                if found.st_size != said["size"] or _file_digest(code) != said["sha256"]:
                    return None
                self._write_json(about, said | {"stamp": _stamp(found)})
            elif time.time() - os.stat(about).st_mtime > TOUCH_INTERVAL:
                os.utime(about)
            module = Module.load(engine, code, source)
            module.symbols = self._find_symbols(key, said)
            return module
        except (OSError, ValueError, KeyError, TypeError):
            return None
        except PluginLoadError as error:
            _log.info("%s; compiling it again", error)
            return None

    def _compile(self, engine: Engine, key: str, wasm: bytes, source: str, stop: Stop) -> Module:
        check_preamble(wasm, source)
        try:
            with _in_memory(wasm) as given:
                if self.directory is not None:
                    with contextlib.suppress(OSError):  # no room, say
                        return self._compile_here(engine, key, given, source, stop)
                with _in_memory(b"") as made:
                    debug = compile_apart(given, made, engine.max_memory_size, source, stop)
                    table = _symbols_of(given, source, stop) if debug else b""
                    module = Module.load(engine, f"/proc/self/fd/{made}", source)
                    module.symbols = _opened(table)
                    return module
        except OSError as exc:
            raise PluginLoadError(
                f"{source}: there is no room for its compiled form: {exc.strerror}; make some, and load again"
            ) from exc
        except CannotStart as error:
            # Nothing has read the module yet: it is not what stopped that process.
            if "apart" not in _warned:
                _warned.add("apart")
                _log.warning("compiling inside the gateway's own process: %s", error)
            return Module.compile(engine, wasm, source)

    def _compile_here(self, engine: Engine, key: str, wasm: int, source: str, stop: Stop) -> Module:
        """Compile into an entry and load that. OSError when it cannot be written."""
        assert self.directory is not None
        code = self.directory / f"{key}.cwasm"
        made, name = tempfile.mkstemp(dir=self.directory, prefix=".new-")
        try:
            debug = compile_apart(wasm, made, engine.max_memory_size, source, stop)
            table = _symbols_of(wasm, source, stop) if debug else b""
            size, digest = os.fstat(made).st_size, _file_digest(Path(name))
            module = Module.load(engine, name, source)  # first: what does not load is no entry
            try:
                os.rename(name, code)
                # The stamp last: renaming sets a time.
                said = {"source": source, "size": size, "sha256": digest, "stamp": _stamp(os.stat(code))}
                said["symbols"] = self._keep_symbols(key, table)
                self._write_json(self.directory / f"{key}.json", said)
            except BaseException:
                module.close()
                raise
            module.symbols = _opened(table)
        finally:
            with contextlib.suppress(FileNotFoundError):
                os.unlink(name)
            os.close(made)
        self._shrink(keep=key)
        return module

    # -- where the code comes from

    def _keep_symbols(self, key: str, table: bytes) -> str:
        """The digest of what was written; "" when there is nothing."""
        assert self.directory is not None
        if table:
            with contextlib.suppress(OSError):
                self._write(self.directory / f"{key}.symbols", table)
                return hashlib.sha256(table).hexdigest()
        return ""

    def _find_symbols(self, key: str, said: dict[str, Any]) -> Symbols | None:
        """What was kept beside the module, if it is there and ours."""
        if self.directory is None or not said.get("symbols"):  # an entry of before has none
            return None
        with contextlib.suppress(OSError, ValueError), open(self.directory / f"{key}.symbols", "rb") as file:
            if not _is_ours(os.fstat(file.fileno())):
                return None
            table = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
            if hashlib.sha256(table).hexdigest() == said["symbols"]:
                return Symbols(table)
        return None

    def _write_json(self, path: Path, value: dict[str, Any]) -> None:
        self._write(path, json.dumps(value).encode())

    def _write(self, path: Path, content: bytes) -> None:
        made, name = tempfile.mkstemp(dir=path.parent, prefix=".new-")
        try:
            with open(made, "wb") as stream:
                stream.write(content)
            os.rename(name, path)
        except BaseException:
            os.unlink(name)
            raise

    def _shrink(self, keep: str) -> None:
        """Remove what was not used for longest until the rest fits. What is in use stays mapped."""
        assert self.directory is not None
        groups: dict[str, tuple[float, int, list[str]]] = {}
        with contextlib.suppress(OSError), os.scandir(self.directory) as files:
            for file in files:
                found = file.stat(follow_symlinks=False)
                if file.name.startswith("."):
                    if time.time() - found.st_mtime > TOUCH_INTERVAL:  # of a process that died
                        os.unlink(file.path)
                    continue
                used, size, paths = groups.setdefault(file.name.partition(".")[0], (0.0, 0, []))
                paths.append(file.path)
                name = file.name.partition(".")[0]
                groups[name] = (max(used, found.st_mtime), size + found.st_size, paths)
        total = sum(size for _, size, _ in groups.values())
        for name, (_, size, paths) in sorted(groups.items(), key=lambda group: group[1][0]):
            if total <= self.max_size:
                return
            if name != keep:
                total -= size
                for path in paths:
                    with contextlib.suppress(OSError):
                        os.unlink(path)


# ---------------------------------------------------------------- where the code comes from


def _symbols_of(wasm: int, source: str, stop: Stop) -> bytes:
    """The table of symbols of the module in the file *wasm*, which has debug information; empty when there
    can be none, which the log explains."""
    if not can_symbolize():
        if "symbols" not in _warned:
            _warned.add("symbols")
            _log.info(
                "%s has debug information; for file and line in the frames of its faults install pyelftools "
                "(pip install 'blitz-gateway[symbols]')",
                source,
            )
        return b""
    with _in_memory(b"") as made:
        table, why = symbolize_apart(wasm, made, source, stop)
    if why:
        _log.warning(
            "%s: %s frames of its faults have file and line: %s", source, "few" if table else "no", why
        )
    return table


def _opened(table: bytes) -> Symbols | None:
    with contextlib.suppress(ValueError):
        return Symbols(table)
    return None


# ---------------------------------------------------------------- whose it is


def _refusal(directory: Path) -> str:
    """Why *directory* is not used, or ""; makes it when it is missing."""
    try:
        if not directory.is_dir():
            directory.parent.mkdir(parents=True, exist_ok=True)
            directory.mkdir(mode=0o700, exist_ok=True)
        if not os.access(directory, os.W_OK | os.X_OK):
            return f"{directory} cannot be written"
        here = directory.resolve(strict=True)
        found = here.stat()
        if found.st_uid != os.geteuid():
            return f"{directory} belongs to user {found.st_uid}, not to {os.geteuid()}"
        if found.st_mode & 0o022:
            return f"{directory} can be written by others (chmod 700 {directory})"
        for parent in here.parents:
            above = parent.stat()
            # Whoever can write there can put another directory in this one's place, unless it is sticky.
            if above.st_uid not in (0, os.geteuid()):
                return f"{directory} lies in {parent}, which belongs to user {above.st_uid}"
            if above.st_mode & 0o022 and not above.st_mode & stat.S_ISVTX:
                return f"{directory} lies in {parent}, which others can write to"
    except OSError as exc:
        return f"{directory} cannot be used: {(exc.strerror or str(exc)).lower()}"
    return ""


def _is_ours(found: os.stat_result) -> bool:
    return stat.S_ISREG(found.st_mode) and found.st_uid == os.geteuid() and not found.st_mode & 0o022


def _stamp(found: os.stat_result) -> list[Any]:
    """Equal stamps: nobody has written to the file between the two looks."""
    return [_boot(), found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns, found.st_ctime_ns]


@cache
def _boot() -> str:
    # After a crash of the machine a file may have lost its content and kept its times.
    try:
        return Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    except OSError:
        return ""


# ---------------------------------------------------------------- keys and content


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


def _read(file: str) -> tuple[str, bytes]:
    try:
        content = Path(file).read_bytes()
    except OSError as exc:
        raise PluginLoadError(
            f"{file}: cannot be read: {exc.strerror}; check the path and its permissions"
        ) from exc
    return hashlib.sha256(content).hexdigest(), content


def _file_digest(path: Path) -> str:
    with open(path, "rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def _read_json(path: Path) -> dict[str, Any]:
    said = json.loads(path.read_bytes())
    if not isinstance(said, dict):
        raise ValueError(f"{path} holds no object")
    return said


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
