"""``rate_limit`` of a route in a running gateway: whose requests count together, what clients are told."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from blitz._native import lib
from blitz.builtin.rate_limit import network_of
from blitz.config import Auth, BasicAuth, RateLimit, Route
from blitz.config.rates import Rate, parse_rate

from .harness import rig
from .test_basic_auth import CHEAP, credentials

PARSERS = ["auto", "h11"]


@pytest.mark.parametrize("parser", PARSERS)
async def test_over_the_rate_the_answer_is_429(parser: str) -> None:
    limit = RateLimit(rate="3/m")
    routes = [
        Route(upstream="main", rate_limit=limit),
        Route(upstream="main", path_prefix="/other", rate_limit=limit),
        Route(upstream="main", path_prefix="/free"),
    ]
    async with rig(parser=parser, routes=routes) as test:
        for left in (2, 1, 0):
            status, fields, _ = await test.get()
            assert status == 200
            assert fields["ratelimit-policy"] == '"default";q=3;w=60'
            assert fields["ratelimit"].startswith(f'"default";r={left};t=')
            assert fields["x-ratelimit-limit"] == "3"
            assert fields["x-ratelimit-remaining"] == str(left)
            assert 0 <= int(fields["x-ratelimit-reset"]) <= 60
        for _ in range(2):
            status, fields, _ = await test.get()
            assert status == 429
            assert 1 <= int(fields["retry-after"]) <= 20
            assert fields["x-ratelimit-remaining"] == "0"
            assert fields["ratelimit"] == f'"default";r=0;t={fields["x-ratelimit-reset"]}'
        assert (await test.get("/other"))[0] == 200
        status, fields, _ = await test.get("/free")
        assert status == 200
        assert "ratelimit" not in fields


async def test_a_burst_is_its_own() -> None:
    async with rig(routes=[Route(upstream="main", rate_limit=RateLimit(rate="600/m", burst=2))]) as test:
        client = await test.connect()
        await client.send(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n" * 4)
        statuses = [(await client.answer())[0] for _ in range(4)]
        assert statuses[:2] == [200, 200]
        assert 429 in statuses


async def test_by_a_field_and_else_by_address() -> None:
    limit = RateLimit(rate="1/m", key="header:X-Key")
    async with rig(routes=[Route(upstream="main", rate_limit=limit)]) as test:
        assert [(await test.get(x_key="a"))[0] for _ in range(2)] == [200, 429]
        assert [(await test.get(x_key="b" * 4000))[0] for _ in range(2)] == [200, 429]
        # What one kind of key says cannot spend another kind's.
        assert (await test.get(x_key="127.0.0.1"))[0] == 200
        assert [(await test.get())[0] for _ in range(2)] == [200, 429]


async def test_by_identity(tmp_path: Path) -> None:
    (tmp_path / "users").write_bytes(b"ada:" + CHEAP + b"\nbob:" + CHEAP)
    basic = BasicAuth(users_file=str(tmp_path / "users"))
    limit = RateLimit(rate="2/m", key="identity")
    routes = [Route(upstream="main", auth="staff", rate_limit=limit)]
    async with rig(auth={"staff": Auth(basic=basic)}, routes=routes) as test:
        for name in ("ada", "bob"):
            given = credentials(name, "lovelace")
            assert [(await test.get(authorization=given))[0] for _ in range(3)] == [200, 200, 429]
        # Who is not let pass spends nothing.
        assert (await test.get())[0] == 401


def test_clients_are_networks() -> None:
    assert network_of("192.0.2.7") == "192.0.2.7"
    assert network_of("2001:db8:1:2:3:4:5:6") == network_of("2001:db8:1:2:ffff::1") == "2001:db8:1:2::"
    assert network_of("2001:db8:1:3::1") != network_of("2001:db8:1:2::1")
    assert network_of("::ffff:192.0.2.7") == "192.0.2.7"
    assert network_of("") == ""


SPELLINGS = [
    ("100/m", 100, 60),
    ("10/s", 10, 1),
    ("10 req/s", 10, 1),
    ("100 requests per minute", 100, 60),
    ("100/h", 100, 3600),
    ("5 per day", 5, 86_400),
    ("1/2m", 1, 120),
    ("20 / 10 s", 20, 10),
    ("7/366d", 7, 366 * 86_400),
    ("1000000/s", 1_000_000, 1),
]


@pytest.mark.parametrize(("text", "count", "seconds"), SPELLINGS)
def test_spellings(text: str, count: int, seconds: int) -> None:
    assert parse_rate(text) == Rate(count, seconds)


@given(st.integers(1, 10**9), st.integers(1, 366 * 86_400))
def test_no_more_pass_than_was_said(count: int, seconds: int) -> None:
    """Rounded up, by less than a nanosecond for each."""
    interval = lib.blitz_rate_interval(count, seconds)
    assert 0 <= interval * count - seconds * 10**9 < count


@pytest.mark.parametrize(
    "text",
    ["", "10", "/s", "10/", "0/s", "-1/s", "1.5/s", "10/x", "10/ms", "9/0s", "1/367d", "1000001/s", "9/-1s"],
)
def test_spellings_that_are_none(text: str) -> None:
    with pytest.raises(ValueError, match=r"^[^\n]+$"):
        parse_rate(text)
