"""One line per exchange, which never lies and never blocks; one id for line, fault and answer."""

from __future__ import annotations

import json
import os
import re
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import trio
import wasmtime

from blitz.config import Answer, Log, Plugin, Route, Timeouts, Upstream
from blitz.server import access as access_module
from blitz.server.access import AccessLog
from blitz.server.access_writer import LineWriter

from .access_oracle import taken
from .harness import Served, answering, echo, rig, until
from .test_plugins import HEAD, REQUEST

GET = b"GET /a?b=%22 HTTP/1.1\r\nHost: test\r\n\r\n"
OK = b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello"
JSON = Log(access="json")


class Lines:
    """What standard output got, line by line.

    While ``capfd`` is in force descriptor 1 is its file, and is read as one here. ``readouterr`` reads and
    then empties it, and what the log's writer, a thread, puts there in between is lost.
    """

    def __init__(self) -> None:
        self._read = os.fstat(1).st_size
        self._rest = b""
        self.lines: list[str] = []

    def _take(self) -> None:
        came = os.pread(1, 1 << 20, self._read)
        self._read += len(came)
        *whole, self._rest = (self._rest + came).split(b"\n")
        self.lines += [line.decode() for line in whole]

    async def wait(self, count: int = 1) -> list[str]:
        with trio.fail_after(20):
            self._take()
            while len(self.lines) < count:
                await trio.sleep(0.01)
                self._take()
        return self.lines

    async def only(self) -> dict[str, Any]:
        (line,) = await self.wait()
        found: dict[str, Any] = json.loads(line)
        return found


@pytest.fixture
def lines(capfd: pytest.CaptureFixture[str]) -> Lines:
    return Lines()


@pytest.fixture
def guest(tmp_path: Path) -> Callable[..., Plugin]:
    def make(body: str, **settings: Any) -> Plugin:
        path = tmp_path / "guest.wasm"
        path.write_bytes(wasmtime.wat2wasm(f"(module {HEAD} {body})"))
        return Plugin(name="guest", file=str(path), **{"response_body": "none", **settings})

    return make


async def test_a_proxied_request(lines: Lines) -> None:
    async with rig(answering(OK), log=JSON) as test:
        client = await test.connect()
        began = time.time()
        await client.send(b"POST /a?b=%22 HTTP/1.1\r\nHost: t\r\nContent-Length: 3\r\n\r\nabc")
        await client.answer()
        line = await lines.only()
        moment = time.mktime(time.strptime(line["time"][:19], "%Y-%m-%dT%H:%M:%S")) - time.timezone
        assert abs(moment - began) < 2
        assert re.fullmatch(r"....-..-..T..:..:..\.\d{3}Z", line.pop("time"))
        assert re.fullmatch(r"[0-9a-f]{32}", line.pop("id"))
        assert 0 < line.pop("duration") < 5
        assert line == {
            "client": "127.0.0.1",
            "method": "POST",
            "target": "/a?b=%22",
            "http": "1.1",
            "status": 200,
            "received": 3,
            "sent": 5,
            "scheme": "http",
            "host": "t",
            "route": "route-0",
            "upstream": f"127.0.0.1:{test.upstream.port}",
            "tries": 1,
        }


async def test_the_target_is_the_clients_whatever_plugins_do(
    lines: Lines, guest: Callable[..., Plugin], tmp_path: Path
) -> None:
    path = tmp_path / "rewriter.wasm"
    path.write_bytes(
        wasmtime.wat2wasm(
            f'(module (import "blitz" "set_path" (func $set_path (param i32 i32))) {HEAD}'
            f" {REQUEST} (call $set_path (i32.const 100) (i32.const 4)) (i32.const 0))"
            ' (data (i32.const 100) "/new"))'
        )
    )
    async with rig(echo, log=JSON, plugins=[Plugin(name="rewriter", file=str(path))]) as test:
        _, _, body = await test.get("/old")
        assert body.startswith(b"GET /new")
        assert (await lines.only())["target"] == "/old"


@pytest.mark.parametrize("size", [10, 300_000])
@pytest.mark.parametrize("chunked", [False, True])
async def test_bodies_are_counted_without_their_framing(lines: Lines, size: int, chunked: bool) -> None:
    body = b"x" * size

    async def script(served: Served) -> None:
        await served.head()
        framing = b"Transfer-Encoding: chunked" if chunked else b"Content-Length: %d" % size
        await served.send(b"HTTP/1.1 200 OK\r\n%b\r\n\r\n" % framing)
        await served.send(b"%x\r\n%b\r\n0\r\n\r\n" % (size, body) if chunked else body)
        await served.stream.receive_some()

    async with rig(script, log=JSON) as test:
        assert len((await test.get())[2]) == size
        assert (await lines.only())["sent"] == size


async def test_head_sends_nothing(lines: Lines) -> None:
    async with rig(routes=[Route(answer=Answer(body="hello"))], log=JSON) as test:
        client = await test.connect()
        await client.send(b"HEAD / HTTP/1.0\r\nHost: t\r\n\r\n")
        await client.answer("HEAD")
        line = await lines.only()
        assert (line["sent"], line["http"], line["method"]) == (0, "1.0", "HEAD")


async def test_a_plugin_that_answers_is_named(lines: Lines, guest: Callable[..., Plugin]) -> None:
    plugin = guest(f"{REQUEST} (call $set_status (i32.const 403)) (i32.const 1))")
    async with rig(log=JSON, plugins=[plugin]) as test:
        await test.get()
        line = await lines.only()
        assert (line["status"], line["plugin"], line.get("upstream")) == (403, "guest", None)


@pytest.mark.parametrize("failure", ["closed", "open"])
async def test_one_id_ties_line_fault_and_answer(
    lines: Lines, guest: Callable[..., Plugin], failure: str, caplog: pytest.LogCaptureFixture
) -> None:
    body = f"(func $inner unreachable) {REQUEST} (call $inner) (i32.const 0))"
    plugin = guest(body, failure=failure, type="authentication")
    async with rig(answering(OK), log=JSON, plugins=[plugin]) as test:
        _, _, body = await test.get("/x")
        line = await lines.only()
        (fault,) = test.gateway.faults()
        assert line["plugin"] == "guest"
        assert line["error"].startswith("guest failed in process_request: unreachable")
        assert "\n" not in line["error"]
        assert fault.request_id == line["id"]
        if failure == "closed":
            assert (line["status"], body) == (
                500,
                f"500 Internal Server Error\nrequest {line['id']}\n".encode(),
            )
        else:
            assert (line["status"], body) == (200, b"hello")
        (block,) = [record for record in caplog.records if record.name == "blitz.plugin"]
        outcome = "skipped" if failure == "open" else "answered 500"
        assert block.getMessage().split("; ") == [
            "[WASM Plugin] guest failed in process_request: unreachable code was executed "
            "(a panic or an abort of the guest)",
            f"request {line['id']}, route route-0, {outcome}",
            "at inner",
            f"at {fault.frames[1]}",
        ]
        assert (block.plugin, block.hook, block.id) == ("guest", "process_request", line["id"])
        assert block.frames == fault.frames
        assert (fault.plugin, fault.hook, fault.kind, fault.route) == (
            "guest",
            "process_request",
            "trap",
            "route-0",
        )
        assert fault.frames[0] == "inner"
        assert abs(fault.time - time.time()) < 60


async def test_faults_are_kept_up_to_a_bound_and_logged_up_to_another(
    guest: Callable[..., Plugin], caplog: pytest.LogCaptureFixture
) -> None:
    # Half of the calls fail: no quarantine.
    plugin = guest(
        f"{REQUEST} (if (i32.eq (local.get 3) (i32.const 2)) (then unreachable)) (i32.const 1))",
        failure="closed",
    )
    async with rig(plugins=[plugin]) as test:
        client = await test.connect()
        for _ in range(300):
            for target in (b"/x", b"/", b"/"):
                await client.send(b"GET %b HTTP/1.1\r\nHost: t\r\n\r\n" % target)
                await client.answer()
        assert len(test.gateway.faults()) == 256
        statistics = test.gateway.statistics().plugins["guest"]
        assert (statistics.faults, statistics.quarantines) == (300, 0)
    messages = [record for record in caplog.records if record.name == "blitz.plugin"]
    told = [record for record in messages if hasattr(record, "more")]
    assert sum(record.more for record in told) + len(messages) - len(told) == 300  # type: ignore[attr-defined]
    assert len(messages) <= 2 * 21  # one window, or two on a slow machine
    assert "more like this" in messages[-1].getMessage()  # at the end


async def test_an_upstream_that_is_not_there(lines: Lines) -> None:
    upstreams = {"main": Upstream(endpoints=["http://127.0.0.1:1"])}
    async with rig(upstreams=upstreams, log=JSON) as test:
        await test.get()
        line = await lines.only()
        assert line["status"] == 502
        assert "127.0.0.1:1" in line["error"]


async def test_what_is_no_request_has_a_line_too(lines: Lines) -> None:
    async with rig(log=JSON) as test:
        client = await test.connect()
        await client.send(b"nonsense\r\n\r\n")
        status, _, body = await client.answer()
        line = await lines.only()
        assert (line["status"], line["method"], line["target"]) == (status, "", "") == (400, "", "")
        assert line["id"] in body.decode()
        assert line["error"]


async def test_a_client_that_goes_before_the_answer_is_499(lines: Lines) -> None:
    gone = trio.Event()

    async def script(served: Served) -> None:
        await served.head()
        await gone.wait()
        await served.send(OK)

    async with rig(script, log=JSON) as test:
        client = await test.connect()
        await client.send(b"GET / HTTP/1.1\r\nHost: t\r\nContent-Length: 5\r\n\r\n")
        while not test.upstream.connections:  # noqa: ASYNC110
            await trio.sleep(0.01)
        await client.stream.aclose()
        line = await lines.only()
        gone.set()
        assert line["status"] == 499 or line["error"]


async def test_the_common_format(lines: Lines) -> None:
    async with rig(answering(OK), log=Log(access="common")) as test:
        await test.get('/a"b\\')
        await test.get("/a%20b")
        line = (await lines.wait(2))[-1]
        assert re.fullmatch(
            r"127\.0\.0\.1 - - \[\d\d/..."
            r'/\d{4}:\d\d:\d\d:\d\d \+0000\] "GET /a%20b HTTP/1\.1" 200 5 [0-9a-f]{32}',
            line,
        )


def test_a_target_cannot_forge_a_common_line() -> None:
    log = AccessLog("common")
    log.write(**record(target=b'/" 200 1\\'))
    (line,) = taken(log)
    assert b'"GET /\\" 200 1\\\\ HTTP/1.1" 404' in line


async def test_access_log_is_switched_by_a_reload(lines: Lines) -> None:
    async with rig(answering(OK), log=JSON) as test:
        client = await test.connect()
        for access, expected in (("off", 0), ("json", 1)):
            changed = test.config.__class__(
                routes=test.config.routes, upstreams=test.config.upstreams, log=Log(access=access)
            )
            await test.gateway.reload(changed)
            await client.send(GET)
            await client.answer()
            if expected:
                await lines.wait(expected)
        assert len(lines.lines) == 1


async def test_the_id_goes_to_the_upstream_if_a_field_is_named(lines: Lines) -> None:
    async with rig(echo, log=JSON, request_id_header="X-Correlation-Id") as test:
        _, _, body = await test.get(x_correlation_id="forged")
        line = await lines.only()
        fields = [text for text in body.decode().split("\n") if text.lower().startswith("x-correlation-id")]
        assert fields == [f"{fields[0].partition(':')[0]}: {line['id']}"]


async def test_the_id_goes_nowhere_by_default() -> None:
    async with rig(echo) as test:
        _, _, body = await test.get()
        assert b"request-id" not in body.lower()


# ---------------------------------------------------------------- the writer


def record(target: bytes = b"/", **changes: Any) -> dict[str, Any]:
    """Facts for ``AccessLog.write``."""
    values: dict[str, Any] = {
        "time": 1704164645.678,
        "id": b"0" * 32,
        "client": b"::1",
        "method": b"GET",
        "target": target,
        "http": b"1.1",
        "status": 404,
        "received": 0,
        "sent": 0,
        "duration": 0.001,
    }
    return values | changes


async def test_a_full_pipe_drops_lines_and_blocks_nobody(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(access_module, "MAX_PENDING", 100_000)
    read_end, write_end = os.pipe()
    log = AccessLog("json", write_end)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(log.run)
        written = 0
        while not log.dropped:
            for _ in range(100):
                log.write(**record(target=b"/%d" % written))
                written += 1
            await trio.sleep(0.001)
        got = b""
        while got.count(b"\n") < written - log.dropped:
            got += await trio.to_thread.run_sync(os.read, read_end, 65536)
        await trio.sleep(0.3)
        targets = [json.loads(line)["target"] for line in got.splitlines()]
        assert targets[0] == "/0"
        assert len(targets) == len(set(targets)) == written - log.dropped
        assert f"{log.dropped} lines of the access log were lost" in caplog.text
        nursery.cancel_scope.cancel()
    os.close(read_end)
    os.close(write_end)


async def test_a_reader_that_went_away_is_no_error() -> None:
    read_end, write_end = os.pipe()
    os.close(read_end)
    log = AccessLog("json", write_end)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(log.run)
        log.write(**record())
        while not log.dropped:  # noqa: ASYNC110
            await trio.sleep(0.01)
        nursery.cancel_scope.cancel()
    os.close(write_end)


async def test_what_is_left_is_written_at_the_end(tmp_path: Path) -> None:
    out = os.open(tmp_path / "out", os.O_WRONLY | os.O_CREAT)
    log = AccessLog("json", out)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(log.run)
        log.write(**record())
        await trio.sleep(0.02)
        for _ in range(10):
            log.write(**record())
        nursery.cancel_scope.cancel()
    os.close(out)
    assert len((tmp_path / "out").read_text().splitlines()) == 11


async def test_writes_to_a_pipe_keep_lines_whole() -> None:
    read_end, write_end = os.pipe()
    try:
        lines = [b"x" * 1500 + b"\n", b"y" * 1500 + b"\n", b"z" * 1500 + b"\n", b"w" * 100 + b"\n"]
        sizes = []
        real = os.write

        def counted(fd: int, data: Any) -> int:
            if fd == write_end:
                sizes.append(len(data))
            return real(fd, data)

        os.write = counted
        try:
            assert LineWriter(write_end).write(b"".join(lines)) == 0
        finally:
            os.write = real
        assert sizes == [3002, 1602]
    finally:
        os.close(read_end)
        os.close(write_end)


# ---------------------------------------------------------------- the fast path


async def one_after_the_other(served: Served) -> None:
    while True:
        if b" /stall " in await served.head():
            await trio.sleep_forever()
        await served.send(OK)


def get(target: str) -> bytes:
    return f"GET {target} HTTP/1.1\r\nHost: test\r\n\r\n".encode()


async def test_exchanges_of_the_fast_path_have_the_lines_of_all_others(lines: Lines) -> None:
    async with rig(one_after_the_other, log=JSON) as test:
        client = await test.connect()
        for n in range(4):
            await client.send(get(f"/{n}"))
            assert (await client.answer())[0] == 200
        first, *others = [json.loads(line) for line in await lines.wait(4)]
        for n, line in enumerate(others, start=1):
            assert 0 < line["duration"] < 5
            assert line["target"] == f"/{n}"
            changes = {key: first[key] for key in ("time", "id", "duration", "target")}
            assert line | changes == first
        assert len({first["id"], *(line["id"] for line in others)}) == 4


async def test_an_answer_that_does_not_come_on_the_fast_path(lines: Lines) -> None:
    async with rig(one_after_the_other, log=JSON, timeouts=Timeouts(first_byte=0.2)) as test:
        client = await test.connect()
        for target in ("/", "/", "/stall"):
            await client.send(get(target))
            answer = await client.answer()
        line = json.loads((await lines.wait(3))[-1])
        assert (line["status"], line["target"], line["method"]) == (504, "/stall", "GET")
        assert line["id"] in answer[2].decode()
        assert line["error"]


async def test_an_exchange_of_the_fast_path_that_we_cut(lines: Lines) -> None:
    async with rig(one_after_the_other, log=JSON) as test:
        client = await test.connect()
        for target in ("/", "/"):
            await client.send(get(target))
            await client.answer()
        await client.send(get("/stall"))
        await until(lambda: test.gateway.statistics().in_flight == 1)
        for connection in list(test.gateway._context.connections):
            connection.cancel()
        line = json.loads((await lines.wait(3))[-1])
        assert (line["status"], line["target"], line["cause"]) == (503, "/stall", "drain")
        assert line["error"] == "cut off: the gateway ended"


async def test_a_plugin_that_answers_on_the_fast_path(lines: Lines, guest: Callable[..., Plugin]) -> None:
    plugin = guest(f"{REQUEST} (i32.const 1))")
    async with rig(echo, log=JSON, plugins=[plugin]) as test:
        client = await test.connect()
        for _ in range(2):
            await client.send(GET)
            await client.answer()
        for text in await lines.wait(2):
            line = json.loads(text)
            assert (line["status"], line["plugin"], line["target"]) == (200, "guest", "/a?b=%22")
            assert "upstream" not in line
