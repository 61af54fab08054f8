"""The faults: what is done to a gateway while well-behaved clients use it, and what must come of it.

A fault is an async function of an address that goes on until it is cancelled and counts what it saw.
What the well-behaved clients saw in the meantime is in ``Report``.
"""

from __future__ import annotations

import socket
import ssl
import struct
from collections import Counter
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass, field

import trio

from .origin import GOOD

__all__ = ["FAULTS", "Address", "Attack", "Fault", "Report", "Seen", "again_and_again", "asks", "run_fault"]

Address = tuple[str, int]
Seen = Counter[str]
Attack = Callable[[Address, Seen], Awaitable[None]]

SHORT, LONG = 0.8, 1.8  # seconds; LONG outlasts the one-second timeouts of the gateway under test
GOOD_CLIENTS = 4
PAUSE = 0.004  # between two requests of a well-behaved client
PROMPT = 0.5  # seconds in which it says something; the gateway under test waits for one
FEW, PATIENCE = 10, 120.0
BROKEN = (OSError, trio.BrokenResourceError, trio.ClosedResourceError)


@dataclass(frozen=True)
class Fault:
    """
    Attributes:
        many: how many do it at the same time.
        outcomes: what each of them may see: a status, ``cut`` (an answer that ends early), ``closed``,
            ``reset``, ``open`` (still waiting at the end). Anything else fails.
        wanted: outcomes that must have been seen.
        seconds: how long it must go on to be seen whole.
    """

    name: str
    attack: Attack
    many: int
    outcomes: frozenset[str]
    wanted: frozenset[str] = frozenset()
    seconds: float = SHORT


@dataclass
class Report:
    latencies: list[float] = field(default_factory=list)
    errors: list[str] = field(default_factory=list)
    seen: Seen = field(default_factory=Counter)
    enough: trio.Event = field(default_factory=trio.Event)  # FEW answers have come

    def percentile(self, part: float) -> float:
        ordered = sorted(self.latencies)
        return ordered[min(len(ordered) - 1, int(part * len(ordered)))]


async def run_fault(
    address: Address, fault: Fault | None, seconds: float, context: ssl.SSLContext | None = None
) -> Report:
    """Let well-behaved clients work for *seconds* while *fault* goes on (None: alone).

    On a machine that is busy with other things it goes on until they have had a few answers and what must be
    seen of the fault was seen, or nobody has any patience left. With *context* they speak TLS.
    """
    report = Report()

    async def time_out(working: trio.CancelScope) -> None:
        await trio.sleep(seconds)
        with trio.move_on_after(PATIENCE):
            await report.enough.wait()
            while fault is not None and not fault.wanted <= set(report.seen):  # noqa: ASYNC110
                await trio.sleep(0.05)
        working.cancel()

    async with trio.open_nursery() as nursery:
        with trio.CancelScope() as scope:
            async with trio.open_nursery() as working:
                working.start_soon(time_out, scope)
                for _ in range(GOOD_CLIENTS):
                    working.start_soon(_behave, address, report, context)
                if fault is not None:
                    for _ in range(fault.many):
                        working.start_soon(again_and_again, fault.attack, address, report.seen)
        nursery.cancel_scope.cancel()
    return report


async def _behave(address: Address, report: Report, context: ssl.SSLContext | None) -> None:
    """One request after the other; a new connection after every twentieth.

    The gateway ends a connection on which nothing is said for a second, and on a busy machine one of these
    may be that slow: what comes of that is no error.
    """
    request = b"GET /good HTTP/1.1\r\nHost: gw.test\r\n\r\n"
    while True:
        heard, asked = trio.current_time(), 0.0  # of the gateway; 0: not yet
        try:
            plain = await trio.open_tcp_stream(*address)
            async with (
                trio.SSLStream(plain, context, server_hostname=address[0]) if context else plain as stream
            ):
                for _ in range(20):
                    await stream.send_all(request)
                    asked = trio.current_time()
                    answer = await read_answer(stream)
                    report.latencies.append(trio.current_time() - asked)
                    if len(report.latencies) >= FEW:
                        report.enough.set()
                    if answer != (200, GOOD) and asked - heard < PROMPT:
                        report.errors.append(f"{answer[0]} {answer[1][:100]!r}")
                    heard, asked = trio.current_time(), 0.0
                    await trio.sleep(PAUSE)
        except (*BROKEN, EOFError) as error:
            if (asked or trio.current_time()) - heard < PROMPT:
                report.errors.append(repr(error))
            await trio.sleep(0.05)


async def read_answer(stream: trio.abc.ReceiveStream) -> tuple[int, bytes]:
    """Status and body of one answer with a length or in chunks. Raises EOFError when it is cut short."""
    data = b""
    while b"\r\n\r\n" not in data:
        data += await _more(stream)
    head, _, body = data.partition(b"\r\n\r\n")
    status = int(head.split(b" ")[1])
    fields = {line.split(b":")[0].lower(): line.split(b":", 1)[1].strip() for line in head.split(b"\r\n")[1:]}
    if b"transfer-encoding" in fields:
        while not body.endswith(b"0\r\n\r\n"):
            body += await _more(stream)
        return status, body
    while len(body) < int(fields.get(b"content-length", 0)):
        body += await _more(stream)
    return status, body


async def _more(stream: trio.abc.ReceiveStream) -> bytes:
    part = await stream.receive_some()
    if not part:
        raise EOFError
    return bytes(part)


async def again_and_again(attack: Attack, address: Address, seen: Seen) -> None:
    """Attack until cancelled; connections that break are an outcome too."""
    while True:
        try:
            await attack(address, seen)
        except trio.BrokenResourceError as error:
            seen[
                "reset" if isinstance(error.__cause__, ConnectionResetError | BrokenPipeError) else "broken"
            ] += 1
        except OSError as error:
            seen[type(error).__name__] += 1
        await trio.sleep(0.001)


async def _outcome(stream: trio.SocketStream, seen: Seen) -> None:
    """Read one answer to its end and count it."""
    waiting = "open"
    try:
        status, _ = await read_answer(stream)
        waiting = str(status)
    except EOFError:
        waiting = "cut"
    except trio.BrokenResourceError:
        waiting = "reset"
    finally:
        seen[waiting] += 1


# ---------------------------------------------------------------- upstreams that misbehave


def asks(path: str, body: bytes = b"") -> Attack:
    """Ask for what makes the origin misbehave."""
    fields = b"Content-Length: %d\r\n" % len(body) if body else b""
    method = b"POST" if body else b"GET"
    request = method + b" /" + path.encode() + b" HTTP/1.1\r\nHost: gw.test\r\n" + fields + b"\r\n" + body

    async def attack(address: Address, seen: Seen) -> None:
        async with await trio.open_tcp_stream(*address) as stream:
            with suppress(trio.BrokenResourceError):  # an early answer is still there to be read
                await stream.send_all(request)
            await _outcome(stream, seen)

    return attack


# ---------------------------------------------------------------- clients that misbehave


def trickles(data: bytes, pause: float = 0.05) -> Attack:
    """Send *data* a byte at a time, then wait."""

    async def attack(address: Address, seen: Seen) -> None:
        async with await trio.open_tcp_stream(*address) as stream, trio.open_nursery() as nursery:

            async def send() -> None:
                try:
                    for byte in data:
                        await stream.send_all(bytes([byte]))
                        await trio.sleep(pause)
                except BROKEN:
                    pass

            nursery.start_soon(send)
            await _outcome(stream, seen)
            nursery.cancel_scope.cancel()

    return attack


def leaves(data: bytes, pause: float, how: str) -> Attack:
    """Send *data*, wait, then go: ``reset``, ``close``, ``half`` (and then wait for the end), or
    ``half-reset`` (half-close, and reset a moment later)."""

    async def attack(address: Address, seen: Seen) -> None:
        async with await trio.open_tcp_stream(*address) as stream:
            await stream.send_all(data)
            await trio.sleep(pause)
            if how == "half":
                await stream.send_eof()
                await _outcome(stream, seen)
                return
            if how == "half-reset":
                await stream.send_eof()
                await trio.sleep(pause)
            if how.endswith("reset"):
                stream.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            seen["left"] += 1

    return attack


async def reads_nothing(address: Address, seen: Seen) -> None:
    """Ask for an endless answer and never read it."""
    sock = trio.socket.socket()
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    with sock:
        await sock.connect(address)
        await sock.send(b"GET /endless-body HTTP/1.1\r\nHost: gw.test\r\n\r\n")
        seen["asked"] += 1
        await trio.sleep_forever()


async def does_nothing(address: Address, seen: Seen) -> None:
    async with await trio.open_tcp_stream(*address) as stream:
        seen["connected"] += 1
        if not await stream.receive_some():
            seen["closed"] += 1


async def connects_and_goes(address: Address, seen: Seen) -> None:
    for _ in range(20):
        async with await trio.open_tcp_stream(*address):
            seen["connected"] += 1


async def pipelines(address: Address, seen: Seen) -> None:
    """A hundred requests at once, the answers read slowly."""
    async with await trio.open_tcp_stream(*address) as stream:
        await stream.send_all(b"GET /good HTTP/1.1\r\nHost: gw.test\r\n\r\n" * 100)
        data = b""
        while data.count(GOOD) < 100:
            data += await _more(stream)
        seen["answered"] += 1


def floods(data: bytes) -> Attack:
    """Send *data* as fast as it is taken, until refused."""

    async def attack(address: Address, seen: Seen) -> None:
        async with await trio.open_tcp_stream(*address) as stream:
            with suppress(trio.BrokenResourceError):
                await stream.send_all(data)
            await _outcome(stream, seen)

    return attack


START = b"GET /good HTTP/1.1\r\nHost: gw.test\r\n"
WAITING = b"GET /%s HTTP/1.1\r\nHost: gw.test\r\n\r\n"
POST = b"POST /good HTTP/1.1\r\nHost: gw.test\r\nContent-Length: 100000\r\n\r\n"
CHUNKS = b"POST /good HTTP/1.1\r\nHost: gw.test\r\nTransfer-Encoding: chunked\r\n\r\n"
LONG_FIELD = START + b"X-A: " + b"a" * 5_000_000
MANY_FIELDS = START + b"A: b\r\n" * 500_000
TINY_CHUNKS = CHUNKS + b"1\r\nx\r\n" * 20_000 + b"0\r\n\r\n"


def upstream(name: str, *outcomes: str, wanted: str = "", body: bytes = b"") -> Fault:
    need = frozenset({wanted or outcomes[0]})
    seconds = LONG if name.startswith("stall") else SHORT
    return Fault(f"upstream-{name}", asks(name, body), 8, frozenset({*outcomes, "open"}), need, seconds)


def client(name: str, attack: Attack, many: int, *outcomes: str, wanted: str = "") -> Fault:
    need = frozenset({wanted}) if wanted else frozenset()
    seconds = LONG if name in ("slow-head", "slow-body", "idle-2000", "stalled-body") else SHORT
    return Fault(f"client-{name}", attack, many, frozenset({*outcomes, "open"}), need, seconds)


FAULTS = [
    upstream("close", "502"),
    upstream("reset", "502"),
    upstream("stall", "504"),
    upstream("garbage", "502"),
    upstream("cut", "cut", "502"),
    upstream("cut-chunked", "cut", "502"),
    upstream("reset-in-body", "cut", "502", "reset"),
    upstream("stall-in-body", "cut", "504"),
    upstream("stall-in-head", "504"),
    upstream("trickle", "200", wanted="200"),
    upstream("twice", "200"),
    upstream("two-lengths", "502"),
    upstream("unasked-101", "502"),
    upstream("interim-flood", "502", "103", wanted="103"),
    upstream("endless-head", "502"),
    upstream("early", "413", "reset", "cut", body=b"x" * 500_000),
    client("slow-head", trickles(START + b"X-A: " + b"a" * 200), 200, "408", "cut", "reset", wanted="408"),
    client("slow-body", trickles(CHUNKS + b"1\r\nx\r\n" * 3), 200, "408", "cut", "reset"),
    client("stalled-body", leaves(POST, 0, "half"), 20, "400", "408", "cut", wanted="400"),
    client("reads-nothing", reads_nothing, 50, "asked", "reset", "broken"),
    client("idle-2000", does_nothing, 2000, "connected", "closed", "reset", "broken", wanted="connected"),
    client("connects-and-goes", connects_and_goes, 20, "connected", wanted="connected"),
    client("pipelines", pipelines, 8, "answered", wanted="answered"),
    client("reset-at-once", leaves(b"", 0, "reset"), 20, "left", wanted="left"),
    client("reset-in-head", leaves(START, 0.01, "reset"), 20, "left", wanted="left"),
    client("reset-in-body", leaves(POST + b"x" * 1000, 0.01, "reset"), 20, "left", wanted="left"),
    client("reset-waiting", leaves(WAITING % b"stall", 0.02, "reset"), 20, "left", wanted="left"),
    client("reset-behind-end", leaves(WAITING % b"stall", 0.02, "half-reset"), 20, "left", wanted="left"),
    client("reset-behind-more", leaves(WAITING % b"stall" + START, 0.02, "reset"), 20, "left", wanted="left"),
    client("reset-stalled", leaves(WAITING % b"stall-in-body", 0.02, "reset"), 20, "left", wanted="left"),
    client("reset-in-answer", leaves(WAITING % b"endless-body", 0.02, "reset"), 8, "left", wanted="left"),
    client("half-close-in-head", leaves(START, 0.01, "half"), 20, "400", "408", "cut", wanted="400"),
    client("half-close-waiting", leaves(WAITING % b"trickle", 0.02, "half"), 20, "200"),
    client("head-flood", floods(LONG_FIELD), 8, "431", "400", "cut", "reset", wanted="431"),
    client("field-flood", floods(MANY_FIELDS), 8, "431", "400", "cut", "reset", wanted="431"),
    client("tiny-chunks", floods(TINY_CHUNKS), 4, "200", wanted="200"),
    client("garbage", floods(bytes(range(256)) * 100), 20, "400", "cut", "reset", wanted="400"),
]  # fmt: skip
