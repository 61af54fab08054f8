"""The id that a client reads in an error answer stands in a line of a log, the access log on or off."""

from __future__ import annotations

import json
import random
import re
from collections.abc import Callable
from typing import Any

import pytest
import trio

from blitz.config import Limits, Log, Plugin, Route, Timeouts, Upstream
from blitz.errors import CAUSES
from blitz.server.access import AccessLog
from blitz.server.access_format import shown

from .access_oracle import PIPE_SIZE, taken
from .harness import Client, Served, rig, until
from .test_access import Lines, guest, lines, record  # noqa: F401
from .test_plugins import REQUEST

OK = b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello"
GONE = {"main": Upstream(endpoints=["http://127.0.0.1:1"])}
Guest = Callable[..., Plugin]


async def by_path(served: Served) -> None:
    while True:
        head = await served.head()
        if b" /stall" in head:
            await trio.sleep_forever()
        if b" /garbage" in head:
            await served.send(b"what?\r\n\r\n")
            return
        if b" /reset" in head:
            return
        await served.send(OK)


def get(target: str, more: str = "", method: str = "GET") -> bytes:
    return f"{method} {target} HTTP/1.1\r\nHost: t\r\n{more}\r\n".encode()


# id, requests on one connection of which the last is answered with an error, its status, cause, configuration
CASES: list[tuple[str, list[bytes], int, str, dict[str, Any]]] = [
    ("no head", [b"nonsense\r\n\r\n"], 400, "bad_request", {}),
    ("bad field", [get("/x", "Bad Name: 1\r\n")], 400, "bad_request", {}),
    ("no host", [b"GET /x HTTP/1.1\r\n\r\n"], 400, "bad_request", {}),
    ("long line", [b"GET /x" + b"y" * 20_000], 414, "limit", {}),
    ("long field", [get("/x", "A: " + "y" * 70_000)], 431, "limit", {}),
    ("large body", [get("/x", "Content-Length: 9\r\n")], 413, "limit", {"limits": Limits(max_body_size=1)}),
    ("slow head", [b"GET /x HT"], 408, "client_timeout", {"timeouts": Timeouts(head=0.2)}),
    (
        "slow body",
        [get("/stall", "Content-Length: 9\r\n")],
        408,
        "client_timeout",
        {"timeouts": Timeouts(body_idle=0.2)},
    ),
    ("no route", [get("/x")], 404, "no_route", {"routes": [Route(path_prefix="/y", upstream="main")]}),
    ("last hop", [get("/x", "Max-Forwards: 0\r\n", "TRACE")], 405, "bad_request", {}),
    ("no upstream", [get("/x")], 502, "upstream_connect", {"upstreams": GONE}),
    ("garbage", [get("/garbage")], 502, "upstream_error", {}),
    ("garbage on the fast path", [get("/")] * 2 + [get("/garbage")], 502, "upstream_error", {}),
    ("reset", [get("/reset")], 502, "upstream_reset", {}),
    ("reset on the fast path", [get("/")] * 2 + [get("/reset")], 502, "upstream_reset", {}),
    ("stall", [get("/stall")], 504, "upstream_timeout", {"timeouts": Timeouts(first_byte=0.2)}),
    (
        "stall on the fast path",
        [get("/")] * 2 + [get("/stall")],
        504,
        "upstream_timeout",
        {"timeouts": Timeouts(first_byte=0.2)},
    ),
    ("total", [get("/stall")], 504, "deadline", {"timeouts": Timeouts(total=0.2)}),
]


async def provoke(client: Client, requests: list[bytes]) -> tuple[int, str]:
    """Status and id of the last answer."""
    with trio.fail_after(20):
        for request in requests:
            await client.send(request)
            status, _, body = await client.answer()
    found = re.fullmatch(rb"\d+ [^\n]*\nrequest ([0-9a-f]{32})\n", body)
    assert found, body
    return status, found[1].decode()


@pytest.mark.parametrize("access", ["off", "json"])
@pytest.mark.parametrize(
    ("requests", "status", "cause", "config"), [pytest.param(*case[1:], id=case[0]) for case in CASES]
)
async def test_the_id_of_an_error_answer_is_in_a_log(
    requests: list[bytes],
    status: int,
    cause: str,
    config: dict[str, Any],
    access: str,
    lines: Lines,  # noqa: F811
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level("INFO", "blitz")
    assert cause in CAUSES
    async with rig(by_path, log=Log(access=access), **config) as test:  # type: ignore[arg-type]
        client = await test.connect()
        answered, request_id = await provoke(client, requests)
        await client.stream.aclose()  # nobody lingers for it: the line is written at once
        assert answered == status
        said = [text for text in caplog.messages if request_id in text]
        if access == "json":
            line = json.loads((await lines.wait(len(requests)))[-1])
            assert (line["id"], line["status"], line["cause"]) == (request_id, status, cause)
            assert line["error"]
            assert line["sent"] > 40
            assert len(said) == (1 if status >= 500 else 0)
        else:
            assert len(said) == 1
        for text in said:
            assert f" from 127.0.0.1 answered {status}, {cause}: " in text


async def test_the_line_says_who_asked_what_and_where_it_went(caplog: pytest.LogCaptureFixture) -> None:
    async with rig(by_path) as test:
        _, request_id = await provoke(await test.connect(), [get("/garbage?password=SECRET")])
        (text,) = [text for text in caplog.messages if request_id in text]
        assert text.startswith("GET /garbage?... from 127.0.0.1 answered 502, upstream_error: ")
        assert text.endswith(
            f"(request {request_id}, route route-0, upstream 127.0.0.1:{test.upstream.port})"
        )
        (found,) = [entry for entry in caplog.records if entry.name == "blitz.server"]
        assert (found.msg % found.args, vars(found)["request_id"]) == (text, request_id)
        assert found.msg.count("%") == 9  # the sentence is the kind: what differs is in the values


@pytest.mark.parametrize("failure", ["trap", "quarantine"])
async def test_faults_of_plugins_have_their_line_each(
    failure: str,
    guest: Guest,  # noqa: F811
    caplog: pytest.LogCaptureFixture,
) -> None:
    plugin = guest(f"{REQUEST} unreachable)", failure="closed")
    count = 3 if failure == "trap" else 25
    async with rig(by_path, plugins=[plugin]) as test:
        client = await test.connect()
        for _ in range(count):
            status, request_id = await provoke(client, [get("/x")])
            (text,) = [text for text in caplog.messages if f"(request {request_id}," in text]
            assert f" answered {status}, plugin: guest" in text
        assert status == (500 if failure == "trap" else 503)


async def test_a_stall_on_the_fast_path_is_told_as_everywhere(lines: Lines) -> None:  # noqa: F811
    """The id is the one that the client saw, the client is the one behind the proxy."""
    fields = "X-Forwarded-For: 192.0.2.7\r\n"
    config: dict[str, Any] = {"trusted_proxies": ["127.0.0.1"], "timeouts": Timeouts(first_byte=0.3)}
    for method in ("GET", "HEAD"):
        lines.lines.clear()
        async with rig(by_path, log=Log(access="json"), **config) as test:
            client = await test.connect()
            for _ in range(3):
                await client.send(get("/", fields))
                await client.answer()
            fast_path = test.gateway._context.fast_path
            assert fast_path.take_exchanges() > 0
            await client.send(get("/stall", fields, method))
            await until(lambda: test.gateway.statistics().in_flight == 1)
            with trio.fail_after(20):
                status, answered, body = await client.answer(method)
                assert await client.closed()
            line = json.loads((await lines.wait(4))[-1])
            assert (status, line["status"], line["client"]) == (504, 504, "192.0.2.7")
            assert line["upstream"] == f"127.0.0.1:{test.upstream.port}"
            assert (line["tries"], line["cause"]) == (1, "upstream_timeout")
            assert line["sent"] == len(body) == (int(answered["content-length"]) if method == "GET" else 0)
            assert method == "HEAD" or line["id"] in body.decode()


# ---------------------------------------------------------------- what was cut


async def test_a_client_that_is_gone_is_499(lines: Lines) -> None:  # noqa: F811
    """Reset while the upstream works: in the general path, and on the fast path."""
    for before in (0, 2):
        release = trio.Event()

        async def script(served: Served, release: trio.Event = release) -> None:
            while True:
                if b" /slow" in await served.head():
                    await release.wait()
                await served.send(OK)

        lines.lines.clear()
        async with rig(script, log=Log(access="json")) as test:
            client = await test.connect()
            for _ in range(before):
                await client.send(get("/"))
                await client.answer()
            await client.send(get("/slow"))
            await until(lambda: any(c.received == b"" for c in test.upstream.connections))
            await until(lambda: test.gateway.statistics().in_flight == 1)
            client.stream.setsockopt(1, 13, b"\x01\0\0\0\0\0\0\0")  # SO_LINGER: close with a reset
            await client.stream.aclose()
            await trio.sleep(0.05)
            release.set()
            line = json.loads((await lines.wait(before + 1))[-1])
            assert (line["status"], line["cause"], line["sent"]) == (499, "client_reset", 0)
            assert line["target"] == "/slow"


@pytest.mark.parametrize(
    ("config", "cause"),
    [({}, "upstream_reset"), ({"timeouts": Timeouts(response_idle=0.2)}, "upstream_timeout")],
    ids=["reset", "stalled"],
)
async def test_an_answer_that_was_cut_says_by_whom(
    lines: Lines,  # noqa: F811
    config: dict[str, Any],
    cause: str,
) -> None:
    async def script(served: Served) -> None:
        await served.head()
        await served.send(b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nhello")
        if config:
            await trio.sleep_forever()

    async with rig(script, log=Log(access="json"), **config) as test:
        client = await test.connect()
        await client.send(get("/"))
        with trio.fail_after(20):
            await client.rest()
        line = await lines.only()
        assert (line["status"], line["sent"], line["cause"]) == (200, 5, cause)
        assert line["error"]


async def test_tries_count_endpoints(lines: Lines, caplog: pytest.LogCaptureFixture) -> None:  # noqa: F811
    upstreams = {"main": Upstream(endpoints=["http://127.0.0.1:1", "http://127.0.0.2:1"])}
    async with rig(upstreams=upstreams, log=Log(access="json")) as test:
        await test.get()
        line = await lines.only()
        assert (line["tries"], line["cause"]) == (2, "upstream_connect")
        assert line["upstream"] in ("127.0.0.1:1", "127.0.0.2:1")


# ---------------------------------------------------------------- refused heads


@pytest.mark.parametrize(
    ("octets", "expected"),
    [
        (b"GET /x?y HTTP/1.1\r\nBad Name: 1\r\n\r\n", ("GET", "/x?y", "1.1")),
        (b"POST /a b HTTP/1.1\r\nHost: t\r\n\r\n", ("POST", "/a b", "1.1")),
        (b"GET /x\x1b[31m\xff HTTP/1.1\r\n\r\n", ("GET", r"/x\x1b[31m\xff", "1.1")),
        (b"GET /x HTTP/2.0\r\n\r\n", ("GET", "/x", "2.0")),
        (b"GET /" + b"x" * 20_000, ("GET", "/" + "x" * 2044 + "...", "")),
        (b"GET /SECRET x y\r\n\r\n", ("GET", "", "")),
        (b"Authorization: SECRET\r\n\r\n", ("", "", "")),
        (b"password=SECRET&x=y\r\n\r\n", ("", "", "")),
        (b"GET SECRET HTTP/1.1\r\n\r\n", ("GET", "", "1.1")),
        (b"\x16\x03\x01\x02\x00\x01\x00", ("", "", "")),
    ],
)
async def test_a_refused_head_is_told_as_far_as_it_was_read(
    octets: bytes,
    expected: tuple[str, str, str],
    lines: Lines,  # noqa: F811
) -> None:
    async with rig(log=Log(access="json")) as test:
        client = await test.connect()
        await client.send(octets)
        await client.stream.send_eof()  # type: ignore[union-attr]
        status, _, body = await client.answer()
        line = await lines.only()
        assert (line["method"], line["target"], line["http"]) == expected
        assert (line["status"], line["sent"], line["client"]) == (status, len(body), "127.0.0.1")
        assert "SECRET" not in lines.lines[0]


async def test_whatever_is_refused_is_one_line_that_fits_a_pipe(
    lines: Lines,  # noqa: F811
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level("INFO", "blitz")
    draw = random.Random(1)
    pieces = [
        b"GET ",
        b"/",
        b" HTTP/1.1",
        b"\r\n",
        b"\n",
        b"\x00",
        b"\x1b[2J",
        b'"',
        b"\\" * 999,
        b"\xff" * 3000,
    ]
    pieces += [
        "\u202e\U000e0041é".encode(),
        b"Host: t\r\n",
        b"Cookie: SECRET\r\n",
        b"User-Agent: u\r\n",
        b"  ",
    ]
    for access in ("json", "combined"):
        async with rig(log=Log(access=access)) as test:  # type: ignore[arg-type]
            for _ in range(30):
                client = await test.connect()
                await client.send(b"".join(draw.choices(pieces, k=draw.randrange(1, 8))) + b"\x01\r\n\r\n")
                await client.stream.send_eof()  # type: ignore[union-attr]
                with trio.fail_after(20):
                    await client.rest()
                await client.stream.aclose()
            assert len(await lines.wait(20)) <= 30
        for text in lines.lines:
            assert text.isascii()
            assert text.isprintable()
            assert len(text) < PIPE_SIZE
            assert "SECRET" not in text
            if access == "json":
                json.loads(text)
        lines.lines.clear()


@pytest.mark.parametrize("kind", ["json", "common", "combined"])
def test_whatever_an_exchange_holds_is_one_line_that_fits_a_pipe(kind: str) -> None:
    draw = random.Random(2)
    log = AccessLog(kind)
    alphabet = [b'"', b"\\", b"\n", b" ", b"\xff", b"\x7f", b"a", "\u202e".encode(), b"</script>"]
    for _ in range(300):
        texts: dict[str, Any] = {
            name: b"".join(draw.choices(alphabet, k=draw.choice([0, 3, 5000])))
            for name in (
                "target",
                "host",
                "user_agent",
                "referrer",
                "upstream",
            )
        }
        error = shown(b"".join(draw.choices(alphabet, k=draw.choice([0, 3, 5000]))), 300).encode()
        log.write(**record(**texts, error=error, cause=b"limit", scheme=b"https", route=b"r s", tries=2))
    waiting = taken(log)
    assert len(waiting) == 300
    for line in waiting:
        assert line.endswith(b"\n")
        assert len(line) <= PIPE_SIZE
        assert line[:-1].decode("ascii").isprintable()
        if kind == "json":
            json.loads(line)


async def test_the_combined_format(lines: Lines) -> None:  # noqa: F811
    async with rig(by_path, log=Log(access="combined")) as test:
        client = await test.connect()
        await client.send(get("/a", 'User-Agent: a "b"\r\nReferer: http://r.test/\r\nCookie: SECRET\r\n'))
        await client.answer()
        (line,) = await lines.wait()
        assert re.fullmatch(
            r'127\.0\.0\.1 - - \[[^]]+\] "GET /a HTTP/1\.1" 200 5 "http://r\.test/" "a \\"b\\"" [0-9a-f]{32}'
            rf" scheme=http host=t route=route-0 upstream=127\.0\.0\.1:{test.upstream.port} tries=1"
            r" duration=[0-9.e-]+",
            line,
        )
