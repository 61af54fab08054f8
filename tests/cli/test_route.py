"""``blitz route``: it says what a gateway does, because the same code decides."""

from __future__ import annotations

import json
import random
import socket
from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import Result
from hypothesis import given, settings
from hypothesis import strategies as st

from blitz._native import ffi, lib
from blitz.config import Answer, Config, Listener, Resolved, Route, resolve
from blitz.config.route_keys import Redirect, Rewrite, Wanted
from blitz.errors import ClientError, NoRoute
from blitz.explain import Explanation, explain
from blitz.http.buffer import Buffer
from blitz.routing.match import Router
from blitz.routing.reasons import UNCLEAR
from blitz.server.asked import AskedHead, rules_of
from blitz.server.route import find_route
from blitz.server.runtime import assemble
from blitz.server.tls import TlsSettings

from .commands import PLUGINS, serving

Run = Callable[..., Result]

CONFIG = (
    f"""\
before_routing = []
trusted_proxies = ["10.0.0.0/8"]
listen = [{{ address = "127.0.0.1:8080", name = "web" }}, {{ address = "127.0.0.1:8081", name = "inside" }}]

[[plugins]]
file = "{PLUGINS}/request_logger.wasm"

[[plugins]]
file = "{PLUGINS}/auth_custom.wasm"
config = {{ keys = ["a:0123456789abcdef"] }}
"""
    + """
[auth.staff.basic]
users_file = "no-such-file"
[auth.sso.forward]
url = "http://127.0.0.1:9/verify"
[auth.either]
any = ["staff", "sso"]

[upstreams.users]
endpoints = ["http://127.0.0.1:9001", "http://127.0.0.1:9002"]
lb = "hash"
hash = { on = "header:x-user" }
sticky = { cookie = "srv" }
[upstreams.canary]
endpoints = ["http://127.0.0.1:9003"]

[[routes]]
name = "users"
host = "a.org"
path_prefix = "/v1/users"
methods = ["GET", "POST", "OPTIONS"]
ip_allow = ["127.0.0.0/8", "203.0.113.0/24"]
ip_deny = ["203.0.113.66"]
redirect = { host = "a.org" }
auth = "either"
cors = { origins = ["https://app.org"] }
rate_limit = { rate = "100/m", key = "identity", burst = 20 }
compress = ["zstd", "br", "gzip"]
max_body_size = "1MiB"
rewrite = { replace_prefix = "/users" }
request_headers = { set = { x-key = "very secret" }, remove = ["cookie"] }
retry = { attempts = 3, on = ["connect", "503", "5xx"] }
mirror = { upstream = "canary", percent = 10 }
upstream = "users"

[[routes]]
name = "shares"
path_prefix = "/shares"
plugins = []
upstreams = [{ name = "users", weight = 95 }, { name = "canary", weight = 5 }]

[[routes]]
name = "status"
path = "/status"
plugins = ["auth_custom"]
answer = { status = 503, body = "closed" }

[[routes]]
name = "inside"
listen = "inside"
plugins = []
answer = { body = "in" }

[[routes]]
name = "www"
hosts = ["*.b.org", "b.org"]
plugins = []
redirect = { scheme = "https", path = "/new${path}" }

[[routes]]
name = "two"
path_prefix = "/fields"
headers = { x-version = "2" }
query = { beta = { present = false } }
plugins = []
answer = { body = "two" }
compress = { encodings = ["gzip"], min_size = 0 }

[[routes]]
name = "loop"
path_prefix = "/loop"
plugins = []
redirect = { path = "/loop" }
"""
)


@pytest.fixture
def route(run: Run) -> Run:
    """Call ``blitz route`` where CONFIG is blitz.toml."""
    Path("blitz.toml").write_text(CONFIG)
    return lambda *words: run("route", *words)


def asked(route: Run, *words: str) -> dict[str, object]:
    result = route(*words, "--json")
    found: dict[str, object] = json.loads(result.output)
    assert result.exit_code == (1 if found["refused"] else 0), result.output
    return found


def test_compress_is_last_and_says_what_the_client_would_get(route: Run) -> None:
    """By what the client says, whatever the route does with the field."""
    words = ["GET", "http://a.org/v1/users/7", "-H", "accept-encoding: gzip, br;q=0.9"]
    last = asked(route, *words)["steps"][-1]  # type: ignore[index]
    assert last == {"key": "compress", "says": "gzip, if the response is one of its types from 1KiB on"}
    words = ["GET", "http://h/fields", "-H", "x-version: 2", "-H", "accept-encoding: gzip"]
    steps = asked(route, *words)["steps"]
    assert [step["key"] for step in steps][-2:] == ["answer", "compress"]  # type: ignore[attr-defined]
    assert steps[-1]["says"] == "gzip, if the response is one of its types"  # type: ignore[index]


def test_everything_that_stands_in_front_in_its_order(route: Run) -> None:
    result = route("GET", "http://a.org/v1/users/7?x=1")
    assert result.exit_code == 0, result.output
    assert (
        result.output
        == """\
GET http://a.org/v1/users/7?x=1, from 127.0.0.1, to listener "web" (127.0.0.1:8080)
route users (a.org, below /v1/users, GET or POST or OPTIONS)
  1. ip_deny and ip_allow: 127.0.0.1 may come
  2. cors: not a preflight: passes
  3. redirect: it is there already: passes
  4. auth: either (any of staff (basic), sso (forward)): who does not pass is refused
  5. rate_limit: 100/m for each identity, 20 at once
  6. max_body_size: of a request's body: 1MiB
  7. plugins: request_logger: its request hook
  8. plugins: auth_custom: its request hook
  9. rewrite: the upstream gets /users/7?x=1
  10. request_headers: remove cookie, set x-key
  11. mirror: 10% are copied to canary
  12. retry: 3 tries at most, after connect, 500-599
  13. upstream: users: hash of header x-user over http://127.0.0.1:9001, http://127.0.0.1:9002; cookie srv \
keeps clients where they are
  14. compress: the client asks for none of zstd, br, gzip
not shares: the path is /v1/users/7, not below /shares
not status: the path is /v1/users/7, not /status
not inside: the listener is "web", not "inside"
not www: the host is a.org, not *.b.org or b.org
not two: the path is /v1/users/7, not below /fields
not loop: the path is /v1/users/7, not below /loop
"""
    )


ORIGIN = ["-H", "access-control-request-method: POST", "-H"]
ENDS = [
    pytest.param(["GET", "http://a.org/shares"], 0, "", "95% to users", id="shares"),
    pytest.param(["GET", "http://a.org/status"], 503, "", "503, 6 bytes", id="answer"),
    pytest.param(["GET", "http://w.b.org/x?y"], 308, "", "308 to https://w.b.org/new/x?y", id="redirect"),
    pytest.param(
        ["OPTIONS", "http://a.org/v1/users", *ORIGIN, "origin: https://app.org"],
        204, "", "a preflight of an origin that may ask", id="preflight",
    ),
    pytest.param(
        ["OPTIONS", "http://a.org/v1/users", *ORIGIN, "origin: https://evil.org"],
        204, "", "a preflight of an origin that has no leave", id="preflight-without-leave",
    ),
    pytest.param(
        ["GET", "http://a.org/v1/users", "--from", "8.8.8.8"],
        403, "8.8.8.8 may not come", "", id="not-allowed"
    ),
    pytest.param(
        ["GET", "http://a.org/v1/users", "--from", "10.0.0.1", "-H", "x-forwarded-for: 203.0.113.66"],
        403, "203.0.113.66 may not come", "", id="denied-behind-a-proxy",
    ),
    pytest.param(
        ["GET", "http://a.org/loop"], 508, "it leads to where the request is", "", id="redirect-that-loops"
    ),
    pytest.param(
        ["OPTIONS", "http://a.org/v1/users", "-H", "max-forwards: 0"],
        200, "", "Max-Forwards is 0", id="last-hop"
    ),
    pytest.param(
        ["OPTIONS", "http://a.org/v1/users", "-H", "max-forwards: x"],
        400, "max-forwards is not a number of at most nine digits", "", id="max-forwards",
    ),
    pytest.param(["GET", "http://a.org/"], 404, "no route matches the request", "", id="no-route"),
    pytest.param(["PUT", "http://a.org/v1/users"], 405, "no route matches the request", "", id="method"),
    pytest.param(
        ["GET", "http://a.org/shares/../x"], 400, "the path could mean different routes to different servers",
        "", id="ambiguous",
    ),
    pytest.param(
        ["GET", "http://a.org/%2e%2e/x"], 400, "the path climbs above the root", "", id="climbs"
    ),
    pytest.param(
        ["GET", "http://a.org/fields", "-H", "x-version: 3", "-H", "x.version: 2"], 400,
        "path, fields or query could mean different routes to different servers", "", id="look-alike",
    ),
    pytest.param(["GET", "http://a..org,/"], 400, "host is not a valid authority", "", id="host"),
    pytest.param(
        ["GET", "http://a.org/", "-H", "host: a.org", "-H", "host: b.org"],
        400, "Found multiple Host: headers", "",
        id="two-hosts",
    ),
]  # fmt: skip


@pytest.mark.parametrize(("words", "status", "refused", "last"), ENDS)
def test_every_end_of_a_request(route: Run, words: list[str], status: int, refused: str, last: str) -> None:
    found = asked(route, *words)
    assert found["refused"] == refused
    steps = found["steps"]
    assert isinstance(steps, list)
    if last:
        assert any(step["says"].startswith(last) for step in steps), steps
        if status:
            assert steps[-1]["says"].startswith(last)
    assert found["status"] == status
    if status in (400, 405):
        assert found["allow"] == ("GET, POST, OPTIONS, HEAD" if status == 405 else "")


REASONS = [
    (["GET", "http://c.org/fields", "-H", "x-version: 2"], "users", "the host is c.org, not a.org"),
    (["GET", "http://a.org/fields/x", "-H", "x-version: 2"], "users",
     "the path is /fields/x, not below /v1/users"),
    (["DELETE", "http://a.org/v1/users"], "users",
     "the method is DELETE, not GET or POST or OPTIONS"),
    (["GET", "http://a.org/"], "inside", 'the listener is "web", not "inside"'),
    (["GET", "http://a.org/fields"], "two", 'the field x-version is not there; it must be "2"'),
    (["GET", "http://a.org/fields", "-H", "x-version: 3"], "two",
     'the field x-version is "3"; it must be "2"'),
    (["GET", "http://a.org/fields?beta", "-H", "x-version: 2"], "two", 'beta is ""; it must not be there'),
    (["GET", "http://a.org/fields?a;beta", "-H", "x-version: 2"], "two", UNCLEAR),
    (["GET", "http://a.org/x/../fields", "-H", "x-version: 2"], "two", UNCLEAR),
    (["GET", "http://a.org:8081/v1/users"], "inside",
     "takes it too, but users an exact host comes before no host"),
    (["GET", "http://b.org:8081/shares"], "shares",
     "takes it too, but www an exact host comes before no host"),
    (["GET", "http://c.org:8081/shares"], "inside", "takes it too, but shares has the longer prefix"),
    (["GET", "http://c.org:8081/status"], "inside",
     "takes it too, but status an exact path comes before a prefix"),
]  # fmt: skip


@pytest.mark.parametrize(("words", "name", "why"), REASONS)
def test_every_reason_of_another_route(route: Run, words: list[str], name: str, why: str) -> None:
    found = asked(route, *words)
    others = found["others"]
    assert isinstance(others, list)
    assert {other["route"]: other["why"] for other in others}[name] == why


BEHIND = [
    (Route(path_regex="^/a"), Route(path_prefix="/a"), "a pattern comes before a prefix"),
    (Route(path="/a/b"), Route(path_regex="/a"), "an exact path comes before a pattern"),
    (Route(hosts=["*.o", "a.p.o"]), Route(host="*.p.o"), "an exact host comes before a wildcard"),
    (Route(host="*.p.o"), Route(host="*.o"), "has the longer host"),
    (Route(host="a.p.o"), Route(host="*.o"), "an exact host comes before a wildcard"),
    (Route(listen="web"), Route(methods=["GET"]), "names a listener"),
    (Route(methods=["GET"]), Route(headers={"x": "1"}), "names methods"),
    (Route(headers={"x": "1"}), Route(query={"q": "1"}), "names more header fields"),
    (Route(query={"q": "1"}), Route(), "names more of the query"),
    (Route(priority=1, path_regex="a"), Route(path_regex="a/"), "has the larger priority"),
    (Route(path_regex="a"), Route(path_regex="a/"), "stands first in the configuration"),
]


@pytest.mark.parametrize(("first", "behind", "why"), BEHIND)
def test_why_one_route_comes_before_another(first: Route, behind: Route, why: str) -> None:
    routes = [named(behind, "behind"), named(first, "first")]
    if why.startswith("stands"):
        routes.reverse()
    found = explain(configured(routes), "GET", "http://a.p.o/a/b?q=1", ["x: 1"])
    assert found.route == "first"
    assert found.others == (("behind", f"takes it too, but first {why}"),)


def test_a_path_that_cannot_be_rewritten() -> None:
    routes = [
        Route(
            name=name,
            path_prefix=f"/{name}",
            rewrite=Rewrite(strip_prefix=True),
            upstream="http://127.0.0.1:1",
        )
        for name in "ab"
    ]
    found = explain(resolve(Config(routes=routes), {}), "GET", "http://h/a/../b/x")
    assert (found.route, found.status) == ("b", 400)
    assert found.refused == (
        "the path cannot be rewritten: it is not spelt as the prefix, or climbs above it"
    )


def named(route: Route, name: str, **more: object) -> Route:
    said = {key: getattr(route, key) for key in route.__struct_fields__}
    return Route(**(said | {"name": name, "answer": Answer(body=name)} | more))


def configured(routes: list[Route]) -> Resolved:
    listen = [Listener("127.0.0.1:8080", name="web"), Listener("127.0.0.1:8081", name="inside")]
    return resolve(Config(listen=list(listen), routes=routes), {})


AS_URL = "write such as https://api.example.org/v1?x=1, or a path"
BAD = [
    (["G T", "http://a/"], '"G T" is not a method; write such as GET'),
    (["GET", "x"], '"x" is not a URL; ' + AS_URL),
    (["GET", "/x y"], '"/x y" has a character that no URL has; percent-encode it'),
    (["GET", "/x#y"], '"/x#y" has a fragment, which clients do not send; leave it out'),
    (["GET", "ftp://a/"], '"ftp://a/" is not a URL; ' + AS_URL),
    (["GET", "http:///x"], '"http:///x" has no host; ' + AS_URL),
    (["GET", "http://a/#x"], '"http://a/#x" has a fragment, which clients do not send; leave it out'),
    (["GET", "http://a/ b"], '"http://a/ b" has a character that no URL has; percent-encode it'),
    (["GET", "http://a/\u00e9"], '"http://a/\u00e9" has a character that no URL has; percent-encode it'),
    (["GET", "http://a/\r\nx: y"],
     '"http://a/\\x0d\\x0ax: y" has a character that no URL has; percent-encode it'),
    (["GET", "http://me:pw@a/"], "the URL has a user, which clients send as a field; write -H "
     "'authorization: ...'"),
    (["GET", "http://a:70000/"], '"http://a:70000/" has the port "70000"; a port is a number below 65536'),
    (["GET", "http://a/", "-H", "x"], '"x" is not a header field; write "name: value"'),
    (["GET", "http://a/", "-H", "x y: 1"], '"x y: 1" is not a header field; write "name: value"'),
    (["GET", "http://a/", "-H", "x: 1\r\ny: 2"],
     '"x: 1\\x0d\\x0ay: 2" is not a header field; write "name: value"'),
    (["GET", "http://a/", "--from", "a"], '"a" is not an address; write such as 203.0.113.7 or 2001:db8::7'),
    (["GET", "http://a/", "--listen", "x"], 'no listener is called "x"; there are "web", "inside"'),
    (["GET", "https://a/"], "no listener there has TLS; write http://, and what a trusted proxy says: --from "
     "its address -H 'x-forwarded-proto: https'"),
    (["GET", "http://a/", "--set", "routes=x"], None),
    (["GET", "http://a/", "-c", "none.toml"], None),
]  # fmt: skip


def test_a_path_alone_is_asked_for_at_a_default_host(route: Run) -> None:
    found = json.loads(route("GET", "/status?x=1", "-H", "Host: a.org", "--json").stdout)
    whole = json.loads(route("GET", "http://a.org/status?x=1", "--json").stdout)
    assert (found.pop("request"), whole.pop("request")) == ("GET /status?x=1", "GET http://a.org/status?x=1")
    assert found == whole
    whole = json.loads(route("GET", "http://localhost/status", "--json").stdout)
    assert json.loads(route("GET", "/status", "--json").stdout)["others"] == whole["others"]
    inside = json.loads(route("GET", "/status", "-H", "host: a.org:8081", "--json").stdout)
    assert inside["listener"] == '"inside" (127.0.0.1:8081)'


def test_a_preflight_for_another_method_is_not_the_routes(route: Run) -> None:
    words = ["OPTIONS", "http://a.org/v1/users", "-H", "origin: https://app.org"]
    result = route(*words, "-H", "access-control-request-method: PUT")
    assert result.exit_code == 1
    assert "refused 405" in result.stdout
    assert "not users: the method that the preflight is for is PUT, not GET or POST" in result.stdout


@pytest.mark.parametrize(("words", "sentence"), BAD)
def test_bad_input_is_one_sentence(route: Run, words: list[str], sentence: str | None) -> None:
    result = route(*words)
    assert result.exit_code == 2
    assert result.stdout == ""
    assert len(result.stderr.splitlines()) == 1
    if sentence is not None:
        assert result.stderr == f"{sentence}\n"


ANY = st.text(max_size=8) | st.text("aZ:/[]@?#%2. \x00\r\n\udcff", max_size=12)


@given(
    st.sampled_from(["GET", "CONNECT"]) | ANY,
    ANY.map(lambda text: f"http://{text}") | st.builds("http://a:8081/{}".format, ANY) | ANY,
    st.lists(st.sampled_from(["host: b", "content-length: x", "x: " + "y" * 70_000]) | ANY, max_size=2),
    st.sampled_from(["::1", "127.0.0.1", "fe80::1%eth0"]) | ANY,
)
def test_whatever_is_asked_is_explained_or_refused_in_a_sentence(
    method: str, url: str, headers: list[str], client: str
) -> None:
    routes = [named(Route(path_prefix="/a", ip_deny=["::2"], redirect=Redirect(path="/b${path}")), "a")]
    try:
        found = explain(configured(routes), method, url, headers, client=client)
    except ValueError as error:
        assert type(error) is ValueError
        assert str(error)
    else:
        assert (found.route == "") <= (found.refused != "")


def test_the_listener_is_that_of_the_port_or_of_the_name(route: Run) -> None:
    assert asked(route, "GET", "http://c.org:8081/")["route"] == "inside"
    assert asked(route, "GET", "http://c.org/", "--listen", "inside")["route"] == "inside"
    assert asked(route, "GET", "http://c.org/")["route"] == ""


def test_plugins_before_routing_come_first(route: Run) -> None:
    config = Path("blitz.toml")
    config.write_text(CONFIG.replace("before_routing = []", 'before_routing = ["request_logger"]'))
    said = route("GET", "http://a.org/status").output.splitlines()
    assert said[2].startswith("  1. before_routing: plugin request_logger sees the request")
    bad = route("GET", "http://a.org/", "-H", "host: a", "-H", "host: b").output
    assert "before_routing" not in bad  # nobody sees a request that is none
    assert said[3:5] == ["  2. plugins: auth_custom: its request hook", "  3. answer: 503, 6 bytes"]


def test_values_of_edits_stay_secret(route: Run) -> None:
    for more in ([], ["--json"]):
        assert "very secret" not in route("GET", "http://a.org/v1/users", *more).output


def test_where_a_certificate_authority_asks(run: Run) -> None:
    Path("blitz.toml").write_text(
        'listen = [":80", { address = ":443", tls = true }]\n'
        'tls.acme = { domains = ["a.org"], agree_terms = true, storage = "s" }\n'
        '[[routes]]\nname = "all"\nanswer = { status = 200 }\n'
    )
    result = run("route", "GET", "http://a.org/.well-known/acme-challenge/x")
    assert result.exit_code == 0, result.output + result.stderr
    assert "route acme\n  1. tls.acme: " in result.output
    assert "not all: takes it too, but acme an exact host comes before no host" in result.output


# ---------------------------------------------------------------- against the router of a gateway

NAMES = st.sampled_from(["a", "b", "ab"])
ROUTE = st.builds(
    Route,
    hosts=st.lists(st.sampled_from(["h.o", "*.o", "*.p.o"]), max_size=2, unique=True),
    path_prefix=st.lists(NAMES, max_size=2).map(lambda names: "/" + "/".join(names)),
    methods=st.sampled_from([[], [], ["GET"], ["POST", "PUT"]]),
    headers=st.sampled_from([{}, {}, {"x-v": "1"}, {"x-v": Wanted(present=False)}]),
    query=st.sampled_from([{}, {}, {"q": "1"}, {"q": Wanted(present=True)}]),
    listen=st.sampled_from(["", "", "inside"]),
    priority=st.integers(0, 1),
)
PIECE = st.sampled_from(["a", "b", "ab", "A", "..", "", "%61", "a;x", "c"])
PATH = st.lists(PIECE, max_size=3).map("/".join)
QUERY = st.sampled_from(["", "?q=1", "?q=2", "?q=1&q=2", "?p;q=1"])
HOST = st.sampled_from(["h.o", "x.o", "x.p.o:8081", "z", "H.O.:8081"])
FIELDS = st.lists(st.sampled_from(["x-v: 1", "x-v: 2", "x.v: 1", "y: 1"]), max_size=2)


@settings(max_examples=150)
@given(st.lists(ROUTE, min_size=1, max_size=5), st.sampled_from(["GET", "PUT"]), HOST, PATH, QUERY, FIELDS)
def test_it_names_the_route_that_the_router_of_a_gateway_finds(
    routes: list[Route], method: str, host: str, path: str, query: str, fields: list[str]
) -> None:
    resolved = configured([named(route, f"r{index}") for index, route in enumerate(distinct(routes))])
    found = explain(resolved, method, f"http://{host}/{path}{query}", fields)
    runtime = assemble(resolved, {}, TlsSettings(None, {}))
    head, _kept = head_of(runtime, f"{method} /{path}{query} HTTP/1.1\r\nHost: {host}", fields)
    listener = "inside" if host.endswith(":8081") else "web"
    try:
        entry = find_route(runtime.router, head, listener)
    except (ClientError, NoRoute) as error:
        assert (found.route, found.status) == ("", error.status_hint)
        assert found.refused == error.message
    else:
        assert (found.route, found.refused) == (entry.name.decode(), "")
    check_others(found, resolved, AskedHead(head, listener), host.encode())


def distinct(routes: list[Route]) -> list[Route]:
    """Routes that ask the same are refused."""
    taken: set[str] = set()
    kept = []
    for route in routes:
        asks = (route.path_prefix, route.methods, route.headers, route.query, route.listen, route.priority)
        mine = {repr((host, asks)) for host in route.hosts or [""]}
        if not mine & taken:
            kept.append(route)
        taken |= mine
    return kept


def head_of(runtime: object, line: str, fields: list[str]) -> tuple[object, object]:
    raw = "\r\n".join([line, *fields, "", ""]).encode()
    buffer = Buffer(len(raw))
    buffer.view[:] = raw
    buffer.end = len(raw)
    exchange = ffi.gc(lib.blitz_exchange_new(), lib.blitz_exchange_free)
    lib.blitz_head_reset(exchange.request, lib.BLITZ_REQUEST)
    assert runtime.reader.read_request(exchange.request, buffer, 0) == len(raw)  # type: ignore[attr-defined]
    return exchange.request, (buffer, exchange)


def check_others(found: Explanation, resolved: Resolved, asked: AskedHead, host: bytes) -> None:
    """What is said of each other route is what a router finds that knows no route but it."""
    if "climbs" in found.refused:  # no route is asked
        assert not found.others
        return
    assert [name for name, _ in found.others] == [
        route.name for route in resolved.routes if route.name != found.route
    ]
    matches = {route.name: route.match for route in resolved.routes}
    for name, why in found.others:
        router = Router(list(rules_of(matches[name], name, None)))
        try:
            alone = router.find(host, asked.target, asked)
        except ClientError:
            # One that does not hold in any reading is said first.
            unmet = [one for rule in router.rules for one in rule.conditions if one.holds(asked) is False]
            assert why == UNCLEAR or why in [one.why_not(asked) for one in unmet]
        else:
            takes_it = why.startswith("takes it too") or (why == UNCLEAR and bool(found.refused))
            assert (alone == name) == takes_it, (name, why)


def test_a_running_gateway_does_what_it_says(tmp_path: Path) -> None:
    config = """\
listen = ["127.0.0.1:0"]
[[routes]]
name = "api"
host = "a.org"
path_prefix = "/api"
methods = ["GET"]
answer = { body = "api" }
[[routes]]
name = "wild"
host = "*.x.org"
answer = { body = "wild" }
[[routes]]
name = "moved"
path_prefix = "/moved"
redirect = { path = "/api${path.rest}" }
[[routes]]
name = "shut"
path_prefix = "/shut"
ip_deny = ["127.0.0.0/8"]
answer = { body = "shut" }
[[routes]]
name = "field"
headers = { x-v = "1" }
answer = { status = 503, body = "field" }
"""
    (tmp_path / "blitz.toml").write_text(config)
    resolved = resolve(Config.load(tmp_path / "blitz.toml", environ={}), {})
    random_ = random.Random(12)
    seen = set()
    with serving("run", cwd=tmp_path) as gateway:
        for _ in range(60):
            host = random_.choice(["a.org", "w.x.org", "b"])
            path = random_.choice(["", "api", "api/x", "moved/y", "shut", "api/../x", "%2e%2e", "x//api"])
            method, fields = random_.choice(["GET", "PUT"]), random_.choice([[], [], ["x-v: 1"], ["x.v: 1"]])
            found = explain(resolved, method, f"http://{host}/{path}", fields)
            lines = [f"{method} /{path} HTTP/1.1", f"Host: {host}", "Content-Length: 0", *fields]
            with socket.create_connection(("127.0.0.1", gateway.port), timeout=60) as connection:
                connection.sendall("\r\n".join([*lines, "Connection: close", "", ""]).encode())
                answer = b"".join(iter(lambda: connection.recv(65536), b"")).decode()
            head, _, body = answer.partition("\r\n\r\n")
            assert int(head.split()[1]) == found.status
            if found.location:
                assert f"location: {found.location}\r\n" in f"{head}\r\n"
            elif not found.refused:
                assert body == found.route
            seen.add((found.status, found.route))
    assert {status for status, _ in seen} == {200, 308, 400, 403, 404, 405, 503}


def test_files_and_a_pattern_of_the_path(run: Run) -> None:
    Path("www").mkdir()
    Path("blitz.toml").write_text(
        """
[[routes]]
name = "app"
path_prefix = "/app"
rewrite = { regex = "^/app/v([0-9]+)/(.*)$", to = "/\\\\2/$1" }
static = { root = "www", fallback = "/index.html" }
[[routes]]
name = "api"
path_prefix = "/api"
rewrite = { regex = "v1", to = "v2" }
upstream = "http://127.0.0.1:9001"
"""
    )
    said = asked(lambda *words: run("route", *words), "GET", "http://a/app/v7/x/a%20b.js?q")
    assert said["steps"] == [
        {"key": "rewrite", "says": "the path is /x/a%20b.js/7?q"},
        {"key": "static", "says": "the file x/a b.js/7 below www, else /index.html"},
    ]
    for method, path, status in [("POST", "/app/", 405), ("GET", "/app/.git", 404)]:
        assert asked(lambda *words: run("route", *words), method, f"http://a{path}")["status"] == status
    steps = asked(lambda *words: run("route", *words), "GET", "http://a/api/v1/v1")["steps"]
    assert {"key": "rewrite", "says": "the upstream gets /api/v2/v1"} in steps  # type: ignore[operator]
