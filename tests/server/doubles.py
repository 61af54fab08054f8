"""Test doubles for the doors of an exchange: a client and an upstream in memory, a filter in Python.

They do what the contracts say (``blitz/server/downstream.py``, ``upstream.py``), and keep what they were
told. Whatever runs between them is the real thing.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field, replace
from typing import Any

import trio
import trio.testing

from blitz._native import ffi, lib
from blitz.config import Config, Route, Timeouts, Upstream, resolve
from blitz.errors import BlitzError, PluginError, UpstreamError
from blitz.filters import ANSWER, CONTINUE, NEED_BODY, Filter
from blitz.http.body import BodyReader
from blitz.http.buffer import Buffer
from blitz.http.heads import span_bytes
from blitz.routing.match import Router, Rule
from blitz.server.body_stream import IncomingBody
from blitz.server.deadline import Timer
from blitz.server.endpoint import Endpoint, UpstreamConnection
from blitz.server.exchange import Exchange
from blitz.server.forwarding import Forwarding
from blitz.server.peer import Peer
from blitz.server.rate import MinRate
from blitz.server.resources import Resources
from blitz.server.run_exchange import run_exchange
from blitz.server.runtime import assemble
from blitz.server.stream import AnyStream, ByteStream
from blitz.server.tls import TlsSettings

KINDS = {
    lib.BLITZ_BODY_NONE: "none",
    lib.BLITZ_BODY_LENGTH: "length",
    lib.BLITZ_BODY_CHUNKED: "unknown",
    lib.BLITZ_BODY_CLOSE: "unknown",
}


def fields_of(head: Any) -> dict[bytes, bytes]:
    return {
        span_bytes(head, item.name).lower(): span_bytes(head, item.value)
        for item in (head.fields[index] for index in range(head.n_fields))
        if not item.gone
    }


@dataclass
class Head:
    """One that was sent. kind, length: framing of its body."""

    status: int
    fields: dict[bytes, bytes]
    kind: str = "none"
    length: int = 0


class MemoryDownstream:
    """A client that has sent *data*, and may send more through ``client``.

    Attributes:
        told: interim heads ("continue" for the one that asks for a body), then the final one.
        received: the body's parts; finished: it is complete.
        gone: it takes nothing any more.
        late: what it would have been told when a deadline passed.
    """

    def __init__(self, resources: Resources, data: bytes, nursery: trio.Nursery) -> None:
        self.client, ours = trio.testing.memory_stream_pair()
        self._stream = AnyStream(ours)
        self._resources = resources
        self._nursery = nursery
        self.scope = trio.CancelScope()
        self.timer = Timer(resources.wheel, self.scope.cancel)
        self.peer = Peer("192.0.2.1", 4711)
        self.owner: object = self
        self.forwarding = Forwarding()
        self.served = 0
        self.may_be_fast = False
        self.keeps = False
        self.told: list[Head | str] = []
        self.received: list[bytes] = []
        self.finished = False
        self.gone = False
        self.late: BlitzError | None = None
        self.surplus = b""
        self._options: Any = ffi.new("blitz_write_options *")
        self.buffer = Buffer()
        self.buffer.view[: len(data)] = data
        self.buffer.end = len(data)
        self.cdata = resources.take_exchange()
        size = resources.runtime.reader.read_request(self.cdata.request, self.buffer, 0)
        assert size, "the head is not complete"
        self.buffer.start = size

    @property
    def final(self) -> Head:
        """The final head."""
        head = self.told[-1]
        assert isinstance(head, Head)
        return head

    def client_of(self, request: Any) -> Peer:
        return self.peer

    def local_address(self) -> tuple[str, int] | None:
        return None

    def is_reset(self) -> bool:
        return self.gone

    def start_soon(self, task: Callable[[], Awaitable[object]]) -> None:
        self._nursery.start_soon(task)

    def body(self, reader: BodyReader, rate: MinRate | None) -> IncomingBody:
        patience = self._resources.runtime.timeouts.body_idle
        parts = self._resources.parts
        return IncomingBody(
            reader, self.buffer, self._stream, parts, self.timer, patience, "request body", rate
        )

    def body_ended(self, surplus: bytes) -> None:
        self.surplus = surplus

    async def send_continue(self) -> None:
        self._check()
        self.told.append("continue")

    async def send_interim(self, response: Any) -> None:
        self._check()
        self.told.append(Head(response.status, fields_of(response)))

    def frame(self, response: Any, *, request_read: bool) -> bool:
        has_content = lib.blitz_frame_response(self._options, self.cdata.request, response, request_read)
        self.keeps = not self._options.close
        return bool(has_content)

    def frame_local(self, response: Any, size: int, *, request_read: bool) -> int:
        sent = lib.blitz_frame_local_response(self._options, self.cdata.request, response, size, request_read)
        self.keeps = not self._options.close
        return int(sent)

    def send_head_nowait(self, response: Any, first: Any, size: int, *, last: bool) -> bool:
        self._check()
        options = self._options
        head = Head(response.status, fields_of(response), KINDS[options.body], options.content_length)
        self.told.append(head)
        if size:
            self.received.append(ffi.buffer(first, size)[:])
        self.finished = last
        return True

    def take_head(self, kind: int, *, keeps: bool) -> None:
        raise AssertionError("there is no fast path")

    async def send_rest(self, data: bytes) -> None:
        raise AssertionError("there is no fast path")

    async def flush(self) -> None:
        raise AssertionError("it has taken everything")

    async def send_part(self, part: Buffer, start: int, end: int, *, last: bool) -> None:
        self._check()
        if end > start:
            self.received.append(bytes(part.view[start:end]))
        self.finished = last
        await trio.lowlevel.checkpoint()

    async def splice(self, body: IncomingBody) -> None:
        return

    @property
    def takes_pipes(self) -> bool:
        return False

    async def send_pipe(self, read_end: int, size: int) -> None:
        raise AssertionError("it takes none")

    async def switch(self, response: Any) -> tuple[ByteStream, bytes]:
        self.told.append(Head(response.status, fields_of(response)))
        return self._stream, bytes(self.buffer.view[self.buffer.start : self.buffer.end])

    def _check(self) -> None:
        if self.gone:
            raise trio.BrokenResourceError("gone")


@dataclass
class MemoryUpstream:
    """One try. ``server`` is its far end: what is written there is the response, as HTTP/1.1.

    Attributes:
        used: as of a connection that has served so many exchanges.
        lines: of the request's head; sent: the parts of its body; finished: it is complete.
        released: (clean, keep_alive) as told; None before. aborted: nobody waits for it.
    """

    resources: Resources
    endpoint: Endpoint
    used: int = 0
    lines: list[bytes] = field(default_factory=list)
    sent: list[bytes] = field(default_factory=list)
    finished: bool = False
    released: tuple[bool, bool] | None = None
    aborted: bool = False

    def __post_init__(self) -> None:
        self.server, self._ours = trio.testing.memory_stream_pair()
        self._stream = AnyStream(self._ours)
        self._buffer = Buffer()
        self._heads = 0
        self._body: IncomingBody | None = None

    async def send_head(
        self,
        request: Any,
        forwarding: Forwarding,
        kind: int,
        content_length: int,
        first: Any,
        size: int,
        *,
        last: bool,
        timer: Timer,
    ) -> int:
        options = forwarding.options
        options.body, options.content_length, options.first_is_last = kind, content_length, False
        written = self.resources.write_head(request, options, ffi.NULL, 0)  # the body is kept apart
        self.lines = bytes(self.resources.scratch.view[:written]).partition(b"\r\n\r\n")[0].split(b"\r\n")
        if size:
            self.sent.append(ffi.buffer(first, size)[:])
        self.finished = last
        return written + size

    async def send_rest(self, data: bytes, timer: Timer) -> None:
        raise AssertionError("it has taken everything")

    async def send_part(self, part: Buffer, start: int, end: int, *, last: bool, timer: Timer) -> bool:
        if end > start:
            self.sent.append(bytes(part.view[start:end]))
        self.finished = last
        return True

    async def splice(self, body: IncomingBody, timer: Timer) -> bool:
        return True

    async def read_head(self, response: Any, method: bytes) -> None:
        buffer = self._buffer
        while True:
            if buffer.end > buffer.start:
                lib.blitz_head_reset(response, lib.BLITZ_RESPONSE)
                size = self.resources.runtime.reader.read_response(response, buffer, 0, method)
                if size:
                    buffer.start += size
                    self._heads += 1
                    return
            got = await self._stream.receive_into(buffer.view[buffer.end :])
            if not got:
                raise UpstreamError("it has ended", retryable=not self._heads and not buffer.end)
            buffer.end += got

    def body(self, reader: BodyReader, timer: Timer) -> IncomingBody:
        patience = self.resources.runtime.timeouts.response_idle
        parts = self.resources.parts
        self._body = IncomingBody(reader, self._buffer, self._stream, parts, timer, patience, "answer body")
        return self._body

    def switch(self) -> tuple[ByteStream, bytes]:
        return self._stream, bytes(self._buffer.view[self._buffer.start : self._buffer.end])

    def abort(self) -> None:
        self.aborted = True
        self._close()

    def release(self, *, clean: bool, keep_alive: bool = False) -> bool:
        assert self.released is None, "released twice"
        self.released = (clean, keep_alive)
        if self._body is not None:
            self._body.close()
        if not clean:
            self._close()
        return clean and keep_alive

    def _close(self) -> None:
        self._ours.send_stream.close()
        self._ours.receive_stream.close()


class PythonFilter:
    """A filter that refuses requests whose body has a word, and signs responses.

    Attributes:
        seen: (what, body) of what it looked at.
    """

    wants = True

    def __init__(self, word: bytes = b"", *, reads: bool = True) -> None:
        self.word = word
        self.reads = reads
        self.seen: list[tuple[str, bytes]] = []

    def begin(self, exchange: Any, now: Callable[[], float], *, begun: bool = False) -> PythonFilterRun:
        return PythonFilterRun(self, exchange)


class PythonFilterRun:
    """It never waits for anything but a body."""

    needed: Any = None
    timeout = 1.0
    is_due = False
    has_response = True
    edits_answers = False
    pending_plugin = "python"
    cause = "done"

    def __init__(self, owner: PythonFilter, exchange: Any) -> None:
        self._owner = owner
        self._exchange = exchange
        self._answered = False
        self.left = 1.0
        self.changed = self.body_ready = False
        self.on_fault: Callable[[PluginError], object] | None = None
        self.on_verdict: Callable[[str, str, str], object] | None = None

    def take_stages(self, which: int) -> list[Any]:
        return []

    def _body(self) -> bytes:
        text = self._exchange.body
        return ffi.buffer(text.ptr, text.len)[:] if text.len else b""

    def request(self) -> int:
        if self._owner.reads and not self.body_ready:
            return NEED_BODY
        body = self._body() if self._owner.reads else b""
        self._owner.seen.append(("request", body))
        if not self._owner.word or self._owner.word not in body:
            return CONTINUE
        self._answered = True
        lib.blitz_head_start_response(self._exchange.response, 403, ffi.NULL, 0, 1)
        self._exchange.new_body.len = 0
        return ANSWER

    def begin_response(self) -> None:
        self.body_ready = False

    def begin_local_response(self) -> None:
        self.body_ready = True
        self._exchange.body = self._exchange.new_body

    def response(self) -> int:
        if self._answered:
            return CONTINUE
        if self._owner.reads and not self.body_ready:
            return NEED_BODY
        self._owner.seen.append(("response", self._body()))
        lib.blitz_head_add(self._exchange.response, b"x-signed", 8, b"yes", 3)
        return CONTINUE

    def see_to(self, step: int) -> int:
        return step

    def wanted_body_size(self) -> tuple[int, bool]:
        return 1024, False

    def extend(self, chain: Filter) -> None:
        raise AssertionError("nothing runs before it")

    join = extend

    def resume(self) -> int:
        raise AssertionError("it is never pending")

    time_out = resume

    def give_up(self) -> PluginError:
        raise AssertionError("it is never waited for")

    def close(self) -> None:
        return


Script = Callable[[MemoryUpstream], Awaitable[None]]


class MemoryUpstreams:
    """Tries, each of which runs *script*.

    Attributes:
        kept: how many of the first tries find an open connection. refuse: numbers of endpoints that take no
            connection.
        tries: that were begun.
    """

    def __init__(self, resources: Resources, nursery: trio.Nursery, script: Script, kept: int = 0) -> None:
        self._resources = resources
        self._nursery = nursery
        self._script = script
        self.kept = kept
        self.refuse: set[int] = set()
        self.asked: list[int] = []
        self.tries: list[MemoryUpstream] = []

    def take_idle(self, endpoint: Endpoint, owner: object) -> MemoryUpstream | None:
        if not self.kept:
            return None
        self.kept -= 1
        return self._begin(endpoint, used=1)

    async def connect(
        self, endpoint: Endpoint, timeout: float, owner: object, preface: bytes
    ) -> MemoryUpstream:
        self.asked.append(endpoint.address.port)
        await trio.lowlevel.checkpoint()
        if endpoint.address.port in self.refuse:
            raise UpstreamError(f"{endpoint.address}: refused", retryable=True, cause="upstream_connect")
        return self._begin(endpoint, used=0)

    def adopt(
        self, connection: UpstreamConnection, received: Buffer | None, head_size: int, *, chunked: bool
    ) -> MemoryUpstream:
        raise AssertionError("there is no fast path")

    def _begin(self, endpoint: Endpoint, used: int) -> MemoryUpstream:
        upstream = MemoryUpstream(self._resources, endpoint, used)
        self.tries.append(upstream)
        self._nursery.start_soon(self._script, upstream)
        return upstream


class InMemory:
    """Resources of a gateway whose exchanges meet nothing but doubles; used in a nursery of the test's."""

    def __init__(
        self,
        nursery: trio.Nursery,
        script: Script,
        *,
        ports: tuple[int, ...] = (1,),
        kept: int = 0,
        **config: Any,
    ) -> None:
        endpoints = [f"http://127.0.0.1:{port}" for port in ports]
        config.setdefault("routes", [Route(upstream="main")])
        config.setdefault("upstreams", {"main": Upstream(endpoints=endpoints)})
        config.setdefault("timeouts", Timeouts())
        self.runtime = assemble(resolve(Config(**config), {}), {}, TlsSettings(None, {}))
        self.resources = Resources(self.runtime)
        self.upstreams = self.resources.upstreams = MemoryUpstreams(self.resources, nursery, script, kept)
        self._nursery = nursery
        nursery.start_soon(self.resources.wheel.run)

    def filter_with(self, filter: Filter) -> None:
        """Every route asks *filter* instead of plugins."""
        entry = self.runtime.router.only
        assert entry is not None
        self.runtime.router = Router([Rule(b"", b"/", replace(entry, filter=filter))])

    def client(self, data: bytes) -> MemoryDownstream:
        """One that has sent *data*, a head and what follows it."""
        return MemoryDownstream(self.resources, data, self._nursery)

    async def run(self, client: MemoryDownstream) -> tuple[Exchange, bool]:
        """Run the client's exchange to its end, or to the deadline of one of its waits; then it is closed.

        Returns: the exchange, and whether the client's connection stays.
        """
        exchange = Exchange(self.resources, client, client.cdata)
        keep = False
        try:
            with client.scope:
                keep = await run_exchange(exchange)
            if client.scope.cancelled_caught:
                client.late = exchange.late(client.timer.what)
        finally:
            exchange.close()
            client.timer.disarm()
        return exchange, keep
