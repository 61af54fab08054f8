"""Keys of token issuers, fetched beside the traffic: soon after the start, before they are old, and when a
token names one that is not there."""

from __future__ import annotations

import logging
import time
from functools import partial
from typing import TYPE_CHECKING

import trio

from blitz.builtin.jwks import MAX_SIZE, BadKeys, KeySource, read_key_set
from blitz.builtin.services import Question
from blitz.errors import BlitzError
from blitz.text import one_line

from .subrequest import ask

if TYPE_CHECKING:
    from .resources import Resources

__all__ = ["KeyKeeper"]

_log = logging.getLogger("blitz.auth")

LOOK_INTERVAL = 1.0  # seconds between looks at what is due


class KeyKeeper:
    """One per gateway."""

    def __init__(self, resources: Resources) -> None:
        self._resources = resources
        self._nursery: trio.Nursery | None = None
        self._ends: dict[KeySource, trio.Event] = {}  # of fetches that run

    async def run(self) -> None:
        """Look after the sources of the present runtime for ever."""
        async with trio.open_nursery() as nursery:
            self._nursery = nursery
            try:
                while True:
                    self._begin_due()
                    await trio.sleep(LOOK_INTERVAL)
            finally:
                self._nursery = None

    def _begin_due(self) -> None:
        now = trio.current_time()
        for source in self._resources.runtime.key_sources:
            if self._nursery is not None and source.is_due(now):
                source.begin(now)
                self._ends[source] = trio.Event()
                self._nursery.start_soon(self._fetch, source)

    async def wait(self, source: KeySource) -> None:
        """Have a fetch made, unless the last one was a moment ago, and wait for its end."""
        source.want()
        self._begin_due()
        ends = self._ends.get(source)
        if ends is not None:
            with trio.move_on_after(source.timeout):
                await ends.wait()

    async def _fetch(self, source: KeySource) -> None:
        before = source.problem
        try:
            await self._take(source)
        except (BlitzError, BadKeys) as error:
            source.failed(one_line(str(error))[:300])
        finally:
            source.end()
            self._ends.pop(source).set()
        if source.problem and not before:
            goes_on = "those there are go on" if source.keys is not None else "requests are answered with 503"
            _log.warning("auth %s: keys cannot be fetched: %s; %s", source.name, source.problem, goes_on)
        elif before and not source.problem:
            _log.info("auth %s: keys are fetched again", source.name)

    async def _take(self, source: KeySource) -> None:
        question = Question(
            source.upstream,
            source.authority,
            source.target,
            source.timeout,
            MAX_SIZE,
            ((b"accept", b"application/jwk-set+json, application/json"), (b"user-agent", b"blitz")),
        )
        runtime = self._resources.runtime
        if source not in runtime.key_sources:
            raise BadKeys("belong to a configuration that is no more")
        found = await ask(self._resources, runtime, question)
        if found.status != 200:
            raise BadKeys(f"{source.authority} answered {found.status}")
        read = partial(read_key_set, found.body, secrets=False, generation=time.monotonic_ns())
        source.took(found.body, await trio.to_thread.run_sync(read), trio.current_time())
