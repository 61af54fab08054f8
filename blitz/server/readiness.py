"""When a socket of the short lane has something to read, with one registration per socket.

Operations wanted, by frequency: *wait* until a socket is readable (twice a proxied request), *watch* a
socket (once in its life), forget it (when it closes: the kernel does that).

``trio.lowlevel.wait_readable`` arms its epoll anew for every wait, one system call each, about an eighth of
what a proxied request costs. Here every socket is registered once, edge-triggered, in an epoll of ours;
trio waits for that epoll, and when its loop comes back from waiting, an instrument hook moves what is
ready straight into the run queue: no further system call per wait, no further turn of the loop.

Edge-triggered means: an edge that nobody waits for must be remembered (``_ready``), and whoever leaves
bytes unread, or reads through another path, must call ``look_again``. A wait may end early; the reader finds
nothing then, and waits again. The end of a stream has one edge, often the same as the last bytes, and is
read after them: it is remembered for good (``_ended``).
"""

from __future__ import annotations

import select
from typing import TYPE_CHECKING

import trio
from trio.lowlevel import Abort, RaiseCancelT, Task, checkpoint, reschedule, wait_task_rescheduled

if TYPE_CHECKING:
    from .stream import SocketStream

__all__ = ["Readiness"]

_EVENTS = select.EPOLLIN | select.EPOLLRDHUP | select.EPOLLET
_END = select.EPOLLRDHUP | select.EPOLLHUP | select.EPOLLERR
MAX_EVENTS = 1024  # taken at once; what is left is taken at the loop's next turn


class Readiness(trio.abc.Instrument):
    """Start ``run`` once in the gateway's nursery; nothing may wait before that."""

    def __init__(self) -> None:
        self._epoll = select.epoll()
        self._parked: dict[int, Task] = {}
        self._ready: set[int] = set()
        self._ended: set[int] = set()

    async def run(self) -> None:
        """Take part in the loop for as long as the gateway runs."""
        trio.lowlevel.add_instrument(self)
        try:
            while True:
                await trio.lowlevel.wait_readable(self._epoll.fileno())
        finally:
            trio.lowlevel.remove_instrument(self)
            self._epoll.close()

    def after_io_wait(self, timeout: float) -> None:
        """Called by trio's loop between waiting and running tasks."""
        parked = self._parked
        for fd, events in self._epoll.poll(0, MAX_EVENTS):
            if events & _END:
                self._ended.add(fd)
            task = parked.pop(fd, None)
            if task is None:
                self._ready.add(fd)
            else:
                reschedule(task)

    def watch(self, stream: SocketStream) -> int:
        """Register a stream's socket, once; returns its descriptor. Closing the socket undoes it."""
        fd = stream.socket.fileno()
        if not stream.watched:
            stream.watched = True
            self._ready.discard(fd)
            self._ended.discard(fd)
            self._epoll.register(fd, _EVENTS)
        return fd

    def look_again(self, fd: int) -> None:
        """The next wait on *fd* returns at once: there may be bytes whose edge has been used up."""
        self._ready.add(fd)

    async def wait(self, fd: int, task: Task) -> None:
        """Wait until *fd* may have something to read. *task*: the caller's own, ``current_task()``."""
        if fd in self._ready or fd in self._ended:
            self._ready.discard(fd)
            await checkpoint()
            return
        parked = self._parked
        parked[fd] = task

        def abort(_: RaiseCancelT) -> Abort:
            del parked[fd]
            return Abort.SUCCEEDED

        await wait_task_rescheduled(abort)
