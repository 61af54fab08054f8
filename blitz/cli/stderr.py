"""Log lines to standard error, which nobody waits for.

Plugins cause lines, and whoever reads them may be slow or stuck: a full pipe must not stop a worker. Lines
are written at once as long as that does not block. Else they are kept, up to a bound, and a thread writes
them when they are taken again; what found no room is counted, and said.

A pipe or terminal is opened once more for that: non-blocking is a property of the open file, and ours is
shared with the shell, the parent and other workers. Where it cannot be opened (another user's), it is asked
before each write; two workers that ask at the same time may then both write, and one of them wait.
"""

from __future__ import annotations

import logging
import os
import select
import socket
import stat
import threading
import weakref
from collections import deque
from collections.abc import Callable

__all__ = ["StderrHandler"]

MAX_KEPT = 1 << 20  # bytes
PIECE = select.PIPE_BUF  # a pipe that can be written to takes so many without blocking
LOOK = 1.0  # seconds between looks whether somebody reads again, should no event tell

Write = Callable[[bytes], int]  # returns how many bytes were taken, 0 when none can be


class StderrHandler(logging.Handler):
    """Writes to the descriptor *fd*; never blocks.

    Attributes:
        lost: lines that found no room and were not said to be lost yet.
    """

    def __init__(self, fd: int) -> None:
        super().__init__()
        self._fd, self._write, self._close = _open(fd)
        self._kept: deque[bytes] = deque()
        self._size = 0
        self._thread: threading.Thread | None = None
        self.lost = 0
        _handlers.add(self)

    def emit(self, record: logging.LogRecord) -> None:
        """Under the handler's lock, as logging calls it."""
        try:
            line = f"{self.format(record)}\n".encode("utf-8", "backslashreplace")
            if not self._kept:
                line = line[self._write_out(line) :]
            if line:
                self._keep(line)
        except Exception:
            self.handleError(record)

    def close(self) -> None:
        super().close()
        self._close()

    def forget(self) -> None:
        """In a forked child: the thread and what was kept are the parent's."""
        self._kept.clear()
        self._size = self.lost = 0
        self._thread = None

    def _keep(self, line: bytes) -> None:
        if self._kept and self._size + len(line) > MAX_KEPT:
            self.lost += 1
            return
        self._kept.append(line)
        self._size += len(line)
        if self._thread is None:
            self._thread = threading.Thread(target=self._write_kept, name="blitz-log", daemon=True)
            self._thread.start()

    def _write_out(self, data: bytes) -> int:
        """Returns how many bytes were taken; nobody reads any more: all, because nobody ever will."""
        at = 0
        try:
            while at < len(data) and (taken := self._write(data[at : at + PIECE])):
                at += taken
        except BlockingIOError:
            pass
        except OSError:
            return len(data)
        return at

    def _write_kept(self) -> None:
        writable = select.poll()
        writable.register(self._fd, select.POLLOUT)
        while True:
            writable.poll(LOOK * 1000)
            self.acquire()
            try:
                if self._write_some():
                    self._thread = None
                    return
            finally:
                self.release()

    def _write_some(self) -> bool:
        """-> nothing is left."""
        while self._kept:
            data = self._kept[0]
            taken = self._write_out(data)
            self._size -= taken
            if taken < len(data):
                self._kept[0] = data[taken:]
                return False
            self._kept.popleft()
            if not self._kept and self.lost:
                said = f"{self.lost} lines of the log were lost: standard error did not take them\n".encode()
                self.lost = 0
                self._kept.append(said)
                self._size += len(said)
        return True


_handlers: weakref.WeakSet[StderrHandler] = weakref.WeakSet()


def _forget_all() -> None:
    for handler in list(_handlers):
        handler.forget()


os.register_at_fork(after_in_child=_forget_all)


def _open(fd: int) -> tuple[int, Write, Callable[[], object]]:
    """What to wait for, how to write without blocking, and how to be done with it."""
    mode = os.fstat(fd).st_mode
    if stat.S_ISSOCK(mode):
        ours = socket.socket(fileno=os.dup(fd))
        return ours.fileno(), lambda data: ours.send(data, socket.MSG_DONTWAIT), ours.close
    if not stat.S_ISFIFO(mode) and not stat.S_ISCHR(mode):
        return fd, lambda data: os.write(fd, data), lambda: None  # a file takes what there is room for
    try:
        again = os.open(f"/proc/self/fd/{fd}", os.O_WRONLY | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC)
    except OSError:
        asked = select.poll()
        asked.register(fd, select.POLLOUT)
        return fd, lambda data: os.write(fd, data) if asked.poll(0) else 0, lambda: None
    return again, lambda data: os.write(again, data), lambda: os.close(again)
