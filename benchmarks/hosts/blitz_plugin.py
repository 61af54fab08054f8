"""What the hosts of Blitz say of the guest that they run; generous, as its own limits are not in question."""

from __future__ import annotations

from pathlib import Path

from blitz.wasm.plugin import PluginSpec

__all__ = ["spec"]


def spec(path: str, *, max_instances: int = 256) -> PluginSpec:
    return PluginSpec(
        name=Path(path).stem,
        source=path,
        memory=16 << 20,
        timeout=1.0,
        max_body=1 << 20,
        response_body="none",
        instances="pooled",
        max_requests=10_000,
        max_instances=max_instances,
        failure="closed",
    )
