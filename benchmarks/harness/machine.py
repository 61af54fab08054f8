"""What the figures were measured on, and how busy its cores are with something else."""

from __future__ import annotations

import datetime
import os
import platform
import resource
import subprocess
from dataclasses import dataclass
from pathlib import Path

from .places import ROOT

__all__ = ["Cores", "Machine", "busy_seconds", "choose_cores", "describe", "raise_file_limit"]

_FILES = 65536


@dataclass(frozen=True)
class Cores:
    """The server has one core to itself; load generator and origin share another."""

    server: int
    load: int
    all: tuple[int, ...]

    @property
    def apart(self) -> bool:
        return self.server != self.load


@dataclass(frozen=True)
class Machine:
    cpu: str
    cores: int
    memory_gib: float
    kernel: str
    system: str
    python: str
    date: str
    revision: str
    file_limit: int


def choose_cores() -> Cores:
    allowed = sorted(os.sched_getaffinity(0))
    return Cores(allowed[0], allowed[-1], tuple(allowed))


def describe() -> Machine:
    pages = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    return Machine(
        cpu=_cpu_model(),
        cores=len(os.sched_getaffinity(0)),
        memory_gib=round(pages / 2**30, 1),
        kernel=platform.release(),
        system=platform.freedesktop_os_release().get("PRETTY_NAME", platform.system()),
        python=f"{platform.python_implementation()} {platform.python_version()}",
        date=datetime.datetime.now(datetime.UTC).strftime("%Y-%m-%d %H:%M UTC"),
        revision=_revision(),
        file_limit=resource.getrlimit(resource.RLIMIT_NOFILE)[0],
    )


def raise_file_limit() -> None:
    """The idle job needs many descriptors, some servers two per connection; they inherit the limit."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    try:
        resource.setrlimit(resource.RLIMIT_NOFILE, (max(hard, _FILES), max(hard, _FILES)))
    except (ValueError, PermissionError):  # only root may go past the hard limit
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


def busy_seconds(core: int) -> float:
    """Seconds this core has worked since boot, time stolen by a hypervisor included."""
    prefix = f"cpu{core} "
    for line in Path("/proc/stat").read_text().splitlines():
        if line.startswith(prefix):
            # user nice system idle iowait irq softirq steal (proc_stat(5)), in clock ticks
            field = [int(x) for x in line.split()[1:9]]
            return (sum(field) - field[3] - field[4]) / os.sysconf("SC_CLK_TCK")
    return 0.0


def _cpu_model() -> str:
    model = ""
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        key, _, value = line.partition(":")
        if key.strip() in ("model name", "Model"):
            model = value.strip()
            break
    return f"{model or 'unknown'} ({platform.machine()})"


def _revision() -> str:
    done = subprocess.run(
        ["git", "-C", str(ROOT), "describe", "--always", "--dirty"], capture_output=True, text=True
    )
    return done.stdout.strip() or "unknown"
