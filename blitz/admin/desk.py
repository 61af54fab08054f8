"""Makes the wishes of operators true: in this process, and, over the parent, in all of them.

``carry_out`` returns when every worker that serves has done it, or says that it took too long.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING

import msgspec
import trio

from blitz.errors import BlitzError
from blitz.log_level import set_level

from .wishes import MAX_KEPT, Change, Wishes

if TYPE_CHECKING:
    from blitz.server.context import ServerContext

    from .report import Reporter
    from .status import Worker

__all__ = ["Busy", "Desk", "Done", "Failed"]

POLL = 0.02  # seconds between looks at what the others say
PATIENCE = 10.0  # seconds for what takes a moment
RELOAD_PATIENCE = 120.0  # seconds: plugins are compiled


class Busy(Exception):
    """There is more to do than may wait."""


class Failed(Exception):
    """It was not done in time, or could not be asked for; the message is for who asks."""


class Done(msgspec.Struct, frozen=True, kw_only=True):
    """What has become of a change.

    Attributes:
        workers: that have done it. generation: of the configuration; the newest.
        errors: of a reload: why workers go on with the old configuration, each once.
        loaded, kept, restart: of a reload, see ``Reload``.
    """

    workers: int
    generation: int
    errors: tuple[str, ...] = ()
    loaded: tuple[str, ...] = ()
    kept: tuple[str, ...] = ()
    restart: tuple[str, ...] = ()


class Desk:
    """Of one process.

    Args:
        context: of the gateway. reload: makes it read its configuration again; raises BlitzError.
    Attributes:
        wishes: those that are true here. reloads: those asked for that were made.
        configured_level: of the log, where nothing is wished.
    """

    def __init__(
        self, context: ServerContext, reporter: Reporter, reload: Callable[[str], Awaitable[None]]
    ) -> None:
        self._context = context
        self._reporter = reporter
        self._reload = reload
        self._released: dict[str, int] = {}
        self._level = ""
        self.configured_level: str = context.runtime.resolved.log.level
        self._waiting = 0
        self.wishes = reporter.wishes()
        self.reloads = reporter.began_after

    # -- here

    def look(self) -> None:
        """The parent has other wishes: make them true."""
        self.wishes = self._reporter.wishes()
        self.apply()
        self._reporter.publish()

    def apply(self) -> None:
        """Make what runs now as the wishes say; to be called when something else runs."""
        self._apply_level()
        self._apply_to_plugins()
        drained = set(self.wishes.drained)
        for cluster in self._context.runtime.clusters.values():
            for endpoint in cluster.endpoints:
                if drained or endpoint.drained:
                    endpoint.drain(wanted=(cluster.name, str(endpoint.address)) in drained)

    def _apply_level(self) -> None:
        if self.wishes.level != self._level:
            self._level = self.wishes.level
            set_level(self._level or self.configured_level)
            self._context.note_level()

    def _apply_to_plugins(self) -> None:
        for pool in self._context.runtime.pools:
            number = self.wishes.released.get(pool.name, 0)
            if pool.name in self.wishes.held:
                pool.hold()
            elif pool.held or number > self._released.get(pool.name, 0):
                pool.release()
            self._released[pool.name] = number

    async def reload_as_asked(self) -> None:
        """A signal of the parent's: somebody wants a reload, perhaps over the admin listener."""
        number = self._reporter.wishes().reloads
        reason = "admin" if number > self.reloads else "signal"
        try:
            await self._reload(reason)
        except BlitzError:
            pass  # it was logged, and the old configuration goes on
        finally:
            self.reloads = max(self.reloads, number)
            self._reporter.publish()

    # -- everywhere

    async def carry_out(self, change: Change) -> Done:
        """Have *change* made everywhere.

        Raises:
            Busy, Failed.
        """
        if self._waiting >= MAX_KEPT // 4:
            raise Busy
        self._waiting += 1
        try:
            if self._reporter.ask is None:
                return await self._alone(change)
            return await self._by_all(change)
        finally:
            self._waiting -= 1

    async def _alone(self, change: Change) -> Done:
        self.wishes = self.wishes.after(change)
        if change.what == "reload":
            number = self.wishes.reloads
            try:
                await self._reload("admin")
            except BlitzError:
                pass
            finally:
                self.reloads = max(self.reloads, number)
        else:
            self.apply()
        self._reporter.publish()
        return _done(change, self._reporter.serving())

    async def _by_all(self, change: Change) -> Done:
        assert self._reporter.ask is not None
        try:
            self._reporter.ask(change)
        except OSError as exc:
            raise Failed(f"the parent process cannot be asked: {exc.strerror or exc}") from exc
        wanted = await self._taken(change)
        with trio.move_on_after(RELOAD_PATIENCE if change.what == "reload" else PATIENCE):
            while True:
                workers = self._reporter.serving()
                if all(_has_done(worker, change, wanted) for worker in workers):
                    return _done(change, workers)
                await trio.sleep(POLL)
        missing = sum(not _has_done(worker, change, wanted) for worker in workers)
        raise Failed(
            f"{missing} of {len(workers)} workers have not done it yet; /status tells how it goes on"
        )

    async def _taken(self, change: Change) -> Wishes:
        """The wishes once the parent has taken *change* into them."""
        with trio.move_on_after(PATIENCE):
            while True:
                wishes = self._reporter.wishes()
                if change.id in wishes.taken:
                    return wishes
                await trio.sleep(POLL)
        raise Failed("the parent process does not answer")


def _has_done(worker: Worker, change: Change, wanted: Wishes) -> bool:
    if change.what == "reload":
        return worker.reloads >= wanted.reloads
    return worker.wishes >= wanted.number


def _done(change: Change, workers: list[Worker]) -> Done:
    generation = max((worker.generation for worker in workers), default=0)
    if change.what != "reload":
        return Done(workers=len(workers), generation=generation)
    reloads = [worker.last_reload for worker in workers if worker.last_reload is not None]
    last = max(reloads, key=lambda reload: reload.time, default=None)
    return Done(
        workers=len(workers),
        generation=generation,
        errors=tuple(dict.fromkeys(reload.error for reload in reloads if reload.error)),
        loaded=last.loaded if last is not None else (),
        kept=last.kept if last is not None else (),
        restart=last.restart if last is not None else (),
    )
