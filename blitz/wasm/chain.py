"""A chain of plugins run over one exchange, as a machine that never waits.

Theory of operation. ``ChainRun.request`` and ``ChainRun.response`` run hooks one after the other and
return a step:

    CONTINUE       every hook let the message pass; the edits are in the exchange's head
    ANSWER         a request hook answered: the exchange's response head and new_body are the answer
    PENDING        a guest used up its time slice, or its turn has not come: let others run, then ``resume``
    NEED_BODY      the next plugin reads the body of the message in hand: put it into the exchange,
                   set ``body_ready``, call the same method again
    NEED_INSTANCE  every instance of ``needed`` is busy: wait for one, call again

A fault ends in the plugin's failure policy: *open* discards the edits and goes on with the next
plugin, *closed* raises the PluginError. Either way the instance is gone.

Request hooks run first to last, response hooks last to first over the plugins that saw the request: the
first plugin of a chain sees the request as the client sent it and the answer as the client gets it (the
order of Envoy, and of every onion of middleware).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

from blitz._native import lib
from blitz.errors import PluginError, PluginSuspended, PluginTimeout, PluginVerdict

from .instance import Instance
from .logs import emit_log
from .pool import PluginPool

__all__ = ["ANSWER", "CONTINUE", "NEED_BODY", "NEED_INSTANCE", "PENDING", "Chain", "ChainRun"]

CONTINUE = 0
ANSWER = 1
PENDING = 2
NEED_BODY = 3
NEED_INSTANCE = 4

_LOGS = lib.BLITZ_R_LOGS
_PENDING = lib.BLITZ_PENDING
_V_MASK = 3
_V_STOP = lib.BLITZ_V_STOP
_call_request = lib.blitz_call_request
_call_response = lib.blitz_call_response


class Chain:
    """Plugins in the order in which they see a request. Immutable.

    Attributes:
        has_response: one of them has a response hook.
        edits_answers: one of them may change the body of an answer that it has read.
    """

    __slots__ = ("edits_answers", "has_response", "pools")

    def __init__(self, pools: Sequence[PluginPool]) -> None:
        self.pools = tuple(pools)
        self.has_response = any(pool.plugin.has_response for pool in pools)
        self.edits_answers = any(
            pool.plugin.needs_response_body and pool.plugin.writes_body for pool in pools
        )


class ChainRun:
    """One exchange's way through a chain; hold it until ``close``.

    Attributes:
        body_ready: the body of the message in hand is in the exchange, or it has none.
        changed: another call than the one resumed is pending now; the shell clears it.
        needed: the pool that NEED_INSTANCE waits for.
        left: seconds that guests may still keep the exchange waiting, all together; the shell counts it down.
        on_fault: called with each PluginError, whatever the policy does with it.
    """

    __slots__ = (
        "_call",
        "_chain",
        "_exchange",
        "_held",
        "_index",
        "_limit",
        "_now",
        "_pools",
        "_starting",
        "_waiting",
        "body_ready",
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
    ) -> None:
        self._chain = chain
        self._pools = chain.pools
        self._exchange = exchange
        self._now = now
        self._held: dict[int, Instance] = {}
        self._index = 0
        self._limit = 0
        self._call = _call_request
        self._waiting: Instance | None = None
        self._starting = False
        self.body_ready = False
        self.changed = False
        self.left = math.inf
        self.needed: PluginPool | None = None
        self.on_fault = on_fault

    # -- request phase

    def extend(self, chain: Chain) -> None:
        """Go on with the rest of another chain that begins with the plugins run so far."""
        self._chain = chain
        self._pools = chain.pools
        # Its plugins may take more of the body than what was collected for the first ones.
        self.body_ready = bool(self._exchange.body_edited)

    def join(self, chain: Chain) -> None:
        """All have run: go on with those of another chain that have not, each once."""
        self.extend(Chain([*self._pools, *(pool for pool in chain.pools if pool not in self._pools)]))

    def request(self) -> int:
        """Run the request hooks that are left."""
        pools = self._pools
        exchange = self._exchange
        while self._index < len(pools):
            pool = pools[self._index]
            instance = pool.take() if pool.quick else None
            if instance is not None:
                # The common case: a warm instance that says "continue".
                step = self._settle(pool, instance, _call_request(instance.ptr, exchange))
                if step != CONTINUE:
                    return step
            elif pool.plugin.has_request:
                if pool.plugin.reads_body and not self.body_ready:
                    return NEED_BODY
                step = self._run(pool)
                if step != CONTINUE:
                    return step
            self._index += 1
        return CONTINUE

    def begin_at(self, index: int, instance: int, rc: int) -> int:
        """As ``request``, when others have run the hooks before *index*, all with "continue".

        Args:
            instance, rc: the hook at *index* ran on the instance of that id and returned rc; 0: it did not.
        """
        self._index = index
        if not instance:
            return self.request()
        pool = self._pools[index]
        return self._go_on(self._settle(pool, pool.instances[instance], rc))

    # -- response phase

    def begin_response(self) -> None:
        """The response head is in the exchange: the plugins that saw the request see it now, in
        reverse. After an ANSWER the plugin that gave it does not see its own answer."""
        self._index -= 1
        self._call = _call_response
        self.body_ready = False

    @property
    def has_response(self) -> bool:
        """Some plugin of the chain has a response hook."""
        return self._chain.has_response

    @property
    def edits_answers(self) -> bool:
        """Some plugin of the chain may change the body of an answer that it has read."""
        return self._chain.edits_answers

    def wanted_body_size(self, *, response: bool) -> tuple[int, bool]:
        """``(max_body, must_have_all)`` over the plugins that take the body of the message in hand."""
        if response:
            takers = [p.plugin for p in self._pools[: self._index + 1] if p.plugin.needs_response_body]
        else:
            # One that writes and does not read (an answer's body, say) has nothing to see whole.
            takers = [p.plugin for p in self._pools if p.plugin.reads_body]
        size = max((plugin.spec.max_body for plugin in takers), default=0)
        return size, any(plugin.writes_body for plugin in takers)

    def response(self) -> int:
        """Run the response hooks that are left; *stop* from one skips the others."""
        while self._index >= 0:
            pool = self._pools[self._index]
            plugin = pool.plugin
            if plugin.has_response:
                if plugin.needs_response_body and not self.body_ready:
                    return NEED_BODY
                step = self._run(pool)
                if step == ANSWER:
                    self._index = -1
                    return CONTINUE
                if step != CONTINUE:
                    return step
            self._index -= 1
        return CONTINUE

    # -- both

    @property
    def timeout(self) -> float:
        """Seconds that the pending call may take in all."""
        return self._pools[self._index].plugin.spec.timeout

    @property
    def pending_plugin(self) -> str:
        return self._pools[self._index].name

    @property
    def is_due(self) -> bool:
        """The pending call has not begun."""
        return self._waiting is not None and self._waiting.is_due

    def resume(self) -> int:
        """Give the pending guest another slice; then as ``request`` or ``response``."""
        instance = self._waiting
        assert instance is not None
        rc = lib.blitz_call_resume(instance.ptr)
        pool = self._pools[self._index]
        step = self._started(pool, instance, rc) if self._starting else self._settle(pool, instance, rc)
        return self._go_on(step)

    def time_out(self) -> int:
        """The pending guest is past its deadline: cancel it, apply the policy, go on."""
        instance = self._waiting
        assert instance is not None
        pool = self._pools[self._index]
        hook = "init" if self._starting else self._hook
        self._waiting = None
        self._starting = False
        instance.cancel()
        self._held.pop(self._index, None)
        pool.end(instance)
        pool.failed(self._now())
        error = PluginTimeout(
            f"{pool.name} failed in {hook}: it {pool.plugin.spec.too_long()}",
            plugin=pool.name,
            version=pool.plugin.spec.version,
            hook=hook,
        )
        return self._go_on(self._policy(pool, error))

    def give_up(self) -> PluginError:
        """The exchange has waited for its plugins as long as it may: cancel what runs, give all back.

        Returns the error to raise. It is nobody's fault alone, so no failure policy applies: what a plugin
        was to check has not been checked.
        """
        waiting = self._waiting
        pool = self._pools[self._index] if waiting is not None else self.needed
        assert pool is not None
        what = f"the plugins of one exchange took longer than they may together; the last was {pool.name}"
        error: PluginError = PluginSuspended(f"{what}: no instance of it was free", plugin=pool.name)
        if waiting is not None:
            hook = "init" if self._starting else self._hook
            error = PluginTimeout(f"{what}, in {hook}", plugin=pool.name, hook=hook)
        error.version = pool.plugin.spec.version
        self.left = 0.0
        self.close()
        if self.on_fault is not None:
            self.on_fault(error)
        return error

    def close(self) -> None:
        """Give every instance back; a pending one is cancelled and ended."""
        waiting = self._waiting
        if waiting is not None:
            self._waiting = None
            waiting.cancel()
            self._held.pop(self._index, None)
            self._pools[self._index].end(waiting)
        if self._held:
            for index, instance in self._held.items():
                self._pools[index].give(instance)
            self._held.clear()

    @property
    def _hook(self) -> str:
        return "process_request" if self._call is _call_request else "process_response"

    def _go_on(self, step: int) -> int:
        if step == PENDING:
            return step
        self.changed = True
        if step != CONTINUE:
            if step == ANSWER and self._call is _call_response:
                self._index = -1
                return CONTINUE
            return step
        if self._call is _call_request:
            self._index += 1
            return self.request()
        self._index -= 1
        return self.response()

    def _run(self, pool: PluginPool) -> int:
        instance = self._held.get(self._index)
        if instance is None:
            if pool.suspended and pool.quarantined(self._now()):
                return self._policy(pool, _suspended(pool))
            instance = pool.take()
            if instance is None:
                return self._start(pool)
        rc = self._call(instance.ptr, self._exchange)
        return self._settle(pool, instance, rc)

    def _start(self, pool: PluginPool) -> int:
        try:
            instance = pool.make()
        except PluginError as error:
            pool.failed(self._now())
            return self._policy(pool, error)
        if instance is None:
            self.needed = pool
            return NEED_INSTANCE
        return self._started(pool, instance, instance.start())

    def _started(self, pool: PluginPool, instance: Instance, rc: int) -> int:
        if rc == _PENDING:
            self._waiting = instance
            self._starting = True
            return PENDING
        self._waiting = None
        self._starting = False
        if rc < 0:
            emit_log(instance)
            return self._policy(pool, pool.drop(instance, self._now()))
        if rc & _LOGS:
            emit_log(instance)
        return self._settle(pool, instance, self._call(instance.ptr, self._exchange))

    def _settle(self, pool: PluginPool, instance: Instance, rc: int) -> int:
        """What a finished (or not yet finished) hook means for the exchange."""
        if rc == _PENDING:
            self._waiting = instance
            return PENDING
        self._waiting = None
        index = self._index
        if rc < 0:
            self._held.pop(index, None)
            emit_log(instance)
            return self._policy(pool, pool.drop(instance, self._now()))
        pool.called += 1
        if rc & _LOGS:
            emit_log(instance)
        if self._call is _call_request and pool.plugin.has_response and rc & _V_MASK == 0:
            self._held[index] = instance
        else:
            self._held.pop(index, None)
            pool.give(instance)
        verdict = rc & _V_MASK
        if verdict <= _V_STOP:
            return verdict
        pool.failed(self._now())
        return self._policy(
            pool,
            PluginVerdict(
                f"{pool.name} failed in {self._hook}: it returned -1",
                plugin=pool.name,
                version=pool.plugin.spec.version,
                hook=self._hook,
            ),
        )

    def _policy(self, pool: PluginPool, error: PluginError) -> int:
        if self.on_fault is not None:
            self.on_fault(error)
        if pool.open_on_failure:
            pool.skipped += 1
            return CONTINUE
        raise error


def _suspended(pool: PluginPool) -> PluginSuspended:
    return PluginSuspended(
        f"{pool.name} is in quarantine after repeated faults",
        plugin=pool.name,
        version=pool.plugin.spec.version,
    )
