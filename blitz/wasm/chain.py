"""A chain of plugins run over one exchange, as a machine that never waits.

Theory of operation. ``native/chain.c`` runs the hooks, and says which instance runs them, in which order,
and what a verdict means; it stops at a step. What a step needs of Python is done here: starting an
instance, log lines, faults and failure policies, quarantine. To exchanges it is a filter, and its steps are
what ``blitz/filters.py`` says.

A fault ends in the plugin's failure policy: *open* discards the edits and goes on with the next
plugin, *closed* raises the PluginError. Either way the instance is gone.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from functools import cache
from typing import Any

from blitz._native import ffi, lib
from blitz.errors import InternalError, PluginError, PluginSuspended, PluginTimeout, PluginVerdict
from blitz.filters import ANSWER, CONTINUE, NEED_BODY, NEED_INSTANCE, PENDING, Filter

from .instance import Instance
from .logs import emit_log, emit_log_of, hook_in_hand, request_id
from .parts import Stage
from .pool import PluginPool

__all__ = ["ANSWER", "CONTINUE", "NEED_BODY", "NEED_INSTANCE", "PENDING", "Chain", "ChainRun"]

_SUSPENDED = lib.BLITZ_CHAIN_SUSPENDED
_STARTED = lib.BLITZ_CHAIN_STARTED
_LOGS = lib.BLITZ_R_LOGS
_RESPONSES = lib.BLITZ_PARTS_RESPONSE
_V_MASK = 3
_V_STOP = lib.BLITZ_V_STOP
_VERDICTS = ("continue", "answer")  # by their number
_most = ffi.new("uint64_t *")


class Chain:
    """Plugins in the order in which they see a request. Immutable.

    Attributes:
        native: cffi ``blitz_pool *[]``: the pools' own.
        has_response: one of them has a response hook.
        parts: BLITZ_PARTS_*: what some of them see of streams.
        edits_answers: one of them may change the body of an answer that it has read.
    """

    __slots__ = ("edits_answers", "has_response", "native", "parts", "pools")

    def __init__(self, pools: Sequence[PluginPool]) -> None:
        self.pools = tuple(pools)
        self.native = ffi.new("blitz_pool *[]", [pool.native for pool in pools])
        plugins = [pool.plugin for pool in pools]
        self.parts = 0
        for plugin in plugins:
            self.parts |= plugin.parts
        self.has_response = any(plugin.has_response for plugin in plugins)
        self.edits_answers = any(
            (plugin.needs_response_body and plugin.writes_body) or plugin.changes & _RESPONSES
            for plugin in plugins
        )

    @property
    def wants(self) -> bool:
        """There are plugins in it."""
        return bool(self.pools)

    def begin(self, exchange: Any, now: Callable[[], float], *, begun: bool = False) -> ChainRun:
        """One exchange's way through it: see ``Filter``."""
        return ChainRun(self, exchange, now, begun=begun)


class ChainRun:
    """One exchange's way through a chain; hold it until ``close``.

    Attributes:
        changed: since the last resume the chain has gone on to another call, which is pending now; who
            resumes it sets this back.
        needed: the pool that NEED_INSTANCE waits for.
        left: seconds that guests may still keep the exchange waiting, all together; the shell counts it down.
        cause: what plugins are told of how their streams ended: "done", or one of ``blitz.errors.CAUSES``.
        on_fault: called with each PluginError, whatever the policy does with it.
        on_verdict: called with the plugin's name, the hook's and "continue" or "answer" when a hook is done.
    """

    __slots__ = (
        "_chain",
        "_exchange",
        "_native",
        "_now",
        "_on_verdict",
        "cause",
        "changed",
        "left",
        "needed",
        "on_fault",
    )

    def __init__(
        self,
        chain: Chain,
        exchange: Any,
        now: Callable[[], float],
        on_fault: Callable[[PluginError], object] | None = None,
        *,
        begun: bool = False,
    ) -> None:
        """*begun*: the fast path has begun it, on *exchange*; the step that it came to is for ``see_to``."""
        self._chain = chain
        self._exchange = exchange
        self._native = exchange.chain
        self._now = now
        self.cause = "done"
        self.changed = False
        self.left = math.inf
        self.needed: PluginPool | None = None
        self.on_fault = on_fault
        self._on_verdict: Callable[[str, str, str], object] | None = None
        if not begun:
            _check(lib.blitz_chain_begin(exchange, chain.native, len(chain.pools)))

    @property
    def on_verdict(self) -> Callable[[str, str, str], object] | None:
        return self._on_verdict

    @on_verdict.setter
    def on_verdict(self, told: Callable[[str, str, str], object] | None) -> None:
        self._on_verdict = told
        self._native.watched = told is not None

    @property
    def body_ready(self) -> bool:
        """The body of the message in hand is in the exchange, or it has none."""
        return bool(self._native.body_ready)

    @body_ready.setter
    def body_ready(self, ready: bool) -> None:
        self._native.body_ready = ready

    # -- request phase

    def extend(self, chain: Filter) -> None:
        """Go on with the rest of another chain that begins with the plugins run so far."""
        assert isinstance(chain, Chain)
        self._chain = chain
        _check(lib.blitz_chain_extend(self._exchange, chain.native, len(chain.pools)))
        # Its plugins may take more of the body than what was collected for the first ones.
        self.body_ready = bool(self._exchange.body_edited)

    def join(self, chain: Filter) -> None:
        """All have run: go on with those of another chain that have not, each once."""
        assert isinstance(chain, Chain)
        pools = self._chain.pools
        self.extend(Chain([*pools, *(pool for pool in chain.pools if pool not in pools)]))

    def request(self) -> int:
        """Run the request hooks that are left."""
        return self.see_to(lib.blitz_chain_go(self._exchange))

    # -- response phase

    def begin_response(self) -> None:
        """The response head is in the exchange: the plugins that saw the request see it now, in
        reverse."""
        lib.blitz_chain_begin_response(self._exchange)

    def begin_local_response(self) -> None:
        """The same for a response of our own, its body in the exchange's new_body. After an ANSWER the plugin
        that gave it does not see it."""
        lib.blitz_chain_begin_local_response(self._exchange)

    @property
    def has_response(self) -> bool:
        """Some plugin of the chain has a response hook, or sees parts of responses."""
        return self._chain.has_response or bool(self._chain.parts & _RESPONSES)

    def take_stages(self, which: int) -> list[Stage]:
        """See ``FilterRun``."""
        if not self._chain.parts & which:
            return []
        passes, found = self._native.passes, []
        for index, pool in enumerate(self._chain.pools):
            if passes[index] & which:
                passes[index] &= ~which
                found.append(Stage(pool, index))
        return found if which == lib.BLITZ_PARTS_REQUEST else found[::-1]

    @property
    def edits_answers(self) -> bool:
        """Some plugin of the chain may change the body of an answer that it has read."""
        return self._chain.edits_answers

    def wanted_body_size(self) -> tuple[int, bool]:
        """``(max_body, must_have_all)`` over the plugins that take the body of the message in hand."""
        must_have_all = lib.blitz_chain_wanted_body(self._exchange, _most)
        return int(_most[0]), bool(must_have_all)

    def response(self) -> int:
        """Run the response hooks that are left; *stop* from one skips the others."""
        return self.see_to(lib.blitz_chain_go(self._exchange))

    # -- both

    @property
    def _pool(self) -> PluginPool:
        """Of the plugin in hand."""
        pool: PluginPool = self._chain.pools[self._native.index]
        return pool

    def _instance(self, pool: PluginPool) -> Instance:
        """The one in hand."""
        return pool.instances[lib.blitz_instance_id(self._native.at)]

    @property
    def timeout(self) -> float:
        """Seconds that the pending call may take in all, but for what it waits for outside."""
        return self._pool.plugin.spec.timeout

    @property
    def wait_timeout(self) -> float:
        """Seconds that the pending call may wait for that, all together."""
        return self._pool.plugin.spec.wait_timeout

    @property
    def max_fetch_size(self) -> int:
        """Bytes that the body of a response may have which the pending call waits for."""
        return self._pool.plugin.spec.max_body

    @property
    def outside(self) -> Any:
        """cffi ``blitz_instance *`` of a pending call that waits for something outside, or None."""
        if self._is_pending and lib.blitz_call_waits(self._native.at) >= lib.BLITZ_WAITS_SLEEP:
            return self._native.at
        return None

    @property
    def pending_plugin(self) -> str:
        return self._pool.name

    @property
    def _is_pending(self) -> bool:
        native = self._native
        return bool(native.at) and (bool(native.starting) or native.rc == lib.BLITZ_PENDING)

    @property
    def is_due(self) -> bool:
        """The pending call has not begun."""
        return self._is_pending and lib.blitz_call_waits(self._native.at) == lib.BLITZ_WAITS_TURN

    def resume(self) -> int:
        """Give the pending guest another slice; then as ``request`` or ``response``."""
        native = self._native
        before = native.index, native.is_response
        step = self.see_to(lib.blitz_chain_resume(self._exchange))
        if step != PENDING or (native.index, native.is_response) != before:
            self.changed = True
        return step

    def time_out(self) -> int:
        """The pending guest is past its deadline: cancel it, apply the policy, go on."""
        return self._end_late(self._pool.plugin.spec.too_long())

    def wait_out(self) -> int:
        """The pending guest has waited for something outside for as long as it may: the same."""
        return self._end_late(self._pool.plugin.spec.waited_too_long())

    def _end_late(self, what: str) -> int:
        pool, hook = self._pool, self._hook
        where = self._instance(pool).time_out()
        self._end_pending(pool)
        pool.failed(self._now())
        self.changed = True
        return self.see_to(self._policy(pool, pool.was_late(hook, where, what)))

    def give_up(self) -> PluginError:
        """The exchange has waited for its plugins as long as it may: cancel what runs, give all back.

        Returns the error to raise. It is nobody's fault alone, so no failure policy applies: what a plugin
        was to check has not been checked.
        """
        waiting = self._is_pending
        pool = self._pool if waiting else self.needed
        assert pool is not None
        what = f"the plugins of one exchange took longer than they may together; the last was {pool.name}"
        error: PluginError = PluginSuspended(f"{what}: no instance of it was free", plugin=pool.name)
        if waiting:
            hook = self._hook
            where = self._instance(pool).time_out()
            error = PluginTimeout(f"{what}, in {hook}", plugin=pool.name, hook=hook, frames=where.frames)
        error.version = pool.plugin.spec.version
        self.left = 0.0
        self.close()
        if self.on_fault is not None:
            self.on_fault(error)
        return error

    def close(self) -> None:
        """Give every instance back; a pending one is cancelled and ended."""
        if self._is_pending:
            self._end_pending(self._pool)
        if self._chain.parts & lib.BLITZ_PARTS_END:
            self._end_streams()
        if lib.blitz_chain_release(self._exchange):
            for pool in self._chain.pools:
                pool.see_to_returned()

    def _end_streams(self) -> None:
        """Tell the instances that stay to the end. One that does not get done in its slice is the shell's."""
        held, cause = self._native.held, _text(self.cause)
        for index, pool in enumerate(self._chain.pools):
            if held[index] == ffi.NULL or not pool.native.parts & lib.BLITZ_PARTS_END:
                continue
            rc = lib.blitz_call_end(held[index], cause, len(cause))
            instance = pool.instances[lib.blitz_instance_id(held[index])]
            if rc == lib.BLITZ_PENDING:
                held[index] = ffi.NULL
                pool.ending.append(instance)
            elif rc < 0:
                held[index] = ffi.NULL
                pool.end_failed(instance, self._now())
            elif rc & _LOGS:
                emit_log(instance, "process_end", request_id(self._exchange))

    def _end_pending(self, pool: PluginPool) -> None:
        instance = self._instance(pool)
        lib.blitz_chain_forget(self._exchange)
        self._native.starting = False
        instance.cancel()
        pool.end(instance)

    @property
    def _hook(self) -> str:
        return hook_in_hand(self._exchange, self._pool.plugin)

    # -- what the native chain asks for

    def see_to(self, step: int) -> int:
        """Do what *step* needs of Python, and go on, until a step is the shell's."""
        if step < 0:
            raise InternalError(f"a head has no room for what plugins ask for (code {step})")
        while step >= NEED_INSTANCE:
            if step == NEED_INSTANCE:
                self.needed = None
                step = self._start(self._pool)
                if self.needed is not None:  # else it is the next plugin that needs one
                    break
            elif step == _SUSPENDED:
                step = self._ask_again(self._pool)
            elif step == _STARTED:
                step = self._started(self._pool)
            else:
                step = self._returned(self._pool)
        if self._native.told:
            self._native.told = 0
            for pool in self._chain.pools:
                pool.see_to_returned()
        return step

    def _start(self, pool: PluginPool) -> int:
        try:
            instance = pool.make()
        except PluginError as error:
            pool.failed(self._now())
            return self._policy(pool, error)
        if instance is None:
            self.needed = pool
            return NEED_INSTANCE
        native = self._native
        native.at = instance.ptr
        native.rc = instance.start()
        if native.rc == lib.BLITZ_PENDING:
            native.starting = True
            return PENDING
        return self._started(pool)

    def _started(self, pool: PluginPool) -> int:
        instance = self._instance(pool)
        if self._native.rc < 0:
            return self._failed(pool, instance)
        emit_log_of(instance, self._exchange)
        return int(lib.blitz_chain_go(self._exchange))

    def _ask_again(self, pool: PluginPool) -> int:
        if pool.quarantined(self._now()):
            return self._policy(pool, _suspended(pool))
        return int(lib.blitz_chain_go(self._exchange))

    def _returned(self, pool: PluginPool) -> int:
        """A hook came to its end, and not as most do."""
        instance, rc = self._instance(pool), self._native.rc
        if rc < 0:
            return self._failed(pool, instance)
        if rc & _LOGS:
            emit_log_of(instance, self._exchange)
        if (verdict := rc & _V_MASK) <= _V_STOP:
            if self._on_verdict is not None:
                self._on_verdict(pool.name, self._hook, _VERDICTS[verdict])
            return int(lib.blitz_chain_accept(self._exchange))
        hook = self._hook
        lib.blitz_chain_put_down(self._exchange)
        pool.failed(self._now())
        return self._policy(
            pool,
            PluginVerdict(
                f"{pool.name} failed in {hook}: it returned -1",
                plugin=pool.name,
                version=pool.plugin.spec.version,
                hook=hook,
            ),
        )

    def _failed(self, pool: PluginPool, instance: Instance) -> int:
        emit_log_of(instance, self._exchange)
        lib.blitz_chain_forget(self._exchange)
        return self._policy(pool, pool.drop(instance, self._now()))

    def _policy(self, pool: PluginPool, error: PluginError) -> int:
        if self.on_fault is not None:
            self.on_fault(error)
        if pool.open_on_failure:
            pool.skipped += 1
            return int(lib.blitz_chain_skip(self._exchange))
        raise error


@cache
def _text(cause: str) -> Any:
    """As C wants it; a call that is pending still reads it."""
    return ffi.from_buffer("uint8_t[]", cause.encode())


def _check(failed: int) -> None:
    if failed:
        raise InternalError("out of memory for a chain")


def _suspended(pool: PluginPool) -> PluginSuspended:
    return PluginSuspended(
        f"{pool.name} is in quarantine after repeated faults",
        plugin=pool.name,
        version=pool.plugin.spec.version,
    )
