"""What a gateway runs on: the present version, earlier ones that still serve, and how one replaces another.

A reload builds a version beside the traffic and swaps it in; exchanges in flight end on what they started
with. A plugin's version before the present one stays ready for a roll-back.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Mapping
from functools import partial

import trio

from blitz.admin.api import Admin
from blitz.admin.status import Reload
from blitz.config import Config, Resolved, needs_restart, resolve
from blitz.errors import BlitzError, ConfigError, InternalError
from blitz.measures.figures import RELOADS
from blitz.server.auth_files import load_authenticators
from blitz.server.binding import check_listeners
from blitz.server.context import ServerContext
from blitz.server.listeners import Listeners
from blitz.server.loading import Loader, discard, open_cache_apart
from blitz.server.reading import read_apart
from blitz.server.reload_again import ReloadAgain
from blitz.server.room import too_few_descriptors
from blitz.server.runtime import Runtime, assemble
from blitz.server.tls import TlsSettings
from blitz.server.turns import GuestTurns
from blitz.text import one_line
from blitz.trouble import reason_of
from blitz.wasm.engine import Engine
from blitz.wasm.plugin import PluginSpec
from blitz.wasm.pool import PluginPool
from blitz.wasm.shared import Shared

__all__ = ["Source", "Versions", "build_runtime", "read_source"]

_log = logging.getLogger("blitz.server")

ENDING = "the gateway is ending; start another one with that configuration"

# A configuration, or where to get one when it is needed. That is called in a thread and may block there; what
# it returns after ten seconds is not used any more.
Source = Config | Resolved | Callable[[], Config | Resolved]


class Versions:
    """Of one gateway.

    Attributes:
        generation: 1 for the first configuration, one more for each reload that took effect.
        old: what exchanges still run on. retired: plugins that no new exchange finds; some still use them.
        running: held while a version replaces another. again_later: reloads to be tried again.
        last_reload: None before the first.
        on_change: called after each change; on_swap: in it, before any exchange starts on what is new.
        set_up_as: says how sockets and what else is set up once are; logs_set_up: logs are among that.

    Args:
        source: where ``reload`` gets the configuration when it is given none.
        admin: whose token a configuration says. listeners: sockets, which outlive configurations.
    """

    def __init__(
        self,
        context: ServerContext,
        engine: Engine,
        shared: Shared | None,
        source: Source | None,
        admin: Admin,
        listeners: Listeners,
    ) -> None:
        self._context = context
        self._engine = engine
        self._shared = shared
        self._source = source
        self._admin = admin
        self._listeners = listeners
        self.set_up_as = context.runtime.resolved
        self.logs_set_up = False
        self.generation = 1
        self.last_reload: Reload | None = None
        self.on_change: Callable[[], None] = lambda: None
        self.on_swap: Callable[[], None] = lambda: None
        self.old: list[Runtime] = []
        self.retired: list[PluginPool] = []
        self._spares: dict[str, PluginPool] = {}  # the good version before the present one, of each plugin
        self._refused: dict[str, PluginSpec] = {}  # rolled back: not to be loaded again unasked
        self.running = trio.Lock()
        self._reload_scope = trio.CancelScope()  # around the reload that runs
        self.again_later = ReloadAgain(partial(self.reload, None))
        self._ending = False

    async def reload(self, config: Source | None, reason: str) -> None:
        """See ``Gateway.reload``."""
        async with self.running:
            try:
                self._check_not_ending()
                with trio.CancelScope() as self._reload_scope:
                    await self._reload(config if config is not None else self._source, reason)
                if self._reload_scope.cancelled_caught:
                    raise ConfigError(ENDING)
            except BlitzError as error:
                self._refuse(error, reason)
                raise
            except Exception as exc:  # of the system or a fault of ours: what runs goes on in any case
                _log.debug("a reload failed", exc_info=exc)
                failed = InternalError(f"loading failed: {reason_of(exc)}; load again")
                failed.__cause__ = exc
                self._refuse(failed, reason)
                raise failed from exc

    def _refuse(self, error: BlitzError, reason: str) -> None:
        said = one_line("; ".join(line.strip() for line in str(error).splitlines()))
        self._context.measures.count(RELOADS, "refused")
        before, self.last_reload = self.last_reload, Reload(time.time(), reason, said)
        if self.again_later.note(error, reason) and before is not None and before.error == said:
            return  # tried again, for the same reason in vain
        again = "; it is tried again" if self.again_later.is_due else ""
        _log.error("reload refused (%s), generation %d goes on: %s%s", reason, self.generation, said, again)

    async def _reload(self, config: Source | None, reason: str) -> None:
        if config is None:
            raise ConfigError("there is no configuration file to read again")
        resolved = await read_source(config)
        if reason != "files":
            self._refused.clear()
        tls = await read_apart(partial(TlsSettings.load, resolved))
        auth = await read_apart(partial(load_authenticators, resolved))
        check_listeners(resolved, tls, self._listeners.sockets)
        self._admin.check_token(resolved.admin.token)
        old = {pool.name: pool for pool in self._context.runtime.pools}
        cache = await open_cache_apart(resolved.cache_dir)
        loader = Loader(self._engine, cache, self._shared, old, self._refused, trial=True)
        await loader.load(resolved, self._context.turns)
        runtime = loader.assemble(resolved, tls, auth)
        for warning in resolved.warnings:
            if warning not in self._context.runtime.resolved.warnings:
                _log.warning("%s", warning)
        few = too_few_descriptors(resolved)
        if few and few != too_few_descriptors(self._context.runtime.resolved):
            _log.warning("%s", few)
        loaded = tuple(pool.name for pool in loader.loaded)
        kept = tuple(name for name in loader.pools if name not in loaded)
        self._swap(runtime)
        self._admin.take_token(resolved.admin.token)
        waiting = needs_restart(self.set_up_as, resolved, logs=self.logs_set_up)
        self._context.measures.count(RELOADS, "success")
        self.last_reload = Reload(time.time(), reason, "", loaded, kept, tuple(waiting))
        self.again_later.forget()
        _log.info(
            "generation %d is running (%s); plugins loaded: %s; kept: %s",
            self.generation,
            reason,
            ", ".join(loaded) or "none",
            ", ".join(kept) or "none",
        )
        for sentence in waiting.values():
            _log.warning("reload: %s", sentence)

    def _swap(self, runtime: Runtime) -> None:
        """From now on exchanges start on *runtime*."""
        old = self._context.runtime
        runtime.keep_health(old)
        self._context.run_on(runtime)
        self.on_swap()
        self.generation += 1
        old.retire()
        self.old.append(old)
        new = {pool.name: pool for pool in runtime.pools}
        for pool in old.pools:
            if new.get(pool.name) is pool:
                continue
            pool.close()
            self.retired.append(pool)
            if pool.name in new and not pool.quarantines:
                self._spares[pool.name] = pool
        for name in self._spares.keys() - new.keys():
            del self._spares[name]
        self.on_change()

    async def roll_back(self, plugin: str) -> None:
        """See ``Gateway.roll_back``."""
        async with self.running:
            self._check_not_ending()
            if plugin not in self._spares:
                raise ConfigError(f"there is no earlier good version of plugin {plugin} to return to")
            self._return_to_spare(plugin)

    def roll_back_failing(self, pool: PluginPool) -> None:
        """The version before *pool* returns, if there is one. While a reload runs, which may bring another
        one, nothing happens: there will be a next look."""
        try:
            self.running.acquire_nowait()
        except trio.WouldBlock:
            return
        try:
            if pool in self._context.runtime.pools and pool.name in self._spares:
                self._return_to_spare(pool.name)
        finally:
            self.running.release()

    def _return_to_spare(self, plugin: str) -> None:
        spare = self._spares.pop(plugin)
        runtime = self._context.runtime
        pools = {pool.name: pool for pool in runtime.pools}
        self._refused[plugin] = pools[plugin].plugin.spec
        self.retired.remove(spare)
        spare.reopen()
        self._swap(assemble(runtime.resolved, pools | {plugin: spare}, runtime.tls, auth=runtime.auth))
        self._spares.pop(plugin, None)
        self.last_reload = Reload(time.time(), "rollback", "", (plugin,))
        _log.error(
            "plugin %s: the version before the present one is back (generation %d); reload to try the "
            "newer file again",
            plugin,
            self.generation,
        )

    def runtimes(self) -> list[Runtime]:
        """Those that still have exchanges, the present one last."""
        return [*self.old, self._context.runtime]

    def pools(self) -> list[PluginPool]:
        """Of the present version, and those that are retired."""
        return [*self._context.runtime.pools, *self.retired]

    def free_retired(self) -> None:
        self.old = [runtime for runtime in self.old if runtime.users]
        needed = {id(pool) for runtime in self.old for pool in runtime.pools}
        needed |= {id(pool) for pool in self._spares.values()}
        for pool in [pool for pool in self.retired if pool.closed and id(pool) not in needed]:
            self.retired.remove(pool)
            pool.free()

    def give_up(self) -> None:
        """A reload that runs ends at once, and none begins any more: nothing would run on what it loads."""
        self._ending = True
        self._reload_scope.cancel()

    def _check_not_ending(self) -> None:
        if self._ending:
            raise ConfigError(ENDING)

    def tear_down(self) -> None:
        """Every exchange has ended: free everything."""
        for runtime in [self._context.runtime, *self.old]:
            runtime.retire()
        discard(self.pools())


async def build_runtime(
    resolved: Resolved, engine: Engine, shared: Shared | None, served: Mapping[str, str]
) -> Runtime:
    """The first version; raises ConfigError and PluginLoadError. *served*: see ``blitz.serve``."""
    tls = await read_apart(partial(TlsSettings.load, resolved))
    auth = await read_apart(partial(load_authenticators, resolved))
    cache = await open_cache_apart(resolved.cache_dir)
    loader = Loader(engine, cache, shared, {}, {}, trial=False, served=served)
    await loader.load(resolved, GuestTurns())
    for warning in resolved.warnings:
        _log.warning("%s", warning)
    return loader.assemble(resolved, tls, auth)


async def read_source(config: Source) -> Resolved:
    """What *config* says; files are read beside the event loop."""
    if callable(config):
        config = await read_apart(config)
    return config if isinstance(config, Resolved) else await read_apart(partial(resolve, config))
