"""The C example that asks an introspection endpoint (RFC 7662), built as its page says, behind a gateway."""

from __future__ import annotations

from pathlib import Path

import pytest
import trio

from blitz.config import Plugin, Route, Upstream
from tests.server.harness import FakeUpstream, Served, rig

from .toolchain import SDKS, listings, run_zig

pytestmark = pytest.mark.toolchain

SOURCE = SDKS / "c" / "examples" / "introspect.c"
(COMMAND,) = listings(SDKS / "c" / "README.md", "bash")
OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    directory = tmp_path_factory.mktemp("introspect")
    (directory / "introspect.c").write_bytes(SOURCE.read_bytes())
    run_zig(COMMAND.replace("hello", "introspect"), directory)
    return directory / "introspect.wasm"


def says(body: str, status: str = "200 OK") -> bytes:
    return f"HTTP/1.1 {status}\r\nContent-Length: {len(body)}\r\n\r\n{body}".encode()


# id: Authorization, what the endpoint answers, the form that it got (None: it was not asked), the status
CASES = [
    pytest.param("Bearer abc-._~", says('{"active": true}'), b"token=abc-._~", 200, id="active"),
    pytest.param(
        "bearer a+b/c==", says('{"active":true,"x":1}'), b"token=a%2Bb%2Fc%3D%3D", 200, id="escaped"
    ),
    pytest.param("Bearer abc", says('{"active": false}'), b"token=abc", 401, id="not active"),
    pytest.param("Bearer abc", says('{"a":{"active":true},"active":false}'), b"token=abc", 401, id="inside"),
    pytest.param("Bearer abc", says('{"s":"\\"active\\":true"}'), b"token=abc", 401, id="in a string"),
    pytest.param("Bearer abc", says('{"active":true,"active":true}'), b"token=abc", 401, id="twice"),
    pytest.param("Bearer abc", says("{"), b"token=abc", 401, id="no JSON"),
    pytest.param("Bearer abc", says("", "500 No"), b"token=abc", 503, id="broken"),
    pytest.param("Bearer abc", says("x" * 9000), b"token=abc", 503, id="too long"),
    pytest.param("Bearer a&active=true", b"", None, 401, id="injection"),
    pytest.param("Basic abc", b"", None, 401, id="scheme"),
    pytest.param("", b"", None, 401, id="none"),
]


@pytest.mark.parametrize(("said", "answer", "form", "status"), CASES)
async def test_a_token_is_as_good_as_the_endpoint_says(
    built: Path, said: str, answer: bytes, form: bytes | None, status: int
) -> None:
    forms: list[bytes] = []

    async def endpoint(served: Served) -> None:
        head = (await served.head()).lower()
        assert head.startswith(b"post /introspect http/1.1\r\n")
        size = int(head.split(b"content-length: ")[1].split(b"\r\n")[0])
        forms.append(await served.exactly(size))
        await served.send(answer)

    async def origin(served: Served) -> None:
        while True:
            assert b"authorization" not in (await served.head()).lower()
            await served.send(OK)

    async with trio.open_nursery() as nursery:
        ends = FakeUpstream(endpoint), FakeUpstream(origin)
        for one in ends:
            await nursery.start(one.run)
        names = ("introspection", "main")
        upstreams = {name: Upstream(endpoints=[one.endpoint]) for name, one in zip(names, ends, strict=True)}
        plugin = Plugin(file=str(built), upstreams=["introspection"])
        async with rig(plugins=[plugin], routes=[Route(upstream="main")], upstreams=upstreams) as test:
            got = await test.get(**({"authorization": said} if said else {}))
        nursery.cancel_scope.cancel()
    assert got[0] == status
    assert forms == ([form] if form is not None else [])
