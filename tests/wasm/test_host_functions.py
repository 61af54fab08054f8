"""What the reading host functions answer, and what WASI grants."""

from __future__ import annotations

import time
from collections.abc import Callable

import pytest

from blitz._native import ffi, lib
from blitz.wasm.engine import Engine
from blitz.wasm.shared import Shared

from .support import Exchange, exchanging, running

Wasm = Callable[[str], bytes]

# Answers with get_property(<path without the slash>) in x-value, "none" when there is none.
PROPERTY = """(module
  (import "env" "get_property" (func $get (param i32 i32 i32 i32) (result i32)))
  (import "env" "set_header" (func $set (param i32 i32 i32 i32)))
  (memory (export "memory") 1) (data (i32.const 0) "x-value") (data (i32.const 16) "none")
  (func (export "blitz_buffer") (result i32) (i32.const 1024))
  (func (export "blitz_buffer_size") (result i32) (i32.const 4096))
  (func $tell (param $name i32) (param $len i32) (local $n i32)
    (local.set $n (call $get (local.get $name) (local.get $len) (i32.const 8192) (i32.const 256)))
    (if (i32.lt_s (local.get $n) (i32.const 0))
      (then (call $set (i32.const 0) (i32.const 7) (i32.const 16) (i32.const 4)))
      (else (call $set (i32.const 0) (i32.const 7) (i32.const 8192) (local.get $n)))))
  (func (export "process_request") (param i32 i32) (param $path i32) (param $len i32) (result i32)
    (call $tell (i32.add (local.get $path) (i32.const 1)) (i32.sub (local.get $len) (i32.const 1)))
    (i32.const 0))
  (func (export "process_response") (param i32) (param $body i32) (param $len i32) (result i32)
    (call $tell (local.get $body) (local.get $len)) (i32.const 0)))"""

PROPERTIES = [
    ("client.address", b"192.0.2.1"),
    ("client.port", b"4711"),
    ("tls.version", b"TLSv1.3"),
    ("tls.cipher", b"TLS_AES_128_GCM_SHA256"),
    ("tls.sni", b"example.org"),
    ("tls.client_subject", b"CN=me"),
    ("tls.client_sha256", b"00ff"),
    ("request.method", b"PUT"),
    ("request.path", b"/request.path"),
    ("request.host", b"example.org"),
    ("request.id", b"0123456789abcdef0123456789abcdef"),
    ("route.name", b"main"),
    ("upstream.address", b"198.51.100.7:80"),
    ("plugin.name", b"guest"),
    ("plugin.config", b'{"a":1}'),
    ("config.a", b"1"),
    ("config.b.c", b"two"),
    ("config.missing", b"none"),
    ("config.", b"none"),
    ("body.truncated", b"1"),
    ("response.status", b"none"),
    ("no.such", b"none"),
    ("client.addres", b"none"),
    ("header.count.", b"none"),
]


def fill(exchange: Exchange) -> None:
    exchange.peer(
        address=b"192.0.2.1",
        port=b"4711",
        tls_version=b"TLSv1.3",
        tls_cipher=b"TLS_AES_128_GCM_SHA256",
        tls_sni=b"example.org",
        tls_client_subject=b"CN=me",
        tls_client_sha256=b"00ff",
    )
    exchange.set_text(exchange.c.request_id, b"0123456789abcdef0123456789abcdef")
    exchange.set_text(exchange.c.route, b"main")
    exchange.set_text(exchange.c.upstream, b"198.51.100.7:80")
    exchange.body(b"x", truncated=True)


@pytest.mark.parametrize(("name", "value"), PROPERTIES)
def test_properties(engine: Engine, wat: Wasm, name: str, value: bytes) -> None:
    config = {"config": b'{"a":1}', "config_values": {"a": b"1", "b.c": b"two"}}
    with (
        running(engine, wat(PROPERTY), **config) as guest,
        exchanging(method=b"PUT", target=b"/" + name.encode()) as exchange,
    ):
        fill(exchange)
        guest.request(exchange)
        assert exchange.request_fields()[-1] == (b"x-value", value)


def test_what_is_not_known_is_no_value(engine: Engine, wat: Wasm) -> None:
    for name in ("client.address", "tls.sni", "route.name", "upstream.address", "plugin.config"):
        with running(engine, wat(PROPERTY)) as guest, exchanging(target=b"/" + name.encode()) as exchange:
            guest.request(exchange)
            expected = b"" if name == "plugin.config" else b"none"
            assert exchange.request_fields()[-1] == (b"x-value", expected)


def test_the_status_is_known_in_the_response(engine: Engine, wat: Wasm) -> None:
    with running(engine, wat(PROPERTY)) as guest, exchanging() as exchange:
        exchange.respond(404, (), b"response.status")
        guest.response(exchange)
        assert exchange.response_fields() == [(b"x-value", b"404")]
        exchange.respond(200, (), b"request.method")
        guest.response(exchange)
        assert exchange.response_fields() == [(b"x-value", b"GET")]


def test_a_request_id_is_made_once_and_is_unique(engine: Engine, wat: Wasm) -> None:
    seen = set()
    with running(engine, wat(PROPERTY)) as guest:
        for _ in range(50):
            with exchanging(target=b"/request.id") as exchange:
                guest.request(exchange)
                made = exchange.request_fields()[-1][1]
                guest.request(exchange)
                assert exchange.request_fields()[-1][1] == made
                assert ffi.buffer(lib.blitz_exchange_id(exchange.c), 32)[:] == made
                assert len(made) == 32 and set(made) <= set(b"0123456789abcdef")
                seen.add(made)
    assert len(seen) == 50


NAMES = (b"host", b"X-User", b"x.user", b"x-user", b"x-users", b"Accept")
SPELT = [(name, b"example.org") for name in NAMES]


@pytest.mark.parametrize(
    ("name", "in_request", "in_response"),
    [("x-user", b"3", b"2"), ("X!USER", b"3", b"0"), ("accept", b"1", b"1"), ("x-use", b"0", b"0")],
)
def test_fields_are_counted_in_every_spelling_of_a_request(
    engine: Engine, wat: Wasm, name: str, in_request: bytes, in_response: bytes
) -> None:
    asked = b"header.count." + name.encode()
    with running(engine, wat(PROPERTY)) as guest, exchanging(target=b"/" + asked, fields=SPELT) as exchange:
        guest.request(exchange)
        assert exchange.request_fields()[-1] == (b"x-value", in_request)
        exchange.respond(200, SPELT, asked)
        guest.response(exchange)
        assert exchange.response_fields()[-1] == (b"x-value", in_response)


def test_granted_environment_only(engine: Engine, wat: Wasm) -> None:
    text = PROPERTY.replace("get_property", "get_env")
    with running(engine, wat(text), env={"KEY": "secret", "EMPTY": ""}) as guest:
        for name, value in (
            (b"KEY", b"secret"),
            (b"EMPTY", b""),
            (b"PATH", b"none"),
            (b"KE", b"none"),
            (b"", b"none"),
        ):
            with exchanging(target=b"/" + name) as exchange:
                guest.request(exchange)
                assert exchange.request_fields()[-1] == (b"x-value", value)


BUFFERS = """(module
  (import "env" "get_body" (func $get (param i32 i32) (result i32)))
  (import "env" "set_status" (func $status (param i32)))
  (import "env" "set_body" (func $body (param i32 i32)))
  (memory (export "memory") 1)
  (func (export "blitz_buffer") (result i32) (i32.const 1024))
  (func (export "blitz_buffer_size") (result i32) (i32.const 4096))
  (func (export "process_request") (param i32 i32 i32 i32) (result i32)
    (i32.store (i32.const 16) (i32.const 0x2e2e2e2e))
    (call $status (i32.add (i32.const 300) (call $get (i32.const 16) (i32.const 3))))
    (call $body (i32.const 16) (i32.const 4)) (i32.const 1)))"""


@pytest.mark.parametrize(
    ("body", "status", "buffer"),
    [
        pytest.param(None, 299, b"....", id="none"),
        pytest.param(b"", 300, b"....", id="empty"),
        pytest.param(b"ab", 302, b"ab..", id="shorter"),
        pytest.param(b"abc", 303, b"abc.", id="exact"),
        pytest.param(b"\xffbcdef", 306, b"\xffbc.", id="longer"),
    ],
)
def test_a_plain_buffer_gets_what_fits_and_the_full_length(
    engine: Engine, wat: Wasm, body: bytes | None, status: int, buffer: bytes
) -> None:
    with running(engine, wat(BUFFERS)) as guest, exchanging() as exchange:
        if body is not None:
            exchange.body(body)
        guest.request(exchange)
        assert (exchange.c.response.status, exchange.new_body) == (status, buffer)


TIME_AND_CHANCE = """(module
  (import "env" "now_ms" (func $now (result i64)))
  (import "env" "random" (func $random (param i32 i32)))
  (import "wasi_snapshot_preview1" "clock_time_get" (func $clock (param i32 i64 i32) (result i32)))
  (import "wasi_snapshot_preview1" "random_get" (func $random_get (param i32 i32) (result i32)))
  (import "env" "set_body" (func $body (param i32 i32)))
  (memory (export "memory") 3)
  (func (export "blitz_buffer") (result i32) (i32.const 1024))
  (func (export "blitz_buffer_size") (result i32) (i32.const 4096))
  (func (export "process_request") (param i32 i32 i32 i32) (result i32)
    (i64.store (i32.const 0) (call $now))
    (if (call $clock (i32.const 0) (i64.const 0) (i32.const 8)) (then (unreachable)))
    (if (call $clock (i32.const 1) (i64.const 0) (i32.const 16)) (then (unreachable)))
    (if (i32.ne (call $clock (i32.const 2) (i64.const 0) (i32.const 16)) (i32.const 28)) (then (unreachable)))
    (call $random (i32.const 24) (i32.const 16))
    (if (call $random_get (i32.const 40) (i32.const 16)) (then (unreachable)))
    (if (call $random_get (i32.const 8192) (i32.const 65536)) (then (unreachable)))
    (if (i32.ne (call $random_get (i32.const 8192) (i32.const 65537)) (i32.const 28)) (then (unreachable)))
    (call $body (i32.const 0) (i32.const 56)) (i32.const 1)))"""


def test_clock_and_chance(engine: Engine, wat: Wasm) -> None:
    with running(engine, wat(TIME_AND_CHANCE)) as guest, exchanging() as exchange:
        drawn = set()
        for _ in range(3):
            guest.request(exchange)
            body = exchange.new_body
            assert body is not None
            now_ms, real, monotonic = (int.from_bytes(body[at : at + 8], "little") for at in (0, 8, 16))
            assert abs(now_ms / 1000 - time.time()) < 10
            assert abs(real / 1e9 - time.time()) < 10
            assert abs(monotonic / 1e9 - time.monotonic()) < 10
            drawn |= {body[24:40], body[40:56]}
        assert len(drawn) == 6


# ---------------------------------------------------------------- WASI


def test_standard_output_and_error_become_log_lines(engine: Engine, guest_wasm: Wasm) -> None:
    with running(engine, guest_wasm("wasi_hello")) as guest, exchanging() as exchange:
        assert guest.request(exchange) == lib.BLITZ_R_LOGS
        lines = guest.instance.take_log()
        assert lines == [
            (2, "one", False),
            (2, "two more", False),
            (4, "unfinished", False),
        ]


def test_the_environment_of_wasi_holds_what_was_granted(engine: Engine, guest_wasm: Wasm) -> None:
    with running(engine, guest_wasm("wasi_environ"), env={"A": "1", "LONG_NAME": "a value"}) as guest:
        with exchanging() as exchange:
            guest.request(exchange)
        assert guest.log() == [r"A=1\x00LONG_NAME=a value\x00"]


# ---------------------------------------------------------------- rate_limit

RATE = """(module
  (import "env" "rate_limit" (func $take (param i32 i32 i32 i32) (result i32)))
  (import "env" "set_status" (func $status (param i32)))
  (memory (export "memory") 1)
  (func (export "blitz_buffer") (result i32) (i32.const 1024))
  (func (export "blitz_buffer_size") (result i32) (i32.const 4096))
  (func (export "process_request") (param i32 i32) (param $path i32) (param $len i32) (result i32)
    (local $left i32)
    (local.set $left (call $take (local.get $path) (local.get $len) (i32.const 1) (i32.const 3)))
    (call $status (select (i32.add (i32.const 200) (local.get $left)) (i32.const 429)
      (i32.ge_s (local.get $left) (i32.const 0))))
    (i32.const 1)))"""


def take(guest: object, path: bytes) -> int:
    with exchanging(target=path) as exchange:
        guest.request(exchange)  # type: ignore[attr-defined]
        return int(exchange.c.response.status)


def test_rate_limits_are_one_truth_for_all_instances(engine: Engine, wat: Wasm) -> None:
    with running(engine, wat(RATE)) as guest:
        assert [take(guest, b"/a"), take(guest, b"/a")] == [202, 201]
        guest.renew()
        assert [take(guest, b"/a"), take(guest, b"/a"), take(guest, b"/b")] == [200, 429, 202]


def test_rate_limits_are_a_namespace_per_plugin(wat: Wasm, engine: Engine) -> None:
    shared = Shared(64)
    module_of = wat(RATE)
    from blitz.wasm.module import Module
    from blitz.wasm.plugin import Plugin

    from .support import spec

    module = Module.compile(engine, module_of, "x.wasm")
    specs = [
        spec("one"),
        spec("two"),
        spec("one"),
        spec("three", namespace="two"),
        spec("two", namespace="x"),
    ]
    plugins = [Plugin(engine, module, one, shared) for one in specs]
    instances = [plugin.new_instance() for plugin in plugins]
    left = []
    for instance in instances:
        assert instance.start() & 3 == 0
        with exchanging(target=b"/a") as exchange:
            code = instance.request(exchange.c)
            while code == lib.BLITZ_PENDING:
                code = instance.resume()
            left.append(exchange.c.response.status)
    assert left == [202, 202, 201, 201, 202]
    for instance in instances:
        instance.free()
    for plugin in plugins:
        plugin.close()
    module.close()
    shared.close()


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        pytest.param(("(i32.const 1) (i32.const 3)", "(i32.const 0) (i32.const 3)"), "at least 1", id="rate"),
        pytest.param(
            ("(i32.const 1) (i32.const 3)", "(i32.const 1) (i32.const -1)"), "at least 1", id="burst"
        ),
        pytest.param(("(local.get $len) (i32", "(i32.const 257) (i32"), "longer than 256 bytes", id="key"),
    ],
)
def test_rate_limits_that_make_no_sense(
    engine: Engine, wat: Wasm, change: tuple[str, str], sentence: str
) -> None:
    with running(engine, wat(RATE.replace(*change))) as guest, exchanging() as exchange:
        assert sentence in str(guest.fails(guest.request(exchange)))
