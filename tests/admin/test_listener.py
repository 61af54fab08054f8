"""The admin listener of a running gateway, over real sockets."""

from __future__ import annotations

import contextlib
import socket
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import pytest
import trio

import blitz
from blitz.admin.api import Admin as Listener
from blitz.admin.report import Reporter
from blitz.config import Admin, Answer, Config, Limits, Plugin, Route, Upstream
from blitz.errors import ConfigError, PluginLoadError

from ..server.harness import Client, answering, rig, until

ON = Admin(listen="127.0.0.1:0")
TOKEN = "a token of 25 characters!".replace(" ", "-")
GET = b"GET / HTTP/1.1\r\nHost: test\r\n\r\n"
OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"

MODULE = """(module (memory (export "memory") 1)
  (func (export "blitz_alloc") (param i32) (result i32) (i32.const 1024))
  {}
  (func (export "process_request") (param i32 i32 i32 i32) (result i32) {}))"""
TRAPS = MODULE.format("", "unreachable")
SPINS = MODULE.format('(func (export "init") (result i32) (loop (br 0)) (i32.const 0))', "(i32.const 0)")


async def ask(
    address: tuple[str, int], path: str = "/status", *lines: str, method: str = "GET", host: str = "localhost"
) -> tuple[int, dict[str, str], bytes]:
    """One request on a connection of its own."""
    async with await trio.open_tcp_stream(*address) as stream:
        client = Client(stream)
        fields = "".join(f"{line}\r\n" for line in (f"Host: {host}", *lines))
        await client.send(f"{method} {path} HTTP/1.1\r\n{fields}\r\n".encode())
        with trio.fail_after(20):
            return await client.answer(method)


async def status_of(gateway: blitz.Gateway) -> dict[str, Any]:
    code, fields, body = await ask(gateway.admin_addresses[0])
    assert (code, fields["content-type"]) == (200, "application/json")
    return dict(msgspec.json.decode(body))


async def test_the_pages() -> None:
    async with rig(admin=ON) as test:
        (address,) = test.gateway.admin_addresses
        for path in ("/livez", "/readyz", "/readyz?verbose"):
            code, fields, body = await ask(address, path)
            assert (code, body, fields["cache-control"]) == (200, b"ok\n", "no-store")
        assert (await ask(address, "/nothing"))[0] == 404
        code, fields, body = await ask(address, "/status", method="HEAD")
        assert (code, body) == (200, b"") and int(fields["content-length"]) > 100
        code, fields, _ = await ask(address, "/livez", method="POST")
        assert (code, fields["allow"]) == (405, "GET, HEAD")


async def test_status_says_what_the_gateway_does() -> None:
    release = trio.Event()
    async with rig(answering(OK, when=release), admin=ON) as test:
        client, idle = await test.connect(), await test.connect()
        await client.send(GET)
        await until(lambda: test.upstream.connections)
        await until(lambda: test.gateway.statistics().connections == 2)
        status = await status_of(test.gateway)
        assert (status["ready"], status["generation"], status["connections"], status["in_flight"]) == (
            True,
            1,
            2,
            1,
        )
        (worker,) = status["workers"]
        assert worker["pid"] == status["pid"] and worker["restarts"] == 0
        assert worker["uptime"] >= 0 and worker["state"] == "serving"
        release.set()
        assert (await client.answer())[0] == 200
        await idle.send(b"nonsense\r\n\r\n")
        assert (await idle.answer())[0] == 400
        status = await status_of(test.gateway)
        assert status["in_flight"] == 0
        assert status["counters"]["client_errors"] == 1
        (endpoint,) = status["upstreams"]
        assert endpoint == {
            "upstream": "main",
            "address": f"127.0.0.1:{test.upstream.port}",
            "live": 1,
            "idle": 1,
            "failures": 0,
            "failing": 0,
            "unasked": 0,
            "active": 0,
            "down": 0,
            "ejections": 0,
            "leaving": 0,
            "drained": 0,
        }


async def test_the_same_as_objects_and_without_a_listener() -> None:
    async with rig() as test:
        assert test.gateway.admin_addresses == []
        assert (await test.get())[0] == 200
        status = test.gateway.status()
        assert status.ready and test.gateway.why_not_ready() == ""
        assert status.counters.exchanges == 1
        assert [worker.state for worker in status.workers] == ["serving"]


async def test_an_upstream_that_is_down_shows() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        dead = f"http://127.0.0.1:{taken.getsockname()[1]}"
        async with rig(admin=ON, upstreams={"main": Upstream(endpoints=[dead])}) as test:
            assert (await test.get())[0] == 502
            (endpoint,) = (await status_of(test.gateway))["upstreams"]
            assert (endpoint["failures"], endpoint["failing"]) == (1, 1)


async def test_it_is_no_way_into_the_gateway_and_counts_as_none() -> None:
    async with rig(admin=ON, limits=Limits(max_connections=1)) as test:
        client = await test.connect()
        await client.send(GET)
        assert (await client.answer())[0] == 200
        status = await status_of(test.gateway)  # although the gateway itself is full
        assert (status["connections"], status["counters"]["exchanges"]) == (1, 1)
        assert (await ask(test.gateway.admin_addresses[0], "/"))[0] == 404
        assert len(test.upstream.heads) + len(test.upstream.connections) == 1


@pytest.mark.parametrize("path", ["/livez", "/readyz", "/status"])
@pytest.mark.parametrize("host", ["evil.example", "127.0.0.1.evil.example", "localhost.evil.example:80"])
async def test_another_sites_name_for_this_machine_is_refused(path: str, host: str) -> None:
    async with rig(admin=ON) as test:
        assert (await ask(test.gateway.admin_addresses[0], path, host=host))[0] == 421


@pytest.mark.parametrize("host", ["LOCALHOST:1", "127.0.0.1:9900", "[::1]:9900", "[::1]", "10.1.2.3"])
async def test_addresses_and_localhost_are_names_of_its_own(host: str) -> None:
    async with rig(admin=ON) as test:
        assert (await ask(test.gateway.admin_addresses[0], "/status", host=host))[0] == 200


async def test_the_token_is_asked_for_where_something_is_told() -> None:
    admin = Admin(listen="127.0.0.1:0", token=TOKEN)
    async with rig(admin=admin) as test:
        (address,) = test.gateway.admin_addresses
        for path in ("/livez", "/readyz"):
            assert (await ask(address, path, host="gateway.example"))[0] == 200
        wrong: list[tuple[str, ...]] = [
            (),
            ("Authorization: Bearer wrong",),
            (f"Authorization: Basic {TOKEN}",),
            (f"Authorization: Bearer {TOKEN}x",),
            (f"Authorization: {TOKEN}",),
        ]
        for lines in wrong:
            code, fields, body = await ask(address, "/status", *lines)
            assert (code, fields["www-authenticate"]) == (401, 'Bearer realm="blitz"')
            assert b"pid" not in body
        twice = (f"Authorization: Bearer {TOKEN}", "Authorization: Bearer wrong")
        assert (await ask(address, "/status", *twice))[0] in (400, 401)
        for said in ("Bearer", "bearer"):
            answer = await ask(address, "/status", f"Authorization: {said} {TOKEN}", host="gateway.example")
            assert answer[0] == 200


async def test_a_reload_changes_the_token_and_shows() -> None:
    async with rig(admin=Admin(listen="127.0.0.1:0", token=TOKEN)) as test:
        (address,) = test.gateway.admin_addresses
        other = TOKEN[::-1]
        changed = msgspec.structs.replace(test.config, admin=Admin(token=other))
        await test.gateway.reload(changed)
        assert (await ask(address, "/status", f"Authorization: Bearer {TOKEN}"))[0] == 401
        code, _, body = await ask(address, "/status", f"Authorization: Bearer {other}")
        status = msgspec.json.decode(body)
        assert (code, status["generation"], status["last_reload"]["error"]) == (200, 2, "")
        with pytest.raises(ConfigError):
            await test.gateway.reload(Config(routes=[Route(upstream="nobody")]))
        status = test.gateway.status()
        assert status.generation == 2 and status.last_reload is not None
        assert "nobody" in status.last_reload.error
        assert status.ready


def test_a_listener_that_others_reach_never_loses_its_token() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        admin = Listener(Reporter(), [listener], TOKEN)
        admin.check_token("")  # only this machine reaches it
        admin.addresses = [("0.0.0.0", 9900)]
        admin.check_token(TOKEN)
        with pytest.raises(ConfigError, match="there is no token"):
            admin.check_token("")


async def test_draining_is_said_until_the_end() -> None:
    release, arrived = trio.Event(), trio.Event()
    async with rig(answering(OK, when=release, arrived=arrived), admin=ON) as test:
        (address,) = test.gateway.admin_addresses
        client = await test.connect()
        await client.send(GET)
        await arrived.wait()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(test.gateway.drain, 10)
            await until(lambda: test.gateway.why_not_ready())
            for _ in range(3):
                assert (await ask(address, "/readyz"))[::2] == (503, b"draining\n")
                assert (await ask(address, "/livez"))[0] == 200
                await trio.sleep(0.05)
            status = await status_of(test.gateway)
            assert (status["ready"], status["trouble"], status["in_flight"]) == (False, "draining", 1)
            release.set()
        assert (await client.answer())[0] == 200

        await until(lambda: not _listens(address))


def _listens(address: tuple[str, int]) -> bool:
    with socket.socket() as sock:
        return sock.connect_ex(address) == 0


@pytest.fixture
def plugin(tmp_path: Path, wat: Callable[[str], bytes]) -> Callable[..., Plugin]:
    def make(text: str, **settings: Any) -> Plugin:
        path = tmp_path / "guest.wasm"
        path.write_bytes(wat(text))
        return Plugin(name="guest", file=str(path), **settings)

    return make


async def test_starting_is_said_before_the_first_configuration_runs(plugin: Callable[..., Plugin]) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        listener.setblocking(False)
        address = listener.getsockname()[:2]
        config = Config(
            listen=["127.0.0.1:0"],
            plugins=[plugin(SPINS, timeout=1.0)],
            routes=[Route(answer=Answer(body="hi"))],
            admin=ON,
        )

        async def serve() -> None:
            with pytest.raises(PluginLoadError, match="init ran longer"):
                await blitz.serve(config, admin_sockets=[listener])

        async with trio.open_nursery() as nursery:
            nursery.start_soon(serve)
            assert (await ask(address, "/readyz"))[::2] == (503, b"starting\n")
            assert (await ask(address, "/livez"))[0] == 200
            (worker,) = msgspec.json.decode((await ask(address, "/status"))[2])["workers"]
            assert worker["state"] == "starting"
        with pytest.raises(OSError):
            await trio.open_tcp_stream(*address)


@pytest.mark.parametrize(
    ("failure", "alone", "ready"), [("closed", True, 503), ("closed", False, 200), ("open", True, 200)]
)
async def test_not_ready_while_no_route_can_be_served(
    plugin: Callable[..., Plugin], failure: str, alone: bool, ready: int
) -> None:
    guest = plugin(TRAPS, failure=failure)
    routes = [Route(upstream="main")]
    if not alone:
        routes.append(Route(path_prefix="/other", answer=Answer(), plugins=[]))
    async with rig(admin=ON, plugins=[guest], routes=routes) as test:
        (address,) = test.gateway.admin_addresses
        assert (await ask(address, "/readyz"))[0] == 200
        for _ in range(20):
            await test.get()
        code, _, body = await ask(address, "/readyz")
        assert code == ready
        assert (b"in quarantine: guest" in body) == (ready == 503)
        status = await status_of(test.gateway)
        assert (status["plugins"]["guest"]["faults"], status["plugins"]["guest"]["quarantined"]) == (20, 1)
        await until(lambda: not test.gateway.why_not_ready())  # the first quarantine lasts a second
        assert (await ask(address, "/readyz"))[0] == 200


async def test_an_address_in_use_is_one_sentence() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        config = Config(
            listen=["127.0.0.1:0"], routes=[Route(answer=Answer())], admin=Admin(listen=f"127.0.0.1:{port}")
        )
        with pytest.raises(ConfigError, match=r"admin\.listen: .* is in use by another process"):
            async with blitz.open_gateway(config):
                pass


async def test_a_client_that_says_nothing_is_let_go(monkeypatch: pytest.MonkeyPatch) -> None:
    import blitz.admin.api as api

    monkeypatch.setattr(api, "TIMEOUTS", msgspec.structs.replace(api.TIMEOUTS, head=0.2))
    async with rig(admin=ON) as test:
        stream = await trio.open_tcp_stream(*test.gateway.admin_addresses[0])
        with trio.fail_after(20), contextlib.suppress(trio.BrokenResourceError):
            assert await stream.receive_some() == b""
        await stream.aclose()
