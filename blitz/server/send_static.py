"""The response of a static route in an exchange: planned, shown to plugins, sent."""

from __future__ import annotations

from typing import TYPE_CHECKING

from blitz.errors import FileError

from .ask_plugins import ask_about_local_response
from .send_file import Source, build_plan, find_plan, send_file
from .send_local import send_from_route, send_whole
from .static_files import Known

if TYPE_CHECKING:
    from blitz.static.respond import Plan, Site

    from .exchange import Exchange

__all__ = ["send_static"]


async def send_static(exchange: Exchange, site: Site) -> bool:
    """Answer with a file of *site*. True when the client's connection stays.

    Raises: FileError, ShortageError, PluginError; FileError also after the response has begun.
    """
    run, cdata = exchange.chain_run, exchange.cdata
    files = exchange.resources.files
    # No plugin is asked to change a part as if it were the whole.
    whole = run is not None and run.edits_answers
    made = await find_plan(files, site, exchange.request, exchange.target, whole=whole)
    known = made.file
    if known is None:
        build_plan(cdata, made)
        return await send_from_route(exchange)
    assert isinstance(known, Known)
    files.use(known)
    try:
        if run is not None and run.left > 0:
            if await _collect(exchange, made, known):
                build_plan(cdata, made)
                return await send_from_route(exchange)
            build_plan(cdata, made)
            await ask_about_local_response(exchange, run, whole=False)
            if cdata.body_edited:
                exchange.finish_response()
                return await send_whole(exchange)
        else:
            build_plan(cdata, made)
        exchange.finish_response()
        await send_file(exchange, made, known)
    finally:
        files.leave(known)
    return exchange.downstream.keeps


async def _collect(exchange: Exchange, made: Plan, known: Known) -> bool:
    """Bring the body of *made* into memory, if a plugin wants to see it and it is not larger than it may be.

    Raises: FileError: it is larger, and a plugin that changes it must have all of it.
    """
    entry = exchange.entry
    assert entry is not None
    takers = [pool.plugin for pool in entry.chain.pools if pool.plugin.needs_response_body]
    if not takers:
        return False
    limit = max(taker.spec.max_body for taker in takers)
    if made.size > limit:
        if entry.chain.edits_answers:
            raise FileError(f"a file is over the plugin's max_body of {limit} bytes", status=502)
        return False
    data = bytearray()
    source = Source(exchange, known)
    for piece in made.body or ():
        if isinstance(piece, bytes):
            data += piece
            continue
        start, end = piece
        while start < end:
            got = await source.read(start, end)
            data += got
            start += len(got)
    made.body, made.file = [bytes(data)], None
    return True
