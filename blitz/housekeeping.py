"""What a gateway does once a second beside the traffic, and at its end."""

from __future__ import annotations

import logging

import trio

from blitz.admin.api import Admin
from blitz.errors import ConfigError
from blitz.measures.figures import LOOP_LAG
from blitz.server.context import ServerContext
from blitz.server.guests import finish_leaving
from blitz.server.listen import wake_deaf
from blitz.server.listeners import Listeners
from blitz.server.reading import read_apart
from blitz.trouble import Trouble
from blitz.versions import Versions
from blitz.wasm.pool import PluginPool

__all__ = ["Housekeeping"]

_log = logging.getLogger("blitz.server")

HOUSEKEEPING_INTERVAL = 1.0  # seconds between looks at idle connections, idle instances, old runtimes


class Housekeeping:
    """Of one gateway: idle connections and instances, versions that nobody uses any more, certificates."""

    def __init__(
        self, context: ServerContext, versions: Versions, listeners: Listeners, admin: Admin
    ) -> None:
        self._context = context
        self._versions = versions
        self._listeners = listeners
        self._admin = admin

    async def run(self) -> None:
        while True:
            due = trio.current_time() + HOUSEKEEPING_INTERVAL
            await trio.sleep_until(due)
            self._context.measures.observe(LOOP_LAG, trio.current_time() - due)
            await self.look_after()
            self._context.shortages.look()
            wake_deaf(self._listeners.sockets)
            self._admin.look_after()
            self._admin.reporter.publish()

    async def look_after(self) -> None:
        now = trio.current_time()
        self._context.files.sweep()
        current = self._context.runtime
        for runtime in [current, *self._versions.old]:
            for cluster in runtime.clusters.values():
                cluster.look_after(now)
        for pool in current.pools:
            pool.look_after()
            if pool.quarantines and pool.plugin.spec.rollback:
                self._versions.roll_back_failing(pool)
        pools = self._versions.pools()
        await finish_leaving(pools, self._context.turns)
        self._note_unsaid(pools)
        self._context.faults.tell_left_out()
        self._versions.free_retired()

    async def look_after_certificates(self) -> None:
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

    async def end_instances(self) -> None:
        """Every exchange has ended: let the instances clean up, each within its plugin's timeout."""
        with trio.CancelScope(shield=True):
            pools = self._versions.pools()
            for pool in pools:
                pool.close()
            await finish_leaving(pools, self._context.turns)
            self._note_unsaid(pools)
