"""``request.path.canonical``: the path in one spelling, as it stands when a plugin asks, in both engines."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import wasmtime

from blitz.config import Plugin, Route

from .harness import rig
from .test_plugins import HEAD, REQUEST

pytestmark = pytest.mark.parametrize("parser", ["auto", "h11"])

PROPERTY = '(import "blitz" "get_property" (func $property (param i32 i32 i32 i32) (result i32)))'
SET_PATH = '(import "blitz" "set_path" (func $set_path (param i32 i32)))'
ASK = "(call $property (i32.const 32) (i32.const 22) (i32.const 1024) (i32.const 60000))"
TELL = f"""
  (data (i32.const 32) "request.path.canonical") (data (i32.const 64) "x-path")
  {REQUEST} (call $set_header (i32.const 64) (i32.const 6) (i32.const 1024) {ASK}) (i32.const 0))"""
ASK_OFTEN = f"""
  (data (i32.const 32) "request.path.canonical") (data (i32.const 64) "x-path")
  {REQUEST} (local $left i32)
    (local.set $left (i32.const 20000))
    (loop $again
      (local.set $left (i32.sub (local.get $left) (i32.const 1)))
      (drop {ASK})
      (br_if $again (local.get $left)))
    (call $set_header (i32.const 64) (i32.const 6) (i32.const 1024) {ASK}) (i32.const 0))"""


@pytest.fixture
def guest(tmp_path: Path) -> Any:
    def make(body: str, imports: str = PROPERTY, name: str = "guest", **settings: Any) -> Plugin:
        path = tmp_path / f"{name}.wasm"
        path.write_bytes(wasmtime.wat2wasm(f"(module {imports} {HEAD} {body})"))
        return Plugin(name=name, file=str(path), **settings)

    return make


def moving(to: bytes) -> str:
    data = "".join(f"\\{byte:02x}" for byte in to)
    return f"""(data (i32.const 1024) "{data}")
        {REQUEST} (call $set_path (i32.const 1024) (i32.const {len(to)})) (i32.const 0))"""


def told(body: bytes) -> bytes:
    return next(line for line in body.split(b"\n") if line.startswith(b"x-path: ")).partition(b": ")[2]


CASES = [
    ("/a", b"/a"),
    ("/%70rivate/x?y=/../z", b"/private/x"),
    ("//a/./b/../c%2fd;v=1/", b"/a/c/d/"),
    ("/x/..%2fprivate%5Cx", b"/private/x"),
    ("/../../up", b"/up"),
    ("/A%2561", b"/A%61"),
    ("/caf%E9", b"/caf\xe9"),
]


@pytest.mark.parametrize(("target", "canonical"), CASES)
async def test_a_plugin_is_told_the_path_in_one_spelling(
    parser: str, guest: Any, target: str, canonical: bytes
) -> None:
    async with rig(parser=parser, plugins=[guest(TELL)]) as test:
        _, _, body = await test.get(target)
        assert body.startswith(f"GET {target}\n".encode())
        assert told(body) == canonical


async def test_it_follows_what_an_earlier_plugin_set(parser: str, guest: Any) -> None:
    plugins = [
        guest(TELL, name="first", order=1),
        guest(moving(b"/x/%2e%2e/moved?q"), SET_PATH, "mover", order=2),
        guest(TELL, name="last", order=3),
    ]
    for names, expected in ((["first"], b"/came"), (["first", "mover", "last"], b"/moved")):
        routes = [Route(upstream="main", plugins=names)]
        async with rig(parser=parser, plugins=plugins, routes=routes) as test:
            for _ in range(3):
                _, _, body = await test.get("/came")
                assert told(body) == expected


async def test_asking_often_costs_no_memory_of_the_host(parser: str, guest: Any) -> None:
    """16 KiB asked for 20,000 times would be 320 MB."""
    async with rig(parser=parser, plugins=[guest(ASK_OFTEN, timeout=30.0)]) as test:
        before = resident()
        _, _, body = await test.get("/" + "x" * 16000)
        assert told(body) == b"/" + b"x" * 16000
        assert resident() - before < 64 * 1024 * 1024


def resident() -> int:
    return int(Path("/proc/self/statm").read_text().split()[1]) * 4096
