"""The kinds of endpoints: TLS with verification, Unix sockets, several addresses, PROXY headers."""

from __future__ import annotations

import contextlib
import socket
import ssl
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import trio
import trustme

from blitz.config import Config, Limits, Route, Timeouts, Upstream, UpstreamTls
from blitz.server.proxy_protocol import missing, parse_header
from blitz.server.tls import TlsFilesError

from .harness import Authority, FakeUpstream, Script, Served, answering, authority, echo, rig

GET = b"GET / HTTP/1.1\r\nHost: test\r\n\r\n"
OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"


@contextlib.asynccontextmanager
async def https(
    script: Script = echo, *, context: ssl.SSLContext | None = None, name: str = "127.0.0.1", **tls: Any
):
    """A gateway in front of one https upstream; *tls* are the keys of ``[upstreams.main.tls]``."""
    server = FakeUpstream(script, context or authority().server_context(name))
    async with trio.open_nursery() as nursery:
        await nursery.start(server.run)
        settings = UpstreamTls(**{"ca": authority().file, **tls})
        upstreams = {"main": Upstream(endpoints=[server.endpoint], tls=settings)}
        async with rig(upstreams=upstreams) as test:
            test.upstream = server
            yield test
        nursery.cancel_scope.cancel()


async def test_an_https_upstream_is_used_again_and_again() -> None:
    async with https() as test:
        client = await test.connect()
        for _ in range(5):
            await client.send(GET)
            assert (await client.answer())[0] == 200
        # TLS 1.3's session tickets arrive unasked, and are no reason to give the connection up.
        assert len(test.upstream.connections) == 1


@pytest.fixture
def stranger(tmp_path: Path) -> Authority:
    ca = trustme.CA()
    ca.cert_pem.write_to_path(str(tmp_path / "ca.pem"))
    return Authority(ca, str(tmp_path / "ca.pem"))


async def test_verification_is_on(stranger: Authority, caplog: pytest.LogCaptureFixture) -> None:
    async def status(**options: Any) -> int:
        async with https(**options) as test:
            return (await test.get())[0]

    assert await status() == 200
    assert await status(ca="") == 502  # the system's authorities do not know ours
    assert "certificate refused: unable to get local issuer certificate" in caplog.text
    assert await status(ca=stranger.file) == 502
    caplog.clear()
    assert await status(name="other.example") == 502
    assert "certificate refused: IP address mismatch" in caplog.text
    assert await status(name="other.example", server_name="other.example") == 200
    assert await status(name="other.example", server_name="another.example") == 502
    assert await status(ca="", verify=False) == 200
    assert await status(ca="", verify=False, context=stranger.server_context("x")) == 200


async def test_an_expired_certificate_is_refused() -> None:
    import datetime

    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    past = datetime.datetime(2020, 1, 1, tzinfo=datetime.UTC)
    authority().ca.issue_cert("127.0.0.1", not_after=past).configure_cert(context)
    async with https(context=context) as test:
        assert (await test.get())[0] == 502


async def test_the_upstream_may_want_our_certificate() -> None:
    context = authority().server_context("127.0.0.1")
    context.verify_mode = ssl.CERT_REQUIRED
    context.load_verify_locations(authority().file)
    async with https(context=context) as test:
        assert (await test.get())[0] == 502
    async with https(context=context, cert=authority().certificate("gateway")) as test:
        assert (await test.get())[0] == 200


async def test_a_plain_upstream_behind_https_is_502() -> None:
    plain = FakeUpstream(echo)
    async with trio.open_nursery() as nursery:
        await nursery.start(plain.run)
        endpoints = [f"https://127.0.0.1:{plain.port}"]
        async with rig(upstreams={"main": Upstream(endpoints=endpoints)}) as test:
            with trio.fail_after(20):
                assert (await test.get())[0] == 502
        nursery.cancel_scope.cancel()


async def test_a_handshake_that_never_ends_is_504() -> None:
    async with trio.open_nursery() as nursery:

        async def silent(stream: trio.SocketStream) -> None:
            await trio.sleep_forever()

        listener = (await nursery.start(trio.serve_tcp, silent, 0))[0]
        endpoints = [f"https://127.0.0.1:{listener.socket.getsockname()[1]}"]
        timeouts = Timeouts(connect=0.2)
        async with rig(upstreams={"main": Upstream(endpoints=endpoints)}, timeouts=timeouts) as test:
            with trio.fail_after(20):
                assert (await test.get())[0] == 504
        nursery.cancel_scope.cancel()


async def test_a_body_that_ends_without_close_notify_was_cut() -> None:
    """The answer ends with the connection: over TLS its end must be a word of the upstream's."""
    finish = True

    async def script(served: Served) -> None:
        await served.head()
        await served.send(b"HTTP/1.1 200 OK\r\n\r\nhalf of it")
        if not finish:
            assert isinstance(served.stream, trio.SSLStream)
            await trio.aclose_forcefully(served.stream.transport_stream)

    async with https(script) as test:
        assert (await test.get())[2] == b"half of it"
        finish = False
        client = await test.connect()
        await client.send(GET)
        assert (await client.head())[0] == 200
        with pytest.raises((EOFError, trio.BrokenResourceError)):
            await client.rest_of_chunks()


@pytest.mark.parametrize("surprise", [b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nevil", b"", None])
async def test_an_idle_tls_connection_with_anything_on_it_is_not_used(surprise: bytes | None) -> None:
    """Data that nobody asked for, an end with close_notify (b""), an end without (None)."""
    said, go = trio.Event(), trio.Event()

    async def script(served: Served) -> None:
        for number in range(2):
            await served.head()
            await served.send(OK)
            if len(test.upstream.connections) == 1 and not number:
                await go.wait()
                if surprise:
                    await served.send(surprise)
                elif surprise is None:
                    assert isinstance(served.stream, trio.SSLStream)
                    await trio.aclose_forcefully(served.stream.transport_stream)
                else:
                    await served.stream.aclose()
                said.set()

    async with https(script) as test:
        client = await test.connect()
        await client.send(GET)
        assert (await client.answer())[2] == b"ok"
        go.set()
        await said.wait()
        await client.send(b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\n\r\n")
        assert (await client.answer())[2] == b"ok"
        assert len(test.upstream.connections) == 2


async def test_a_reload_closes_idle_tls_connections_in_order() -> None:
    ended = trio.Event()

    async def script(served: Served) -> None:
        await served.head()
        await served.send(OK)
        with pytest.raises(EOFError):  # BrokenResourceError without close_notify
            await served.head()
        ended.set()

    async with https(script) as test:
        assert (await test.get())[0] == 200
        await test.gateway.reload(Config(listen=["127.0.0.1:0"], routes=[Route(answer={"status": 200})]))
        with trio.fail_after(20):
            await ended.wait()


async def test_files_of_upstreams_are_named_when_they_cannot_be_used(tmp_path: Path) -> None:
    with pytest.RaisesGroup(
        pytest.RaisesExc(TlsFilesError, match="upstreams.main.tls.ca: /nowhere"), flatten_subgroups=True
    ):
        async with https(ca="/nowhere"):
            pass


# -- Unix sockets


async def test_a_unix_socket(tmp_path: Path) -> None:
    path = tmp_path / "app.sock"
    served = FakeUpstream(echo)
    listener = trio.SocketListener(await unix_listener(path))
    async with trio.open_nursery() as nursery:
        nursery.start_soon(trio.serve_listeners, served._serve, [listener])
        async with rig(routes=[Route(upstream=f"unix:{path}")]) as test:
            client = await test.connect()
            for _ in range(3):
                await client.send(GET)
                assert (await client.answer())[0] == 200
            await client.send(b"GET / HTTP/1.0\r\n\r\n")
            assert b"host: localhost\n" in (await client.answer())[2]
            assert len(served.connections) == 1
        nursery.cancel_scope.cancel()


async def unix_listener(path: Path) -> Any:
    made = trio.socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    await made.bind(str(path))
    made.listen()
    return made


async def test_no_unix_socket_there_is_502(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    async with rig(routes=[Route(upstream=f"unix:{tmp_path}/nowhere")]) as test:
        assert (await test.get())[0] == 502
        assert "no such socket file" in caplog.text


# -- several addresses


async def test_endpoints_are_tried_in_turn() -> None:
    async with rig() as test:
        dead = ["http://127.0.0.1:1", "unix:/nowhere/app.sock", "https://127.0.0.1:1"]
        upstreams = {"main": Upstream(endpoints=[*dead, test.upstream.endpoint])}
        async with rig(upstreams=upstreams) as front:
            for _ in range(8):
                assert (await front.get())[0] == 200


class Resolver(trio.abc.HostnameResolver):
    def __init__(self, *addresses: str) -> None:
        self.addresses = addresses

    async def getaddrinfo(self, host: Any, port: Any, *_: Any, **__: Any) -> list[Any]:
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (address, port)) for address in self.addresses]

    async def getnameinfo(self, sockaddr: Any, flags: int) -> Any:
        raise AssertionError


@pytest.fixture
def resolve_to() -> Any:
    def use(*addresses: str) -> None:
        trio.socket.set_custom_hostname_resolver(Resolver(*addresses))

    return use


async def test_all_addresses_of_a_name_are_tried(resolve_to: Callable[..., None]) -> None:
    async with rig() as test:
        resolve_to("127.0.0.2", "127.0.0.3", "127.0.0.1")  # the upstream listens on all, the first two not
        listener = test.upstream.port
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            free.listen()
            port = free.getsockname()[1]
            assert listener
            endpoints = [f"http://app.example:{port}"]
            async with rig(upstreams={"main": Upstream(endpoints=endpoints)}) as front:

                async def answer() -> None:
                    taken, _ = await trio.to_thread.run_sync(free.accept)
                    with taken:
                        await trio.to_thread.run_sync(taken.recv, 4096)
                        taken.sendall(OK)

                async with trio.open_nursery() as nursery:
                    nursery.start_soon(answer)
                    with trio.fail_after(20):
                        assert (await front.get())[0] == 200


async def test_an_address_that_says_nothing_costs_its_share_once(resolve_to: Callable[..., None]) -> None:
    """A full backlog swallows SYNs, as a host that is gone does."""
    with contextlib.ExitStack() as stack:
        gone = stack.enter_context(socket.socket())
        gone.bind(("127.0.0.2", 0))
        gone.listen(0)
        port = gone.getsockname()[1]
        for _ in range(3):
            filler = stack.enter_context(socket.socket())
            filler.setblocking(False)
            with contextlib.suppress(BlockingIOError):
                filler.connect(("127.0.0.2", port))
        upstream = FakeUpstream(answering(OK))
        async with trio.open_nursery() as nursery:
            serve = trio.SocketListener(await tcp_listener("127.0.0.1", port))
            nursery.start_soon(trio.serve_listeners, upstream._serve, [serve])
            resolve_to("127.0.0.2", "127.0.0.1")
            endpoints = [f"http://app.example:{port}"]
            main = Upstream(endpoints=endpoints, max_idle=0)
            async with rig(upstreams={"main": main}, timeouts=Timeouts(connect=1.6)) as front:
                times = []
                for _ in range(6):
                    before = trio.current_time()
                    assert (await front.get())[0] == 200
                    times.append(trio.current_time() - before)
            assert times[0] > 0.6
            assert sorted(times[1:])[2] < 0.6  # a busy machine may be late for some
            nursery.cancel_scope.cancel()


async def tcp_listener(host: str, port: int) -> Any:
    made = trio.socket.socket()
    await made.bind((host, port))
    made.listen()
    return made


# -- PROXY headers


def reading_header(seen: list[Any], context: ssl.SSLContext | None = None) -> Script:
    """Take a PROXY header, then answer requests; over TLS when there is a context."""

    async def script(served: Served) -> None:
        received = b""
        while more := missing(received):
            received += await served.stream.receive_some(more)  # and not a byte more
        header = parse_header(received)
        seen.append((header.address, header.port))
        if context is not None:
            assert isinstance(served.stream, trio.SocketStream)
            served.stream = trio.SSLStream(served.stream, context, server_side=True)
        while True:
            await served.head()
            await served.send(OK)

    return script


@pytest.mark.parametrize("encrypted", [False, True])
async def test_a_proxy_header_names_the_client_on_a_connection_of_its_own(encrypted: bool) -> None:
    seen: list[Any] = []
    context = authority().server_context("127.0.0.1") if encrypted else None

    async def exactly(served: Served) -> None:
        await reading_header(seen, context)(served)

    upstream = FakeUpstream(exactly)
    async with trio.open_nursery() as nursery:
        await nursery.start(upstream.run)
        endpoint = f"http{'s' if encrypted else ''}://127.0.0.1:{upstream.port}"
        tls = UpstreamTls(ca=authority().file) if encrypted else UpstreamTls()
        main = Upstream(endpoints=[endpoint], tls=tls, proxy_protocol="v2")
        async with rig(upstreams={"main": main}) as test:
            first, second = await test.connect(), await test.connect()
            for client in (first, second, first):
                await client.send(GET)
                assert (await client.answer())[2] == b"ok"
            ports = [client.stream.socket.getsockname()[1] for client in (first, second, first)]
            assert seen == [("127.0.0.1", port) for port in ports]
        nursery.cancel_scope.cancel()


async def test_connections_with_headers_count_towards_max_connections() -> None:
    seen: list[Any] = []
    upstream = FakeUpstream(reading_header(seen))
    async with trio.open_nursery() as nursery:
        await nursery.start(upstream.run)
        main = Upstream(
            endpoints=[f"http://127.0.0.1:{upstream.port}"], proxy_protocol="v2", max_connections=1
        )
        async with rig(upstreams={"main": main}, limits=Limits()) as test, trio.open_nursery() as clients:
            for _ in range(5):
                clients.start_soon(test.get)
        assert len(seen) == 5
        nursery.cancel_scope.cancel()
