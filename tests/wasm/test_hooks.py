"""Hooks, verdicts, the edit log and the arguments: what one call of one guest does to one exchange."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from blitz._native import lib
from blitz.errors import PluginLoadError, PluginTrap, PluginVerdict
from blitz.wasm.engine import Engine

from .support import exchanging, running

Wasm = Callable[[str], bytes]
HOST = (b"host", b"example.org")


def test_a_request_hook_reads_a_header_and_sets_one(engine: Engine, guest_wasm: Wasm) -> None:
    with (
        running(engine, guest_wasm("copy_header")) as guest,
        exchanging(fields=[HOST, (b"X-User", b"fred"), (b"x-out", b"old"), (b"x-out", b"older")]) as exchange,
    ):
        code = guest.request(exchange)
        assert code == lib.BLITZ_V_CONTINUE | lib.BLITZ_R_EDITS
        assert exchange.request_fields() == [HOST, (b"X-User", b"fred"), (b"x-out", b"fred")]


def test_a_response_hook_works_on_the_response(engine: Engine, guest_wasm: Wasm) -> None:
    with running(engine, guest_wasm("copy_header")) as guest, exchanging() as exchange:
        exchange.respond(200, [(b"x-user", b"upstream")], b"body")
        assert guest.response(exchange) == lib.BLITZ_V_CONTINUE | lib.BLITZ_R_EDITS
        assert exchange.response_fields() == [(b"x-user", b"upstream"), (b"x-out", b"upstream")]
        assert exchange.request_fields() == [HOST]


def test_a_missing_header_is_told_from_an_empty_one(engine: Engine, guest_wasm: Wasm) -> None:
    with running(engine, guest_wasm("copy_header")) as guest:
        with exchanging(fields=[HOST]) as exchange:
            assert guest.request(exchange) == lib.BLITZ_V_CONTINUE
            assert exchange.request_fields() == [HOST]
        with exchanging(fields=[HOST, (b"x-user", b"")]) as exchange:
            guest.request(exchange)
            assert exchange.request_fields()[-1] == (b"x-out", b"")


def test_verdict_1_builds_the_answer_from_the_edits(engine: Engine, guest_wasm: Wasm) -> None:
    with running(engine, guest_wasm("answer")) as guest, exchanging() as exchange:
        assert guest.request(exchange) == lib.BLITZ_V_STOP | lib.BLITZ_R_EDITS | lib.BLITZ_R_BODY
        assert exchange.c.response.status == 401
        assert exchange.response_fields() == [
            (b"WWW-Authenticate", b"Basic"),
            (b"WWW-Authenticate", b"ApiKey"),
            (b"content-length", b"12"),
        ]
        assert exchange.new_body == b"who are you?"
        assert exchange.request_fields() == [HOST]


def test_an_answer_without_edits_is_an_empty_200(engine: Engine, wat: Wasm) -> None:
    stop = wat(
        '(module (memory (export "memory") 1)'
        '(func (export "malloc") (param i32) (result i32) (i32.const 64))'
        '(func (export "free") (param i32))'
        '(func (export "process_request") (param i32 i32 i32 i32) (result i32) (i32.const 1)))'
    )
    with running(engine, stop) as guest, exchanging() as exchange:
        exchange.respond(500, [(b"stale", b"1")])
        assert guest.request(exchange) & 3 == lib.BLITZ_V_STOP
        assert exchange.c.response.status == 200
        assert exchange.response_fields() == [(b"content-length", b"0")]
        assert exchange.new_body == b""


def test_every_edit_of_a_request(engine: Engine, guest_wasm: Wasm) -> None:
    fields = [
        HOST,
        (b"x-set", b"a"),
        (b"x-set", b"b"),
        (b"x-add", b"c"),
        (b"x-gone", b"d"),
        (b"content-length", b"3"),
        (b"content-encoding", b"gzip"),
        (b"digest", b"x"),
        (b"content-digest", b"y"),
    ]
    with running(engine, guest_wasm("edit_all")) as guest, exchanging(fields=fields) as exchange:
        exchange.body(b"abc", truncated=False)
        assert guest.request(exchange) == lib.BLITZ_V_CONTINUE | lib.BLITZ_R_EDITS | lib.BLITZ_R_BODY
        assert exchange.request_fields() == [
            (b"host", b"other.example"),
            (b"x-set", b"value"),
            (b"x-add", b"c"),
            (b"content-length", b"8"),
            (b"x-add", b"value"),
        ]
        assert (exchange.method, exchange.target) == (b"POST", b"/new?path=1")
        assert exchange.new_body == b"new body"
        assert exchange.c.request.content_length == 8
        assert exchange.c.request.flags & lib.BLITZ_HEAD_HAS_BODY_EDIT


def test_every_edit_of_a_response(engine: Engine, guest_wasm: Wasm) -> None:
    with running(engine, guest_wasm("edit_all")) as guest, exchanging() as exchange:
        exchange.respond(
            200, [(b"x-gone", b"d"), (b"ETag", b'"1"'), (b"transfer-encoding", b"chunked")], b"abc"
        )
        assert guest.response(exchange) == lib.BLITZ_V_CONTINUE | lib.BLITZ_R_EDITS | lib.BLITZ_R_BODY
        assert exchange.c.response.status == 418
        assert exchange.reason == b"I'm a Teapot"
        assert exchange.response_fields() == [
            (b"x-set", b"value"),
            (b"x-add", b"value"),
            (b"content-length", b"8"),
        ]
        assert exchange.new_body == b"new body"


def test_what_one_plugin_wrote_the_next_one_reads(engine: Engine, guest_wasm: Wasm) -> None:
    with (
        running(engine, guest_wasm("edit_all"), name="first") as first,
        running(engine, guest_wasm("echo_arguments"), name="second") as second,
        exchanging() as exchange,
    ):
        exchange.respond(200, (), b"old body")
        first.request(exchange)
        second.request(exchange)
        assert (b"x-method", b"POST") in exchange.request_fields()
        assert (b"x-path", b"/new?path=1") in exchange.request_fields()
        first.response(exchange)
        second.response(exchange)
        assert (b"x-body", b"new body") in exchange.response_fields()


@pytest.mark.parametrize(
    ("target", "verdict", "edited"),
    [
        pytest.param(b"/0", lib.BLITZ_V_CONTINUE, True, id="continue"),
        pytest.param(b"/1", lib.BLITZ_V_STOP, False, id="stop"),
        pytest.param(b"/e", lib.BLITZ_V_ERROR, False, id="error"),
    ],
)
def test_verdicts_of_a_request_hook(
    engine: Engine, guest_wasm: Wasm, target: bytes, verdict: int, edited: bool
) -> None:
    with running(engine, guest_wasm("verdict")) as guest, exchanging(target=target) as exchange:
        code = guest.request(exchange)
        assert code & 3 == verdict
        assert ((b"x-edit", b"made") in exchange.request_fields()) is edited
        assert ((b"x-edit", b"made") in exchange.response_fields()) is (verdict == lib.BLITZ_V_STOP)


def test_minus_1_is_an_error_of_a_healthy_instance(engine: Engine, guest_wasm: Wasm) -> None:
    with running(engine, guest_wasm("verdict")) as guest:
        with exchanging(target=b"/e") as exchange:
            error = guest.fails(guest.request(exchange))
            assert isinstance(error, PluginVerdict)
            assert str(error) == "guest failed in process_request: the hook returned -1 (error)"
        with exchanging(target=b"/0") as exchange:
            assert guest.request(exchange) & 3 == lib.BLITZ_V_CONTINUE


def test_a_value_that_is_no_verdict_poisons(engine: Engine, guest_wasm: Wasm) -> None:
    with running(engine, guest_wasm("verdict")) as guest, exchanging(target=b"/x") as exchange:
        code = guest.request(exchange)
        assert code == lib.BLITZ_FAULT
        assert str(guest.fails(code)).endswith("the hook returned 7, which is no verdict (0, 1 or -1)")
        assert exchange.request_fields() == [HOST]
        assert guest.request(exchange) == lib.BLITZ_E_STATE


def test_stop_in_a_response_hook_keeps_its_edits(engine: Engine, guest_wasm: Wasm) -> None:
    with running(engine, guest_wasm("verdict")) as guest, exchanging() as exchange:
        exchange.respond(201, ())
        assert guest.response(exchange) == lib.BLITZ_V_STOP | lib.BLITZ_R_EDITS
        assert exchange.response_fields() == [(b"x-edit", b"made")]


# Counts its starts in the status of its answer: 200 for none, 210 after _start, 201 after _initialize.
STARTS = """(module
  (import "env" "set_status" (func $status (param i32)))
  (memory (export "memory") 1)
  (global $n (mut i32) (i32.const 200))
  (func (export "blitz_buffer") (result i32) (i32.const 1024))
  (func (export "blitz_buffer_size") (result i32) (i32.const 4096))
  (func (export "process_request") (param i32 i32 i32 i32) (result i32)
    (call $status (global.get $n)) (i32.const 1))
  %s)"""
START = '(func (export "_start") (global.set $n (i32.add (global.get $n) (i32.const 10))))'
INITIALIZE = '(func (export "_initialize") (global.set $n (i32.add (global.get $n) (i32.const 1))))'


@pytest.mark.parametrize(
    ("exports", "status"),
    [("", 200), (START, 210), (INITIALIZE, 201), (START + INITIALIZE, 201), (INITIALIZE + START, 201)],
)
def test_a_command_is_started_once_before_its_hooks(
    engine: Engine, wat: Wasm, exports: str, status: int
) -> None:
    """A reactor has _initialize for that, and its _start, if it has one, is for others."""
    with running(engine, wat(STARTS % exports)) as guest:
        for _ in range(2):
            with exchanging() as exchange:
                guest.request(exchange)
                assert exchange.c.response.status == status
        assert guest.plugin.is_command == (status == 210)


def test_arguments_arrive_as_valid_utf8(engine: Engine, guest_wasm: Wasm) -> None:
    with running(engine, guest_wasm("echo_arguments")) as guest, exchanging(target=b"/p?q=1") as exchange:
        guest.request(exchange)
        assert exchange.request_fields()[1:] == [(b"x-method", b"GET"), (b"x-path", b"/p?q=1")]
        for sent, received in [
            (b"plain", b"plain"),
            (b"", b""),
            ("größe €".encode(), "größe €".encode()),
            (b"bad \xff byte", "bad � byte".encode()),
            (b"cut \xe2\x82", "cut �".encode()),
            (b"\xff" * 21, "�".encode() * 21),
        ]:
            exchange.respond(200, (), sent)
            guest.response(exchange)
            assert exchange.response_fields() == [(b"x-body", received)], sent


def test_arguments_larger_than_the_fixed_area_say_what_was_needed(engine: Engine, guest_wasm: Wasm) -> None:
    with running(engine, guest_wasm("echo_arguments")) as guest, exchanging() as exchange:
        exchange.respond(200, (), b"\xff" * 22)  # 66 bytes as UTF-8
        error = guest.fails(guest.response(exchange))
        assert isinstance(error, PluginTrap)
        assert str(error) == (
            "guest failed in process_response: process_response's body takes 66 bytes, blitz_buffer has 64, "
            "and the module exports no allocator"
        )


@pytest.mark.parametrize(
    ("name", "blocks"),
    [
        pytest.param("alloc_malloc", b"2", id="malloc"),
        pytest.param("alloc_blitz", b"2", id="blitz_alloc"),
        pytest.param("alloc_without_free", b"2", id="no free"),
    ],
)
def test_allocators_are_asked_and_given_back(
    engine: Engine, guest_wasm: Wasm, name: str, blocks: bytes
) -> None:
    with running(engine, guest_wasm(name)) as guest:
        for _ in range(3):
            with exchanging(method=b"DELETE", target=b"/long/path?with=query") as exchange:
                guest.request(exchange)
                assert exchange.request_fields()[1:] == [
                    (b"x-method", b"DELETE"),
                    (b"x-path", b"/long/path?with=query"),
                    (b"x-live", blocks),
                ]
                exchange.respond(200, (), b"a body \xff!")
                guest.response(exchange)
                assert exchange.response_fields()[0] == (b"x-body", "a body �!".encode())


def test_a_large_body_goes_through_the_allocator(engine: Engine, guest_wasm: Wasm) -> None:
    body = bytes(range(33, 127)) * 1500  # 141,000 bytes, over two pages
    with running(engine, guest_wasm("alloc_malloc"), max_body=1 << 20) as guest, exchanging() as exchange:
        exchange.respond(200, (), body)
        guest.response(exchange)
        assert exchange.response_fields()[0] == (b"x-body", body)


def test_init_that_says_no_does_not_load(engine: Engine, guest_wasm: Wasm) -> None:
    with running(engine, guest_wasm("init_fails"), started=False) as guest:
        error = guest.fails(guest.start())
        assert isinstance(error, PluginLoadError)
        assert str(error) == "guest failed in init: init returned 3, wanted 0"


def test_cleanup_ends_an_instance(engine: Engine, guest_wasm: Wasm) -> None:
    with running(engine, guest_wasm("bindgen_new")) as guest, exchanging() as exchange:
        assert guest.finish(guest.instance.cleanup()) == lib.BLITZ_V_CONTINUE
        assert guest.request(exchange) == lib.BLITZ_E_STATE
    with running(engine, guest_wasm("verdict")) as guest:  # has no cleanup
        assert guest.finish(guest.instance.cleanup()) == lib.BLITZ_V_CONTINUE


def test_a_hook_that_is_not_there_is_not_called(engine: Engine, guest_wasm: Wasm) -> None:
    with running(engine, guest_wasm("answer")) as guest, exchanging() as exchange:
        assert not guest.plugin.has_response
        assert guest.response(exchange) == lib.BLITZ_E_STATE


def test_no_exchange_is_kept_between_calls(engine: Engine, guest_wasm: Wasm) -> None:
    with running(engine, guest_wasm("copy_header")) as guest:
        for value in (b"a", b"b"):
            with exchanging(fields=[HOST, (b"x-user", value)]) as exchange:
                guest.request(exchange)
                assert exchange.request_fields()[-1] == (b"x-out", value)


SPY = """(module (memory (export "memory") 1)
  (func (export "blitz_buffer") (result i32) (i32.const 1024))
  (func (export "blitz_buffer_size") (result i32) (i32.const 8192))
  (func $look (param $at i32)
    (loop $more
      (if (i32.load8_u (local.get $at)) (then (unreachable)))
      (local.set $at (i32.add (local.get $at) (i32.const 1)))
      (br_if $more (i32.lt_u (local.get $at) (i32.const 65536)))))
  (func (export "process_request") (param i32 i32 i32 i32) (result i32)
    (call $look (i32.add (local.get 2) (local.get 3))) (i32.const 0))
  (func (export "process_response") (param i32 i32 i32) (result i32)
    (call $look (i32.add (i32.const 1024) (local.get 2))) (i32.const 0)))"""


@pytest.mark.parametrize(
    "secret",
    [b"x" * 3000, b"x" * 999 + b"\xff" * 500, b"\xff" + b"x" * 999],
    ids=["well-formed", "ill-formed", "ill-formed_from_the_start"],
)
def test_nothing_of_an_exchange_is_left_for_the_next(engine: Engine, wat: Wasm, secret: bytes) -> None:
    """Another client's path or body is not behind a shorter one in the area for arguments."""
    path = b"/" + b"p" * 5000
    with running(engine, wat(SPY)) as guest:
        for method, target, body in ((b"OPTIONS", path, secret), (b"GET", b"/", b"b"), (b"GET", b"/", b"")):
            with exchanging(method, target) as exchange:
                exchange.respond(200, [], body)
                assert guest.request(exchange) == lib.BLITZ_V_CONTINUE
                assert guest.response(exchange) == lib.BLITZ_V_CONTINUE
                assert guest.request(exchange) == lib.BLITZ_V_CONTINUE
