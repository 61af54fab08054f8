"""``compress`` in a running gateway: what a client decodes is what the upstream sent, and heads are true."""

from __future__ import annotations

import gzip
import itertools
import json
import random
import re
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path
from typing import Any

import httpx
import pytest
import requests
import trio

from blitz.config import Answer, Compress, Cors, Log, Route, read_config
from blitz.config.route_keys import HeaderEdits
from blitz.server.encoder_room import MAX_MEMORY

from ..builtin.test_encoders import CODINGS, Decoder
from .harness import Client, Rig, Served, answering, rig, until
from .test_access import Lines, lines
from .test_cancellation import is_waiting

__all__ = ["lines"]

PARSERS = ["auto", "h11", "auto+tls"]
TEXT = b"Some text, some text that repeats, and a number: %d.\n"
BODY = b"".join(TEXT % number for number in range(200))
ALL = ["zstd", "br", "gzip"]


def head(fields: dict[str, str], status: str = "200 OK") -> bytes:
    lines = [f"HTTP/1.1 {status}", *(f"{name}: {value}" for name, value in fields.items())]
    return "\r\n".join([*lines, "", ""]).encode()


def whole(body: bytes = BODY, status: str = "200 OK", **more: str) -> bytes:
    """A response of known length; underscores in names stand for hyphens."""
    fields = {"Content-Type": "application/json", "Content-Length": str(len(body))}
    return head(fields | {name.replace("_", "-"): value for name, value in more.items()}, status) + body


def decoded(coding: str, data: bytes) -> bytes:
    decoder = Decoder(coding)
    got = decoder.feed(data)
    assert decoder.ended
    return got


@asynccontextmanager
async def serving(
    script: Any, compress: Any = None, route: dict[str, Any] | None = None, **more: Any
) -> AsyncIterator[Rig]:
    settings = {"upstream": "main", "compress": compress or ALL, **(route or {})}
    more.setdefault("routes", [Route(**settings)])
    async with rig(script, **more) as test:
        yield test
        encoders = test.gateway._context.encoders
        await until(lambda: encoders.left == MAX_MEMORY and not encoders.turns.locked())


def line(method: str = "GET", version: str = "1.1", target: str = "/", **fields: str) -> bytes:
    said = "".join(f"{name.replace('_', '-')}: {value}\r\n" for name, value in fields.items())
    return f"{method} {target} HTTP/{version}\r\nHost: test\r\n{said}\r\n".encode()


# ---------------------------------------------------------------- bodies


def framed(framing: str, body: bytes, cuts: list[int]) -> list[bytes]:
    """What an upstream sends, piece by piece."""
    parts = [body[start:end] for start, end in zip([0, *cuts], [*cuts, len(body)], strict=True)]
    fields = {"Content-Type": "text/plain"}
    if framing == "length":
        return [head(fields | {"Content-Length": str(len(body))}), *parts]
    if framing == "close":
        return [head(fields | {"Connection": "close"}), *parts]
    chunks = [b"%x\r\n%b\r\n" % (len(part), part) for part in parts if part]
    return [head(fields | {"Transfer-Encoding": "chunked"}), *chunks, b"0\r\n\r\n"]


@pytest.mark.parametrize("parser", PARSERS)
async def test_any_body_in_any_parts_is_the_same_for_the_client(parser: str, lines: Lines) -> None:
    rng = random.Random(5)
    plan: list[bytes] = []

    async def script(served: Served) -> None:
        while True:
            await served.head()
            together = rng.random() < 0.5
            for piece in [b"".join(plan)] if together else plan:
                await served.send(piece)
                if not together:
                    await trio.lowlevel.checkpoint()
            if b"Connection: close" in plan[0]:
                return

    wanted = []
    async with serving(
        script, Compress(encodings=ALL, min_size=0), parser=parser, log=Log(access="json")
    ) as test:
        for number in range(36):
            size = rng.choice([1, 5, 1000, 16_384, 70_000, 600_000])
            texts = [TEXT % number * (size // 50 + 1), rng.randbytes(size)]
            body = rng.choice(texts)[:size]
            cuts = sorted(rng.choices(range(size), k=rng.randrange(6)))
            plan[:] = framed(rng.choice(["length", "close", "chunked"]), body, cuts)
            coding, version = rng.choice(CODINGS), rng.choice(["1.1", "1.1", "1.0"])
            client = await test.connect()
            await client.send(line(version=version, Accept_Encoding=coding))
            status, fields, data = await client.answer()
            assert (status, fields["content-encoding"]) == (200, coding)
            assert "content-length" not in fields
            assert ("transfer-encoding" in fields) == (version == "1.1")
            assert decoded(coding, data) == body
            wanted.append(len(data))
            await client.stream.aclose()
    seen = [json.loads(text)["sent"] for text in await lines.wait(len(wanted))]
    assert seen == wanted, "the log counts what the client got"


@pytest.mark.parametrize(
    ("content_type", "version"),
    [("text/event-stream", "1.1"), ("application/x-ndjson", "1.0"), ("text/html", "1.1")],
)
@pytest.mark.parametrize("coding", CODINGS)
async def test_each_event_arrives_before_the_next_is_sent(
    coding: str, version: str, content_type: str
) -> None:
    arrived = trio.Event()
    events = [f"data: {number}\n\n".encode() for number in range(5)]

    async def script(served: Served) -> None:
        nonlocal arrived
        await served.head()
        await served.send(head({"Content-Type": content_type, "Transfer-Encoding": "chunked"}))
        for event in events:
            await served.send(b"%x\r\n%b\r\n" % (len(event), event))
            await arrived.wait()
            arrived = trio.Event()
        await served.send(b"0\r\n\r\n")

    async with serving(script) as test:
        client = await test.connect()
        await client.send(line(version=version, Accept_Encoding=coding))
        with trio.fail_after(20):
            await client.head()
            decoder, got = Decoder(coding), b""
            for at in range(len(events)):
                while got != b"".join(events[: at + 1]):
                    got += decoder.feed(await (chunk if version == "1.1" else some)(client))
                arrived.set()


async def chunk(client: Client) -> bytes:
    """The next chunk of a body."""
    while b"\r\n" not in client.buffer:
        assert await client._more()
    size, _, rest = bytes(client.buffer).partition(b"\r\n")
    client.buffer[:] = rest
    data = await client.exactly(int(size, 16))
    await client.exactly(2)
    return data


async def some(client: Client) -> bytes:
    """What has come of a body that ends with the connection."""
    assert client.buffer or await client._more()
    data = bytes(client.buffer)
    client.buffer.clear()
    return data


async def test_what_has_come_leaves_before_more_is_waited_for() -> None:
    """The head, of a body that is known to go on."""
    more = trio.Event()

    async def script(served: Served) -> None:
        await served.head()
        await served.send(head({"Content-Type": "text/plain", "Content-Length": str(len(BODY))}))
        await served.send(BODY[:2000])
        await more.wait()
        await served.send(BODY[2000:])

    async with serving(script) as test:
        client = await test.connect()
        await client.send(line(Accept_Encoding="gzip"))
        with trio.fail_after(20):
            assert (await client.head())[0] == 200
            more.set()
            assert gzip.decompress(await client.rest_of_chunks()) == BODY


@pytest.mark.parametrize("version", ["1.1", "1.0"])
@pytest.mark.parametrize("parser", PARSERS)
async def test_a_body_that_is_cut_has_no_end(parser: str, version: str) -> None:
    async def script(served: Served) -> None:
        await served.head()
        await served.send(head({"Content-Type": "text/plain", "Content-Length": str(len(BODY) + 1)}) + BODY)

    async with serving(script, parser=parser) as test:
        client = await test.connect()
        await client.send(line(version=version, Accept_Encoding="gzip"))
        decoder = Decoder("gzip")
        with trio.fail_after(20):
            await client.head()
            with pytest.raises((EOFError, trio.BrokenResourceError)):
                await client.rest_of_chunks()
                raise AssertionError("the body has an end")
            decoder.feed(b"")
        assert not decoder.ended


# ---------------------------------------------------------------- heads

PLAIN = {"vary": None, "content-encoding": None, "etag": '"a"'}
UNTOUCHED: dict[str, tuple[bytes, dict[str, str | None]]] = {
    "another type": (whole(Content_Type="image/png", ETag='"a"'), PLAIN),
    "no type": (head({"Content-Length": "5000", "ETag": '"a"'}) + bytes(5000), PLAIN),
    "grpc": (whole(Content_Type="application/grpc+json", ETag='"a"'), PLAIN),
    "too small": (whole(b"x" * 1023, ETag='"a"'), PLAIN),
    "empty": (whole(b"", ETag='"a"'), PLAIN),
    "encoded": (whole(Content_Encoding="br", ETag='"a"'), PLAIN | {"content-encoding": "br"}),
    "identity": (whole(Content_Encoding="identity", ETag='"a"'), PLAIN | {"content-encoding": "identity"}),
    "no-transform": (whole(Cache_Control="public, No-Transform", ETag='"a"'), PLAIN),
    "206": (
        whole(status="206 Partial", Content_Range="bytes 0-9/99999", ETag='"a"'),
        PLAIN | {"vary": "Accept-Encoding"},
    ),
    "416": (
        whole(status="416 Range", Content_Range="bytes */99999", ETag='"a"'),
        PLAIN | {"vary": "Accept-Encoding"},
    ),
    "204": (head({"Content-Type": "text/plain", "ETag": '"a"'}, "204 No"), PLAIN),
    "205": (head({"Content-Type": "text/plain", "ETag": '"a"', "Content-Length": "0"}, "205 No"), PLAIN),
    "304": (head({"ETag": '"a"'}, "304 Same"), PLAIN | {"vary": "Accept-Encoding"}),
}


@pytest.mark.parametrize("parser", ["auto", "h11"])
async def test_what_is_not_compressed(parser: str) -> None:
    answer = b""

    async def script(served: Served) -> None:
        while True:
            await served.head()
            await served.send(answer)

    async with serving(script, parser=parser) as test:
        for name, (answer, wanted) in UNTOUCHED.items():
            _, fields, body = await test.get(Accept_Encoding="gzip, br, zstd")
            assert {field: fields.get(field) for field in wanted} == wanted, name
            assert body == answer.partition(b"\r\n\r\n")[2], name


SAY_NO = ["", "identity", "deflate", "gzip;q=0", "gzip;q=0.1, identity;q=0.2"]


async def test_who_cannot_read_it_gets_the_bytes_and_caches_are_told() -> None:
    async with serving(answering(whole(ETag='"a"', Vary="Origin", Accept_Ranges="bytes")), ["gzip"]) as test:
        for said in SAY_NO:
            _, fields, body = await test.get(**({"Accept_Encoding": said} if said else {}))
            assert body == BODY
            assert fields["vary"] == "Origin, Accept-Encoding"
            assert (fields["etag"], fields["accept-ranges"]) == ('"a"', "bytes")
            assert fields["content-length"] == str(len(BODY))
        # Nor does somebody get it who wants nothing changed.
        _, fields, body = await test.get(Accept_Encoding="gzip", Cache_Control="no-transform")
        assert body == BODY


TAGS = {'"a"': 'W/"a"', 'W/"a"': 'W/"a"', "a": None, '""': 'W/""'}
VARIES = {
    ("Accept-Encoding",): "Accept-Encoding",
    ("origin, ACCEPT-encoding",): "origin, ACCEPT-encoding",
    ("*",): "*",
    ("Origin",): "Origin, Accept-Encoding",
    ("Origin", "Accept"): "Origin, Accept, Accept-Encoding",
    ("",): "Accept-Encoding",
}


@pytest.mark.parametrize("parser", ["auto", "h11"])
async def test_the_head_says_what_is_sent(parser: str) -> None:
    stale = {
        "Accept-Ranges": "bytes",
        "Content-Digest": "sha-256=:AAAA:",
        "Repr-Digest": "sha-256=:AAAA:",
        "Digest": "md5=AAAA",
        "Content-MD5": "AAAA",
    }
    answer = b""

    async def script(served: Served) -> None:
        while True:
            await served.head()
            await served.send(answer)

    async with serving(script, ["gzip"], parser=parser) as test:
        for tag, weak in TAGS.items():
            answer = whole(**{name.replace("-", "_"): value for name, value in stale.items()}, ETag=tag)
            _, fields, body = await test.get(Accept_Encoding="gzip")
            assert gzip.decompress(body) == BODY
            assert fields.get("etag") == weak
            assert not {name.lower() for name in stale} & fields.keys()
            assert "content-length" not in fields
        for values, merged in VARIES.items():
            lines = "".join(f"Vary: {value}\r\n" for value in values).encode()
            answer = whole().replace(b"\r\n\r\n", b"\r\n" + lines + b"\r\n", 1)
            client = await test.connect()
            await client.send(line(Accept_Encoding="gzip"))
            while b"\r\n\r\n" not in client.buffer:
                await client._more()
            found = re.findall(
                rb"(?im)^vary: (.*)\r$", bytes(client.buffer.partition(b"\r\n\r\n")[0]) + b"\r"
            )
            assert [value.decode() for value in found if value] == [merged]


@pytest.mark.parametrize("coding", CODINGS)
async def test_head_gets_the_head_that_get_would_get(coding: str) -> None:
    answer = whole(ETag='"a"', Accept_Ranges="bytes")

    async def script(served: Served) -> None:
        while True:
            asked = await served.head()
            await served.send(
                answer if asked.startswith(b"GET") else answer.partition(b"\r\n\r\n")[0] + b"\r\n\r\n"
            )

    async with serving(script) as test:
        client = await test.connect()
        heads = []
        for method in ("GET", "HEAD"):
            await client.send(line(method, Accept_Encoding=coding))
            status, fields, _ = await client.answer(method)
            fields.pop("transfer-encoding", None)  # of no body (RFC 9110 section 9.3.2)
            heads.append((status, {name: value for name, value in fields.items() if name != "date"}))
        assert heads[0] == heads[1]
        assert heads[1][1]["content-encoding"] == coding
        assert not client.buffer


ASKED = {
    'W/"a"': 'W/"a"',
    '"a"': '"a"',
    'W/"b", W/"a"': 'W/"a"',
    '"a", W/"a"': '"a"',
    'W/"b"': '"a"',
    "*": '"a"',
    "": '"a"',
}


async def test_a_304_names_the_tag_that_the_client_has() -> None:
    heads: list[bytes] = []

    async def script(served: Served) -> None:
        while True:
            heads.append(await served.head())
            await served.send(head({"ETag": '"a"', "Vary": "Origin"}, "304 Not Modified"))

    async with serving(script) as test:
        for asked, told in ASKED.items():
            more = {"If_None_Match": asked} if asked else {}
            status, fields, _ = await test.get(Accept_Encoding="gzip", **more)
            assert (status, fields["etag"], fields["vary"]) == (304, told, "Origin, Accept-Encoding")
            if asked:
                assert f"If-None-Match: {asked}".encode() in heads[-1], "the upstream is asked as we are"


# ---------------------------------------------------------------- in the order of a response


async def test_it_comes_last() -> None:
    """Behind cors and response_headers; what the client accepts is what it has said itself."""
    edits = HeaderEdits(set={"x-a": "1"}, add={"vary": "Accept-Language"})
    heads: list[bytes] = []

    async def script(served: Served) -> None:
        while True:
            heads.append(await served.head())
            await served.send(whole(Content_Type="image/png"))

    route = {
        "cors": Cors(origins=["https://app.example"]),
        "request_headers": HeaderEdits(remove=["accept-encoding"]),
        "response_headers": edits,
    }
    typed = HeaderEdits(set={"content-type": "text/plain"})
    kept = HeaderEdits(set={"cache-control": "no-transform"})
    async with serving(script, route=route) as test:
        _, fields, body = await test.get(Accept_Encoding="gzip", Origin="https://app.example")
        assert body == BODY
        assert b"accept-encoding" not in heads[0].lower()
    async with serving(script, route={**route, "response_headers": typed}) as test:
        _, fields, body = await test.get(Accept_Encoding="gzip", Origin="https://app.example")
        assert gzip.decompress(body) == BODY
        assert fields["vary"] == "Origin, Accept-Encoding"
        assert fields["access-control-allow-origin"] == "https://app.example"
    async with serving(answering(whole()), route={"response_headers": kept}) as test:
        _, fields, body = await test.get(Accept_Encoding="gzip")
        assert body == BODY


SIZES = [100, 1024, 65_536, 65_537, 900_000]


@pytest.mark.parametrize("parser", PARSERS)
async def test_the_routes_own_answer(parser: str) -> None:
    """A body that is there has a length, small as it is; a large one is sent as it is made."""
    texts = {size: (BODY.decode() * (size // len(BODY) + 1))[:size] for size in SIZES}
    routes = [Route(path=f"/{size}", answer=Answer(200, text), compress=ALL) for size, text in texts.items()]
    async with serving(answering(b""), parser=parser, routes=routes) as test:
        for (size, text), version in itertools.product(texts.items(), ("1.1", "1.0")):
            for coding in CODINGS if version == "1.1" else ["gzip"]:
                found = []
                for method in ("GET", "HEAD"):
                    client = await test.connect()
                    await client.send(line(method, version, f"/{size}", Accept_Encoding=coding))
                    status, fields, data = await client.answer(method)
                    fields.pop("date")
                    fields.pop("transfer-encoding", None)
                    found.append(fields)
                    if method == "GET" and size >= 1024:
                        assert decoded(coding, data) == text.encode()
                        assert ("content-length" in fields) == (size <= 65_536)
                    elif method == "GET":
                        assert data == text.encode()
                    assert status == 200
                    await client.stream.aclose()
                found[1].pop("connection", None), found[0].pop("connection", None)
                assert found[0] == found[1]
                assert ("content-encoding" in found[0]) == (size >= 1024)


# ---------------------------------------------------------------- what it may cost


@pytest.mark.parametrize("coding", CODINGS)
async def test_nothing_is_read_that_the_client_does_not_take(coding: str) -> None:
    sent = 0
    noise = random.Random(1).randbytes(1 << 20)

    async def script(served: Served) -> None:
        nonlocal sent
        await served.head()
        await served.send(head({"Content-Type": "text/plain", "Connection": "close"}))
        while True:
            await served.send(noise)
            sent += len(noise)

    async with serving(script) as test:
        client = await test.connect()
        await client.send(line(Accept_Encoding=coding))
        await until(lambda: is_waiting("send_compressed", "send_part", "send_rest"))
        assert sent < 32 << 20  # what two sockets hold, and a part of a body
        assert test.gateway._context.encoders.left < MAX_MEMORY
        await trio.aclose_forcefully(client.stream)
        await until(lambda: test.gateway._context.encoders.left == MAX_MEMORY)


async def test_where_there_is_no_room_bodies_go_as_they_are() -> None:
    async with serving(answering(whole())) as test:
        encoders = test.gateway._context.encoders
        encoders.left, before = 1000, encoders.left
        _, fields, body = await test.get(Accept_Encoding="gzip")
        assert (body, fields["vary"]) == (BODY, "Accept-Encoding")
        encoders.left = before
        _, fields, body = await test.get(Accept_Encoding="gzip")
        assert gzip.decompress(body) == BODY


async def test_large_bodies_hold_up_nobody() -> None:
    """Others are served between the slices of large bodies, however many there are."""
    text = "".join(random.Random(3).choices("0123456789abcdef", k=1_000_000))
    routes = [
        Route(path="/large", answer=Answer(200, text), compress=Compress(encodings=["gzip"], gzip_level=6)),
        Route(answer=Answer(200, "small"), compress=["gzip"]),
    ]
    begun: list[Client] = []
    done: list[Client] = []
    async with serving(answering(b""), routes=routes) as test:
        clients = [await test.connect() for _ in range(4)]
        small = await test.connect()
        async with trio.open_nursery() as nursery:

            async def fetch(client: Client) -> None:
                await client.head()
                begun.append(client)
                await client.rest_of_chunks()
                done.append(client)

            for client in clients:
                await client.send(b"GET /large HTTP/1.1\r\nHost: test\r\nAccept-Encoding: gzip\r\n\r\n")
                nursery.start_soon(fetch, client)
            await until(lambda: begun)
            for _ in range(5):
                await small.send(line(Accept_Encoding="gzip"))
                assert (await small.answer())[2] == b"small"
            assert not done, "it waited until a large body was through"


# ---------------------------------------------------------------- real clients, and the configuration


@pytest.mark.parametrize("coding", ["gzip", "br", "zstd"])
async def test_real_clients_read_it(coding: str) -> None:
    async with serving(answering(whole()), [coding]) as test:
        host, port = test.gateway.addresses[0]
        url = f"http://{host}:{port}/"
        command = ["curl", "-sS", "--compressed", "-H", f"Accept-Encoding: {coding}", url]
        if coding == "gzip":
            assert (await trio.run_process(command, capture_stdout=True)).stdout == BODY
            got = await trio.to_thread.run_sync(partial(requests.get, url, timeout=20))
            assert (got.content, got.headers["content-encoding"]) == (BODY, "gzip")
        async with httpx.AsyncClient(trust_env=False) as client:
            response = await client.get(url, headers={"accept-encoding": coding})
            assert response.headers["content-encoding"] == coding
            if coding != "zstd":  # that needs another package
                assert response.content == BODY


@pytest.mark.parametrize(
    ("coding", "package"),
    [("br", "brotli"), ("zstd", "backports.zstd")],
)
def test_without_its_package_a_coding_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, coding: str, package: str
) -> None:
    monkeypatch.setitem(sys.modules, package, None)
    file = tmp_path / "blitz.toml"
    file.write_text(f'[[routes]]\nanswer = {{ body = "x" }}\ncompress = ["gzip", "{coding}"]\n')
    (problem,) = read_config(file, {}).problems
    assert (problem.line, problem.key) == (3, "routes[0].compress[1]")
    assert problem.message.startswith(f'"{coding}" needs the package {package}: run \'')
    assert problem.message.endswith(f"pip install {package}', or leave it out")
    file.write_text('[[routes]]\nanswer = { body = "x" }\ncompress = ["gzip"]\n')
    assert not read_config(file, {}).problems
