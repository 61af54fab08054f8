"""Under every fault of a handshake others are served at once, over TLS, and nothing leaks."""

from __future__ import annotations

import os
import resource
import socket
import ssl
import struct
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest
import trio
import trustme

from ..e2e.conftest import Process
from ..ports import free_port
from .faults import Address, Attack, Fault, Seen, run_fault

pytestmark = pytest.mark.slow

MAX_P99 = 15.0  # seconds: a client that was forgotten, on whatever machine
MAX_GROWTH = 48 * 1024 * 1024
SETTLE = 20.0
SECONDS = 1.5  # longer than the gateway's second for a handshake
BROKEN = (OSError, trio.BrokenResourceError, trio.ClosedResourceError)


@pytest.fixture(scope="module")
def context(tmp_path_factory: pytest.TempPathFactory) -> ssl.SSLContext:
    ca = trustme.CA()
    directory = tmp_path_factory.mktemp("tls")
    ca.issue_cert("127.0.0.1").private_key_and_cert_chain_pem.write_to_path(str(directory / "server.pem"))
    made = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    ca.configure_trust(made)
    made.server_pem = directory / "server.pem"  # type: ignore[attr-defined]
    return made


@pytest.fixture(scope="module")
def gateway(context: ssl.SSLContext) -> Iterator[Process]:
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(most, 20_000), most))
    port = free_port()
    origin = Process("-m", "tests.faults.origin", str(port), port=port)
    port = free_port()
    pem: Path = context.server_pem  # type: ignore[attr-defined]
    settings = [
        f'listen=[{{ address = "127.0.0.1:{port}", tls = true }}]',
        f'tls.certs=[{{ cert = "{pem}" }}]',
        "timeouts.handshake=1s",
        "timeouts.head=1s",
    ]
    options = [word for setting in settings for word in ("--set", setting)]
    process = Process("-m", "blitz", "proxy", f"127.0.0.1:{port}", origin.url, *options, port=port)
    trio.run(run_fault, ("127.0.0.1", port), None, 0.5, context)  # what is built once is no leak
    yield process
    code, output = process.stop()
    origin.stop()
    assert code == 0, output[-3000:]
    assert "Traceback" not in output, output[-3000:]


def hello(context: ssl.SSLContext) -> bytes:
    """The first flight of a client."""
    out = ssl.MemoryBIO()
    client = context.wrap_bio(ssl.MemoryBIO(), out, server_hostname="127.0.0.1")
    with suppress(ssl.SSLWantReadError):
        client.do_handshake()
    return out.read()


async def until_closed(stream: trio.SocketStream, seen: Seen) -> None:
    ended = "open"
    try:
        while await stream.receive_some():
            pass
        ended = "closed"
    except trio.BrokenResourceError:
        ended = "reset"
    finally:
        seen[ended] += 1


def says(first: bytes, *, each: int = 0, pause: float = 0.05) -> Attack:
    """Send *first*, at once or *each* bytes at a time, and wait for the end."""

    async def attack(address: Address, seen: Seen) -> None:
        async with await trio.open_tcp_stream(*address) as stream, trio.open_nursery() as nursery:

            async def send() -> None:
                with suppress(*BROKEN):
                    for at in range(0, len(first), each or len(first) or 1):
                        await stream.send_all(first[at : at + (each or len(first))])
                        await trio.sleep(pause if each else 0)

            nursery.start_soon(send)
            await until_closed(stream, seen)
            nursery.cancel_scope.cancel()

    return attack


def leaves(first: bytes) -> Attack:
    """Reset the connection in the middle of a handshake."""

    async def attack(address: Address, seen: Seen) -> None:
        async with await trio.open_tcp_stream(*address) as stream:
            stream.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            with suppress(*BROKEN):
                await stream.send_all(first)
        seen["left"] += 1

    return attack


def shakes_hands(context: ssl.SSLContext) -> Attack:
    """Whole handshakes, one after the other, and not a request."""

    async def attack(address: Address, seen: Seen) -> None:
        async with await trio.open_tcp_stream(*address) as plain:
            await trio.SSLStream(plain, context, server_hostname="127.0.0.1").do_handshake()
        seen["left"] += 1

    return attack


def half_a_record(context: ssl.SSLContext) -> Attack:
    """After a handshake, a record that never comes to its end."""

    async def attack(address: Address, seen: Seen) -> None:
        async with await trio.open_tcp_stream(*address) as plain:
            await trio.SSLStream(plain, context, server_hostname="127.0.0.1").do_handshake()
            with suppress(*BROKEN):
                await plain.send_all(b"\x17\x03\x03\x40\x00" + bytes(1000))
            await until_closed(plain, seen)

    return attack


def faults(context: ssl.SSLContext) -> dict[str, Fault]:
    def fault(name: str, attack: Attack, many: int, *outcomes: str) -> Fault:
        return Fault(name, attack, many, frozenset((*outcomes, "open")), frozenset(outcomes[:1]), SECONDS)

    first = hello(context)
    made = [
        fault("silence", says(b""), 500, "closed", "reset"),
        fault("hello-in-drops", says(first, each=3), 100, "closed", "reset"),
        fault("hello-and-no-more", says(first), 100, "closed", "reset"),
        fault("garbage", says(os.urandom(600)), 20, "closed", "reset"),
        fault("plain-http", says(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n"), 20, "closed", "reset"),
        fault("huge-record", says(b"\x16\x03\x01\xff\xff" + bytes(70_000)), 20, "closed", "reset"),
        fault("resets", leaves(first), 20, "left"),
        fault("resets-in-the-hello", leaves(first[:100]), 20, "left"),
        fault("handshakes", shakes_hands(context), 4, "left"),
        fault("half-a-record", half_a_record(context), 50, "closed", "reset"),
    ]
    return {one.name: one for one in made}


NAMES = (
    *("silence", "hello-in-drops", "hello-and-no-more", "garbage", "plain-http", "huge-record"),
    *("resets", "resets-in-the-hello", "handshakes", "half-a-record"),
)


@pytest.mark.parametrize("name", NAMES)
def test_others_do_not_notice(gateway: Process, context: ssl.SSLContext, name: str) -> None:
    known = faults(context)
    assert set(known) == set(NAMES)
    fault = known[name]
    files, memory = gateway.open_files(), gateway.resident()
    report = trio.run(run_fault, ("127.0.0.1", gateway.port), fault, fault.seconds, context)
    assert report.errors == []
    assert len(report.latencies) > 3  # a paced client on a machine that may be busy
    assert report.percentile(0.99) < MAX_P99
    seen = dict(report.seen)
    assert set(seen) <= fault.outcomes, seen
    assert seen.keys() & (fault.wanted | {"reset"}), seen
    deadline = time.monotonic() + SETTLE
    while gateway.open_files() > files + 16:
        assert time.monotonic() < deadline, "file descriptors leak"
        time.sleep(0.1)
    assert gateway.resident() - memory < MAX_GROWTH, "memory grows"
