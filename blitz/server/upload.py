"""The rest of a request body on its way to the upstream, while the response may already be coming."""

from __future__ import annotations

from typing import TYPE_CHECKING

import trio

from blitz._native import lib
from blitz.errors import BlitzError, ClientError, ClientGone, UpstreamError

from .body_stream import IncomingBody, Readable
from .deadline import Timer
from .rate import too_slow
from .upstream import SENDING

if TYPE_CHECKING:
    from collections.abc import Callable

    from .deadline import DeadlineWheel
    from .upstream import Upstream

__all__ = ["Upload", "failure"]


class Upload:
    """Runs as a task beside the exchange (``Downstream.start_soon``); never raises.

    Attributes:
        finished: the whole body was sent.
        error: what ended it early; the upstream was aborted then, so that whoever waits for the response
            wakes up and finds this.
    """

    __slots__ = (
        "_body",
        "_closes_body",
        "_ended",
        "_on_finished",
        "_scope",
        "_timer",
        "_unsent",
        "_upstream",
        "error",
        "finished",
    )

    def __init__(
        self,
        wheel: DeadlineWheel,
        body: Readable,
        upstream: Upstream,
        on_finished: Callable[[], object],
        unsent: bytes = b"",
    ) -> None:
        """*unsent*: what goes before the rest of the body, as it is."""
        self._unsent = unsent
        self._body = body
        self._upstream = upstream
        self._on_finished = on_finished
        self._scope = trio.CancelScope()
        self._timer = Timer(wheel, self._scope.cancel)
        self._closes_body = False
        self._ended = False
        self.finished = False
        self.error: BlitzError | None = None

    def takes_body(self) -> bool:
        """The exchange needs its body no more. True when the task still reads into it, and closes it then."""
        self._closes_body = not self._ended
        return self._closes_body

    async def run(self) -> None:
        try:
            with self._scope:
                try:
                    await trio.lowlevel.checkpoint_if_cancelled()  # both streams may be closed by now
                    await self._pump()
                    self.finished = True
                except BlitzError as exc:
                    self._fail(exc)
                except (trio.BrokenResourceError, trio.ClosedResourceError):
                    self._fail(_gone())
                except trio.BusyResourceError:
                    # Woken and stopped in one pass, it comes to its next wait before the cancellation does;
                    # whoever stopped it may read the client already.
                    if not self._scope.cancel_called:
                        raise
        finally:
            self._ended = True
            self._timer.disarm()
            if self._closes_body:
                self._body.close()
        if self._scope.cancelled_caught and self._timer.expired:
            self._fail(self._late())
        if self.finished:
            self._on_finished()

    def _late(self) -> BlitzError:
        return _untaken(self._upstream) if self._timer.what == SENDING else _stalled()

    def stop(self) -> None:
        """The response is over or failed: nobody needs the rest."""
        self._scope.cancel()

    async def _pump(self) -> None:
        body, upstream = self._body, self._upstream
        body.use_timer(self._timer)
        if self._unsent:
            await upstream.send_rest(self._unsent, self._timer)
        takes = not isinstance(body, IncomingBody) or await upstream.splice(body, self._timer)
        while takes and not body.done:
            start, end = await body.next_part()
            assert body.part is not None
            takes = await upstream.send_part(body.part, start, end, last=body.done, timer=self._timer)
        if not takes:
            # It may have responded early: whoever reads its response will tell.
            self._timer.disarm()
            await trio.sleep_forever()

    def _fail(self, error: BlitzError) -> None:
        self.error = error
        self._upstream.abort()


def failure(body: IncomingBody, upstream: Upstream, code: int) -> BlitzError | None:
    """What ended a request's body on the fast path, BLITZ_BODY_* or BLITZ_STREAM_*; None: it goes on here."""
    if code in (0, lib.BLITZ_STREAM_SINK):
        return None
    if code == lib.BLITZ_STREAM_SOURCE:
        return _gone()
    if code == lib.BLITZ_STREAM_STALLED:
        return _stalled()
    if code == lib.BLITZ_STREAM_UNTAKEN:
        return _untaken(upstream)
    if code == lib.BLITZ_STREAM_SLOW:
        assert body.rate is not None
        return too_slow(int(body.rate.cdata.owed))
    return body.reader.failure(code)


def _gone() -> BlitzError:
    return ClientGone("client connection broke in the request body")


def _stalled() -> BlitzError:
    return ClientError("request body stalled", status=408)


def _untaken(upstream: Upstream) -> BlitzError:
    address = upstream.endpoint.address
    return UpstreamError(f"{address}: took none of the request body for too long", status=504)
