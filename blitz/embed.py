"""A chain of plugins as a function: no sockets, no routes, only a request and what becomes of it.

    async with blitz.open_chain(["plugins/auth_custom.wasm"]) as chain:
        verdict = await chain.process_request(blitz.Request("GET", "/", [("x-api-key", "k")]))

The same engine, the same limits and the same fault handling as in the gateway.
"""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator, Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from os import PathLike, fspath
from typing import Any, Literal

import trio

from blitz._native import ffi, lib
from blitz.config import Answer, Config, Log, Plugin, Route, resolve
from blitz.errors import PluginLoadError
from blitz.server.guests import drive, probe, wait_for_instance
from blitz.server.loading import discard, load_plugin
from blitz.server.space import engine_for
from blitz.server.turns import GuestTurns
from blitz.under_trio import check_under_trio
from blitz.wasm.cache import open_cache
from blitz.wasm.chain import ANSWER, CONTINUE, NEED_BODY, PENDING, Chain, ChainRun
from blitz.wasm.pool import PluginPool

__all__ = ["AppliedChain", "ChainExchange", "Continue", "Request", "Respond", "Response", "open_chain"]

Fields = Iterable[tuple[str | bytes, str | bytes]]
PluginLogLevel = Literal["trace", "debug", "info", "warn", "error", "off"]


@dataclass(frozen=True, slots=True)
class Request:
    """A request as plugins see it. ``headers``: name and value pairs in order, str or bytes."""

    method: str
    target: str
    headers: Fields = ()
    body: bytes = b""
    client: str = ""


@dataclass(frozen=True, slots=True)
class Response:
    """An answer. ``headers``: name and value pairs in order; bytes when a chain made it."""

    status: int = 200
    headers: Fields = ()
    body: bytes = b""


@dataclass(frozen=True, slots=True)
class Continue:
    """Every plugin let the request pass; this is what an upstream would get."""

    request: Request


@dataclass(frozen=True, slots=True)
class Respond:
    """A plugin answered."""

    response: Response


@dataclass(slots=True)
class _Lent:
    """Bytes that C points to for as long as the exchange lives."""

    keep: list[bytes] = field(default_factory=list)

    def text(self, text: Any, data: bytes) -> None:
        self.keep.append(data)
        text.ptr = ffi.from_buffer("uint8_t[]", data)
        text.len = len(data)


class ChainExchange:
    """One request on its way through the chain; made by ``AppliedChain.exchange``."""

    def __init__(self, chain: Chain, request: Request, turns: GuestTurns) -> None:
        self._turns = turns
        self._request = request
        self._cdata = ffi.gc(lib.blitz_exchange_new(), lib.blitz_exchange_free)
        self._lent = _Lent()
        self._peer = ffi.new("blitz_peer *")
        self._lent.text(self._peer.address, request.client.encode())
        self._cdata.peer = self._peer
        _fill_request(self._cdata.request, request)
        self._lent.text(self._cdata.body, request.body)
        self._run = ChainRun(chain, self._cdata, trio.current_time)
        self._run.body_ready = True

    async def request(self) -> Continue | Respond:
        """Run the request hooks.

        Raises:
            PluginError: a plugin failed and its policy is ``closed``.
        """
        step = await self._finish(self._run.request(), self._run.request)
        if step == ANSWER:
            return Respond(_read_response(self._cdata, b""))
        return Continue(_read_request(self._cdata, self._request))

    async def response(self, response: Response) -> Response:
        """Run the response hooks on *response*; only after ``request`` said Continue."""
        cdata = self._cdata
        cdata.body_edited = 0
        _fill_response(cdata.response, response)
        self._lent.text(cdata.body, response.body)
        self._run.begin_response()
        self._run.body_ready = True
        await self._finish(self._run.response(), self._run.response)
        return _read_response(cdata, response.body)

    async def _finish(self, step: int, again: Callable[[], int]) -> int:
        while step not in (CONTINUE, ANSWER):
            if step == PENDING:
                step = await drive(self._run, self._turns)
            else:
                if step == NEED_BODY:
                    self._run.body_ready = True
                else:
                    await wait_for_instance(self._run)
                step = again()
        return step

    def close(self) -> None:
        self._run.close()


class AppliedChain:
    """Plugins ready to run; made by ``open_chain``."""

    def __init__(self, chain: Chain) -> None:
        self._chain = chain
        self._turns = GuestTurns()

    async def process_request(self, request: Request) -> Continue | Respond:
        """Run the request hooks on *request*. Raises PluginError."""
        check_under_trio("AppliedChain.process_request")
        with self.exchange(request) as exchange:
            return await exchange.request()

    @contextlib.contextmanager
    def exchange(self, request: Request) -> Iterator[ChainExchange]:
        """A ``ChainExchange`` for both phases: the same instances see request and response."""
        exchange = ChainExchange(self._chain, request, self._turns)
        try:
            yield exchange
        finally:
            exchange.close()


@contextlib.asynccontextmanager
async def open_chain(
    plugins: Sequence[str | PathLike[str] | Plugin], *, plugin_log: PluginLogLevel = "info", **settings: Any
) -> AsyncIterator[AppliedChain]:
    """Load *plugins* and run them in the order given.

    What they log goes to the logger ``blitz.plugin``.

    Args:
        plugins: paths of ``.wasm`` files (a manifest beside one is read), or ``blitz.config.Plugin``.
        plugin_log: the least severe lines of the plugins that are kept, as ``[log] plugins`` says it.
        settings: keys of ``[[plugins]]`` for every path, such as ``memory="2MiB"``, ``timeout="10ms"``,
            ``config={...}``, ``env=["NAME"]``, ``failure="open"``, ``deny=["clock"]``.
    Raises:
        ConfigError, PluginLoadError.
        RuntimeError: outside of trio.
    """
    check_under_trio("blitz.open_chain")
    entries = [_entry(plugin, place, settings) for place, plugin in enumerate(plugins)]
    config = Config(plugins=entries, routes=[Route(answer=Answer(status=200))], log=Log(plugins=plugin_log))
    resolved = resolve(config)
    engine, _ = engine_for(resolved.plugins)
    share = engine.share(len(resolved.plugins))
    pools: list[PluginPool] = []
    try:
        cache = open_cache("")
        for plugin in resolved.plugins:
            pools.append(PluginPool(await load_plugin(engine, plugin, resolved.log.plugins, cache), share))
            _refuse_parts(pools[-1])
            await probe(pools[-1], GuestTurns())
        yield AppliedChain(Chain(pools))
    finally:
        discard(pools)
        engine.close()


def _refuse_parts(pool: PluginPool) -> None:
    """A program has whole bodies: one that sees parts would be left out of them without a word."""
    if pool.plugin.parts:
        raise PluginLoadError(
            f"{pool.plugin.spec.source} has hooks on parts of bodies or on their end, which a chain of a "
            "program does not call: use process_request and process_response, or a gateway",
            plugin=pool.name,
        )


def _entry(plugin: str | PathLike[str] | Plugin, place: int, settings: dict[str, Any]) -> Plugin:
    if isinstance(plugin, Plugin):
        return plugin
    path = fspath(plugin)
    stem = path.rpartition("/")[2].removesuffix(".wasm")
    return Plugin(name=stem, file=path, order=place, **settings)


def _octets(text: str | bytes) -> bytes:
    return text if isinstance(text, bytes) else text.encode()


def _fill_request(head: Any, request: Request) -> None:
    lib.blitz_head_reset(head, lib.BLITZ_REQUEST)
    method, target = request.method.encode(), request.target.encode()
    _checked(lib.blitz_head_start_request(head, method, len(method), target, len(target), 1), "request line")
    _add_fields(head, request.headers)


def _fill_response(head: Any, response: Response) -> None:
    lib.blitz_head_reset(head, lib.BLITZ_RESPONSE)
    _checked(lib.blitz_head_start_response(head, response.status, b"", 0, 1), "status")
    _add_fields(head, response.headers)


def _add_fields(head: Any, fields: Fields) -> None:
    for name, value in fields:
        key, octets = _octets(name), _octets(value)
        _checked(lib.blitz_head_add(head, key, len(key), octets, len(octets)), f"field {key!r}")


def _checked(code: int, what: str) -> None:
    if code < 0:
        raise ValueError(f"{what} is not valid HTTP")


def _span(head: Any, span: Any) -> bytes:
    return ffi.buffer(lib.blitz_head_at(head, span), span.len)[:] if span.len else b""


def _fields(head: Any) -> list[tuple[str | bytes, str | bytes]]:
    fields = (head.fields[index] for index in range(head.n_fields))
    return [(_span(head, item.name), _span(head, item.value)) for item in fields if not item.gone]


def _read_request(cdata: Any, original: Request) -> Request:
    head = cdata.request
    return Request(
        _span(head, head.method).decode(),
        _span(head, head.target).decode("utf-8", "surrogateescape"),
        _fields(head),
        _new_body(cdata, original.body),
        original.client,
    )


def _read_response(cdata: Any, body: bytes) -> Response:
    head = cdata.response
    return Response(head.status, _fields(head), _new_body(cdata, body))


def _new_body(cdata: Any, body: bytes) -> bytes:
    if not cdata.body_edited:
        return body
    return ffi.buffer(cdata.new_body.ptr, cdata.new_body.len)[:] if cdata.new_body.len else b""
