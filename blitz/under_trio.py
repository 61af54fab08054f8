"""Everything that waits in Blitz waits in trio: say so where it is started under something else."""

from __future__ import annotations

import sys

import trio

__all__ = ["check_under_trio"]


def check_under_trio(name: str) -> None:
    """Called first by the public functions that need trio.

    Args:
        name: as the caller wrote it, such as ``blitz.serve``.
    Raises:
        RuntimeError: not inside a trio task; the message names the way out.
    """
    if trio.lowlevel.in_trio_task():
        return
    if _in_asyncio():
        raise RuntimeError(
            f"{name} needs trio and was called from asyncio: let asyncio be the host of a trio loop "
            "(trio's guest mode, trio.lowlevel.start_guest_run) and call it there, as in docs/python.md"
        )
    raise RuntimeError(f"{name} needs trio: call it from a function that trio.run started")


def _in_asyncio() -> bool:
    asyncio = sys.modules.get("asyncio")
    if asyncio is None:
        return False
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return False
    return True
