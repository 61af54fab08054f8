"""The short lane: most exchanges, in one coroutine and four calls into C.

An exchange is short when the request has no body and stays on its kept-alive HTTP/1.1 connection, its
plugins only look at requests and say "continue" (or one answers), and the answer came whole in one read.
Then each step is one C call that does a system call and one pass over a head (``native/lane.c``), and the
only waits are the client's next request and the upstream's answer.

Whatever is not short is handed over to the general path (``exchange.py``) at the step it has reached: a
``Handover`` holds what is there, and ``Connection.run`` goes on with it. The lane decides nothing that the
general path would decide otherwise: the same tests run over both; limits, rules, counters are the same.

Why: the general path makes some 170 Python calls for a proxied request, the lane about 40 (39 µs against 27
of CPU, interleaved with peers on one machine).
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import trio
from trio.lowlevel import current_task

from blitz._native import lib
from blitz.errors import ClientError

from .forward import set_host
from .heads import span_bytes
from .route import find_route
from .stream import SocketStream

if TYPE_CHECKING:
    from blitz.http.buffer import Buffer
    from blitz.wasm.instance import Instance

    from .connection import Connection
    from .context import ServerContext
    from .peer import Peer
    from .runtime import RouteEntry
    from .upstream import Endpoint, UpstreamConnection

__all__ = ["CLOSED", "HEAD_BYTES", "RELOADED", "Handover", "serve_short"]

_AGAIN = lib.BLITZ_IO_AGAIN
_V_STOP = lib.BLITZ_V_STOP
_NOT_PLAIN = 3 | lib.BLITZ_R_LOGS  # verdict bits and log lines; a plain answer has only the verdict
_SPECIAL = _NOT_PLAIN | lib.BLITZ_R_BODY
_receive_request = lib.blitz_lane_receive_request
_send_request = lib.blitz_lane_send_request
_receive_response = lib.blitz_lane_receive_response
_answer = lib.blitz_lane_answer
_answer_of_plugin = lib.blitz_lane_answer_of_plugin
_call_request = lib.blitz_call_request


@dataclass(slots=True)
class Handover:
    """Where the lane stopped with a complete request head in ``connection.buffer``.

    Attributes:
        cdata: the native exchange; its owner is whoever takes the handover.
        entry: the route, or None: nothing was decided yet.
        peer: the client, once plugins may have changed what it was found by.
        index: plugins that have run, all of them with "continue".
        instance, rc: the next hook ran too and needs more than going on; instance None: it did not run.
        answered: the next plugin answered; its instance is back.
        upstream: the request was written to it; unsent is what is left of it.
        answer: holds what came of the answer; None: nothing was read yet.
        unsent_answer: the answer was written to the client but for this; nothing else is left to do.
    """

    cdata: Any
    entry: RouteEntry | None = None
    peer: Peer | None = None
    index: int = 0
    instance: Instance | None = None
    rc: int = 0
    answered: bool = False
    upstream: UpstreamConnection | None = None
    unsent: bytes = b""
    answer: Buffer | None = None
    unsent_answer: bytes | None = None


CLOSED = "closed"  # the client has gone between two requests
RELOADED = "reloaded"  # what runs now has no short lane; the next request is there, unread
HEAD_BYTES = "head bytes"  # the first bytes of a request are in connection.buffer


async def serve_short(connection: Connection) -> Handover | str:
    """Serve short exchanges until something else comes: a Handover, CLOSED, RELOADED or HEAD_BYTES.

    The connection has no buffer and nothing unread. Raises trio.BrokenResourceError.
    """
    stream = connection.stream
    assert isinstance(stream, SocketStream)
    context = connection.context
    readiness = context.readiness
    task = current_task()
    fd = readiness.watch(stream)
    readiness.look_again(fd)  # the general path may have left something
    lane = _Lane(connection, context, fd)
    try:
        while True:
            connection.arm_idle()
            await readiness.wait(fd, task)
            runtime = context.runtime
            if not runtime.short:
                return RELOADED
            stopped = lane.receive(runtime.head_limits)
            if stopped is None:
                continue
            if not isinstance(stopped, _Lane):
                return stopped
            handover = lane.ask()
            if handover is None:
                upstream = lane.upstream
                if upstream is not None:
                    connection.timer.arm(runtime.timeouts.first_byte, "first byte")
                    while lane.upstream is not None and handover is None:
                        await readiness.wait(upstream.fd, task)
                        handover = lane.relay()
            if handover is not None:
                return handover
            lane.finish()
    finally:
        lane.close()


class _Lane:
    """State of the exchange in the lane; between two exchanges it holds nothing."""

    __slots__ = (
        "answer",
        "buffer",
        "cdata",
        "connection",
        "context",
        "entry",
        "fd",
        "io",
        "peer",
        "upstream",
    )

    def __init__(self, connection: Connection, context: ServerContext, fd: int) -> None:
        self.connection = connection
        self.context = context
        self.fd = fd
        self.io = context.io
        self.buffer: Buffer | None = None
        self.answer: Buffer | None = None
        self.cdata: Any = None
        self.entry: RouteEntry | None = None
        self.peer: Peer | None = None
        self.upstream: UpstreamConnection | None = None

    def receive(self, limits: Any) -> _Lane | Handover | str | None:
        """Read a head. None: nothing was there; itself: a short request is ready to be asked about."""
        context = self.context
        connection = self.connection
        io = self.io
        buffer = self.buffer = context.buffers.take()
        cdata = self.cdata = context.take_exchange()
        size = _receive_request(self.fd, buffer.ptr, buffer.size, cdata.request, limits, io)
        if size > 0:
            buffer.start = size
            buffer.end = io.got
            connection.busy = True
            context.counters.exchanges += 1
            if not io.is_short or context.draining:
                return self._hand_over()
            return self
        if size == _AGAIN:
            self._give_all()
            return None
        if size == lib.BLITZ_IO_EOF:
            return CLOSED
        if size < 0:
            raise _broken(io.error)
        buffer.end = io.got
        connection.buffer, self.buffer = buffer, None
        return HEAD_BYTES

    def ask(self) -> Handover | None:
        """Route, plugins, and the request sent (upstream is set) or answered by a plugin."""
        try:
            entry = find_route(self.context.runtime.router, self.cdata.request)
        except ClientError:
            return self._hand_over()  # the general path finds it again, and says it
        if entry is None or not entry.short:
            return self._hand_over()
        self.entry = entry
        cdata = self.cdata
        peer = self.connection.peer
        if peer.trusted:
            peer = self.connection.client_of(cdata.request)
        self.peer = peer
        cdata.peer = peer.struct
        cdata.route = entry.name_text
        index = 0
        for pool in entry.chain.pools:
            if not pool.quick or not pool.idle:
                return self._hand_over(index=index)
            instance = pool.idle.pop()
            rc = _call_request(instance.ptr, cdata)
            special = rc & _SPECIAL
            if rc < 0 or (special and rc & _NOT_PLAIN != _V_STOP) or instance.calls >= pool.last_call:
                return self._hand_over(index=index, instance=instance, rc=rc)
            instance.calls += 1
            pool.calls += 1
            pool.idle.append(instance)
            if special:
                return self._answer_of_plugin(index)
            index += 1
        return self._send(entry, index)

    def _answer_of_plugin(self, index: int) -> Handover | None:
        scratch = self.context.scratch
        self.context.refresh_date()
        left = _answer_of_plugin(self.fd, self.cdata, scratch.ptr, scratch.size, self.io)
        if left == lib.BLITZ_IO_ODD:
            return self._hand_over(index=index, answered=True)
        return None if not left else self._unsent_answer(left)

    def _send(self, entry: RouteEntry, index: int) -> Handover | None:
        connection = self.connection
        endpoint = entry.endpoint
        upstream = None
        if endpoint is not None:
            upstream = _take_idle(endpoint, self.context.wheel.now)
        if upstream is None:
            return self._hand_over(index=index)
        options = connection.lane_options
        if options is None:
            options = connection.make_lane_options()
        assert entry.cluster is not None
        host = entry.cluster.host
        if host or connection.lane_host or connection.peer.trusted:
            assert self.peer is not None
            request = self.cdata.request
            connection.introduce_in_lane(self.peer, span_bytes(request, request.host) if host else b"")
        set_host(options, host)
        scratch = self.context.scratch
        left = _send_request(upstream.fd, self.cdata.request, options, scratch.ptr, scratch.size, self.io)
        if not left:
            self.upstream = upstream
            assert isinstance(upstream.stream, SocketStream)
            self.context.readiness.watch(upstream.stream)
            return None
        if left > 0:
            size = self.io.size
            self.upstream = upstream
            return self._hand_over(index=index, unsent=bytes(scratch.view[size - left : size]))
        upstream.close()
        return self._hand_over(index=index)

    def relay(self) -> Handover | None:
        """The upstream has something to say: read it, and send it on if it is all."""
        context = self.context
        upstream = self.upstream
        assert upstream is not None
        cdata = self.cdata
        io = self.io
        answer = self.answer
        if answer is None:
            answer = self.answer = context.buffers.take()
        size = _receive_response(upstream.fd, answer.ptr, answer.size, cdata, context.runtime.head_limits, io)
        if size == _AGAIN:
            return None
        answer.end = io.got
        if size <= 0 or not io.is_short or context.draining:
            return self._hand_over()
        scratch = context.scratch
        context.refresh_date()
        left = _answer(self.fd, cdata, answer.ptr + size, answer.end - size, scratch.ptr, scratch.size, io)
        if left == lib.BLITZ_IO_ODD:
            return self._hand_over()
        self.upstream = None
        upstream.endpoint.give(upstream, context.wheel.now)
        return None if not left else self._unsent_answer(left)

    def finish(self) -> None:
        """The exchange is over; everything goes back."""
        self._give_all()
        connection = self.connection
        connection.busy = False
        connection.served += 1

    def close(self) -> None:
        """Give back what is still held; an upstream connection in the middle of something is closed."""
        if self.upstream is not None:
            self.upstream.close()
            self.upstream = None
        self._give_all()

    def _give_all(self) -> None:
        context = self.context
        self.peer = None
        self.entry = None  # the next request is another one: nothing may be decided by this one's route
        if self.buffer is not None:
            context.buffers.give(self.buffer)
            self.buffer = None
        if self.answer is not None:
            context.buffers.give(self.answer)
            self.answer = None
        if self.cdata is not None:
            context.give_exchange(self.cdata)
            self.cdata = None

    def _unsent_answer(self, left: int) -> Handover:
        if left < 0:
            raise _broken(self.io.error)
        size = self.io.size
        return self._hand_over(unsent_answer=bytes(self.context.scratch.view[size - left : size]))

    def _hand_over(
        self,
        *,
        index: int = 0,
        instance: Instance | None = None,
        rc: int = 0,
        answered: bool = False,
        unsent: bytes = b"",
        unsent_answer: bytes | None = None,
    ) -> Handover:
        self.connection.buffer, self.buffer = self.buffer, None
        handover = Handover(
            self.cdata,
            self.entry,
            self.peer,
            index,
            instance,
            rc,
            answered,
            self.upstream,
            unsent,
            self.answer,
            unsent_answer,
        )
        self.cdata = self.upstream = self.answer = self.peer = None
        return handover


def _broken(error: int) -> trio.BrokenResourceError:
    return trio.BrokenResourceError(f"socket connection broken: {os.strerror(error)}")


def _take_idle(endpoint: Endpoint, now: float) -> UpstreamConnection | None:
    """The last used idle connection if it may be used without TLS; its silence is checked when sending."""
    while endpoint.idle:
        upstream = endpoint.idle.pop()
        if upstream.fd >= 0 and not endpoint.is_stale(upstream, now):
            return upstream
        if upstream.fd < 0:
            endpoint.idle.append(upstream)
            return None
        upstream.close()
    return None
