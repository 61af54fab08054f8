"""Who the client is: trusted proxies, their fields and their PROXY headers; nobody else's word counts."""

from __future__ import annotations

import contextlib
import struct
from pathlib import Path
from typing import Any

import pytest
import trio
import wasmtime

from blitz.config import Certificate, Config, Limits, Listener, Plugin, Route, Timeouts, Tls, Upstream
from blitz.server.proxy_protocol import SIGNATURE, write_header

from .harness import Client, Rig, authority, localhost_certificate, rig

LOOPBACK = ["127.0.0.0/8"]


@pytest.fixture
def address_plugin(tmp_path: Path) -> Plugin:
    """Sets x-client and x-port on the request to what plugins see of the client."""
    module = """(module
      (import "blitz" "get_property" (func $get (param i32 i32 i32 i32) (result i32)))
      (import "blitz" "set_header" (func $set (param i32 i32 i32 i32)))
      (memory (export "memory") 1)
      (data (i32.const 0) "client.address") (data (i32.const 32) "x-client")
      (data (i32.const 64) "client.port") (data (i32.const 96) "x-port")
      (func (export "blitz_buffer") (result i32) (i32.const 4096))
      (func (export "blitz_buffer_size") (result i32) (i32.const 4096))
      (func $copy (param $p i32) (param $pl i32) (param $h i32) (param $hl i32) (local $n i32)
        (local.set $n (call $get (local.get $p) (local.get $pl) (i32.const 16384) (i32.const 1024)))
        (if (i32.ge_s (local.get $n) (i32.const 0))
          (then (call $set (local.get $h) (local.get $hl) (i32.const 16384) (local.get $n)))))
      (func (export "process_request") (param i32 i32 i32 i32) (result i32)
        (call $copy (i32.const 0) (i32.const 14) (i32.const 32) (i32.const 8))
        (call $copy (i32.const 64) (i32.const 11) (i32.const 96) (i32.const 6))
        (i32.const 0)))"""
    path = tmp_path / "address.wasm"
    path.write_bytes(wasmtime.wat2wasm(module))
    return Plugin(name="address", file=str(path), response_body="none")


async def ask(client: Client, *lines: str) -> dict[str, str]:
    """The fields that reached the upstream; several lines of one field are joined by "|"."""
    head = "".join(f"{line}\r\n" for line in ("GET / HTTP/1.1", "Host: test", *lines))
    await client.send(head.encode() + b"\r\n")
    status, _, body = await client.answer()
    assert status == 200, body
    fields: dict[str, str] = {}
    for line in body.decode().partition("\n\n")[0].split("\n")[1:]:
        name, _, value = line.partition(": ")
        fields[name] = f"{fields[name]}|{value}" if name in fields else value
    return fields


FORGED = (
    "X-Forwarded-For: 203.0.113.5",
    "X-Forwarded-Proto: https",
    "X-Forwarded-Host: evil.example",
    "Forwarded: for=203.0.113.5;proto=https;host=evil.example",
)


@pytest.mark.parametrize("parser", ["auto", "h11"])
@pytest.mark.parametrize("trusted", [[], ["10.0.0.0/8"]])
async def test_nobody_elses_word_counts(parser: str, trusted: list[str], address_plugin: Plugin) -> None:
    async with rig(parser=parser, trusted_proxies=trusted, plugins=[address_plugin]) as test:
        client = await test.connect()
        for _ in range(3):
            seen = await ask(client, *FORGED)
            assert seen["x-forwarded-for"] == "127.0.0.1"
            assert seen["x-forwarded-proto"] == "http"
            assert seen["x-client"] == "127.0.0.1"
            assert "x-forwarded-host" not in seen
            assert "forwarded" not in seen


@pytest.mark.parametrize("parser", ["auto", "h11"])
async def test_a_trusted_proxy_names_another_client_for_each_request(
    parser: str, address_plugin: Plugin
) -> None:
    async with rig(parser=parser, trusted_proxies=LOOPBACK, plugins=[address_plugin]) as test:
        client = await test.connect()
        seen = await ask(client, "X-Forwarded-For: 1.1.1.1, 203.0.113.5, 127.0.0.9", *FORGED[1:])
        assert seen["x-client"] == "203.0.113.5"
        assert "x-port" not in seen or not seen["x-port"]
        assert seen["x-forwarded-for"] == "1.1.1.1, 203.0.113.5, 127.0.0.9, 127.0.0.1"
        assert seen["x-forwarded-proto"] == "https"
        assert seen["x-forwarded-host"] == "evil.example"
        assert "forwarded" not in seen  # the field that is not trusted
        seen = await ask(client, "X-Forwarded-For: 2001:db8::7")
        assert seen["x-client"] == "2001:db8::7"
        assert seen["x-forwarded-for"] == "2001:db8::7, 127.0.0.1"
        assert seen["x-forwarded-proto"] == "http"
        assert "x-forwarded-host" not in seen
        seen = await ask(client)
        assert seen["x-client"] == seen["x-forwarded-for"] == "127.0.0.1"


async def test_forwarded_is_trusted_where_the_proxies_write_it(address_plugin: Plugin) -> None:
    async with rig(
        trusted_proxies=LOOPBACK,
        trusted_field="forwarded",
        forwarded="both",
        plugins=[address_plugin],
    ) as test:
        client = await test.connect()
        seen = await ask(
            client, "X-Forwarded-For: 9.9.9.9", 'Forwarded: for="[2001:db8::7]:80";proto=https;by=_b'
        )
        assert seen["x-client"] == "2001:db8::7"
        assert seen["forwarded"] == 'for="[2001:db8::7]:80";by=_b;proto=https, for=127.0.0.1;proto=https'
        assert seen["x-forwarded-for"] == "2001:db8::7, 127.0.0.1"
        seen = await ask(client, "Forwarded: for=203.0.113.5;;=")
        assert seen["x-client"] == "127.0.0.1"
        assert seen["forwarded"] == "for=127.0.0.1;proto=http"


SECURE = [
    ("x-forwarded-for", ("X-Forwarded-Proto: wss",)),
    ("x-forwarded-for", ("X-Forwarded-Proto: https, https",)),
    (
        "x-forwarded-for",
        ("X-Forwarded-Proto: https", "X-Forwarded-For: 10.1.1.1", "X-Forwarded-Proto: https"),
    ),
    ("forwarded", ("Forwarded: proto=https",)),
    ("forwarded", ("Forwarded: for=203.0.113.5;proto=WSS",)),
]


@pytest.mark.parametrize("parser", ["auto", "h11"])
@pytest.mark.parametrize(("field", "lines"), SECURE)
async def test_a_client_that_spoke_tls_to_a_proxy_is_secure(
    parser: str, field: str, lines: tuple[str, ...]
) -> None:
    async with rig(parser=parser, trusted_proxies=LOOPBACK, trusted_field=field, forwarded="both") as test:
        client = await test.connect()
        for _ in range(3):
            seen = await ask(client, *lines)
            assert seen["x-forwarded-proto"] == "https"
            assert seen["forwarded"].endswith("for=127.0.0.1;proto=https")
        assert (await ask(client))["x-forwarded-proto"] == "http"  # the next client may be another one


@pytest.mark.parametrize("parser", ["auto", "h11"])
@pytest.mark.parametrize(
    ("kind", "names"),
    [
        ("x-forwarded", {"x-forwarded-for", "x-forwarded-proto", "x-forwarded-host"}),
        ("forwarded", {"forwarded"}),
        ("both", {"x-forwarded-for", "x-forwarded-proto", "x-forwarded-host", "forwarded"}),
    ],
)
async def test_what_upstreams_are_told(parser: str, kind: str, names: set[str]) -> None:
    """The host that was asked for is told where the upstream gets another one, and only there."""
    async with rig() as origin:
        upstreams = {
            "as-asked": Upstream(endpoints=[origin.upstream.endpoint]),
            "renamed": Upstream(endpoints=[origin.upstream.endpoint], host="internal.example"),
        }
        routes = [Route(upstream="as-asked"), Route(upstream="renamed", path_prefix="/r")]
        async with rig(parser=parser, upstreams=upstreams, routes=routes, forwarded=kind) as test:
            client = await test.connect()
            for _ in range(2):
                for asked in ("a.example", "b.example"):
                    await client.send(f"GET /r HTTP/1.1\r\nHost: {asked}\r\n\r\n".encode())
                    body = (await client.answer())[2].decode()
                    told = {line.partition(": ")[0] for line in body.split("\n")[1:]}
                    assert (
                        told & {"x-forwarded-for", "x-forwarded-proto", "x-forwarded-host", "forwarded"}
                        == names
                    )
                    assert "host: internal.example\n" in body
                    assert ("x-forwarded-host" not in names) or f"x-forwarded-host: {asked}\n" in body
                    assert ("forwarded" not in names) or f"for=127.0.0.1;proto=http;host={asked}\n" in body
                    seen = await ask(client)
                    assert seen["host"] == "test"
                    assert "x-forwarded-host" not in seen
                    assert seen.get("forwarded", "for=127.0.0.1;proto=http") == "for=127.0.0.1;proto=http"


async def test_trust_that_is_withdrawn_ends_at_once(address_plugin: Plugin) -> None:
    async with rig(trusted_proxies=LOOPBACK, plugins=[address_plugin]) as test:
        client = await test.connect()
        assert (await ask(client, FORGED[0]))["x-client"] == "203.0.113.5"
        config = Config(
            routes=[Route(upstream=test.upstream.endpoint)], plugins=[address_plugin], listen=["127.0.0.1:0"]
        )
        await test.gateway.reload(config)
        seen = await ask(client, FORGED[0])
        assert seen["x-client"] == seen["x-forwarded-for"] == "127.0.0.1"


async def test_plugins_cannot_change_who_the_client_is(tmp_path: Path) -> None:
    """Neither where the request goes on on the fast path, nor where it leaves it after the plugin ran."""
    module = """(module
      (import "blitz" "set_header" (func $set (param i32 i32 i32 i32)))
      (memory (export "memory") 1)
      (data (i32.const 0) "x-forwarded-for") (data (i32.const 32) "6.6.6.6")
      (func (export "blitz_buffer") (result i32) (i32.const 4096))
      (func (export "blitz_buffer_size") (result i32) (i32.const 4096))
      (func (export "process_request") (param i32 i32 i32 i32) (result i32)
        (call $set (i32.const 0) (i32.const 15) (i32.const 32) (i32.const 7))
        (i32.const 0)))"""
    path = tmp_path / "forger.wasm"
    path.write_bytes(wasmtime.wat2wasm(module))
    plugin = Plugin(name="forger", file=str(path), response_body="none")
    for trusted, told in ((LOOPBACK, "203.0.113.5, 127.0.0.1"), ([], "127.0.0.1")):
        async with rig(trusted_proxies=trusted, plugins=[plugin]) as test:
            client = await test.connect()
            for _ in range(3):
                assert (await ask(client, FORGED[0]))["x-forwarded-for"] == told


async def test_clients_are_remembered_within_bounds(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("blitz.server.peer.MAX_CLIENTS", 10)
    async with rig(trusted_proxies=LOOPBACK) as test:
        client = await test.connect()
        for number in [*range(25), 3, 24, 3]:
            seen = await ask(client, f"X-Forwarded-For: 203.0.113.{number}")
            assert seen["x-forwarded-for"] == f"203.0.113.{number}, 127.0.0.1"
        long = ", ".join(["198.51.100.1"] * 100)
        assert (await ask(client, f"X-Forwarded-For: {long}"))["x-forwarded-for"] == f"{long}, 127.0.0.1"
        known = test.gateway._context.runtime.trust._clients
        assert 0 < len(known) <= 10


# -- PROXY headers


def proxy_rig(*, tls: bool = False, trusted: list[str] = LOOPBACK, **options: Any) -> Any:
    listen = [Listener(address="127.0.0.1:0", tls=tls, proxy_protocol=True)]
    if tls:
        options["tls"] = Tls(certs=[Certificate(cert=localhost_certificate())])
    return rig(listen=listen, trusted_proxies=trusted, **options)


HEADERS = [
    pytest.param(write_header(("203.0.113.5", 4711), ("10.0.0.1", 443)), ("203.0.113.5", "4711"), id="v2"),
    pytest.param(write_header(("2001:db8::7", 1), ("::1", 443)), ("2001:db8::7", "1"), id="v2-6"),
    pytest.param(b"PROXY TCP4 203.0.113.5 10.0.0.1 4711 443\r\n", ("203.0.113.5", "4711"), id="v1"),
    pytest.param(SIGNATURE + b"\x20\x00\x00\x00", ("127.0.0.1", ""), id="local"),
    pytest.param(b"PROXY UNKNOWN\r\n", ("127.0.0.1", ""), id="unknown"),
]


async def after(test: Rig, header: bytes, *, tls: bool = False, bytewise: bool = False) -> Client:
    stream = await test.open()
    for piece in [bytes([byte]) for byte in header] if bytewise else [header]:
        await stream.send_all(piece)
    if tls:
        return Client(trio.SSLStream(stream, authority().client_context(), server_hostname="localhost"))
    return Client(stream)


@pytest.mark.parametrize(("header", "client"), HEADERS)
@pytest.mark.parametrize("tls", [False, True])
@pytest.mark.parametrize("bytewise", [False, True])
async def test_a_proxy_header_names_the_client(
    header: bytes, client: tuple[str, str], tls: bool, bytewise: bool, address_plugin: Plugin
) -> None:
    async with proxy_rig(tls=tls, plugins=[address_plugin]) as test:
        connection = await after(test, header, tls=tls, bytewise=bytewise)
        for _ in range(2):
            seen = await ask(connection)
            assert seen["x-client"] == seen["x-forwarded-for"] == client[0]
            assert seen["x-forwarded-proto"] == ("https" if tls else "http")
            if client[1]:
                assert seen["x-port"] == client[1]
                # It is the client now, and no proxy: what it writes about others is dropped.
                assert (await ask(connection, *FORGED))["x-client"] == client[0]


TLS_CLIENT = b"\x20\x00\x05\x01\x00\x00\x00\x00"


@pytest.mark.parametrize(
    ("kind", "addresses"),
    [(0x11, bytes((203, 0, 113, 5, 10, 0, 0, 1)) + struct.pack("!HH", 1, 443)), (0, b"")],
)
async def test_a_client_whose_tls_ends_at_the_proxy_is_secure(kind: int, addresses: bytes) -> None:
    header = SIGNATURE + struct.pack("!BBH", 0x21, kind, len(addresses) + 8) + addresses + TLS_CLIENT
    async with proxy_rig() as test:
        client = await after(test, header)
        for _ in range(3):
            assert (await ask(client))["x-forwarded-proto"] == "https"


async def test_header_and_request_in_one_segment(address_plugin: Plugin) -> None:
    async with proxy_rig(plugins=[address_plugin]) as test:
        client = Client(await test.open())
        await client.send(HEADERS[0].values[0] + b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")
        assert b"x-client: 203.0.113.5\n" in (await client.answer())[2]


BAD = [
    pytest.param(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n", id="none"),
    pytest.param(b"PROXY TCP4 1.1.1.1\r\nGET / HTTP/1.1\r\nHost: a\r\n\r\n", id="bad-v1"),
    pytest.param(SIGNATURE + struct.pack("!BBH", 0x21, 0x11, 65535) + bytes(500), id="too-long"),
    pytest.param(SIGNATURE + b"\x11\x11\x00\x0c" + bytes(12), id="bad-version"),
]


@pytest.mark.parametrize("sent", BAD)
async def test_a_trusted_proxy_without_a_good_header_is_refused(sent: bytes) -> None:
    async with proxy_rig() as test:
        client = Client(await test.open())
        await client.send(sent)
        with trio.fail_after(20):
            assert await client.closed()
        assert not test.upstream.connections


async def test_a_header_that_does_not_end_is_given_up() -> None:
    async with proxy_rig(timeouts=Timeouts(handshake=0.2)) as test:
        for start in (b"", b"PROXY TCP4 ", SIGNATURE):
            client = Client(await test.open())
            await client.send(start)
            with trio.fail_after(20):
                assert await client.closed()


async def test_somebody_elses_header_is_not_believed(address_plugin: Plugin) -> None:
    async with proxy_rig(trusted=["10.0.0.0/8"], plugins=[address_plugin]) as test:
        assert (await ask(Client(await test.open())))["x-client"] == "127.0.0.1"
        for header in (HEADERS[0].values[0], HEADERS[2].values[0]):
            client = Client(await test.open())
            await client.send(header + b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")
            with trio.fail_after(20):
                assert (await client.answer())[0] == 400
        assert len(test.upstream.connections) == 1


async def test_connections_are_counted_for_the_client_and_not_for_its_proxy() -> None:
    limits = Limits(max_connections_per_address=2)
    async with proxy_rig(limits=limits) as test:
        one = write_header(("203.0.113.5", 1), ("10.0.0.1", 443))
        other = write_header(("203.0.113.6", 1), ("10.0.0.1", 443))
        first, second = await after(test, one), await after(test, one)
        await ask(first)
        await ask(second)
        third = await after(test, one)
        with trio.fail_after(20):
            assert await third.closed()
        for _ in range(2):
            await ask(await after(test, other))
        await first.stream.aclose()
        with trio.fail_after(20):
            while test.gateway.statistics().connections > 3:  # noqa: ASYNC110
                await trio.sleep(0.02)
        await ask(await after(test, one))
        assert test.gateway.statistics().counters.refused == 1


async def test_a_client_that_is_no_proxy_is_counted_as_before() -> None:
    async with rig(limits=Limits(max_connections_per_address=1)) as test:
        client = await test.connect()
        await ask(client)
        second = await test.connect()
        with trio.fail_after(20), contextlib.suppress(trio.BrokenResourceError):
            assert await second.closed()
