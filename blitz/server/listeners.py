"""The listening sockets that a gateway takes connections from, and how it stops taking them.

Closing a listening socket resets the connections that wait in its queue: the kernel has completed them, and
their clients may have sent a request. So what waits is taken first. Where nobody else takes from the queue,
a filter drops what would open a further connection meanwhile, so that none can slip in before the close; a
client that was dropped tries again within a second, and is refused then, or another worker's queue takes it.
"""

from __future__ import annotations

import contextlib
import ctypes
import socket
import struct
from collections.abc import Sequence
from functools import partial

import trio

from .context import ServerContext
from .helper import keep_going
from .listen import (
    OUT_OF_DESCRIPTORS,
    SLEEP_WHEN_REFUSED,
    Listener,
    accept_loop,
    close_listener,
    spoken_on,
    take_connection,
)

__all__ = ["Listeners", "refuse_new"]

SO_ATTACH_FILTER = 26  # of Linux's asm-generic/socket.h; Python has no name for it
# Classic BPF over a TCP segment, which begins with its header: byte 13 holds the flags.
_LOAD_BYTE, _JUMP_IF_SET, _RETURN = 0x30, 0x45, 0x06
_SYN, _ALL = 0x02, 0xFFFFFFFF
DROP_SYN = ((_LOAD_BYTE, 0, 0, 13), (_JUMP_IF_SET, 0, 1, _SYN), (_RETURN, 0, 0, 0), (_RETURN, 0, 0, _ALL))

MAX_WAITING = 65536  # connections that are taken from one queue at its end: no queue is longer
TAKEN_AT_ONCE = 64  # before others run
MAX_PAUSES = 20  # for descriptors, 0.1 s each; what waits then is reset


class Listeners:
    """Of one gateway.

    Attributes:
        sockets: those that are open.
        alone: nobody else takes from their queues, now or later.
    """

    def __init__(self, context: ServerContext, *, alone: bool) -> None:
        self.sockets: list[socket.socket] = []
        self.alone = alone
        self._context = context
        self._nursery: trio.Nursery | None = None

    def start(self, nursery: trio.Nursery) -> None:
        """Take connections; their tasks are *nursery*'s."""
        self._nursery = nursery
        for listener in self.sockets:
            self._accept_from(listener, nursery)

    def add(self, listeners: Sequence[socket.socket]) -> None:
        """Take connections from these too."""
        if self._nursery is None or self._context.draining:
            for listener in listeners:
                listener.close()
            return
        self.sockets += listeners
        for listener in listeners:
            self._accept_from(listener, self._nursery)

    def _accept_from(self, listener: socket.socket, nursery: trio.Nursery) -> None:
        accept = partial(accept_loop, listener, self._context, nursery)
        nursery.start_soon(keep_going, "accepting connections", "new ones wait", accept)

    async def close(self) -> None:
        """Take what waits, and close all. Connections that were taken have begun when this returns."""
        await self.give_up(self.sockets, alone=self.alone)

    async def give_up(self, sockets: Sequence[socket.socket], *, alone: bool) -> None:
        """The same for some of them. alone: nobody else takes from their queues."""
        self.sockets = [one for one in self.sockets if one not in sockets]
        try:
            for listener in sockets:
                await self._empty(listener, alone)
                close_listener(listener)
            for _ in range(2):  # a task that was started takes its first step by then
                await trio.lowlevel.checkpoint()
        finally:
            for listener in sockets:
                close_listener(listener)

    async def _empty(self, listener: socket.socket, alone: bool) -> None:
        nursery, context = self._nursery, self._context
        if nursery is None or listener.fileno() < 0:
            return
        spoken = spoken_on(listener, context.runtime.resolved.listen)
        if alone and isinstance(listener, Listener):  # what others made may be used again
            refuse_new(listener)
        pauses = 0
        for number in range(1, MAX_WAITING):
            try:
                sock, peer = listener.accept()
            except BlockingIOError:
                return
            except OSError as exc:
                if exc.errno in OUT_OF_DESCRIPTORS:
                    pauses += 1
                    if pauses > MAX_PAUSES:
                        return
                    await trio.sleep(SLEEP_WHEN_REFUSED)
                continue  # that one is gone already
            take_connection(sock, peer, spoken, context, nursery)
            if number % TAKEN_AT_ONCE == 0:
                await trio.lowlevel.checkpoint()


def refuse_new(listener: socket.socket) -> None:
    """Drop what would open a connection; those that the kernel has begun still come to their end."""
    if listener.family == socket.AF_UNIX:
        return
    program = ctypes.create_string_buffer(b"".join(struct.pack("HBBI", *step) for step in DROP_SYN))
    with contextlib.suppress(OSError):  # not allowed here: one that comes in the last moment may be reset
        listener.setsockopt(
            socket.SOL_SOCKET, SO_ATTACH_FILTER, struct.pack("HL", len(DROP_SYN), ctypes.addressof(program))
        )
