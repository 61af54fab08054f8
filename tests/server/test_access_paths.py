"""The fast path and the general path write the same line for the same exchange, whatever it is.

The same exchanges, some chosen and some drawn, go through a gateway with the fast path and through one
without.
"""

from __future__ import annotations

import json
import random
import re
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import trio
import wasmtime

from blitz.config import Log, Plugin, Route
from blitz.server.peer import Trust

from .harness import Client, Rig, Served, rig
from .test_access import Lines, lines  # noqa: F401
from .test_plugins import HEAD, REQUEST

JSON = Log(access="json")
ANSWERS = {
    b"plain": b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello",
    b"empty": b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n",
    b"none": b"HTTP/1.1 204 No Content\r\n\r\n",
    b"same": b'HTTP/1.1 304 Not Modified\r\nEtag: "x"\r\n\r\n',
    b"chunked": b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n",
    b"interim": b"HTTP/1.1 103 Early Hints\r\n\r\nHTTP/1.1 404 Not Found\r\nContent-Length: 1\r\n\r\nx",
    b"closing": b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: close\r\n\r\nok",
    b"garbage": b"what?\r\n\r\n",
    b"gone": b"",
}
FIELDS = [
    b"User-Agent: curl/8",
    b'User-Agent: a "quoted" \\ one\t\xe9\xff',
    b"User-Agent: " + b"u" * 700,
    b"User-Agent:",
    b"Referer: http://a.test/?q=1",
    b"Referer: \xf0\x9f\x98\x80",
    b"referer: second\r\nReferer: third",
    b"Connection: user-agent, keep-alive\r\nUser-Agent: dropped",
    b"Cookie: SECRET=1",
    b"Authorization: Basic SECRET",
]


class Asked(NamedTuple):
    method: bytes
    target: bytes
    fields: tuple[bytes, ...] = ()
    host: bytes = b"t"
    body: bytes = b""
    minor: int = 1

    def octets(self) -> bytes:
        length = [b"Content-Length: %d" % len(self.body)] if self.body else []
        names = [b"Host: " + self.host, *self.fields, *length]
        return b"%b %b HTTP/1.%d\r\n%b\r\n\r\n%b" % (
            self.method,
            self.target,
            self.minor,
            b"\r\n".join(names),
            self.body,
        )


CHOSEN = [
    *(Asked(method, b"/" + kind) for kind in ANSWERS for method in (b"GET", b"HEAD") if kind != b"chunked"),
    Asked(b"GET", b"/chunked"),
    Asked(b"DELETE", b"/plain?" + b"q" * 3000),
    Asked(b"GET", b"http://other.test/plain"),
    Asked(b"GET", b"http://other.test"),
    Asked(b"GET", b"/plain", minor=0),
    Asked(b"TRACE", b"/plain"),
    Asked(b"TRACE", b"/plain", (b"Max-Forwards: 0",)),
    Asked(b"OPTIONS", b"/plain", (b"Max-Forwards: 0",)),
    Asked(b"GET", b"/plain", (b"Bad Name: x",)),
    Asked(b"GET", b"/plain", host=b"a b"),
    *(Asked(b"GET", b"/plain", (field,)) for field in FIELDS),
]


def drawn(seed: int, count: int = 40) -> list[Asked]:
    draw = random.Random(seed)
    return [
        Asked(
            draw.choice([b"GET", b"GET", b"HEAD", b"POST", b"DELETE", b"OPTIONS", b"PURGE"]),
            b"/" + draw.choice(list(ANSWERS)) + draw.choice([b"", b"?", b"?a=%22&b='", b"?" + b"\\" * 3000]),
            tuple(draw.sample(FIELDS, draw.randrange(3))),
            draw.choice([b"t", b"a.test:8080", b"[::1]", b"A.TEST"]),
            draw.choice([b"", b"", b"body"]),
            draw.choice([1, 1, 1, 0]),
        )
        for _ in range(count)
    ]


async def answer_as_asked(served: Served) -> None:
    while True:
        head = await served.head()
        length = re.search(rb"(?i)content-length: (\d+)", head)
        await served.exactly(int(length[1]) if length else 0)
        kind = head.split(b" ")[1].partition(b"?")[0].strip(b"/").rpartition(b"/")[2]
        answer = ANSWERS.get(kind, ANSWERS[b"plain"])
        if head.startswith(b"HEAD ") and kind not in (b"garbage",):
            answer = b"".join(
                part + b"\r\n\r\n" for part in answer.split(b"\r\n\r\n") if part.startswith(b"HTTP/")
            )
        await served.send(answer)
        if kind in (b"garbage", b"gone", b"closing"):
            return


async def play(test: Rig, exchanges: list[Asked]) -> None:
    client: Client | None = None
    for asked in exchanges:
        if client is None:
            client = await test.connect()
        await client.send(asked.octets())
        status = 0
        with trio.fail_after(20):
            while status < 200:
                status, fields, _ = await client.answer(asked.method.decode())
        if fields.get("connection") == "close" or not asked.minor:
            await client.stream.aclose()
            client = None


def comparable(line: str, test: Rig) -> dict[str, Any]:
    assert "SECRET" not in line
    found: dict[str, Any] = json.loads(line.replace(f":{test.upstream.port}", ":PORT"))
    for name in ("time", "id", "duration"):
        found.pop(name)
    return found


async def compare(lines: Lines, exchanges: list[Asked], **config: Any) -> list[dict[str, Any]]:  # noqa: F811
    played = []
    for parser in ("auto", "h11"):
        lines.lines.clear()
        async with rig(answer_as_asked, parser=parser, log=JSON, **config) as test:
            await play(test, exchanges)
            texts = await lines.wait(len(exchanges))
            assert (test.gateway._context.fast_path.take_exchanges() > 0) == (parser == "auto")
            played.append([comparable(text, test) for text in texts])
    for asked, short, general in zip(exchanges, *played, strict=True):
        assert short == general, asked
    return played[0]


def guest(tmp_path: Path, body: str, name: str = "guest", **settings: Any) -> Plugin:
    path = tmp_path / f"{name}.wasm"
    path.write_bytes(wasmtime.wat2wasm(f"(module {body})"))
    return Plugin(name=name, file=str(path), **settings)


def answerer(tmp_path: Path, status: int, **settings: Any) -> Plugin:
    """Answers a request for /plain with a body, and lets others pass."""
    return guest(
        tmp_path,
        f'(import "env" "set_body" (func $set_body (param i32 i32))) {HEAD} {REQUEST}'
        " (if (i32.ne (i32.load8_u offset=1 (local.get 2)) (i32.const 112)) (then (return (i32.const 0))))"
        f" (call $set_status (i32.const {status}))"
        " (call $set_body (i32.const 100) (i32.const 10)) (i32.const 1))"
        ' (data (i32.const 100) "0123456789")',
        **settings,
    )


async def test_chosen_exchanges(lines: Lines) -> None:  # noqa: F811
    found = await compare(lines, CHOSEN)
    assert {line["status"] for line in found} >= {200, 204, 304, 400, 404, 405, 502}
    assert {line.get("cause") for line in found} >= {None, "bad_request", "upstream_reset", "upstream_error"}


@pytest.mark.parametrize("seed", range(3))
async def test_drawn_exchanges(lines: Lines, seed: int) -> None:  # noqa: F811
    await compare(lines, drawn(seed))


@pytest.mark.parametrize("where", ["route", "before routing"])
@pytest.mark.parametrize("status", [200, 204, 205, 304, 403])
async def test_answers_of_a_plugin(lines: Lines, tmp_path: Path, status: int, where: str) -> None:  # noqa: F811
    plugin = answerer(tmp_path, status)
    before = {"before_routing": ["guest"]} if where != "route" else {}
    exchanges = [
        Asked(method, target) for method in (b"GET", b"HEAD") for target in (b"/plain", b"/empty", b"/plain")
    ]
    found = await compare(lines, exchanges, plugins=[plugin], **before)
    assert found[0]["plugin"] == "guest"
    assert [line["sent"] for line in found[3:]] == [0, 0, 0]


async def test_several_routes(lines: Lines) -> None:  # noqa: F811
    routes = [Route(path_prefix="/plain", upstream="main"), Route(path_prefix="/none", upstream="main")]
    exchanges = [Asked(b"GET", target) for target in (b"/plain", b"/none", b"/nowhere", b"/none", b"/plain")]
    found = await compare(lines, exchanges, routes=routes)
    assert [line["status"] for line in found] == [200, 204, 404, 204, 200]
    assert found[2]["cause"] == "no_route"


async def test_the_client_behind_a_trusted_proxy(lines: Lines) -> None:  # noqa: F811
    fields = (b"X-Forwarded-For: 192.0.2.7", b"X-Forwarded-Proto: https")
    exchanges = [Asked(b"GET", b"/plain", fields)] * 3 + [Asked(b"GET", b"/garbage", fields)]
    found = await compare(lines, exchanges, trusted_proxies=["127.0.0.1"])
    assert {(line["client"], line["scheme"]) for line in found} == {("192.0.2.7", "https")}


SAYS = [
    b"X-Forwarded-For: 192.0.2.7",
    b"X-Forwarded-For: 192.0.2.8",
    b"X-Forwarded-For: 192.0.2.7, 127.0.0.1",
    b"X-Forwarded-For: 192.0.2.9\r\nX-Forwarded-For: 127.0.0.1",
    b"x-forwarded-for: 192.0.2.7",
    b"X-Forwarded-For:",
    b"X-Forwarded-For: " + b"192.0.2.10, " * 60 + b"2001:db8::1",
    b"X-Forwarded-Proto: https",
    b"X-Forwarded-Proto: http",
    b"X-Forwarded-Host: a.test",
    b"X-Forwarded-Host: b.test",
    b"Forwarded: for=192.0.2.11;proto=https",
    b"Forwarded: for=192.0.2.12, for=127.0.0.1",
    b'Forwarded: for="[2001:db8::2]:4711";host=c.test',
    b"Forwarded: for=_hidden",
]


async def echo_head(served: Served) -> None:
    while True:
        head = await served.head()
        await served.send(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%b" % (len(head), head))


@pytest.mark.parametrize("field", ["x-forwarded-for", "forwarded"])
async def test_whatever_a_trusted_proxy_says_next_on_its_connection(lines: Lines, field: str) -> None:  # noqa: F811
    """Clients change, come back, and are not said at all: line and upstream have the present one."""
    draw = random.Random(4)
    said = [tuple(draw.sample(SAYS, draw.choice([0, 1, 1, 2]))) for _ in range(40)]
    said = [words for words in said for _ in range(draw.choice([1, 2, 3]))]
    settings = {"trusted_proxies": ["127.0.0.1"], "trusted_field": field, "forwarded": "both"}
    seen = []
    for parser in ("auto", "h11"):
        lines.lines.clear()
        async with rig(echo_head, log=JSON, parser=parser, **settings) as test:
            client = await test.connect()
            upstream = []
            async with client.stream:
                for words in said:
                    await client.send(Asked(b"GET", b"/plain", words).octets())
                    with trio.fail_after(20):
                        _, _, head = await client.answer()
                    upstream.append(sorted(head.replace(b": ", b":").lower().splitlines()))
            assert (test.gateway._context.fast_path.take_exchanges() > 0) == (parser == "auto")
            found = [json.loads(text) for text in await lines.wait(len(said))]
        seen.append(([(line["client"], line["scheme"]) for line in found], upstream))
    assert seen[0] == seen[1]
    assert len(set(seen[0][0])) >= 4


async def test_python_finds_a_client_once_while_its_proxy_says_the_same(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    found = []
    find = Trust.client_behind
    monkeypatch.setattr(Trust, "client_behind", lambda *asked: found.append(1) or find(*asked))
    async with rig(answer_as_asked, trusted_proxies=["127.0.0.1"]) as test:
        client = await test.connect()
        async with client.stream:
            for address in [b"192.0.2.7"] * 10 + [b"192.0.2.8"] * 10:
                await client.send(Asked(b"GET", b"/plain", (b"X-Forwarded-For: " + address,)).octets())
                with trio.fail_after(20):
                    await client.answer()
        assert test.gateway._context.fast_path.take_exchanges() >= 18
    assert 2 <= len(found) <= 4  # the first exchanges of a connection may be Python's
