"""Requests that are tried again, endpoints that fail at requests, copies: over real sockets."""

from __future__ import annotations

import contextlib
import logging
from pathlib import Path

import pytest
import trio

from blitz.config import Route, Timeouts, Upstream

from .fleet import PARSERS, Fleet, fleet
from .harness import Client, rig, until
from .test_health import listening

BODY = ("Content-Length: 5\r\n\r\nhello",)


@pytest.mark.parametrize("parser", PARSERS)
@pytest.mark.parametrize("how", ["cut", "503", "mute"])
async def test_a_failure_is_tried_elsewhere(how: str, parser: str) -> None:
    retry = {"on": ["connect", "reset", "timeout", "503"], "per_try": 0.3}
    async with fleet("a", "b", route={"retry": retry}, parser=parser) as test:
        await test.spread(4)  # kept connections to both
        bad = test["a"]
        bad.cut, bad.mute, bad.status = how == "cut", how == "mute", 503 if how == "503" else 200
        for method in ("GET", "PUT"):
            fields = BODY if method == "PUT" else ()
            answers = [await test.ask(*fields, method=method) for _ in range(3)]
            assert answers == [(200, "b")] * 3
        assert len(bad.asked) > 2
        assert all(not one.native.active for one in test.cluster.endpoints)


@pytest.mark.parametrize("parser", PARSERS)
async def test_what_is_not_safe_is_not(parser: str) -> None:
    async with fleet("a", "b", route={"retry": {"on": ["reset", "503"]}}, parser=parser) as test:
        test["a"].cut = test["b"].cut = True
        assert (await test.ask(*BODY, method="POST"))[0] == 502
        assert len(test["a"].asked) + len(test["b"].asked) == 1
        test["a"].cut = test["b"].cut = False
        test["a"].status = test["b"].status = 503
        assert (await test.ask(*BODY, method="POST"))[0] == 503
        assert len(test["a"].asked) + len(test["b"].asked) == 2


@pytest.mark.parametrize("parser", PARSERS)
async def test_attempts_are_bounded_and_the_last_answer_is_the_clients(parser: str) -> None:
    async with fleet("a", "b", route={"retry": {"attempts": 3, "on": ["5xx"]}}, parser=parser) as test:
        test["a"].status = test["b"].status = 500
        status, who = await test.ask()
        assert status == 500 and who in ("a", "b")
        assert len(test["a"].asked) + len(test["b"].asked) == 3


async def test_the_budget_bounds_what_is_added() -> None:
    async with fleet("a", route={"retry": {"attempts": 10, "on": ["500"], "budget": "0%"}}) as test:
        test["a"].status = 500
        await test.spread(30)
        assert len(test["a"].asked) == 30 + 10


async def test_an_upstream_that_restarts_is_waited_for(tmp_path: Path) -> None:
    path = tmp_path / "s"
    route = Route(upstream="main", retry={"attempts": 10})  # type: ignore[arg-type]
    async with rig(upstreams={"main": Upstream(endpoints=[f"unix:{path}"])}, routes=[route]) as test:
        (endpoint,) = test.gateway._context.runtime.clusters["main"].endpoints
        answers = []

        async def ask() -> None:
            client = await test.connect()
            await client.send(b"POST / HTTP/1.1\r\nHost: test\r\n\r\n")  # not safe, and nothing was sent
            answers.append((await client.answer())[0])
            await client.stream.aclose()

        async with trio.open_nursery() as nursery:
            nursery.start_soon(ask)
            await until(lambda: endpoint.health.failures >= 2, 15)
            async with listening(path):
                await until(lambda: answers, 15)
        assert answers == [200]


@pytest.mark.parametrize("wait", ["answer", "pause"])
async def test_a_client_that_leaves_in_between_leaves_nothing(wait: str) -> None:
    retry = {"attempts": 10, "on": ["connect", "timeout"], "per_try": 30}
    async with fleet("a", route={"retry": retry}) as test:
        (endpoint,) = test.cluster.endpoints
        test["a"].mute = True
        if wait == "pause":
            endpoint._dialer._look_up._port = 1  # nobody is there
        client = await test.test.connect()
        await client.send(b"GET / HTTP/1.1\r\nHost: test\r\nConnection: close\r\n\r\n")
        await until(lambda: test["a"].asked or endpoint.health.failures > 1, 15)
        for connection in list(test.test.gateway._context.connections):
            connection.nursery.cancel_scope.cancel()  # type: ignore[attr-defined]
        await until(lambda: not test.test.gateway._context.connections, 15)
        assert not endpoint.native.active and not endpoint.live
        await client.stream.aclose()


@pytest.mark.parametrize("parser", PARSERS)
async def test_statuses_that_are_failures_put_an_endpoint_out(
    parser: str, caplog: pytest.LogCaptureFixture
) -> None:
    outlier = {"max_fails": 2, "fail_duration": 60, "status": ["5xx"]}
    caplog.set_level(logging.INFO, "blitz.upstream")
    async with fleet("a", "b", outlier=outlier, parser=parser) as test:
        test["a"].status = 500
        await test.spread(6)
        assert len(test["a"].asked) == 2
        assert await test.spread(6) == {"b": 6}

        await until(lambda: any("is left out" in one.getMessage() for one in caplog.records), 15)
        (state,) = [one for one in test.test.gateway._look().upstreams if one.failing]
        assert (state.ejections, state.address) == (1, f"127.0.0.1:{test['a'].server.port}")
    assert sum("is left out" in record.getMessage() for record in caplog.records) == 1


@pytest.mark.parametrize("parser", PARSERS)
async def test_a_stalled_endpoint_is_put_out_by_its_first_failure(parser: str) -> None:
    timeouts = Timeouts(first_byte=0.2)
    outlier = {"fail_duration": 60}
    async with fleet("a", "b", outlier=outlier, timeouts=timeouts, parser=parser) as test:
        test["a"].mute = True
        assert [status for status in [(await test.ask())[0] for _ in range(6)] if status != 200] == [504]


async def test_no_more_are_left_out_than_may_be() -> None:
    outlier = {"fail_duration": 60, "status": ["5xx"], "max_ejected": "50%"}
    async with fleet("a", "b", outlier=outlier) as test:
        test["a"].status = test["b"].status = 500
        await test.spread(6)
        assert sum(one.is_failing(trio.current_time()) for one in test.cluster.endpoints) == 1


@pytest.mark.parametrize("parser", PARSERS)
async def test_copies_go_to_the_mirror_and_nothing_comes_back(parser: str) -> None:
    async with fleet("a", mirror={"percent": 50}, parser=parser) as test:
        test["mirror"].status = 500
        assert await test.spread(10) == {"a": 10}
        await until(lambda: len(test["mirror"].asked) == 5, 15)
        assert (await test.ask(*BODY, method="PUT"))[0] == (await test.ask(*BODY, method="PUT"))[0] == 200
        await until(lambda: len(test["mirror"].asked) == 6, 15)
        copy = test["mirror"].asked[-1]
        assert copy.startswith(b"PUT / HTTP/1.1\r\n") and copy.endswith(b"\r\n\r\nhello")
        assert b"X-Forwarded-For: 127.0.0.1" in copy


async def test_a_mirror_that_stalls_or_is_gone_slows_nothing() -> None:
    async with fleet("a", mirror={}) as test:
        test["mirror"].mute = True
        await test.spread(80)
        assert _copies(test) == (64, 16, 0)  # bounded
        test["mirror"].cut = True
        assert (await test.ask())[0] == 200


async def test_what_becomes_of_copies_is_counted() -> None:
    async with fleet("a", mirror={}) as test:
        await test.spread(3)
        await until(lambda: len(test["mirror"].asked) == 3, 15)
        test["mirror"].cut = True
        await test.spread(2)
        await until(lambda: _copies(test) == (5, 0, 2), 15)
        # A body that does not come with the head is not kept for a copy.
        async with contextlib.aclosing((await test.test.connect()).stream) as stream:
            client = Client(stream)
            await client.send(b"PUT / HTTP/1.1\r\nHost: a\r\nContent-Length: 90000\r\n\r\n" + b"x" * 90_000)
            assert (await client.answer())[0] == 200
        assert _copies(test) == (5, 1, 2)


def _copies(test: Fleet) -> tuple[int, int, int]:
    """Sent, dropped, failed, as the gateway tells them."""
    counters = test.test.gateway.statistics().counters
    return counters.mirror_sent, counters.mirror_dropped, counters.mirror_failed
