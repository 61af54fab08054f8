"""A response whose body comes out of plugins part by part, on its way to the client."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import trio

from blitz._native import ffi

from .compressing import Relayed, coding_of, send_compressed

if TYPE_CHECKING:
    from .body_stream import Parts
    from .exchange import Exchange

__all__ = ["send_parts"]


async def send_parts(exchange: Exchange, parts: Parts, collected: bytes | None) -> bool:
    """Send ``cdata.response`` with *parts* as its body; True when the client's connection stays.

    What is here already is through the plugins before the head goes: if one of them fails on that, the client
    can still be told.

    Args:
        collected: what of the body has been read already.
    Raises: PluginError; what *parts* reads from raises.
    """
    line = exchange.line
    exchange.rule_response()
    coded = coding_of(exchange)
    has_content = exchange.frame()
    if line is not None:
        line.answer = parts if has_content and coded is None else None
    if not has_content:
        parts.leave()
        await exchange.send_head(ffi.NULL, 0, last=True)
        return exchange.downstream.keeps
    first: Any = ffi.NULL
    size = 0
    if collected is not None:
        first, size = ffi.from_buffer("uint8_t[]", collected), len(collected)
    else:
        start, end = await parts.first()
        if end > start:
            assert parts.part is not None
            first, size = parts.part.ptr + start, end - start
    if coded is not None:
        came = memoryview(ffi.buffer(first, size)) if size else memoryview(b"")
        await send_compressed(exchange, coded, Relayed(parts, came, exchange.why_cut))
        return exchange.downstream.keeps
    await exchange.send_head(first, size, last=parts.done)
    downstream = exchange.downstream
    while not parts.done:
        try:
            start, end = await parts.next_part()
        except (trio.BrokenResourceError, trio.ClosedResourceError) as exc:
            raise exchange.why_cut(exc) from exc
        if end > start or parts.done:
            assert parts.part is not None
            await downstream.send_part(parts.part, start, end, last=parts.done)
    return downstream.keeps
