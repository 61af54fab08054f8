"""Static routes over real sockets: what a client gets, from memory and from an open file, with both parsers,
plain and over TLS."""

from __future__ import annotations

import os
import random
import re
from pathlib import Path

import pytest
import trio

from blitz.config import Answer, Route, Timeouts
from blitz.config.filter_keys import Cors, RateLimit
from blitz.config.route_keys import HeaderEdits, Rewrite
from blitz.config.static_keys import Static
from blitz.server import static_files
from blitz.static.conditions import http_date
from blitz.static.tree import MAX_SMALL

from ..static.hostile import SECRET, make_root, paths
from .harness import Client, rig, until

DRIVERS = ["auto", "h11", "auto+tls-in"]
drivers = pytest.mark.parametrize("parser", DRIVERS)
SMALL = bytes(range(256)) * 10
BIG = random.Random(1).randbytes(700_001)  # several parts of a pipe, and an odd number of bytes


@pytest.fixture
def root(tmp_path: Path) -> Path:
    (tmp_path / "small.bin").write_bytes(SMALL)
    (tmp_path / "big.bin").write_bytes(BIG)
    (tmp_path / "index.html").write_bytes(b"<p>")
    (tmp_path / "sub").mkdir()
    (tmp_path / "sub/a.txt").write_bytes(b"a")
    return tmp_path


def static(root: Path, **more: object) -> Route:
    keys = {key: more.pop(key) for key in list(more) if key in Static.__struct_fields__}
    return Route(static=Static(root=str(root), **keys), **more)  # type: ignore[arg-type]


async def ask(
    client: Client, target: str, *fields: str, method: str = "GET"
) -> tuple[int, dict[str, str], bytes]:
    lines = "".join(f"{field}\r\n" for field in fields)
    await client.send(f"{method} {target} HTTP/1.1\r\nHost: h\r\n{lines}\r\n".encode())
    with trio.fail_after(20):
        return await client.answer(method)


@drivers
async def test_files_come_whole_in_parts_and_not_at_all(root: Path, parser: str) -> None:
    async with rig(parser=parser, routes=[static(root, max_age=60.0)]) as test:
        client = await test.connect()
        # Twice: the first request asks the disk, the second one finds what is known.
        for name, data in [("small.bin", SMALL), ("big.bin", BIG)] * 2:
            status, fields, body = await ask(client, f"/{name}")
            assert (status, body) == (200, data)
            assert fields["content-type"] == "application/octet-stream"
            assert fields["x-content-type-options"] == "nosniff"
            assert fields["accept-ranges"] == "bytes"
            assert fields["cache-control"] == "max-age=60"
            assert fields["last-modified"] == http_date(int((root / name).stat().st_mtime)).decode()
            tag, size = fields["etag"], len(data)
            status, fields, body = await ask(client, f"/{name}", method="HEAD")
            assert (status, fields["content-length"], body) == (200, str(size), b"")
            status, fields, body = await ask(client, f"/{name}", f"If-None-Match: {tag}")
            assert (status, fields["etag"], body) == (304, tag, b"")
            assert "content-type" not in fields
            assert (await ask(client, f"/{name}", 'If-Match: "x"'))[0] == 412
            status, fields, body = await ask(client, f"/{name}", f"Range: bytes={size - 5}-")
            assert (status, body) == (206, data[-5:])
            assert fields["content-range"] == f"bytes {size - 5}-{size - 1}/{size}"
            status, fields, body = await ask(client, f"/{name}", "Range: bytes=1-", f"If-Range: {tag}")
            assert (status, body) == (206, data[1:])
            assert (await ask(client, f"/{name}", "Range: bytes=1-", 'If-Range: "x"'))[2] == data
            status, fields, _ = await ask(client, f"/{name}", f"Range: bytes={size}-")
            assert (status, fields["content-range"]) == (416, f"bytes */{size}")
            status, fields, body = await ask(client, f"/{name}", "Range: bytes=5-8, -3, 0-0")
            assert status == 206
            assert parts(fields["content-type"], body) == [data[5:9], data[-3:], data[:1]]
            assert (await ask(client, f"/{name}", "Range: bytes=0-", method="HEAD"))[0] == 200


def parts(kind: str, body: bytes) -> list[bytes]:
    """Of a multipart/byteranges (RFC 9110 section 14.6), checked against what each says of itself."""
    found = re.fullmatch("multipart/byteranges; boundary=([0-9a-f]+)", kind)
    assert found is not None
    first, *rest = body.split(b"\r\n--" + found[1].encode())
    assert first == b""
    assert rest.pop() == b"--\r\n"
    made = []
    for part in rest:
        head, _, data = part.partition(b"\r\n\r\n")
        said = re.search(rb"content-range: bytes (\d+)-(\d+)/\d+", head)
        assert said is not None
        assert len(data) == int(said[2]) - int(said[1]) + 1
        made.append(data)
    return made


@drivers
async def test_names_methods_and_directories(root: Path, parser: str) -> None:
    routes = [
        static(root),
        static(
            root, path_prefix="/p", rewrite=Rewrite(strip_prefix=True), fallback="/index.html", max_age=9.0
        ),
    ]
    async with rig(parser=parser, routes=routes) as test:
        client = await test.connect()
        for _ in range(2):
            for method in ("PUT", "DELETE", "OPTIONS", "PATCH"):
                status, fields, _ = await ask(client, "/index.html", method=method)
                assert (status, fields["allow"]) == (405, "GET, HEAD")
            for target, location in [
                ("/sub", "/sub/"),
                ("/sub?a=//evil", "/sub/?a=//evil"),
                ("/p/sub?x", "/p/sub/?x"),
                ("/%73ub", "/%73ub/"),
            ]:
                status, fields, _ = await ask(client, target)
                assert (status, fields["location"]) == (308, location)
            for target in ("/sub/", "/no", "/index.html/", "/sub/a.txt/x", "/" + "x" * 300, "/.git", "//sub"):
                assert (await ask(client, target))[0] == 404, target
            assert (await ask(client, "/"))[2] == b"<p>"
            status, fields, body = await ask(client, "/p/some/page")
            assert (status, body, fields["content-type"]) == (200, b"<p>", "text/html; charset=utf-8")
            assert fields["cache-control"] == "no-cache"
            assert (await ask(client, "/p/sub/a.txt"))[1]["cache-control"] == "max-age=9"
            assert (await ask(client, "/p/.git/config"))[0] == 404


@pytest.mark.parametrize("parser", ["auto", "h11"])
async def test_hostile_paths_reach_no_secret(tmp_path: Path, parser: str) -> None:
    """What the router refuses (400) does not come so far; what does is not served either."""
    routes = [
        static(make_root(tmp_path), listing=True, precompressed=["gzip"]),
        static(tmp_path / "www", path_prefix="/p", rewrite=Rewrite(strip_prefix=True)),
    ]
    seen = set()
    async with rig(parser=parser, routes=routes) as test:
        client = await test.connect()
        for path in paths(3, 250):
            target = ("/p" if len(path) % 2 else "") + path
            if len(target) > 8000 or not target.startswith("/"):
                continue
            await client.send(f"GET {target} HTTP/1.1\r\nHost: h\r\n\r\n".encode())
            with trio.fail_after(20):
                status, fields, body = await client.answer()
            assert SECRET not in body, target
            location = fields.get("location", "/x")
            assert location.startswith("/"), target
            assert not location.startswith(("//", "/\\")), target
            seen.add(status)
            if fields.get("connection") == "close":
                client = await test.connect()
    assert {200, 308, 404, 400} <= seen


@drivers
async def test_a_file_that_is_cut_while_it_is_sent_is_no_whole_response(
    tmp_path: Path, parser: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(static_files, "VALID", 0.2)
    size = 30_000_000
    (tmp_path / "f").write_bytes(bytes(size))
    async with rig(parser=parser, routes=[static(tmp_path)]) as test:
        client = await test.connect()
        await client.send(b"GET /f HTTP/1.1\r\nHost: h\r\n\r\n")
        with trio.fail_after(20):
            _, fields = await client.head()
        assert fields["content-length"] == str(size)
        os.truncate(tmp_path / "f", 1000)
        with trio.fail_after(20):
            try:
                got = len(await client.rest())
            except trio.BrokenResourceError:
                got = len(client.buffer)
        assert got < size
        # It is served as it is now, as soon as what was known of it is old.
        with trio.fail_after(20):
            while True:
                status, fields, body = await test.get("/f")
                if fields.get("content-length") == "1000":
                    break
                await trio.sleep(0.1)
        assert (status, body) == (200, bytes(1000))


@drivers
async def test_who_does_not_read_holds_no_memory_and_is_sent_away(tmp_path: Path, parser: str) -> None:
    (tmp_path / "f").write_bytes(bytes(40_000_000))
    timeouts = Timeouts(send_idle=0.5)
    async with rig(parser=parser, routes=[static(tmp_path)], timeouts=timeouts) as test:
        files = test.gateway._context.files
        client = await test.connect()
        await client.send(b"GET /f HTTP/1.1\r\nHost: h\r\n\r\n")
        with trio.fail_after(20):
            await client.head()
        await until(lambda: files.open == 1)
        await until(lambda: not test.gateway._context.in_flight)
        assert files.open == 1  # kept for the next one, and not twice
        assert files.memory == 0


async def test_descriptors_come_back(root: Path) -> None:
    before = len(os.listdir("/proc/self/fd"))
    async with rig(routes=[static(root)]) as test:
        files = test.gateway._context.files
        for n in range(20):
            (root / f"{n}.bin").write_bytes(bytes(MAX_SMALL + 1))
            assert (await test.get(f"/{n}.bin"))[0] == 200
        assert files.open == 20
        files.close()
        assert files.open == files.memory == 0
    await until(lambda: len(os.listdir("/proc/self/fd")) <= before)


@pytest.mark.parametrize("parser", ["auto", "h11"])
async def test_codings_beside_the_file(root: Path, parser: str) -> None:
    (root / "sub/a.txt.gz").write_bytes(b"zipped")
    (root / "sub/a.txt.br").write_bytes(b"broded")
    (root / "alone.gz").write_bytes(b"no file beside it")
    async with rig(parser=parser, routes=[static(root, precompressed=["br", "gzip"])]) as test:
        client = await test.connect()
        tags = set()
        for accept, coding, data in [
            ("gzip, br", "br", b"broded"),
            ("gzip", "gzip", b"zipped"),
            ("br;q=0, gzip", "gzip", b"zipped"),
            ("zstd", None, b"a"),
            ("identity", None, b"a"),
        ] * 2:
            status, fields, body = await ask(client, "/sub/a.txt", f"Accept-Encoding: {accept}")
            assert (status, fields.get("content-encoding"), body) == (200, coding, data)
            assert fields["vary"] == "accept-encoding"
            assert fields["content-type"] == "text/plain; charset=utf-8"
            tags.add(fields["etag"])
            again = await ask(
                client, "/sub/a.txt", f"Accept-Encoding: {accept}", f"If-None-Match: {fields['etag']}"
            )
            assert (again[0], again[1]["vary"]) == (304, "accept-encoding")
        assert len(tags) == 3
        assert (await ask(client, "/alone", "Accept-Encoding: gzip"))[0] == 404


@drivers
async def test_what_else_the_route_has_holds(root: Path, parser: str) -> None:
    """Edits of fields, addresses, CORS and limits; HTTP/1.0, pipelining and a body that nobody reads."""
    edited = static(
        root,
        response_headers=HeaderEdits(set={"x-served": "${route.name}"}, remove=["etag"]),
        name="files",
    )
    filtered = static(
        root,
        path_prefix="/sub",
        cors=Cors(origins=["https://app.example"]),
        rate_limit=RateLimit(rate="2/m"),
    )
    denied = static(root, path="/small.bin", ip_deny=["127.0.0.0/8"])
    async with rig(parser=parser, routes=[edited, filtered, denied]) as test:
        client = await test.connect()
        for name, data in (("index.html", b"<p>"), ("big.bin", BIG)) * 2:
            _, fields, body = await ask(client, f"/{name}")
            assert (fields["x-served"], body) == ("files", data)
            assert "etag" not in fields
        assert (await ask(client, "/small.bin"))[0] == 403
        origin = "Origin: https://app.example"
        status, fields, body = await ask(client, "/sub/a.txt", origin)
        assert (status, body, fields["access-control-allow-origin"]) == (200, b"a", "https://app.example")
        assert [(await ask(client, "/sub/a.txt"))[0] for _ in range(2)] == [200, 429]
        await client.send(
            b"GET /big.bin HTTP/1.1\r\nHost: h\r\n\r\nGET /index.html HTTP/1.1\r\nHost: h\r\n\r\n" * 2
        )
        with trio.fail_after(20):
            assert [(await client.answer())[2] for _ in range(4)] == [BIG, b"<p>"] * 2
        body = b"GET /index.html HTTP/1.1\r\nHost: h\r\nContent-Length: 5\r\n\r\nhello"
        await client.send(body + b"GET /index.html HTTP/1.1\r\nHost: h\r\n\r\n")
        with trio.fail_after(20):
            assert [(await client.answer())[2] for _ in range(2)] == [b"<p>"] * 2
        old = await test.connect()
        await old.send(b"GET /big.bin HTTP/1.0\r\n\r\n")
        with trio.fail_after(20):
            assert (await old.answer())[2] == BIG
            assert await old.closed()
        held = await test.connect()
        await held.send(
            b"POST /index.html HTTP/1.1\r\nHost: h\r\nExpect: 100-continue\r\nContent-Length: 5\r\n\r\n"
        )
        with trio.fail_after(20):
            assert (await held.answer())[0] == 405


@pytest.mark.parametrize("parser", ["auto", "h11"])
async def test_listings(root: Path, parser: str) -> None:
    (root / "sub/<b>.txt").write_bytes(b"x")
    async with rig(parser=parser, routes=[static(root, listing=True)]) as test:
        client = await test.connect()
        for _ in range(2):
            status, fields, body = await ask(client, "/sub/")
            assert (status, fields["content-type"]) == (200, "text/html; charset=utf-8")
            assert fields["content-security-policy"].startswith("default-src 'none'")
            assert b"&lt;b&gt;.txt" in body
            assert b"<b>" not in body
            assert (await ask(client, "/sub/", method="HEAD"))[1]["content-length"] == str(len(body))


async def test_what_is_known_is_bounded(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(static_files, "MAX_MISSING", 10)
    monkeypatch.setattr(static_files, "MAX_KNOWN", 5)
    monkeypatch.setattr(static_files, "MAX_MEMORY", 6000)
    monkeypatch.setattr(static_files, "MAX_OPEN", 3)
    for n in range(8):
        (root / f"{n}.txt").write_bytes(bytes(2000))
        (root / f"{n}.bin").write_bytes(bytes(MAX_SMALL + 1))
    async with rig(routes=[static(root)]) as test:
        files = test.gateway._context.files
        client = await test.connect()
        for n in range(40):
            assert (await ask(client, f"/no{n}"))[0] == 404
            assert (await ask(client, f"/{n % 8}.txt"))[0] == 200
            assert (await ask(client, f"/{n % 8}.bin"))[0] == 200
            assert len(files._missing) <= 10
            assert len(files._known) <= 5
            assert files.memory <= 6000
            assert files.open <= 3


@pytest.mark.parametrize("parser", ["auto", "h11"])
async def test_a_route_beside_others_is_explained_and_found(root: Path, parser: str) -> None:
    routes = [static(root), Route(path="/ok", answer=Answer(body="ok"))]
    async with rig(parser=parser, routes=routes) as test:
        assert (await test.get("/ok"))[2] == b"ok"
        assert (await test.get("/index.html"))[2] == b"<p>"
