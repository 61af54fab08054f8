"""What a request may mean decides, with every condition that a route can have."""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from urllib.parse import parse_qsl

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from blitz.config.resolved import ResolvedMatch, ResolvedValue
from blitz.errors import ClientError
from blitz.routing.match import Router, Rule
from blitz.server.asked import rules_of

from .readings import CLIMBS, lower, meanings


@dataclass(frozen=True)
class Request:
    method: bytes = b"GET"
    target: bytes = b"/"
    listener: str = ""
    said: tuple[tuple[bytes, bytes], ...] = ()
    preflight: bytes | None = None

    def fields(self) -> tuple[tuple[bytes, bytes], ...]:
        return self.said


def router(*matches: ResolvedMatch, protections: list[object] | None = None) -> Router[int]:
    rules: list[Rule[int]] = []
    for index, match in enumerate(matches):
        rules += rules_of(match, index, protections[index] if protections else None)
    return Router(rules)


def found(made: Router[int], host: bytes = b"h", **request: object) -> int | None:
    asked = Request(**request)  # type: ignore[arg-type]
    return made.find(host, asked.target, asked)


def header(name: str, **wanted: object) -> ResolvedMatch:
    return ResolvedMatch(fields=(ResolvedValue(name, **wanted),))  # type: ignore[arg-type]


def test_hosts_lead_to_one_route() -> None:
    made = router(ResolvedMatch(hosts=("a.org", "*.a.org")), ResolvedMatch())
    assert [found(made, host) for host in (b"a.org", b"www.A.org:80", b"b.org")] == [0, 0, 1]


def test_an_exact_path_wins_over_a_pattern_and_that_over_a_prefix() -> None:
    made = router(
        ResolvedMatch(path="/a"),
        ResolvedMatch(regex="^/a(/|$)"),
        ResolvedMatch(path="/a", exact=True),
        protections=["same"] * 3,
    )
    assert [found(made, target=target) for target in (b"/a?x", b"/a/b", b"/ab")] == [2, 1, None]


def test_a_slash_behind_an_exact_path_is_refused_where_it_leads_elsewhere() -> None:
    made = router(ResolvedMatch(path="/a", exact=True), ResolvedMatch())
    assert found(made, target=b"/a") == 0
    with pytest.raises(ClientError):
        found(made, target=b"/a/")
    assert found(made, target=b"/a/b") == 1
    same = router(ResolvedMatch(path="/a", exact=True), ResolvedMatch(), protections=["x", "x"])
    assert found(same, target=b"/a/") == 0


def test_the_root_can_be_an_exact_path() -> None:
    made = router(ResolvedMatch(path="/", exact=True), ResolvedMatch())
    assert [found(made, target=target) for target in (b"/", b"/?x", b"/a")] == [0, 0, 1]


def test_methods_have_a_case_and_get_takes_head_along() -> None:
    made = router(ResolvedMatch(methods=("GET",)), ResolvedMatch(methods=("POST", "PUT")))
    assert [found(made, method=method) for method in (b"GET", b"HEAD", b"PUT", b"get")] == [0, 0, 1, None]
    assert made.allowed(b"h", b"/", Request(method=b"DELETE")) == [b"GET", b"HEAD", b"POST", b"PUT"]


def test_a_preflight_is_for_the_route_of_the_request_that_follows() -> None:
    made = router(
        ResolvedMatch(methods=("GET", "OPTIONS"), preflights=True),
        ResolvedMatch(methods=("PUT",), preflights=True),
        ResolvedMatch(path="/plain", methods=("PUT",)),
        ResolvedMatch(path="/plain", methods=("OPTIONS",)),
    )
    for wanted, route in (
        (b"GET", 0),
        (b"HEAD", 0),
        (b"PUT", 1),
        (b"OPTIONS", 0),
        (b"DELETE", None),
        (b"", None),
    ):
        assert found(made, method=b"OPTIONS", preflight=wanted) == route
    assert found(made, method=b"OPTIONS") == 0
    # A route that answers no preflights has them as any other request.
    assert found(made, target=b"/plain", method=b"OPTIONS", preflight=b"PUT") == 3
    asked = Request(method=b"OPTIONS", preflight=b"DELETE")
    assert made.allowed(b"h", b"/", asked) == [b"GET", b"OPTIONS", b"HEAD", b"PUT"]


def test_a_request_that_no_reading_has_a_route_for_is_for_none() -> None:
    """Not in doubt, however servers read it: 404, or 405, and not 400."""
    made = router(ResolvedMatch(path="/a", methods=("GET",)), ResolvedMatch(path="/b", listen="x"))
    for target in (b"/a%2fx", b"/a/..;/b", b"/c/../a", b"/b/../a", b"/A"):
        assert found(made, target=target, method=b"POST") is None, target
    with pytest.raises(ClientError):
        found(made, target=b"/c/../a")
    assert made.allowed(b"h", b"/c/../a", Request(method=b"POST")) == [b"GET", b"HEAD"]


def test_other_reasons_than_the_method_allow_nothing() -> None:
    made = router(ResolvedMatch(methods=("POST",), fields=(ResolvedValue("x-a", "1"),)))
    assert made.allowed(b"h", b"/", Request()) == []
    assert made.allowed(b"h", b"/", Request(said=((b"x-a", b"1"),))) == [b"POST"]


VALUES = [
    pytest.param(header("x-v", text="2"), [(b"x-v", b"2")], True, id="value"),
    pytest.param(header("x-v", text="2"), [(b"x-v", b"3")], False, id="other-value"),
    pytest.param(header("x-v", text="2"), [], False, id="absent"),
    pytest.param(header("x-v", text="2"), [(b"x-v", b"2"), (b"x-v", b"2")], None, id="list"),
    pytest.param(header("x-v", text="2"), [(b"x-v", b"2"), (b"x-v", b"3")], None, id="first-or-last"),
    pytest.param(header("x-v", text="2"), [(b"x.v", b"2")], None, id="look-alike"),
    pytest.param(header("x-v", text="2"), [(b"x.v", b"3")], False, id="harmless-look-alike"),
    pytest.param(header("x-v", text="2"), [(b"x-v", b"2"), (b"x.v", b"3")], None, id="look-alike-says-no"),
    pytest.param(header("x-v", regex="^[0-9]$"), [(b"x-v", b"2")], True, id="pattern"),
    pytest.param(header("x-v", regex="^[0-9]$"), [(b"x-v", b"22")], False, id="no-pattern"),
    pytest.param(header("x-v"), [(b"x-v", b"")], True, id="present"),
    pytest.param(header("x-v", present=False), [], True, id="not-present"),
    pytest.param(header("x-v", present=False), [(b"x-v", b"")], False, id="present-after-all"),
    pytest.param(header("x-v", present=False), [(b"x.v", b"")], None, id="present-look-alike"),
]


@pytest.mark.parametrize(("match", "said", "verdict"), VALUES)
def test_fields(match: ResolvedMatch, said: list[tuple[bytes, bytes]], verdict: bool | None) -> None:
    made = router(match, ResolvedMatch())
    if verdict is None:
        with pytest.raises(ClientError):
            found(made, said=tuple(said))
    else:
        assert found(made, said=tuple(said)) == (0 if verdict else 1)


QUERIES = [
    (b"/?b=1", True), (b"/?x=2&b=1&y", True), (b"/?%62=%31", True), (b"/?b=2", False), (b"/", False),
    (b"/?b=1&b=2", None), (b"/?b=2&b=1", None), (b"/?x=2;b=1", None), (b"/?b=1;x", None),
    (b"/?b=1&b=1", True), (b"/b=1", False), (b"/?b", False),
]  # fmt: skip


@pytest.mark.parametrize(("target", "verdict"), QUERIES)
def test_queries(target: bytes, verdict: bool | None) -> None:
    made = router(ResolvedMatch(query=(ResolvedValue("b", "1"),)), ResolvedMatch())
    if verdict is None:
        with pytest.raises(ClientError):
            found(made, target=target)
    else:
        assert found(made, target=target) == (0 if verdict else 1)


PATTERNS = [
    (b"/v1/users", 0), (b"/v22/x?y", 0), (b"/v1", 1), (b"/v/", 1), (b"/V1/x", None), (b"/v1//x", None),
    (b"/x/../v1/y", None), (b"/%761/x", None), (b"/v1/caf%C3%A9", 0), (b"/v1/a%2fb", None), (b"/x%20y", 1),
    (b"/v1/", None), (b"/v1;x/", None), (b"/v1/..", None), (b"/v1/%C0%AF", None),
]  # fmt: skip


@pytest.mark.parametrize(("target", "expected"), PATTERNS)
def test_a_pattern_takes_what_has_one_reading(target: bytes, expected: int | None) -> None:
    made = router(ResolvedMatch(regex="^/v[0-9]+/"), ResolvedMatch())
    if expected is None:
        with pytest.raises(ClientError):
            found(made, target=target)
    else:
        assert found(made, target=target) == expected


def test_more_conditions_are_more_specific_and_priority_comes_last() -> None:
    matches = [
        ResolvedMatch(),
        ResolvedMatch(query=(ResolvedValue("a"),)),
        ResolvedMatch(fields=(ResolvedValue("a"),)),
        ResolvedMatch(methods=("GET",)),
        ResolvedMatch(listen="x"),
        ResolvedMatch(listen="x", priority=1, methods=("POST",)),
    ]
    request = {"target": b"/?a", "said": ((b"a", b""),), "listener": "x"}
    for most in range(5, 0, -1):
        assert found(router(*matches[:most]), **request) == most - 1
    assert found(router(*matches), **request) == 4
    patterns = [
        ResolvedMatch(regex="a"),
        ResolvedMatch(regex="b", priority=1),
        ResolvedMatch(regex="c", priority=1),
    ]
    assert found(router(*patterns), target=b"/abc") == 1


# ---------------------------------------------------------------- against brute force

NAMES = st.sampled_from(["a", "b", "ab"])
RULE_PATH = st.lists(NAMES, max_size=2).map(lambda names: "/" + "/".join(names))
MATCH = st.builds(
    ResolvedMatch,
    hosts=st.lists(st.sampled_from(["", "h.o", "*.o", "*.p.o"]), min_size=1, max_size=2, unique=True).map(
        tuple
    ),
    path=RULE_PATH,
    exact=st.booleans(),
    methods=st.sampled_from([(), (), ("GET",), ("POST", "PUT"), ("OPTIONS",)]),
    preflights=st.booleans(),
    fields=st.lists(
        st.builds(ResolvedValue, st.just("x-v"), st.sampled_from(["1", None]), present=st.booleans()),
        max_size=1,
    ).map(tuple),
    query=st.lists(st.builds(ResolvedValue, st.just("q"), st.sampled_from(["1", None])), max_size=1).map(
        tuple
    ),
    listen=st.sampled_from(["", "", "x"]),
    priority=st.integers(0, 1),
)
PIECE = st.sampled_from(["a", "b", "ab", "A", "..", ".", "", "%61", "a;x", "a%2fb", "c", "b."])
PATH = st.lists(PIECE, max_size=4).map(lambda parts: ("/" + "/".join(parts)).encode())
QUERY = st.sampled_from([b"", b"?q=1", b"?q=2", b"?q=1&q=2", b"?p;q=1", b"?%71=1"])
SAID = st.lists(
    st.tuples(st.sampled_from([b"x-v", b"x.v", b"y"]), st.sampled_from([b"1", b"2"])), max_size=3
).map(tuple)


def views_of_field(said: tuple[tuple[bytes, bytes], ...]) -> list[bytes | None]:
    """What servers may take for the value of x-v."""
    mine = [value for name, value in said if name == b"x-v"]
    alike = [value for name, value in said if name == b"x.v"]
    views: list[bytes | None] = [*mine, b", ".join(mine)] if mine else [None]
    return [*views, *alike]


def views_of_query(target: bytes) -> list[bytes | None]:
    query = target.partition(b"?")[2].decode()
    views: list[bytes | None] = []
    for text in (query, query.replace(";", "&")):
        values = [value.encode() for name, value in parse_qsl(text, keep_blank_values=True) if name == "q"]
        views += values or [None]
    return views


def wants(wanted: ResolvedValue, view: bytes | None) -> bool:
    if wanted.text is not None:
        return view == wanted.text.encode()
    return (view is not None) == wanted.present


def host_level(pattern: str, host: str) -> int:
    """0: does not match; else the larger, the more specific."""
    if not pattern:
        return 1
    if pattern.startswith("*."):
        return 1 + len(pattern) if host.endswith(pattern[1:]) and host != pattern[1:] else 0
    return 1000 if pattern == host else 0


def best(
    matches: list[ResolvedMatch], host: str, names: tuple[object, ...], request: Request, field: bytes | None,
    query: bytes | None,
) -> int | None:  # fmt: skip
    """The route that a server's view of a request leads to."""
    ranked: list[tuple[tuple[object, ...], int]] = []
    for index, match in enumerate(matches):
        path = tuple(tuple(name.encode()) for name in match.path.split("/")[1:] if name)
        here = names if match.exact else names[: len(path)]
        level = max(host_level(one, host) for one in match.hosts)
        methods = [*match.methods, *(["HEAD"] if "GET" in match.methods else [])]
        is_preflight = match.preflights and request.preflight is not None
        method = request.preflight if is_preflight and request.preflight is not None else request.method
        if (
            level
            and here == path
            and (not methods or method.decode() in methods)
            and match.listen in ("", request.listener)
            and all(wants(one, field) for one in match.fields)
            and all(wants(one, query) for one in match.query)
        ):
            rank = (level, match.exact, len(path), bool(match.listen), bool(match.methods), len(match.fields))
            ranked.append(((*rank, len(match.query), match.priority, -index), index))
    return max(ranked)[1] if ranked else None


@settings(max_examples=300, deadline=None)
@given(
    matches=st.lists(MATCH, min_size=1, max_size=5),
    kinds=st.lists(st.integers(0, 2), min_size=5, max_size=5),
    host=st.sampled_from(["h.o", "i.o", "i.p.o", "z"]),
    method=st.sampled_from([b"GET", b"HEAD", b"POST", b"DELETE", b"OPTIONS"]),
    preflight=st.sampled_from([None, b"GET", b"HEAD", b"PUT", b""]),
    path=PATH,
    query=QUERY,
    said=SAID,
    listener=st.sampled_from(["", "x"]),
)
def test_what_passes_has_one_protection_in_every_view(
    matches: list[ResolvedMatch], kinds: list[int], host: str, method: bytes, preflight: bytes | None,
    path: bytes, query: bytes, said: tuple[tuple[bytes, bytes], ...], listener: str,
) -> None:  # fmt: skip
    request = Request(method, path + query, listener, said, preflight if method == b"OPTIONS" else None)
    made = router(*matches, protections=list(kinds))
    stacks = meanings(path) if path != b"/" else {()}
    outcomes: set[object] = {CLIMBS} if CLIMBS in stacks else set()
    routes: set[int | None] = set()
    readings: set[object] = {CLIMBS} & stacks
    views = list(itertools.product(views_of_field(said), views_of_query(request.target)))
    for stack in stacks - {CLIMBS}:
        assert not isinstance(stack, str)
        for names in {stack, tuple(lower(name) for name in stack)}:
            readings.add(names)
            for field, part in views:
                route = best(matches, host, names, request, field, part)
                routes.add(route)
                outcomes.add(None if route is None else kinds[route])
    try:
        got = made.find(host.encode(), request.target, request)
    except ClientError:
        # Refused where something is in doubt, the case of letters too; what is in no doubt at all passes, and
        # what no reading has a route for is in none.
        assert len(readings) * len(set(views)) > 1 or len(outcomes) > 1
        assert outcomes != {None}
        return
    assert outcomes == {None if got is None else kinds[got]}
    assert got in routes
    if len(routes) == 1:
        assert got == routes.pop()
