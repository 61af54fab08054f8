"""The gateway as a context manager, for programs that embed it."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator
from typing import Any

import trio

from blitz.config import Config, Resolved
from blitz.errors import only_error
from blitz.gateway import Gateway, serve
from blitz.under_trio import check_under_trio

__all__ = ["open_gateway"]


@contextlib.asynccontextmanager
async def open_gateway(config: Config | Resolved, **options: Any) -> AsyncIterator[Gateway]:
    """``serve`` as a context manager: drains on the way out.

    What keeps it from starting is raised as it is; errors of the body arrive in the group of a nursery.
    """
    check_under_trio("blitz.open_gateway")
    started = False
    try:
        async with trio.open_nursery() as nursery:
            gateway: Gateway = await nursery.start(_serve_with, config, options)
            started = True
            yield gateway
            await gateway.drain()
    except BaseExceptionGroup as group:
        error = None if started else only_error(group)
        if error is None:
            raise
        raise error from None


async def _serve_with(
    config: Config | Resolved, options: dict[str, Any], task_status: trio.TaskStatus[Gateway]
) -> None:
    await serve(config, **options, task_status=task_status)
