"""The examples that redact a secret, built as their pages say: however a body is cut, the secret does
not come out."""

from __future__ import annotations

import random
from pathlib import Path

import pytest

from blitz.config import Plugin
from tests.server.harness import answering, rig
from tests.server.test_parts import cut, sending

from .test_sdk_rust import examples  # noqa: F401
from .toolchain import SDKS, listings, run_zig

pytestmark = pytest.mark.toolchain

SECRET = b"s3cret"
(COMMAND,) = listings(SDKS / "c" / "README.md", "bash")


@pytest.fixture(scope="module", params=["c", "rust"])
def built(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    if request.param == "rust":
        directory: Path = request.getfixturevalue("examples")
        return directory / "redact.wasm"
    directory = tmp_path_factory.mktemp("redact")
    (directory / "redact.c").write_bytes((SDKS / "c" / "examples" / "redact.c").read_bytes())
    run_zig(COMMAND.replace("hello", "redact"), directory)
    return directory / "redact.wasm"


def plugin(built: Path) -> Plugin:
    return Plugin(file=str(built), config={"secret": SECRET.decode()})


async def test_a_secret_does_not_leave_wherever_it_is_cut(built: Path) -> None:
    rng = random.Random(7)
    words = [SECRET, b"s3cre", b"s3cr", b"s", b"s3s3cret", b"s3crs3cret", b"\xff\x00"]
    data = b"".join(rng.choice(words) for _ in range(20_000))
    small = [data[at : at + 1] for at in range(2000)]
    for pieces in (cut(data, rng), small):
        whole = b"".join(pieces)
        async with rig(sending(pieces), plugins=[plugin(built)]) as test:
            _, _, body = await test.get()
            assert body == whole.replace(SECRET, b"*" * len(SECRET))
            assert not test.gateway.faults()


async def test_what_it_cannot_read_does_not_pass(built: Path) -> None:
    answer = b"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: 6\r\n\r\ns3cret"
    async with rig(answering(answer), plugins=[plugin(built)]) as test:
        status, _, body = await test.get()
        assert status == 500
        assert SECRET not in body
