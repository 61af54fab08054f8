"""What the fast path reports, as objects of the general path: a handover, an access line, a connection."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import trio

from blitz._native import ffi, lib
from blitz.http.buffer import Buffer

from .access import AccessLine
from .ends import note_broken
from .handover import Handover, Stream

if TYPE_CHECKING:
    from .fast_tables import FastTables

__all__ = ["FastReports"]


class FastReports:
    """Reads reports (cffi ``blitz_fast_report *``) of the fast path of *tables*."""

    __slots__ = ("_context", "_tables")

    def __init__(self, tables: FastTables) -> None:
        self._tables = tables
        self._context = tables.context

    def handover(self, report: Any) -> Handover:
        """Where its exchange stops; what stood in its slot is the connection's."""
        parked = self._tables.parked[report.fd]
        connection = parked.connection
        connection.buffer, cdata = self._tables.slots.take(report)
        connection.buffer.start = report.size
        connection.busy = True
        asked = report.line
        method, target = _bytes(asked.method), _bytes(asked.target)
        connection.line = self._line(report, method, target)
        self._tell_answer(connection.line, report)
        if report.route == ffi.NULL and not report.is_local:
            return Handover(cdata, method, target, began=report.began)
        entry = self._tables.entries[report.route.id] if report.route != ffi.NULL else None
        begun = Handover(
            cdata,
            method,
            target,
            entry,
            parked.peer,
            report.step,
            answer_size=report.answer_size,
            failed=report.failed,
            is_local=bool(report.is_local),
            error=self._tables.failed(report),
            began=report.began,
            runtime=self._context.runtime,
            identity=parked.identity,
        )
        if report.request_body != ffi.NULL:
            begun.body = ffi.new("blitz_body *", report.request_body[0])
            begun.body_rate = ffi.new("blitz_rate *", report.rate[0])
        if report.upstream >= 0:
            begun.upstream = self._tables.upstream(report, report.upstream)
            begun.endpoint = begun.upstream.endpoint
        if report.answer_read:
            begun.answer = self._copy(report.answer, report.answer_got)
            if report.answer_size:
                begun.answer_body = ffi.new("blitz_body *", report.body_state[0])
        unsent = ffi.buffer(report.unsent, report.n_unsent)[:] if report.n_unsent else b""
        if report.stream:
            assert entry is not None and entry.cluster is not None
            begun.endpoint = entry.cluster.endpoints[report.endpoint]
            body = ffi.new("blitz_body *", report.body_state[0])
            is_response = report.stream == lib.BLITZ_STREAM_RESPONSE
            begun.stream = Stream(
                is_response, body, bool(report.chunked), bool(report.closes), unsent, report.failed
            )
        else:
            begun.unsent = unsent
        return begun

    def _copy(self, ptr: Any, size: int) -> Buffer:
        """What of a response is here, in a buffer of the general path's."""
        buffers = self._context.buffers
        buffer = buffers.take()
        if size > buffer.size:
            buffers.give(buffer)
            buffer = Buffer(size)
        ffi.memmove(buffer.ptr, ptr, size)
        buffer.end = size
        return buffer

    def close_unfit(self, report: Any) -> None:
        """An upstream connection has not ended its response as it should."""
        upstream = self._tables.upstream(report, report.unfit)
        if report.unfit_why == lib.BLITZ_UNFIT_LOOK:
            upstream.close_unfit()
            return
        if report.unfit_why == lib.BLITZ_UNFIT_UNASKED:
            upstream.endpoint.note_unasked()
        upstream.close()

    def _line(self, report: Any, method: bytes, target: bytes) -> AccessLine:
        """The access line of the exchange in a report, begun."""
        found = report.line
        age = trio.current_time() - found.began
        line = AccessLine(self._context.access_log, method, target, f"1.{found.minor}", age=age)
        line.plugins_ns, line.upstream_ns = found.plugins_ns, found.upstream_ns
        identity = self._tables.parked[report.fd].identity
        if identity is not None:
            line.identity = identity.name.encode("utf-8", "replace")
        if not self._tables.face.logged:
            return line
        line.host, line.user_agent, line.referrer = map(
            _bytes, (found.host, found.user_agent, found.referrer)
        )
        return line

    def end_line(self, what: int, report: Any) -> None:
        """The exchange in a report has ended on the fast path, but for the rest of its answer: its line."""
        parked, found = self._tables.parked[report.fd], report.line
        line = self._line(report, _bytes(found.method), _bytes(found.target))
        line.sent = found.sent
        entry = line.entry = self._tables.entries[report.route.id] if report.route != ffi.NULL else None
        line.received = found.received
        self._tell_answer(line, report)
        if entry is not None and entry.cluster is not None and report.answered < 0:
            line.upstream = entry.cluster.endpoints[report.endpoint].name
            line.tries = 1
        if what == lib.BLITZ_FAST_BROKEN:
            note_broken(line)
        line.known = (ffi.buffer(found.id)[:].decode(), parked.peer, found.status)
        if what == lib.BLITZ_FAST_UNSENT:
            parked.connection.line = line
        else:
            line.write(*line.known)

    def _tell_answer(self, line: AccessLine, report: Any) -> None:
        """Where a response of our own comes from."""
        if report.answered >= 0:
            line.plugin = self._tables.entries[report.route.id].chain.pools[report.answered].name
        failed = self._tables.failed(report)
        if failed is not None:
            line.failed(failed)

    def see_to_pools(self, report: Any) -> None:
        """Instances have come back that are worn, or that somebody waits for."""
        for pool in self._tables.entries[report.route.id].chain.pools:
            pool.see_to_returned()


def _bytes(text: Any) -> bytes:
    """What a cffi ``blitz_text`` points to."""
    octets: bytes = ffi.buffer(text.ptr, text.len)[:] if text.len else b""
    return octets
