"""One client connection: heads in, exchanges run, until one side has had enough.

Who opens and ends it is ``serving.py``; how its exchanges reach the client is ``h1_downstream.py``.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import trio
from trio.lowlevel import checkpoint

from blitz.errors import ClientError, CutOff

from .back_pressure import send_patiently
from .deadline import DRAIN_IDLE, Timer
from .exchange import Exchange
from .fast_path import serve_short
from .forwarding import Forwarding
from .h1_downstream import H1Downstream
from .handover import CLOSED, RELOADED, Handover
from .linger import linger
from .run_exchange import run_exchange
from .send_response import SWITCHING

if TYPE_CHECKING:
    from blitz.http.buffer import Buffer

    from .access import AccessLine
    from .context import ServerContext
    from .peer import Peer
    from .stream import ByteStream

__all__ = ["Connection"]

MAX_EMPTY_LINES = 64  # before a request; nginx ignores any number, Envoy and HAProxy one


class Connection:
    """State of one client connection.

    Attributes:
        cut: why a drain ended it; None: it did not.
        buffer: receive buffer with the present head and what follows it; None while idle.
        nursery: owns all that it starts; None: no task serves it yet.
        cancelled: it was told to end.
        busy: an exchange is running (drain lets it finish).
        gone: the client has reset.
        watched: see ``WatchedConnection``.
        served: exchanges that have ended.
        line: of the present exchange; None between two.
    """

    __slots__ = (
        "_downstream",
        "_fast_path_forwarding",
        "_timer",
        "buffer",
        "busy",
        "cancelled",
        "context",
        "cut",
        "exchange",
        "gone",
        "line",
        "nursery",
        "peer",
        "served",
        "stream",
        "watched",
    )

    def __init__(self, context: ServerContext, stream: ByteStream, peer: Peer) -> None:
        self.context = context
        self.line: AccessLine | None = None
        self.stream = stream
        self.peer = peer
        self.nursery: trio.Nursery | None = None
        self.cancelled = False
        self._timer: Timer | None = None
        self.buffer: Buffer | None = None
        self._downstream: H1Downstream | None = None
        self._fast_path_forwarding: Forwarding | None = None
        self.exchange: Exchange | None = None
        self.busy = False
        self.cut: CutOff | None = None
        self.served = 0
        self.gone = False
        self.watched = -1

    async def run(self, stopped: Handover | str = "") -> None:
        """Serve exchanges until the connection ends. Raises what the last exchange raised.

        Args:
            stopped: where the fast path has stopped, if it has served the connection already.
        """
        context = self.context
        while True:
            if self.buffer is None and not stopped:
                if self.may_be_short():
                    stopped = await serve_short(context.fast_path, self)
                elif not await self._first_bytes():
                    return
            if stopped == CLOSED:
                return
            begun = stopped if isinstance(stopped, Handover) else None
            is_reloaded, stopped = stopped == RELOADED, ""
            if is_reloaded:
                continue
            if begun is not None:
                keep = await self._finish_short(begun)
            else:
                cdata = context.take_exchange()
                try:
                    if not await self._next_head(cdata):
                        return
                finally:
                    if not self.busy:
                        context.give_exchange(cdata)
                context.counters.exchanges += 1
                keep = await self._run_exchange(self._begin_exchange(cdata))
            if not keep:
                return
            self._settle_buffer()
            if self.buffer is not None:
                await checkpoint()  # pipelined requests may never wait for anything: others come first

    @property
    def timer(self) -> Timer:
        """The deadline of the present wait; cancels the connection. C has those of a connection that waits on
        the fast path."""
        if self._timer is None:
            self._timer = Timer(self.context.wheel, self.cancel)
        return self._timer

    @property
    def is_late(self) -> bool:
        """A deadline has passed."""
        return self._timer is not None and self._timer.expired

    def disarm(self) -> None:
        """Wait for no deadline."""
        if self._timer is not None:
            self._timer.disarm()

    def meet_peer(self) -> None:
        """Who is at the other end is known now: is its word taken?"""
        self.peer.trusted = self.context.runtime.trust.contains(self.peer.address)

    def cancel(self) -> None:
        """End it, whatever it does."""
        self.cancelled = True
        if self.nursery is not None:
            self.nursery.cancel_scope.cancel()

    def client_gone(self) -> None:
        """See ``WatchedConnection``: nobody wants the exchange that runs, so it ends, whatever it waits for.
        Where none runs, reading finds the end; and a tunnel passes on what came before it.
        """
        self.gone = True
        if self.exchange is not None and self.exchange.status != SWITCHING:
            self.cancel()

    def forget(self) -> None:
        """It has ended: break what refers to it."""
        self.context.fast_path.clients.forget(self)
        self.disarm()
        self._timer = self._downstream = None

    @property
    def downstream(self) -> H1Downstream:
        """The door for its exchanges, made with the first one: an idle connection needs none."""
        if self._downstream is None:
            self._downstream = H1Downstream(
                self.context, self.stream, self.peer, self.timer, self.nursery, self
            )
        return self._downstream

    def _begin_exchange(self, cdata: Any, begun: Handover | None = None) -> Exchange:
        """The exchange whose head is complete, and its access line."""
        context, downstream = self.context, self.downstream
        assert self.buffer is not None
        downstream.next_request(cdata.request, self.buffer, self.served)
        exchange = self.exchange = Exchange(context, downstream, cdata, begun)
        if self.line is None:  # the fast path may have begun it
            self.line = context.access_log.begin(exchange)
        exchange.line = self.line
        return exchange

    def take_back(self, begun: Handover) -> None:
        """See ``ParkedConnection``."""
        exchange = self._begin_exchange(begun.cdata, begun)
        exchange.take_over(begun)
        if exchange.endpoint is not None and exchange.body is not None:
            exchange.body.buffered()  # it has been sent

    async def _run_exchange(self, exchange: Exchange, begun: Handover | None = None) -> bool:
        """Run one to its end; True when the connection goes on."""
        context = self.context
        context.fast_path.clients.watch(self)
        if self.gone:  # before its request was read
            raise trio.BrokenResourceError("the client has reset the connection")
        keep = await run_exchange(exchange, begun)
        self.timer.bound(0, "")
        if self.line is not None:
            self.end_line(self.line, exchange)
        exchange.close()
        self.exchange = None
        context.give_exchange(exchange.cdata)
        self.busy = False
        self.served += 1
        if not keep and self.downstream.must_linger:
            await linger(self.stream, context)
        return keep

    def end_line(self, line: AccessLine, exchange: Exchange) -> None:
        """*exchange* is over, and still has everything: write its *line*."""
        self.line = None
        line.end(exchange)
        if exchange.story is not None:
            exchange.story.end(exchange.status, line)

    def end_known_line(self) -> None:
        """Write the line of an exchange of the fast path whose rest is not its business."""
        line = self.line
        if line is not None and line.known is not None:
            self.line = None
            line.write(*line.known)

    async def _finish_short(self, begun: Handover) -> bool:
        """Go on with what the fast path began."""
        if begun.unsent_answer is None:
            return await self._run_exchange(self._begin_exchange(begun.cdata, begun), begun)
        patience = self.context.runtime.timeouts.send_idle
        await send_patiently(self.stream, memoryview(begun.unsent_answer), self.timer, patience, "send")
        self.end_known_line()
        return not begun.closes

    def may_be_short(self) -> bool:
        """The fast path may serve its next exchange."""
        context = self.context
        return (
            context.runtime.short
            and context.fast_path.runs
            and not context.stories
            and not context.draining
            and self.stream.lend() is not None
        )

    def client_of(self, request: Any) -> Peer:
        """Who a request from a trusted proxy is for."""
        return self.context.runtime.trust.client_behind(self.peer, request)

    def fast_path_options_for(self, peer: Peer, told_host: bytes = b"", minor: int = 1) -> Any:
        """Writer options for requests of *peer* on the fast path; most times nothing has changed.

        Args:
            told_host: what upstreams are told that the client asked for, as in ``Forwarding.tell``.
            minor: of the version of the requests, HTTP/1.minor.
        """
        forwarding = self._fast_path_forwarding
        if forwarding is None:
            forwarding = self._fast_path_forwarding = Forwarding()
        kind = self.context.runtime.resolved.http.forwarded
        forwarding.tell(peer, minor, kind, told_host.decode("latin-1"))
        return forwarding.options

    async def _next_head(self, cdata: Any) -> bool:
        """Read a request head; its first bytes are there. False when the client closed instead."""
        runtime = self.context.runtime
        buffer = self.buffer
        assert buffer is not None
        head = cdata.request
        timer = self.timer
        seen = 0
        empty = 0
        waiting = ""
        while True:
            if buffer.end > buffer.start:
                if not seen:
                    empty += self._skip_empty_lines(buffer)
                    if empty > MAX_EMPTY_LINES:
                        raise ClientError(f"more than {MAX_EMPTY_LINES} empty lines before a request")
                left = buffer.end - buffer.start
                ready = left > 1 or (left == 1 and buffer.data[buffer.start] != 13)
                size = runtime.reader.read_request(head, buffer, seen) if ready else 0
                if size:
                    buffer.start += size
                    self.busy = True
                    return True
                if not waiting:
                    # One deadline for the whole head, from its first byte (slow-loris), empty lines included.
                    waiting = "head" if ready else "keepalive"
                    timer.arm(runtime.timeouts.head, waiting)
                elif ready and waiting == timer.what == "keepalive":
                    waiting = timer.what = "head"  # the same deadline, but now there is something to answer
                seen = left if ready else 0
            if buffer.end == buffer.size:
                buffer = self._make_room(buffer, runtime.limits.max_head_size)
            got = await self.stream.receive_into(buffer.view[buffer.end :])
            if not got:
                if buffer.end > buffer.start:
                    raise ClientError("request head cut short", cause="client_reset")
                return False
            buffer.end += got

    async def _first_bytes(self) -> bool:
        """Wait for a request without holding a buffer, then read into one. False at end of stream."""
        context = self.context
        stream = self.stream
        self.arm_idle()
        await stream.wait_readable()
        buffer = self.buffer = context.buffers.take()
        got = stream.receive_nowait(buffer.view)
        if got < 0:
            got = await stream.receive_into(buffer.view)
        buffer.end = got
        return got > 0

    def arm_idle(self) -> None:
        """The deadline for the first byte of a request begins now."""
        timeouts = self.context.runtime.timeouts
        if self.context.draining:
            self.timer.arm(DRAIN_IDLE, "keepalive")
        elif self.served:
            self.timer.arm(timeouts.keepalive, "keepalive")
        else:
            self.timer.arm(timeouts.head, "first request")

    @staticmethod
    def _skip_empty_lines(buffer: Buffer) -> int:
        """Ignore empty lines before the request line (RFC 9112 section 2.2: one at least); how many."""
        start = buffer.start
        while buffer.end - buffer.start > 1 and buffer.data.startswith(b"\r\n", buffer.start):
            buffer.start += 2
        return (buffer.start - start) // 2

    def _make_room(self, buffer: Buffer, max_head_size: int) -> Buffer:
        if buffer.start:
            buffer.compact()
            return buffer
        bigger = buffer.grown(min(buffer.size * 4, max(max_head_size + 4096, buffer.size + 4096)))
        self.buffer = bigger
        return bigger

    def _settle_buffer(self) -> None:
        """Between exchanges: pipelined bytes move to the front, an empty buffer goes back."""
        buffer = self.buffer
        if buffer is None:
            return
        surplus = self.downstream.surplus
        if surplus:
            self.downstream.surplus = b""
            buffer.compact()
            if len(surplus) > buffer.size - buffer.end:
                buffer = buffer.grown(buffer.end + len(surplus) + 4096)
                self.buffer = buffer
            buffer.view[buffer.end : buffer.end + len(surplus)] = surplus
            buffer.end += len(surplus)
        if buffer.start == buffer.end:
            self.buffer = None
            self.context.buffers.give(buffer)

    def drain(self) -> None:
        """No keep-alive from now on; an idle client may still send a request for a moment."""
        if not self.busy and self.buffer is None and not self.context.fast_path.holds(self):
            self.timer.arm(DRAIN_IDLE, "keepalive")

    def cut_off(self, why: CutOff) -> None:
        """End the exchange that runs: with a response that says so, if none has begun."""
        self.cut = why
        self.timer.expired = True
        self.timer.expire()
