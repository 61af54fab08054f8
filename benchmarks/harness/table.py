"""Figures: a slice, a table of medians, a claim about them. Values only; report.py draws them."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

__all__ = ["Claim", "Column", "Row", "Slice", "Table", "ratio"]


@dataclass(frozen=True)
class Slice:
    """One contender under load for one short time."""

    requests_per_second: float
    cpu_us: float  # CPU of the server's processes per answered request
    server_busy: float  # CPU seconds of the server per second: 1.0 is a full core
    load_busy: float  # the same of load generator and origin; about 1.0 when they poll
    foreign: float  # share of either core that something else took while we measured
    latency_us: dict[str, float]
    bytes_per_second: float


@dataclass(frozen=True)
class Column:
    key: str
    title: str
    unit: str = ""
    digits: int = 0
    compare: bool = False  # show the ratio to Blitz
    value: Callable[[Slice], float] | None = None  # how a slice gives this value


@dataclass
class Row:
    name: str
    values: dict[str, list[float]] = field(default_factory=dict)  # column -> one value per round
    slices: list[Slice] = field(default_factory=list)
    note: str = ""

    def median(self, key: str) -> float | None:
        values = self.values.get(key)
        return statistics.median(values) if values else None


@dataclass(frozen=True)
class Claim:
    """Something the project promises about the figures of this run."""

    text: str
    value: float | None  # None: what it needs was not measured
    wanted: float
    at_least: bool
    unit: str = ""

    @property
    def met(self) -> bool | None:
        if self.value is None:
            return None
        return self.value >= self.wanted if self.at_least else self.value <= self.wanted


@dataclass
class Table:
    job: str
    question: str
    columns: Sequence[Column]
    method: str = ""
    rows: list[Row] = field(default_factory=list)
    left_out: dict[str, str] = field(default_factory=dict)  # peer -> why
    broken: dict[str, str] = field(default_factory=dict)  # peer that is here and failed -> why
    claims: list[Claim] = field(default_factory=list)
    plot: str = ""  # the column that is drawn

    def row(self, name: str) -> Row | None:
        return next((row for row in self.rows if row.name == name), None)

    def median(self, name: str, key: str) -> float | None:
        row = self.row(name)
        return row.median(key) if row else None

    def add_slices(self, slices: dict[str, list[Slice]]) -> None:
        """A row per contender, a value per column that knows how to read a slice."""
        for name, some in slices.items():
            row = Row(name, slices=some)
            for column in self.columns:
                if column.value is not None:
                    row.values[column.key] = [column.value(s) for s in some]
            self.rows.append(row)


def ratio(a: float | None, b: float | None) -> float | None:
    return None if a is None or not b else a / b
