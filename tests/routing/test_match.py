"""The most specific rule wins, whatever the order of the rules."""

from __future__ import annotations

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from blitz.routing.match import Router, Rule

RULES = [
    Rule(b"", b"/", "any"),
    Rule(b"", b"/static", "static"),
    Rule(b"api.example.org", b"/", "api"),
    Rule(b"api.example.org", b"/v1/", "v1"),
    Rule(b"api.example.org", b"/v1/users", "users"),
    Rule(b"*.example.org", b"/", "wild"),
    Rule(b"*.deep.example.org", b"/", "deep"),
]

CASES = [
    pytest.param(b"api.example.org", b"/", "api", id="exact-host"),
    pytest.param(b"API.Example.ORG:8080", b"/x", "api", id="case-and-port"),
    pytest.param(b"api.example.org.", b"/x", "api", id="trailing-dot"),
    pytest.param(b"api.example.org", b"/v1", "v1", id="prefix-itself"),
    pytest.param(b"api.example.org", b"/v1x", "api", id="segment-border"),
    pytest.param(b"api.example.org", b"/v1/users?id=1", "users", id="longest-with-query"),
    pytest.param(b"api.example.org", b"/v1/users/7", "users", id="below-prefix"),
    pytest.param(b"api.example.org", b"/v1?/users", "v1", id="query-is-not-path"),
    pytest.param(b"www.example.org", b"/v1", "wild", id="wildcard"),
    pytest.param(b"a.deep.example.org", b"/", "deep", id="longest-wildcard"),
    pytest.param(b"example.org", b"/", "any", id="wildcard-needs-a-label"),
    pytest.param(b"other", b"/static/a.css", "static", id="any-host-prefix"),
    pytest.param(b"[::1]:80", b"/", "any", id="ip-literal"),
    pytest.param(b"", b"*", "any", id="asterisk"),
]


@pytest.mark.parametrize(("host", "target", "expected"), CASES)
def test_most_specific_route_wins(host: bytes, target: bytes, expected: str) -> None:
    rules = RULES[:]
    for seed in range(5):
        random.Random(seed).shuffle(rules)
        assert Router(rules).find(host, target) == expected


def test_no_rule_for_the_path_is_none() -> None:
    assert Router([Rule(b"", b"/a", 1)]).find(b"h", b"/b") is None


def test_falls_back_to_a_less_specific_host_when_no_path_matches() -> None:
    router = Router([Rule(b"h", b"/a", 1), Rule(b"", b"/", 2)])
    assert router.find(b"h", b"/b") == 2


def test_one_catch_all_rule_needs_no_look() -> None:
    assert Router([Rule(b"", b"/", "x")]).only == "x"
    assert Router([Rule(b"", b"/a", "x")]).only is None


SEGMENT = st.sampled_from([b"a", b"b", b"ab"])
PATH = st.lists(SEGMENT, max_size=4).map(lambda parts: b"/" + b"/".join(parts))


@given(prefixes=st.lists(PATH, min_size=1, max_size=6, unique_by=lambda p: p.rstrip(b"/")), path=PATH)
def test_same_as_brute_force(prefixes: list[bytes], path: bytes) -> None:
    def matches(prefix: bytes) -> bool:
        bare = prefix.rstrip(b"/")
        return not bare or path == bare or path.startswith(bare + b"/")

    best = max((p for p in prefixes if matches(p)), key=lambda p: len(p.rstrip(b"/")), default=None)
    assert Router([Rule(b"", p, p) for p in prefixes]).find(b"h", path) == best


HOSTS = Router(
    [
        Rule(b"", b"/", "any"),
        Rule(b"", b"/static", "static"),
        Rule(b"h.test", b"/api", "api"),
        Rule(b"*.test", b"/api", "wild"),
        Rule(b"*.test", b"/", "test"),
        Rule(b"[::1]", b"/", "loopback"),
    ]
)


@pytest.mark.parametrize(
    ("host", "target", "expected"),
    [
        (b"h.test", b"/api/x", "api"),
        (b"h.test", b"/static", "test"),  # the longest prefix of the first host that has any
        (b"a.h.test", b"/api", "wild"),
        (b"test", b"/api", "any"),
        (b"test", b"/static/x", "static"),
        (b"H.TEST.:80", b"/api", "api"),
    ],
)
def test_what_a_host_does_not_say_a_less_specific_one_says(host: bytes, target: bytes, expected: str) -> None:
    assert HOSTS.find(host, target) == expected


@pytest.mark.parametrize(
    "host", [b"[::1]", b"[::1]:8080", b"[0:0:0:0:0:0:0:1]", b"[::0001]:1", b"[::0.0.0.1]"]
)
def test_an_address_is_the_same_however_it_is_spelt(host: bytes) -> None:
    assert HOSTS.find(host, b"/x") == "loopback"
    assert Router([Rule(host.partition(b"]")[0] + b"]", b"/", 1)]).find(b"[::1]", b"/") == 1


@given(st.text("hHtTeEsS.", max_size=9), st.sampled_from(["", ":", ":80", ".", ".:8080"]))
def test_case_port_and_the_last_dot_of_a_host_do_not_count(name: str, end: str) -> None:
    host = f"{name}h.test{end}".encode()
    plain = host.partition(b":")[0].removesuffix(b".").lower()
    assert HOSTS.find(host, b"/api") == ("api" if plain == b"h.test" else "wild" if b"." in plain else "any")
