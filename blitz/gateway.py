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
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from types import MappingProxyType
from typing import Any

import trio

from blitz.admin.api import Admin
from blitz.admin.report import PlaceOnScoreboard, Reporter, ScoreboardOfParent
from blitz.admin.status import (
    Child,
    EndpointStatus,
    Lost,
    LostWorker,
    PluginStatus,
    Reload,
    Status,
    Worker,
    WorkerStatus,
    look,
)
from blitz.config import Address, Config, Resolved, Served, needs_restart, resolve
from blitz.errors import BlitzError, ConfigError, ConfigProblem, InternalError, ListenerDied, only_error
from blitz.server.context import Counters, ServerContext
from blitz.server.drain import Drain
from blitz.server.faults import Fault
from blitz.server.guests import finish_leaving
from blitz.server.helper import keep_going
from blitz.server.listen import as_bound, bind, close_listener, spoken_on, wake_deaf
from blitz.server.listeners import Listeners
from blitz.server.loading import Loader, discard, open_cache_apart
from blitz.server.peer import Peer
from blitz.server.reading import read_apart
from blitz.server.reload_again import ReloadAgain
from blitz.server.room import too_few_descriptors
from blitz.server.runtime import Runtime, assemble
from blitz.server.serving import serve_connection
from blitz.server.shortages import Shortages
from blitz.server.space import engine_for
from blitz.server.stream import AnyStream, SocketStream
from blitz.server.tls import TlsSettings
from blitz.server.turns import GuestTurns
from blitz.server.watch import Seen, check_watching, look_around, watch
from blitz.text import one_line
from blitz.trouble import Trouble, reason_of
from blitz.under_trio import check_under_trio
from blitz.wasm.engine import Engine, EngineStatistics
from blitz.wasm.plugin import PluginSpec
from blitz.wasm.pool import PluginPool, PoolStatistics
from blitz.wasm.shared import Shared

__all__ = [
    "Child",
    "Counters",
    "EndpointStatus",
    "EngineStatistics",
    "Fault",
    "Gateway",
    "Lost",
    "LostWorker",
    "PlaceOnScoreboard",
    "PluginStatus",
    "PoolStatistics",
    "Reload",
    "ScoreboardOfParent",
    "Shared",
    "Statistics",
    "Status",
    "WorkerStatus",
    "as_bound",
    "bind_admin",
    "bind_all",
    "keep_going",
    "open_gateway",
    "serve",
    "spoken_on",
    "too_few_descriptors",
]

_log = logging.getLogger("blitz.server")

ENDING = "the gateway is ending; start another one with that configuration"
HOUSEKEEPING_INTERVAL = 1.0  # seconds between looks at idle connections, idle instances, old runtimes


# A configuration, or where to get one when it is needed. That is called in a thread and may block there; what
# it returns after ten seconds is not used any more.
Source = Config | Resolved | Callable[[], Config | Resolved]
# Name, what is lost while it fails, and the task: see ``keep_going``.
Helper = tuple[str, str, Callable[[], Awaitable[object]]]


@dataclass(frozen=True, slots=True)
class Statistics:
    """Counts since the gateway started; ``connections`` and ``in_flight`` are now.

    Attributes:
        guests: instances, calls and memory of all plugins together.
        access_lost: lines of the access log that standard output did not take.
        last_reload: None before the first.
    """

    connections: int
    in_flight: int
    generation: int
    counters: Counters
    plugins: dict[str, PoolStatistics]
    guests: EngineStatistics
    access_lost: int
    last_reload: Reload | None


class Gateway:
    """A running gateway; made by ``serve``.

    Attributes:
        addresses: ``(host, port)`` of every listening socket, ports as bound.
        admin_addresses: the same of the admin listener; [] when it is off.
        generation: 1 for the first configuration, one more for each reload that took effect.
        on_change: called after each of those.
        set_up_as: says how sockets and what else is set up once are; logs_set_up: logs are among that.
        listeners: where connections are taken. name: what its lines about a drain begin with.
    """

    def __init__(
        self,
        context: ServerContext,
        engine: Engine,
        shared: Shared | None,
        again: Source | None,
        admin: Admin,
    ) -> None:
        self._context = context
        self._admin = admin
        self._started = time.time()
        self._engine = engine
        self._shared = shared
        self._again = again
        self.set_up_as = context.runtime.resolved
        self.logs_set_up = False
        self._old: list[Runtime] = []
        self._retired: list[PluginPool] = []  # no new exchange finds them; some still use them
        self._spares: dict[str, PluginPool] = {}  # the good version before the present one, of each plugin
        self._refused: dict[str, PluginSpec] = {}  # rolled back: not to be loaded again unasked
        self._last_reload: Reload | None = None
        self.listeners = Listeners(context, alone=True)
        self._drain: Drain | None = None
        self._drained = trio.Event()
        self._reloading = trio.Lock()
        self._reload_scope = trio.CancelScope()  # around the reload that runs
        self._reload_again = ReloadAgain(self.reload)
        self._ending = False
        self.addresses: list[tuple[str, int]] = []
        self.admin_addresses = admin.addresses
        self.generation = 1
        self.name = ""
        self.on_change: Callable[[], None] = lambda: None
        admin.reporter.look = self._look

    async def reload(self, config: Source | None = None, *, reason: str = "call") -> None:
        """Run *config* from now on; exchanges in flight end on what they started with.

        Plugins are compiled and tried out beside the traffic; one whose file and settings are the same
        keeps its instances. Listening addresses stay as they are. Nothing changes unless everything loads.

        Args:
            config: None reads the one that the gateway was started with again, and the plugins' files.
            reason: for the log and for ``statistics().last_reload``.
        Raises:
            ConfigError, PluginLoadError: the old configuration goes on.
        """
        check_under_trio("Gateway.reload")
        async with self._reloading:
            try:
                self._check_not_ending()
                with trio.CancelScope() as self._reload_scope:
                    await self._reload(config if config is not None else self._again, reason)
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
        before, self._last_reload = self._last_reload, Reload(time.time(), reason, said)
        if self._reload_again.note(error, reason) and before is not None and before.error == said:
            return  # tried again, for the same reason in vain
        again = "; it is tried again" if self._reload_again.is_due else ""
        _log.error("reload refused (%s), generation %d goes on: %s%s", reason, self.generation, said, again)

    async def _reload(self, config: Source | None, reason: str) -> None:
        if config is None:
            raise ConfigError("there is no configuration file to read again")
        resolved = await _read(config)
        if reason != "files":
            self._refused.clear()
        tls = await read_apart(partial(TlsSettings.load, resolved))
        _check_listeners(resolved, tls, self.listeners.sockets)
        self._admin.check_token(resolved.admin.token)
        old = {pool.name: pool for pool in self._context.runtime.pools}
        cache = await open_cache_apart(resolved.cache_dir)
        loader = Loader(self._engine, cache, self._shared, old, self._refused, trial=True)
        await loader.load(resolved, self._context.turns)
        runtime = loader.assemble(resolved, tls)
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
        self._last_reload = Reload(time.time(), reason, "", loaded, kept, tuple(waiting))
        self._reload_again.forget()
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
        self.generation += 1
        old.retire()
        self._old.append(old)
        new = {pool.name: pool for pool in runtime.pools}
        for pool in old.pools:
            if new.get(pool.name) is pool:
                continue
            pool.close()
            self._retired.append(pool)
            if pool.name in new and not pool.quarantines:
                self._spares[pool.name] = pool
        for name in self._spares.keys() - new.keys():
            del self._spares[name]
        self.on_change()

    def served(self) -> Served:
        """What it runs on now."""
        runtime = self._context.runtime
        return Served(
            resolved=runtime.resolved, digests={pool.name: pool.plugin.spec.sha256 for pool in runtime.pools}
        )

    async def roll_back(self, plugin: str) -> None:
        """Run the version of *plugin* again that ran before the present one.

        Raises:
            ConfigError: there is none: it was not replaced since the gateway started, or failed itself.
                Or the gateway is ending.
        """
        check_under_trio("Gateway.roll_back")
        async with self._reloading:
            self._check_not_ending()
            if plugin not in self._spares:
                raise ConfigError(f"there is no earlier good version of plugin {plugin} to return to")
            self._return_to_spare(plugin)

    def _roll_back_failing(self, pool: PluginPool) -> None:
        """The version before *pool* returns, if there is one. While a reload runs, which may bring another
        one, nothing happens: there will be a next look."""
        try:
            self._reloading.acquire_nowait()
        except trio.WouldBlock:
            return
        try:
            if pool in self._context.runtime.pools and pool.name in self._spares:
                self._return_to_spare(pool.name)
        finally:
            self._reloading.release()

    def _return_to_spare(self, plugin: str) -> None:
        spare = self._spares.pop(plugin)
        runtime = self._context.runtime
        pools = {pool.name: pool for pool in runtime.pools}
        self._refused[plugin] = pools[plugin].plugin.spec
        self._retired.remove(spare)
        spare.reopen()
        self._swap(assemble(runtime.resolved, pools | {plugin: spare}, runtime.tls))
        self._spares.pop(plugin, None)
        self._last_reload = Reload(time.time(), "rollback", "", (plugin,))
        _log.error(
            "plugin %s: the version before the present one is back (generation %d); reload to try the "
            "newer file again",
            plugin,
            self.generation,
        )

    def _spoken(self, listener: socket.socket) -> Address:
        return spoken_on(listener, self._context.runtime.resolved.listen)

    @property
    def urls(self) -> list[str]:
        """Where it listens, as clients write it."""
        urls = []
        for listener in self.listeners.sockets:
            spoken = self._spoken(listener)
            urls.append(f"http{'s' if spoken.tls else ''}://{spoken}")
        return urls

    async def drain(self, grace: float | None = None, delay: float | None = None) -> bool:
        """Stop accepting, finish what is in flight, close what is idle.

        Connections that the kernel has taken already are served. Called again while it runs, it shortens
        that to what is given now, and waits for the same end.

        Args:
            grace: seconds; None means ``timeouts.drain``. What is unfinished then is cut off.
            delay: seconds to go on accepting before, while ``/readyz`` says 503; None means
                ``timeouts.drain_delay``.
        Returns:
            True when nothing had to be cut off.
        """
        check_under_trio("Gateway.drain")
        drain = self._drain
        if drain is not None:
            drain.shorten(grace, delay)
            await self.wait_drained()
            return not drain.cut
        context, timeouts = self._context, self._context.runtime.timeouts
        drain = self._drain = Drain(context, self.listeners, self.name)
        context.ending = True
        self._give_up_reloading()
        self._publish()
        try:
            await drain.run(
                timeouts.drain if grace is None else grace,
                timeouts.drain_delay if delay is None else delay,
            )
        except BaseException:
            self._drain = None  # it may be tried again
            raise
        self._drained.set()
        return not drain.cut

    def drain_statistics(self) -> tuple[int, int]:
        """Of the drain: exchanges that were in flight when it began, and that it cut off."""
        return (self._drain.in_flight, self._drain.cut) if self._drain is not None else (0, 0)

    def _give_up_reloading(self) -> None:
        """A reload that runs ends at once, and none begins any more: nothing would run on what it loads."""
        self._ending = True
        self._reload_scope.cancel()

    def _check_not_ending(self) -> None:
        if self._ending:
            raise ConfigError(ENDING)

    async def wait_drained(self) -> None:
        """Return once ``drain`` has ended what was in flight, whoever called it."""
        await self._drained.wait()

    async def serve_stream(self, stream: trio.abc.Stream, peer: tuple[str, int] = ("", 0)) -> None:
        """Serve one connection over any byte stream and close it. Never raises what a client causes."""
        own = stream if isinstance(stream, SocketStream) else AnyStream(stream)
        scheme = "https" if isinstance(stream, trio.SSLStream) else "http"
        try:
            await serve_connection(self._context, own, Peer(*peer, scheme=scheme))
            if isinstance(own, AnyStream):
                await own.say_end()
        finally:
            await trio.aclose_forcefully(stream)

    def statistics(self) -> Statistics:
        """Counts since the start, and what is in flight now, of this process."""
        check_under_trio("Gateway.statistics")
        context = self._context
        now = trio.current_time()
        return Statistics(
            connections=len(context.connections),
            in_flight=context.in_flight,
            generation=self.generation,
            counters=context.count(),
            plugins={pool.name: pool.statistics(now) for pool in context.runtime.pools},
            guests=self._engine.statistics(),
            access_lost=context.access_log.dropped,
            last_reload=self._last_reload,
        )

    def status(self) -> Status:
        """What ``/status`` of the admin listener says: of all workers, where there are several."""
        return self._admin.reporter.status()

    def why_not_ready(self) -> str:
        """What ``/readyz`` of the admin listener says: "" when requests are welcome."""
        return self._admin.reporter.why_not_ready()

    def _publish(self) -> None:
        """Let the other processes know now; housekeeping does it again, and says if it cannot."""
        with contextlib.suppress(Exception):
            self._admin.reporter.publish()

    def _look(self) -> Worker:
        return look(
            self._context,
            started=self._started,
            generation=self.generation,
            last_reload=self._last_reload,
            now=trio.current_time(),
        )

    def faults(self) -> tuple[Fault, ...]:
        """The recent faults of plugins, oldest first; a bounded number."""
        return self._context.faults.recent()

    async def _reload_files(self) -> None:
        with contextlib.suppress(BlitzError):  # it was logged, and the old one goes on
            await self.reload(reason="files")

    async def _housekeep(self) -> None:
        while True:
            await trio.sleep(HOUSEKEEPING_INTERVAL)
            await self._look_after()
            self._context.shortages.look()
            wake_deaf(self.listeners.sockets)
            self._admin.look_after()
            self._admin.reporter.publish()

    async def _look_after(self) -> None:
        now = trio.current_time()
        current = self._context.runtime
        for runtime in [current, *self._old]:
            for cluster in runtime.clusters.values():
                for endpoint in cluster.endpoints:
                    endpoint.expire_idle(now)
        for pool in current.pools:
            pool.look_after()
            if pool.quarantines and pool.plugin.spec.rollback:
                self._roll_back_failing(pool)
        pools = [*current.pools, *self._retired]
        await finish_leaving(pools, self._context.turns)
        self._note_unsaid(pools)
        self._context.faults.tell_left_out()
        self._free_retired()

    async def _drain_when_a_listener_died(self) -> None:
        await self._context.shortages.wait_listener_died()
        await self.drain()

    async def _look_after_certificates(self) -> None:
        """A task of its own: their files may lie where nobody answers."""
        trouble = Trouble(_log, "looking after certificates", "they go on as they are")
        while True:
            await trio.sleep(HOUSEKEEPING_INTERVAL)
            server = self._context.runtime.tls.server
            if server is None:
                continue
            try:
                server.take(await read_apart(server.read_changes))
                trouble.ends()
            except ConfigError as error:
                trouble.begins(str(error))

    def _note_unsaid(self, pools: list[PluginPool]) -> None:
        for pool in pools:
            for error in pool.take_unsaid():
                self._context.faults.note(error, outcome="its instance was ended")

    def _free_retired(self) -> None:
        self._old = [runtime for runtime in self._old if runtime.users]
        needed = {id(pool) for runtime in self._old for pool in runtime.pools}
        needed |= {id(pool) for pool in self._spares.values()}
        for pool in [pool for pool in self._retired if pool.closed and id(pool) not in needed]:
            self._retired.remove(pool)
            pool.free()

    async def _end_instances(self) -> None:
        """Every exchange has ended: let the instances clean up, each within its plugin's timeout."""
        with trio.CancelScope(shield=True):
            pools = [*self._context.runtime.pools, *self._retired]
            for pool in pools:
                pool.close()
            await finish_leaving(pools, self._context.turns)
            self._note_unsaid(pools)


async def serve(
    config: Source,
    *,
    sockets: Sequence[socket.socket] | None = None,
    shared: Shared | None = None,
    again: Source | None = None,
    admin_sockets: Sequence[socket.socket] | None = None,
    place: PlaceOnScoreboard | None = None,
    served: Mapping[str, str] = MappingProxyType({}),
    task_status: trio.TaskStatus[Gateway] = trio.TASK_STATUS_IGNORED,
) -> None:
    """Run a gateway until it is drained or cancelled.

    Args:
        config: what to serve; see ``blitz.Config``. Or where to get it.
        sockets: listening sockets to use instead of binding ``config.listen``.
        shared: rate limits that other processes share; None: this gateway's own.
        again: where ``reload()`` and ``watch`` get the configuration; None: *config* once more.
        admin_sockets: listening sockets to use instead of binding ``config.admin.listen``.
        place: where this process tells the others of the same service how it is.
        served: of plugins that ran on *config* already: name -> sha256 of the module. Those are loaded from
            the compile cache, if it has them, and not from files that may have changed.
        task_status: ``nursery.start`` gets the ``Gateway`` once sockets are bound and plugins loaded.
    Raises:
        ConfigError: also for an address that cannot be bound.
        PluginLoadError: a plugin cannot run.
        ListenerDied: a listening socket does not listen any more and cannot be made to; what was in flight
            has ended. While it lasts, ``why_not_ready`` says so, as it does when descriptors run out.
        RuntimeError: outside of trio.
    """
    check_under_trio("blitz.serve")
    resolved = await _read(config)
    engine, about_space = engine_for(resolved.plugins)
    own = Shared() if shared is None else None
    shared = own or shared
    try:
        if about_space:
            _log.warning("%s", about_space)
        seen = None
        if resolved.watch:
            check_watching()
            seen = await read_apart(partial(look_around, resolved))
        if admin_sockets is None:
            admin_sockets = bind_admin(resolved)
        shortages = Shortages()
        admin = Admin(Reporter(place), admin_sockets, resolved.admin.token, shortages)
        async with admin.serve():
            if own is not None and (few := too_few_descriptors(resolved)):
                _log.warning("%s", few)  # a parent says it once for all workers
            context = ServerContext(await _build(resolved, engine, shared, served), shortages=shortages)
            gateway = Gateway(context, engine, shared, again if again is not None else config, admin)
            await _listen(gateway, context, sockets, seen, task_status)
    finally:
        engine.close()
        if own is not None:
            own.close()


def _check_listeners(resolved: Resolved, tls: TlsSettings, listeners: Sequence[socket.socket]) -> None:
    """Sockets that speak TLS outlive configurations; one without certificates cannot serve them."""
    if tls.server is None and any(
        spoken_on(one, resolved.listen).tls for one in listeners if one.fileno() >= 0
    ):
        raise ConfigError(
            "a listener speaks TLS, and there is no certificate any more; keep [[tls.certs]], or start anew"
        )


async def _listen(
    gateway: Gateway,
    context: ServerContext,
    sockets: Sequence[socket.socket] | None,
    seen: Seen | None,
    task_status: trio.TaskStatus[Gateway],
) -> None:
    listeners = gateway.listeners
    listeners.alone = sockets is None
    try:
        listeners.sockets += sockets if sockets is not None else bind_all(context.runtime.resolved)
        _check_listeners(context.runtime.resolved, context.runtime.tls, listeners.sockets)
        gateway.addresses = [listener.getsockname()[:2] for listener in listeners.sockets]
        await _run(gateway, context, seen, task_status)
        if context.shortages.dead:
            raise ListenerDied(context.shortages.dead)
    finally:
        for listener in listeners.sockets:
            close_listener(listener)
        with trio.CancelScope(shield=True):
            gateway._give_up_reloading()
            async with gateway._reloading:
                _tear_down(gateway)


async def _run(
    gateway: Gateway,
    context: ServerContext,
    seen: Seen | None,
    task_status: trio.TaskStatus[Gateway],
) -> None:
    async with trio.open_nursery() as nursery:
        nursery.start_soon(context.fast_path.run)
        for name, lost, run in _helpers(gateway, context, seen):
            nursery.start_soon(keep_going, name, lost, run)
        async with trio.open_nursery() as connections:
            gateway.listeners.start(connections)
            gateway._publish()
            task_status.started(gateway)
            await gateway.wait_drained()
        gateway._publish()
        await gateway._end_instances()
        nursery.cancel_scope.cancel()


def _helpers(gateway: Gateway, context: ServerContext, seen: Seen | None) -> Iterator[Helper]:
    """Everything that works beside the traffic."""
    yield "deadlines", "nothing times out", context.wheel.run
    yield "housekeeping", "what is idle or replaced stays, and /status may be old", gateway._housekeep
    yield "looking after certificates", "they go on as they are", gateway._look_after_certificates
    yield "the access log", "its lines are kept or lost", context.access_log.run
    yield "ending when a listener is dead", "it goes on without", gateway._drain_when_a_listener_died
    yield "trying a reload again", "SIGHUP loads", gateway._reload_again.run
    if seen is not None:
        changes = partial(watch, lambda: context.runtime.resolved, seen, gateway._reload_files)
        yield "watching plugins", "changed files are not loaded; SIGHUP loads them", changes


def _tear_down(gateway: Gateway) -> None:
    gateway._context.faults.tell_left_out(early=True)
    gateway._context.pipes.close()
    for runtime in [gateway._context.runtime, *gateway._old]:
        runtime.retire()
    discard([*gateway._context.runtime.pools, *gateway._retired])


@contextlib.asynccontextmanager
async def open_gateway(config: Config | Resolved, **options: Any) -> AsyncIterator[Gateway]:
    """``serve`` as a context manager: drains on the way out.

    What keeps it from starting is raised as it is; errors of the body arrive in the group of a nursery.
    """
    check_under_trio("blitz.open_gateway")
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


async def _build(
    resolved: Resolved, engine: Engine, shared: Shared | None, served: Mapping[str, str]
) -> Runtime:
    tls = await read_apart(partial(TlsSettings.load, resolved))
    cache = await open_cache_apart(resolved.cache_dir)
    loader = Loader(engine, cache, shared, {}, {}, trial=False, served=served)
    await loader.load(resolved, GuestTurns())
    for warning in resolved.warnings:
        _log.warning("%s", warning)
    return loader.assemble(resolved, tls)


async def _read(config: Source) -> Resolved:
    if callable(config):
        config = await read_apart(config)
    return config if isinstance(config, Resolved) else await read_apart(partial(resolve, config))


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


def bind_admin(resolved: Resolved) -> list[socket.socket]:
    """Listening sockets for the admin address of a configuration, [] when it has none.

    Raises:
        ConfigError: it cannot be bound.
    """
    address = resolved.admin.listen
    if address is None:
        return []
    try:
        return list(bind(address))
    except OSError as exc:
        raise ConfigError([ConfigProblem(_bind_sentence(str(address), exc), key="admin.listen")]) from exc


def _bind_sentence(address: str, exc: OSError) -> str:
    if isinstance(exc, socket.gaierror):
        return f"{address} has a name that does not resolve; write an IP address of this machine"
    advice = {
        errno.EADDRINUSE: "is in use by another process; stop that one or choose another port",
        errno.EACCES: "needs privileges; choose a port above 1023 or grant CAP_NET_BIND_SERVICE",
        errno.EADDRNOTAVAIL: "is not an address of this machine; use 127.0.0.1 or 0.0.0.0",
    }.get(exc.errno or 0, f"cannot be bound: {exc.strerror}")
    return f"{address} {advice}"
