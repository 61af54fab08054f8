"""Plugins before routing, several routes: both drivers choose the same one, and guests see the same."""

from __future__ import annotations

import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import trio
import wasmtime
from hypothesis import given, settings
from hypothesis import strategies as st

from blitz.config import Answer, Plugin, Route, Upstream

from .harness import Client, Served, rig
from .test_access import Lines, lines  # noqa: F401
from .test_access_paths import Asked, compare
from .test_fast_path_responses import statistics

# x-do says what the guest called @name@ does to a request: m leads it to the path in x-to, e edits the body,
# s answers, l logs, t traps, - returns an error; x-who names the guest. All write what they know of the route
# and of the body into the request; to the response they add their name.
GUEST = """(module
  (import "env" "get_header" (func $get (param i32 i32 i32 i32) (result i32)))
  (import "env" "add_header" (func $add (param i32 i32 i32 i32)))
  (import "env" "get_property" (func $property (param i32 i32 i32 i32) (result i32)))
  (import "blitz" "set_path" (func $path (param i32 i32)))
  (import "env" "set_status" (func $status (param i32)))
  (import "env" "set_body" (func $body (param i32 i32)))
  (import "env" "log" (func $log (param i32 i32 i32 i32)))
  @imports@
  (memory (export "memory") 1)
  (data (i32.const 0) "x-do")
  (data (i32.const 8) "x-who")
  (data (i32.const 16) "x-to")
  (data (i32.const 24) "route.name")
  (data (i32.const 40) "x-seen-@name@")
  (data (i32.const 56) "edited")
  (data (i32.const 64) "info")
  (data (i32.const 72) "@name@")
  (func (export "blitz_buffer") (result i32) (i32.const 4096))
  (func (export "blitz_buffer_size") (result i32) (i32.const 4096))
  (func (export "process_request") (param i32 i32 i32 i32) (result i32)
    (local $n i32) (local $do i32)
    (i32.store8 (i32.const 100) (i32.const 0))
    (i32.store8 (i32.const 101) (i32.const 0))
    (drop (call $get (i32.const 0) (i32.const 4) (i32.const 100) (i32.const 1)))
    (drop (call $get (i32.const 8) (i32.const 5) (i32.const 101) (i32.const 1)))
    (local.set $n (call $property (i32.const 24) (i32.const 10) (i32.const 200) (i32.const 64)))
    (if (i32.gt_s (local.get $n) (i32.const 0))
      (then (call $add (i32.const 40) (i32.const 8) (i32.const 200) (local.get $n))))
    @read@
    (if (i32.ne (i32.load8_u (i32.const 101)) (i32.load8_u (i32.const 72))) (then (return (i32.const 0))))
    (local.set $do (i32.load8_u (i32.const 100)))
    (if (i32.eq (local.get $do) (i32.const 109))
      (then
        (local.set $n (call $get (i32.const 16) (i32.const 4) (i32.const 300) (i32.const 64)))
        (call $path (i32.const 300) (local.get $n))))
    (if (i32.eq (local.get $do) (i32.const 101)) (then (call $body (i32.const 56) (i32.const 6))))
    (if (i32.eq (local.get $do) (i32.const 108))
      (then (call $log (i32.const 64) (i32.const 4) (i32.const 56) (i32.const 6))))
    (if (i32.eq (local.get $do) (i32.const 116)) (then (unreachable)))
    (if (i32.eq (local.get $do) (i32.const 45)) (then (return (i32.const -1))))
    (if (i32.eq (local.get $do) (i32.const 115))
      (then (call $status (i32.const 403)) (call $body (i32.const 56) (i32.const 6)) (return (i32.const 1))))
    (i32.const 0))
  @response@)"""
READ_IMPORT = '(import "env" "get_body" (func $get_body (param i32 i32) (result i32)))'
READ = """(local.set $n (call $get_body (i32.const 1000) (i32.const 2000)))
    (if (i32.gt_s (local.get $n) (i32.const 0))
      (then (call $add (i32.const 40) (i32.const 8) (i32.const 1000) (i32.const 2))))"""
RESPONSE = """(func (export "process_response") (param i32 i32 i32) (result i32)
    (call $add (i32.const 40) (i32.const 8) (i32.const 72) (i32.const 1))
    (i32.const 0))"""
ROUTES = [
    Route(name="one", path_prefix="/one", upstream="main", plugins=["a", "b", "c"]),
    Route(name="two", path_prefix="/two", upstream="main", plugins=["a", "b"]),
    Route(name="fixed", path_prefix="/fixed", answer=Answer(200, "fixed"), plugins=["a", "b"]),
    Route(name="host", host="other.test", upstream="named", plugins=["a", "b"]),
]
PATHS = ["/one/x", "/two", "/fixed", "/nowhere", "/%2e%2e/up"]


@dataclass(frozen=True)
class Case:
    path: str
    to: str
    do: str
    who: str
    body: str
    host: str
    minor: int

    def octets(self, number: int) -> bytes:
        fields = [f"Host: {self.host}", f"X-Do: {self.do}", f"X-Who: {self.who}", f"X-To: {self.to}"]
        fields += ["Connection: keep-alive"]
        if self.body:
            fields.append(f"Content-Length: {len(self.body)}")
        line = f"{'POST' if self.body else 'GET'} {self.path}?{number} HTTP/1.{self.minor}"
        return ("\r\n".join([line, *fields, "", ""]) + self.body).encode()


CASES = st.builds(
    Case,
    st.sampled_from(PATHS),
    st.sampled_from(PATHS[:-1]),
    st.sampled_from("0mmeslt-"),
    st.sampled_from("abc"),
    st.sampled_from(["", "", "short", "long" * 100]),
    st.sampled_from(["test", "test", "other.test"]),
    st.sampled_from([1, 1, 1, 0]),
)


def guests(folder: Path, failure: Any, reader: str) -> list[Plugin]:
    """ "a" and "b" run before routing, "c" on one route; *reader* reads bodies of up to 100 bytes."""
    made = []
    for name in "abc":
        text = GUEST.replace("@name@", name).replace("@response@", RESPONSE if name != "b" else "")
        reads = name == reader
        text = text.replace("@imports@", READ_IMPORT if reads else "").replace(
            "@read@", READ if reads else ""
        )
        path = folder / f"{name}.wasm"
        path.write_bytes(wasmtime.wat2wasm(text))
        made.append(
            Plugin(
                name=name,
                file=str(path),
                response_body="none",
                failure=failure,
                order=len(made),
                max_body=100 if reads else None,
                reroute=name == "c",
            )
        )
    return made


async def play(parser: str, chain: list[Plugin], cases: list[Case]) -> tuple[list[Any], list[bytes], Any]:
    seen: list[bytes] = []
    got: list[Any] = []

    async def script(served: Served) -> None:
        while True:
            head = await served.head()
            length = [line for line in head.lower().split(b"\r\n") if line.startswith(b"content-length:")]
            body = await served.exactly(int(length[0][15:]) if length else 0)
            seen.append(head + body)
            await served.send(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")

    async with rig(script, parser=parser) as other:
        upstreams = {
            "main": Upstream(endpoints=[other.upstream.endpoint]),
            "named": Upstream(endpoints=[other.upstream.endpoint], host="inner.test"),
        }
        async with rig(
            parser=parser, plugins=chain, routes=ROUTES, before_routing=["a", "b"], upstreams=upstreams
        ) as test:
            client: Client | None = None
            for number, case in enumerate(cases):
                if client is None:
                    client = await test.connect()
                with trio.fail_after(20):
                    await client.send(case.octets(number))
                    status, fields, body = await client.answer()
                    fields.pop("date", None)
                    got.append((status, fields, body.partition(b"\nrequest ")[0]))
                    if fields.get("connection") == "close":
                        client = None
            counters = test.gateway.statistics().counters
            counted = {name: (one.calls, one.faults, one.skipped) for name, one in statistics(test).items()}
        return got, seen, (counted, counters.exchanges, counters.upstream_errors, counters.plugin_faults)


@settings(max_examples=15)
@given(
    cases=st.lists(CASES, min_size=1, max_size=8),
    failure=st.sampled_from(["open", "closed"]),
    reader=st.sampled_from(" abc"),
)
def test_both_paths_choose_the_same_route(cases: list[Case], failure: str, reader: str) -> None:
    with tempfile.TemporaryDirectory() as folder:
        chain = guests(Path(folder), failure, reader)
        fast = trio.run(play, "auto", chain, cases)
        general = trio.run(play, "h11", chain, cases)
    for case, *both in zip(cases, fast[0], general[0], strict=True):
        assert both[0] == both[1], case
    assert fast == general


async def test_access_lines(lines: Lines, tmp_path: Path) -> None:  # noqa: F811
    def fields(do: str, who: str, to: str) -> tuple[bytes, ...]:
        return tuple(text.encode() for text in (f"X-Do: {do}", f"X-Who: {who}", f"X-To: {to}"))

    exchanges = [
        Asked(b"GET", path.encode(), fields(do, who, to))
        for path in PATHS[:-1]
        for do, who, to in (
            ("0", "a", ""),
            ("m", "b", "/two"),
            ("s", "a", ""),
            ("s", "b", ""),
            ("l", "b", ""),
        )
    ]
    found = await compare(
        lines,
        exchanges,
        plugins=guests(tmp_path, "closed", " "),
        routes=ROUTES[:3],
        before_routing=["a", "b"],
    )
    assert {line.get("route") for line in found} == {"one", "two", "fixed", None}
    assert {line.get("plugin") for line in found} == {"a", "b", None}
