"""Who gets a request: shares by weight, keys that stay where they are, endpoints that are left out."""

from __future__ import annotations

import random
from collections import Counter

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from blitz._native import ffi, lib

from .clusters import Endpoints, request_of

WEIGHTS = st.lists(st.integers(1, 20), min_size=1, max_size=8)


@given(WEIGHTS, st.integers(1, 300))
def test_round_robin_is_fair_in_every_row_of_requests(weights: list[int], many: int) -> None:
    cluster = Endpoints("round_robin", weights)
    taken = [cluster.take() for _ in range(many)]
    total = sum(weights)
    for begin in (0, many // 3):
        row = taken[begin:]
        got = Counter(row)
        for index, weight in enumerate(weights):
            assert abs(got[index] - len(row) * weight / total) <= len(weights)
    if many >= total:
        assert Counter(taken[:total]) == Counter(dict(enumerate(weights)))  # a round is exact


@given(
    st.sampled_from(["round_robin", "least_conn", "random_two", "hash"]), WEIGHTS, st.integers(0, 2**64 - 1)
)
def test_choosing_changes_nothing(lb: str, weights: list[int], seed: int) -> None:
    cluster = Endpoints(lb, weights, random=seed)
    for _ in range(5):
        assert cluster.choose() == cluster.choose() == cluster.take()


@given(WEIGHTS, st.randoms(use_true_random=False))
def test_least_conn_never_takes_one_that_is_busier_for_its_weight(
    weights: list[int], chance: random.Random
) -> None:
    cluster = Endpoints("least_conn", weights)
    running: list[int] = []
    for _ in range(100):
        if running and chance.random() < 0.4:
            cluster.end(running.pop(chance.randrange(len(running))))
        loads = [one.active / one.weight for one in cluster.endpoints]
        index = cluster.take()
        assert loads[index] == min(loads)
        running.append(index)


@given(st.integers(1, 2000), st.integers(0, 2))
def test_what_cookies_and_keys_took_is_not_made_up_for(many: int, index: int) -> None:
    cluster = Endpoints("round_robin", [1, 1, 1])
    for _ in range(many):
        lib.blitz_cluster_take(cluster.native, index, 0.0)  # chosen by other means
    got = Counter(cluster.take() for _ in range(12))
    assert got[index] >= 2


def test_least_conn_without_load_goes_round_by_weight() -> None:
    cluster = Endpoints("least_conn", [3, 1])
    taken = []
    for _ in range(80):
        taken.append(cluster.take())
        cluster.end(taken[-1])
    assert Counter(taken) == {0: 60, 1: 20}


@pytest.mark.parametrize("weights", [[1, 1, 1, 1], [1, 2, 3, 4]])
def test_random_two_spreads_by_weight_and_avoids_the_busy_one(weights: list[int]) -> None:
    cluster = Endpoints("random_two", weights, random=11)
    got: Counter[int] = Counter()
    for _ in range(8000):
        index = cluster.take()
        cluster.end(index)
        got[index] += 1
    for index, weight in enumerate(weights):
        assert got[index] / 8000 == pytest.approx(weight / sum(weights), abs=0.03)
    cluster.endpoints[0].active = 1000
    assert all(cluster.take() != 0 for _ in range(200))


KEYS = [f"user-{index}" for index in range(1500)]


def homes(names: list[str], weights: list[float]) -> dict[str, str]:
    """Where each of KEYS goes."""
    cluster = Endpoints("hash", weights, names, hash_on=lib.BLITZ_HASH_HEADER)
    name = ffi.from_buffer(b"x-user")
    cluster.native.hash_name = {"ptr": ffi.cast("uint8_t *", name), "len": 6}
    found = {}
    for key in KEYS:
        with request_of(("X-User", key)) as exchange:
            found[key] = names[cluster.choose(exchange=exchange)]
    return found


@settings(max_examples=8, deadline=None)
@given(st.integers(2, 7), st.integers(0, 6), st.booleans())
def test_an_endpoint_that_leaves_moves_its_own_keys_and_no_others(
    many: int, leaves: int, heavy: bool
) -> None:
    names = [f"10.1.0.{index}:80" for index in range(many)]
    weights = [1.0 + 2 * (heavy and index == 0) for index in range(many)]
    gone = leaves % many
    before = homes(names, weights)
    after = homes(names[:gone] + names[gone + 1 :], weights[:gone] + weights[gone + 1 :])
    assert {key for key in KEYS if before[key] != after[key]} == {
        key for key in KEYS if before[key] == names[gone]
    }
    # The other way round it is one that comes: it takes keys, and nothing moves between the others.


def test_keys_are_spread_by_weight_whatever_the_order_of_endpoints() -> None:
    names, weights = ["a:1", "b:1", "c:1"], [1.0, 2.0, 3.0]
    found = homes(names, weights)
    got = Counter(found.values())
    for name, weight in zip(names, weights, strict=True):
        assert got[name] / len(KEYS) == pytest.approx(weight / 6, abs=0.05)
    assert homes(names[::-1], weights[::-1]) == found


@given(st.lists(st.integers(1, 5), min_size=2, max_size=6), st.integers(1, 400))
def test_the_load_of_one_key_is_bounded(weights: list[int], many: int) -> None:
    cluster = Endpoints("hash", weights, hash_on=lib.BLITZ_HASH_PATH)
    total = sum(weights)
    with request_of(target="/the/same?x=1") as exchange:
        for sent in range(1, many + 1):
            index = cluster.take(exchange=exchange)
            one = cluster.endpoints[index]
            assert one.active <= max(8, 1.25 * sent * one.weight / total + 1)


@pytest.mark.parametrize(
    ("fields", "target", "same"),
    [
        ((("Cookie", "a=1; s=x")), "/", (("Cookie", "s=x; other=7"))),
        ((("Cookie", "  s=x ;b=2")), "/q", (("Cookie", "s=x"))),
    ],
)
def test_a_cookie_is_found_wherever_it_stands(
    fields: tuple[str, str], target: str, same: tuple[str, str]
) -> None:
    cluster = Endpoints("hash", [1] * 7, hash_on=lib.BLITZ_HASH_COOKIE)
    name = ffi.from_buffer(b"s")
    cluster.native.hash_name = {"ptr": ffi.cast("uint8_t *", name), "len": 1}
    with request_of(fields, target=target) as one, request_of(same) as other:
        assert cluster.choose(exchange=one) == cluster.choose(exchange=other)
    seen = set()
    for value in range(60):
        with request_of(("Cookie", f"xs=0; s={value}")) as exchange:
            seen.add(cluster.choose(exchange=exchange))
    assert len(seen) == 7


@given(
    st.integers(1, 9),
    st.floats(0, 1),
    st.integers(1, 4),
    st.lists(st.tuples(st.integers(0, 8), st.floats(0, 3)), max_size=120),
)
def test_never_more_are_left_out_than_may_be(
    many: int, share: float, fails: int, events: list[tuple[int, float]]
) -> None:
    cluster = Endpoints("round_robin", [1] * many, max_ejected=share, max_fails=fails, fail_duration=10.0)
    now = 100.0
    for index, later in events:
        now += later
        cluster.fail(index % many, now)
        assert cluster.ejected(now) <= max(1, int(share * many + 1e-9))
        chosen = cluster.choose(now)
        if cluster.ejected(now) < many:
            assert cluster.endpoints[chosen].fails_until <= now


def test_failures_count_within_their_time_only() -> None:
    cluster = Endpoints("round_robin", [1, 1], max_fails=3, fail_duration=10.0)
    assert not any(cluster.fail(0, now) for now in (0.0, 5.0, 11.0, 12.0))  # the first two are forgotten
    assert cluster.fail(0, 13.0) and not cluster.fail(0, 14.0)
    assert [cluster.take(now) for now in (14.0, 22.9)] == [1, 1]
    assert 0 in (cluster.take(23.1), cluster.take(23.1))


@given(st.floats(0.5, 60), st.integers(2, 6))
def test_one_that_is_back_gets_its_share_step_by_step(slow: float, many: int) -> None:
    cluster = Endpoints("round_robin", [1] * many, slow_start=slow)
    cluster.endpoints[0].fails_until = 50.0

    def share(now: float) -> float:
        return sum(cluster.take(now) == 0 for _ in range(400)) / 400

    assert share(49.0) == 0
    at_once, halfway, later = share(50.0), share(50.0 + slow / 2), share(50.0 + slow * 1.01)
    assert at_once == pytest.approx(0.1 / (many - 0.9), abs=0.02)
    assert halfway == pytest.approx(0.5 / (many - 0.5), abs=0.02)
    assert later == pytest.approx(1 / many, abs=0.02)


@given(st.lists(st.floats(0, 100), min_size=1, max_size=6).filter(any), st.integers(1, 300))
def test_upstreams_of_a_route_share_its_requests_by_weight(weights: list[float], many: int) -> None:
    given_weights, accounts = ffi.new("double[]", weights), ffi.new("double[]", len(weights))
    split = ffi.new("blitz_split *", {"n": len(weights), "weights": given_weights, "accounts": accounts})
    got: Counter[int] = Counter()
    for sent in range(1, many + 1):
        index = lib.blitz_split_choose(split)
        lib.blitz_split_take(split, index)
        got[index] += 1
        for one, weight in enumerate(weights):
            assert abs(got[one] - sent * weight / sum(weights)) <= len(weights) - 1 + 1e-6


@given(st.floats(0.1, 100), st.integers(1, 300))
def test_copies_are_the_share_that_was_asked_for(percent: float, many: int) -> None:
    mirror = ffi.new("blitz_mirror *", {"percent": percent})
    made = 0
    for sent in range(1, many + 1):
        due = lib.blitz_mirror_is_due(mirror)
        assert lib.blitz_mirror_take(mirror) == due
        made += due
        assert abs(made - sent * percent / 100) <= 1 + 1e-6
