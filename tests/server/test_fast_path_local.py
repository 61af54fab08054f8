"""Local responses on the fast path: of routes, of plugins that answer, and where no route matches."""

from __future__ import annotations

import logging
import tempfile
from dataclasses import astuple, dataclass
from pathlib import Path
from typing import Any

import pytest
import trio
import wasmtime
from hypothesis import given, settings
from hypothesis import strategies as st

from blitz.config import Answer, Plugin, Route

from .harness import Client, Rig, Served, rig
from .test_access import Lines, lines  # noqa: F401
from .test_access_paths import Asked, compare
from .test_fast_path_responses import plugins, statistics

# Answers requests for /plugin as they say: with the status, the body and, for the response hooks of others,
# x-act and x-who.
ANSWERER = """(module
  (import "env" "get_header" (func $get (param i32 i32 i32 i32) (result i32)))
  (import "env" "add_header" (func $add (param i32 i32 i32 i32)))
  (import "env" "set_status" (func $status (param i32)))
  (import "env" "set_body" (func $body (param i32 i32)))
  (memory (export "memory") 1)
  (data (i32.const 0) "x-act")
  (data (i32.const 8) "x-who")
  (data (i32.const 16) "x-body")
  (data (i32.const 24) "x-status")
  (data (i32.const 64) "plugin says")
  (func (export "blitz_buffer") (result i32) (i32.const 4096))
  (func (export "blitz_buffer_size") (result i32) (i32.const 4096))
  (func $copy (param $name i32)
    (drop (call $get (local.get $name) (i32.const 5) (i32.const 200) (i32.const 1)))
    (call $add (local.get $name) (i32.const 5) (i32.const 200) (i32.const 1)))
  (func $digit (param $at i32) (param $weight i32) (result i32)
    (i32.mul (local.get $weight) (i32.sub (i32.load8_u (local.get $at)) (i32.const 48))))
  (func (export "process_request") (param i32 i32 i32 i32) (result i32)
    (if (i32.ne (i32.load8_u offset=1 (local.get 2)) (i32.const 112)) (then (return (i32.const 0))))
    (call $copy (i32.const 0))
    (call $copy (i32.const 8))
    (drop (call $get (i32.const 24) (i32.const 8) (i32.const 210) (i32.const 3)))
    (call $status
      (i32.add (call $digit (i32.const 210) (i32.const 100))
        (i32.add (call $digit (i32.const 211) (i32.const 10)) (call $digit (i32.const 212) (i32.const 1)))))
    (i32.store8 (i32.const 220) (i32.const 0))
    (drop (call $get (i32.const 16) (i32.const 6) (i32.const 220) (i32.const 1)))
    (if (i32.load8_u (i32.const 220)) (then (call $body (i32.const 64) (i32.const 11))))
    (i32.const 1)))"""
CONTENTLESS = (204, 205, 304)
ROUTES = [
    Route(path_prefix="/fixed", answer=Answer(200, "fixed body")),
    Route(path_prefix="/empty", answer=Answer(403)),
    Route(path_prefix="/none", answer=Answer(204)),
    Route(path_prefix="/reset", answer=Answer(205)),
    Route(path_prefix="/plugin", upstream="main"),
    Route(path_prefix="/up", upstream="main"),
]
OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"


@dataclass(frozen=True)
class Case:
    path: str
    method: str
    minor: int
    keep: str
    act: str
    who: str
    status: int
    body: str

    def octets(self, number: int) -> bytes:
        fields = ["Host: test", f"X-Act: {self.act}", f"X-Who: {self.who}", f"X-Status: {self.status}"]
        if self.body and self.status not in CONTENTLESS:
            fields.append("X-Body: y")
        if self.keep:
            fields.append(f"Connection: {self.keep}")
        body = b"posted" if self.method == "POST" else b""
        if body:
            fields.append(f"Content-Length: {len(body)}")
        line = f"{self.method} {self.path}?{number} HTTP/1.{self.minor}"
        return "\r\n".join([line, *fields, "", ""]).encode() + body


CASES = st.builds(
    Case,
    st.sampled_from(
        ["/fixed", "/empty", "/none", "/reset", "/plugin", "/plugin", "/up", "/nowhere", "/%2e%2e/x"]
    ),
    st.sampled_from(["GET", "GET", "HEAD", "POST"]),
    st.sampled_from([1, 1, 0]),
    st.sampled_from(["", "", "keep-alive", "close"]),
    st.sampled_from("0nmebls-tw"),
    st.sampled_from("ab"),
    st.sampled_from([200, 403, 503, *CONTENTLESS]),
    st.sampled_from(["", "y"]),
)


def chain_of(folder: Path, failure: Any) -> list[Plugin]:
    """Two with response hooks in front of the one that answers: the second of them has no other."""
    made = plugins(folder, failure)
    path = folder / "answerer.wasm"
    path.write_bytes(wasmtime.wat2wasm(ANSWERER))
    made.append(Plugin(name="answerer", file=str(path), response_body="none", order=len(made)))
    return made


async def serve_ok(served: Served) -> None:
    while True:
        head = await served.head()
        await served.exactly(6 if head.startswith(b"POST") else 0)
        await served.send(OK if not head.startswith(b"HEAD") else OK[:-2])


async def play(parser: str, chain: list[Plugin], cases: list[Case]) -> tuple[list[Any], Any, Any]:
    """-> each response; what the pools and the gateway have counted."""
    got: list[Any] = []
    async with rig(serve_ok, parser=parser, plugins=chain, routes=ROUTES) as test:
        client: Client | None = None
        for number, case in enumerate(cases):
            if client is None:
                client = await test.connect()
            with trio.fail_after(20):
                await client.send(case.octets(number))
                status, fields, body = await client.answer(case.method)
                fields.pop("date", None)
                if b"\nrequest " in body:
                    body = body.partition(b"\nrequest ")[0]
                got.append((status, fields, body))
                if fields.get("connection") == "close":
                    got.append(await client.closed())
                    client = None
        counted = {name: (one.calls, one.faults, one.skipped) for name, one in statistics(test).items()}
        return got, counted, _counters(test)


def _counters(test: Rig) -> dict[str, int]:
    names = (
        "connections",
        "exchanges",
        "client_errors",
        "upstream_errors",
        "plugin_faults",
        "internal_errors",
    )
    return {name: getattr(test.gateway.statistics().counters, name) for name in names}


@settings(max_examples=15)
@given(cases=st.lists(CASES, min_size=1, max_size=8), failure=st.sampled_from(["open", "closed", None]))
def test_both_paths_give_the_same_responses_of_our_own(cases: list[Case], failure: str | None) -> None:
    with tempfile.TemporaryDirectory() as folder:
        chain = chain_of(Path(folder), failure) if failure else []
        fast = trio.run(play, "auto", chain, cases)
        general = trio.run(play, "h11", chain, cases)
    for case, *both in zip(cases, fast[0], general[0], strict=False):
        assert both[0] == both[1], astuple(case)
    assert fast == general


async def test_the_others_see_what_a_plugin_has_answered(tmp_path: Path) -> None:
    """The plugin that answers does not; hooks run last to first, as for the response of an upstream."""
    async with rig(serve_ok, plugins=chain_of(tmp_path, "closed"), routes=ROUTES) as test:
        client = await test.connect()
        for act, expected in (("0", (403, b"plugin says")), ("b", (403, b"edited")), ("n", (204, b""))):
            await client.send(Case("/plugin", "GET", 1, "", act, "a", 403, "y").octets(0))
            with trio.fail_after(20):
                status, fields, body = await client.answer()
            assert (status, body) == expected
            assert fields["x-seen"] in ("a", "b")
        counted = {name: one.calls for name, one in statistics(test).items()}
        assert counted == {"a": 6, "b": 3, "answerer": 3}


@pytest.mark.parametrize("with_plugins", [False, True])
async def test_access_lines(lines: Lines, tmp_path: Path, with_plugins: bool) -> None:  # noqa: F811
    paths = (b"/fixed", b"/empty", b"/none", b"/reset", b"/plugin", b"/nowhere", b"/plain")
    exchanges = [
        Asked(
            method, path, (b"X-Status: 403", b"X-Body: y", b"X-Act: 0", b"X-Who: a"), body=body, minor=minor
        )
        for path in paths
        for method, body in ((b"GET", b""), (b"HEAD", b""), (b"POST", b"body"))
        for minor in (1, 0)
    ]
    chain = chain_of(tmp_path, "closed") if with_plugins else []
    found = await compare(lines, exchanges, routes=ROUTES, plugins=chain)
    nowhere = [line for line in found if line["target"] == "/nowhere"]
    assert {(line["status"], line["cause"], "route" in line) for line in nowhere} == {
        (404, "no_route", False)
    }
    if with_plugins:
        assert {line["plugin"] for line in found if line["target"] == "/plugin"} == {"answerer"}


async def test_an_error_answer_names_the_id_that_the_log_has(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "blitz.server")
    async with rig(serve_ok, routes=ROUTES) as test:
        client = await test.connect()
        ids = set()
        for _ in range(3):
            await client.send(b"GET /nowhere?secret HTTP/1.1\r\nHost: t\r\n\r\n")
            with trio.fail_after(20):
                status, _, body = await client.answer()
            assert status == 404
            ids.add(body.decode().split("request ")[1].strip())
        said = [record for record in caplog.records if "answered 404" in record.getMessage()]
        assert {record.request_id for record in said} == ids  # type: ignore[attr-defined]
        assert len(ids) == 3
        assert not any("secret" in record.getMessage() for record in said)


async def test_a_response_larger_than_the_buffers_arrives_whole() -> None:
    size = 600_000
    async with rig(serve_ok, routes=[Route(answer=Answer(200, "x" * size))]) as test:
        client = await test.connect()
        for _ in range(2):
            with trio.fail_after(20):
                await client.send(b"GET / HTTP/1.1\r\nHost: t\r\n\r\n")
                status, _, body = await client.answer()
            assert (status, len(body)) == (200, size)
