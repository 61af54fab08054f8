"""The parts of one body on their way through plugins, as a machine that never waits.

Theory of operation. Each plugin of the pipeline is a stage, with one part at most that waits for it. The last
stage that has something to do goes first, so what one gives back is through all that come behind it before it
sees more: memory is one part for each stage, whatever the body's length. A guest gets pieces of at most
``blitz_part_room`` bytes of a part, and is under the same slices, deadlines and faults as in other hooks.

What comes out is copied into ``sink``; while all of a part has passed unchanged it is left where it is, and
``out`` is the fed buffer itself. Whoever drives it feeds a part, calls ``go``, and does what that says::

    FED       it wants the next part; after the last one, everything is out
    OUT       ``out[start:end]`` goes on; then ``go`` again
    PENDING   as for a filter (``blitz/filters.py``)

A stage that fails ends the body, whatever the plugin's failure policy: a part of it has been changed, and the
rest would not be.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Protocol

from blitz._native import ffi, lib
from blitz.errors import PluginError, PluginSuspended, PluginTimeout, PluginVerdict
from blitz.filters import PENDING

from .logs import emit_log

if TYPE_CHECKING:
    from .instance import Instance
    from .plugin import PluginSpec
    from .pool import PluginPool

__all__ = ["FED", "OUT", "PENDING", "PartsRun", "Stage"]

FED, OUT = 0, 1
_LOGS, _BODY = lib.BLITZ_R_LOGS, lib.BLITZ_R_BODY
_V_MASK, _V_STOP, _V_ERROR = 3, lib.BLITZ_V_STOP, lib.BLITZ_V_ERROR
_HOOKS = {
    lib.BLITZ_PARTS_REQUEST: "process_request_chunk",
    lib.BLITZ_PARTS_RESPONSE: "process_response_chunk",
}
_HEADROOM, _TAILROOM = lib.BLITZ_PART_HEADROOM, lib.BLITZ_PART_TAILROOM
_NULL = ffi.NULL


class Buffer(Protocol):
    """See ``blitz/http/buffer.py``; ``ptr[start:end]`` is filled, with the room around it that parts have."""

    ptr: Any
    size: int
    start: int
    end: int


class Stage:
    """One plugin's place.

    Attributes:
        pool, index: the plugin, and its place in the exchange's chain.
        done: it wants to see no more, or has seen all.
        ptr, size, last: what waits for it; ptr None: nothing.
        kept: it lies in the buffer that was fed, unchanged so far.
    """

    __slots__ = ("done", "index", "kept", "last", "pool", "ptr", "size")

    def __init__(self, pool: PluginPool, index: int) -> None:
        self.pool = pool
        self.index = index
        self.done = False
        self.ptr: Any = None
        self.size = 0
        self.last = self.kept = False


class PartsRun:
    """See above, and ``Waited`` in ``blitz/filters.py``.

    Attributes:
        out, start, end: what OUT says.
        left: seconds that guests may still keep this part waiting.
    """

    __slots__ = (
        "_at",
        "_chain_timeout",
        "_exchange",
        "_fed",
        "_fed_start",
        "_last_came",
        "_most",
        "_now",
        "_on_fault",
        "_pending",
        "_sink",
        "_stages",
        "_unchanged",
        "_which",
        "changed",
        "end",
        "left",
        "out",
        "start",
    )

    def __init__(
        self,
        exchange: Any,
        which: int,
        stages: list[Stage],
        now: Callable[[], float],
        on_fault: Callable[[PluginError], object],
        timeout: float = math.inf,
    ) -> None:
        """
        Args:
            exchange: cffi ``blitz_exchange *``, whose chain holds the stages' instances.
            which: BLITZ_PARTS_REQUEST or BLITZ_PARTS_RESPONSE.
            stages: in the order in which the body passes them; one at least.
            on_fault: called with what ends the body, before it is raised.
            timeout: seconds that guests may keep one part waiting, all together.
        """
        self._exchange = exchange
        self._which = which
        self._stages = stages
        self._now = now
        self._on_fault = on_fault
        self._chain_timeout = self.left = timeout
        self._at: Stage | None = None
        self._last_came = False
        self._sink: Buffer | None = None
        self._fed: Buffer | None = None
        self._fed_start = self._unchanged = self._most = 0
        self._pending: list[tuple[Any, int]] = []
        self.changed = False
        self.out: Any = None
        self.start = self.end = 0

    @property
    def ended(self) -> bool:
        """Nothing comes behind what OUT has told; after FED: nothing comes."""
        return self._last_came and not self._pending

    @property
    def passes(self) -> bool:
        """No stage wants to see more: what comes may pass by."""
        return all(stage.done and stage.ptr is None for stage in self._stages)

    @property
    def changes(self) -> bool:
        """A stage may change what passes."""
        return any(stage.pool.native.changes & self._which for stage in self._stages)

    # -- parts

    def feed(
        self, ptr: Any, size: int, *, last: bool, buffer: Buffer | None, start: int, sink: Buffer
    ) -> None:
        """Take the next part; only after FED.

        Args:
            ptr, size: (cffi ``uint8_t *``) stays as it is until the next FED.
            last: nothing follows.
            buffer, start: what it lies in, with the room around it that parts have; None: it has none.
            sink: where what is changed goes, until the next FED.
        """
        first = self._stages[0]
        first.ptr, first.size, first.last, first.kept = ptr, size, last, buffer is not None
        self._fed, self._fed_start, self._unchanged = buffer, start, 0
        self._sink = sink
        sink.start = sink.end = _HEADROOM
        self._most = sink.size - _TAILROOM
        self.left = self._chain_timeout

    def go(self) -> int:
        """Go on until something is to be done; see above. Raises PluginError."""
        if self.out is not None:
            self._forget_out()
        while True:
            if self._pending and not self._move():
                return self._give(self._sink)
            stage = self._next()
            if stage is None:
                break
            step = self._run(stage)
            if step == PENDING:
                return step
        if self._unchanged:
            return self._give_fed()
        sink = self._sink
        return self._give(sink) if sink is not None and sink.end > sink.start else FED

    def _next(self) -> Stage | None:
        for stage in reversed(self._stages):
            if stage.ptr is not None:
                return stage
        return None

    def _forget_out(self) -> None:
        if self.out is self._sink and self._sink is not None:
            self._sink.start = self._sink.end = _HEADROOM
        else:
            self._unchanged = 0
        self.out = None

    def _give(self, sink: Buffer | None) -> int:
        assert sink is not None
        self.out, self.start, self.end = sink, sink.start, sink.end
        return OUT

    def _give_fed(self) -> int:
        self.out, self.start, self.end = self._fed, self._fed_start, self._fed_start + self._unchanged
        return OUT

    def _move(self) -> bool:
        """What has come out goes into the sink, as far as it has room. True: all of it."""
        sink = self._sink
        assert sink is not None
        while self._pending:
            ptr, size = self._pending[0]
            fits = min(size, self._most - sink.end)
            ffi.memmove(sink.ptr + sink.end, ptr, fits)
            sink.end += fits
            if fits < size:
                self._pending[0] = (ptr + fits, size - fits)
                return False
            del self._pending[0]
        return True

    # -- stages

    def _run(self, stage: Stage) -> int:
        """Let the stage see a piece of what waits for it; PENDING, or anything else: go on."""
        if stage.done:
            ptr, size, kept = stage.ptr, stage.size, stage.kept
            self._came(stage, ptr, size, last=self._take(stage, size), kept=kept)
            return FED
        instance = self._exchange.chain.held[stage.index]
        if instance == _NULL:  # it failed in another hook
            raise self._gone(stage)
        size = self._piece(stage, instance)
        into, room = _NULL, 0
        sink = self._sink
        if stage is self._stages[-1] and not self._unchanged and sink is not None:
            into, room = sink.ptr + sink.end, self._most - sink.end
        self._at = stage
        end = stage.last and size == stage.size
        rc = lib.blitz_call_part(instance, self._exchange, self._which, stage.ptr, size, end, into, room)
        return self._settle(rc, size)

    @staticmethod
    def _piece(stage: Stage, instance: Any) -> int:
        return min(stage.size, int(lib.blitz_part_room(instance)))

    def _settle(self, rc: int, size: int) -> int:
        stage = self._at
        assert stage is not None
        if rc == lib.BLITZ_PENDING:
            return PENDING
        if rc < 0:
            raise self._failed(stage)
        self._at = None
        native = self._exchange.chain.held[stage.index]
        stage.pool.native.calls += 1
        if rc & _LOGS:
            self._log(stage)
        if rc & _V_MASK == _V_ERROR:
            stage.pool.failed(self._now())
            raise self._told(self._error(PluginVerdict, stage, f"failed in {self.hook}: it returned -1"))
        ptr, kept = stage.ptr, stage.kept
        last = self._take(stage, size)
        stage.done = stage.done or last or rc & _V_MASK == _V_STOP
        if rc & _BODY:
            out = lib.blitz_part_out(native)
            self._came(stage, out.ptr, out.len, last=last, kept=False)
        else:
            self._came(stage, ptr, size, last=last, kept=kept)
        return FED

    def _take(self, stage: Stage, size: int) -> bool:
        """*size* bytes are no longer waiting for it. True: they were the last of the body."""
        stage.size -= size
        if stage.size:
            stage.ptr += size
            return False
        stage.ptr = None
        return stage.last

    def _came(self, stage: Stage, ptr: Any, size: int, *, last: bool, kept: bool) -> None:
        """That came out of *stage*."""
        if stage is not self._stages[-1]:
            if size or last:
                behind = self._stages[self._stages.index(stage) + 1]
                behind.ptr, behind.size, behind.last, behind.kept = ptr, size, last, kept
            return
        self._last_came = last
        if not size:
            return
        sink = self._sink
        assert sink is not None
        if kept and sink.end == sink.start and not self._pending:
            self._unchanged += size  # it follows what has come out before, where it lies
            return
        if self._unchanged:
            assert self._fed is not None
            self._pending.append((self._fed.ptr + self._fed_start, self._unchanged))
            self._unchanged = 0
        if ptr == sink.ptr + sink.end:
            sink.end += size  # the guest has written it there
        else:
            self._pending.append((ptr, size))

    # -- Waited

    @property
    def _stage(self) -> Stage:
        assert self._at is not None
        return self._at

    @property
    def _native(self) -> Any:
        return self._exchange.chain.held[self._stage.index]

    def _instance(self, stage: Stage) -> Instance:
        return stage.pool.instances[lib.blitz_instance_id(self._exchange.chain.held[stage.index])]

    @property
    def needed(self) -> Any:
        return None

    @property
    def hook(self) -> str:
        return _HOOKS[self._which]

    @property
    def timeout(self) -> float:
        return self._stage.pool.plugin.spec.timeout

    @property
    def wait_timeout(self) -> float:
        return self._stage.pool.plugin.spec.wait_timeout

    @property
    def max_fetch_size(self) -> int:
        return self._stage.pool.plugin.spec.max_body

    @property
    def outside(self) -> Any:
        if self._at is None or lib.blitz_call_waits(self._native) < lib.BLITZ_WAITS_SLEEP:
            return None
        return self._native

    @property
    def is_due(self) -> bool:
        return self._at is not None and bool(lib.blitz_call_waits(self._native) == lib.BLITZ_WAITS_TURN)

    def resume(self) -> int:
        if self._at is None:  # closed meanwhile: whoever drives it is being cancelled
            return PENDING
        step = self._settle(lib.blitz_call_resume(self._native), self._piece(self._at, self._native))
        if step == PENDING:
            return PENDING
        self.changed = True
        return self.go()

    def time_out(self) -> int:
        return self._end_late(lambda spec: spec.too_long())

    def wait_out(self) -> int:
        return self._end_late(lambda spec: spec.waited_too_long())

    def _end_late(self, what: Callable[[PluginSpec], str]) -> int:
        stage = self._at
        if stage is None:
            return PENDING
        where = self._instance(stage).time_out()
        self._end_pending()
        stage.pool.failed(self._now())
        raise self._told(stage.pool.was_late(self.hook, where, what(stage.pool.plugin.spec)))

    def give_up(self) -> PluginError:
        """See ``ChainRun.give_up``."""
        stage = self._stage
        what = "the plugins of one exchange took longer than they may together for a part of a body"
        where = self._instance(stage).time_out()
        self._end_pending()
        error = self._error(PluginTimeout, stage, f"{what}, in {self.hook}; the last was {stage.pool.name}")
        error.frames = where.frames
        return self._told(error)

    def close(self) -> None:
        """The body is over; a pending call is cancelled and its instance ended."""
        if self._at is not None:
            self._end_pending()

    # -- ends

    def _end_pending(self) -> None:
        stage = self._stage
        self._at = None
        instance = self._instance(stage)
        self._exchange.chain.held[stage.index] = _NULL
        instance.cancel()
        stage.pool.end(instance)

    def _failed(self, stage: Stage) -> PluginError:
        instance = self._instance(stage)
        self._log(stage)
        self._at = None
        self._exchange.chain.held[stage.index] = _NULL
        return self._told(stage.pool.drop(instance, self._now()))

    def _gone(self, stage: Stage) -> PluginError:
        return self._error(PluginSuspended, stage, "failed before: its part of the body cannot go on")

    def _told(self, error: PluginError) -> PluginError:
        self._on_fault(error)
        return error

    def _error(self, kind: type[PluginError], stage: Stage, what: str) -> PluginError:
        pool = stage.pool
        return kind(f"{pool.name} {what}", plugin=pool.name, version=pool.plugin.spec.version, hook=self.hook)

    def _log(self, stage: Stage) -> None:
        octets = lib.blitz_exchange_id(self._exchange)
        emit_log(self._instance(stage), self.hook, ffi.buffer(octets, 32)[:].decode())
