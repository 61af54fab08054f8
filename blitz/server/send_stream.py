"""A response of our own whose body comes piece by piece, such as server-sent events."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING

import trio

from blitz._native import ffi, lib
from blitz.errors import ClientGone
from blitz.http.buffer import PART_HEADROOM, PART_SIZE

from .local_response import build_reply

if TYPE_CHECKING:
    from .exchange import Exchange
    from .local_response import Reply

__all__ = ["TooSlow", "send_stream"]


class TooSlow(ClientGone):
    """The client did not take a piece in the time that it may take."""


async def send_stream(
    exchange: Exchange, head: Reply, next_piece: Callable[[], Awaitable[bytes]], patience: float
) -> bool:
    """Send *head*, which has no body, and what *next_piece* gives until that is b""; not for HEAD. Nothing
    else bounds the time. True when the client's connection stays.

    Args:
        patience: seconds that a client has for one piece.
    Raises:
        TooSlow: it took longer. Others as ``run_exchange``.
    """
    downstream = exchange.downstream
    build_reply(exchange.cdata, head)
    exchange.cdata.response.body = lib.BLITZ_BODY_CHUNKED
    downstream.timer.bound(0, "total")
    exchange.frame()
    await exchange.send_head(ffi.NULL, 0, last=False)
    part = exchange.resources.parts.take()
    try:
        while piece := await next_piece():
            for at in range(0, len(piece), PART_SIZE):
                size = min(PART_SIZE, len(piece) - at)
                part.view[PART_HEADROOM : PART_HEADROOM + size] = piece[at : at + size]
                with trio.move_on_after(patience) as scope:
                    await downstream.send_part(part, PART_HEADROOM, PART_HEADROOM + size, last=False)
                if scope.cancelled_caught:
                    raise TooSlow(f"the client has not taken {size} bytes in {patience:g} s")
        await downstream.send_part(part, PART_HEADROOM, PART_HEADROOM, last=True)
    finally:
        exchange.resources.parts.give(part)
    return downstream.keeps
