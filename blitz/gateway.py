"""The gateway as an object: a configuration turned into something that serves, reloads and drains.

    async with trio.open_nursery() as nursery:
        gateway = await nursery.start(blitz.serve, config)
        print(gateway.addresses)
        await gateway.reload(other)
        await gateway.drain(grace=10)

No global state, no signal handlers, no logging set-up, no thread left behind.
"""

from __future__ import annotations

import contextlib
import errno
import logging
import socket
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from typing import Any

import trio

from blitz.config import Address, Config, Resolved, resolve
from blitz.errors import ConfigError, ConfigProblem, only_error
from blitz.server.connection import serve_connection
from blitz.server.context import Counters, ServerContext
from blitz.server.guests import finish_cleanup, probe
from blitz.server.listen import accept_loop, bind, close_listener, spoken_on
from blitz.server.peer import Peer
from blitz.server.runtime import Runtime, assemble, load_plugin
from blitz.server.stream import AnyStream, SocketStream
from blitz.server.tls import TlsSettings
from blitz.wasm.engine import Engine
from blitz.wasm.plugin import Plugin
from blitz.wasm.pool import PoolStatistics
from blitz.wasm.shared import Shared

__all__ = ["Gateway", "Shared", "Statistics", "bind_all", "open_gateway", "serve", "spoken_on"]

_log = logging.getLogger("blitz.server")

HOUSEKEEPING_INTERVAL = 1.0  # seconds between looks at idle connections, idle instances, old runtimes
KEEP_WARM = 8  # idle instances of a plugin that survive a quiet second


@dataclass(frozen=True, slots=True)
class Statistics:
    """Counts since the gateway started; ``connections`` and ``in_flight`` are now."""

    connections: int
    in_flight: int
    generation: int
    counters: Counters
    plugins: dict[str, PoolStatistics]


class Gateway:
    """A running gateway; made by ``serve``.

    Attributes:
        addresses: ``(host, port)`` of every listening socket, ports as bound.
        generation: 1 for the first configuration, one more for each reload that took effect.
    """

    def __init__(self, context: ServerContext, engine: Engine, shared: Shared | None) -> None:
        self._context = context
        self._engine = engine
        self._shared = shared
        self._old: list[Runtime] = []
        self._listeners: list[socket.socket] = []
        self._drained = trio.Event()
        self._reloading = trio.Lock()
        self.addresses: list[tuple[str, int]] = []
        self.generation = 1

    async def reload(self, config: Config | Resolved) -> None:
        """Run *config* from now on; exchanges in flight end on what they started with.

        Listening addresses stay as they are. Nothing changes unless everything loads.

        Raises:
            ConfigError, PluginLoadError: the old configuration goes on.
        """
        async with self._reloading:
            runtime = await _build(config, self._engine, self._shared)
            if runtime.tls.server is None and any(self._spoken(one).tls for one in self._listeners):
                _discard(runtime)
                raise ConfigError(
                    "a listener speaks TLS, and there is no certificate any more; "
                    "keep [[tls.certs]], or start anew"
                )
            old = self._context.runtime
            self._context.runtime = runtime
            self.generation += 1
            old.retire()
            self._old.append(old)
            _log.info("generation %d is running", self.generation)

    def _spoken(self, listener: socket.socket) -> Address:
        return spoken_on(listener, self._context.runtime.resolved.listen)

    @property
    def urls(self) -> list[str]:
        """Where it listens, as clients write it."""
        urls = []
        for listener in self._listeners:
            spoken = self._spoken(listener)
            urls.append(f"http{'s' if spoken.tls else ''}://{spoken}")
        return urls

    async def drain(self, grace: float | None = None) -> bool:
        """Stop accepting, finish what is in flight, close what is idle.

        Args:
            grace: seconds; None means ``timeouts.drain``. What is unfinished then is cut off.
        Returns:
            True when nothing had to be cut off.
        """
        context = self._context
        if grace is None:
            grace = context.runtime.timeouts.drain
        context.draining = True
        for listener in self._listeners:
            close_listener(listener)
        for connection in list(context.connections):
            connection.drain()
        with trio.move_on_after(grace) as scope:
            await context.wait_no_connections()
        for connection in list(context.connections):
            connection.nursery.cancel_scope.cancel()
        self._drained.set()
        return not scope.cancelled_caught

    async def wait_drained(self) -> None:
        await self._drained.wait()

    async def serve_stream(self, stream: trio.abc.Stream, peer: tuple[str, int] = ("", 0)) -> None:
        """Serve one connection over any byte stream and close it. Never raises what a client causes."""
        own = stream if isinstance(stream, SocketStream) else AnyStream(stream)
        await serve_connection(self._context, own, Peer(*peer))

    def statistics(self) -> Statistics:
        context = self._context
        now = trio.current_time()
        return Statistics(
            connections=len(context.connections),
            in_flight=sum(connection.busy for connection in context.connections),
            generation=self.generation,
            counters=context.counters,
            plugins={pool.name: pool.statistics(now) for pool in context.runtime.pools},
        )

    async def _housekeep(self) -> None:
        while True:
            await trio.sleep(HOUSEKEEPING_INTERVAL)
            await self._look_after()

    async def _look_after(self) -> None:
        now = self._context.wheel.now
        runtimes = [self._context.runtime, *self._old]
        for runtime in runtimes:
            for cluster in runtime.clusters.values():
                for endpoint in cluster.endpoints:
                    endpoint.expire_idle(now)
            for pool in runtime.pools:
                pool.shrink(KEEP_WARM)
                for instance in pool.take_leaving():
                    await finish_cleanup(pool, instance, self._context.guest_turn)
        server = self._context.runtime.tls.server
        if server is not None and server.is_changed():
            await trio.to_thread.run_sync(server.reload)
        for runtime in [old for old in self._old if old.finished]:
            runtime.free()
            self._old.remove(runtime)


async def serve(
    config: Config | Resolved,
    *,
    sockets: Sequence[socket.socket] | None = None,
    shared: Shared | None = None,
    task_status: trio.TaskStatus[Gateway] = trio.TASK_STATUS_IGNORED,
) -> None:
    """Run a gateway until it is drained or cancelled.

    Args:
        config: what to serve; see ``blitz.Config``.
        sockets: listening sockets to use instead of binding ``config.listen``.
        shared: rate limits that other processes share; None: this gateway's own.
        task_status: ``nursery.start`` gets the ``Gateway`` once sockets are bound and plugins loaded.
    Raises:
        ConfigError: also for an address that cannot be bound.
        PluginLoadError: a plugin cannot run.
    """
    engine = Engine()
    own = Shared() if shared is None else None
    shared = own or shared
    try:
        runtime = await _build(config, engine, shared)
        context = ServerContext(runtime)
        gateway = Gateway(context, engine, shared)
        listeners: list[socket.socket] = []
        try:
            listeners += sockets if sockets is not None else bind_all(runtime.resolved)
            gateway._listeners = listeners
            gateway.addresses = [listener.getsockname()[:2] for listener in listeners]
            await _run(gateway, context, listeners, task_status)
        finally:
            for listener in listeners:
                close_listener(listener)
            _tear_down(gateway)
    finally:
        engine.close()
        if own is not None:
            own.close()


async def _run(
    gateway: Gateway,
    context: ServerContext,
    listeners: list[socket.socket],
    task_status: trio.TaskStatus[Gateway],
) -> None:
    async with trio.open_nursery() as nursery:
        nursery.start_soon(context.wheel.run)
        nursery.start_soon(context.readiness.run)
        nursery.start_soon(gateway._housekeep)
        async with trio.open_nursery() as connections:
            for listener in listeners:
                connections.start_soon(accept_loop, listener, context, connections)
            task_status.started(gateway)
            await gateway.wait_drained()
        nursery.cancel_scope.cancel()


def _tear_down(gateway: Gateway) -> None:
    gateway._context.pipes.close()
    for runtime in [gateway._context.runtime, *gateway._old]:
        _discard(runtime)


def _end_leaving(runtime: Runtime) -> None:
    for pool in runtime.pools:
        for instance in pool.take_leaving():
            pool.end(instance)


@contextlib.asynccontextmanager
async def open_gateway(config: Config | Resolved, **options: Any) -> AsyncIterator[Gateway]:
    """``serve`` as a context manager: drains on the way out.

    What keeps it from starting is raised as it is; errors of the body arrive in the group of a nursery.
    """
    started = False
    try:
        async with trio.open_nursery() as nursery:
            gateway: Gateway = await nursery.start(_serve_with, config, options)
            started = True
            yield gateway
            await gateway.drain()
    except BaseExceptionGroup as group:
        error = None if started else only_error(group)
        if error is None:
            raise
        raise error from None


async def _serve_with(
    config: Config | Resolved, options: dict[str, Any], task_status: trio.TaskStatus[Gateway]
) -> None:
    await serve(config, **options, task_status=task_status)


async def _build(config: Config | Resolved, engine: Engine, shared: Shared | None) -> Runtime:
    resolved = config if isinstance(config, Resolved) else resolve(config)
    tls = await trio.to_thread.run_sync(TlsSettings.load, resolved)
    plugins: dict[str, Plugin] = {}
    try:
        for plugin in resolved.plugins:
            # In a thread: compiling takes milliseconds to seconds, and other connections are being served.
            plugins[plugin.name] = await trio.to_thread.run_sync(
                load_plugin, engine, plugin, resolved.log.plugins, shared
            )
    except BaseException:
        for loaded in plugins.values():
            loaded.close()
            loaded.module.close()
        raise
    for warning in resolved.warnings:
        _log.warning("%s", warning)
    runtime = assemble(resolved, plugins, tls)
    try:
        await probe(runtime.pools, trio.Lock())
    except BaseException:
        _discard(runtime)
        raise
    return runtime


def _discard(runtime: Runtime) -> None:
    runtime.retire()
    _end_leaving(runtime)
    runtime.free()


def bind_all(resolved: Resolved, *, share: bool = False) -> list[socket.socket]:
    """Listening sockets for every address of a configuration; *share*: SO_REUSEPORT.

    Raises:
        ConfigError: with every address that cannot be bound; nothing stays bound.
    """
    listeners: list[socket.socket] = []
    problems: list[ConfigProblem] = []
    for address in resolved.listen:
        try:
            listeners += bind(address, share=share)
        except OSError as exc:
            problems.append(ConfigProblem(_bind_sentence(str(address), exc), key="listen"))
    if problems:
        for listener in listeners:
            listener.close()
        raise ConfigError(problems)
    return listeners


def _bind_sentence(address: str, exc: OSError) -> str:
    advice = {
        errno.EADDRINUSE: "is in use by another process; stop that one or choose another port",
        errno.EACCES: "needs privileges; choose a port above 1023 or grant CAP_NET_BIND_SERVICE",
        errno.EADDRNOTAVAIL: "is not an address of this machine; use 127.0.0.1 or 0.0.0.0",
    }.get(exc.errno or 0, f"cannot be bound: {exc.strerror}")
    return f"{address} {advice}"
