"""The counters that ``/status`` tells by a name of their own: each is a figure, counted where all figures
are.

``Counting`` is the writing side: ``counting.timeouts += 1``. ``Counters`` is what they were at one moment.
"""

from __future__ import annotations

import msgspec

from . import figures
from .figures import Figure
from .memory import Measures, Merged

__all__ = ["Counters", "Counting", "values_of", "values_of_all"]


class _Counter:
    """An attribute of ``Counting`` that is the figure."""

    def __init__(self, figure: Figure) -> None:
        self.figure = figure

    def __get__(self, counting: Counting | None, owner: type[Counting]) -> int:
        return counting.own(self.figure) if counting is not None else 0

    def __set__(self, counting: Counting, value: int) -> None:
        counting.measures.count(self.figure, n=value - counting.own(self.figure))


class Counting:
    """Counts of one process since it began.

    Attributes:
        refused: connections closed at once because there were too many; refused_per_address: those of
            them that were too many from one address.
        mirror_sent: copies of requests; mirror_dropped: those that were not made, one too many or of a body
            that was not all there; mirror_failed: sent ones without a whole answer.
    """

    def __init__(self, measures: Measures) -> None:
        self.measures = measures
        # Others may have counted in its slot before.
        self._before = {figure.number: int(measures.cells(figure)[0]) for figure in _FIGURES.values()}

    def own(self, figure: Figure) -> int:
        """Since this object was made."""
        return int(self.measures.cells(figure)[0]) - self._before[figure.number]

    connections = _Counter(figures.ACCEPTED)
    refused = _Counter(figures.REFUSED)
    refused_per_address = _Counter(figures.REFUSED_PER_ADDRESS)
    exchanges = _Counter(figures.EXCHANGES)
    client_errors = _Counter(figures.CLIENT_ERRORS)
    upstream_errors = _Counter(figures.UPSTREAM_ERRORS)
    plugin_faults = _Counter(figures.ALL_PLUGIN_FAULTS)
    internal_errors = _Counter(figures.INTERNAL_ERRORS)
    timeouts = _Counter(figures.TIMEOUTS)
    tls_failures = _Counter(figures.TLS_FAILURES)
    mirror_sent = _Counter(figures.MIRROR_SENT)
    mirror_dropped = _Counter(figures.MIRROR_DROPPED)
    mirror_failed = _Counter(figures.MIRROR_FAILED)


class Counters(msgspec.Struct, frozen=True):
    """Counts at one moment; what each is, ``Counting`` says."""

    connections: int = 0
    refused: int = 0
    refused_per_address: int = 0
    exchanges: int = 0
    client_errors: int = 0
    upstream_errors: int = 0
    plugin_faults: int = 0
    internal_errors: int = 0
    timeouts: int = 0
    tls_failures: int = 0
    mirror_sent: int = 0
    mirror_dropped: int = 0
    mirror_failed: int = 0


_FIGURES = {name: value.figure for name, value in vars(Counting).items() if isinstance(value, _Counter)}
assert set(_FIGURES) == set(Counters.__struct_fields__)


def values_of(counting: Counting) -> Counters:
    """What they are now."""
    return Counters(**{name: getattr(counting, name) for name in _FIGURES})


def values_of_all(merged: Merged) -> Counters:
    """What they are in all processes."""
    return Counters(**{name: int(merged.value(figure)) for name, figure in _FIGURES.items()})
