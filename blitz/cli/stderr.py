"""Lines to standard error, for which nobody waits.

Plugins cause lines, and whoever reads them may be slow or stuck, and a disk may be full or hang: none of that
may stop a worker. To a pipe, socket or terminal lines are written at once as long as that does not block;
else they are kept, up to a bound, and a thread writes them when they are taken again. A file can hold up its
writer whenever it likes, so a thread writes all of its lines. What found no room, or met an error, is
counted, and said in front of the next line that is taken. Where an error tore a line, that one begins anew.

A pipe or terminal is opened once more for that: non-blocking is a property of the open file, and ours is
shared with the shell, the parent and other workers. Where it cannot be opened (another user's), it is asked
before each write; two workers that ask at the same time may then both write, and one of them wait.

Workers write to the same pipe. A write of whole lines up to PIPE_BUF bytes is not mixed with those of others;
a longer line only if the pipe is full in the middle of it.
"""

from __future__ import annotations

import os
import select
import socket
import stat
import threading
import time
from collections import deque
from collections.abc import Callable
from typing import TextIO

from blitz.cli.log_handler import Writer

__all__ = ["FileWriter", "PipeWriter", "open_writer"]

MAX_KEPT = 1 << 20  # bytes
PIECE = select.PIPE_BUF  # a pipe that can be written to takes so many at once, without blocking
LOOK = 1.0  # seconds between looks whether somebody reads again, should no event tell
LINGER = 1.0  # seconds a thread waits for more lines before it ends
GATHER = 0.01  # seconds of lines that a busy thread writes at once: the event loop waits whenever it runs
LAST_PATIENCE = 0.5  # seconds that the end of the process waits for what is kept

Write = Callable[[bytes], int]  # returns how many bytes were taken, 0 when none can be
LostLine = Callable[[int, str], bytes]  # how many lines were lost, and why -> the line that says so


class _Account:
    """Which lines were lost.

    Attributes:
        lost: lines that were, and were not said to be.
    """

    def __init__(self, write: Write, lost_line: LostLine, *, most: int = PIECE, cut: bool = False) -> None:
        """
        Args:
            most: bytes that go in one write, unless a line is longer. cut: that one is cut.
        """
        self.lost = 0
        self._write = write
        self._most = most
        self._cut = cut
        self._lost_line = lost_line
        self._cause = ""
        self._torn = False  # an error came in the middle of a line
        self._lock = threading.Lock()

    def _lose(self, data: bytes, cause: str) -> None:
        self.lost += data.count(b"\n")
        self._cause = cause

    def _first(self) -> bytes:
        """What is to be written in front of the next line."""
        said = self._lost_line(self.lost, self._cause) if self.lost else b""
        return b"\n" + said if self._torn else said

    def _write_out(self, data: bytes) -> tuple[int, OSError | None]:
        """How many bytes were taken, and what is wrong if no more ever will be."""
        at = 0
        try:
            while at < len(data) and (taken := self._write(data[at : self._end_of_piece(data, at)])):
                at += taken
        except BlockingIOError:
            pass
        except OSError as exc:
            return at, exc
        return at, None

    def _end_of_piece(self, data: bytes, at: int) -> int:
        most = at + self._most
        if most >= len(data):
            return len(data)
        end = data.rfind(b"\n", at, most) + 1
        if end:
            return end
        return most if self._cut else data.find(b"\n", most) + 1 or len(data)

    def _settle(self, said: int, first: bytes, data: bytes, taken: int, error: OSError | None) -> bytes:
        """Take note of what became of *first*, which tells of *said* lost lines, and *data*. Returns what of
        them is still to be written."""
        if taken:
            self._torn = error is not None and (first + data)[taken - 1 : taken] != b"\n"
            if taken >= len(first) or error is None:
                self.lost -= said
        if error is not None:
            self._lose(data[max(taken - len(first), 0) :], error.strerror or str(error))
            return b""
        return (first + data)[taken:] if taken else data


class PipeWriter(_Account):
    """Writes to *fd* by *write*, which does not block; see ``open_writer``."""

    def __init__(
        self,
        fd: int,
        write: Write,
        close: Callable[[], object],
        lost_line: LostLine,
        *,
        cut: bool = False,
    ) -> None:
        super().__init__(write, lost_line, cut=cut)
        self._fd = fd
        self._close = close
        self._kept: deque[bytes] = deque()
        self._size = 0
        self._thread: threading.Thread | None = None
        self._closed = False

    def write(self, data: bytes) -> None:
        """*data* is whole lines."""
        with self._lock:
            if self._closed:
                return
            rest = data if self._kept else self._try(data)
            if rest:
                self._keep(rest)

    def close(self) -> None:
        """Nothing comes any more. Waits a little for a reader that is slow."""
        end = time.monotonic() + LAST_PATIENCE
        writable = select.poll()
        writable.register(self._fd, select.POLLOUT)
        while not self._write_some() and time.monotonic() < end:
            writable.poll(LAST_PATIENCE * 1000 / 10)
        with self._lock:
            if not self._closed:
                self._closed = True
                self._kept.clear()
                self._close()

    def forget(self) -> None:
        """In a forked child: the thread and what was kept are the parent's."""
        self._lock = threading.Lock()
        self._kept.clear()
        self._size = self.lost = 0
        self._thread = None

    def _try(self, data: bytes) -> bytes:
        """Write; returns what was not taken. Nothing is kept."""
        said, first = self.lost, self._first()
        taken, error = self._write_out(first + data)
        return self._settle(said, first, data, taken, error)

    def _keep(self, data: bytes) -> None:
        if self._kept and self._size + len(data) > MAX_KEPT:
            self._lose(data, "nobody read them")
            return
        self._kept.append(data)
        self._size += len(data)
        if self._thread is None:
            self._thread = threading.Thread(target=self._write_kept, name="blitz-log", daemon=True)
            self._thread.start()

    def _write_kept(self) -> None:
        writable = select.poll()
        writable.register(self._fd, select.POLLOUT)
        while True:
            writable.poll(LOOK * 1000)
            if self._write_some(last=True):
                return

    def _write_some(self, *, last: bool = False) -> bool:
        """-> nothing is left; *last*: then the thread ends."""
        with self._lock:
            while self._kept and not self._closed:
                data = self._kept.popleft()
                taken, error = self._write_out(data)
                rest = self._settle(0, b"", data, taken, error)
                if error is not None:
                    for line in self._kept:
                        self._lose(line, self._cause)
                    self._kept.clear()
                    rest = b""
                self._size = self._size - len(data) + len(rest) if self._kept or rest else 0
                if rest:
                    self._kept.appendleft(rest)
                    return False
                if error is None and not self._kept and self.lost and (said := self._try(b"")):
                    self._kept.append(said)
                    self._size = len(said)
                    return False
            if last:
                self._thread = None
            return True


class FileWriter(_Account):
    """Writes to *fd*, which may block, in a thread."""

    def __init__(self, fd: int, lost_line: LostLine) -> None:
        super().__init__(lambda data: os.write(fd, data), lost_line, most=MAX_KEPT)
        self._begin()

    def _begin(self) -> None:
        self._lock = threading.Lock()
        self._changed = threading.Condition(self._lock)
        self._kept: list[bytes] = []
        self._size = 0  # of what is kept or being written
        self._thread: threading.Thread | None = None
        self._closed = False

    def write(self, data: bytes) -> None:
        """*data* is whole lines."""
        with self._changed:
            if self._closed:
                return
            if self._size and self._size + len(data) > MAX_KEPT:
                self._lose(data, "the file took nothing for too long")
                return
            self._kept.append(data)
            self._size += len(data)
            if self._thread is None:
                self._thread = threading.Thread(target=self._write_kept, name="blitz-log", daemon=True)
                self._thread.start()
            self._changed.notify_all()

    def close(self) -> None:
        """Nothing comes any more. Waits a little until what is kept is written."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()
            self._changed.wait_for(lambda: not self._size, LAST_PATIENCE)

    def forget(self) -> None:
        """In a forked child: the thread and what was kept are the parent's."""
        self.lost = 0
        self._torn = False
        self._begin()

    def _write_kept(self) -> None:
        while True:
            with self._changed:
                if not self._kept and not self._closed:
                    self._changed.wait(LINGER)
                if not self._kept:
                    self._thread = None
                    return
                data = b"".join(self._kept)
                self._kept.clear()
                said, first = self.lost, self._first()
            taken, error = self._write_out(first + data)
            with self._changed:
                self._settle(said, first, data, taken, error)
                self._size -= len(data)
                self._changed.notify_all()
            time.sleep(GATHER)


class _StreamWriter:
    """Writes to an object that somebody has put in the place of standard error."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream

    def write(self, data: bytes) -> None:
        self._stream.write(data.decode())
        self._stream.flush()

    def close(self) -> None:
        return

    def forget(self) -> None:
        return


def open_writer(stream: TextIO, lost_line: LostLine) -> Writer:
    """A writer for *stream*, or rather for the descriptor beneath it, if there is one."""
    try:
        fd = stream.fileno()
        mode = os.fstat(fd).st_mode
    except (AttributeError, OSError, ValueError):
        return _StreamWriter(stream)
    return open_fd(fd, mode, lost_line)


def open_fd(fd: int, mode: int, lost_line: LostLine) -> PipeWriter | FileWriter:
    """How to write to *fd*, whose type *mode* tells."""
    if stat.S_ISSOCK(mode):
        ours = socket.socket(fileno=os.dup(fd))
        return PipeWriter(
            ours.fileno(), lambda data: ours.send(data, socket.MSG_DONTWAIT), ours.close, lost_line
        )
    if not stat.S_ISFIFO(mode) and not stat.S_ISCHR(mode):
        return FileWriter(fd, lost_line)
    try:
        again = os.open(f"/proc/self/fd/{fd}", os.O_WRONLY | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC)
    except OSError:
        asked = select.poll()
        asked.register(fd, select.POLLOUT)
        return PipeWriter(
            fd, lambda data: os.write(fd, data) if asked.poll(0) else 0, lambda: None, lost_line, cut=True
        )
    return PipeWriter(again, lambda data: os.write(again, data), lambda: os.close(again), lost_line)
