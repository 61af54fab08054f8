"""Lines of the access log to a descriptor, in pieces that stay whole. Runs in a thread: it may block."""

from __future__ import annotations

import os
import select
import stat

__all__ = ["LineWriter"]

PIPE_SIZE = select.PIPE_BUF  # writes of up to this size are not mixed with those of other workers
FILE_SIZE = 16 * PIPE_SIZE


class LineWriter:
    """Writes to *fd*.

    Attributes:
        problem: why lines are not taken at present, or "".
    """

    def __init__(self, fd: int) -> None:
        self.problem = ""
        self._fd = fd
        self._torn = False  # an error came in the middle of a line

    def write(self, lines: bytes) -> int:
        """Write *lines*, each with its end and PIPE_SIZE bytes at most; returns how many could not be."""
        at = 0
        try:
            bound = PIPE_SIZE if stat.S_ISFIFO(os.fstat(self._fd).st_mode) else FILE_SIZE
            while at < len(lines):
                if self._torn:
                    self._write(b"\n")
                    self._torn = False
                at += self._write_lines(lines[at : lines.rindex(b"\n", at, at + bound) + 1])
        except OSError as exc:
            self.problem = exc.strerror or str(exc)
            return lines.count(b"\n", at)
        self.problem = ""
        return 0

    def _write_lines(self, lines: bytes) -> int:
        """The bytes of those that were written whole; fewer than all: the next call meets the error."""
        try:
            self._write(lines)
        except _Unfinished as exc:
            whole = lines.rfind(b"\n", 0, exc.written) + 1
            self._torn = whole < exc.written
            if not whole:
                raise exc.error from None
            return whole
        return len(lines)

    def _write(self, data: bytes) -> None:
        at = 0
        while at < len(data):
            try:
                at += os.write(self._fd, data[at:])
            except BlockingIOError:  # somebody made it non-blocking
                writable = select.poll()
                writable.register(self._fd, select.POLLOUT)
                writable.poll()
            except OSError as exc:
                raise _Unfinished(at, exc) from exc


class _Unfinished(OSError):
    """*written* bytes were taken before *error*."""

    def __init__(self, written: int, error: OSError) -> None:
        super().__init__(error.errno, error.strerror)
        self.written = written
        self.error = error
