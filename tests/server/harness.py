"""A raw client, a scripted upstream and a gateway between them, all over real sockets."""

from __future__ import annotations

import contextlib
import functools
import ssl
import tempfile
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any

import h11
import pytest
import trio
import trustme

import blitz
from blitz.config import (
    Certificate,
    Config,
    Http,
    Limits,
    Listener,
    Route,
    Timeouts,
    Tls,
    Upstream,
    UpstreamTls,
)
from blitz.server import tls_native

Script = Callable[["Served"], Awaitable[None]]


@dataclass(frozen=True)
class Authority:
    """A certificate authority with its files, for one test run."""

    ca: trustme.CA
    file: str

    def certificate(self, *names: str, **options: Any) -> str:
        """Path of a PEM file with key, certificate and chain."""
        made = self.ca.issue_cert(*names, **options).private_key_and_cert_chain_pem
        with tempfile.NamedTemporaryFile(
            dir=self.file.rpartition("/")[0], suffix=".pem", delete=False
        ) as file:
            file.write(made.bytes())
        return file.name

    def server_context(self, *names: str) -> ssl.SSLContext:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self.ca.issue_cert(*names).configure_cert(context)
        return context

    def client_context(self) -> ssl.SSLContext:
        return ssl.create_default_context(cafile=self.file)


@functools.cache
def localhost_certificate() -> str:
    return authority().certificate("localhost")


@functools.cache
def authority() -> Authority:
    """One for all tests: making keys takes time. Its files live as long as the process."""
    directory = tempfile.TemporaryDirectory(prefix="blitz-tls-")
    _kept.append(directory)
    ca = trustme.CA()
    ca.cert_pem.write_to_path(f"{directory.name}/ca.pem")
    return Authority(ca, f"{directory.name}/ca.pem")


_kept: list[tempfile.TemporaryDirectory[str]] = []


@dataclass
class Served:
    """One connection at the upstream: what arrived on it, and the stream to answer on."""

    stream: trio.SocketStream | trio.SSLStream[trio.SocketStream]
    received: bytearray = field(default_factory=bytearray)

    async def head(self) -> bytes:
        """Read through the next empty line; what follows stays in ``received``."""
        while b"\r\n\r\n" not in self.received:
            data = await self.stream.receive_some()
            if not data:
                raise EOFError(bytes(self.received))
            self.received += data
        end = self.received.index(b"\r\n\r\n") + 4
        head = bytes(self.received[:end])
        del self.received[:end]
        return head

    async def exactly(self, size: int) -> bytes:
        while len(self.received) < size:
            data = await self.stream.receive_some()
            if not data:
                raise EOFError(bytes(self.received))
            self.received += data
        data = bytes(self.received[:size])
        del self.received[:size]
        return data

    async def send(self, data: bytes) -> None:
        await self.stream.send_all(data)


class FakeUpstream:
    """Runs *script* for every connection; keeps what it was sent."""

    def __init__(self, script: Script, context: ssl.SSLContext | None = None) -> None:
        self.script = script
        self.context = context
        self.connections: list[Served] = []
        self.heads: list[bytes] = []
        self.port = 0

    async def run(self, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        async with trio.open_nursery() as nursery:
            listeners = await nursery.start(trio.serve_tcp, self._accept, 0)
            self.port = listeners[0].socket.getsockname()[1]
            task_status.started()

    @property
    def endpoint(self) -> str:
        return f"http{'s' if self.context else ''}://127.0.0.1:{self.port}"

    async def _accept(self, stream: trio.SocketStream) -> None:
        if self.context is None:
            await self._serve(stream)
            return
        encrypted = trio.SSLStream(stream, self.context, server_side=True)
        with contextlib.suppress(trio.BrokenResourceError):
            await encrypted.do_handshake()
            await self._serve(encrypted)

    async def _serve(self, stream: trio.SocketStream | trio.SSLStream[trio.SocketStream]) -> None:
        served = Served(stream)
        self.connections.append(served)
        with contextlib.suppress(
            trio.BrokenResourceError, trio.ClosedResourceError, EOFError, h11.ProtocolError
        ):
            await self.script(served)
        with contextlib.suppress(trio.BrokenResourceError, trio.ClosedResourceError):
            await stream.aclose()


async def until(condition: Callable[[], object], patience: float = 20.0) -> None:
    """Wait for what the other side of a socket brings about; a condition that never comes is an error."""
    with trio.fail_after(patience):
        while True:
            if condition():
                return
            await trio.sleep(0.005)


def answering(answer: bytes, *, when: trio.Event | None = None, arrived: trio.Event | None = None) -> Script:
    """Read a head (no body), set *arrived*, wait until *when*, send *answer*; again and again."""

    async def script(served: Served) -> None:
        while True:
            await served.head()
            if arrived is not None:
                arrived.set()
            if when is not None:
                await when.wait()
            await served.send(answer)

    return script


async def echo(served: Served) -> None:
    """An h11 server that answers with what reached it: request line, headers, body."""
    connection = h11.Connection(h11.SERVER)
    if served.received:
        connection.receive_data(bytes(served.received))
    request: Any = None
    body = b""
    while True:
        event = connection.next_event()
        if event is h11.NEED_DATA:
            if connection.they_are_waiting_for_100_continue:
                await served.send(b"HTTP/1.1 100 Continue\r\n\r\n")
            connection.receive_data(await served.stream.receive_some())
        elif isinstance(event, h11.Request):
            request, body = event, b""
        elif isinstance(event, h11.Data):
            body += bytes(event.data)
        elif isinstance(event, h11.EndOfMessage):
            lines = [request.method + b" " + request.target]
            lines += [name + b": " + value for name, value in request.headers]
            answer = b"\n".join(lines) + b"\n\n" + body
            for part in (
                h11.Response(status_code=200, headers=[("Content-Length", str(len(answer)))]),
                h11.Data(data=answer),
                h11.EndOfMessage(),
            ):
                data = connection.send(part)
                if data:
                    await served.send(data)
            if connection.our_state is h11.MUST_CLOSE:
                return
            connection.start_next_cycle()
        else:
            return


class Client:
    """A raw client: bytes out, parsed answers in."""

    def __init__(self, stream: trio.SocketStream | trio.SSLStream[trio.SocketStream]) -> None:
        self.stream = stream
        self.buffer = bytearray()

    async def send(self, data: bytes) -> None:
        await self.stream.send_all(data)

    async def _more(self) -> bool:
        data = await self.stream.receive_some()
        self.buffer += data
        return bool(data)

    async def head(self) -> tuple[int, dict[str, str]]:
        while b"\r\n\r\n" not in self.buffer:
            if not await self._more():
                raise EOFError(bytes(self.buffer))
        end = self.buffer.index(b"\r\n\r\n")
        lines = self.buffer[:end].decode("latin-1").split("\r\n")
        del self.buffer[: end + 4]
        fields = {}
        for line in lines[1:]:
            name, _, value = line.partition(":")
            fields[name.lower()] = value.strip()
        return int(lines[0].split()[1]), fields

    async def answer(self, method: str = "GET") -> tuple[int, dict[str, str], bytes]:
        status, fields = await self.head()
        if method == "HEAD" or status in (204, 304) or status < 200:
            return status, fields, b""
        if fields.get("transfer-encoding") == "chunked":
            return status, fields, await self.rest_of_chunks()
        if "content-length" in fields:
            return status, fields, await self.exactly(int(fields["content-length"]))
        return status, fields, await self.rest()

    async def rest(self) -> bytes:
        while await self._more():
            pass
        data = bytes(self.buffer)
        self.buffer.clear()
        return data

    async def have(self, size: int) -> None:
        """Read until so much is in the buffer."""
        while len(self.buffer) < size:
            if not await self._more():
                raise EOFError(bytes(self.buffer))

    async def exactly(self, size: int) -> bytes:
        await self.have(size)
        data = bytes(self.buffer[:size])
        del self.buffer[:size]
        return data

    async def rest_of_chunks(self) -> bytes:
        body = b""
        while True:
            while b"\r\n" not in self.buffer:
                if not await self._more():
                    raise EOFError(bytes(self.buffer))
            line, _, rest = bytes(self.buffer).partition(b"\r\n")
            self.buffer[:] = rest
            size = int(line, 16)
            body += await self.exactly(size)
            assert await self.exactly(2) == b"\r\n"
            if not size:
                return body

    async def closed(self) -> bool:
        """The gateway has closed, and nothing more came."""
        try:
            return not self.buffer and not await self.stream.receive_some()
        except trio.BrokenResourceError:
            return True


@dataclass
class Rig:
    gateway: blitz.Gateway
    upstream: FakeUpstream
    nursery: trio.Nursery
    config: Config
    opened: list[trio.SocketStream] = field(default_factory=list)
    encrypted: bool = False

    async def open(self) -> trio.SocketStream:
        """A connection on which nothing was said yet."""
        host, port = self.gateway.addresses[0]
        stream = await trio.open_tcp_stream(host, port)
        self.opened.append(stream)
        return stream

    async def connect(self) -> Client:
        stream = await self.open()
        if not self.encrypted:
            return Client(stream)
        context = authority().client_context()
        return Client(trio.SSLStream(stream, context, server_hostname="localhost"))

    async def close(self) -> None:
        for stream in self.opened:
            await trio.aclose_forcefully(stream)  # without a goodbye: what tests leave need not be read

    async def get(self, target: str = "/", **headers: str) -> tuple[int, dict[str, str], bytes]:
        client = await self.connect()
        lines = "".join(f"{name.replace('_', '-')}: {value}\r\n" for name, value in headers.items())
        await client.send(f"GET {target} HTTP/1.1\r\nHost: test\r\n{lines}\r\n".encode())
        answer = await client.answer()
        await client.stream.aclose()
        return answer


@contextlib.asynccontextmanager
async def rig(
    script: Script = echo,
    *,
    parser: str = "auto",
    timeouts: Timeouts | None = None,
    limits: Limits | None = None,
    upgrades: list[str] | None = None,
    forwarded: str = "x-forwarded",
    request_id_header: str = "",
    main: dict[str, Any] | None = None,
    **config: Any,
) -> AsyncIterator[Rig]:
    """A gateway in front of one fake upstream. Where *parser* ends in "+tls" there is TLS on both sides, in
    "+tls-in" to clients only, in "+tls-in-python" the same without C.

    *main*: settings of that upstream.
    """
    parser, _, encrypted = parser.partition("+")
    driven_by_c = pytest.MonkeyPatch()
    driven_by_c.setattr(tls_native, "enabled", encrypted != "tls-in-python")
    onward = encrypted == "tls"
    upstream = FakeUpstream(script, authority().server_context("127.0.0.1") if onward else None)
    if encrypted:
        config.setdefault("listen", [Listener(address="127.0.0.1:0", tls=True)])
        config.setdefault("tls", Tls(certs=[Certificate(cert=localhost_certificate())]))
    async with trio.open_nursery() as nursery:
        await nursery.start(upstream.run)
        config.setdefault("listen", ["127.0.0.1:0"])
        config.setdefault("routes", [Route(upstream="main")])
        tls = UpstreamTls(ca=authority().file) if onward else UpstreamTls()
        config.setdefault(
            "upstreams", {"main": Upstream(endpoints=[upstream.endpoint], tls=tls, **(main or {}))}
        )
        whole = Config(
            http=Http(
                parser=parser,  # type: ignore[arg-type]
                upgrades=upgrades or ["websocket"],
                forwarded=forwarded,  # type: ignore[arg-type]
                request_id_header=request_id_header,
            ),
            timeouts=timeouts or Timeouts(),
            limits=limits or Limits(),
            **config,
        )
        async with blitz.open_gateway(whole) as gateway:
            test = Rig(gateway, upstream, nursery, whole, encrypted=bool(encrypted))
            try:
                yield test
            finally:
                driven_by_c.undo()
                with trio.CancelScope(shield=True):
                    await test.close()
        nursery.cancel_scope.cancel()
