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
import logging
import socket
import time
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from types import MappingProxyType

import trio

from blitz.admin.api import Admin
from blitz.admin.desk import Desk
from blitz.admin.gauges import tell_measures
from blitz.admin.report import PlaceOnScoreboard, Reporter, ScoreboardOfParent
from blitz.admin.status import (
    Child,
    EndpointStatus,
    Lost,
    LostWorker,
    PluginStatus,
    Reload,
    Statistics,
    Status,
    Worker,
    WorkerStatus,
    look,
)
from blitz.admin.wishes import Change
from blitz.beside import helpers
from blitz.config import Address, Resolved, Served
from blitz.errors import BlitzError, ListenerDied
from blitz.housekeeping import Housekeeping
from blitz.measures.counters import Counters
from blitz.server.binding import bind_admin, bind_all, check_listeners
from blitz.server.context import ServerContext
from blitz.server.drain import Drain
from blitz.server.faults import Fault
from blitz.server.helper import keep_going
from blitz.server.listen import as_bound, close_listener, spoken_on
from blitz.server.listeners import Listeners
from blitz.server.peer import Peer
from blitz.server.reading import read_apart
from blitz.server.room import too_few_descriptors
from blitz.server.serving import serve_connection
from blitz.server.shortages import Shortages
from blitz.server.space import engine_for
from blitz.server.stream import AnyStream, SocketStream
from blitz.server.watch import Seen, check_watching, look_around
from blitz.under_trio import check_under_trio
from blitz.versions import Source, Versions, build_runtime, read_source
from blitz.wasm.engine import Engine, EngineStatistics
from blitz.wasm.pool import PoolStatistics
from blitz.wasm.shared import Shared

__all__ = [
    "Change",
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
    "serve",
    "spoken_on",
    "too_few_descriptors",
]

_log = logging.getLogger("blitz.server")


class Gateway:
    """A running gateway; made by ``serve``.

    Attributes:
        addresses: ``(host, port)`` of every listening socket, ports as bound.
        admin_addresses: the same of the admin listener; [] when it is off.
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
        self.listeners = Listeners(context, alone=True)
        self._versions = Versions(context, engine, shared, again, admin, self.listeners)
        self._housekeeping = Housekeeping(context, self._versions, self.listeners, admin)
        self._drain: Drain | None = None
        self._drained = trio.Event()
        self.addresses: list[tuple[str, int]] = []
        self.admin_addresses = admin.addresses
        self.name = ""
        admin.reporter.look = self._look
        admin.reporter.tell_measures = self._tell_measures
        self._desk = Desk(context, admin.reporter, self._reload_for)
        self._versions.on_swap = self._desk.apply
        admin.open(context, self._desk)

    @property
    def generation(self) -> int:
        """1 for the first configuration, one more for each reload that took effect."""
        return self._versions.generation

    def report_changes(self, on_change: Callable[[], None], set_up_as: Resolved) -> None:
        """Call *on_change* after each reload. *set_up_as*: how sockets and logs are set up, once."""
        self._versions.on_change = on_change
        self._versions.set_up_as, self._versions.logs_set_up = set_up_as, True
        self._desk.configured_level = set_up_as.log.level

    async def reload_as_asked(self) -> None:
        """As ``reload``, for whoever sends a signal: a refusal is logged, and told to who asked for it."""
        await self._desk.reload_as_asked()

    def see_to_wishes(self) -> None:
        """Operators want something of all processes: do it here."""
        self._desk.look()

    async def _reload_for(self, reason: str) -> None:
        await self.reload(reason=reason)

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
        await self._versions.reload(config, reason)

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
        await self._versions.roll_back(plugin)

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
        self._versions.give_up()
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
            last_reload=self._versions.last_reload,
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
            last_reload=self._versions.last_reload,
            now=trio.current_time(),
            done=(self._desk.wishes.number, self._desk.reloads),
        )

    def _tell_measures(self) -> None:
        versions = self._versions
        pools, runtimes = versions.pools(), versions.runtimes()
        tell_measures(self._context, pools, runtimes, self.generation, versions.last_reload)

    def faults(self) -> tuple[Fault, ...]:
        """The recent faults of plugins, oldest first; a bounded number."""
        return self._context.faults.recent()

    async def _reload_files(self) -> None:
        with contextlib.suppress(BlitzError):  # it was logged, and the old one goes on
            await self.reload(reason="files")

    async def _drain_when_a_listener_died(self) -> None:
        await self._context.shortages.wait_listener_died()
        await self.drain()


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
    reporter = Reporter(place)
    resolved = await read_source(config)
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
        admin = Admin(reporter, admin_sockets, resolved.admin.token, shortages)
        async with admin.serve():
            if own is not None and (few := too_few_descriptors(resolved)):
                _log.warning("%s", few)  # a parent says it once for all workers
            runtime = await build_runtime(resolved, engine, shared, served)
            context = ServerContext(runtime, shortages=shortages, measures=reporter.measures)
            context.limits = shared
            gateway = Gateway(context, engine, shared, again if again is not None else config, admin)
            gateway._desk.apply()
            await _listen(gateway, context, sockets, seen, task_status)
    finally:
        engine.close()
        if own is not None:
            own.close()


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
        check_listeners(context.runtime.resolved, context.runtime.tls, listeners.sockets)
        gateway.addresses = [listener.getsockname()[:2] for listener in listeners.sockets]
        await _run(gateway, context, seen, task_status)
        if context.shortages.dead:
            raise ListenerDied(context.shortages.dead)
    finally:
        for listener in listeners.sockets:
            close_listener(listener)
        with trio.CancelScope(shield=True):
            gateway._versions.give_up()
            async with gateway._versions.running:
                _tear_down(gateway)


async def _run(
    gateway: Gateway,
    context: ServerContext,
    seen: Seen | None,
    task_status: trio.TaskStatus[Gateway],
) -> None:
    async with trio.open_nursery() as nursery:
        nursery.start_soon(context.fast_path.run)
        for name, lost, run in helpers(
            context,
            gateway._housekeeping,
            gateway._versions,
            on_dead_listener=gateway._drain_when_a_listener_died,
            on_changed_files=gateway._reload_files,
            seen=seen,
        ):
            nursery.start_soon(keep_going, name, lost, run)
        async with trio.open_nursery() as connections:
            gateway.listeners.start(connections)
            gateway._publish()
            task_status.started(gateway)
            await gateway.wait_drained()
        gateway._publish()
        await gateway._housekeeping.end_instances()
        nursery.cancel_scope.cancel()


def _tear_down(gateway: Gateway) -> None:
    gateway._context.faults.tell_left_out(early=True)
    gateway._context.pipes.close()
    gateway._versions.tear_down()
