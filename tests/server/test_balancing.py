"""Which endpoint gets a request, over real sockets; the rules are ``tests/routing/test_choice.py``'s."""

from __future__ import annotations

from collections import Counter

import pytest
import trio

from blitz.config import Timeouts
from blitz.server.sticky import token_of

from .fleet import PARSERS, fleet
from .harness import until


@pytest.mark.parametrize("parser", PARSERS)
@pytest.mark.parametrize("lb", ["round_robin", "least_conn"])
async def test_weights_are_shares(lb: str, parser: str) -> None:
    async with fleet("a", "b", weights={"a": 3}, lb=lb, parser=parser) as test:
        assert await test.spread(16) == {"a": 12, "b": 4}
        assert all(not one.native.active for one in test.cluster.endpoints)


@pytest.mark.parametrize("lb", ["least_conn", "random_two"])
@pytest.mark.parametrize("parser", PARSERS)
async def test_a_busy_endpoint_is_spared(lb: str, parser: str) -> None:
    async with fleet("a", "b", lb=lb, parser=parser) as test:
        test["a"].hold = trio.Event()
        async with trio.open_nursery() as nursery:
            while not test["a"].asked:
                nursery.start_soon(test.ask)
                await trio.sleep(0.02)
            before = len(test["a"].asked)
            assert await test.spread(10) == {"b": 10}
            assert len(test["a"].asked) == before
            test["a"].hold.set()


@pytest.mark.parametrize("parser", PARSERS)
@pytest.mark.parametrize(
    ("on", "line"), [("header:x-user", "X-User: {}"), ("cookie:who", "Cookie: a=b; who={}")]
)
async def test_equal_keys_meet_at_one_endpoint(on: str, line: str, parser: str) -> None:
    async with fleet("a", "b", "c", lb="hash", hash={"on": on}, parser=parser) as test:
        homes = {key: await test.spread(3, line.format(key)) for key in range(12)}
        assert all(len(found) == 1 for found in homes.values())
        assert len({next(iter(found)) for found in homes.values()}) > 1
        assert len(await test.spread(6)) > 1  # without a key: whoever is free, in turn


@pytest.mark.parametrize("parser", PARSERS)
async def test_a_client_and_a_path_are_keys_too(parser: str) -> None:
    async with fleet("a", "b", "c", lb="hash", parser=parser) as test:
        assert len(await test.spread(6)) == 1
    async with fleet("a", "b", "c", lb="hash", hash={"on": "path"}, parser=parser) as test:
        found = {}
        for path in range(12):
            seen = {(await test.answer(target=f"/{path}?q={query}"))[2] for query in range(2)}
            assert len(seen) == 1
            found[path] = seen.pop()
        assert len(set(found.values())) > 1


@pytest.mark.parametrize("parser", PARSERS)
async def test_a_sticky_cookie_leads_back_and_tells_nothing(parser: str) -> None:
    async with fleet("a", "b", "c", sticky={"cookie": "srv"}, parser=parser) as test:
        first = [await test.answer() for _ in range(3)]
        assert {who for _, _, who in first} == {"a", "b", "c"}
        for _, fields, who in first:
            cookie, *attributes = [part.strip() for part in fields["set-cookie"].split(";")]
            assert attributes == ["Path=/", "HttpOnly", "SameSite=Lax"]
            assert set(cookie.removeprefix("srv=")) <= set("0123456789abcdef")
            assert len(cookie) == len("srv=") + 32
            for _ in range(3):
                status, again, same = await test.answer(f"Cookie: x=1; {cookie}")
                assert (status, same) == (200, who) and "set-cookie" not in again
        for nonsense in ("srv=", "srv=127.0.0.1", "srv=" + "0" * 32, "srv=" + "x" * 4000):
            status, fields, _ = await test.answer(f"Cookie: {nonsense}")
            assert status == 200 and fields["set-cookie"].startswith("srv=")
        # One that does not work is not gone to, and the client gets another cookie.
        cookie = first[0][1]["set-cookie"].split(";")[0]
        dead = next(e for e in test.cluster.endpoints if str(test[first[0][2]].server.port) in str(e.address))
        dead.native.fails_until = trio.current_time() + 100
        _, fields, who = await test.answer(f"Cookie: {cookie}")
        assert who != first[0][2] and "set-cookie" in fields


async def test_equal_secrets_make_equal_cookies() -> None:
    cookies = set()
    for secret in ("0123456789abcdef", "0123456789abcdef", "fedcba9876543210"):
        async with fleet("a", sticky={"cookie": "srv", "secret": secret}) as test:
            (endpoint,) = test.cluster.endpoints
            assert (await test.answer())[1]["set-cookie"].startswith(
                f"srv={token_of(secret, 'main', str(endpoint.address))};"
            )
            cookies.add(token_of(secret, "main", "10.0.0.1:80"))
    assert len(cookies) == 2


@pytest.mark.parametrize("parser", PARSERS)
async def test_a_canary_gets_its_share(parser: str) -> None:
    async with fleet("v1", "v2", split={"v1": 9, "v2": 1}, parser=parser) as test:
        assert await test.spread(20) == {"v1": 18, "v2": 2}
        assert (await test.ask("Content-Length: 3\r\n\r\nabc", method="POST"))[0] == 200


async def test_a_weight_of_zero_gets_nothing() -> None:
    async with fleet("v1", "v2", split={"v1": 1, "v2": 0}) as test:
        assert await test.spread(6) == {"v1": 6}


async def test_who_waits_for_a_connection_is_bounded() -> None:
    async with fleet("a", max_connections=1, max_pending=2, timeouts=Timeouts(connect=15)) as test:
        hold = test["a"].hold = trio.Event()
        answers: Counter[int] = Counter()

        async def ask() -> None:
            answers[(await test.ask())[0]] += 1

        async with trio.open_nursery() as nursery:
            for _ in range(6):
                nursery.start_soon(ask)
            await until(lambda: answers[503] == 3, 15)  # at once, while the others wait
            assert answers == {503: 3}
            hold.set()
        assert answers == {503: 3, 200: 3}
