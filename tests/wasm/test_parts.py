"""Hooks on parts of bodies: what a module must look like, and what hostile ones can do to a part."""

from __future__ import annotations

import random
from typing import Any

import pytest

from blitz._native import ffi, lib
from blitz.errors import PluginError, PluginLoadError
from blitz.http.buffer import PART_HEADROOM, PART_SIZE, PART_TAILROOM, Buffer
from blitz.wasm.chain import Chain, ChainRun
from blitz.wasm.engine import Engine
from blitz.wasm.parts import FED, OUT, PENDING, PartsRun
from blitz.wasm.pool import PluginPool
from tests.conftest import compile_wat
from tests.server.parts_guests import BY_PLACE, DROP, PASS, TWICE, by_place, module

from .support import Exchange, Guest, exchanging, running

RESPONSE = lib.BLITZ_PARTS_RESPONSE
WRONG = {
    "process_response_head": ("(param i32 i32) (result i32)", "wanted (i32) -> i32: it takes a status"),
    "process_request_chunk": (
        "(param i32 i32) (result i32)",
        "wanted (i32, i32, i32) -> i32: it takes",
    ),
    "process_response_chunk": ("(param i32 i32 i64) (result i32)", "wanted (i32, i32, i32) -> i32: it takes"),
    "process_end": ("(param i32 i32) (result i32)", "wanted (i32, i32) -> (): it takes a string"),
}


@pytest.mark.parametrize("name", WRONG)
def test_a_hook_of_another_type_is_refused_in_a_sentence(engine: Engine, name: str) -> None:
    spelt, wanted = WRONG[name]
    result = "(i32.const 0)" if "result" in spelt else ""
    wat = f"""(module (memory (export "memory") 1)
      (func (export "malloc") (param i32) (result i32) (i32.const 16)) (func (export "free") (param i32))
      (func (export "process_request") (param i32 i32 i32 i32) (result i32) (i32.const 0))
      (func (export "{name}") {spelt} {result}))"""
    with pytest.raises(PluginLoadError) as caught, running(engine, compile_wat(wat)):
        pass
    assert f"exports {name} as " in caught.value.message
    assert wanted in caught.value.message
    assert "\n" not in caught.value.message


def test_a_module_with_an_end_alone_has_no_hook(engine: Engine) -> None:
    wat = '(module (memory (export "memory") 1) (func (export "process_end") (param i32 i32)))'
    with pytest.raises(PluginLoadError, match="has no hook"), running(engine, compile_wat(wat)):
        pass


class Line:
    """Plugins in a chain, and one response's body on its way through them."""

    def __init__(self, engine: Engine, codes: list[str], **settings: Any) -> None:
        self.guests = [
            Guest(engine, module(response=code), name=f"g{n}", instances="per-request", **settings)
            for n, code in enumerate(codes)
        ]
        self.pools = []
        for guest in self.guests:
            guest.instance.free()
            self.pools.append(PluginPool(guest.plugin))
        self.chain = Chain(self.pools)
        self.faults: list[PluginError] = []

    def send(self, exchange: Exchange, pieces: list[bytes]) -> bytes:
        """What comes out of these."""
        chain = ChainRun(self.chain, exchange.c, lambda: 0.0)
        exchange.respond(200, ((b"transfer-encoding", b"chunked"),))
        lib.blitz_head_check(exchange.c.response, b"GET", 3)
        assert chain.request() == 0
        chain.begin_response()
        assert chain.response() == 0
        stages = chain.take_stages(RESPONSE)
        assert [stage.index for stage in stages] == list(range(len(self.pools)))[::-1]
        run = PartsRun(exchange.c, RESPONSE, stages, lambda: 0.0, self.faults.append)
        try:
            return b"".join(self._parts(run, pieces))
        finally:
            run.close()
            chain.close()

    def _parts(self, run: PartsRun, pieces: list[bytes]) -> list[bytes]:
        size = PART_HEADROOM + PART_SIZE + PART_TAILROOM
        part, sink, came = Buffer(size), Buffer(size), []
        for n, piece in enumerate(pieces):
            part.view[PART_HEADROOM : PART_HEADROOM + len(piece)] = piece
            last = n == len(pieces) - 1
            ptr = part.ptr + PART_HEADROOM
            run.feed(ptr, len(piece), last=last, buffer=part, start=PART_HEADROOM, sink=sink)
            step = run.go()
            while step != FED:
                if step == PENDING:
                    step = run.resume()
                    continue
                assert step == OUT
                came.append(bytes(run.out.view[run.start : run.end]))
                # Whoever sends it may write around it.
                run.out.view[run.start - 8 : run.start] = bytes(8)
                run.out.view[run.end : run.end + 8] = bytes(8)
                step = run.go()
        assert run.ended
        return came

    def close(self) -> None:
        for pool in self.pools:
            pool.close()
            for instance in pool.take_leaving():
                pool.end(instance)
            pool.free()


@pytest.fixture
def lines(engine: Engine) -> Any:
    made: list[Line] = []

    def make(*codes: str, **settings: Any) -> Line:
        made.append(Line(engine, list(codes), **settings))
        return made[-1]

    yield make
    for line in made:
        line.close()


def twice(data: bytes) -> bytes:
    return bytes(byte for byte in data for _ in range(2))


# Sometimes it changes a part, sometimes it does not: places in the fed part and in the sink come mixed.
SOMETIMES = BY_PLACE.replace(
    "(local $i i32)",
    "(local $i i32) (if (i32.and (local.get $len) (i32.const 1)) (then (return (i32.const 0))))",
)
LINES = {
    "passes": ([PASS], lambda data: data),
    "by place": ([BY_PLACE], by_place),
    "grows": ([TWICE, BY_PLACE], lambda data: twice(by_place(data))),
    "grows twice": ([TWICE, TWICE, BY_PLACE, PASS], lambda data: twice(twice(by_place(data)))),
    "drops": ([TWICE, DROP], lambda data: b""),
    "passes behind": ([PASS, BY_PLACE, PASS], by_place),
}


@pytest.mark.parametrize("name", LINES)
def test_any_split_comes_out_the_same(lines: Any, name: str) -> None:
    codes, expected = LINES[name]
    rng = random.Random(name)
    line = lines(*codes)
    for _ in range(6):
        data = rng.randbytes(rng.choice([0, 1, 70_000, 300_000]))
        pieces, at = [], 0
        while at < len(data):
            size = rng.choice([1, 50, 65_535, 65_536, 65_537, 200_000, PART_SIZE])
            pieces.append(data[at : at + size])
            at += size
        with exchanging() as exchange:
            assert line.send(exchange, pieces or [b""]) == expected(data)
    assert not line.faults
    assert all(pool.live == 0 for pool in line.pools)


def test_parts_that_are_changed_and_parts_that_are_not_keep_their_order(lines: Any) -> None:
    line = lines(SOMETIMES)
    rng = random.Random(3)
    for _ in range(10):
        pieces = [rng.randbytes(rng.choice([1, 2, 65_536, 65_537, 131_073, 200_001])) for _ in range(5)]
        expected, place = b"", 0
        for piece in pieces:
            for at in range(0, len(piece), 65_536):
                part = piece[at : at + 65_536]
                if len(part) & 1:
                    expected += part
                else:
                    expected += bytes(byte ^ ((place + n) & 255) for n, byte in enumerate(part))
                    place += len(part)
        with exchanging() as exchange:
            assert line.send(exchange, pieces) == expected


HOSTILE = {
    "outside": "(call $set_chunk (i32.const 400000) (i32.const 1))",
    "wraps": "(call $set_chunk (i32.const -1) (i32.const 2))",
    "negative": "(call $set_chunk (i32.const 0) (i32.const -1))",
    "too large": "(call $set_chunk (i32.const 0) (i32.const 393216))",
    "a head": "(call $set_header (i32.const 310) (i32.const 6) (i32.const 320) (i32.const 3))",
    "skips too late": "(call $skip_body)",
    "no verdict": "(return (i32.const 7))",
}


@pytest.mark.parametrize("name", HOSTILE)
def test_a_hostile_part_is_a_fault_that_names_what_was_wrong(lines: Any, name: str) -> None:
    line = lines(PASS, HOSTILE[name], max_body=65_536)
    with exchanging() as exchange, pytest.raises(PluginError) as caught:
        line.send(exchange, [b"hello"])
    assert caught.value.hook == "process_response_chunk"
    assert line.faults == [caught.value]
    assert all(pool.live == 0 for pool in line.pools)


def test_set_chunk_outside_of_a_part_is_a_fault(engine: Engine) -> None:
    wat = module(response=PASS, head="(call $set_chunk (i32.const 0) (i32.const 1))")
    with running(engine, wat) as guest, exchanging() as exchange:
        error = guest.fails(guest.response(exchange))
        assert error.hook == "process_response_head"
        assert "no part in hand" in error.message


def test_of_a_part_that_is_given_back_twice_the_last_counts(engine: Engine) -> None:
    wat = module(
        response="(call $set_chunk (i32.const 300) (i32.const 4))"
        "(call $set_chunk (i32.const 320) (i32.const 3))"
    )
    with running(engine, wat) as guest, exchanging() as exchange:
        into = ffi.new("uint8_t[]", 16)
        rc = guest.finish(
            lib.blitz_call_part(guest.instance.ptr, exchange.c, RESPONSE, b"abc", 3, 1, into, 16)
        )
        assert rc == lib.BLITZ_R_BODY
        out = lib.blitz_part_out(guest.instance.ptr)
        assert (out.ptr == into, ffi.buffer(out.ptr, out.len)[:]) == (True, b"yes")
