"""The built-in rate limiter across reloads: what is configured now decides the next request."""

from __future__ import annotations

from typing import Any

from blitz.config import Answer, Config, Plugin, Route

from ..cli.commands import PLUGINS
from .harness import Client, Rig, rig


def limited(**config: Any) -> Config:
    limiter = Plugin(name="rate_limiter", file=str(PLUGINS / "rate_limiter.wasm"), config=config)
    return Config(listen=["127.0.0.1:0"], routes=[Route(answer=Answer(200))], plugins=[limiter])


async def statuses(test: Rig, n: int, **headers: str) -> list[int]:
    return [(await test.get(**headers))[0] for _ in range(n)]


async def start(test: Rig, **config: Any) -> None:
    await test.gateway.reload(limited(**config))


async def test_a_raised_rate_and_a_lowered_one_hold_with_the_next_request() -> None:
    async with rig() as test:
        await start(test, requests_per_minute=1, burst=5)
        assert await statuses(test, 6) == [200] * 5 + [429]
        await start(test, requests_per_minute=100, burst=5)
        status, fields, _ = await test.get()
        assert status == 200 or int(fields["retry-after"]) <= 1
        await start(test, requests_per_minute=1, burst=2)
        status, fields, _ = await test.get()
        while status == 200:
            status, fields, _ = await test.get()
        assert 1 < int(fields["retry-after"]) <= 60
        await start(test, requests_per_minute=1_000_000, burst=5)
        assert await statuses(test, 3) == [200] * 3


async def test_another_key_counts_anew() -> None:
    async with rig() as test:
        await start(test, requests_per_minute=1, burst=1, key="header:x-tenant")
        assert await statuses(test, 2, x_tenant="7", x_user="7") == [200, 429]
        await start(test, requests_per_minute=1, burst=1, key="header:x-user")
        assert await statuses(test, 2, x_tenant="7", x_user="7") == [200, 429]
        await start(test, requests_per_minute=1, burst=1, key="address")
        assert await statuses(test, 2, x_tenant="7", x_user="7") == [200, 429]


async def test_a_client_that_stays_is_under_the_new_limit() -> None:
    """Its connection was opened under the old one."""
    async with rig() as test:
        await start(test, requests_per_minute=1, burst=1)
        client = await test.connect()
        assert await ask(client) == 200
        assert await ask(client) == 429
        await start(test, requests_per_minute=1_000_000, burst=100)
        assert await ask(client) == 200


async def ask(client: Client) -> int:
    await client.send(b"GET / HTTP/1.1\r\nHost: test\r\n\r\n")
    return (await client.answer())[0]
