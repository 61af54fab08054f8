"""What happens to the helpers in a soak: each moment begins, lasts, ends; then all has to be as before.

A moment is an async function that takes the site. It returns when its cause is gone, and raises ``Skip``
where this machine cannot be made to do it.
"""

# ruff: noqa: ASYNC240

from __future__ import annotations

import contextlib
import ctypes
import os
import resource
import shutil
import signal
import socket
import subprocess
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path

import trio

from .site import Site

__all__ = ["MOMENTS", "Moment", "Skip", "small_disk"]

Moment = Callable[[Site, float], Awaitable[None]]

DISK_SIZE = 48 << 20
MAX_INSTANCES = 4096  # of inotify that are worth exhausting


class Skip(Exception):
    """This machine does not have the moment; the argument says why."""


# ---------------------------------------------------------------- watcher


async def no_inotify(site: Site, seconds: float) -> None:
    """The user has no inotify instances left."""
    most = int(Path("/proc/sys/fs/inotify/max_user_instances").read_text(encoding="ascii"))
    if most > MAX_INSTANCES:
        raise Skip(f"a user may have {most} inotify instances")
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    init = ctypes.CDLL(None).inotify_init1
    with _closing([]) as taken:
        while (fd := init(os.O_CLOEXEC)) >= 0:
            taken.append(fd)
        await trio.sleep(seconds)
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


async def directory_replaced(site: Site, seconds: float) -> None:
    """The plugins' directory is gone for a while, and comes back as another one."""
    away = site.directory / "away"
    shutil.rmtree(away, ignore_errors=True)
    site.plugins.rename(away)
    await trio.sleep(seconds)
    aside = site.directory / "aside"
    shutil.rmtree(aside, ignore_errors=True)
    shutil.copytree(away, aside)
    aside.rename(site.plugins)


# ---------------------------------------------------------------- disk


@contextlib.contextmanager
def small_disk(path: Path) -> Iterator[bool]:
    """A disk of its own at *path*, which can be filled; False: this user cannot have one."""
    path.mkdir(mode=0o700)
    options = f"size={DISK_SIZE},mode=0700"
    words = ["mount", "-t", "tmpfs", "-o", options, "tmpfs", str(path)]
    mounted = os.geteuid() == 0 and subprocess.run(words, capture_output=True).returncode == 0
    try:
        yield mounted
    finally:
        if mounted:
            subprocess.run(["umount", "--lazy", str(path)], check=True)


async def disk_full(site: Site, seconds: float) -> None:
    """The disk of the compile cache and the access log is full."""
    if not os.path.ismount(site.directory / "cache"):
        raise Skip("the cache has no disk of its own: that wants root")
    filler = site.directory / "cache" / ".filler"
    try:
        with filler.open("wb", buffering=0) as stream, contextlib.suppress(OSError):
            while True:
                stream.write(bytes(1 << 16))
        site.put_version(_versions())
        await trio.sleep(seconds)
    finally:
        filler.unlink()
        os.truncate(site.directory / "cache" / ".access", 0)


# ---------------------------------------------------------------- descriptors


async def no_descriptors(site: Site, seconds: float) -> None:
    """Clients hold all the descriptors that a worker may have."""
    pids = site.children()
    before = {pid: resource.prlimit(pid, resource.RLIMIT_NOFILE) for pid in pids}
    held: list[socket.socket] = []
    try:
        for pid in pids:
            _set_limit(pid, max(map(int, os.listdir(f"/proc/{pid}/fd"))) + 20, before[pid][1])
        for _ in range(60 * len(pids)):
            held.append(socket.socket())
            held[-1].setblocking(False)
            with contextlib.suppress(BlockingIOError):
                held[-1].connect(("127.0.0.1", site.port))
        await trio.sleep(seconds)
    finally:
        for pid in pids:
            _set_limit(pid, *before[pid])
        for one in held:
            one.close()


def _set_limit(pid: int, soft: int, hard: int) -> None:
    with contextlib.suppress(ProcessLookupError):
        resource.prlimit(pid, resource.RLIMIT_NOFILE, (soft, hard))


# ---------------------------------------------------------------- processes


async def compiler_killed(site: Site, seconds: float) -> None:
    """Whatever compiles is killed, while there is something to compile."""
    killed = 0
    end = trio.current_time() + seconds
    site.put_version(_versions())
    while trio.current_time() < end:
        for pid in _compilers(site):
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
                killed += 1
        await trio.sleep(0.02)
    if not killed:
        raise Skip("nothing was compiled in that time")


def _versions() -> int:
    _made[0] += 1_000
    return _made[0]


_made = [50_000_000]


def _compilers(site: Site) -> list[int]:
    found = []
    for worker in site.children():
        for task in Path(f"/proc/{worker}/task").glob("*/children"):
            with contextlib.suppress(OSError):
                found += [int(pid) for pid in task.read_text(encoding="ascii").split()]
    return found


async def worker_stopped(site: Site, seconds: float) -> None:
    """A worker is stopped; it goes on later, or was replaced by then."""
    await _stopped(site.children()[-1], seconds)


async def parent_stopped(site: Site, seconds: float) -> None:
    """The parent process is stopped while workers reload, and goes on later."""
    site.hang_up()
    for pid in site.children():
        os.kill(pid, signal.SIGHUP)
    await _stopped(site.parent, seconds)


async def _stopped(pid: int, seconds: float) -> None:
    os.kill(pid, signal.SIGSTOP)
    try:
        await trio.sleep(seconds)
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGCONT)


async def log_unread(site: Site, seconds: float) -> None:
    """Nobody reads standard error."""
    site.reads.clear()
    try:
        for _ in range(int(seconds * 10)):
            site.hang_up()  # lines
            await trio.sleep(0.1)
    finally:
        site.reads.set()


# Name -> what happens, and a word of the lines that the log must have about it.
MOMENTS: dict[str, tuple[Moment, tuple[str, ...]]] = {
    "no inotify instances": (no_inotify, ("events of the file system: ",)),
    "directory replaced": (directory_replaced, ()),
    "disk full": (disk_full, ("the compile cache: ",)),
    "no descriptors": (no_descriptors, ("new connections wait",)),
    "compiler killed": (compiler_killed, ("it is tried again",)),
    "worker stopped": (worker_stopped, ()),
    "parent stopped": (parent_stopped, ()),
    "log unread": (log_unread, ()),
}


@contextlib.contextmanager
def _closing(fds: list[int]) -> Iterator[list[int]]:
    try:
        yield fds
    finally:
        for fd in fds:
            os.close(fd)
