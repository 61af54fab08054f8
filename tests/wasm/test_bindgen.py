"""wasm-bindgen's spelling, by the shapes that its versions emit."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from blitz._native import lib
from blitz.errors import PluginLoadError, PluginTrap
from blitz.wasm.abi import detect
from blitz.wasm.engine import Engine
from blitz.wasm.module import Module

from .support import exchanging, running

Wasm = Callable[[str], bytes]
HOST = (b"host", b"example.org")


def test_the_new_shape(engine: Engine, guest_wasm: Wasm) -> None:
    with (
        running(engine, guest_wasm("bindgen_new"), env={"NAME": "value"}) as guest,
        exchanging(target=b"/p", fields=[HOST, (b"x-user", b"fr\xffed")]) as exchange,
    ):
        assert guest.plugin.plan.spelling == "wasm-bindgen"
        for _ in range(3):
            exchange.body(b"a body")
            assert guest.request(exchange) & 3 == 0, guest.instance.fault()
            assert dict(exchange.request_fields()) == {
                b"host": b"example.org",
                b"x-user": b"fr\xffed",
                b"x-path": b"/p",
                b"x-pointer": b"1",
                b"x-header": "fr�ed".encode(),
                b"x-env": b"value",
                b"x-body": b"a body",
                b"x-live": b"0",
            }
        exchange.respond(200, (), "größe".encode())
        guest.response(exchange)
        assert guest.log() == ["größe"]
        assert exchange.response_fields() == [(b"x-live", b"0")]


def test_a_missing_value_is_a_null_string(engine: Engine, guest_wasm: Wasm) -> None:
    with running(engine, guest_wasm("bindgen_new")) as guest, exchanging() as exchange:
        guest.request(exchange)
        fields = dict(exchange.request_fields())
        assert fields[b"x-pointer"] == b"0"
        assert fields[b"x-header"] == fields[b"x-env"] == fields[b"x-body"] == b""
    with (
        running(engine, guest_wasm("bindgen_new")) as guest,
        exchanging(fields=[HOST, (b"x-user", b"")]) as exchange,
    ):
        guest.request(exchange)
        fields = dict(exchange.request_fields())
        assert (fields[b"x-pointer"], fields[b"x-header"]) == (b"1", b"")


def test_a_throw_is_a_trap_with_its_message(engine: Engine, guest_wasm: Wasm) -> None:
    with running(engine, guest_wasm("bindgen_new")) as guest, exchanging() as exchange:
        exchange.respond(500, (), b"")
        error = guest.fails(guest.response(exchange))
        assert isinstance(error, PluginTrap)
        assert error.message == "guest failed in process_response: the guest threw: x-user"


def test_the_old_shape(engine: Engine, guest_wasm: Wasm) -> None:
    with (
        running(engine, guest_wasm("bindgen_old")) as guest,
        exchanging(target=b"/p", fields=[HOST, (b"x-user", b"fred")]) as exchange,
    ):
        guest.request(exchange)
        assert exchange.request_fields()[2:] == [(b"x-path", b"/p"), (b"x-header", b"fred")]


def test_a_stripped_build(engine: Engine, guest_wasm: Wasm) -> None:
    with running(engine, guest_wasm("bindgen_stripped")) as guest, exchanging(target=b"/p") as exchange:
        guest.request(exchange)
        assert exchange.request_fields()[1:] == [(b"x-path", b"/p")]


def test_the_table_of_externrefs_is_filled_at_the_start(engine: Engine, guest_wasm: Wasm) -> None:
    with running(engine, guest_wasm("bindgen_externref")) as guest, exchanging(target=b"/long") as exchange:
        assert guest.request(exchange) == lib.BLITZ_V_CONTINUE


def test_an_import_that_is_not_served_traps_by_name(engine: Engine, guest_wasm: Wasm) -> None:
    with running(engine, guest_wasm("bindgen_externref")) as guest, exchanging(target=b"/p") as exchange:
        error = guest.fails(guest.request(exchange))
        assert error.message == (
            "guest failed in process_request: the guest called "
            "__wbindgen_placeholder__.__wbg_random_0123456789abcdef, which this host does not serve"
        )


AMBIGUOUS = """(module (memory (export "memory") 1)
  (func (export "__wbindgen_export_0") (param i32 i32) (result i32) (i32.const 1))
  (func (export "__wbindgen_export_1") (param i32 i32) (result i32) (i32.const 1))
  (func (export "process_request") (param i32 i32 i32 i32) (result i32) (i32.const 0)))"""
ODD_MALLOC = """(module (memory (export "memory") 1)
  (func (export "__wbindgen_malloc") (param i64) (result i32) (i32.const 1))
  (func (export "process_request") (param i32 i32 i32 i32) (result i32) (i32.const 0)))"""
TWO_STARTS = """(module (memory (export "memory") 1)
  (func (export "__wbindgen_start")) (func (export "_initialize"))
  (func (export "process_request") (param i32 i32 i32 i32) (result i32) (i32.const 0)))"""
NO_MALLOC = """(module
  (import "wbg" "__wbg_getheader_0123456789abcdef" (func (param i32 i32 i32)))
  (memory (export "memory") 1)
  (func (export "blitz_buffer") (result i32) (i32.const 0))
  (func (export "blitz_buffer_size") (result i32) (i32.const 64))
  (func (export "process_request") (param i32 i32 i32 i32) (result i32) (i32.const 0)))"""


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        pytest.param(AMBIGUOUS, "could be any of __wbindgen_export_0, __wbindgen_export_1", id="ambiguous"),
        pytest.param(ODD_MALLOC, "exports __wbindgen_malloc as (i64) -> i32, wanted (i32) -> i32", id="type"),
        pytest.param(TWO_STARTS, "exports _initialize and __wbindgen_start, wanted one", id="two starts"),
        pytest.param(NO_MALLOC, "imports get_header in the spelling of wasm-bindgen", id="no malloc"),
    ],
)
def test_refused(engine: Engine, wat: Wasm, text: str, sentence: str) -> None:
    module = Module.compile(engine, wat(text), "x.wasm")
    with pytest.raises(PluginLoadError) as caught:
        detect(module)
    module.close()
    assert sentence in str(caught.value)
