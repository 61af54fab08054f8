"""One exchange: a request through its chain to an upstream and the answer back.

Reads as the request travels: ``run`` asks the plugins and the router, ``send_request.py`` sends the request,
``send_response.py`` reads the answer, asks the plugins again and sends it on. Answers of our own (a
plugin's, a route's, an error) end here. A part of a body never waits for the next one: head and first part
leave together, then each part as it comes.

A second task exists only while a request body is still coming in (``upload.py``): the answer may arrive
before it has all been sent.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Any

import trio

from blitz._native import ffi, lib
from blitz.errors import (
    BlitzError,
    ClientError,
    InternalError,
    PluginError,
    PluginReroute,
    PluginSuspended,
    ShortageError,
    UpstreamError,
)
from blitz.http.body import BodyReader, body_reader, length_reader
from blitz.http.rules import BODILESS, CONTENTLESS, HOP_COUNTED, field_value, take_hop
from blitz.wasm.chain import ANSWER, CONTINUE, NEED_BODY, NEED_INSTANCE, PENDING, ChainRun

from .answers import build_answer, build_reply
from .body_stream import IncomingBody, collect
from .deadline import TICK
from .error_line import log_error_answer
from .guests import drive, wait_for_instance
from .heads import span_bytes
from .rate import MinRate
from .route import find_route, moved_to
from .send_request import forward, go_on_with_answer
from .send_response import go_on_with_response
from .story import Story

if TYPE_CHECKING:
    from .connection import Connection
    from .fast_path import Handover, Stream
    from .runtime import RouteEntry
    from .upload import Upload
    from .upstream import Endpoint, UpstreamConnection

__all__ = ["Exchange"]

NULL = ffi.NULL
_NONE = lib.BLITZ_BODY_NONE
_LENGTH = lib.BLITZ_BODY_LENGTH
_CHUNKED = lib.BLITZ_BODY_CHUNKED
_CLOSE = lib.BLITZ_BODY_CLOSE
_KEEP_ALIVE = lib.BLITZ_HEAD_KEEP_ALIVE
_EXPECT = lib.BLITZ_HEAD_EXPECT_CONTINUE

CONTINUE_HEAD = b"HTTP/1.1 100 Continue\r\n\r\n"
ALLOW = b"GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS"  # of the gateway itself; upstreams say their own


class Exchange:
    """All mutable state of one request and its answer.

    Attributes:
        cdata: cffi ``blitz_exchange *``, ours until ``close``.
        method, target: of the request as the client sent it.
        peer: the client; behind a trusted proxy it may be another one for each request.
        body: the request's body; None when it has none.
        collected: what of the body a plugin made us collect.
        chain_run: the plugins' way; None without plugins.
        upstream: the connection in use.
        endpoint: the last one that was tried; tries: how many times one was.
        upload: the task that sends the rest of the body.
        began: when, in trio's time: the head was complete.
        awaiting_answer: the upstream's final head has not come yet.
        head_sent: the final answer has begun; no error answer is possible any more.
        story: tells the log what happens; None: nobody reads it.
        protocol: that the client asked to switch to, if it may; lower case.
        must_linger: close with a goodbye, because the client may still be sending.
    """

    __slots__ = (
        "_answer_body",
        "_continue_sent",
        "awaiting_answer",
        "began",
        "body",
        "cdata",
        "chain_run",
        "collected",
        "connection",
        "context",
        "endpoint",
        "entry",
        "expects_continue",
        "head_sent",
        "method",
        "must_linger",
        "peer",
        "protocol",
        "request",
        "runtime",
        "status",
        "story",
        "target",
        "tries",
        "upload",
        "upstream",
    )

    def __init__(self, connection: Connection, cdata: Any, begun: Handover | None = None) -> None:
        self.connection = connection
        self.began = begun.began if begun is not None and begun.began else trio.current_time()
        self.context = context = connection.context
        self.runtime = runtime = context.runtime
        runtime.users += 1
        self.cdata = cdata
        self.request = request = cdata.request
        peer = begun.peer if begun is not None else None
        if peer is None:
            peer = connection.peer
            if peer.trusted:
                peer = connection.client_of(request)
        self.peer = peer
        cdata.peer = peer.struct
        if begun is None:
            self.method = span_bytes(request, request.method)
            self.target = span_bytes(request, request.target)
        else:
            self.method, self.target = begun.method, begun.target
        self.expects_continue = bool(request.flags & _EXPECT)
        self._continue_sent = False
        self.collected: bytes | None = None
        self._answer_body = b""
        self.body = self._incoming(request, begun)
        self.chain_run: ChainRun | None = None
        self.entry: RouteEntry | None = None
        self.upstream: UpstreamConnection | None = None
        self.endpoint: Endpoint | None = None
        self.tries = 0
        self.upload: Upload | None = None
        self.awaiting_answer = False
        self.head_sent = False
        self.must_linger = False
        self.protocol = b""
        self.status = 0
        self.story: Story | None = None

    def _incoming(self, request: Any, begun: Handover | None) -> IncomingBody | None:
        """The request's body as the client sent it, whatever plugins have set since; None: it has none."""
        found = begun if begun is not None and begun.entry is not None else None
        if (found is not None and found.body is None) or (found is None and request.body == _NONE):
            return None
        limits, timeouts = self.runtime.limits, self.runtime.timeouts
        owes = limits.min_body_rate and timeouts.body_grace
        rate = MinRate(limits.min_body_rate, timeouts.body_grace) if owes else None
        if rate is not None and found is not None:
            rate.cdata = found.body_rate
        connection = self.connection
        assert connection.buffer is not None
        if found is not None:
            reader = BodyReader(found.body, ClientError)
        else:
            reader = body_reader(
                request,
                ClientError,
                limit=limits.max_body_size,
                max_chunk_line=limits.max_chunk_line_size,
                max_trailers=limits.max_trailer_size,
            )
        body = IncomingBody(
            reader,
            connection.buffer,
            connection.stream,
            self.context.parts,
            connection.timer,
            timeouts.body_idle,
            "request body",
            rate,
        )
        body.received = reader.received
        return body

    # -- the request's way

    async def run(self, begun: Handover | None = None) -> bool:
        """Serve the exchange. True when the client connection can carry another one.

        Args:
            begun: what the fast path has done of it already.
        Raises:
            ClientError: the client's message is bad: answer and close.
            BlitzError: something failed after the answer had begun: close.
        """
        self._bound_time()
        field = self.runtime.request_id_header
        if field and (
            begun is None or begun.entry is None
        ):  # else the fast path has told it, before plugins ran
            lib.blitz_exchange_tell_id(self.cdata, field, len(field))
        if self.context.stories:
            self.story = Story(self)
        try:
            if begun is None or begun.entry is None:
                return await self._run_from_start()
            return await self._go_on_from(begun, begun.entry)
        except (UpstreamError, PluginError, ShortageError) as error:
            if self.head_sent:
                raise
            return await self._fail(error)

    async def _run_from_start(self) -> bool:
        self._check_size()
        before, only = self.runtime.before, self.runtime.router.only
        if before.pools and only is not None:
            self._take_route(only)  # there is nothing to choose
        if before.pools and await self._ask(ChainRun(before, self.cdata, trio.current_time)) == ANSWER:
            return await self._answer_from_plugin()
        entry = self._find_route()
        run = self.chain_run
        if run is not None:
            run.extend(entry.chain)
        elif entry.chain.pools:
            run = ChainRun(entry.chain, self.cdata, trio.current_time)
        return await self._go_through(entry, run)

    async def _go_on_from(self, begun: Handover, entry: RouteEntry) -> bool:
        """The fast path has run some plugins, and perhaps sent the request."""
        self.take_over(begun)
        if begun.stream is not None and begun.stream.is_response:
            if self.body is not None:
                self.body.buffered()  # it has been sent
            return await go_on_with_response(self, begun.stream)
        if begun.failed and begun.upstream is None and self.body is not None:
            raise self.body.reader.failure(begun.failed)
        if begun.failed and begun.stream is None:
            raise length_reader(0, UpstreamError).failure(begun.failed)
        if begun.answer_size:
            return await go_on_with_answer(self, begun)
        if begun.upstream is not None:
            assert entry.cluster is not None
            return await forward(self, entry.cluster, begun)
        return await self._go_through(entry, self.chain_run, begun)

    async def _go_through(
        self, entry: RouteEntry, run: ChainRun | None, begun: Handover | None = None
    ) -> bool:
        """Ask the plugins of *entry*, and of the routes that they lead to; then do what the last one says."""
        while run is not None:
            if await self._ask(run, begun) == ANSWER:
                return await self._answer_from_plugin()
            moved = self._moved_to(entry)
            if moved is None:
                break
            # An end is certain: only plugins that have not run yet run now, and only they can move it again.
            entry, begun = moved, None
            run.join(entry.chain)
        return await self._serve(entry)

    async def _serve(self, entry: RouteEntry) -> bool:
        """The plugins have let the request pass: what the route says."""
        if entry.cluster is None:
            assert entry.answer is not None
            self._answer_body = build_reply(self.cdata, entry.answer(self.request))
            return await self._answer(None)
        if self.method in HOP_COUNTED and not take_hop(self.request):
            return await self._answer_as_last_hop()
        return await forward(self, entry.cluster)

    def _bound_time(self) -> None:
        """The time of the whole exchange counts from the end of its head, wherever that was read."""
        total = self.runtime.timeouts.total
        if total:
            total = max(total - (trio.current_time() - self.began), TICK)
        self.connection.timer.bound(total, "total")

    def _check_size(self) -> None:
        limit = self.runtime.limits.max_body_size
        if limit and self.request.content_length > limit:
            raise ClientError(
                f"request body is {self.request.content_length} bytes, limit {limit} (limits.max_body_size)",
                status=413,
            )

    def _find_route(self) -> RouteEntry:
        entry = find_route(self.runtime.router, self.request)
        if entry is None:
            raise UpstreamError("no route matches the request", status=404)
        self.cdata.moved = 0  # until now plugins could lead it anywhere
        self._take_route(entry)
        return entry

    def _take_route(self, entry: RouteEntry, *, moved: bool = False) -> None:
        known, self.entry = self.entry, entry
        self.cdata.route = entry.name_text
        if self.story is not None and entry is not known:
            self.story.route(entry, moved=moved)

    def _moved_to(self, entry: RouteEntry) -> RouteEntry | None:
        try:
            moved = moved_to(self.runtime.router, self.cdata, entry)
        except PluginReroute as error:
            self._note_fault(error)
            raise
        if moved is not None:
            self._take_route(moved, moved=True)
        return moved

    async def _ask(self, run: ChainRun, begun: Handover | None = None) -> int:
        """Run the request hooks that are left; CONTINUE or ANSWER."""
        if run is not self.chain_run:
            self._take_run(run)
        if self.story is not None:
            self.story.mark()
        step = run.request() if begun is None else run.see_to(begun.step)
        return step if step <= ANSWER else await self.go_on(step, run.request, self._collect_request_body)

    def take_over(self, begun: Handover) -> None:
        """What the fast path has decided, and the plugins that it has asked, are this exchange's."""
        self.entry = begun.entry
        if begun.entry is not None and begun.entry.chain.pools:
            self._take_run(ChainRun(begun.entry.chain, self.cdata, trio.current_time, begun=True))
        self.upstream = begun.upstream
        self.endpoint = begun.endpoint
        if self.endpoint is not None:
            self.tries = 1
        stream = begun.stream
        if stream is not None and stream.is_response:
            self._take_response(stream)

    def _take_response(self, stream: Stream) -> None:
        """The head of the response has been sent, and the body so far."""
        self.head_sent = True
        self.status = self.cdata.response.status
        connection = self.connection
        if connection.client_options is None:
            connection.make_options()
        options = connection.client_options
        options.body = _CHUNKED if stream.chunked else stream.body.kind
        options.close = options.body == _CLOSE
        if connection.line is not None:
            connection.line.sent = stream.body.received

    def _take_run(self, run: ChainRun) -> None:
        self.chain_run = run
        run.on_fault = self._note_fault
        run.on_verdict = self.story.verdict if self.story is not None else None
        run.left = self.runtime.chain_timeout

    async def go_on(self, step: int, again: Callable[[], int], collect: Callable[[], Awaitable[None]]) -> int:
        """Do what the chain waits for until it has come to an end; returns CONTINUE or ANSWER."""
        run = self.chain_run
        assert run is not None
        while step > ANSWER:
            if step == PENDING:
                step = await drive(run, self.context.turns, self.connection.stream)
            else:
                if step == NEED_BODY:
                    await collect()
                    run.body_ready = True
                else:
                    assert step == NEED_INSTANCE
                    await wait_for_instance(run)
                if self.story is not None:
                    self.story.mark()
                step = again()
        return step

    def _note_fault(self, error: PluginError) -> None:
        if self.connection.line is not None:
            self.connection.line.failed(error)
        skipped = self.runtime.fails_open(error.plugin) and not isinstance(error, PluginReroute)
        outcome = "skipped" if skipped else f"answered {error.status_hint}" if not self.head_sent else ""
        if self.story is not None:
            self.story.fault(error, outcome)
        if isinstance(error, PluginSuspended) and self.chain_run is not None and self.chain_run.left > 0:
            return  # in quarantine: that was said once
        self.context.counters.plugin_faults += 1
        route = self.entry.name.decode() if self.entry is not None else ""
        self.context.faults.note(error, request_id=self.request_id, route=route, outcome=outcome)

    @property
    def request_id(self) -> str:
        octets: bytes = ffi.buffer(lib.blitz_exchange_id(self.cdata), 32)[:]
        return octets.decode()

    async def _collect_request_body(self) -> None:
        run, body = self.chain_run, self.body
        assert run is not None
        if body is None:
            return
        limit, must_have_all = run.wanted_body_size(response=False)
        if self.collected is None:
            await self.say_continue()
            self.collected = await collect(body, limit)
            if self.story is not None:
                self.story.collected("request body", len(self.collected), whole=body.done)
        self.lend_body(self.collected, limit, complete=body.done)
        if self.cdata.body_truncated and must_have_all:
            raise ClientError(f"request body is over the plugin's max_body of {limit} bytes", status=413)

    def lend_body(self, data: bytes, limit: int, *, complete: bool) -> None:
        """Let guests see *data*, at most *limit* bytes of it; keep it alive while they may."""
        cdata = self.cdata
        cdata.body.ptr = ffi.from_buffer("uint8_t[]", data)
        cdata.body.len = min(len(data), limit)
        cdata.body_truncated = not complete or len(data) > limit

    async def say_continue(self) -> None:
        """Ask the client for the body it is holding back (RFC 9110 section 10.1.1)."""
        assert self.body is not None
        if self.expects_continue and not self._continue_sent and not self.body.done and self.request.minor:
            self._continue_sent = True
            await self.connection.send(CONTINUE_HEAD)

    # -- the answer

    def answer_options(self, kind: int, content_length: int) -> Any:
        """Options for the answer's head: framing for this client, and whether the connection stays."""
        request = self.request
        options = self.connection.client_options
        if kind in (_CHUNKED, _CLOSE):
            kind = _CHUNKED if request.minor else _CLOSE
        if self.body is not None and not self.body.done and self.upload is None:
            self.body.buffered()  # what came along may complete it
        read = self.request_read()
        close = not read or kind == _CLOSE or not request.flags & _KEEP_ALIVE or self.context.draining
        self.must_linger = not read
        options.body = kind
        options.content_length = content_length
        options.close = close
        options.keep_alive_10 = not close and not request.minor
        options.keep_length = kind == _NONE
        options.first_is_last = 0
        self.context.tell_date(options)
        return options

    def permit_upgrade(self) -> bool:
        """May the client switch to what its Upgrade names? If not, it is a request like any other."""
        protocol = (field_value(self.request, b"upgrade") or b"").lower()
        self.protocol = protocol if protocol in self.runtime.upgrades else b""
        return bool(self.protocol)

    def wait_first_byte(self) -> None:
        """The answer is awaited: its deadline counts from the request's last byte, which may still be coming.

        While it is, the upload's own deadlines bound the wait.
        """
        self.awaiting_answer = True
        uploading = self.upload is not None and not self.upload.finished
        self.connection.timer.arm(0 if uploading else self.runtime.timeouts.first_byte, "first byte")

    def upload_finished(self) -> None:
        """From now on the wait, if there is one, is the upstream's."""
        if self.awaiting_answer:
            self.connection.timer.arm(self.runtime.timeouts.first_byte, "first byte")

    def request_read(self) -> bool:
        """The whole request has come in, and went on if it goes anywhere."""
        return self.body is None or (self.body.done and (self.upload is None or self.upload.finished))

    async def _fail(self, error: BlitzError) -> bool:
        """Answer with the error's status; the connection may go on."""
        if self.connection.line is not None:
            self.connection.line.failed(error)
        if isinstance(error, UpstreamError):
            self.context.counters.upstream_errors += 1
        self.drop_upstream()
        log_error_answer(self, error.status_hint, error)
        self._answer_body = build_answer(self.cdata, error.status_hint, None)
        return await self._answer(error)

    async def _answer_as_last_hop(self) -> bool:
        """Answer OPTIONS for ourselves; TRACE is not offered, it would show fields to a script."""
        status = 200 if self.method == b"OPTIONS" else 405
        if status != 200:
            error = ClientError("TRACE that ends here, by Max-Forwards, is not answered", status=status)
            if self.connection.line is not None:
                self.connection.line.failed(error)
            log_error_answer(self, status, error)
        self._answer_body = build_answer(self.cdata, status, b"" if status == 200 else None)
        lib.blitz_head_add(self.cdata.response, b"allow", 5, ALLOW, len(ALLOW))
        return await self._answer(None)

    async def _answer_from_plugin(self) -> bool:
        line, run = self.connection.line, self.chain_run
        if line is not None and run is not None:
            line.plugin = run.pending_plugin
        text = self.cdata.new_body
        self._answer_body = ffi.buffer(text.ptr, text.len)[:] if text.len else b""
        self.cdata.body_edited = 0
        return await self._answer(None)

    async def _answer(self, error: BlitzError | None) -> bool:
        """Send the answer that is in ``cdata.response`` and ``_answer_body``, plugins asked first."""
        if self.chain_run is not None and self.chain_run.left > 0:
            try:
                await self._ask_about_own_answer(self.chain_run)
            except PluginError as exc:
                if error is not None:
                    raise InternalError("a plugin failed on an error answer") from exc
                self.cdata.body_edited = 0
                log_error_answer(self, exc.status_hint, exc)
                self._answer_body = build_answer(self.cdata, exc.status_hint, None)
        return await self.send_whole()

    async def _ask_about_own_answer(self, run: ChainRun) -> None:
        run.begin_response()
        run.body_ready = True
        self.lend_body(self._answer_body, len(self._answer_body), complete=True)
        if self.story is not None:
            self.story.mark()
        step = run.response()
        if step != CONTINUE:
            await self.go_on(step, run.response, _nothing)

    async def send_whole(self) -> bool:
        """Send ``cdata.response`` with a body that we hold whole; True when the connection stays."""
        cdata = self.cdata
        response = cdata.response
        data = self._answer_body
        if cdata.body_edited:
            data = ffi.buffer(cdata.new_body.ptr, cdata.new_body.len)[:] if cdata.new_body.len else b""
        status = response.status
        if status in CONTENTLESS:
            data = b""
        options = self.answer_options(_NONE if status in BODILESS else _LENGTH, len(data))
        close = options.close
        first = b"" if self.method == b"HEAD" else data
        options.first_is_last = len(first) == len(data)
        size = self.context.write_head(response, options, ffi.from_buffer("uint8_t[]", first), len(first))
        if self.connection.line is not None:
            self.connection.line.sent = len(first)
        await self.begin_answer(status, size)
        return not close

    async def begin_answer(self, status: int, size: int) -> None:
        """Send the first *size* bytes of the scratch buffer: the final head, and what comes with it.

        Raises trio.BrokenResourceError; ``status`` says whether the client has been told anything.
        """
        self.head_sent = True
        data = self.context.scratch.view[:size]
        sent = self.connection.stream.send_nowait(data)
        self.status = status
        if sent < size:
            await self.connection.send_rest(memoryview(bytes(data[sent:])))

    # -- ends

    def late(self, what: str) -> BlitzError | None:
        """The connection's deadline passed while this exchange waited for *what*."""
        if self.head_sent:
            return None
        if what == "request body":
            return ClientError("request body stalled", status=408)
        if what == "total":
            return UpstreamError("exchange took too long (timeouts.total)", status=504, cause="deadline")
        if self.upstream is not None:
            return UpstreamError(f"{self.upstream.endpoint.address}: {what} took too long", status=504)
        return ClientError(f"{what} took too long", status=408)

    def drop_upstream(self) -> None:
        """The upstream connection cannot be used again; whoever sends on it stops."""
        if self.upload is not None:
            self.upload.stop()
        if self.upstream is not None:
            self.upstream.close()
            self.upstream = None

    def close(self) -> None:
        """Give everything back but ``cdata``."""
        self.drop_upstream()
        if self.chain_run is not None:
            self.chain_run.close()
            self.chain_run = None
        body, upload = self.body, self.upload
        if body is not None:
            self.connection.surplus = body.surplus
            if upload is None or not upload.takes_body():
                body.close()
        # Body and upload know this object: cycles would keep their buffers until the collector comes.
        self.body = self.upload = None
        self.runtime.users -= 1


async def _nothing() -> None:
    return
