"""A request's body that plugins see and that comes in several pieces: the fast path collects it where it fits
beside its head, and whatever comes, the general path does the same."""

from __future__ import annotations

import contextlib
import socket
import struct
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import trio
import wasmtime
from hypothesis import given, settings
from hypothesis import strategies as st

from blitz.config import Limits, Log, Plugin, Timeouts

from .harness import Client, Rig, Served, rig, until
from .test_access import Lines, lines  # noqa: F401
from .test_fast_path import get, on_the_fast_path, one_after_the_other
from .test_fast_path_bodies import GUEST, READ, READS, upstream_of
from .test_fast_path_streams import comparable

DATA = bytes(range(32, 127)) * 400


def reading(folder: Path, max_body: int | None = None) -> Plugin:
    """It reads each body, and edits those for paths that begin with e into their first bytes."""
    path = folder / "guest.wasm"
    path.write_bytes(wasmtime.wat2wasm(GUEST.replace("@imports@", READS).replace("@edit@", READ)))
    return Plugin(name="guest", file=str(path), max_body=max_body)


@dataclass(frozen=True)
class Request:
    """Attributes:
    cuts: sizes of the pieces that it is sent in.
    end: "whole", "cut" (the client ends what it sends before its end), "bad" (a coding that is none).
    joined: the next request is right behind it.
    """

    path: str
    size: int
    chunk: int
    cuts: tuple[int, ...]
    end: str
    joined: bool

    def octets(self) -> bytes:
        body = DATA[: self.size]
        framing = b"Content-Length: %d" % self.size
        if self.chunk:
            framing = b"Transfer-Encoding: chunked"
            chunks = [body[at : at + self.chunk] for at in range(0, self.size, self.chunk)]
            body = b"".join(b"%x;a=b\r\n%b\r\n" % (len(chunk), chunk) for chunk in chunks)
            body += b"0\r\nx: y\r\n\r\n" if self.end != "bad" else b"0x\r\n\r\n"
        if self.end == "cut":
            body = body[: len(body) // 2]
        return b"POST %b HTTP/1.1\r\nHost: test\r\n%b\r\n\r\n%b" % (self.path.encode(), framing, body)

    @property
    def ends(self) -> bool:
        """Nothing can follow."""
        return self.end == "cut" or (self.end == "bad" and self.chunk > 0)


REQUESTS = st.builds(
    Request,
    st.sampled_from(["/pass", "/edit", "/stop"]),
    st.one_of(st.integers(0, 60), st.integers(2_000, 20_000)),
    st.sampled_from([0, 0, 7, 1000, 30_000]),
    st.lists(st.sampled_from([1, 40, 90, 400, 5_000]), min_size=1, max_size=4).map(tuple),
    st.sampled_from(["whole", "whole", "whole", "whole", "cut", "bad"]),
    st.booleans(),
)


async def send_cut(client: Client, octets: bytes, cuts: tuple[int, ...]) -> None:
    pieces = 0
    with contextlib.suppress(trio.BrokenResourceError):  # it is not read to its end
        while octets:
            size = cuts[pieces % len(cuts)] if pieces < 40 else len(octets)
            await client.send(octets[:size])
            octets, pieces = octets[size:], pieces + 1
            await trio.lowlevel.checkpoint()


async def send_and_end(client: Client, octets: bytes, request: Request) -> None:
    await send_cut(client, octets, request.cuts)
    if request.end == "cut":
        with contextlib.suppress(OSError, trio.BrokenResourceError):
            await client.stream.send_eof()


async def play(
    parser: str, plugin: Plugin, limit: int, requests: list[Request], found: Lines | None = None
) -> list[Any]:
    """-> what the client got, what the upstream saw, and what is logged with *found*."""
    seen: list[tuple[bytes, bytes]] = []
    answers: list[tuple[int, str | None]] = []

    async def script(served: Served) -> None:
        await upstream_of(seen, served)

    # Whether a body over a limit was read to its end, when that is said, is a race.
    may_join = not limit and plugin.max_body is None
    log, limits = Log(access="json" if found else "off"), Limits(max_body_size=limit)
    async with rig(script, parser=parser, plugins=[plugin], log=log, limits=limits) as test:
        client = await test.connect()
        octets, waiting = b"", 0
        for number, request in enumerate(requests):
            octets += request.octets()
            waiting += 1
            if may_join and request.joined and not request.ends and number < len(requests) - 1:
                continue
            with trio.fail_after(30):
                async with trio.open_nursery() as nursery:
                    nursery.start_soon(send_and_end, client, octets, request)
                    for _ in range(waiting):
                        status, fields, _ = await client.answer()
                        connection = fields.get("connection")
                        answers.append((status, connection if status < 400 or status == 403 else "?"))
                    nursery.cancel_scope.cancel()
            octets, waiting = b"", 0
            if connection == "close" or request.ends:
                await client.stream.aclose()
                client = await test.connect()
        await client.send(get("/pass?last"))
        answers.append(((await client.answer())[0], None))
        if found is not None:
            logged = [comparable(line) for line in await found.wait(len(answers))]
            found.lines.clear()
            return [answers, seen, logged]
    return [answers, seen]


@settings(max_examples=15)
@given(
    requests=st.lists(REQUESTS, min_size=1, max_size=5),
    max_body=st.sampled_from([None, None, 20]),
    limit=st.sampled_from([0, 0, 3000]),
)
def test_both_paths_do_the_same_with_bodies_that_plugins_see(
    requests: list[Request], max_body: int | None, limit: int
) -> None:
    with tempfile.TemporaryDirectory() as folder:
        plugin = reading(Path(folder), max_body)
        fast = trio.run(play, "auto", plugin, limit, requests)
        assert fast == trio.run(play, "h11", plugin, limit, requests)


def test_both_paths_log_the_same_of_bodies_that_plugins_see(tmp_path: Path, lines: Lines) -> None:  # noqa: F811
    plugin = reading(tmp_path)
    requests = [
        Request(path, size, chunk, (40, 400), end, False)
        for path in ("/pass", "/edit", "/stop")
        for size, chunk, end in ((300, 0, "whole"), (300, 7, "whole"), (300, 0, "cut"), (300, 90, "bad"))
    ]
    assert trio.run(play, "auto", plugin, 0, requests, lines) == trio.run(
        play, "h11", plugin, 0, requests, lines
    )


def on_it(test: Rig) -> list[Any]:
    return list(test.gateway._context.fast_path._tables.parked.values())


@pytest.mark.parametrize("encrypted", ["", "+tls-in"])
@pytest.mark.parametrize("chunk", [0, 100])
async def test_it_stays_on_the_fast_path(tmp_path: Path, encrypted: str, chunk: int) -> None:
    seen: list[tuple[bytes, bytes]] = []

    async def script(served: Served) -> None:
        await upstream_of(seen, served)

    async with rig(script, parser="auto" + encrypted, plugins=[reading(tmp_path)]) as test:
        client = await on_the_fast_path(test)
        before = on_it(test)
        assert len(before) == 1
        for size in (10, 2_000, 12_000):
            octets = Request("/pass", size, chunk, (), "whole", False).octets()
            for piece in (octets[:90], octets[90 : size // 2 + 90], octets[size // 2 + 90 :]):
                await client.send(piece)
                await trio.sleep(0.01)
            assert (await client.answer())[0] == 200
            assert seen[-1][1] == DATA[:size]
        assert on_it(test)[0] is before[0]  # whoever leaves comes back as somebody else


@pytest.mark.parametrize("parser", ["auto", "h11", "auto+tls-in"])
@pytest.mark.parametrize("name", ["body_idle", "total", "rate"])
async def test_who_does_not_send_the_rest_is_told_so(tmp_path: Path, parser: str, name: str) -> None:
    times = Timeouts(body_grace=0.2) if name == "rate" else Timeouts(**{name: 0.2})
    limits = Limits(min_body_rate=100_000 if name == "rate" else 0)
    plugin = reading(tmp_path)
    async with rig(
        one_after_the_other, parser=parser, plugins=[plugin], timeouts=times, limits=limits
    ) as test:
        client = await on_the_fast_path(test)
        await client.send(Request("/pass", 900, 0, (), "whole", False).octets()[:-5])
        with trio.fail_after(20):
            status, fields, _ = await client.answer()
        assert (status, fields["connection"]) == (504 if name == "total" else 408, "close")
        await until(lambda: test.gateway.statistics().counters.timeouts == 1, patience=20)


@pytest.mark.parametrize("parser", ["auto", "h11"])
async def test_a_client_that_resets_is_gone(tmp_path: Path, parser: str, lines: Lines) -> None:  # noqa: F811
    plugin = reading(tmp_path)
    async with rig(one_after_the_other, parser=parser, plugins=[plugin], log=Log(access="json")) as test:
        client = await on_the_fast_path(test)
        await client.send(Request("/pass", 900, 0, (), "whole", False).octets()[:-5])
        await until(lambda: test.gateway.statistics().counters.exchanges >= 4, patience=20)
        client.stream.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        client.stream.socket.close()
        line = comparable((await lines.wait(4))[3])
        assert (line["status"], line["cause"]) == (499, "client_reset")
        for other in (await on_the_fast_path(test),):
            await other.stream.aclose()
