"""Opening files below a root, as clients name them, without a way out of it.

All of this may wait for a disk: only threads call it. Where the kernel has openat2(2) it resolves names,
links too, and refuses whatever leads out of the root (``native/open_beneath.c``). Where it has not, names are
walked one by one, and no link is followed.

What is served is a regular file, as its descriptor says once it is open. Merely opening a device may do
something: so a name is looked at first, through a descriptor that opens nothing (O_PATH).
"""

from __future__ import annotations

import errno
import itertools
import os
import stat
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from urllib.parse import quote_from_bytes

from blitz._native import lib

from .listing import Entry, render
from .names import file_name

__all__ = [
    "MAX_ENTRIES",
    "MAX_SMALL",
    "Changed",
    "Kind",
    "Looked",
    "Opener",
    "Tree",
    "is_same",
    "open_beneath",
]

MAX_SMALL = 64 * 1024  # bytes of a file that is read whole, and kept in memory for a moment
MAX_ENTRIES = 5000  # of a directory's listing: a page of half a megabyte
_TRIES = 3  # to read a file that is being written
_LOOK = os.O_PATH | os.O_CLOEXEC
_READ = os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC | os.O_NOCTTY
# What is not there, as far as a client may know. EXDEV: it leads out of the root; ELOOP: links in a circle,
# or a link where none is followed.
_MISSING = frozenset(
    (
        *(errno.ENOENT, errno.ENOTDIR, errno.EISDIR, errno.ELOOP, errno.ENAMETOOLONG, errno.EXDEV),
        *(errno.EINVAL, errno.EILSEQ, errno.ENXIO, errno.ENODEV),
    )
)
_DENIED = frozenset((errno.EACCES, errno.EPERM))

_numbers = itertools.count()
Opener = Callable[[int, bytes, int], int]
"""(descriptor of a directory, name below it, flags) -> a descriptor. Raises OSError. May wait."""


class Kind:
    """What a name is."""

    FILE = "file"
    DIRECTORY = "directory"  # named without the slash at its end
    LISTING = "listing"
    MISSING = "missing"
    DENIED = "denied"


class Changed(Exception):
    """A file is being written all the time."""


@dataclass(slots=True)
class Looked:
    """What a name was when somebody looked.

    Attributes:
        name: of the file; the index of a directory has its own.
        seen: what tells whether it is still the same: device, inode, size, times in ns.
        body: the whole content of a small file, or a listing; None: it is read through ``fd``.
        fd: whoever holds this closes it; -1: there is none.
    """

    kind: str
    name: bytes = b""
    size: int = 0
    modified_ns: int = 0
    inode: int = 0
    seen: tuple[int, ...] = ()
    body: bytes | None = None
    fd: int = -1

    def close(self) -> None:
        fd, self.fd = self.fd, -1
        if fd >= 0:
            os.close(fd)


MISSING = Looked(Kind.MISSING)


def open_beneath(directory: int, name: bytes, flags: int) -> int:
    """The ``Opener`` of this machine: openat2, or name by name where there is none.

    Raises:
        OSError: EXDEV or ELOOP if it leads out of *directory*.
    """
    fd: int = lib.blitz_open_beneath(directory, name or b".", flags)
    if fd >= 0:
        return fd
    # EPERM: old filters of system calls say this of calls that they do not know. If it is about the file,
    # it is said again.
    if -fd in (errno.ENOSYS, errno.EPERM):
        return open_by_steps(directory, name, flags)
    raise OSError(-fd, os.strerror(-fd))


def open_by_steps(directory: int, name: bytes, flags: int) -> int:
    """The same without openat2: segment by segment, and no link is followed."""
    segments = [one for one in name.split(b"/") if one]
    if name.startswith(b"/") or b".." in segments:
        raise OSError(errno.EXDEV, os.strerror(errno.EXDEV))
    at = os.open(b".", _LOOK | os.O_DIRECTORY, dir_fd=directory)
    try:
        for segment in segments[:-1]:
            at = _step(at, segment, _LOOK | os.O_DIRECTORY | os.O_NOFOLLOW)
        last = segments[-1] if segments else b"."
        flags |= os.O_DIRECTORY if name.endswith(b"/") else 0
        fd = os.open(last, flags | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=at)
    finally:
        os.close(at)
    if stat.S_ISLNK(os.fstat(fd).st_mode):  # O_PATH opens the link itself
        os.close(fd)
        raise OSError(errno.ELOOP, os.strerror(errno.ELOOP))
    return fd


def _step(at: int, segment: bytes, flags: int) -> int:
    below = os.open(segment, flags, dir_fd=at)
    os.close(at)
    return below


class Tree:
    """A root with what may be served of it.

    Attributes:
        number: no other one has it.
        root: a directory; looked up with every name, so that a link to another release counts at once.
    """

    def __init__(
        self, root: str, index: tuple[str, ...], *, listing: bool, opener: Opener = open_beneath
    ) -> None:
        self.number = next(_numbers)
        self.root = root
        self._index = tuple(name.encode() for name in index)
        self._listing = listing
        self._open = opener

    def look(self, name: bytes, known: Looked | None = None) -> Looked:
        """What *name* (see ``file_name``) is now.

        Args:
            known: what it was; its body is kept if it is the same.
        Raises:
            OSError: the system is short of something, or the disk is broken.
            Changed: a small file was written whenever it was read.
        """
        try:
            root = os.open(self.root, _LOOK | os.O_DIRECTORY)
        except OSError as error:
            return _absent(error)
        try:
            return self._look(root, name, known)
        except OSError as error:
            return _absent(error)
        finally:
            os.close(root)

    def _look(self, root: int, name: bytes, known: Looked | None) -> Looked:
        mode = self._mode(root, name)
        if stat.S_ISREG(mode):
            return MISSING if name.endswith(b"/") else self._file(root, name, known)
        if not stat.S_ISDIR(mode):
            return MISSING
        if name and not name.endswith(b"/"):
            return Looked(Kind.DIRECTORY, name)
        for index in self._index:
            try:
                if stat.S_ISREG(self._mode(root, name + index)):
                    return self._file(root, name + index, known)
            except OSError as error:
                if error.errno not in _MISSING:
                    raise
        return self._list(root, name) if self._listing else MISSING

    def _mode(self, root: int, name: bytes) -> int:
        fd = self._open(root, name, _LOOK)
        try:
            return os.fstat(fd).st_mode
        finally:
            os.close(fd)

    def _file(self, root: int, name: bytes, known: Looked | None) -> Looked:
        fd = self._open(root, name, _READ)
        try:
            for _ in range(_TRIES):
                found = os.fstat(fd)
                if not stat.S_ISREG(found.st_mode):
                    break
                seen = _seen(found)
                looked = Looked(Kind.FILE, name, found.st_size, found.st_mtime_ns, found.st_ino, seen)
                if found.st_size > MAX_SMALL:
                    looked.fd, fd = fd, -1
                    return looked
                if known is not None and known.body is not None and known.seen == seen:
                    looked.body = known.body
                    return looked
                looked.body = os.pread(fd, MAX_SMALL + 1, 0)
                if len(looked.body) == looked.size and _seen(os.fstat(fd)) == seen:
                    return looked
            else:
                raise Changed(name)
            return MISSING
        finally:
            if fd >= 0:
                os.close(fd)

    # -- listings

    def _list(self, root: int, name: bytes) -> Looked:
        fd = self._open(root, name, os.O_RDONLY | os.O_DIRECTORY)
        try:
            entries: list[Entry] = []
            for entry in self._entries(root, name, fd):
                if len(entries) == MAX_ENTRIES:
                    return _listed(name, entries, is_cut=True)
                entries.append(entry)
            return _listed(name, entries, is_cut=False)
        finally:
            os.close(fd)

    def _entries(self, root: int, name: bytes, fd: int) -> Iterator[Entry]:
        """What could be asked for: nothing that is hidden, or leads out, or is no file."""
        with os.scandir(fd) as entries:
            for entry in entries:
                below = os.fsencode(entry.name)
                if file_name(b"/" + quote_from_bytes(below).encode()) is None:
                    continue
                try:
                    found = self._stat(root, name + below)
                except OSError:
                    continue
                if stat.S_ISDIR(found.st_mode) or stat.S_ISREG(found.st_mode):
                    yield Entry(below, stat.S_ISDIR(found.st_mode), found.st_size, int(found.st_mtime))

    def _stat(self, root: int, name: bytes) -> os.stat_result:
        fd = self._open(root, name, _LOOK)
        try:
            return os.fstat(fd)
        finally:
            os.close(fd)


def is_same(fd: int, seen: tuple[int, ...]) -> bool:
    """The content behind *fd* is what it was, as far as can be told. The time of the inode's change does not
    count: it is another one when a new file takes the name, and what is open stays as it is."""
    return _seen(os.fstat(fd))[:4] == seen[:4]


def _seen(found: os.stat_result) -> tuple[int, ...]:
    return (found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns, found.st_ctime_ns)


def _listed(name: bytes, entries: list[Entry], *, is_cut: bool) -> Looked:
    page = render(name, entries, is_cut=is_cut)
    return Looked(Kind.LISTING, name, len(page), body=page)


def _absent(error: OSError) -> Looked:
    """What a client may know of *error*; raises it if it is the system's trouble."""
    if error.errno in _MISSING:
        return MISSING
    if error.errno in _DENIED:
        return Looked(Kind.DENIED)
    raise error
