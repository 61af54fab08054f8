"""``QUIC_LOG=debug`` and ``trace`` tell the way of each request, under one id; else nothing is told."""

from __future__ import annotations

import re
from collections.abc import Callable

import pytest

from blitz.config import Answer, Plugin, Route, Timeouts, Upstream

from .harness import Served, rig
from .test_access import guest  # noqa: F401
from .test_plugins import REQUEST, RESPONSE

OK = b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello"
Guest = Callable[..., Plugin]


def stories(caplog: pytest.LogCaptureFixture) -> list[list[str]]:
    """The lines of each request, without their ids."""
    told: dict[str, list[str]] = {}
    for record in caplog.records:
        if record.name == "blitz.request":
            request_id, _, text = record.getMessage().partition(": ")
            assert re.fullmatch("[0-9a-f]{32}", request_id)
            told.setdefault(request_id, []).append(re.sub(r"[0-9.]+ (us|ms)", r"N \1", text))
    return list(told.values())


async def serve(served: Served) -> None:
    """The first connection ends behind its first answer, without saying so."""
    while True:
        await served.head()
        await served.send(OK)


def get(target: str, more: str = "") -> bytes:
    return f"GET {target} HTTP/1.1\r\nHost: t\r\n{more}\r\n".encode()


async def test_debug_tells_route_plugins_upstream_and_status(
    guest: Guest,  # noqa: F811
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level("DEBUG", "blitz.request")
    plugin = guest(f"{REQUEST} (i32.const 0)) {RESPONSE} (i32.const 0))")
    async with rig(serve, plugins=[plugin]) as test:
        client = await test.connect()
        for _ in range(2):
            await client.send(get("/a?password=SECRET", "Cookie: SECRET\r\n"))
            await client.answer()
        here = f"127.0.0.1:{test.upstream.port}"
    first, second = stories(caplog)
    assert first == [
        "GET /a?... from 127.0.0.1 for host t",
        "route route-0",
        "plugin guest, process_request: continue, N us",
        f"upstream {here}, try 1, on a new connection",
        "plugin guest, process_response: continue, N us",
        "answered 200 in N ms",
    ]
    assert second == [line.replace("a new", "a kept") for line in first]
    assert "SECRET" not in caplog.text


async def test_trace_tells_heads_connections_and_bodies(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(5, "blitz.request")
    async with rig(serve) as test:
        client = await test.connect()
        for request in (
            get("/a"),
            b"POST /a HTTP/1.1\r\nHost: t\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n",
        ):
            await client.send(request)
            await client.answer()
        here = f"127.0.0.1:{test.upstream.port}"
    first, second = stories(caplog)
    assert first[1:4] == [
        "request head: 28 bytes, 1 fields, HTTP/1.1; request 1 on this connection (http)",
        "fast path: off while debug or trace is on",
        "route route-0",
    ]
    assert re.fullmatch(r"sent to the upstream: \d+ bytes, 0 of them body", first[6])
    assert first[7:] == [
        "answer of the upstream: status 200, head 38 bytes, 1 fields, body by length",
        f"connection to {here}: kept for another",
        "answered 200 in N ms",
        "bodies: 0 bytes received, 5 bytes sent",
    ]
    assert second[2] == "fast path: no, the request's body is chunked"
    assert "the kept connection has served 1 exchanges" in second
    assert second[-1] == "bodies: 3 bytes received, 5 bytes sent"


async def test_answers_faults_and_failures_are_told(
    guest: Guest,  # noqa: F811
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level("DEBUG", "blitz.request")
    answering = guest(f"{REQUEST} (i32.const 1))")
    async with rig(serve, plugins=[answering]) as test:
        await test.get()
    for failure in ("open", "closed"):
        async with rig(serve, plugins=[guest(f"{REQUEST} unreachable)", failure=failure)]) as test:
            await test.get()
    upstreams = {"main": Upstream(endpoints=["http://127.0.0.1:1", "http://127.0.0.2:1"])}
    async with rig(upstreams=upstreams) as test:
        await test.get()
    async with rig(routes=[Route(path_prefix="/own", answer=Answer(410))]) as test:
        await test.get("/own")
        await test.get("/x")
    answered, skipped, refused, unreachable, own, nowhere = stories(caplog)
    assert answered[2:] == ["plugin guest, process_request: answer, N us", "answered 200 in N ms"]
    assert skipped[2] == "plugin guest, process_request: fault (trap), skipped, N us"
    assert skipped[-1].startswith("answered 200 in N ms; plugin: guest failed")
    assert refused[2] == "plugin guest, process_request: fault (trap), answered 500, N us"
    assert refused[3].startswith("answered 500 in N ms; plugin: guest failed in process_request")
    tries = [line for line in unreachable if " try " in line]
    assert [line.partition(", ")[2] for line in tries] == [f"try {n}, on a new connection" for n in (1, 2)]
    assert sum(line.startswith("try failed: 127.0.0.") for line in unreachable) == 2
    assert "upstream_connect" in unreachable[-1]
    assert own[1:] == ["route route-0", "answered 410 in N ms"]
    assert nowhere[1:] == ["answered 404 in N ms; no_route: no route matches the request"]


async def test_a_second_try_says_why(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("DEBUG", "blitz.request")

    async def script(served: Served) -> None:
        while True:
            if b" /twice" in await served.head() and len(test.upstream.connections) == 1:
                return
            await served.send(OK)

    async with rig(script) as test:
        client = await test.connect()
        for target in ("/", "/twice"):
            await client.send(get(target))
            assert (await client.answer())[0] == 200
    _, second = stories(caplog)
    assert second[2].endswith("try 1, on a kept connection")
    assert second[3].startswith("tried again on a new connection: ")
    assert second[3].endswith("connection closed before an answer")
    assert second[4].endswith("try 2, on a new connection")


async def test_without_these_levels_the_fast_path_serves_and_nothing_is_told(
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level("INFO", "blitz")
    async with rig(serve, timeouts=Timeouts(first_byte=5)) as test:
        client = await test.connect()
        for _ in range(3):
            await client.send(get("/"))
            await client.answer()
        assert test.gateway._context.fast_path.take_exchanges() == 3
    assert not stories(caplog)


async def test_with_them_the_fast_path_steps_aside(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("DEBUG", "blitz.request")
    async with rig(serve) as test:
        client = await test.connect()
        for _ in range(3):
            await client.send(get("/"))
            await client.answer()
        assert test.gateway._context.fast_path.take_exchanges() == 0
    assert len(stories(caplog)) == 3
