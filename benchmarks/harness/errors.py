"""The one exception of the benchmarks: a sentence for whoever runs them."""

from __future__ import annotations

__all__ = ["BenchError"]


class BenchError(Exception):
    """Something could not be measured; the message says what, where and what to do."""
