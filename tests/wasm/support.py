"""One guest on one exchange, driven by hand: what the tests of this directory stand on."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from blitz._native import ffi, lib
from blitz.errors import PluginError
from blitz.wasm.engine import Engine
from blitz.wasm.instance import FAULT, PENDING, Instance
from blitz.wasm.module import Module
from blitz.wasm.plugin import Plugin, PluginSpec
from tests.conftest import compile_wat

KIB = 1024
MIB = 1024 * KIB

Fields = Iterable[tuple[bytes, bytes]]

sanitized = pytest.mark.skipif("ASAN_OPTIONS" in os.environ, reason="sanitizers hold freed memory back")


def spec(name: str = "guest", **changes: Any) -> PluginSpec:
    values: dict[str, Any] = {
        "name": name,
        "source": f"{name}.wasm",
        "memory": MIB,
        "timeout": 1.0,
        "max_body": MIB,
        "response_body": "full",
        "instances": "pooled",
        "max_requests": 1000,
        "max_instances": 10,
        "failure": "closed",
        "grants": ("clock", "random"),
        "log_level": 0,
    }
    return PluginSpec(**(values | changes))


class Exchange:
    """A native exchange with its heads in reach. ``fields`` of the request; ``response`` starts as a 200."""

    def __init__(
        self, method: bytes = b"GET", target: bytes = b"/", fields: Fields = ((b"host", b"example.org"),)
    ) -> None:
        self.c: Any = lib.blitz_exchange_new()
        self._alive: list[Any] = []
        request = self.c.request
        assert lib.blitz_head_start_request(request, method, len(method), target, len(target), 1) == 0
        self.add(request, fields)
        assert lib.blitz_head_check(request, ffi.NULL, 0) == 0
        self.respond(200, ())

    def respond(self, status: int, fields: Fields, body: bytes | None = None) -> None:
        response = self.c.response
        assert lib.blitz_head_start_response(response, status, b"OK", 2, 1) == 0
        self.add(response, fields)
        if body is not None:
            self.body(body)

    def add(self, head: Any, fields: Fields) -> None:
        for name, value in fields:
            assert lib.blitz_head_add(head, name, len(name), value, len(value)) == 0

    def body(self, data: bytes, *, truncated: bool = False) -> None:
        self._alive.append(ffi.from_buffer("uint8_t[]", data))
        self.c.body.ptr, self.c.body.len = self._alive[-1], len(data)
        self.c.body_truncated = truncated

    def set_text(self, target: Any, value: bytes) -> None:
        """Point a blitz_text at bytes that live as long as this object."""
        self._alive.append(ffi.from_buffer("uint8_t[]", value))
        target.ptr, target.len = self._alive[-1], len(value)

    def peer(self, **values: bytes) -> None:
        peer = ffi.new("blitz_peer *")
        for name, value in values.items():
            self.set_text(getattr(peer, name), value)
        self._alive.append(peer)
        self.c.peer = peer

    @property
    def new_body(self) -> bytes | None:
        if not self.c.body_edited:
            return None
        return bytes(ffi.buffer(self.c.new_body.ptr, self.c.new_body.len)) if self.c.new_body.len else b""

    @property
    def target(self) -> bytes:
        return span(self.c.request, self.c.request.target)

    @property
    def method(self) -> bytes:
        return span(self.c.request, self.c.request.method)

    @property
    def reason(self) -> bytes:
        return span(self.c.response, self.c.response.reason)

    def request_fields(self) -> list[tuple[bytes, bytes]]:
        return fields_of(self.c.request)

    def response_fields(self) -> list[tuple[bytes, bytes]]:
        return fields_of(self.c.response)

    def free(self) -> None:
        lib.blitz_exchange_free(self.c)


def span(head: Any, where: Any) -> bytes:
    return bytes(ffi.buffer(lib.blitz_head_at(head, where), where.len)) if where.len else b""


def fields_of(head: Any) -> list[tuple[bytes, bytes]]:
    live = [head.fields[i] for i in range(head.n_fields) if not head.fields[i].gone]
    return [(span(head, field.name), span(head, field.value)) for field in live]


class Guest:
    """A started instance with its plugin and module."""

    def __init__(self, engine: Engine, wasm: bytes | Module, **changes: Any) -> None:
        """*wasm*: a module in binary form; a loaded one belongs to the guest from now on."""
        if isinstance(wasm, bytes):
            wasm = Module.compile(engine, wasm, changes.get("source", "guest.wasm"))
        self.module = wasm
        try:
            self.plugin = Plugin(engine, self.module, spec(**changes))
        except BaseException:
            self.module.close()
            raise
        self.instance: Instance = self.plugin.new_instance()

    def start(self) -> int:
        return self.finish(self.instance.start())

    def finish(self, code: int, instance: Instance | None = None) -> int:
        """Resume until the call is over: every slice that a busy machine stole is given back."""
        instance = instance or self.instance
        while code == PENDING:
            code = instance.resume()
        return code

    def request(self, exchange: Exchange) -> int:
        return self.finish(self.instance.request(exchange.c))

    def response(self, exchange: Exchange) -> int:
        return self.finish(self.instance.response(exchange.c))

    def fails(self, code: int) -> PluginError:
        assert code in (FAULT, lib.BLITZ_V_ERROR, lib.BLITZ_V_ERROR | lib.BLITZ_R_LOGS), code
        return self.instance.fault()

    def log(self) -> list[str]:
        return [text for _, text, _ in self.instance.take_log()]

    def renew(self) -> None:
        """A fresh, started instance in place of this one."""
        self.instance.free()
        self.instance = self.plugin.new_instance()
        assert self.start() & 3 == 0

    def close(self) -> None:
        self.instance.free()
        self.plugin.close()
        self.module.close()


@contextmanager
def running(engine: Engine, wasm: bytes | Module, *, started: bool = True, **changes: Any) -> Iterator[Guest]:
    guest = Guest(engine, wasm, **changes)
    try:
        if started:
            code = guest.start()
            assert code & 3 == 0 and code >= 0, guest.instance.fault()
        yield guest
    finally:
        guest.close()


@contextmanager
def exchanging(*args: Any, **kwargs: Any) -> Iterator[Exchange]:
    exchange = Exchange(*args, **kwargs)
    try:
        yield exchange
    finally:
        exchange.free()


_LOOP = """(module (memory (export "memory") 1)
  (func (export "blitz_buffer") (result i32) (i32.const 1024))
  (func (export "blitz_buffer_size") (result i32) (i32.const 4096))
  (func (export "process_request") (param i32 i32 i32 i32) (result i32)
    (loop $again (br $again)) (i32.const 0)))"""


@contextmanager
def parked(engine: Engine, really: bool = True) -> Iterator[None]:
    """A guest is parked on the engine's own stack: all other calls of this thread run on fibers."""
    if not really:
        yield
        return
    with running(engine, compile_wat(_LOOP)) as guest, exchanging() as exchange:
        assert guest.instance.request(exchange.c) == PENDING
        yield
