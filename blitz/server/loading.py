"""Plugins from files to pools: read, compiled or found in the cache, bound, tried out, kept if unchanged."""

from __future__ import annotations

import logging
import threading
from functools import partial
from types import MappingProxyType
from typing import TYPE_CHECKING

import trio

from blitz.config.model import Limits
from blitz.config.pin import why_not_pinned
from blitz.config.units import format_size
from blitz.errors import ConfigError, PluginLoadError
from blitz.wasm.cache import CompileCache, Source, open_cache
from blitz.wasm.compile_process import Stop, Stopped
from blitz.wasm.plugin import Plugin, PluginSpec
from blitz.wasm.pool import PluginPool

from .guests import probe, smoke
from .reading import read_apart
from .runtime import Runtime, assemble
from .turns import GuestTurns

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from blitz.config.resolved import Resolved, ResolvedPlugin
    from blitz.wasm.engine import Engine
    from blitz.wasm.module import Module
    from blitz.wasm.shared import Shared

    from .auth_files import Authenticators
    from .tls import TlsSettings

__all__ = ["Loader", "discard", "load_plugin", "open_cache_apart", "spec_of"]

_log = logging.getLogger("blitz.server")

PLUGIN_LEVELS = {"trace": 0, "debug": 1, "info": 2, "warn": 3, "error": 4, "off": 5}


def spec_of(resolved: ResolvedPlugin, log_level: str, digest: str, limits: Limits) -> PluginSpec:
    """What *resolved* means to the guest runtime. Equal specs: nothing changed, not even the file."""
    return PluginSpec(
        name=resolved.name,
        source=resolved.file,
        sha256=digest,
        memory=resolved.memory,
        timeout=resolved.timeout,
        wait_timeout=resolved.wait_timeout,
        upstreams=resolved.upstreams,
        max_body=resolved.max_body,
        response_body=resolved.response_body,
        instances=resolved.instances,
        max_requests=resolved.max_requests,
        max_instances=resolved.max_instances,
        warm=resolved.warm,
        failure=resolved.failure,
        rollback=resolved.rollback,
        config=resolved.config,
        config_values={key: value.encode() for key, value in resolved.config_values.items()},
        env=resolved.env,
        grants=resolved.grants,
        asks=resolved.asks,
        manifest=resolved.manifest,
        origins=resolved.origins,
        namespace=resolved.namespace,
        reroute=resolved.reroute,
        log_level=PLUGIN_LEVELS[log_level],
        version=resolved.version,
        max_line_size=limits.max_line_size,
        max_field_size=limits.max_field_size,
        max_head_size=limits.max_head_size,
    )


async def load_plugin(
    engine: Engine,
    resolved: ResolvedPlugin,
    log_level: str,
    cache: CompileCache,
    shared: Shared | None = None,
    limits: Limits | None = None,
) -> Plugin:
    """Read, check, compile (in another process, unless the cache has it) and bind one plugin.

    When the task is cancelled, that process is killed.

    Raises:
        PluginLoadError: with one sentence that names the file.
        ConfigError: the file is not read in time.
    """
    try:
        module, digest = await _load_module(engine, resolved, cache)
    except PluginLoadError as error:
        error.plugin = resolved.name
        raise
    return _bind(engine, module, spec_of(resolved, log_level, digest, limits or Limits()), shared)


def _bind(engine: Engine, module: Module, spec: PluginSpec, shared: Shared | None) -> Plugin:
    """The plugin, whose module is its own; when that fails, the module is gone."""
    try:
        return Plugin(engine, module, spec, shared)
    except BaseException:
        module.close()
        raise


async def _load_module(engine: Engine, resolved: ResolvedPlugin, cache: CompileCache) -> tuple[Module, str]:
    source = await _read_module(resolved, cache, whole=bool(resolved.sha256))
    module = await _find(engine, cache, source.digest, resolved.file)
    if module is None:
        if source.content is None:
            source = await _read_module(resolved, cache, whole=True)
        module = await _compile(engine, source, cache)
    return module, source.digest


class _Hand:
    """A module on its way from a thread to a task that may not wait for it any more."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._gone = False
        self.module: Module | None = None

    def give(self, module: Module | None) -> None:
        with self._lock:
            if not self._gone:
                self.module = module
            elif module is not None:
                module.close()

    def leave(self) -> None:
        """Nobody takes it."""
        with self._lock:
            self._gone = True
            if self.module is not None:
                self.module.close()


async def _find(engine: Engine, cache: CompileCache, digest: str, file: str) -> Module | None:
    """``cache.find``, for a bounded time: the disk of the cache may not answer.

    Raises:
        ConfigError: it does not.
    """
    hand = _Hand()

    def find() -> None:
        with engine.kept_open():
            hand.give(cache.find(engine, digest, file))

    try:
        await read_apart(find)
    except BaseException:
        hand.leave()
        raise
    return hand.module


async def _read_module(resolved: ResolvedPlugin, cache: CompileCache, *, whole: bool) -> Source:
    """What is in the file, and that it is what is pinned."""
    source = await read_apart(partial(cache.read, resolved.file, whole=whole))
    if resolved.sha256:
        why = why_not_pinned(
            resolved.file, source.digest, resolved.manifest, resolved.manifest_sha256, resolved.sha256
        )
        if why:
            raise PluginLoadError(why)
    if resolved.bound_sha256 not in ("", source.digest):
        raise PluginLoadError(
            f"{resolved.file} was replaced while it was being loaded, and its manifest {resolved.manifest} "
            "is for the module before it: load it again"
        )
    return source


async def _compile(engine: Engine, source: Source, cache: CompileCache) -> Module:
    # In a thread: compiling takes milliseconds to seconds, and other connections are being served. trio waits
    # for threads, also those of cancelled tasks: somebody has to tell this one to end.
    stop = Stop()
    found: Module | None = None
    error: PluginLoadError | None = None
    try:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(_stop_when_cancelled, stop)
            try:
                found = await trio.to_thread.run_sync(cache.compile, engine, source, stop)
            except PluginLoadError as exc:
                error = exc
            except Stopped:
                await trio.lowlevel.checkpoint()  # by our cancellation, which arrives here
            nursery.cancel_scope.cancel()
    except BaseException:
        if found is not None:
            found.close()
        raise
    if error is not None:
        raise error
    assert found is not None
    return found


async def _stop_when_cancelled(stop: Stop) -> None:
    try:
        await trio.sleep_forever()
    finally:
        stop.set()


class Loader:
    """Makes the pools of one configuration; *old* ones whose spec is the same are kept as they are.

    Args:
        trial: each plugin that is loaded answers a request of ours before it counts as loaded.
        served: name -> sha256 of a module that has served already. It is taken from the cache, whatever
            its file holds by now; where the cache has it no more, the file is, and tried if it changed.

    Attributes:
        pools: by name; complete after ``load``.
        loaded: those that were not kept; the loader's until somebody takes them.
    """

    def __init__(
        self,
        engine: Engine,
        cache: CompileCache,
        shared: Shared | None,
        old: Mapping[str, PluginPool],
        refused: Mapping[str, PluginSpec],
        *,
        trial: bool,
        served: Mapping[str, str] = MappingProxyType({}),
    ) -> None:
        self._engine = engine
        self._cache = cache
        self._shared = shared
        self._old = old
        self._refused = refused
        self._trial = trial
        self._served = served
        self._share = engine.max_instances
        self.pools: dict[str, PluginPool] = {}
        self.loaded: list[PluginPool] = []

    async def load(self, resolved: Resolved, turns: GuestTurns) -> None:
        """Load and try out every plugin of *resolved*. On an exception nothing of it is left.

        Raises:
            PluginLoadError: one cannot run.
        """
        self._share = self._engine.share(len(resolved.plugins))
        try:
            for plugin in resolved.plugins:
                _check_room(self._engine, plugin)
                await self._load(plugin, resolved.log.plugins, resolved.limits, turns)
        except BaseException:
            discard(self.loaded)
            raise

    async def _load(
        self, resolved: ResolvedPlugin, log_level: str, limits: Limits, turns: GuestTurns
    ) -> None:
        old = self._old.get(resolved.name)
        if old is not None:
            source = await read_apart(partial(self._cache.read, resolved.file))
            spec = spec_of(resolved, log_level, source.digest, limits)
            if spec in (old.plugin.spec, self._refused.get(resolved.name)):
                self.pools[resolved.name] = old
                return
        plugin = await self._load_what_served(resolved, log_level, limits)
        if plugin is None:
            plugin = await load_plugin(self._engine, resolved, log_level, self._cache, self._shared, limits)
        pool = PluginPool(plugin, self._share)
        self.loaded.append(pool)
        if self._trial or self._served.get(resolved.name, plugin.spec.sha256) != plugin.spec.sha256:
            # A gateway serves already: a new plugin is tried out before exchanges run it.
            await smoke(pool, turns)
        await probe(pool, turns)
        self.pools[resolved.name] = pool

    async def _load_what_served(
        self, resolved: ResolvedPlugin, log_level: str, limits: Limits
    ) -> Plugin | None:
        digest = self._served.get(resolved.name)
        if digest is None:
            return None
        module = await _find(self._engine, self._cache, digest, resolved.file)
        if module is None:
            return None
        return _bind(self._engine, module, spec_of(resolved, log_level, digest, limits), self._shared)

    def assemble(self, resolved: Resolved, tls: TlsSettings, auth: Authenticators) -> Runtime:
        """The runtime of what was loaded; when that fails, nothing of it is left."""
        try:
            return assemble(resolved, self.pools, tls, auth=auth)
        except BaseException:
            discard(self.loaded)
            raise


def _check_room(engine: Engine, plugin: ResolvedPlugin) -> None:
    """The slots of a small engine were made for the plugins that were there at the start.

    Raises:
        PluginLoadError: *plugin* may have more memory than they hold.
    """
    if engine.is_small and plugin.memory > engine.max_memory_size:
        raise PluginLoadError(
            f"{plugin.file}: plugin {plugin.name} may have {format_size(plugin.memory)} of memory, and under "
            f"the limits of this process the slots have {format_size(engine.max_memory_size)}: lower its "
            "memory, or start the gateway anew",
            plugin=plugin.name,
        )


async def open_cache_apart(said: str) -> CompileCache:
    """``open_cache``; a directory whose disk does not answer is not used."""
    try:
        return await read_apart(partial(open_cache, said))
    except ConfigError as error:
        _log.warning("plugins are compiled without a cache: %s", error)
        return CompileCache(None, quiet=True)


def discard(pools: Iterable[PluginPool]) -> None:
    """End every instance of *pools* and free them."""
    for pool in pools:
        pool.close()
        for instance in (*pool.take_ending(), *pool.take_leaving()):
            pool.end(instance)
        pool.free()
