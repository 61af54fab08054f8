"""Clients that were checked a moment ago are let pass on the fast path: those, as the general path would."""

from __future__ import annotations

import json
import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from blitz.config import Auth, BasicAuth, Cors, JwtAuth, Log, RateLimit, Route
from blitz.config.route_keys import HeaderEdits, Redirect
from blitz.server.run_exchange import run_exchange

from ..builtin.issuer import AUDIENCE, ISSUER, claims, jwks, key, token
from .harness import Client, Rig, Served, rig
from .test_basic_auth import CHEAP, credentials
from .test_jwt import bearer


async def echo(served: Served) -> None:
    """Answers with the head that reached it, in one piece: several may be the general path's."""
    while True:
        head = await served.head()
        await served.send(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(head) + head)


EDITS = HeaderEdits(set={"x-who": "${identity} ${jwt.iss}"})


@pytest.fixture
def general(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The exchanges that the general path has had."""
    seen: list[str] = []

    async def counted(exchange: Any, *args: Any) -> bool:
        seen.append(exchange.method.decode())
        return await run_exchange(exchange, *args)

    monkeypatch.setattr("blitz.server.connection.run_exchange", counted)
    return seen


@pytest.fixture
def auth(tmp_path: Path) -> dict[str, Auth]:
    keys, users = tmp_path / "keys.json", tmp_path / "users"
    keys.write_bytes(jwks(key("P-256")))
    users.write_bytes(b"ada:" + CHEAP + b"\n")
    jwt = JwtAuth(
        jwks_file=str(keys),
        issuer=ISSUER,
        audiences=[AUDIENCE],
        algorithms=["ES256"],
        headers={"x-user": "sub"},
        remove_credentials=True,
    )
    basic = BasicAuth(users_file=str(users), header="x-user")
    return {"idp": Auth(jwt=jwt), "staff": Auth(basic=basic), "either": Auth(any=["idp", "staff"])}


def bearing(name: str = "ada", **more: Any) -> dict[str, str]:
    return {"authorization": bearer(token(claims(sub=name, **more), kind="P-256"))}


async def ask(test: Rig, client: Client, **fields: str) -> tuple[int, dict[str, str]]:
    """Status, and the fields that reached the upstream."""
    lines = "".join(f"{name}: {value}\r\n" for name, value in fields.items())
    await client.send(f"GET / HTTP/1.1\r\nHost: a\r\n{lines}\r\n".encode())
    status, _, body = await client.answer()
    found = [line.partition(": ") for line in body.decode().split("\r\n")[1:] if line]
    return status, {name.lower(): value for name, _, value in found} if status == 200 else {}


@pytest.mark.parametrize("way", ["idp", "staff"])
async def test_one_that_is_known_stays_on_the_fast_path(
    auth: dict[str, Auth], general: list[str], way: str, capfd: pytest.CaptureFixture[str]
) -> None:
    fields = bearing() if way == "idp" else {"authorization": credentials("ada", "lovelace")}
    route = Route(upstream="main", auth=way, request_headers=EDITS)
    async with rig(echo, auth=auth, routes=[route], log=Log(access="json")) as test:
        client = await test.connect()
        asked = [await ask(test, client, **fields, **{"x-user": "root", "x_user": "root"}) for _ in range(6)]
        first, rest = general.index("GET"), len(general)
        assert first == 0 and rest <= 2  # the first is checked; another may have had to open a connection
        for status, reached in asked:
            assert status == 200
            assert reached["x-user"] == "ada" and "x_user" not in reached and "authorization" not in reached
            assert reached["x-who"] == ("ada " + ISSUER if way == "idp" else "ada")
        # Whoever comes next on the connection is nobody.
        assert (await ask(test, client))[0] == 401
        await client.stream.aclose()
    lines = [json.loads(line) for line in capfd.readouterr().out.splitlines()]
    assert [line.get("identity") for line in lines] == ["ada"] * 6 + [None]


async def test_any_mixture_of_clients_is_told_apart(auth: dict[str, Auth], general: list[str]) -> None:
    chance = random.Random(5)
    good = {name: bearing(name) for name in ("ada", "bob", "eve")}
    wrong = good["ada"]["authorization"]
    kinds: list[tuple[dict[str, str], str]] = [
        *((fields, name) for name, fields in good.items()),
        ({}, ""),
        ({"authorization": wrong[:-4] + "AAAA"}, ""),
        ({"authorization": wrong + "."}, ""),
        ({"authorization": wrong.replace("Bearer", "Basic")}, ""),
        (bearing("ada", exp=1), ""),
        (bearing("ada", aud="other"), ""),
    ]
    route = Route(upstream="main", auth="idp", request_headers=EDITS)
    async with rig(echo, auth=auth, routes=[route]) as test:
        clients = [await test.connect() for _ in range(3)]
        for _ in range(120):
            fields, name = chance.choice(kinds)
            status, reached = await ask(test, chance.choice(clients), **fields)
            assert status == (200 if name else 401), fields
            if name:
                assert (reached["x-user"], reached["x-who"]) == (name, f"{name} {ISSUER}")
        assert len(general) < 120
        for client in clients:
            await client.stream.aclose()


async def test_a_token_that_ends_lets_nobody_pass(
    auth: dict[str, Auth], general: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    async with rig(echo, auth=auth, routes=[Route(upstream="main", auth="idp")]) as test:
        client, fields = await test.connect(), bearing()
        for _ in range(4):
            assert (await ask(test, client, **fields))[0] == 200
        import time

        later = time.time() + 10_000
        monkeypatch.setattr("time.time", lambda: later)
        assert (await ask(test, client, **fields))[0] == 401
        await client.stream.aclose()


BEHIND: list[tuple[str, Callable[[], Route]]] = [
    ("any", lambda: Route(upstream="main", auth="either")),
    ("cors", lambda: Route(upstream="main", auth="idp", cors=Cors(origins=["https://a.example"]))),
    ("rate", lambda: Route(upstream="main", auth="idp", rate_limit=RateLimit(rate="1000/s"))),
    ("list", lambda: Route(upstream="main", auth="idp", ip_allow=["127.0.0.0/8"])),
    ("size", lambda: Route(upstream="main", auth="idp", max_body_size=10)),
    ("redirect", lambda: Route(upstream="main", auth="idp", redirect=Redirect(scheme="http"))),
]


@pytest.mark.parametrize(("name", "made"), BEHIND, ids=[name for name, _ in BEHIND])
async def test_what_else_stands_in_front_is_asked(
    auth: dict[str, Auth], general: list[str], name: str, made: Callable[[], Route]
) -> None:
    async with rig(echo, auth=auth, routes=[made()]) as test:
        client, fields = await test.connect(), bearing()
        for _ in range(3):
            assert (await ask(test, client, **fields))[0] == 200
        assert len(general) == 3
        await client.stream.aclose()


async def test_what_is_handed_over_afterwards_is_not_asked_again(
    auth: dict[str, Auth], general: list[str], capfd: pytest.CaptureFixture[str]
) -> None:
    """The upstream connection is gone, so the general path opens another one: the token is gone as well."""
    route = Route(upstream="main", auth="idp", request_headers=EDITS)
    async with rig(echo, auth=auth, routes=[route], log=Log(access="json")) as test:
        client, fields = await test.connect(), bearing()
        for _ in range(3):
            assert (await ask(test, client, **fields))[0] == 200
        for endpoint in test.gateway._context.runtime.clusters["main"].endpoints:
            endpoint.expire_idle(float("inf"))
        before = len(general)
        status, reached = await ask(test, client, **fields)
        assert (status, reached["x-who"]) == (200, f"ada {ISSUER}")
        assert len(general) == before + 1
        await client.stream.aclose()
    lines = [json.loads(line) for line in capfd.readouterr().out.splitlines()]
    assert [line.get("identity") for line in lines] == ["ada"] * 4
