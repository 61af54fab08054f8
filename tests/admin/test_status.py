"""Many processes, one truth."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from typing import Any

import msgspec
import pytest

from blitz.admin.merge import merge
from blitz.admin.report import PlaceOnScoreboard, Reporter, ScoreboardOfParent
from blitz.admin.status import Child, EndpointStatus, Lost, Parent, PluginStatus, Reload, Worker
from blitz.measures.counters import Counters, Counting

NOW = time.time()


def worker(pid: int, **more: Any) -> Worker:
    return Worker(pid=pid, **{"state": "serving", "started": NOW - 5, "told": NOW, **more})


def child(pid: int, place: int = 0, **more: Any) -> Child:
    usual = {"process_generation": 1, "slot": place + 1, "restarts": 0, "started": NOW - 5}
    return Child(pid=pid, place=place, **{**usual, "told_to_end": False, **more})


def parent(*children: Child, **more: Any) -> Parent:
    usual = {"pid": 1, "started": NOW - 60, "process_generation": 1, "stopping": False, "restarts": 0}
    return Parent(children=children, **{**usual, **more})


def test_numbers_are_added_up_and_those_of_the_dead_are_kept() -> None:
    one = worker(
        10,
        connections=2,
        in_flight=1,
        plugins={"p": PluginStatus(live=1, calls=7, quarantined=1), "q": PluginStatus(calls=1)},
        upstreams=(EndpointStatus("u", "a:1", live=2, failures=1), EndpointStatus("u", "b:1")),
    )
    two = worker(
        11,
        connections=3,
        plugins={"p": PluginStatus(live=2, calls=8)},
        upstreams=(EndpointStatus("u", "a:1", live=1, failing=1),),
    )
    counters = Counters(exchanges=111, timeouts=1)
    status = merge(parent(child(10), child(11, 1)), [one, two], counters)
    assert (status.connections, status.in_flight) == (5, 1)
    assert status.counters == counters
    assert status.plugins == {
        "p": PluginStatus(live=3, calls=15, quarantined=1),
        "q": PluginStatus(calls=1),
    }
    assert status.upstreams == (
        EndpointStatus("u", "a:1", live=3, failures=1, failing=1),
        EndpointStatus("u", "b:1"),
    )
    assert status.ready
    assert status.uptime >= 60


def test_a_place_without_a_worker_is_shown_and_is_a_reason_where_nobody_serves() -> None:
    lost = Lost(place=1, reason="ended by SIGKILL", failures=3, retry=time.time() + 60)
    status = merge(parent(child(10), lost=(lost,)), [worker(10)])
    (shown,) = status.lost
    assert (shown.place, shown.reason, shown.failures) == (1, "ended by SIGKILL", 3)
    assert 0 < shown.retry_in <= 60
    assert (status.ready, status.trouble) == (True, "")
    status = merge(parent(child(10), lost=(lost,)), [worker(10, state="starting")])
    assert (status.ready, status.trouble) == (False, "starting; worker 1 ended by SIGKILL")
    assert merge(parent(child(10)), [worker(10)]).lost == ()


DRAINED = {"told_to_end": True}


@pytest.mark.parametrize(
    ("stopping", "said", "expected"),
    [
        pytest.param(False, [({}, "serving", "")], "", id="serving"),
        pytest.param(False, [({}, "starting", "")], "starting", id="starting"),
        pytest.param(False, [({}, None, "")], "starting", id="said-nothing-yet"),
        pytest.param(False, [], "there is no worker", id="nobody"),
        pytest.param(False, [({}, "starting", ""), ({}, "serving", "")], "", id="one-is-enough"),
        pytest.param(False, [(DRAINED, "draining", ""), ({}, "serving", "")], "", id="replaced"),
        pytest.param(False, [(DRAINED, "serving", ""), ({}, None, "")], "starting", id="told-to-end"),
        pytest.param(False, [({}, "serving", "no route")], "no route", id="trouble"),
        pytest.param(False, [({}, "serving", "no route"), ({}, "serving", "")], "", id="trouble-of-one"),
        pytest.param(True, [({}, "serving", "")], "draining", id="stopping"),
    ],
)
def test_ready_while_one_worker_takes_requests(stopping: bool, said: list[Any], expected: str) -> None:
    children = [child(place + 1, place, **more) for place, (more, _, _) in enumerate(said)]
    workers = [
        worker(place + 1, state=state, trouble=trouble) if state else None
        for place, (_, state, trouble) in enumerate(said)
    ]
    status = merge(parent(*children, stopping=stopping), workers)
    assert (status.trouble, status.ready) == (expected, not expected)


def test_a_failed_reload_goes_before_those_that_worked() -> None:
    good, bad, later = Reload(1.0, "signal", ""), Reload(2.0, "signal", "no"), Reload(3.0, "call", "")
    children = [child(1), child(2, 1), child(3, 2)]
    told = [worker(1, last_reload=good), worker(2, last_reload=bad), worker(3, last_reload=later)]
    assert merge(parent(*children), told).last_reload == bad
    assert merge(parent(*children[::2]), told[::2]).last_reload == later
    assert merge(parent(child(9)), [worker(9)]).last_reload is None


def test_an_upgrade_is_the_last_reload_until_a_later_one() -> None:
    upgrade = Reload(2.0, "upgrade", "did not serve in time")
    one = parent(child(1), child(2, 1), last_upgrade=upgrade)
    before, after = Reload(1.0, "signal", "no"), Reload(3.0, "signal", "")
    assert merge(one, [worker(1), worker(2, last_reload=before)]).last_reload == upgrade
    assert merge(one, [worker(1, last_reload=after), worker(2, last_reload=before)]).last_reload == before
    assert merge(one, [worker(1, last_reload=after), worker(2)]).last_reload == after


def test_a_status_is_json_and_comes_back() -> None:
    status = merge(parent(child(1), child(2, 1)), [worker(1, last_reload=Reload(1.0, "call", "no")), None])
    assert msgspec.json.decode(msgspec.json.encode(status), type=type(status)) == status


# ---------------------------------------------------------------- reporters over one scoreboard


@pytest.fixture
def scoreboard() -> Iterator[ScoreboardOfParent]:
    scoreboard = ScoreboardOfParent(1)
    yield scoreboard
    scoreboard.close()


def tell(scoreboard: ScoreboardOfParent, *children: Child) -> None:
    scoreboard.tell(children, process_generation=1, stopping=False, restarts=0)


def reporter(place: PlaceOnScoreboard, said: Worker, exchanges: int = 0) -> Reporter:
    made = Reporter(place)
    made.look = lambda: said
    Counting(made.measures).exchanges += exchanges
    return made


def test_each_process_sees_what_the_others_say(scoreboard: ScoreboardOfParent) -> None:
    places = [scoreboard.take(), scoreboard.take()]
    reporters = [reporter(place, worker(pid), exchanges=pid) for pid, place in enumerate(places, 10)]
    tell(scoreboard, *(child(pid, slot=place.slot) for pid, place in enumerate(places, 10)))
    reporters[1].publish()
    assert reporters[0].status().counters.exchanges == 21
    assert reporters[1].status().counters.exchanges == 21  # the first has spoken by being asked


def test_what_a_worker_counted_outlives_it_once(scoreboard: ScoreboardOfParent) -> None:
    place = scoreboard.take()
    reporter(place, worker(10), exchanges=7).publish()
    scoreboard.give_back(place.slot)
    heir = scoreboard.take()
    assert heir.slot == place.slot
    tell(scoreboard, child(11, slot=heir.slot))
    after = reporter(heir, worker(11), exchanges=1)
    assert after.status().counters.exchanges == 8
    assert after.status().counters.exchanges == 8


def test_a_slot_of_another_process_is_not_taken_for_ones_own(scoreboard: ScoreboardOfParent) -> None:
    place = scoreboard.take()
    reporter(place, worker(10, connections=7)).publish()
    tell(scoreboard, child(99, slot=place.slot), child(12, slot=-1))
    nowhere = PlaceOnScoreboard(scoreboard.scoreboard, -1, place.measures, place.notices)
    status = reporter(nowhere, worker(12)).status()
    assert [one.state for one in status.workers] == ["starting", "serving"]
    assert status.connections == 0


def test_more_workers_than_slots_are_still_listed(scoreboard: ScoreboardOfParent) -> None:
    places = [scoreboard.take() for _ in range(30)]
    assert [place.slot for place in places].count(-1) == 30 - 20
    assert len({place.slot for place in places}) == 21
    Reporter(places[-1]).publish()


def test_a_gateway_with_thousands_of_endpoints_still_reports(scoreboard: ScoreboardOfParent) -> None:
    place = scoreboard.take()
    endpoints = tuple(EndpointStatus("u" * 60, f"10.0.0.1:{port}") for port in range(3000))
    reporter(place, worker(10, connections=5, upstreams=endpoints)).publish()
    tell(scoreboard, child(10, slot=place.slot))
    other = reporter(scoreboard.take(), worker(11)).status()
    assert (other.connections, other.upstreams) == (5, ())


def test_without_a_board_a_process_speaks_for_itself() -> None:
    alone = Reporter()
    assert alone.why_not_ready() == "starting"
    alone.look = lambda: worker(os.getpid())
    assert alone.why_not_ready() == ""
    assert [one.pid for one in alone.status().workers] == [os.getpid()]
