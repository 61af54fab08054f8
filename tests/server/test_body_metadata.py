"""Plugins change bodies; what the heads say of them stays true.

Invariant: no peer gets content under a field that was made for other content. The plugin does what each
request tells it (``tests/hostile/writer.py``).
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path

import pytest

from blitz.config import Plugin
from tests.hostile.writer import ADD, BODY, PATH, REMOVE, SET, STATUS, Program, Write, request_writer, writer

from .harness import Rig, Script, Served, answering, rig

EDITED = Write(BODY, value=b"EDITED")
STALE = {
    "etag": '"a"',
    "last-modified": "Sun, 06 Nov 1994 08:49:37 GMT",
    "accept-ranges": "bytes",
    "content-range": "bytes 0-1/10",
    "content-encoding": "gzip",
    "content-digest": "sha-256=:AAAA:",
    "repr-digest": "sha-256=:AAAA:",
    "digest": "md5=AAAA",
    "content-md5": "AAAA",
}
KEPT = {
    "content-type": "text/plain",
    "cache-control": "max-age=5",
    "vary": "accept",
    "content-language": "en",
}
WHOLE_AGAIN = {"content-range", "etag", "last-modified", "accept-ranges"}

Serve = Callable[..., AbstractAsyncContextManager[Rig]]


@pytest.fixture
def serve(tmp_path: Path) -> Serve:
    """serve(script, **settings): a gateway whose plugin is the writer."""

    @asynccontextmanager
    async def make(script: Script, *, module: bytes = b"", **settings: str) -> AsyncIterator[Rig]:
        path = tmp_path / "writer.wasm"
        path.write_bytes(module or writer())
        async with rig(script, plugins=[Plugin(name="writer", file=str(path), **settings)]) as test:
            yield test

    return make


def head(status: str, fields: dict[str, str], *more: str) -> bytes:
    lines = [f"HTTP/1.1 {status}", *(f"{name.title()}: {value}" for name, value in fields.items()), *more]
    return "\r\n".join([*lines, "", ""]).encode()


async def ask(
    test: Rig, program: Program | None, *lines: str, method: str = "GET", body: bytes = b""
) -> tuple[int, dict[str, str], bytes]:
    client = await test.connect()
    fields = list(lines) + ([f"X-Write: {program.field().decode()}"] if program else [])
    text = "\r\n".join([f"{method} / HTTP/1.1", "Host: test", *fields, "", ""])
    await client.send(text.encode() + body)
    status, answer, content = await client.answer(method)
    assert not client.buffer
    return status, answer, content


def recording(answer: bytes, heads: list[bytes], size: int = 0) -> Script:
    async def script(served: Served) -> None:
        while True:
            heads.append((await served.head()).lower())
            if size:
                heads.append(await served.exactly(size))
            await served.send(answer)

    return script


WITHOUT_RANGES = {name: value for name, value in STALE.items() if name != "content-range"}


@pytest.mark.parametrize("method", ["GET", "HEAD"])
async def test_an_edited_answer_says_nothing_of_the_old_bytes(serve: Serve, method: str) -> None:
    answer = head("200 OK", WITHOUT_RANGES | KEPT, "Content-Length: 2")
    async with serve(answering(answer + (b"ab" if method == "GET" else b""))) as test:
        status, fields, body = await ask(test, Program("response", (EDITED,)), method=method)
        assert (status, body) == (200, b"EDITED" if method == "GET" else b"")
        assert fields["content-length"] == "6"
        assert not STALE.keys() & fields.keys()
        assert KEPT.items() <= fields.items()


@pytest.mark.parametrize("call", [SET, ADD])
async def test_what_the_plugin_says_of_the_new_bytes_stays(serve: Serve, call: int) -> None:
    own = {name: value.replace("a", "new").replace("A", "B") for name, value in WITHOUT_RANGES.items()}
    writes = [Write(call, name.encode(), value.encode()) for name, value in own.items()]
    for program in ((EDITED, *writes), (*writes, EDITED)):
        async with serve(answering(head("200 OK", WITHOUT_RANGES, "Content-Length: 2") + b"ab")) as test:
            _, fields, body = await ask(test, Program("response", program))
            assert body == b"EDITED"
            assert own.items() <= fields.items()


async def test_fields_alone_leave_the_description_as_it_is(serve: Serve) -> None:
    """The chain may change bodies, so ranges are not offered; all else is still true."""
    async with serve(answering(head("200 OK", WITHOUT_RANGES, "Content-Length: 2") + b"ab")) as test:
        _, fields, body = await ask(test, Program("response", (Write(SET, b"x-a", b"b"),)))
        assert (body, fields["x-a"]) == (b"ab", "b")
        assert STALE.keys() & fields.keys() == WITHOUT_RANGES.keys() - {"accept-ranges"}


@pytest.mark.parametrize(
    "lines", [["Range: bytes=0-1"], ["Range: bytes=0-1", 'If-Range: "a"'], ["range: pages=1"]]
)
async def test_whoever_changes_bodies_is_not_asked_about_parts(serve: Serve, lines: list[str]) -> None:
    heads: list[bytes] = []
    async with serve(recording(head("200 OK", {}, "Content-Length: 2") + b"ab", heads)) as test:
        for program in (Program("response", (EDITED,)), None):
            status, _, body = await ask(test, program, *lines)
            assert (status, body) == (200, b"EDITED" if program else b"ab")
        assert len(heads) == 2
        assert not any(b"range:" in text for text in heads)


@pytest.mark.parametrize("settings", [{"module": request_writer()}, {"response_body": "none"}])
async def test_whoever_does_not_leaves_ranges_alone(serve: Serve, settings: dict[str, str]) -> None:
    heads: list[bytes] = []
    part = head("206 Partial Content", STALE, "Content-Length: 2") + b"ab"
    async with serve(recording(part, heads), **settings) as test:
        for _ in range(2):
            status, fields, body = await ask(test, None, "Range: bytes=0-1", 'If-Range: "a"')
            assert (status, body) == (206, b"ab")
            assert STALE.items() <= fields.items()
        assert all(b"range: bytes=0-1\r\n" in text and b'if-range: "a"\r\n' in text for text in heads)


@pytest.mark.parametrize("kind", ["", "multipart/byteranges; boundary=x", "Multipart/ByteRanges;boundary=x"])
async def test_a_part_that_nobody_asked_for_is_not_edited(serve: Serve, kind: str) -> None:
    part = (
        head("206 Partial Content", STALE | ({"content-type": kind} if kind else {}), "Content-Length: 2")
        + b"ab"
    )
    async with serve(answering(part)) as test:
        status, fields, _ = await ask(test, Program("response", (EDITED,)), "Range: bytes=0-1")
        assert status == 502
        assert "content-range" not in fields
        assert (
            test.gateway.statistics().plugins["writer"].faults == 0
        )  # no client brings a plugin down this way


@pytest.mark.parametrize(
    "kind", ["text/plain", "multipart/byteranges; boundary=x", "Multipart/ByteRanges;boundary=x"]
)
@pytest.mark.parametrize("status", [[], [Write(STATUS, value=(206).to_bytes(4, "little"))]])
async def test_a_body_in_place_of_a_part_that_was_not_read_is_whole(
    serve: Serve, kind: str, status: list[Write]
) -> None:
    part = head("206 Partial Content", STALE | {"content-type": kind}, "Content-Length: 2") + b"ab"
    async with serve(answering(part), response_body="none") as test:
        code, fields, body = await ask(test, Program("response", (EDITED, *status)), "Range: bytes=0-1")
        assert (code, body) == (200, b"EDITED")
        assert not STALE.keys() & fields.keys()
        assert fields.get("content-type") == ("text/plain" if kind == "text/plain" else None)


OWN_RANGE = Write(SET, b"content-range", b"bytes 4-9/10")
OWN_RANGES = Write(SET, b"content-type", b"multipart/byteranges; boundary=y")


@pytest.mark.parametrize(
    ("said", "field", "upstreams"),
    [
        (OWN_RANGE, "content-range", "text/plain"),
        (OWN_RANGES, "content-type", "multipart/byteranges; boundary=x"),
    ],
)
async def test_a_plugin_may_say_which_part_it_sends(
    serve: Serve, said: Write, field: str, upstreams: str
) -> None:
    part = head("206 Partial Content", STALE | {"content-type": upstreams}, "Content-Length: 2") + b"ab"
    async with serve(answering(part), response_body="none") as test:
        code, fields, body = await ask(test, Program("response", (EDITED, said)), "Range: bytes=0-1")
        assert (code, body, fields[field]) == (206, b"EDITED", said.value.decode())
        assert ("content-range" in fields) == (field == "content-range")


RESET = Write(STATUS, value=(205).to_bytes(4, "little"))
CODED = [
    pytest.param(b"Content-Length: 0\r\n\r\n", id="empty"),
    pytest.param(b"Content-Length: 5\r\n\r\nhello", id="length"),
    pytest.param(b"Transfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n", id="chunked"),
    pytest.param(b"Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n", id="no-chunk"),
]


MODULES = (("reads", {}), ("blind", {"response_body": "none"}), ("writes", {"module": request_writer()}))
RESETS = [
    pytest.param(b"205 Reset Content", program, settings, id=f"upstream-{name}-{len(program)}")
    for program in ((), (EDITED,))
    for name, settings in MODULES
] + [
    pytest.param(b"200 OK", program, settings, id=f"plugin-{name}-{len(program)}")
    for program in ((RESET,), (EDITED, RESET))
    for name, settings in MODULES[:2]
]


@pytest.mark.parametrize("body", CODED)
@pytest.mark.parametrize(("line", "program", "settings"), RESETS)
async def test_205_has_no_content(
    serve: Serve, line: bytes, body: bytes, program: tuple[Write, ...], settings: dict[str, str]
) -> None:
    begins = b"HTTP/1.1 " + line + b"\r\n"
    async with serve(answering(begins + body), **settings) as test:
        client = await test.connect()
        field = f"X-Write: {Program('response', program).field().decode()}\r\n" if program else ""
        for _ in range(3):  # what follows on the connection is the next answer
            await client.send(f"GET / HTTP/1.1\r\nHost: test\r\n{field}\r\n".encode())
            status, fields, content = await client.answer()
            assert (status, fields["content-length"], content, client.buffer) == (205, "0", b"", b"")


async def test_an_answer_of_a_plugin_with_205_and_content_is_refused(serve: Serve) -> None:
    async with serve(answering(b"")) as test:
        assert (await ask(test, Program("answer", (RESET, EDITED))))[0] == 500
        assert (await ask(test, Program("answer", (RESET,))))[0] == 205


# -- requests

OK = b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"
CODINGS = {name: value for name, value in STALE.items() if name not in WHOLE_AGAIN}


@pytest.mark.parametrize("own", [False, True])
async def test_an_edited_request_says_nothing_of_the_old_bytes(serve: Serve, own: bool) -> None:
    heads: list[bytes] = []
    lines = [f"{name}: {value}" for name, value in CODINGS.items()]
    said = [Write(SET, name.encode(), b"own") for name in CODINGS] if own else []
    async with serve(recording(OK, heads, size=6), module=request_writer()) as test:
        program = Program("request", (EDITED, *said))
        status, _, _ = await ask(test, program, *lines, "Content-Length: 2", method="POST", body=b"ab")
        assert (status, heads[1]) == (200, b"EDITED")
        assert b"content-length: 6\r\n" in heads[0]
        for name in CODINGS:
            assert heads[0].count(f"\r\n{name}: ".encode()) == own
            assert (f"\r\n{name}: own\r\n".encode() in heads[0]) == own


FITS = [
    pytest.param("bytes 4-9/10", 200, id="as-long"),
    pytest.param("Bytes  0-5/*", 200, id="as-long-of-unknown"),
    pytest.param("bytes 0-1/10", 400, id="longer"),
    pytest.param("bytes 0-9/10", 400, id="shorter"),
    pytest.param("bytes */10", 400, id="of-nothing"),
    pytest.param("pages 0-5/10", 400, id="another-unit"),
    pytest.param("", 400, id="empty"),
]


@pytest.mark.parametrize(("value", "status"), FITS)
async def test_a_part_of_a_resource_never_replaces_the_whole(serve: Serve, value: str, status: int) -> None:
    heads: list[bytes] = []
    async with serve(recording(OK, heads, size=6), module=request_writer()) as test:
        lines = [f"Content-Range: {value}", "Content-Length: 2"]
        got, _, _ = await ask(test, Program("request", (EDITED,)), *lines, method="PUT", body=b"ab")
        assert got == status
        assert len(heads) == (2 if status == 200 else 0)
        assert test.gateway.statistics().plugins["writer"].faults == 0
        for writes in (
            (EDITED, Write(REMOVE, b"content-range")),
            (EDITED, Write(SET, b"content-range", b"bytes 0-5/6")),
        ):
            assert (await ask(test, Program("request", writes), *lines, method="PUT", body=b"ab"))[0] == 200


@pytest.mark.parametrize("more", [[], [Write(PATH, value=b"/b")]])
@pytest.mark.parametrize(
    ("lines", "body"),
    [([], b""), (["Content-Length: 0"], b""), (["Transfer-Encoding: chunked"], b"2\r\nab\r\n0\r\n\r\n")],
)
async def test_a_handshake_with_content_is_none(
    serve: Serve, more: list[Write], lines: list[str], body: bytes
) -> None:
    heads: list[bytes] = []
    async with serve(recording(OK, heads, size=6), module=request_writer()) as test:
        upgrade = ["Connection: Upgrade", "Upgrade: websocket", *lines]
        assert (await ask(test, Program("request", (EDITED, *more)), *upgrade, body=body))[0] == 200
        assert b"upgrade" not in heads[0]
        assert b"content-length: 6\r\n" in heads[0]
