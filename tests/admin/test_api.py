"""The admin API of a running gateway, over real sockets."""

from __future__ import annotations

import contextlib
import itertools
import json
import logging
import random
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import msgspec
import pytest
import trio

from blitz.admin import api, events
from blitz.config import Admin, Answer, Plugin, Route, Upstream
from blitz.config.route_keys import HeaderEdits
from blitz.measures.figures import STREAMS_DROPPED
from tests.admin.test_listener import TOKEN, ask
from tests.server.harness import Client, FakeUpstream, Rig, answering, rig, until

ON = Admin(listen="127.0.0.1:0")
JSON = "Content-Type: application/json"
OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"
TRAPS = """(module (memory (export "memory") 1)
  (func (export "blitz_alloc") (param i32) (result i32) (i32.const 1024))
  (func (export "process_request") (param i32 i32 i32 i32) (result i32) unreachable))"""
PASSES = TRAPS.replace("unreachable", "(i32.const 0)")


async def post(
    test: Rig, path: str, said: Any = None, *lines: str, host: str = "localhost"
) -> tuple[int, dict[str, Any]]:
    body = b"" if said is None else said if isinstance(said, bytes) else json.dumps(said).encode()
    fields = (*(lines or (JSON,)), f"Content-Length: {len(body)}")
    async with await trio.open_tcp_stream(*test.gateway.admin_addresses[0]) as stream:
        client = Client(stream)
        head = "".join(f"{line}\r\n" for line in (f"Host: {host}", *fields))
        await client.send(f"POST {path} HTTP/1.1\r\n{head}\r\n".encode() + body)
        with trio.fail_after(20):
            code, got, answer = await client.answer()
    return code, json.loads(answer) if got["content-type"] == "application/json" else {}


async def page(test: Rig, path: str) -> Any:
    code, fields, body = await ask(test.gateway.admin_addresses[0], path)
    assert (code, fields["content-type"], fields["cache-control"]) == (200, "application/json", "no-store")
    return json.loads(body)


@pytest.fixture
def plugin(tmp_path: Path, wat: Callable[[str], bytes]) -> Callable[..., Plugin]:
    def make(text: str, name: str = "guest", **settings: Any) -> Plugin:
        path = tmp_path / f"{name}.wasm"
        path.write_bytes(wat(text))
        return Plugin(name=name, file=str(path), **settings)

    return make


# -- pages


async def test_pages_tell_what_runs(plugin: Callable[..., Plugin]) -> None:
    routes = [
        Route(name="api", path_prefix="/api", methods=["GET"], upstream="main", plugins=["guest"]),
        Route(name="rest", answer=Answer(status=204), plugins=[]),
    ]
    async with rig(admin=ON, plugins=[plugin(PASSES)], routes=routes) as test:
        api_route, rest = (await page(test, "/routes"))["routes"]
        assert (api_route["name"], api_route["path"], api_route["methods"]) == ("api", "/api", ["GET"])
        assert (api_route["plugins"], api_route["upstreams"]) == (
            ["guest"],
            [{"name": "main", "weight": 1.0}],
        )
        assert (rest["answer"], rest["upstreams"]) == (204, [])
        (told,) = (await page(test, "/plugins"))["plugins"]
        assert (told["name"], told["routes"], told["held"]) == ("guest", ["api"], False)
        assert len(told["sha256"]) == 64 and told["quarantined"] == 0
        (upstream,) = (await page(test, "/upstreams"))["upstreams"]
        (endpoint,) = upstream["endpoints"]
        assert (upstream["name"], endpoint["address"]) == ("main", f"127.0.0.1:{test.upstream.port}")
        assert (await page(test, "/config"))["timeouts"]["keepalive"] == 75.0
        assert await page(test, "/faults") == {"faults": []}


async def test_what_may_be_a_secret_is_on_no_page(plugin: Callable[..., Plugin], tmp_path: Path) -> None:
    secrets = iter(f"canary{number:03}-of-the-operator" for number in range(100))

    def secret() -> str:
        return next(secrets)

    guest = plugin(
        PASSES,
        config={"name": secret(), "deep": {"list": [secret(), {"x": secret()}]}, "api_key": secret()},
    )
    key_file = tmp_path / "keys"
    key_file.write_text(secret())
    routes = [
        Route(
            name="a",
            upstream="main",
            request_headers=HeaderEdits(set={"authorization": f"Bearer {secret()}", "x-plain": secret()}),
            response_headers=HeaderEdits(add={"x-more": secret()}),
        ),
        Route(
            name="b", path_prefix="/b", answer=Answer(body=secret(), headers={"set-cookie": f"s={secret()}"})
        ),
    ]
    async with rig(admin=Admin(listen="127.0.0.1:0", token=secret()), plugins=[guest], routes=routes) as test:
        token = "canary" + test.config.admin.token.removeprefix("canary")
        for path in ("/config", "/routes", "/plugins", "/upstreams", "/faults", "/status", "/metrics"):
            code, _, body = await ask(test.gateway.admin_addresses[0], path, f"Authorization: Bearer {token}")
            assert code == 200
            assert b"canary" not in body, path
        assert int(next(secrets)[6:9]) > 8  # they were all used


async def test_faults_and_who_they_hit_are_told(plugin: Callable[..., Plugin]) -> None:
    async with rig(admin=ON, plugins=[plugin(TRAPS)]) as test:
        for _ in range(3):
            assert (await test.get("/?q=secret"))[0] == 500
        faults = (await page(test, "/faults"))["faults"]
        assert [fault["kind"] for fault in faults] == ["trap"] * 3
        assert {fault["plugin"] for fault in faults} == {"guest"}
        assert all(fault["frames"] and len(fault["request_id"]) == 32 for fault in faults)
        assert [fault["time"] for fault in faults] == sorted(fault["time"] for fault in faults)


# -- changes


async def test_reload_tells_what_has_become_of_it(tmp_path: Path) -> None:
    file = tmp_path / "a"
    async with rig(admin=ON) as test:
        code, said = await post(test, "/reload")
        assert (code, said["generation"], said["errors"]) == (200, 2, [])
        bad = msgspec.structs.replace(test.config, routes=[Route(upstream="nobody")])
        test.gateway._versions._source = bad
        code, said = await post(test, "/reload")
        assert code == 422 and "nobody" in said["error"] and said["generation"] == 2
        test.gateway._versions._source = test.config
        assert (await post(test, "/reload"))[1]["generation"] == 3
    assert not file.exists()


async def test_a_drained_endpoint_gets_nothing_new_and_finishes_what_it_has() -> None:
    release, arrived = trio.Event(), trio.Event()
    other = FakeUpstream(answering(OK))
    async with trio.open_nursery() as nursery:
        await nursery.start(other.run)
        slow = answering(OK, when=release, arrived=arrived)
        async with rig(slow, admin=ON) as test:
            both = {"main": Upstream(endpoints=[test.upstream.endpoint, other.endpoint])}
            await test.gateway.reload(msgspec.structs.replace(test.config, upstreams=both))
            address = f"127.0.0.1:{test.upstream.port}"
            clients = [await test.connect() for _ in range(2)]
            for client in clients:
                await client.send(b"GET / HTTP/1.1\r\nHost: test\r\n\r\n")
            await arrived.wait()
            assert (await post(test, "/upstreams/main/drain", {"endpoint": address}))[0] == 200
            before = len(test.upstream.connections)
            for _ in range(6):
                assert (await test.get())[0] == 200
            assert len(test.upstream.connections) == before
            await test.gateway.reload(msgspec.structs.replace(test.config, upstreams=both))
            for _ in range(6):
                assert (await test.get())[0] == 200
            assert len(test.upstream.connections) == before
            release.set()
            for client in clients:
                assert (await client.answer())[0] == 200
            (upstream,) = (await page(test, "/upstreams"))["upstreams"]
            drained = {one["address"]: one["drained"] for one in upstream["endpoints"]}
            assert drained[address] == 1 and sum(drained.values()) == 1
            assert (await post(test, "/upstreams/main/ready", {"endpoint": address}))[0] == 200
            for _ in range(4):
                assert (await test.get())[0] == 200
            await until(lambda: len(test.upstream.connections) > before)
        nursery.cancel_scope.cancel()


@pytest.mark.parametrize("parser", ["auto", "h11"])
async def test_the_only_endpoint_can_be_drained(parser: str) -> None:
    async with rig(answering(OK), admin=ON, parser=parser) as test:
        said = {"endpoint": f"127.0.0.1:{test.upstream.port}"}
        assert (await test.get())[0] == 200
        assert (await post(test, "/upstreams/main/drain", said))[0] == 200
        assert (await test.get())[0] == 503
        assert (await post(test, "/upstreams/main/ready", said))[0] == 200
        assert (await test.get())[0] == 200


async def test_a_plugin_is_held_until_it_is_released(plugin: Callable[..., Plugin]) -> None:
    async with rig(answering(OK), admin=ON, plugins=[plugin(PASSES)]) as test:
        assert (await test.get())[0] == 200
        assert (await post(test, "/plugins/guest/quarantine"))[0] == 200
        assert (await test.get())[0] == 503
        assert (await page(test, "/plugins"))["plugins"][0]["held"]
        await test.gateway.reload()
        assert (await test.get())[0] == 503
        assert (await post(test, "/plugins/guest/release"))[0] == 200
        assert (await test.get())[0] == 200


async def test_releasing_ends_a_quarantine_that_faults_began(plugin: Callable[..., Plugin]) -> None:
    async with rig(answering(OK), admin=ON, plugins=[plugin(TRAPS)]) as test:
        for _ in range(20):
            await test.get()
        (pool,) = test.gateway._context.runtime.pools
        pool._quarantined_until = float("inf")  # it would last for a second
        assert (await test.get())[0] == 503
        assert (await post(test, "/plugins/guest/release"))[0] == 200
        assert (await test.get())[0] == 500  # it runs, and traps


async def test_the_level_of_the_log_changes(caplog: pytest.LogCaptureFixture) -> None:
    logger = logging.getLogger("blitz")
    before = logger.level
    try:
        async with rig(answering(OK), admin=ON) as test:
            assert (await test.get())[0] == 200
            assert (await post(test, "/log", {"level": "debug"}))[0] == 200
            with caplog.at_level(1, "root"):
                assert (await test.get("/told"))[0] == 200
                await until(lambda: "GET /told" in caplog.text)
            assert (await post(test, "/log", {"level": "configured"}))[0] == 200
            assert logger.level == logging.INFO and not test.gateway._context.stories
    finally:
        logger.setLevel(before)


@pytest.mark.parametrize(
    ("path", "said", "code", "sentence"),
    [
        ("/plugins/nobody/quarantine", None, 404, "there is no plugin nobody; there are: none"),
        ("/upstreams/nobody/drain", {"endpoint": "a:1"}, 404, "there is no upstream nobody"),
        ("/upstreams/main/drain", {}, 404, "has no endpoint"),
        ("/upstreams/main/drain", {"endpoint": "a" * 3000}, 404, "..."),
        ("/log", {"level": "loud"}, 400, "level is not one of trace, debug, info, warn, error"),
        ("/log", b"[" * 4000, 400, "the body is not what is expected"),
        ("/log", {"level": 3}, 400, "the body is not what is expected"),
        ("/reload/now", None, 404, "there is nothing to change here"),
        ("/plugins/%ff/release", None, 400, "the path is not UTF-8"),
    ],
)
async def test_what_cannot_be_done_is_a_sentence(path: str, said: Any, code: int, sentence: str) -> None:
    async with rig(admin=ON) as test:
        got, told = await post(test, path, said)
        assert (got, sentence in told["error"]) == (code, True), told


async def test_a_body_that_is_too_long_is_refused() -> None:
    async with rig(admin=ON) as test:
        assert (await post(test, "/log", b" " * 5000))[0] == 413


@pytest.mark.parametrize("seed", range(6))
async def test_random_bodies_and_paths_do_no_harm(seed: int) -> None:
    chance = random.Random(seed)
    words = ["log", "reload", "plugins", "upstreams", "main", "drain", "ready", "..", "%2e", "%00", ""]
    bits = [
        '{"level":',
        '"debug"',
        "}",
        '"endpoint":',
        "null",
        "[",
        "1e999",
        "\\ud800",
        '"',
        "\x00",
        "é",
        " ",
    ]
    async with rig(answering(OK), admin=ON) as test:
        for _ in range(25):
            path = "/" + "/".join(chance.choice(words) for _ in range(chance.randint(1, 4)))
            if path in ("/log", "/reload"):
                path += "/"
            body = "".join(chance.choice(bits) for _ in range(chance.randint(0, 8))).encode()
            if chance.random() < 0.3:
                body = chance.randbytes(chance.randint(0, 200))
            code, _ = await post(test, path, body)
            assert code in (400, 403, 404, 405), (path, body)
        assert (await test.get())[0] == 200
        assert test.gateway.generation == 1


# -- who may


async def test_no_page_of_another_origin_changes_or_reads_anything() -> None:
    """Every combination of what a browser may be made to send."""
    hosts = ["localhost", "127.0.0.1:9900", "evil.example", "localhost.evil.example"]
    origins = ["", "null", "http://evil.example", "http://localhost", "http://127.0.0.1:9900"]
    sites = ["", "cross-site", "same-site", "same-origin", "none"]
    kinds = ["", "text/plain", "application/json", "application/x-www-form-urlencoded"]
    async with rig(admin=ON) as test:
        combinations = list(itertools.product(hosts, origins, sites, kinds))
        random.Random(13).shuffle(combinations)
        changed = 1
        for host, origin, site, kind in combinations[:120]:
            lines = [f"Origin: {origin}"] * bool(origin) + [f"Sec-Fetch-Site: {site}"] * bool(site)
            local = host in ("localhost", "127.0.0.1:9900")
            own = origin in ("", f"http://{host}") and site in ("", "same-origin", "none")
            code, *_ = await ask(test.gateway.admin_addresses[0], "/config", *lines, host=host)
            assert (code == 200) == (local and own), (host, origin, site)
            fields = lines + [f"Content-Type: {kind}"] * bool(kind) or ["X-Nothing: 1"]
            code, _ = await post(test, "/reload", None, *fields, host=host)
            may = local and own and kind == "application/json"
            assert (code == 200) == may, (host, origin, site, kind)
            changed += may
            assert test.gateway.generation == changed


async def test_changes_and_pages_want_the_token() -> None:
    chance = random.Random(3)
    wrong = [
        TOKEN[:-1],
        TOKEN + "x",
        TOKEN.swapcase(),
        "",
        *("".join(chance.sample(TOKEN, 12)) for _ in "12"),
    ]
    async with rig(admin=Admin(listen="127.0.0.1:0", token=TOKEN)) as test:
        for path in ("/config", "/routes", "/plugins", "/upstreams", "/faults", "/events", "/logs"):
            assert (await ask(test.gateway.admin_addresses[0], path))[0] == 401
            for token in wrong:
                assert (await ask(test.gateway.admin_addresses[0], path, f"Authorization: Bearer {token}"))[
                    0
                ] == 401
        for token in wrong:
            assert (await post(test, "/reload", None, JSON, f"Authorization: Bearer {token}"))[0] == 401
        assert test.gateway.generation == 1
        assert (await post(test, "/reload", None, JSON, f"Authorization: Bearer {TOKEN}"))[0] == 200


# -- streams


@contextlib.asynccontextmanager
async def stream(test: Rig, path: str) -> AsyncIterator[Client]:
    async with await trio.open_tcp_stream(*test.gateway.admin_addresses[0]) as connection:
        client = Client(connection)
        await client.send(f"GET {path} HTTP/1.1\r\nHost: localhost\r\n\r\n".encode())
        with trio.fail_after(20):
            code, fields = await client.head()
            assert (code, fields["content-type"]) == (200, "text/event-stream; charset=utf-8")
            await client.have(1)
        yield client


async def heard(client: Client, text: bytes) -> None:
    with trio.fail_after(20):
        while text not in client.buffer:
            await client.have(len(client.buffer) + 1)


async def test_events_are_told_as_they_happen(plugin: Callable[..., Plugin]) -> None:
    async with rig(admin=ON, plugins=[plugin(TRAPS)]) as test, stream(test, "/events") as client:
        await test.get()
        await heard(client, b"event: fault\ndata: {")
        await post(test, "/reload")
        await heard(client, b'"event":"reload","state":"success"')
        address = f"127.0.0.1:{test.upstream.port}"
        await post(test, "/upstreams/main/drain", {"endpoint": address})
        await heard(client, b'"event":"endpoint","state":"drained"')
        await post(test, "/plugins/guest/quarantine")
        await heard(client, b'"event":"quarantine","state":"begins"')
        async with stream(test, "/events?since=1") as late:
            await heard(late, b'"event":"quarantine","state":"begins"')
            assert b'"event":"reload","state":"success"' in late.buffer


@pytest.mark.parametrize("since", ["nan", "-1", "x", "1e999"])
async def test_a_time_that_is_none_is_refused(since: str) -> None:
    async with rig(admin=ON) as test:
        code, _, body = await ask(test.gateway.admin_addresses[0], f"/events?since={since}")
        assert code == 400 and b"since is not a time" in body


async def test_streams_end_with_the_gateway_and_with_their_clients() -> None:
    async with rig(admin=ON) as test:
        admin = test.gateway._admin
        async with stream(test, "/events"):
            assert admin._streams == 1
        await until(lambda: not admin._streams)
        async with stream(test, "/events") as client:
            with trio.fail_after(20):
                await test.gateway.drain()
                await client.rest()
        assert not admin._streams


async def test_there_are_places_left_beside_streams() -> None:
    async with rig(admin=ON) as test, contextlib.AsyncExitStack() as stack:
        for _ in range(api.MAX_STREAMS):
            await stack.enter_async_context(stream(test, "/events"))
        assert (await ask(test.gateway.admin_addresses[0], "/events"))[0] == 503
        assert (await ask(test.gateway.admin_addresses[0], "/readyz"))[0] == 200
        assert (await ask(test.gateway.admin_addresses[0], "/events", method="HEAD"))[0] == 200


async def test_who_takes_nothing_is_dropped_and_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(api, "PATIENCE", 0.3)
    monkeypatch.setattr(events, "LOOK", 0.005)
    line = b"x" * 8000 + b"\n"
    async with rig(admin=ON) as test:
        reporter = test.gateway._admin.reporter
        async with stream(test, "/logs") as client:
            with trio.fail_after(20):
                while not reporter.measures.cells(STREAMS_DROPPED)[0]:
                    for _ in range(25):
                        reporter.told.lines.show(line)
                    await trio.sleep(0.005)
            with contextlib.suppress(trio.BrokenResourceError):
                await client.rest()
        assert not test.gateway._admin._streams
        assert (await test.get())[0] == 200
