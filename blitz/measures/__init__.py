"""The measures door: what is counted, where it is counted, and how it is told.

A figure is declared once (``figures.py``): its name, its labels, its unit, and what becomes of it where
several workers tell it. Whoever has something to count asks ``Measures`` (``memory.py``) for it by that
declaration; C counts the same cells without asking (``native/measures.h``). All workers' cells are added in
one place (``native/measures_merge.c``), for ``/status`` and ``/metrics`` alike (``exposition.py``).

A test that counts nothing in memory that is shared uses ``Measures()``: the same code over memory of its own.
"""

from .figures import FIGURES, Figure
from .memory import Measures, Merged, SharedMeasures

__all__ = ["FIGURES", "Figure", "Measures", "Merged", "SharedMeasures"]
