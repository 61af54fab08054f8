"""The directory of the compile cache: opened once, found to be ours alone, and never looked up again.

Entries are opened relative to its descriptor and without following links, so what has been checked is what
is used, whoever moves names about above it. Trust is by owner and mode: the directory must belong to
our user and be closed to others, all the way up; so must each entry, which is a regular file.
"""

from __future__ import annotations

import contextlib
import json
import os
import secrets
import stat
import time
import weakref
from functools import cache
from pathlib import Path
from typing import Any

from blitz.files import FileRefused, Kind, open_file, read_open

__all__ = ["CacheDirectory", "NotOurs", "stamp_of"]

OPEN_DIRECTORY = os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC
NOTE = Kind("a note of the compile cache", 1024**2)
CODE = Kind("a compiled module", 1024**3)
ABANDONED = 3600.0  # seconds: a temporary file this old is of a process that died


class NotOurs(Exception):
    """A directory that cannot be trusted or used; the argument says why."""


class CacheDirectory:
    """An open directory that only we can write to.

    Attributes: path: for messages. fd: the descriptor; closed with the object.

    Args:
        path: made (0700) when it does not exist.
    Raises:
        NotOurs: others could write to it, or we cannot.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        try:
            if not path.is_dir():
                path.parent.mkdir(parents=True, exist_ok=True)
                path.mkdir(mode=0o700, exist_ok=True)
            self.fd = os.open(path, OPEN_DIRECTORY)
        except OSError as exc:
            raise NotOurs(f"{path} cannot be used: {(exc.strerror or str(exc)).lower()}") from exc
        weakref.finalize(self, os.close, self.fd)
        self._check()

    def _check(self) -> None:
        try:
            if not os.access(".", os.W_OK | os.X_OK, dir_fd=self.fd):
                raise NotOurs(f"{self.path} cannot be written")
            found = os.fstat(self.fd)
            if found.st_uid != os.geteuid():
                raise NotOurs(f"{self.path} belongs to user {found.st_uid}, not to {os.geteuid()}")
            if found.st_mode & 0o022:
                raise NotOurs(f"{self.path} can be written by others (chmod 700 {self.path})")
            self._check_above()
        except OSError as exc:
            raise NotOurs(f"{self.path} cannot be used: {(exc.strerror or str(exc)).lower()}") from exc

    def _check_above(self) -> None:
        """Whoever can write to a directory above can put another one in this one's place, for a process that
        starts later, unless it is sticky. The way up is that of the open directory, not of its path."""
        fd, below = os.dup(self.fd), os.fstat(self.fd)
        try:
            while True:
                higher = os.open("..", OPEN_DIRECTORY | os.O_PATH, dir_fd=fd)
                os.close(fd)
                fd, above = higher, os.fstat(higher)
                if os.path.samestat(above, below):
                    return
                if above.st_uid not in (0, os.geteuid()):
                    raise NotOurs(f"{self.path} lies in {_name(fd)}, which belongs to user {above.st_uid}")
                if above.st_mode & 0o022 and not above.st_mode & stat.S_ISVTX:
                    raise NotOurs(f"{self.path} lies in {_name(fd)}, which others can write to")
                below = above
        finally:
            os.close(fd)

    # -- reading

    def open_code(self, name: str) -> int:
        """A descriptor of the compiled module, or its symbols, in an entry; the caller closes it.

        Raises:
            FileRefused: it is not there, no regular file, or not ours alone.
        """
        return self._open(name, CODE)

    def read_note(self, name: str) -> dict[str, Any]:
        """The JSON object in an entry.

        Raises:
            FileRefused, ValueError: as ``open_code``; or it holds none.
        """
        fd = self._open(name, NOTE)
        try:
            said = json.loads(read_open(fd, NOTE))
        except RecursionError:
            raise ValueError(f"{name} is nested too deeply") from None
        finally:
            os.close(fd)
        if not isinstance(said, dict):
            raise ValueError(f"{name} holds no object")
        return said

    def _open(self, name: str, kind: Kind) -> int:
        fd = open_file(name, kind, dir_fd=self.fd)
        found = os.fstat(fd)
        if found.st_uid != os.geteuid() or found.st_mode & 0o022:
            os.close(fd)
            raise FileRefused("is not ours alone")
        return fd

    def age(self, name: str) -> float:
        """Seconds since the entry was last written or touched. Raises OSError."""
        return time.time() - os.stat(name, dir_fd=self.fd, follow_symlinks=False).st_mtime

    def touch(self, name: str) -> None:
        os.utime(name, dir_fd=self.fd, follow_symlinks=False)

    # -- writing

    def create(self) -> tuple[int, str]:
        """A new file under a temporary name: (descriptor, which the caller closes; name). Raises OSError."""
        name = f".new-{secrets.token_hex(8)}"
        flags = os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
        return os.open(name, flags, 0o600, dir_fd=self.fd), name

    def rename(self, name: str, final: str) -> None:
        os.rename(name, final, src_dir_fd=self.fd, dst_dir_fd=self.fd)

    def remove(self, name: str) -> None:
        with contextlib.suppress(FileNotFoundError, IsADirectoryError):
            os.unlink(name, dir_fd=self.fd)

    def write_note(self, name: str, value: dict[str, Any]) -> None:
        """Put *value* into an entry, whole or not at all. Raises OSError."""
        self.write(name, json.dumps(value).encode())

    def write(self, name: str, content: bytes) -> None:
        """The same for any content."""
        made, aside = self.create()
        try:
            with open(made, "wb") as stream:
                stream.write(content)
            self.rename(aside, name)
        except BaseException:
            self.remove(aside)
            raise

    def shrink(self, max_size: int, keep: str) -> None:
        """Remove the groups of entries (``group.suffix``) that were not used for longest until the rest fits.
        What is in use stays mapped."""
        groups: dict[str, tuple[float, int, list[str]]] = {}
        with contextlib.suppress(OSError), os.scandir(self.fd) as files:
            for file in files:
                found = file.stat(follow_symlinks=False)
                if file.name.startswith("."):
                    if time.time() - found.st_mtime > ABANDONED:
                        self.remove(file.name)
                    continue
                group = file.name.partition(".")[0]
                used, size, names = groups.get(group, (0.0, 0, []))
                groups[group] = (max(used, found.st_mtime), size + found.st_size, [*names, file.name])
        total = sum(size for _, size, _ in groups.values())
        for group, (_, size, names) in sorted(groups.items(), key=lambda each: each[1][0]):
            if total <= max_size:
                return
            if group != keep:
                total -= size
                for name in names:
                    with contextlib.suppress(OSError):
                        self.remove(name)


def stamp_of(found: os.stat_result) -> list[Any]:
    """Equal stamps: nobody has written to the file between the two looks."""
    return [_boot(), found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns, found.st_ctime_ns]


@cache
def _boot() -> str:
    # After a crash of the machine a file may have lost its content and kept its times.
    try:
        return Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    except OSError:
        return ""


def _name(fd: int) -> str:
    """The path of an open directory, for a message."""
    try:
        return os.readlink(f"/proc/self/fd/{fd}")
    except OSError:
        return "a directory"
