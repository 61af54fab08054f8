"""Files that somebody else chose: what they may be, and how they are read.

Whoever can write to a directory decides what a name in it is: a FIFO that nobody writes to, a device, a
link to either, a file of 6 GB, one that grows while it is read. So every file whose name comes from a
configuration, a directory or a command line is read here:

* only a regular file. A link may lead to it (Kubernetes mounts files as links): what counts is what was
  opened, and that is looked at through its descriptor. Opening does not wait.
* only up to the size that its kind may have, which is known before anything is read.
* only whole: one that has another size or another time afterwards is refused, not used in part.

Names are bytes to the system. Python keeps what is not UTF-8 in them as surrogates, and the system gets its
bytes back; a message is text, and shows them with ``shown``.

Reading may still wait for a disk or a network file system. Whoever cannot wait reads in a thread, and
learns from ``progress`` which file it is that does not come.
"""

from __future__ import annotations

import errno
import os
import stat
from contextvars import ContextVar
from dataclasses import dataclass

__all__ = [
    "CONFIGURATION",
    "MANIFEST",
    "MODULE",
    "PEM",
    "FileRefused",
    "Kind",
    "check_file",
    "open_file",
    "progress",
    "read_file",
    "read_open",
    "shown",
]

MIB = 1024 * 1024
OPEN = os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC | os.O_NOCTTY
KINDS = {
    stat.S_IFDIR: "a directory",
    stat.S_IFIFO: "a FIFO",
    stat.S_IFSOCK: "a socket",
    stat.S_IFCHR: "a device",
    stat.S_IFBLK: "a device",
}

# A list whose only element becomes the path that is being read; set around reading in a thread.
progress: ContextVar[list[str] | None] = ContextVar("progress", default=None)


@dataclass(frozen=True, slots=True)
class Kind:
    """What a file is wanted as. max_size: bytes."""

    what: str
    max_size: int


# The largest modules known to us are Go's, of 12 MB; what compiling one needs grows with its size.
MODULE = Kind("a module", 64 * MIB)
# 1 MiB holds some ten thousand routes.
CONFIGURATION = Kind("a configuration", MIB)
MANIFEST = Kind("a manifest", MIB)
# All authorities that a browser trusts are 220 KB.
PEM = Kind("a PEM file", MIB)


class FileRefused(Exception):
    """A file cannot be used; the argument is a sentence about it, without its name."""


def read_file(path: str | os.PathLike[str], kind: Kind) -> bytes:
    """The whole content of a regular file.

    Raises:
        FileRefused: it is not one, is too large, cannot be read, or changed meanwhile.
    """
    fd = open_file(path, kind)
    try:
        return read_open(fd, kind)
    finally:
        os.close(fd)


def check_file(path: str | os.PathLike[str], kind: Kind) -> None:
    """Raises:
    FileRefused: as ``read_file`` would before it reads.
    """
    os.close(open_file(path, kind))


def open_file(path: str | os.PathLike[str], kind: Kind, *, dir_fd: int | None = None) -> int:
    """A descriptor of a regular file that is not too large; the caller closes it.

    Args:
        dir_fd: *path* is a name in this directory, and no link.
    Raises:
        FileRefused.
    """
    _note(path)
    follow = dir_fd is None
    try:
        # A look first: merely opening some devices does something.
        _check(os.stat(path, dir_fd=dir_fd, follow_symlinks=follow), kind)
        fd = os.open(path, OPEN | (0 if follow else os.O_NOFOLLOW), dir_fd=dir_fd)
    except OSError as error:
        raise FileRefused(_sentence(error, path)) from error
    except ValueError:  # os.stat and os.open of a name with a NUL
        raise FileRefused("has a NUL in its name, which no file has; check the path") from None
    try:
        _check(os.fstat(fd), kind)
    except BaseException:
        os.close(fd)
        raise
    return fd


def read_open(fd: int, kind: Kind) -> bytes:
    """The whole content of what ``open_file`` opened, from its beginning.

    Raises:
        FileRefused: it cannot be read, or changed meanwhile.
    """
    try:
        before = os.fstat(fd)
        _check(before, kind)
        parts = []
        left = before.st_size + 1  # one more shows that it grows
        while left and (part := os.pread(fd, left, before.st_size + 1 - left)):
            parts.append(part)
            left -= len(part)
        after = os.fstat(fd)
    except OSError as error:
        raise FileRefused(_sentence(error, "")) from error
    if left != 1 or (before.st_size, before.st_mtime_ns) != (after.st_size, after.st_mtime_ns):
        raise FileRefused("changed while it was being read; write it aside and rename it into place")
    return b"".join(parts)


def shown(text: str, keep: str = "") -> str:
    """*text* as it may stand in a line of a log or a terminal: printable, and encodable.

    Args:
        keep: letters that may stay as they are although they are not printable.
    """
    if text.isprintable():
        return text
    return "".join(one if one.isprintable() or one in keep else _escaped(one) for one in text)


def _escaped(letter: str) -> str:
    code = ord(letter)
    if 0xDC80 <= code <= 0xDCFF:  # a byte that is not UTF-8, as PEP 383 keeps it
        code -= 0xDC00
    return f"\\x{code:02x}" if code < 0x100 else f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}"


def _note(path: str | os.PathLike[str]) -> None:
    place = progress.get()
    if place is not None:
        place[:] = [os.fspath(path)]


def _check(found: os.stat_result, kind: Kind) -> None:
    what = stat.S_IFMT(found.st_mode)
    if what != stat.S_IFREG:
        raise FileRefused(f"is {KINDS.get(what, 'something else')}, wanted a regular file; check the path")
    if found.st_size > kind.max_size:
        raise FileRefused(
            f"is {found.st_size} bytes, more than the {kind.max_size // MIB} MiB that {kind.what} may have; "
            "check that it is the right file"
        )


def _sentence(error: OSError, path: str | os.PathLike[str]) -> str:
    if error.errno == errno.ENOENT:
        if path and os.path.islink(path):
            return "is a link to nothing; check where it leads"
        return "no such file; check the path"
    reason = (error.strerror or str(error)).lower()
    return f"cannot be read: {reason}; check the path and its permissions"
