"""The counters that ``/status`` tells by a name of their own: each is a figure, counted where all figures
are.

``Counters`` is the writing side: ``counters.timeouts += 1``. ``CounterValues`` is what they were at one
moment.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from . import figures
from .figures import Figure
from .memory import Measures, Merged

__all__ = ["CounterValues", "Counters", "values_of", "values_of_all"]


class _Counter:
    """An attribute of ``Counters`` that is the figure."""

    def __init__(self, figure: Figure) -> None:
        self.figure = figure

    def __get__(self, counters: Counters | None, owner: type[Counters]) -> int:
        return counters.own(self.figure) if counters is not None else 0

    def __set__(self, counters: Counters, value: int) -> None:
        counters.measures.count(self.figure, n=value - counters.own(self.figure))


class Counters:
    """Counts of one process since it began.

    Attributes:
        refused: connections closed at once because there were too many; refused_per_address: those of
            them that were too many from one address.
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


_FIGURES = {name: value.figure for name, value in vars(Counters).items() if isinstance(value, _Counter)}

if TYPE_CHECKING:

    class CounterValues(Counters):
        """What ``Counters`` were at one moment: the same names, a ``msgspec.Struct``."""

        def __init__(self, **values: int) -> None: ...

else:
    CounterValues = msgspec.defstruct(
        "CounterValues", [(name, int, 0) for name in _FIGURES], frozen=True, module=__name__
    )


def values_of(counters: Counters) -> CounterValues:
    """What *counters* are now."""
    return CounterValues(**{name: getattr(counters, name) for name in _FIGURES})


def values_of_all(merged: Merged) -> CounterValues:
    """What they are in all processes."""
    return CounterValues(**{name: int(merged.value(figure)) for name, figure in _FIGURES.items()})
