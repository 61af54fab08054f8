"""What is decided about upstreams in C stays on the fast path, and the rest leaves it where it says."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any

import pytest
import trio

from blitz.server.fast_report import FastReports
from blitz.server.handover import Handover

from .fleet import Fleet, fleet
from .harness import Client, until


@contextlib.contextmanager
def handovers(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[Handover]]:
    """Those that happen meanwhile."""
    seen: list[Handover] = []
    made = FastReports.handover

    def note(self: FastReports, report: Any) -> Handover:
        seen.append(made(self, report))
        return seen[-1]

    monkeypatch.setattr(FastReports, "handover", note)
    yield seen
    monkeypatch.undo()


async def warm(test: Fleet, *fields: str) -> None:
    """A kept connection to each endpoint that has rested: the fast path opens none."""
    hold = trio.Event()
    for member in test.members.values():
        member.hold = hold
    async with trio.open_nursery() as nursery:
        for _ in range(4 * len(test.members)):
            nursery.start_soon(test.ask, *fields)
        await until(lambda: sum(len(one.asked) for one in test.members.values()) >= 4 * len(test.members), 15)
        hold.set()


KINDS: list[tuple[str, dict[str, Any], tuple[str, ...], int]] = [
    ("weights", {"weights": {"a": 3}}, (), 0),
    ("least_conn", {"lb": "least_conn"}, (), 0),
    ("random_two", {"lb": "random_two"}, (), 0),
    ("hash", {"lb": "hash", "hash": {"on": "header:x-user"}}, ("X-User: me",), 0),
    ("sticky", {"sticky": {"cookie": "srv"}}, (), 0),
    ("outlier", {"outlier": {"status": ["5xx"], "max_fails": 3}}, (), 0),
    ("split", {"split": {"a": 1, "b": 1}}, (), 0),
    ("retry", {"route": {"retry": {"on": ["503"], "per_try": 20}}}, (), 0),
    ("mirror", {"mirror": {"percent": 25}}, (), 5),
]


@pytest.mark.parametrize(("name", "settings", "fields", "leave"), KINDS, ids=[kind[0] for kind in KINDS])
async def test_it_stays_on_the_fast_path(
    name: str,
    settings: dict[str, Any],
    fields: tuple[str, ...],
    leave: int,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async with fleet("a", "b", **settings) as test:
        await warm(test, *fields)
        with handovers(monkeypatch) as seen:
            async with contextlib.aclosing((await test.test.connect()).stream) as stream:
                client = Client(stream)
                for _ in range(20):
                    status, got, _ = await test.answer(*fields, client=client)
                    assert status == 200
                    assert ("set-cookie" in got) == (name == "sticky")
        assert len(seen) == leave
        clusters = test.test.gateway._context.runtime.clusters.values()
        await until(lambda: not any(e.native.active for c in clusters for e in c.endpoints), 15)


async def test_a_failure_is_handed_over_as_it_stands(monkeypatch: pytest.MonkeyPatch) -> None:
    retry = {"on": ["503", "timeout"], "per_try": 0.2}
    async with fleet("a", "b", route={"retry": retry}) as test:
        await warm(test)
        with handovers(monkeypatch) as seen:
            test["a"].mute = True
            assert {await test.ask() for _ in range(2)} == {(200, "b")}
        assert [begun.answer for begun in seen if begun.upstream is not None] == [None]  # its time was over
        test["a"].mute = False
        await trio.sleep(1.1)  # it is left out for a second
        await warm(test)
        with handovers(monkeypatch) as seen:
            test["a"].status = 503
            assert {await test.ask() for _ in range(2)} == {(200, "b")}
        assert any(begun.answer is not None for begun in seen)  # what came of it is read once more
