"""A disk that does not answer, and what waits for it: nothing else does, and nothing stays behind."""

from __future__ import annotations

import errno
import os
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
import trio

from blitz.config import Answer, Route
from blitz.config.static_keys import Static
from blitz.server import disk, send_file, sites
from blitz.server.disk import MAX_THREADS, Disk
from blitz.static.tree import MAX_SMALL, open_beneath

from .harness import rig, until

drivers = pytest.mark.parametrize("parser", ["auto", "h11", "auto+tls-in"])


class Stalling:
    """An opener whose names in ``stalled`` wait until ``go`` is set, as those of a dead mount do."""

    def __init__(self) -> None:
        self.go = threading.Event()
        self.stalled: set[bytes] = set()
        self.waiting = 0

    def __call__(self, directory: int, name: bytes, flags: int) -> int:
        if any(name.startswith(one) for one in self.stalled):
            self.waiting += 1
            self.go.wait()
        return open_beneath(directory, name, flags)


@pytest.fixture
def opener(monkeypatch: pytest.MonkeyPatch) -> Iterator[Stalling]:
    made = Stalling()
    monkeypatch.setattr(sites, "open_beneath", made)
    monkeypatch.setattr(disk, "PATIENCE", 0.4)
    yield made
    made.go.set()


def routes(root: Path, healthy: Path) -> list[Route]:
    return [
        Route(static=Static(root=str(root))),
        Route(path_prefix="/other", static=Static(root=str(healthy))),
        Route(path="/answer", answer=Answer(body="ok")),
    ]


@drivers
async def test_a_stalled_disk_keeps_nobody_else(tmp_path: Path, opener: Stalling, parser: str) -> None:
    root, healthy = tmp_path / "a", tmp_path / "b"
    for one in (root, healthy / "other"):
        one.mkdir(parents=True)
        (one / "x.txt").write_bytes(b"x")
    async with rig(parser=parser, routes=routes(root, healthy)) as test:
        assert (await test.get("/x.txt"))[2] == b"x"
        opener.stalled.add(b"stuck")
        statuses = []

        async def stuck(n: int) -> None:
            statuses.append((await test.get(f"/stuck{n}"))[0])

        with trio.fail_after(20):
            async with trio.open_nursery() as nursery:
                for n in range(3 * MAX_THREADS):
                    nursery.start_soon(stuck, n)
                await until(lambda: opener.waiting == MAX_THREADS)
                assert (await test.get("/answer"))[2] == b"ok"
                assert (await test.get("/other/x.txt"))[2] == b"x"  # its disk has threads of its own
            assert set(statuses) == {504}
            assert opener.waiting == MAX_THREADS  # the others have not taken more threads
            # The disk is known to be stalled: who comes now does not wait.
            assert (await test.get("/y.txt"))[0] == 504
            opener.go.set()
            await until(lambda: not test.gateway._context.files.disk_of(_tree(test)).threads)
            assert (await test.get("/x.txt"))[2] == b"x"


def _tree(test: object) -> object:
    runtime = test.gateway._context.runtime  # type: ignore[attr-defined]
    return next(entry.site.tree for entry in runtime.short_entries if entry.site is not None)


@drivers
async def test_a_file_whose_disk_stalls_ends_its_response(
    tmp_path: Path, opener: Stalling, monkeypatch: pytest.MonkeyPatch, parser: str
) -> None:
    """Before the head the client is told; behind it the connection ends."""
    (tmp_path / "f.bin").write_bytes(bytes(1_000_000))
    go, reads = threading.Event(), 0

    def stall(patch: pytest.MonkeyPatch, name: str, after: int) -> None:
        read = getattr(send_file, name)

        def stalling(fd: int, **of: int) -> object:
            nonlocal reads
            reads += 1
            if reads > after:
                go.wait()
            return read(fd, **of)

        patch.setattr(send_file, name, stalling)

    async with rig(parser=parser, routes=[Route(static=Static(root=str(tmp_path)))]) as test:
        files = test.gateway._context.files
        try:
            for after, told in ((1, False), (0, True)):
                reads = 0
                go.clear()
                with monkeypatch.context() as patch:
                    stall(patch, "_read" if "tls" in parser else "_fill", after)
                    client = await test.connect()
                    await client.send(b"GET /f.bin HTTP/1.1\r\nHost: h\r\n\r\n")
                    with trio.fail_after(20):
                        status, fields = await client.head()
                        if told:
                            assert status == 504
                        else:
                            assert (status, fields["content-length"]) == (200, "1000000")
                            try:
                                got = len(await client.rest())
                            except trio.BrokenResourceError:
                                got = len(client.buffer)
                            assert got < 1_000_000
                    # The thread has the file until the disk lets go.
                    assert sum(known.users for known in files._known.values()) == 1
                    go.set()
                    await until(lambda: not sum(known.users for known in files._known.values()))
        finally:
            go.set()


@pytest.mark.parametrize("parser", ["auto", "h11"])
async def test_a_client_that_goes_leaves_nothing_behind(
    tmp_path: Path, opener: Stalling, parser: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Cancellation at each wait: for a name, for a part, for the client."""
    monkeypatch.setattr(disk, "PATIENCE", 20.0)
    (tmp_path / "f.bin").write_bytes(bytes(20_000_000))
    (tmp_path / "stuck").write_bytes(b"s")
    before = len(os.listdir("/proc/self/fd"))
    go = threading.Event()
    fill = send_file._fill

    def stalling(fd: int, **of: int) -> int:
        go.wait()
        return fill(fd, **of)

    async with rig(parser=parser, routes=[Route(static=Static(root=str(tmp_path)))]) as test:
        files = test.gateway._context.files
        assert (await test.get("/f.bin"))[0] == 200

        async def cut(target: str, reached: object, *, read: bool) -> None:
            client = await test.connect()
            await client.send(f"GET {target} HTTP/1.1\r\nHost: h\r\n\r\n".encode())
            with trio.fail_after(20):
                if read:
                    await client.head()
                else:
                    await until(reached)  # type: ignore[arg-type]
            connection = next(one for one in test.gateway._context.connections if one.busy)
            connection.cancel()
            await until(lambda: connection not in test.gateway._context.connections)

        await cut("/f.bin", None, read=True)
        monkeypatch.setattr(send_file, "_fill", stalling)
        await cut("/f.bin", lambda: files.disk_of(_tree(test)).threads == 1, read=False)
        go.set()
        opener.stalled.add(b"stuck")
        await cut("/stuck", lambda: opener.waiting == 1, read=False)
        opener.go.set()
        await until(lambda: not files.disk_of(_tree(test)).threads)
        assert not any(known.users for known in files._known.values())
        assert not files._jobs
        # What the disk said last is known, though nobody waited for it any more.
        assert (await test.get("/stuck"))[2] == b"s"
        files.close()
    await until(lambda: len(os.listdir("/proc/self/fd")) <= before)


@pytest.mark.parametrize("parser", ["auto", "h11"])
@pytest.mark.parametrize(("number", "status"), [(errno.EMFILE, 503), (errno.EIO, 503), (errno.EACCES, 403)])
async def test_trouble_of_the_system_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, parser: str, number: int, status: int
) -> None:
    (tmp_path / "f").write_bytes(bytes(MAX_SMALL + 1))

    def failing(directory: int, name: bytes, flags: int) -> int:
        if name == b"bad":
            raise OSError(number, os.strerror(number))
        return open_beneath(directory, name, flags)

    monkeypatch.setattr(sites, "open_beneath", failing)
    async with rig(parser=parser, routes=[Route(static=Static(root=str(tmp_path)))]) as test:
        for _ in range(2):
            got, _, body = await test.get("/bad")
            assert got == status
            assert str(tmp_path).encode() not in body
        assert (await test.get("/f"))[0] == 200


async def test_many_who_ask_for_one_name_ask_the_disk_once(tmp_path: Path, opener: Stalling) -> None:
    (tmp_path / "stuck").write_bytes(b"s")
    opener.stalled.add(b"stuck")
    async with rig(routes=[Route(static=Static(root=str(tmp_path)))]) as test:
        disk.PATIENCE = 20.0  # the fixture puts it back
        got = []

        async def get() -> None:
            got.append((await test.get("/stuck"))[2])

        with trio.fail_after(20):
            async with trio.open_nursery() as nursery:
                for _ in range(20):
                    nursery.start_soon(get)
                await until(lambda: opener.waiting == 1)
                await until(lambda: test.gateway._context.in_flight == 20)
                assert opener.waiting == 1
                opener.go.set()
        assert got == [b"s"] * 20


async def test_a_job_that_is_given_up_before_it_has_begun_is_not_done(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(disk, "PATIENCE", 20.0)
    go = threading.Event()
    one = Disk("d")
    took: list[object] = []
    try:
        running = [one.begin(go.wait, took.append) for _ in range(MAX_THREADS)]
        unused: list[bool] = []
        waiting = one.begin(lambda: "done", took.append, lambda: unused.append(True))
        with trio.move_on_after(0.01):
            await one.wait(waiting)
        assert not waiting.done.is_set()  # others may wait for it
        one.give_up(waiting)
        assert (unused, took) == ([True], [])
    finally:
        go.set()
    with trio.fail_after(20):
        for job in running:
            await one.wait(job)
    assert took == [True] * MAX_THREADS
    assert not one.threads
