"""Columns that several questions share."""

from __future__ import annotations

from .table import Column

__all__ = ["THROUGHPUT"]

THROUGHPUT = [
    Column("rps", "req/s", compare=True, value=lambda s: s.requests_per_second),
    Column("cpu", "CPU per request", "µs", 1, compare=True, value=lambda s: s.cpu_us),
    Column("busy", "server core in use", "%", value=lambda s: s.server_busy * 100),
    Column("p50", "p50", "µs", value=lambda s: s.latency_us["p50"]),
    Column("p99", "p99", "µs", value=lambda s: s.latency_us["p99"]),
]
