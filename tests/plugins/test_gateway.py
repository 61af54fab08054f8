"""The three built-in plugins in a real gateway, over real sockets."""

from __future__ import annotations

import logging
from typing import Any

import pytest
import trio
import wasmtime

from blitz.config import Plugin

from ..server.harness import Served, rig
from .cases import PLUGINS

KEYS = {"keys": ["alice:key-of-alice"]}
# Imports get_body and looks at it: the gateway collects request bodies for it.
READER = """(module
  (import "blitz" "get_body" (func $get_body (param i32 i32) (result i32)))
  (memory (export "memory") 2)
  (func (export "blitz_buffer") (result i32) i32.const 0)
  (func (export "blitz_buffer_size") (result i32) i32.const 65536)
  (func (export "process_request") (param i32 i32 i32 i32) (result i32)
    (drop (call $get_body (i32.const 65536) (i32.const 65536)))
    i32.const 0))"""


def built_in(**limiter: Any) -> dict[str, Any]:
    return {
        "plugin_dir": str(PLUGINS),
        "plugins": [
            Plugin(name="auth_custom", config=KEYS),
            Plugin(name="rate_limiter", config={"requests_per_minute": 1, "burst": 100} | limiter),
        ],
    }


def plugin_lines(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [record.getMessage() for record in caplog.records if record.name == "blitz.plugin"]


async def test_a_request_needs_a_key_and_carries_the_identity(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "blitz.plugin")
    async with rig(**built_in()) as test:
        status, fields, body = await test.get("/a?token=hush")
        assert (status, body) == (401, b"unauthorized: a credential is needed\n")
        assert fields["www-authenticate"] == 'Bearer realm="blitz"'  # the last of two
        assert test.upstream.connections == []

        status, fields, body = await test.get("/b", x_api_key="key-of-alice", x_authenticated_identity="root")
        assert status == 200
        seen = body.decode().split("\n")
        assert "x-authenticated-identity: alice" in seen
        assert not any("key-of-alice" in line or "root" in line for line in seen)
        assert fields["ratelimit-limit"] == "100"
    lines = plugin_lines(caplog)
    logger = [line for line in lines if line.startswith("[WASM Plugin] request_logger: ")]
    assert [line.split()[3:6] for line in logger] == [
        ["request", "method=GET", 'path="/a?token=***"'],
        ["response", "method=GET", 'path="/a?token=***"'],
        ["request", "method=GET", 'path="/b"'],
        ["response", "method=GET", 'path="/b"'],
    ]
    assert " status=401 " in logger[1] and " status=200 " in logger[3]
    assert not any("hush" in line or "key-of-alice" in line for line in lines)


async def test_a_burst_is_answered_429_by_one_truth_for_all_instances(
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.INFO, "blitz.plugin")
    statuses: list[int] = []

    async with rig(**built_in(burst=10)) as test:

        async def one() -> None:
            status, fields, _ = await test.get("/", x_api_key="key-of-alice")
            statuses.append(status)
            assert (status == 429) == ("retry-after" in fields)

        # Together, so that several instances serve them.
        async with trio.open_nursery() as nursery:
            for _ in range(25):
                nursery.start_soon(one)
    assert sorted(statuses) == [200] * 10 + [429] * 15
    assert sum("status=429" in line for line in plugin_lines(caplog)) == 15


async def swallow(served: Served) -> None:
    """Read a body of the length that the head says, and answer with what arrived."""
    head = await served.head()
    length = int(head.lower().split(b"content-length: ")[1].split(b"\r\n")[0])
    count = len(await served.exactly(length))
    await served.send(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%d" % (len(str(count)), count))


@pytest.mark.parametrize("reader", [False, True], ids=["built-in plugins", "and one that reads bodies"])
async def test_bodies_beyond_max_body_pass_plugins_that_only_answer_with_one(
    reader: bool, tmp_path: Any
) -> None:
    """auth_custom and rate_limiter import set_body for their own answers; that collects nothing."""
    config = built_in()
    if reader:
        (tmp_path / "reader.wasm").write_bytes(wasmtime.wat2wasm(READER))
        config["plugins"].append(Plugin(file=str(tmp_path / "reader.wasm"), response_body="none"))
    size = 3 * 1024 * 1024
    async with rig(swallow, **config) as test:
        client = await test.connect()
        head = f"POST / HTTP/1.1\r\nHost: test\r\nX-Api-Key: key-of-alice\r\nContent-Length: {size}\r\n\r\n"
        with trio.fail_after(30):
            await client.send(head.encode() + b"x" * size)
            status, _, body = await client.answer()
        assert (status, body) == (200, str(size).encode())
