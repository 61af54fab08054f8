"""How many CPUs this process may use: its affinity, and the quota of its control groups.

A container with ``--cpus 2`` on a machine of 64 sees all 64 and is stopped for most of each period when it
uses them. Both versions of Linux's control groups say the quota in files (cgroups(7): ``cpu.max``, or
``cpu.cfs_quota_us`` and ``cpu.cfs_period_us``); every group above counts as well.
"""

from __future__ import annotations

import math
import os
from collections.abc import Iterator
from pathlib import Path, PurePosixPath

__all__ = ["usable_cpus"]

ROOT = Path("/")


def usable_cpus(root: Path = ROOT) -> int:
    """At least 1. A quota of a part of a CPU is rounded up: that part is used, too.

    Args:
        root: where ``proc`` and ``sys`` are.
    """
    count = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return max(1, min([count, *(math.ceil(quota) for quota in _quotas(root))]))


def _quotas(root: Path) -> Iterator[float]:
    """CPUs that each of our control groups may use, as far as it says so."""
    for line in _text(root / "proc/self/cgroup").splitlines():
        number, _, rest = line.partition(":")
        controllers, _, group = rest.partition(":")
        if number == "0" and not controllers:
            for directory in _up(root / "sys/fs/cgroup", group):
                yield from _ratio(*_text(directory / "cpu.max").split())
        elif "cpu" in controllers.split(","):
            for mount in dict.fromkeys((controllers, "cpu", "cpu,cpuacct")):
                for directory in _up(root / "sys/fs/cgroup" / mount, group):
                    yield from _ratio(
                        _text(directory / "cpu.cfs_quota_us"), _text(directory / "cpu.cfs_period_us")
                    )


def _up(mount: Path, group: str) -> Iterator[Path]:
    """The directory of *group* and those above it. In a container the mount may begin at the container's own
    group, while *group* is told from the machine's: what does not exist is passed over."""
    path = PurePosixPath(group.lstrip("/"))
    if ".." not in path.parts:
        yield from (mount / each for each in (path, *path.parents))


def _ratio(*words: str) -> Iterator[float]:
    """*words*: quota and period in microseconds; ``max`` or a negative quota is none."""
    try:
        quota, period = (int(word) for word in words)
    except ValueError:
        return
    if quota > 0 and period > 0:
        yield quota / period


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="ascii", errors="replace").strip()
    except OSError:
        return ""
