"""Endpoints that are asked for their health, and names that are asked for their addresses."""

from __future__ import annotations

import logging

import pytest
import trio

from blitz.config import Upstream, UpstreamTls

from .fleet import fleet
from .harness import FakeUpstream, authority, rig, until
from .test_moved_names import Moving, saying
from .test_upstreams import Resolver

QUICK = {"uri": "/up?quick=1", "interval": 0.1, "timeout": 5, "rise": 2, "fall": 2}


async def test_one_that_is_not_well_gets_nothing_until_it_is(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "blitz.upstream")
    async with fleet("a", "b", health=QUICK) as test:
        test["a"].well = 500
        (sick,) = [e for e in test.cluster.endpoints if str(test["a"].server.port) in str(e.address)]
        await until(lambda: not sick.check.up, 15)
        assert await test.spread(6) == {"b": 6}
        assert sum(one.down for one in test.test.gateway._look().upstreams) == 1
        assert test["a"].checks[0].startswith(b"GET /up?quick=1 HTTP/1.1\r\nHost: 127.0.0.1:")
        seen = len(test["a"].checks)
        await until(lambda: len(test["a"].checks) > seen + 3, 15)
        test["a"].well = 204
        await until(lambda: sick.check.up, 15)
        assert await test.spread(6) == {"a": 3, "b": 3}
    lines = [record.getMessage() for record in caplog.records if "health checks" in record.getMessage()]
    assert len(lines) == 2, lines  # once per change
    assert lines[0].endswith("is down: health checks failed 2 times, the last one: status 500")
    assert lines[1].endswith("is up again, health checks say")


async def test_where_all_are_down_they_are_tried_all_the_same() -> None:
    async with fleet("a", "b", health=QUICK) as test:
        test["a"].well = test["b"].well = 503
        await until(lambda: not any(e.check.up for e in test.cluster.endpoints), 15)
        assert await test.spread(4) == {"a": 2, "b": 2}


@pytest.mark.parametrize(
    ("answer", "why"),
    [
        (b"", "connection closed before an answer"),
        (b"nonsense\r\n\r\n", ""),
        (b"HTTP/1.1 200 OK\r\nX: " + b"y" * 100_000, ""),
        (b"HTTP/1.1 103 Early\r\n\r\nHTTP/1.1 302 Found\r\nContent-Length: 0\r\n\r\n", "status 302"),
    ],
)
async def test_what_is_no_good_answer(answer: bytes, why: str) -> None:
    async def script(served: object) -> None:
        await served.head()  # type: ignore[attr-defined]
        await served.send(answer)  # type: ignore[attr-defined]

    async with rig(script, main={"health": QUICK}) as test:
        (endpoint,) = test.gateway._context.runtime.clusters["main"].endpoints
        await until(lambda: not endpoint.check.up, 15)
        assert why in endpoint.check.why
        assert not endpoint.live


async def test_checks_survive_a_reload_and_end_with_the_gateway() -> None:
    async with fleet("a", health=QUICK) as test:
        test["a"].well = 500
        (endpoint,) = test.cluster.endpoints
        await until(lambda: not endpoint.check.up, 15)
        await test.test.gateway.reload(test.test.config)
        (again,) = test.cluster.endpoints
        assert again is not endpoint and not again.check.up
        test["a"].well = 200
        await until(lambda: again.check.up, 15)


def follow(port: int) -> dict[str, Upstream]:
    return {"main": Upstream(endpoints=[f"http://app.example:{port}"], resolve_interval=0.05)}


async def test_all_addresses_of_a_name_are_used_and_followed() -> None:
    name = Moving()
    name.resolver.addresses = ("127.0.0.1", "127.0.0.2")
    async with trio.open_nursery() as nursery:
        await name.open(nursery)
        async with rig(upstreams=follow(name.port)) as test:
            cluster = test.gateway._context.runtime.clusters["main"]
            working = lambda: {str(e.address.host) for e in cluster.endpoints if not e.leaves}  # noqa: E731
            await until(lambda: working() == {"127.0.0.1", "127.0.0.2"}, 15)
            assert {(await test.get())[2] for _ in range(4)} == {b"127.0.0.1", b"127.0.0.2"}
            name.move()
            await until(lambda: working() == {"127.0.0.2"}, 15)
            assert {(await test.get())[2] for _ in range(4)} == {b"127.0.0.2"}
            for turn in range(70):  # places are used again
                name.resolver.addresses = (f"127.0.0.{turn % 5 + 2}",)
                await until(lambda: working() == set(name.resolver.addresses), 15)
            assert len(cluster.endpoints) <= 10
        nursery.cancel_scope.cancel()


async def test_a_resolver_that_stalls_or_fails_stops_nothing() -> None:
    name = Moving()
    async with trio.open_nursery() as nursery:
        await name.open(nursery)
        async with rig(upstreams=follow(name.port)) as test:
            cluster = test.gateway._context.runtime.clusters["main"]
            await until(lambda: any(str(e.address.host) == "127.0.0.1" for e in cluster.endpoints), 15)
            stalled = Stalled()
            trio.socket.set_custom_hostname_resolver(stalled)
            await until(lambda: stalled.asked, 15)
            for _ in range(3):
                assert (await test.get())[2] == b"127.0.0.1"
        nursery.cancel_scope.cancel()


class Stalled(Resolver):
    """Takes questions, and never answers one about a name."""

    def __init__(self) -> None:
        super().__init__()
        self.asked = 0

    async def getaddrinfo(self, host: object, *args: object, **options: object) -> list[object]:  # type: ignore[override]
        self.asked += 1
        await trio.sleep_forever()
        raise AssertionError


async def test_each_address_of_a_name_has_to_prove_that_name() -> None:
    for named, expected in (("app.example", 200), ("127.0.0.1", 502)):
        trio.socket.set_custom_hostname_resolver(Resolver("127.0.0.1"))
        server = FakeUpstream(saying("127.0.0.1"), authority().server_context(named))
        async with trio.open_nursery() as nursery:
            await nursery.start(server.run)
            main = Upstream(
                endpoints=[f"https://app.example:{server.port}"],
                resolve_interval=0.05,
                tls=UpstreamTls(ca=authority().file),
            )
            async with rig(upstreams={"main": main}) as test:
                cluster = test.gateway._context.runtime.clusters["main"]
                await until(lambda: any(e.leaves for e in cluster.endpoints), 15)  # noqa: B023
                assert (await test.get())[0] == expected
            nursery.cancel_scope.cancel()
