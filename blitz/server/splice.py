"""Body bytes from socket to socket inside the kernel, when nobody here wants to see them.

Only for bodies of known length between two plain sockets: chunked coding must be understood, TLS and plugins
want the bytes. Half the CPU per byte of receiving and sending (splice(2); zero copies in user space).

It is a way to be faster, never a reason to fail: where there is no pipe, or the kernel cannot splice, whoever
called copies what is left.
"""

from __future__ import annotations

import errno
import fcntl
import os
from typing import TYPE_CHECKING

import trio
from trio.lowlevel import wait_readable, wait_writable

from .stream import SocketStream

if TYPE_CHECKING:
    from collections.abc import Callable

    from .body_stream import IncomingBody
    from .stream import ByteStream

__all__ = ["CANNOT", "PipePool", "SinkBroken", "can_splice", "send_pipe", "splice_body"]

PIPE_SIZE = 256 * 1024  # as a part; the kernel's default of 64 KiB costs four times the wake-ups
MIN_SPLICE = 128 * 1024  # below this the pipe costs more than the copy
_FLAGS = os.SPLICE_F_MOVE | os.SPLICE_F_NONBLOCK
# Not the fault of a socket: the kernel has no memory for it, cannot do it (a sandbox, a socket of another
# kind), or may not (a filter of system calls).
CANNOT = {errno.EINVAL, errno.ENOMEM, errno.ENOBUFS, errno.ENOSYS, errno.EOPNOTSUPP, errno.EPERM}


class PipePool:
    """Empty pipes for reuse; one that may hold bytes is closed, never reused."""

    __slots__ = ("_idle", "_max_idle")

    def __init__(self, max_idle: int) -> None:
        self._idle: list[tuple[int, int]] = []
        self._max_idle = max_idle

    def take(self) -> tuple[int, int] | None:
        """(read end, write end), or None: no descriptors are left, or the user's share of pipe memory is used
        up (``fs.pipe-user-pages-soft``) and it would be a page or two, with which copying is faster."""
        if self._idle:
            return self._idle.pop()
        try:
            ends = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
        except OSError:
            return None
        try:
            fcntl.fcntl(ends[1], fcntl.F_SETPIPE_SZ, PIPE_SIZE)
        except OSError:
            _close(ends)
            return None
        return ends

    def give(self, pipe: tuple[int, int], *, empty: bool) -> None:
        if empty and len(self._idle) < self._max_idle:
            self._idle.append(pipe)
        else:
            _close(pipe)

    def close(self) -> None:
        while self._idle:
            _close(self._idle.pop())


def can_splice(body: IncomingBody, sink: ByteStream) -> bool:
    """The rest of *body* can go to *sink* without passing through here."""
    return (
        body.reader.has_length
        and body.reader.remaining >= MIN_SPLICE
        and isinstance(body.stream, SocketStream)
        and isinstance(sink, SocketStream)
    )


async def splice_body(
    body: IncomingBody, sink: ByteStream, pipes: PipePool, before_send_wait: Callable[[], object]
) -> None:
    """Move the rest of *body* to *sink*, as far as the kernel can: what is not done then is for the caller to
    copy. What has been read of it has been sent.

    Args:
        before_send_wait: called before each wait for the sink: arms its deadline.
    Raises:
        SinkBroken: the receiving side takes no more.
        trio.BrokenResourceError, trio.ClosedResourceError: the sending side broke or was closed.
        what the body's reader raises when the body is cut short.
    """
    pipe = pipes.take()
    if pipe is None:
        return
    inside = 0
    try:
        while not body.reader.done:
            filled = await _fill(body, pipe[1], body.reader.remaining)
            if filled < 0:
                return
            if not filled:
                body.reader.feed_eof()
            inside = filled
            body.pass_by(inside)
            inside = await _drain(pipe[0], sink, inside, before_send_wait)
            if inside:
                inside = await _copy(pipe[0], sink, inside, before_send_wait)
                return
    finally:
        pipes.give(pipe, empty=not inside)


async def send_pipe(read_end: int, sink: ByteStream, inside: int, before_wait: Callable[[], object]) -> None:
    """Send the *inside* bytes that a pipe holds, with the kernel's help or without. Raises SinkBroken."""
    left = await _drain(read_end, sink, inside, before_wait)
    if left:
        await _copy(read_end, sink, left, before_wait)


class SinkBroken(Exception):
    """The side that receives a spliced body takes no more."""


async def _fill(body: IncomingBody, write_end: int, remaining: int) -> int:
    """Bytes that went into the pipe; 0 at end of stream, -1: the kernel cannot."""
    while True:
        try:
            return os.splice(body.stream.fileno(), write_end, min(remaining, PIPE_SIZE), flags=_FLAGS)
        except BlockingIOError:
            body.arm()
            await wait_readable(body.stream.fileno())
        except (OSError, ValueError) as exc:
            if body.stream.fileno() < 0:
                raise trio.ClosedResourceError("this socket was already closed") from None
            if isinstance(exc, OSError) and exc.errno in CANNOT:
                return -1
            raise trio.BrokenResourceError(f"socket connection broken: {exc}") from exc


async def _drain(read_end: int, sink: ByteStream, inside: int, before_wait: Callable[[], object]) -> int:
    """Empty the pipe into the sink; -> bytes left inside, because the kernel cannot."""
    while inside:
        try:
            inside -= os.splice(read_end, sink.fileno(), inside, flags=_FLAGS)
        except BlockingIOError:
            before_wait()
            try:
                await wait_writable(sink.fileno())
            except (trio.ClosedResourceError, ValueError, OSError) as exc:
                raise SinkBroken from exc
        except (OSError, ValueError) as exc:
            if sink.fileno() >= 0 and isinstance(exc, OSError) and exc.errno in CANNOT:
                return inside
            raise SinkBroken from exc
    return inside


async def _copy(read_end: int, sink: ByteStream, inside: int, before_wait: Callable[[], object]) -> int:
    """Send what is in the pipe, the plain way; -> 0."""
    while inside:
        data = os.read(read_end, inside)
        inside -= len(data)
        before_wait()
        try:
            await sink.send_rest(memoryview(data))
        except (trio.BrokenResourceError, trio.ClosedResourceError) as exc:
            raise SinkBroken from exc
    return inside


def _close(pipe: tuple[int, int]) -> None:
    for end in pipe:
        os.close(end)
