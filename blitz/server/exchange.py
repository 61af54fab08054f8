"""One exchange: all that is known of a request and its response while they are on their way.

The steps stand elsewhere, in the order of the way: ``run_exchange.py``, ``ask_plugins.py``,
``send_request.py``, ``send_response.py``, and ``send_local.py`` for local responses. The client is behind the
downstream door (``downstream.py``), the upstream behind another one (``upstream.py``).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import trio

from blitz._native import ffi, lib
from blitz.builtin.message import Message
from blitz.errors import BlitzError, ClientError, PluginError, PluginReroute, PluginSuspended, UpstreamError
from blitz.filters import FilterRun
from blitz.http.body import BodyReader, body_reader
from blitz.http.heads import span_bytes
from blitz.http.rules import field_value

from .rate import MinRate
from .route_rules import rule_response
from .upstream import reset_in_body

if TYPE_CHECKING:
    from .access import AccessLine
    from .body_stream import IncomingBody, Parts
    from .downstream import Downstream
    from .endpoint import Endpoint
    from .handover import Handover
    from .resources import Resources
    from .runtime import RouteEntry
    from .story import Story
    from .upload import Upload
    from .upstream import Upstream

__all__ = ["Exchange"]

_NONE = lib.BLITZ_BODY_NONE
_CHUNKED = lib.BLITZ_BODY_CHUNKED
_EXPECT = lib.BLITZ_HEAD_EXPECT_CONTINUE


class Exchange:
    """All mutable state of one request and its response.

    Attributes:
        downstream: the client's side.
        cdata: cffi ``blitz_exchange *``, ours until ``close``.
        method, target: of the request as the client sent it.
        peer: the client; behind a trusted proxy it may be another one for each request.
        body: the request's body; None when it has none.
        collected: what of the body a plugin made us collect.
        chain_run: its way through the filters; None without any.
        request_parts, response_parts: the bodies as plugins leave them that see their parts; None: none does.
        guests: held by whoever runs one of its guests; None: only one thing at a time does.
        upstream: the try that runs.
        endpoint: the last one that was tried; tries: how many times one was.
        upload: the task that sends the rest of the body.
        began: when, in trio's time: the head was complete.
        awaiting_response: the upstream's final head has not come yet.
        told_interim: the client has got an interim response of the upstream's.
        head_sent: the final response has begun; no error response is possible any more.
        status: of the final response, once the client has been told any of it.
        message: what filters of the gateway's own know of it; None: none has looked.
        line: what is counted and logged of it; None where nobody does.
        story: tells the log what happens; None: nobody reads it.
        protocol: that the client asked to switch to, if it may; lower case.
    """

    __slots__ = (
        "_continue_sent",
        "awaiting_response",
        "began",
        "body",
        "cdata",
        "chain_run",
        "collected",
        "downstream",
        "endpoint",
        "entry",
        "expects_continue",
        "guests",
        "head_sent",
        "line",
        "message",
        "method",
        "peer",
        "protocol",
        "request",
        "request_parts",
        "resources",
        "response_parts",
        "runtime",
        "status",
        "story",
        "target",
        "told_interim",
        "tries",
        "upload",
        "upstream",
    )

    def __init__(
        self, resources: Resources, downstream: Downstream, cdata: Any, begun: Handover | None = None
    ) -> None:
        self.downstream = downstream
        self.began = begun.began if begun is not None and begun.began else trio.current_time()
        self.resources = resources
        begun_on = begun.runtime if begun is not None else None
        self.runtime = runtime = begun_on or resources.runtime
        runtime.users += 1
        self.cdata = cdata
        self.request = request = cdata.request
        peer = begun.peer if begun is not None else None
        self.peer = peer = peer or downstream.client_of(request)
        cdata.peer = peer.struct
        cdata.chosen_by = runtime.chosen_by
        if begun is None:
            self.method = span_bytes(request, request.method)
            self.target = span_bytes(request, request.target)
        else:
            self.method, self.target = begun.method, begun.target
        self.expects_continue = bool(request.flags & _EXPECT)
        self._continue_sent = False
        self.collected: bytes | None = None
        self.body = self._incoming(request, begun)
        self.chain_run: FilterRun | None = None
        self.request_parts: Parts | None = None
        self.response_parts: Parts | None = None
        self.guests: trio.Lock | None = None
        self.entry: RouteEntry | None = None
        self.upstream: Upstream | None = None
        self.endpoint: Endpoint | None = None
        self.tries = 0
        self.told_interim = False
        self.upload: Upload | None = None
        self.awaiting_response = False
        self.head_sent = False
        self.protocol = b""
        self.status = 0
        self.line: AccessLine | None = None
        self.message: Message | None = None
        self.story: Story | None = None

    def _incoming(self, request: Any, begun: Handover | None) -> IncomingBody | None:
        """The request's body as the client sent it, whatever plugins have set since; None: it has none."""
        found = begun if begun is not None and begun.decided else None
        if (found is not None and found.body is None) or (found is None and request.body == _NONE):
            return None
        limits, timeouts = self.runtime.limits, self.runtime.timeouts
        owes = limits.min_body_rate and timeouts.body_grace
        rate = MinRate(limits.min_body_rate, timeouts.body_grace) if owes else None
        if rate is not None and found is not None:
            rate.cdata = found.body_rate
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
        body = self.downstream.body(reader, rate)
        body.received = reader.received
        return body

    @property
    def request_id(self) -> str:
        octets: bytes = ffi.buffer(lib.blitz_exchange_id(self.cdata), 32)[:]
        return octets.decode()

    @property
    def spent_ns(self) -> tuple[int, int]:
        """Nanoseconds that hooks took so far, and upstreams. What one has not said by now comes no more."""
        lib.blitz_exchange_answered(self.cdata)
        return int(self.cdata.chain.hooks_ns), int(self.cdata.upstream_ns)

    # -- decisions

    def as_message(self) -> Message:
        """The request, as filters of the gateway's own see and change it."""
        if self.message is None:
            self.message = Message(self.cdata, self.peer.address, self.peer.client_scheme)
        return self.message

    def take_over(self, begun: Handover) -> None:
        """What the fast path has decided, and the plugins and the endpoint that it has asked, are this
        exchange's."""
        entry, stream = begun.entry, begun.stream
        if entry is None:
            return
        if begun.collected is not None and not begun.answer_size:
            self.collected = begun.collected
            if not self.cdata.body_edited:
                complete = self.body is not None and self.body.done
                self.lend_body(begun.collected, len(begun.collected), complete=complete)
        self.entry = entry if not entry.is_before else None
        if begun.identity is not None:
            self.as_message().know(begun.identity.name, begun.identity.facts)
        if entry.filter.wants:
            self.take_run(entry.filter.begin(self.cdata, trio.current_time, begun=True))
        if begun.upstream is not None:
            received = None if stream is not None and stream.is_response else begun.answer
            chunked = stream is not None and stream.chunked
            upstreams = self.resources.upstreams
            self.upstream = upstreams.adopt(begun.upstream, received, begun.answer_size, chunked=chunked)
        self.endpoint = begun.endpoint
        if self.endpoint is not None:
            self.tries = 1
        if stream is not None and stream.is_response:
            self.head_sent = True
            self.status = self.cdata.response.status
            kind = lib.blitz_body_framing(stream.body.kind, self.request.minor)
            self.downstream.take_head(kind, keeps=not stream.closes)
            if self.line is not None:
                self.line.sent = stream.body.received

    def take_route(self, entry: RouteEntry, *, moved: bool = False) -> None:
        """*entry* is the route; *moved*: plugins have led it there."""
        known, self.entry = self.entry, entry
        self.cdata.route = entry.name_text
        if self.story is not None and entry is not known:
            self.story.route(entry, moved=moved)

    def hide_target(self, target: bytes) -> None:
        """Logs show *target*: the client's holds a secret."""
        self.target = target
        if self.line is not None:
            self.line.hide_target(target)

    @property
    def identity(self) -> str:
        """Who the client is, as ``auth`` of the route has found; "": nobody knows."""
        return self.message.identity if self.message is not None else ""

    def finish_response(self) -> None:
        """What filters of the gateway's own tell the client is in ``cdata.response``."""
        if self.message is not None and self.entry is not None and self.entry.own is not None:
            self.entry.own.finish(self.message, self.cdata.response)

    def take_run(self, run: FilterRun) -> None:
        """*run* is the plugins' way."""
        self.chain_run = run
        run.on_fault = self.note_fault
        run.on_verdict = self.story.verdict if self.story is not None else None
        run.left = self.runtime.chain_timeout

    def permit_upgrade(self) -> bool:
        """May the client switch to what its Upgrade names? If not, it is a request like any other."""
        protocol = (field_value(self.request, b"upgrade") or b"").lower()
        self.protocol = protocol if protocol in self.runtime.upgrades else b""
        return bool(self.protocol)

    # -- the request's body

    async def say_continue(self) -> None:
        """Ask the client for the body it is holding back (RFC 9110 section 10.1.1), once."""
        assert self.body is not None
        if self.expects_continue and not self._continue_sent and not self.body.done:
            self._continue_sent = True
            await self.downstream.send_continue()

    def lend_body(self, data: bytes, limit: int, *, complete: bool) -> None:
        """Let guests see *data*, at most *limit* bytes of it; keep it alive while they may."""
        cdata = self.cdata
        cdata.body.ptr = ffi.from_buffer("uint8_t[]", data)
        cdata.body.len = min(len(data), limit)
        cdata.body_truncated = not complete or len(data) > limit

    def is_request_read(self) -> bool:
        """The whole request has come in, and went on if it goes anywhere."""
        return self.body is None or (self.body.done and (self.upload is None or self.upload.finished))

    # -- the response

    def wait_first_byte(self) -> None:
        """The response is awaited: its deadline counts from the request's last byte, which may be to come.

        While it is, the upload's own deadlines bound the wait.
        """
        self.awaiting_response = True
        uploading = self.upload is not None and not self.upload.finished
        self.downstream.timer.arm(0 if uploading else self._first_byte, "first byte")

    def upload_finished(self) -> None:
        """From now on the wait, if there is one, is the upstream's."""
        if self.awaiting_response:
            self.downstream.timer.arm(self._first_byte, "first byte")

    @property
    def _first_byte(self) -> float:
        return self.entry.first_byte if self.entry is not None else self.runtime.timeouts.first_byte

    def rule_response(self) -> None:
        """The route's edits of the response in ``cdata``, which goes to the client now."""
        if self.entry is not None and self.entry.rules:
            rule_response(self.entry.rules, self.cdata)

    def frame(self) -> bool:
        """``Downstream.frame`` for the response in ``cdata``."""
        return self.downstream.frame(self.cdata.response, request_read=self._is_request_over())

    def frame_local(self, size: int) -> int:
        """``Downstream.frame_local`` for the response in ``cdata``."""
        return self.downstream.frame_local(self.cdata.response, size, request_read=self._is_request_over())

    def _is_request_over(self) -> bool:
        if self.body is not None and not self.body.done and self.upload is None:
            self.body.buffered()  # what came along may complete it
        return self.is_request_read()

    async def send_head(self, first: Any, size: int, *, last: bool) -> None:
        """Begin the final response, which is in ``cdata.response``, as ``Downstream.send_head_nowait``.

        Raises trio.BrokenResourceError; ``status`` says whether the client has been told anything.
        """
        response = self.cdata.response
        self.head_sent = True
        sent = self.downstream.send_head_nowait(response, first, size, last=last)
        self.status = response.status
        if not sent:
            await self.downstream.flush()

    # -- ends

    def note_fault(self, error: PluginError) -> None:
        """A plugin has failed, whatever its policy does with that."""
        skipped = self.runtime.fails_open(error.plugin) and not isinstance(error, PluginReroute)
        self._note_fault(error, "skipped" if skipped else self._answered(error))

    def note_cut(self, error: PluginError) -> None:
        """A plugin has failed on a part of a body, which ends there."""
        self._note_fault(error, self._answered(error) or "the body was cut off")

    def _answered(self, error: PluginError) -> str:
        return f"answered {error.status_hint}" if not self.head_sent else ""

    def _note_fault(self, error: PluginError, outcome: str) -> None:
        if self.line is not None:
            self.line.failed(error)
        if self.story is not None:
            self.story.fault(error, outcome)
        if isinstance(error, PluginSuspended) and self.chain_run is not None and self.chain_run.left > 0:
            return  # in quarantine: that was said once
        self.resources.counters.plugin_faults += 1
        route = self.entry.name.decode() if self.entry is not None else ""
        self.resources.faults.note(error, request_id=self.request_id, route=route, outcome=outcome)

    def late(self, what: str) -> BlitzError | None:
        """The client's deadline passed while this exchange waited for *what*."""
        if self.head_sent:
            return None
        if what == "request body":
            return ClientError("request body stalled", status=408)
        if what == "total":
            return UpstreamError("exchange took too long (timeouts.total)", status=504, cause="deadline")
        if self.upstream is not None:
            if what == "first byte":
                self.upstream.endpoint.failed()
            return UpstreamError(f"{self.upstream.endpoint.address}: {what} took too long", status=504)
        return ClientError(f"{what} took too long", status=408)

    def why_aborted(self) -> BlitzError:
        """The upstream's connection was closed under whoever reads it."""
        # Only the upload does that; its error is the cause.
        assert self.upload is not None
        assert self.upload.error is not None
        return self.upload.error

    def why_cut(self, exc: Exception) -> BlitzError:
        """What it means that the upstream's side broke in the response's body."""
        return self.why_aborted() if isinstance(exc, trio.ClosedResourceError) else reset_in_body()

    def drop_upstream(self) -> None:
        """The upstream connection cannot be used again; whoever sends on it stops."""
        if self.upload is not None:
            self.upload.stop()
        lib.blitz_exchange_answered(self.cdata)
        if self.upstream is not None:
            self.upstream.release(clean=False)
            self.upstream = None

    def close(self) -> None:
        """Give everything back but ``cdata``."""
        self.drop_upstream()
        incoming, outgoing = self.request_parts, self.response_parts
        self.request_parts = self.response_parts = None
        if incoming is not None:
            incoming.stop()
        if outgoing is not None:
            outgoing.close()
        if self.chain_run is not None:
            if self.line is not None and self.line.cause:
                self.chain_run.cause = self.line.cause
            self.chain_run.close()
            self.chain_run = None
        body, upload = self.body, self.upload
        if body is not None:
            self.downstream.body_ended(body.surplus)
            if upload is None or not upload.takes_body():
                (incoming or body).close()
            if incoming is not None and incoming.raw is not body:
                body.close()
        elif incoming is not None and (upload is None or not upload.takes_body()):
            incoming.close()
        # Body and upload know this object: cycles would keep their buffers until the collector comes.
        self.body = self.upload = None
        self.runtime.users -= 1
