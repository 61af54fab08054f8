"""TLS on the fast path: C and Python drive the same SSL object in turns, and a client cannot tell which it
was. Every case here runs with and without C."""

from __future__ import annotations

import contextlib
import ctypes
import hashlib
import os
import random
import shutil
import socket
import ssl
import subprocess
import sys
from collections.abc import AsyncIterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import trio
from hypothesis import given, settings
from hypothesis import strategies as st

from blitz.config import Timeouts, Tls
from blitz.server import tls_native

from .harness import Client, Rig, Served, answering, authority, localhost_certificate, rig, until
from .test_fast_path_collecting import reading
from .test_tls import ask, property_plugin

DRIVERS = ["auto+tls-in", "auto+tls-in-python"]
VERSIONS = [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3]
GET = b"GET / HTTP/1.1\r\nHost: test\r\n\r\n"
POST = b"POST /stall HTTP/1.1\r\nHost: test\r\nContent-Length: 10000\r\n\r\n"
OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"
drivers = pytest.mark.parametrize("driver", DRIVERS)
versions = pytest.mark.parametrize("version", VERSIONS)


class Wire:
    """A client whose ciphertext can be seen and cut: an SSL object over memory, and the socket."""

    def __init__(self, stream: trio.SocketStream, context: ssl.SSLContext) -> None:
        self.stream = stream
        self.incoming, self.outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        self.object = context.wrap_bio(self.incoming, self.outgoing, server_hostname="localhost")
        self.plain = b""

    async def shake(self, last: bytes = b"") -> None:
        """*last* is sent along with the last flight of the handshake."""
        while True:
            try:
                self.object.do_handshake()
            except ssl.SSLWantReadError:
                await self.stream.send_all(self.outgoing.read())
                self.incoming.write(await self.stream.receive_some())
            else:
                if last:
                    self.object.write(last)
                await self.stream.send_all(self.outgoing.read())
                return

    def records(self, data: bytes) -> bytes:
        self.object.write(data)
        return self.outgoing.read()

    def goodbye(self) -> bytes:
        """Our close_notify."""
        with contextlib.suppress(ssl.SSLWantReadError):
            self.object.unwrap()
        return self.outgoing.read()

    async def receive(self) -> bytes:
        """Some plaintext; b"" after close_notify.

        Raises: EOFError where the stream ends without one; ssl.SSLError for an alert.
        """
        while True:
            try:
                return self.object.read(65536)
            except ssl.SSLZeroReturnError:
                return b""
            except ssl.SSLWantReadError:
                data = await self.stream.receive_some()
                if not data:
                    raise EOFError from None
                self.incoming.write(data)

    async def read(self, size: int) -> bytes:
        while len(self.plain) < size:
            more = await self.receive()
            if not more:
                raise EOFError
            self.plain += more
        found, self.plain = self.plain[:size], self.plain[size:]
        return found


def client_context(version: ssl.TLSVersion = ssl.TLSVersion.TLSv1_3) -> ssl.SSLContext:
    context = authority().client_context()
    context.minimum_version = context.maximum_version = version
    context.options &= ~ssl.OP_IGNORE_UNEXPECTED_EOF
    return context


@contextlib.asynccontextmanager
async def wire(
    test: Rig, version: ssl.TLSVersion = ssl.TLSVersion.TLSv1_3, last: bytes = b""
) -> AsyncIterator[Wire]:
    with trio.fail_after(30):
        async with await test.open() as stream:
            made = Wire(stream, client_context(version))
            await made.shake(last)
            yield made


def parked(test: Rig) -> int:
    """Connections that C has now."""
    return len(test.gateway._context.fast_path._tables.parked)


async def numbers(served: Served) -> None:
    """Answer the n-th request of a connection whose target is /n with n bytes."""
    while True:
        size = int((await served.head()).split(b" ", 2)[1][1:])
        await served.send(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % size + b"x" * size)


def number(size: int) -> bytes:
    return b"GET /%d HTTP/1.1\r\nHost: test\r\n\r\n" % size


async def read_number(client: Wire, size: int) -> None:
    head = b""
    while not head.endswith(b"\r\n\r\n"):
        head += await client.read(1)
    assert b"content-length: %d\r\n" % size in head.lower()
    assert await client.read(size) == b"x" * size


# -- who drives


@pytest.mark.parametrize(("driver", "by_c"), [(DRIVERS[0], 1), (DRIVERS[1], 0)])
async def test_c_drives_where_it_can(driver: str, by_c: int) -> None:
    async with rig(answering(OK), parser=driver) as test:
        assert tls_native.why_not() == ""
        before = await test.open()
        await until(lambda: test.gateway.statistics().connections == 1)
        await trio.testing.wait_all_tasks_blocked(0.01)
        assert parked(test) == by_c  # its handshake
        async with wire(test) as client:
            for _ in range(3):
                await client.stream.send_all(client.records(GET))
                await client.read(len(OK))
            await until(lambda: parked(test) == 2 * by_c)
        await before.aclose()


IN_A_PROCESS = """
import sys, _ssl, ssl, importlib
{change}
from blitz.server import tls_native
print(tls_native.why_not())
context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
made, state = tls_native.wrap(context, ssl.MemoryBIO(), ssl.MemoryBIO(), server_side=True)
from blitz._native import ffi
assert isinstance(made, ssl.SSLObject) and state.ssl == ffi.NULL
"""


@pytest.mark.parametrize(
    ("change", "why"),
    [
        pytest.param("del _ssl.__file__", "ssl is built into this interpreter", id="built in"),
        pytest.param(
            "import _json; _ssl.__file__ = _json.__file__", "shows no CRYPTO_get_ex_new_index", id="hidden"
        ),
        pytest.param("_ssl.__file__ = '/nowhere/_ssl.so'", "/nowhere/_ssl.so is not loaded", id="elsewhere"),
    ],
)
def test_where_c_cannot_reach_openssl_python_goes_on(change: str, why: str) -> None:
    done = subprocess.run(
        [sys.executable, "-c", IN_A_PROCESS.format(change=change)], capture_output=True, text=True, check=True
    )
    assert done.stdout.strip().endswith(why)


# -- records


@drivers
@versions
async def test_a_request_with_the_last_flight_of_the_handshake(driver: str, version: ssl.TLSVersion) -> None:
    """It lies in memory by then: no edge of the socket tells of it."""
    async with rig(numbers, parser=driver) as test:
        for size in (5, 50):
            async with wire(test, version, last=number(size)) as client:
                await read_number(client, size)


@drivers
@versions
@pytest.mark.parametrize("seed", range(3))
async def test_any_split_of_records_and_segments(driver: str, version: ssl.TLSVersion, seed: int) -> None:
    chance = random.Random(seed)
    sizes = [chance.choice((0, 1, 100, 5000, 16384, 70000)) for _ in range(12)]
    requests = b"".join(map(number, sizes))
    async with rig(numbers, parser=driver) as test, wire(test, version) as client:
        cipher, at = b"", 0
        while at < len(requests):
            size = chance.choice((1, 2, 10, 1000))
            cipher += client.records(requests[at : at + size])
            at += size

        async def send() -> None:
            left = cipher
            while left:
                size = chance.choice((1, 3, 20, 500, 5000))
                await client.stream.send_all(left[:size])
                left = left[size:]
                await trio.lowlevel.checkpoint()

        async with trio.open_nursery() as nursery:
            nursery.start_soon(send)
            for size in sizes:
                await read_number(client, size)


async def _exchange_in_parts(driver: str, sizes: list[int], cuts: list[int]) -> None:
    async with rig(numbers, parser=driver) as test, wire(test) as client:
        for size in sizes:
            left = client.records(number(size))
            for cut in cuts:
                await client.stream.send_all(left[:cut])
                left = left[cut:]
            await client.stream.send_all(left)
            await read_number(client, size)


@drivers
@settings(max_examples=8)
@given(
    sizes=st.lists(st.integers(0, 40000), min_size=1, max_size=4),
    cuts=st.lists(st.integers(1, 30), max_size=4),
)
def test_every_cut_of_a_record(driver: str, sizes: list[int], cuts: list[int]) -> None:
    trio.run(_exchange_in_parts, driver, sizes, cuts)


async def count_body(served: Served) -> None:
    while True:
        head = await served.head()
        length = int(head.lower().partition(b"content-length: ")[2].split(b"\r\n")[0])
        body = hashlib.sha256(await served.exactly(length)).hexdigest().encode()
        await served.send(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%b" % (len(body), body))


@drivers
@versions
async def test_requests_that_fill_a_buffer_to_its_last_byte(driver: str, version: ssl.TLSVersion) -> None:
    """More may be in the library then, of which the socket does not tell."""
    async with rig(count_body, parser=driver) as test, wire(test, version) as client:
        for total in (16383, 16384, 16385, 2 * 16384, 70000):
            head = b"POST / HTTP/1.1\r\nHost: test\r\nContent-Length: %d\r\n\r\n"
            size = total - len(head % 10000)
            whole = head % size + os.urandom(size)
            body = whole.partition(b"\r\n\r\n")[2]
            await client.stream.send_all(client.records(whole) + client.records(whole))
            for _ in range(2):
                answer = b""
                while not answer.endswith(hashlib.sha256(body).hexdigest().encode()):
                    answer += await client.read(1)


@drivers
@versions
async def test_an_answer_that_the_client_takes_slowly(driver: str, version: ssl.TLSVersion) -> None:
    """Half of it is ciphertext already when the socket is full: the rest goes out in order, once."""
    block = random.Random(1).randbytes(200_000)

    async def script(served: Served) -> None:
        while True:
            await served.head()
            await served.send(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(block) + block)

    async with rig(script, parser=driver) as test:
        host, port = test.gateway.addresses[0]
        sock = trio.socket.socket()
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        await sock.connect((host, port))
        async with trio.SocketStream(sock) as stream:
            client = Wire(stream, client_context(version))
            with trio.fail_after(30):
                await client.shake()
                for _ in range(6):
                    await stream.send_all(client.records(GET))
                    await trio.testing.wait_all_tasks_blocked(0.01)
                    head = b""
                    while not head.endswith(b"\r\n\r\n"):
                        head += await client.read(1)
                    assert await client.read(len(block)) == block


# -- ends


@drivers
@versions
async def test_close_notify_is_answered_between_requests(driver: str, version: ssl.TLSVersion) -> None:
    async with rig(answering(OK), parser=driver) as test:
        for requests in (0, 1, 3):
            async with wire(test, version) as client:
                for _ in range(requests):
                    await client.stream.send_all(client.records(GET))
                    await read_answer(client)
                await client.stream.send_all(client.goodbye())
                assert await client.receive() == b""
        await until(lambda: not test.gateway.statistics().connections)


async def read_answer(client: Wire) -> bytes:
    """An answer as OK."""
    answer = b""
    while not answer.endswith(b"\r\n\r\nok"):
        answer += await client.read(1)
    return answer


@drivers
@versions
@pytest.mark.parametrize("fin", [False, True])
async def test_a_half_closed_client_gets_its_answer(driver: str, version: ssl.TLSVersion, fin: bool) -> None:
    """close_notify right behind the request, also in the same segment, with and without the socket's end."""
    answer = trio.Event()
    async with rig(answering(OK, when=answer), parser=driver) as test, wire(test, version) as client:
        answer.set()
        await client.stream.send_all(client.records(GET))
        await read_answer(client)
        await client.stream.send_all(client.records(GET) + client.goodbye())
        if fin:
            await client.stream.send_eof()
        await read_answer(client)
        assert await client.receive() == b""


@drivers
@versions
@pytest.mark.parametrize("part", [0, 1, 10, -1])
async def test_an_end_without_close_notify_is_none(driver: str, version: ssl.TLSVersion, part: int) -> None:
    """At the border of a record or in it: the connection ends at once, and is not said to be whole."""
    async with rig(answering(OK), parser=driver) as test, wire(test, version) as client:
        await client.stream.send_all(client.records(GET))
        await read_answer(client)
        if part:
            await client.stream.send_all(client.records(GET)[:part])
        await client.stream.send_eof()
        with pytest.raises((EOFError, ssl.SSLError)):  # OpenSSL 3 sends an alert
            await client.receive()
        assert test.gateway.statistics().counters.internal_errors == 0


@drivers
@pytest.mark.parametrize("part", [0, 1, 100])
async def test_an_end_in_the_handshake(driver: str, part: int) -> None:
    """The client's end may come in the same edge as the bytes before it."""
    async with rig(answering(OK), parser=driver, timeouts=Timeouts(handshake=60)) as test:
        async with await test.open() as stream:
            client = Wire(stream, client_context())
            with contextlib.suppress(ssl.SSLWantReadError):
                client.object.do_handshake()
            if part:
                await stream.send_all(client.outgoing.read()[:part])
            await stream.send_eof()
            with trio.fail_after(30):
                assert not await stream.receive_some()
        await until(lambda: test.gateway.statistics().counters.tls_failures == 1)


@drivers
@versions
@pytest.mark.parametrize("seed", range(3))
async def test_a_damaged_record_ends_its_own_connection(
    driver: str, version: ssl.TLSVersion, seed: int
) -> None:
    chance = random.Random(seed)
    async with rig(answering(OK), parser=driver) as test, wire(test, version) as good:
        async with wire(test, version) as bad:
            await bad.stream.send_all(bad.records(GET))
            await read_answer(bad)
            record = bytearray(bad.records(GET))
            record[chance.randrange(5, len(record))] ^= 1 << chance.randrange(8)
            await bad.stream.send_all(record)
            with pytest.raises((ssl.SSLError, EOFError)):
                assert await bad.receive() != b""
        await good.stream.send_all(good.records(GET))
        await read_answer(good)
        assert test.gateway.statistics().counters.internal_errors == 0


@drivers
@pytest.mark.parametrize("seed", range(4))
async def test_garbage_after_the_handshake(driver: str, seed: int) -> None:
    async with rig(answering(OK), parser=driver) as test, wire(test) as client:
        chance = random.Random(seed)
        with contextlib.suppress(trio.BrokenResourceError):
            await client.stream.send_all(chance.randbytes(chance.choice((5, 100, 40000))))
            await client.stream.send_eof()
        with pytest.raises((ssl.SSLError, EOFError, trio.BrokenResourceError)):
            assert await client.receive() != b""
        await until(lambda: not test.gateway.statistics().connections)
        assert test.gateway.statistics().counters.internal_errors == 0


@drivers
async def test_deadlines_between_requests_and_before_the_first(driver: str) -> None:
    async with rig(answering(OK), parser=driver, timeouts=Timeouts(keepalive=0.2, head=0.2)) as test:
        for requests in (0, 1):
            async with wire(test) as client:
                for _ in range(requests):
                    await client.stream.send_all(client.records(GET))
                    await read_answer(client)
                assert await client.receive() == b""


@drivers
@pytest.mark.parametrize("pause", [0, 0.02])
@pytest.mark.parametrize("requests", [0, 1])
async def test_a_drip_of_a_record_is_no_request(driver: str, pause: float, requests: int) -> None:
    """Ciphertext that is no whole record puts no deadline off, nor does a byte that comes at the deadline."""
    async with rig(answering(OK), parser=driver, timeouts=Timeouts(head=0.3, keepalive=0.3)) as test:
        async with wire(test) as client, trio.open_nursery() as nursery:
            for _ in range(requests):
                await client.stream.send_all(client.records(GET))
                await read_answer(client)

            async def drip() -> None:
                with contextlib.suppress(trio.BrokenResourceError):
                    for byte in client.records(b"x" * 16384)[:-1]:
                        await client.stream.send_all(bytes([byte]))
                        await trio.sleep(pause)
                await trio.sleep_forever()

            nursery.start_soon(drip)
            with contextlib.suppress(trio.BrokenResourceError):
                assert await client.receive() == b""
            nursery.cancel_scope.cancel()
        await until(lambda: test.gateway.statistics().counters.timeouts == 1)


async def never_a_post(served: Served) -> None:
    while not (await served.head()).startswith(b"POST"):
        await served.send(OK)
    await trio.sleep_forever()


@drivers
@pytest.mark.parametrize("plugins", [False, True])
async def test_a_drip_of_a_record_is_no_body(driver: str, plugins: bool, tmp_path: Path) -> None:
    """The time for the next piece of a body counts from the last one, whatever ciphertext comes."""
    given = [reading(tmp_path)] if plugins else []
    times = Timeouts(body_idle=0.3)
    async with (
        rig(never_a_post, parser=driver, timeouts=times, plugins=given) as test,
        wire(test) as client,
        trio.open_nursery() as nursery,
    ):
        for _ in range(2):  # the first opens the upstream connection
            await client.stream.send_all(client.records(GET))
            await read_answer(client)
        await client.stream.send_all(client.records(POST + b"x"))
        record = client.records(b"x" * 16000)

        async def drip() -> None:
            with contextlib.suppress(trio.BrokenResourceError, trio.ClosedResourceError):
                for byte in record[:-1]:
                    await client.stream.send_all(bytes([byte]))
                    await trio.sleep(0.01)

        nursery.start_soon(drip)
        assert b" 408 " in await client.receive()
        nursery.cancel_scope.cancel()


@drivers
@pytest.mark.parametrize("when", ["handshake", "idle", "busy"])
async def test_a_connection_may_be_cancelled_at_any_moment(driver: str, when: str) -> None:
    never, arrived = trio.Event(), trio.Event()
    with trio.fail_after(30), trio.CancelScope() as scope:
        served = rig(answering(OK, when=never, arrived=arrived), parser=driver)
        async with served as test, await test.open() as stream:
            client = Wire(stream, client_context())
            if when != "handshake":
                await client.shake()
            if when == "busy":
                await stream.send_all(client.records(GET))
                await arrived.wait()
            await until(lambda: test.gateway.statistics().connections == 1)
            scope.cancel()
            await trio.sleep_forever()
    assert scope.cancelled_caught


@drivers
async def test_a_drain_ends_idle_connections_with_close_notify(driver: str) -> None:
    async with rig(answering(OK), parser=driver) as test, wire(test) as client:
        await client.stream.send_all(client.records(GET))
        await read_answer(client)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(test.gateway.drain, 10)
            assert await client.receive() == b""


# -- what the handshake agreed on


@versions
async def test_plugins_see_the_same_with_both_drivers(version: ssl.TLSVersion, tmp_path: Path) -> None:
    context = authority().client_context()
    context.maximum_version = version
    context.load_cert_chain(authority().certificate("client.example", common_name="me"))
    settings_of_tls: dict[str, Any] = {"client_auth": "require", "client_ca": authority().file}
    seen = []
    for driver in DRIVERS:
        tls = Tls(certs=[{"cert": localhost_certificate()}], **settings_of_tls)  # type: ignore[list-item]
        served = rig(parser=driver, tls=tls, plugins=[property_plugin(tmp_path)])
        async with served as test, await test.open() as stream:
            client = trio.SSLStream(stream, context, server_hostname="localhost")
            rounds = [await ask(client) for _ in range(3)]
            assert rounds[0] == rounds[1] == rounds[2]
            seen.append({name: value for name, value in rounds[0].items() if name != "host"})
    assert seen[0] == seen[1]
    assert seen[0]["x-client-subject"].startswith("CN=me")


@drivers
async def test_why_a_handshake_failed(driver: str, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("DEBUG", "blitz.tls")
    tls = Tls(
        certs=[{"cert": localhost_certificate()}],  # type: ignore[list-item]
        client_auth="require",
        client_ca=authority().file,
    )
    async with rig(answering(OK), parser=driver, tls=tls) as test:
        with contextlib.suppress(trio.BrokenResourceError, ssl.SSLError, EOFError):
            async with wire(test) as client:
                await client.receive()
        await until(lambda: test.gateway.statistics().counters.tls_failures == 1)
        async with await test.open() as stream:
            await stream.send_all(GET)
            status, _, _ = await Client(stream).answer()
            assert status == 400
        await until(lambda: test.gateway.statistics().counters.tls_failures == 2)
    said = [record.getMessage().partition(": ")[2] for record in caplog.records]
    assert said == [
        "TLS handshake failed: peer did not return a certificate",
        "TLS handshake failed: http request",
    ]


@drivers
@pytest.mark.parametrize("command", [b"K", b"k", b"R"])
async def test_key_updates_are_followed_and_renegotiation_is_refused(driver: str, command: bytes) -> None:
    """Between two requests of a connection; "R" asks for a new handshake, which TLS 1.2 has."""
    program = shutil.which("openssl")
    if program is None:
        pytest.skip("needs openssl")
    version = "-tls1_2" if command == b"R" else "-tls1_3"
    async with rig(answering(OK), parser=driver) as test, trio.open_nursery() as nursery:
        host, port = test.gateway.addresses[0]
        process: trio.Process = await nursery.start(
            partial(
                trio.run_process,
                [program, "s_client", version, "-CAfile", authority().file, "-servername", "localhost",
                 "-connect", f"{host}:{port}"],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                check=False,
            )
        )  # fmt: skip
        assert process.stdin is not None
        assert process.stdout is not None
        said = b""

        async def read_until(count: int) -> None:
            nonlocal said
            while said.count(b"\r\n\r\nok") < count:
                more = await process.stdout.receive_some()  # type: ignore[union-attr]
                if not more:
                    raise EOFError
                said += more

        with trio.fail_after(30):
            for answers in (1, 2):
                await process.stdin.send_all(GET)
                await read_until(answers)
            await process.stdin.send_all(command + b"\n")
            if command == b"R":
                while more := await process.stdout.receive_some():
                    said += more
                assert b"no renegotiation" in said
            else:
                await trio.sleep(0.2)  # s_client takes a command only at the start of what it reads
                for answers in (3, 4):
                    await process.stdin.send_all(GET)
                    await read_until(answers)
        nursery.cancel_scope.cancel()


# -- memory


async def test_an_idle_connection_keeps_no_large_records() -> None:
    """What a large request and a large answer needed in the library's buffers is given back behind them."""
    big = 150_000

    async def script(served: Served) -> None:
        while True:
            head = await served.head()
            length = int(head.lower().partition(b"content-length: ")[2].split(b"\r\n")[0])
            await served.exactly(length)
            await served.send(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % big + b"x" * big)

    async with rig(script, parser=DRIVERS[0]) as test, wire(test) as client:
        for size in (9_000, 100_000, 9_000):
            head = b"POST / HTTP/1.1\r\nHost: test\r\nContent-Length: %d\r\n\r\n" % size
            await client.stream.send_all(client.records(head + b"y" * size))
            await read_number(client, big)
            await until(lambda: parked(test) == 1)
            (connection,) = test.gateway._context.connections
            state = connection.stream._state
            for bio in (state.inward, state.outward):
                assert held(int(tls_native.ffi.cast("intptr_t", bio))) < 4096


def held(bio: int) -> int:
    """Bytes allocated in a memory BIO."""

    class Memory(ctypes.Structure):
        _fields_ = [("length", ctypes.c_size_t), ("data", ctypes.c_void_p), ("max", ctypes.c_size_t)]

    import _ssl

    library = ctypes.CDLL(_ssl.__file__)
    control = library.BIO_ctrl
    control.argtypes = [ctypes.c_void_p, ctypes.c_int, ctypes.c_long, ctypes.c_void_p]
    found = ctypes.POINTER(Memory)()
    get_memory = 115  # BIO_C_GET_BUF_MEM_PTR
    control(bio, get_memory, 0, ctypes.byref(found))
    return int(found.contents.max)
