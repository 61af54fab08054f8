"""Responses that the fast path keeps are those that Python makes, and are gone when a file is another one;
and what curl makes of all of it."""

from __future__ import annotations

import os
import random
import shutil
from pathlib import Path
from typing import Any

import msgspec
import pytest
import trio

from blitz.config import Route
from blitz.config.route_keys import HeaderEdits, Rewrite
from blitz.config.static_keys import Static
from blitz.server import fast_steps, send_file, static_files

from .harness import Client, Rig, rig, until
from .test_static import BIG, SMALL

METHODS = ["GET"] * 6 + ["HEAD", "HEAD", "POST"]
TARGETS = [
    *("/a.txt", "/a.txt?x=1", "/a.txt?y", "/%61.txt", "/sub/", "/sub", "/", "/b.bin", "/no", "/sub/a.txt"),
    *("/p/a.txt", "/p/sub/", "/p/none", "/r/a.txt", "/r/sub/x", "/.git", "/a.txt/", "/big.bin"),
]
FIELDS = [
    "",
    "",
    "",
    "Accept-Encoding: gzip",
    "Accept-Encoding: gzip, br",
    "Accept-Encoding: br;q=0, gzip",
    "accept-encoding: gzip\r\nAccept-Encoding: br",
    "Accept-Encoding:",
    "Range: bytes=0-2",
    "rAnGe: bytes=-1",
    'If-None-Match: "x"',
    "If-None-Match: *",
    "If-Match: *",
    'if-match: "x"',
    "If-Modified-Since: Sat, 01 Jan 2050 00:00:00 GMT",
    "If-Unmodified-Since: Sat, 01 Jan 2000 00:00:00 GMT",
    "Connection: close",
]


def make_site(base: Path) -> Path:
    root = base / "www"
    for name, data in {
        "index.html": b"<p>index",
        "a.txt": b"a" * 100,
        "a.txt.gz": b"zipped",
        "a.txt.br": b"br",
        "b.bin": SMALL,
        "big.bin": BIG,
        "sub/index.html": b"<p>sub",
        "sub/a.txt": b"sub",
    }.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(data)
    return root


def routes(root: Path) -> list[Route]:
    where = str(root)
    return [
        Route(static=Static(root=where, precompressed=["br", "gzip"], max_age=5.0)),
        Route(
            path_prefix="/p",
            rewrite=Rewrite(strip_prefix=True),
            request_headers=HeaderEdits(remove=["range"]),
            response_headers=HeaderEdits(set={"x-path": "${request.target}"}),
            static=Static(root=where, fallback="/index.html"),
        ),
        Route(path_prefix="/r", rewrite=Rewrite(regex="^/r/(.*)", to="/$1"), static=Static(root=where)),
    ]


async def exchange(test: Rig, clients: list[Client], request: bytes, method: str) -> tuple[object, ...]:
    if not clients:
        clients.append(await test.connect())
    client = clients[0]
    await client.send(request)
    with trio.fail_after(20):
        status, fields, body = await client.answer(method)
    if fields.get("connection") == "close":
        clients.clear()
    fields.pop("date", None)
    return status, sorted(fields.items()), body


def comparable(answer: tuple[object, ...]) -> tuple[object, ...]:
    """Without the id that an error tells."""
    status, fields, body = answer
    assert isinstance(body, bytes)
    return status, fields, body.partition(b"\nrequest ")[0]


async def test_what_is_kept_is_what_is_made(tmp_path: Path) -> None:
    """The other gateway has h11 read each request: there is no fast path, and nothing is kept."""
    root = make_site(tmp_path)
    chosen = random.Random(5)
    async with rig(routes=routes(root)) as fast, rig(parser="h11", routes=routes(root)) as general:
        ours: list[Client] = []
        theirs: list[Client] = []
        for _ in range(250):
            method, target, field = chosen.choice(METHODS), chosen.choice(TARGETS), chosen.choice(FIELDS)
            lines = f"{field}\r\n" if field else ""
            request = f"{method} {target} HTTP/1.1\r\nHost: h\r\n{lines}\r\n".encode()
            wanted = comparable(await exchange(general, theirs, request, method))
            for _ in range(2):
                assert comparable(await exchange(fast, ours, request, method)) == wanted, request


async def test_python_plans_it_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    root, plans = make_site(tmp_path), 0

    def counting(*words: Any, **more: Any) -> Any:
        nonlocal plans
        plans += 1
        return send_file.plan_nowait(*words, **more)

    monkeypatch.setattr(static_files, "VALID", 60.0)
    monkeypatch.setattr(fast_steps, "plan_nowait", counting)
    async with rig(routes=routes(root)) as test:
        client = await test.connect()
        for target in ("/a.txt", "/p/a.txt", "/sub/"):
            plans = 0
            for _ in range(5):
                await client.send(f"GET {target} HTTP/1.1\r\nHost: h\r\n\r\n".encode())
                with trio.fail_after(20):
                    assert (await client.answer())[0] == 200
            assert plans == 2  # the first asks the disk, the second finds what that said


async def test_a_file_that_is_another_one_is_served_after_a_moment(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    root = make_site(tmp_path)
    monkeypatch.setattr(static_files, "VALID", 0.2)

    async def comes(test: Rig, status: int, body: bytes) -> None:
        with trio.fail_after(20):
            found = None
            while found != (status, body):
                got = await test.get("/a.txt")
                found = (got[0], got[2].partition(b"\n")[0])

    async with rig(routes=routes(root)) as test:
        for data in (b"0", b"1"):
            (root / "new").write_bytes(data)
            os.replace(root / "new", root / "a.txt")
            await comes(test, 200, data)
        (root / "a.txt").unlink()
        await comes(test, 404, b"404 Not Found")


async def test_a_reload_serves_its_own_files(tmp_path: Path) -> None:
    one, two = make_site(tmp_path / "1"), make_site(tmp_path / "2")
    (two / "a.txt").write_bytes(b"two")
    async with rig(routes=routes(one)) as test:
        for _ in range(3):
            assert (await test.get("/a.txt"))[2] == b"a" * 100
        await test.gateway.reload(msgspec.structs.replace(test.config, routes=routes(two)))
        for _ in range(3):
            assert (await test.get("/a.txt"))[2] == b"two"
        # What was open of the first one is given back when nobody has asked for it for a while.
        files = test.gateway._context.files
        for known in [*files._known.values(), *files._missing.values()]:
            known.until -= 60.0
        await until(lambda: not files._known)


@pytest.mark.skipif(shutil.which("curl") is None, reason="needs curl")
@pytest.mark.parametrize("parser", ["auto", "h11", "auto+tls-in"])
async def test_curl_gets_ranges_goes_on_and_asks_again(tmp_path: Path, parser: str) -> None:
    root = make_site(tmp_path)
    got = tmp_path / "got"

    async def curl(test: Rig, *words: str) -> str:
        host, port = test.gateway.addresses[0]
        scheme = "https" if test.encrypted else "http"
        command = ["curl", "-skS", "--max-time", "20", *words[:-1], f"{scheme}://{host}:{port}{words[-1]}"]
        done = await trio.run_process(command, capture_stdout=True)
        return done.stdout.decode()

    write = "%{http_code} %{size_download}"
    async with rig(parser=parser, routes=routes(root)) as test:
        for name, data in (("big.bin", BIG), ("b.bin", SMALL)):
            said = await curl(test, "-r", "5-14", "-o", str(got), "-w", write, f"/{name}")
            assert (said, got.read_bytes()) == ("206 10", data[5:15])
            got.write_bytes(data[:1000])
            said = await curl(test, "-C", "-", "-o", str(got), "-w", write, f"/{name}")
            assert (said, got.read_bytes()) == (f"206 {len(data) - 1000}", data)
            said = await curl(test, "-z", str(got), "-o", os.devnull, "-w", write, f"/{name}")
            assert said == "304 0"
            said = await curl(test, "-z", "-2050-01-01", "-o", os.devnull, "-w", write, f"/{name}")
            assert said == f"200 {len(data)}"
            assert f"content-length: {len(data)}" in (await curl(test, "-I", f"/{name}")).lower()
