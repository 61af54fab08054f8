"""Blitz's own guest runtime behind the interface of ``reference_host``: no sockets, one instance."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from blitz._native import ffi, lib
from blitz.wasm.cache import CompileCache
from blitz.wasm.engine import Engine
from blitz.wasm.instance import FAULT, PENDING, Instance
from blitz.wasm.module import Module
from blitz.wasm.plugin import Plugin, PluginSpec
from blitz.wasm.sections import has_debug_information

from .reference_host import Message, Outcome, config_text

MIB = 1024 * 1024
LEVELS = ("trace", "debug", "info", "warn", "error")


def plugin_spec(file: Path, config: dict[str, Any], env: dict[str, str], memory: int) -> PluginSpec:
    return PluginSpec(
        name=file.stem,
        source=str(file),
        memory=memory,
        timeout=1.0,
        max_body=MIB,
        response_body="full",
        instances="pooled",
        max_requests=10_000,
        max_instances=4,
        failure="closed",
        grants=("clock", "random"),
        config=json.dumps(config).encode(),
        config_values={key: config_text(value).encode() for key, value in config.items()},
        env=env,
        log_level=0,
    )


def compiled(engine: Engine, file: Path) -> Module:
    """As a gateway has it: with a table of lines, if there is debug information."""
    wasm = file.read_bytes()
    if has_debug_information(wasm):
        return CompileCache(None).load(engine, str(file))[0]
    return Module.compile(engine, wasm, str(file))


class BlitzPlugin:
    """One instance of a plugin file, started; ``close`` frees it. Also a context manager."""

    def __init__(
        self, engine: Engine, file: Path, config: dict[str, Any], env: dict[str, str], memory: int = 2 * MIB
    ) -> None:
        self.module = compiled(engine, file)
        self.plugin = Plugin(engine, self.module, plugin_spec(file, config, env, memory))
        self.instance: Instance = self.plugin.new_instance()
        self.exchange: Any = lib.blitz_exchange_new()
        self.logs: list[tuple[str, str]] = []
        self._borrowed: list[Any] = []
        self.init_result = -1 if self._finish(self.instance.start()) == FAULT else 0

    def __enter__(self) -> BlitzPlugin:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()

    def close(self) -> None:
        self.instance.free()
        lib.blitz_exchange_free(self.exchange)
        self.plugin.close()
        self.module.close()

    def request(self, method: str, path: str, message: Message) -> Outcome:
        lib.blitz_exchange_reset(self.exchange)
        self._set_peer(message.properties)
        head, raw_method, target = self.exchange.request, method.encode(), path.encode()
        result = lib.blitz_head_start_request(head, raw_method, len(raw_method), target, len(target), 1)
        assert result == 0
        self._add_headers(head, message)
        if not self.plugin.has_request:
            return Outcome(0, _headers(head))
        verdict = _verdict(self._finish(self.instance.request(self.exchange)))
        if verdict != 1:
            return Outcome(verdict, _headers(head))
        answer = self.exchange.response
        body = self.exchange.new_body
        text = bytes(ffi.buffer(body.ptr, body.len)).decode() if self.exchange.body_edited else ""
        return Outcome(verdict, _headers(answer), int(answer.status), text)

    def response(self, status: int, message: Message) -> Outcome:
        """The answer to the last request."""
        head = self.exchange.response
        assert lib.blitz_head_start_response(head, status, b"", 0, 1) == 0
        self._add_headers(head, message)
        body = ffi.from_buffer("uint8_t[]", message.body.encode())
        self.exchange.body.ptr, self.exchange.body.len = body, len(body)
        if not self.plugin.has_response:
            return Outcome(0, _headers(head))
        return Outcome(_verdict(self._finish(self.instance.response(self.exchange))), _headers(head))

    def cleanup(self) -> int:
        return _verdict(self._finish(self.instance.cleanup()))

    def memory_size(self) -> int:
        return self.instance.memory_size()

    def _finish(self, code: int) -> int:
        while code == PENDING:
            code = self.instance.resume()
        self.logs += [(LEVELS[level], text) for level, text, _ in self.instance.take_log()]
        return code

    def _set_peer(self, properties: dict[str, str]) -> None:
        address = ffi.from_buffer("uint8_t[]", properties.get("client.address", "").encode())
        peer = ffi.new("blitz_peer *")
        peer.address.ptr, peer.address.len = address, len(address)
        self.exchange.peer = peer
        self._borrowed = [address, peer]

    def _add_headers(self, head: Any, message: Message) -> None:
        for name, value in message.headers:
            key, text = name.encode(), value.encode()
            assert lib.blitz_head_add(head, key, len(key), text, len(text)) == 0


def _verdict(code: int) -> int:
    return -1 if code < 0 or code & 3 == lib.BLITZ_V_ERROR else code & 3


def _headers(head: Any) -> list[tuple[str, str]]:
    def text(span: Any) -> str:
        return bytes(ffi.buffer(lib.blitz_head_at(head, span), span.len)).decode() if span.len else ""

    fields = [head.fields[i] for i in range(head.n_fields)]
    return [(text(f.name).lower(), text(f.value)) for f in fields if not f.gone]
