"""Notice that a plugin's file or manifest came, changed or went, and that whoever wrote it is done.

The operating system tells (through the package watchfiles) that something happened in a directory; what
counts is then looked up: name, size and times of every ``.wasm`` and ``.toml`` there. Once those have
stood still for SETTLE, the change is complete as far as anybody can see. A file that is written to its
end and renamed into place is complete at once; one that pauses longer than SETTLE in the middle is
refused as a module, and looked at again when it goes on.
"""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Awaitable, Callable
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

import trio

from blitz.errors import ConfigError, ConfigProblem

if TYPE_CHECKING:
    from blitz.config.resolved import Resolved

__all__ = ["check_watching", "look_around", "watch"]

SETTLE = 0.2  # seconds without a change
STEP_MS = 100  # how often the watching thread looks whether it should stop
KINDS = (".wasm", ".toml")

Seen = dict[str, tuple[int, int, int, int]]


def check_watching() -> None:
    """
    Raises:
        ConfigError: watchfiles is not installed.
    """
    if find_spec("watchfiles") is None:
        raise ConfigError(
            [
                ConfigProblem(
                    "needs the package watchfiles: "
                    f"run '{sys.executable} -m pip install watchfiles', or leave it out and send SIGHUP "
                    "after a change",
                    key="watch",
                )
            ]
        )


async def watch(
    running: Callable[[], Resolved], seen: Seen, changed: Callable[[], Awaitable[object]]
) -> None:
    """Call *changed* after every complete change, for ever.

    Args:
        running: gives the configuration whose plugins' directories are watched.
        seen: what ``look_around`` saw before that configuration was loaded.
    """
    while True:
        watched = directories(running())
        if look(watched) == seen:
            await _wait_for_event(watched, seen)
        seen = await _wait_settled(watched)
        await changed()


def directories(resolved: Resolved) -> list[str]:
    """Where the plugins of *resolved* lie, and where further ones would be found."""
    named = {str(Path(plugin.file).parent) for plugin in resolved.plugins}
    if resolved.plugin_dir:
        named.add(resolved.plugin_dir)
    return sorted(os.path.abspath(name) for name in named)


def look_around(resolved: Resolved) -> Seen:
    """What the files of the plugins of *resolved* look like."""
    return look(directories(resolved))


def look(watched: list[str]) -> Seen:
    """What can be seen from outside of each file that matters; links count as what they lead to."""
    seen = {}
    for directory in watched:
        with contextlib.suppress(OSError), os.scandir(directory) as entries:
            for entry in entries:
                if entry.name.endswith(KINDS) and not entry.name.startswith("."):
                    with contextlib.suppress(OSError):
                        found = entry.stat()
                        seen[entry.path] = (
                            found.st_ino,
                            found.st_size,
                            found.st_mtime_ns,
                            found.st_ctime_ns,
                        )
    return seen


async def _wait_settled(watched: list[str]) -> Seen:
    seen = look(watched)
    while True:
        await trio.sleep(SETTLE)
        later = look(watched)
        if later == seen:
            return later
        seen = later


async def _wait_for_event(watched: list[str], seen: Seen) -> None:
    """Wait until *watched* does not look like *seen* any more."""
    from watchfiles import awatch

    stop = trio.Event()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(_stop_when_cancelled, stop)
        events = awatch(
            *_existing(watched),
            watch_filter=None,
            step=STEP_MS,
            debounce=STEP_MS,
            stop_event=stop,
            recursive=False,
            yield_on_timeout=True,  # what happened before it began to watch brings no event
            rust_timeout=1000,
        )
        async with contextlib.aclosing(events):
            async for _ in events:
                if look(watched) != seen:
                    break
        nursery.cancel_scope.cancel()


def _existing(watched: list[str]) -> list[str]:
    return [directory for directory in watched if os.path.isdir(directory)]


async def _stop_when_cancelled(stop: trio.Event) -> None:
    # The thread that waits for events notices this within a step; a cancellation alone it would not.
    try:
        await trio.sleep_forever()
    finally:
        stop.set()
