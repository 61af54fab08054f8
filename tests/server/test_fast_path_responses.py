"""Response hooks on the fast path: whatever they do, the general path does the same with it."""

from __future__ import annotations

import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import trio
import trio.testing
import wasmtime
from hypothesis import given, settings
from hypothesis import strategies as st

from blitz.config import Plugin, Timeouts

from .harness import Rig, Served, rig, until
from .test_fast_path import get

# The response's x-act says what the guest does to it, on the plugin that x-who names ("a" or "b").
GUEST = """(module
  (import "env" "get_header" (func $get (param i32 i32 i32 i32) (result i32)))
  (import "env" "add_header" (func $add (param i32 i32 i32 i32)))
  (import "env" "set_status" (func $status (param i32)))
  (import "env" "set_body" (func $body (param i32 i32)))
  (import "env" "log" (func $log (param i32 i32 i32 i32)))
  (memory (export "memory") 1)
  (data (i32.const 0) "x-act")
  (data (i32.const 8) "x-who")
  (data (i32.const 16) "x-seen")
  (data (i32.const 24) "@name@")
  (data (i32.const 32) "edited")
  (data (i32.const 40) "info")
  (func (export "blitz_buffer") (result i32) (i32.const 4096))
  (func (export "blitz_buffer_size") (result i32) (i32.const 4096))
  @request@
  (func $is (param $letter i32) (result i32)
    (i32.eq (i32.load8_u (i32.const 64)) (local.get $letter)))
  (func (export "process_response") (param i32 i32 i32) (result i32)
    (local $left i32)
    (call $add (i32.const 16) (i32.const 6) (i32.const 24) (i32.const 1))
    (i32.store8 (i32.const 64) (i32.const 0))
    (i32.store8 (i32.const 65) (i32.const 0))
    (drop (call $get (i32.const 0) (i32.const 5) (i32.const 64) (i32.const 1)))
    (drop (call $get (i32.const 8) (i32.const 5) (i32.const 65) (i32.const 1)))
    (if (i32.ne (i32.load8_u (i32.const 65)) (i32.load8_u (i32.const 24))) (then (return (i32.const 0))))
    (if (call $is (i32.const 110)) (then (call $status (i32.const 204))))
    (if (call $is (i32.const 109)) (then (call $status (i32.const 304))))
    (if (call $is (i32.const 101)) (then (call $status (i32.const 503))))
    (if (call $is (i32.const 98)) (then (call $body (i32.const 32) (i32.const 6))))
    (if (call $is (i32.const 108))
      (then (call $log (i32.const 40) (i32.const 4) (i32.const 32) (i32.const 6))))
    (if (call $is (i32.const 115)) (then (return (i32.const 1))))
    (if (call $is (i32.const 45)) (then (return (i32.const -1))))
    (if (call $is (i32.const 116)) (then (unreachable)))
    (if (call $is (i32.const 119))
      (then
        (local.set $left (i32.const 6000000))
        (loop $again
          (local.set $left (i32.sub (local.get $left) (i32.const 1)))
          (br_if $again (local.get $left)))))
    (i32.const 0)))"""
REQUEST = '(func (export "process_request") (param i32 i32 i32 i32) (result i32) (i32.const 0))'


@dataclass(frozen=True)
class Case:
    """*act* and *who* as the guest reads them; *framing* of the upstream's answer."""

    method: str
    act: str
    who: str
    status: int
    framing: str

    def answer(self) -> bytes:
        head = f"HTTP/1.1 {self.status} X\r\nx-act: {self.act}\r\nx-who: {self.who}\r\n"
        if self.status in (204, 304):
            return f"{head}\r\n".encode()
        body = b"" if self.method == "HEAD" else b"hello"
        if self.framing == "chunked":
            chunks = b"5\r\nhello\r\n0\r\n\r\n" if body else b""
            return f"{head}Transfer-Encoding: chunked\r\n\r\n".encode() + chunks
        return f"{head}Content-Length: 5\r\n\r\n".encode() + body


CASES = st.builds(
    Case,
    st.sampled_from(["GET", "GET", "HEAD"]),
    st.sampled_from("0nmebls-tw"),
    st.sampled_from("ab"),
    st.sampled_from([200, 200, 404, 204, 304]),
    st.sampled_from(["whole", "whole", "chunked", "late"]),
)


def plugins(folder: Path, failure: Any) -> list[Plugin]:
    """ "a" has both hooks, "b" only that for responses: its first call takes an instance from the pool."""
    made = []
    for name, request in (("a", REQUEST), ("b", "")):
        path = folder / f"{name}.wasm"
        path.write_bytes(wasmtime.wat2wasm(GUEST.replace("@name@", name).replace("@request@", request)))
        made.append(
            Plugin(
                name=name, file=str(path), response_body="none", failure=failure, order=len(made), timeout=5
            )
        )
    return made


async def play(parser: str, chain: list[Plugin], cases: list[Case]) -> tuple[list[Any], dict[str, Any]]:
    """-> status, fields and body of each answer, and what each plugin's pool has counted."""

    async def script(served: Served) -> None:
        while True:
            case = cases[int((await served.head()).split(b" ")[1][1:])]
            octets = case.answer()
            if case.framing == "late":
                await served.send(octets[:-3])
                await trio.sleep(0.001)
                octets = octets[-3:]
            await served.send(octets)

    answers: list[Any] = []
    async with rig(script, parser=parser, plugins=chain) as test:
        client = await test.connect()
        for number, case in enumerate(cases):
            await client.send(f"{case.method} /{number} HTTP/1.1\r\nHost: test\r\n\r\n".encode())
            with trio.fail_after(20):
                status, fields, body = await client.answer(case.method)
            fields.pop("date", None)
            if status == 500:
                body = b""  # it names the request
                fields.pop("content-length")
            answers.append((status, fields, body))
            if fields.get("connection") == "close":
                client = await test.connect()
        counted = {name: (one.calls, one.faults, one.skipped) for name, one in statistics(test).items()}
    return answers, counted


async def test_a_response_that_waits_for_its_guest_stays_its_own(tmp_path: Path) -> None:
    """Its head was read where the next response of anybody is read."""

    async def script(served: Served) -> None:
        while True:
            path = (await served.head()).split(b" ")[1].decode()
            act, owner = path[1], path[-1] * 40
            head = f"HTTP/1.1 200 OK\r\nx-act: {act}\r\nx-who: a\r\nx-owner: {owner}\r\n"
            await served.send(f"{head}Content-Length: 5\r\n\r\nhello".encode())

    async with rig(script, plugins=plugins(tmp_path, "closed")) as test:
        clients = {letter: await test.connect() for letter in "abcdef"}
        for client in clients.values():  # from now on on the fast path
            await client.send(get("/0"))
            assert (await client.answer())[0] == 200
        owners: list[tuple[str, str]] = []

        async def ask(letter: str) -> None:
            act = "w" if letter < "d" else "0"
            for _ in range(8):
                await clients[letter].send(get(f"/{act}/{letter}"))
                _, fields, _ = await clients[letter].answer()
                owners.append((letter, fields["x-owner"]))

        with trio.fail_after(20):
            async with trio.open_nursery() as nursery:
                for letter in clients:
                    nursery.start_soon(ask, letter)
        assert [owner for letter, owner in owners if owner != letter * 40] == []
        for client in clients.values():
            await client.stream.aclose()


def statistics(test: Rig) -> dict[str, Any]:
    return dict(test.gateway.statistics().plugins)


@settings(max_examples=15)
@given(cases=st.lists(CASES, min_size=1, max_size=8), failure=st.sampled_from(["open", "closed"]))
def test_both_paths_do_the_same_with_responses(cases: list[Case], failure: str) -> None:
    with tempfile.TemporaryDirectory() as folder:
        chain = plugins(Path(folder), failure)
        fast = trio.run(play, "auto", chain, cases)
        general = trio.run(play, "h11", chain, cases)
    assert fast == general


async def test_an_exchange_that_is_cut_gives_the_instance_back(tmp_path: Path) -> None:
    """It is held from the request to the response; nobody else knows of it."""

    async def script(served: Served) -> None:
        while True:
            if b" /stall " in await served.head():
                await trio.sleep_forever()
            await served.send(Case("GET", "0", "a", 200, "whole").answer())

    timeouts = Timeouts(first_byte=0.2)
    async with rig(script, plugins=plugins(tmp_path, "closed"), timeouts=timeouts) as test:
        for _ in range(3):
            client = await test.connect()
            for path in ("/", "/", "/stall"):
                await client.send(get(path))
                if path == "/":
                    assert (await client.answer())[0] == 200
            await until(lambda: test.gateway.statistics().in_flight == 1)
            assert (await client.answer())[0] == 504
            await client.stream.aclose()  # nobody lingers for it
            await until(lambda: test.gateway.statistics().in_flight == 0)
        found = statistics(test)["a"]
        assert (found.live, found.idle) == (1, 1)


async def test_who_waits_for_an_instance_gets_the_one_that_the_fast_path_gives_back(tmp_path: Path) -> None:
    release = trio.Event()

    async def script(served: Served) -> None:
        while True:
            if b" /slow " in await served.head():
                await release.wait()
            await served.send(Case("GET", "0", "a", 200, "whole").answer())

    chain = [
        Plugin(name=one.name, file=one.file, response_body="none", instances="single")
        for one in plugins(tmp_path, "closed")
    ]
    async with rig(script, plugins=chain) as test:
        first, second = await test.connect(), await test.connect()
        for _ in range(2):
            await first.send(get("/"))
            assert (await first.answer())[0] == 200
        await first.send(get("/slow"))
        await until(lambda: test.gateway.statistics().in_flight == 1)
        await second.send(get("/"))
        await trio.testing.wait_all_tasks_blocked(0.02)
        release.set()
        with trio.fail_after(20):
            assert (await first.answer())[0] == (await second.answer())[0] == 200


@pytest.mark.parametrize("parser", ["auto", "h11"])
async def test_every_plugin_of_a_chain_may_need_a_new_instance(tmp_path: Path, parser: str) -> None:
    chain = [
        Plugin(name=f"{one.name}{number}", file=one.file, response_body="none", instances="per-request")
        for number in range(3)
        for one in plugins(tmp_path, "closed")
    ]

    async def script(served: Served) -> None:
        while True:
            await served.head()
            await served.send(Case("GET", "0", "a", 200, "whole").answer())

    async with rig(script, parser=parser, plugins=chain) as test:
        client = await test.connect()
        for _ in range(3):
            await client.send(get("/"))
            status, fields, _ = await client.answer()
            assert (status, fields["x-seen"]) == (200, "a")
        assert {one.calls for one in statistics(test).values()} <= {3, 6}
