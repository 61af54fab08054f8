"""An EventSource in a headless Chromium, through the gateway and a chain of plugins.

The page tells the upstream of each event it got, and the upstream sends the next one only then: an answer
that is held back anywhere would stop it. Then the upstream ends the stream in the middle of an event, and the
browser comes back with the id of the last one it got.
"""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
import trio

from blitz.config import Plugin, Route
from tests.conftest import GUESTS, compile_wat
from tests.hostile.writer import writer
from tests.server.harness import Served, rig

PATIENCE = 60.0  # a browser's first start on a busy machine
PAGE = b"""<!doctype html><title>events</title><link rel="icon" href="data:,"><script>
const source = new EventSource("/events");
const tell = (what) => fetch("/tell/" + encodeURIComponent(what), {method: "POST", body: what});
source.onopen = () => tell("open");
source.onerror = () => tell("error " + source.readyState);
source.onmessage = (event) => tell(`${event.lastEventId} ${event.data}`);
source.addEventListener("done", () => { source.close(); tell("done"); });
</script>"""
HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n"


def find_browser() -> str | None:
    """A Chromium that can be run here; a snap cannot see our directories, and Ubuntu's may be a mere hint."""
    for name in ("chromium", "chromium-browser", "google-chrome"):
        path = shutil.which(name)
        if path is not None and "snap" not in str(Path(path).resolve()):
            known = subprocess.run([path, "--version"], capture_output=True, check=False)
            if known.returncode == 0 and b"snap" not in known.stdout:
                return path
    return None


BROWSER = find_browser()


class Origin:
    """The page, its stream of events and the ear for what it tells."""

    def __init__(self) -> None:
        self.told: list[str] = []
        self.streams: list[bytes] = []  # heads of requests for events
        self.changed = trio.Event()
        self.done = trio.Event()

    async def script(self, served: Served) -> None:
        while True:
            head = await served.head()
            if head.startswith(b"GET /events"):
                self.streams.append(head)
                await self.stream(served, len(self.streams))
                return
            if found := re.match(rb"POST /tell/\S* .*content-length: (\d+)", head, re.DOTALL | re.IGNORECASE):
                self.tell((await served.exactly(int(found[1]))).decode())
                await served.send(b"HTTP/1.1 204 No Content\r\n\r\n")
            else:
                length = b"Content-Length: %d\r\n" % len(PAGE)
                await served.send(b"HTTP/1.1 200 OK\r\nContent-Type: text/html\r\n" + length + b"\r\n" + PAGE)

    def tell(self, what: str) -> None:
        self.told.append(what)
        self.changed.set()
        self.changed = trio.Event()
        if what == "done":
            self.done.set()

    async def wait_told(self, what: str, times: int = 1) -> None:
        while self.told.count(what) < times:
            await self.changed.wait()

    async def stream(self, served: Served, turn: int) -> None:
        await served.send(HEAD)
        await self.wait_told("open", turn)
        if turn == 1:
            await self.event(served, b"retry: 100\nid: 1\ndata: one", "1 one")
            await self.event(served, b"id: 2\ndata: two\ndata: lines", "2 two\nlines")
            await served.send(b"40\r\nid: 3\ndata: cut o")
        else:
            await self.wait_told("error 0")
            await self.event(served, b"id: 4\ndata: \xe2\x82\xac", "4 \u20ac")
            await self.event(served, b"event: done\ndata: x", "done")

    async def event(self, served: Served, text: bytes, told: str) -> None:
        """Send one and wait until the page has it."""
        data = text + b"\n\n"
        await served.send(b"%x\r\n%b\r\n" % (len(data), data))
        await self.wait_told(told)


@contextlib.contextmanager
def browsing(url: str, profile: Path) -> Iterator[None]:
    assert BROWSER is not None
    flags = (
        *(
            "--headless",
            "--no-sandbox",
            "--disable-gpu",
            "--disable-quic",
            "--no-first-run",
            "--disable-sync",
        ),
        *("--disable-background-networking", "--disable-component-update", "--disable-dev-shm-usage"),
        *("--proxy-server=direct://", "--remote-debugging-pipe", f"--user-data-dir={profile}"),
    )
    # The pipe, which nobody uses, keeps it running; its descriptors are 3 and 4.
    command = f'exec "$0" "$@" 3<"{profile}/in" 4>/dev/null'
    profile.mkdir()
    os.mkfifo(profile / "in")
    with (profile / "output").open("wb") as output:
        process = subprocess.Popen(
            ["sh", "-c", command, BROWSER, *flags, url],
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
        )
    try:
        with (profile / "in").open("wb"):
            yield
    finally:
        process.terminate()
        process.wait()


@pytest.mark.slow
@pytest.mark.skipif(BROWSER is None, reason="no chromium is installed")
@pytest.mark.parametrize("parser", ["auto", "h11"])
async def test_an_event_source_gets_each_event_at_once_and_comes_back(tmp_path: Path, parser: str) -> None:
    origin = Origin()
    plugins = []
    for name, wasm in {
        "reads": compile_wat((GUESTS / "copy_header.wat").read_text(encoding="utf-8")),
        "writes": writer(),
    }.items():
        path = tmp_path / f"{name}.wasm"
        path.write_bytes(wasm)
        plugins.append(Plugin(name=name, file=str(path)))
    routes = [Route(upstream="main", plugins=["reads", "writes"])]
    async with rig(origin.script, parser=parser, plugins=plugins, routes=routes) as test:
        host, port = test.gateway.addresses[0]
        with browsing(f"http://{host}:{port}/", tmp_path / "profile"):
            with trio.move_on_after(PATIENCE):
                await origin.done.wait()
    output = (tmp_path / "profile" / "output").read_text(errors="replace")
    wanted = ["open", "1 one", "2 two\nlines", "error 0", "open", "4 \u20ac", "done"]
    assert sorted(origin.told) == sorted(wanted), output  # each is a request of its own
    first, second = (head.lower() for head in origin.streams)
    assert b"accept: text/event-stream" in first and b"last-event-id" not in first
    assert b"last-event-id: 2" in second
