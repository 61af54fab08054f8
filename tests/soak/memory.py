"""What a process has of the machine's memory, sampled, and whether that stays."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from statistics import median

__all__ = ["Sample", "change", "sample"]

FIELDS = {"Rss": "rss", "Pss": "pss", "Anonymous": "anonymous"}


@dataclass(frozen=True, slots=True)
class Sample:
    """Bytes, as in ``/proc/PID/smaps_rollup``. time: seconds since the soak began. files: descriptors."""

    time: float
    rss: int
    pss: int
    anonymous: int
    files: int


def sample(pid: int, time: float) -> Sample:
    """
    Raises:
        OSError: there is no such process any more.
    """
    found = {}
    for line in Path(f"/proc/{pid}/smaps_rollup").read_text(encoding="ascii").splitlines()[1:]:
        name, _, value = line.partition(":")
        if name in FIELDS:
            found[FIELDS[name]] = int(value.split()[0]) * 1024
    return Sample(time=time, files=len(list(Path(f"/proc/{pid}/fd").iterdir())), **found)


def change(samples: list[Sample], name: str, warm_up: float) -> tuple[float, float]:
    """Medians of what *name* says in the first and in the last quarter of the time after *warm_up*."""
    after = [one for one in samples if one.time >= warm_up]
    quarter = max(len(after) // 4, 1)
    first, last = (median(getattr(one, name) for one in part) for part in (after[:quarter], after[-quarter:]))
    return first, last
