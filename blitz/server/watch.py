"""Notice that a file of the configuration or of a plugin came, changed or went, and is written to its end.

The operating system tells (through the package watchfiles) that something happened in a directory; what
counts is then looked up: name, size and times of the configuration's files, and of every ``.wasm`` and
manifest beside plugins. Once those have stood still for SETTLE, the change is complete as far as anybody can
see. A file that is written to its end and renamed into place is complete at once; one that pauses longer
than SETTLE in the middle is refused, and looked at again when it goes on.

Whoever can write to a directory may put anything there: names that are not UTF-8, which watchfiles fails
over, or a file system that does not answer. Looking happens in threads that may be left behind; where
there are no events, a look every LOOK_INTERVAL finds the changes.
"""

from __future__ import annotations

import contextlib
import logging
import os
import threading
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

import trio

from blitz.errors import ConfigError, ConfigProblem
from blitz.extras import how_to_install
from blitz.files import progress
from blitz.trouble import Trouble, reason_of

from .reading import read_apart

if TYPE_CHECKING:
    from blitz.config.resolved import Resolved

__all__ = ["check_watching", "look_around", "watch"]

_log = logging.getLogger("blitz.watch")

SETTLE = 0.2  # seconds without a change
LOOK_INTERVAL = 1.0  # seconds between looks where nothing tells of changes
STEP_MS = 100  # how often the watching thread looks whether it should stop
KINDS = (".wasm", ".toml", ".yaml", ".yml")

Seen = dict[str, tuple[int, int, int, int]]  # path -> inode, size, times of change and of inode change, in ns


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
                    f"{how_to_install('watchfiles')}, or leave it out and send SIGHUP "
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
        running: gives the configuration whose files are watched.
        seen: what ``look_around`` saw before that configuration was loaded.
    """
    looking = Trouble(_log, "watching files", "changed files are not noticed; SIGHUP loads them")
    events = Trouble(_log, "events of the file system", "changed files are noticed up to a second later")
    while True:
        watched = places(running())
        try:
            while await read_apart(partial(look, watched)) == seen:
                looking.ends()
                await _wait_for_event(watched, events)
            seen = await _wait_settled(watched)
        except ConfigError as error:  # it does not answer; perhaps later
            looking.begins(str(error))
            await trio.sleep(LOOK_INTERVAL)
            continue
        looking.ends()
        await changed()


@dataclass(frozen=True, slots=True)
class Places:
    """Absolute paths. directories: every file of KINDS in them counts. files: of the configuration."""

    directories: tuple[str, ...]
    files: tuple[str, ...]

    def events(self) -> list[str]:
        """The directories in which something has to happen first."""
        return sorted({*self.directories, *(os.path.dirname(file) for file in self.files)})


def places(resolved: Resolved) -> Places:
    """Where the files lie that *resolved* came from, and where further ones would be found."""
    named = {str(Path(plugin.file).parent) for plugin in resolved.plugins} | set(resolved.source_directories)
    if resolved.plugin_dir:
        named.add(resolved.plugin_dir)
    return Places(
        tuple(sorted(os.path.abspath(name) for name in named)),
        tuple(os.path.abspath(name) for name in resolved.sources),
    )


def look_around(resolved: Resolved) -> Seen:
    """What the files of *resolved* look like."""
    return look(places(resolved))


def look(watched: Places) -> Seen:
    """What can be seen from outside of each file that matters; links count as what they lead to."""
    seen: Seen = {}
    place = progress.get()
    for directory in watched.directories:
        if place is not None:
            place[:] = [directory]
        with contextlib.suppress(OSError), os.scandir(directory) as entries:
            for entry in entries:
                if entry.name.endswith(KINDS) and not entry.name.startswith("."):
                    _look_at(entry.path, seen)
    for file in watched.files:
        if place is not None:
            place[:] = [file]
        _look_at(file, seen)
    return seen


def _look_at(path: str, seen: Seen) -> None:
    with contextlib.suppress(OSError):
        found = os.stat(path)
        seen[path] = (found.st_ino, found.st_size, found.st_mtime_ns, found.st_ctime_ns)


async def _wait_settled(watched: Places) -> Seen:
    seen = await read_apart(partial(look, watched))
    while True:
        await trio.sleep(SETTLE)
        later = await read_apart(partial(look, watched))
        if later == seen:
            return later
        seen = later


async def _wait_for_event(watched: Places, trouble: Trouble) -> None:
    """Return after something happened in *watched*, or a second later: nobody knows what happened before."""
    stop = threading.Event()
    try:
        why_not = await read_apart(partial(_next_event, watched.events(), stop))
    finally:
        stop.set()  # the thread notices this within a step
    if why_not:
        trouble.begins(why_not)
        await trio.sleep(LOOK_INTERVAL)
    else:
        trouble.ends()


def _next_event(watched: list[str], stop: threading.Event) -> str:
    """Wait for one event or LOOK_INTERVAL, and return ""; or why there cannot be any."""
    from watchfiles import watch as events

    try:
        next(
            events(
                *(directory for directory in watched if os.path.isdir(directory)),
                watch_filter=None,
                step=STEP_MS,
                debounce=STEP_MS,
                stop_event=stop,
                recursive=False,
                yield_on_timeout=True,
                rust_timeout=int(LOOK_INTERVAL * 1000),
                raise_interrupt=False,
            ),
            None,
        )
    except KeyboardInterrupt:
        raise
    except BaseException as exc:  # its panics are no Exceptions; whatever it is, a look finds the changes
        return reason_of(exc)
    return ""
