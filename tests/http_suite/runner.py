"""Play cases against a running target."""

from __future__ import annotations

import itertools
import socket
import string
import struct
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass

import trio
import trio.lowlevel

from .case import (
    Await,
    AwaitAnswers,
    AwaitUpstream,
    Byte,
    Case,
    Close,
    HalfClose,
    Observation,
    Pause,
    Reset,
    Step,
)
from .judge import judge
from .link import TlsLink, connect
from .upstream import Upstream, default_body
from .wire import Response, WireError, parse_responses

__all__ = ["Result", "Rig", "observe_case", "play_case", "run_rig"]

DIGITS = string.digits + string.ascii_lowercase
_numbers = itertools.count(1)
FOLLOW_WAIT = 10.0
CLOSE_WAIT = 5.0
SETTLE = 0.01
UNSAFE = (
    "target died",
    "upstream could not read",
    "client could not read",
    "smuggled",
    "upstream got",
    "client got",
)


@dataclass
class Result:
    case: Case
    wrong: list[str]
    seen: Observation

    @property
    def ok(self) -> bool:
        return not self.wrong

    @property
    def unsafe(self) -> bool:
        """Something was on a wire, or in a process, that no timing explains."""
        return any(complaint.startswith(UNSAFE) for complaint in self.wrong)


@dataclass
class Rig:
    """A running target with an upstream of its own; plays one case at a time."""

    address: tuple[str, int]
    upstream: Upstream
    restart: Callable[[], Awaitable[str]]  # after a crash: returns what the dead one wrote
    probes: int = 2  # well-behaved clients after each case
    tls: bool = False
    source: str = ""  # address that its clients come from; "": any
    fields: bytes = b""  # field lines that well-behaved clients send as well
    prefix: bytes = b""  # what the target puts in front of each path


async def run_rig(rig: Rig, cases: Iterator[Case], report: Callable[[Result], None]) -> None:
    """Play what *cases* yields. Rigs may share the iterator: each case is played once."""
    for case in cases:
        try:
            result = await play_case(rig, case)
        except ConnectionRefusedError:
            result = Result(case, ["target does not accept connections"], Observation())
        if "ConnectionRefusedError" in "".join(result.wrong) or (not result.seen.received and not result.ok):
            result = await _check_alive(rig, result)
        if not result.ok:
            rig.upstream.drop_links()
            await trio.sleep(0.05)
        report(result)


async def _check_alive(rig: Rig, result: Result) -> Result:
    """A process that a message can end takes every other client with it: say so, and start another."""
    try:
        stream = await trio.open_tcp_stream(*rig.address)
        await stream.aclose()
    except OSError:
        output = await rig.restart()
        return Result(result.case, [f"target died: {output[-2000:]}", *result.wrong], result.seen)
    return result


async def play_case(rig: Rig, case: Case) -> Result:
    token, seen = await observe_case(rig, case)
    return Result(case, judge(case, token, seen), seen)


async def observe_case(rig: Rig, case: Case) -> tuple[bytes, Observation]:
    """Play *case*; return the word that stood for ``T0KEN`` in it, and what was seen."""
    number = next(_numbers)
    token = b"z" + "".join(DIGITS[number // 36**place % 36] for place in (3, 2, 1, 0)).encode()
    play = rig.upstream.begin(token, case.upstream)
    seen = Observation()
    started = trio.current_time()
    async with _Client.open(rig, case, token) as client:
        await client.run(seen)
    seen.seconds = trio.current_time() - started - client.idle_wait
    with trio.move_on_after(2):
        await rig.upstream.wait_scripts()
    await trio.sleep(SETTLE)
    play.frozen = True
    for turn in range(rig.probes):
        error = await _probe(rig, token, turn)
        if error:
            seen.probe_errors.append(error)
    seen.arrivals, seen.upstream_errors = play.arrivals, play.errors
    seen.strays, seen.links = play.strays, len(play.links)
    if not seen.upstream_bytes:
        seen.upstream_bytes = bytes(play.data)
    return token, seen


async def _probe(rig: Rig, token: bytes, turn: int) -> str:
    """A well-behaved client right behind the case; returns a complaint or nothing."""
    target = b"/" + token + b"/probe-%d" % turn
    data = b""
    try:
        with trio.fail_after(FOLLOW_WAIT):
            link = await connect(rig.address, tls=rig.tls, source=rig.source)
            try:
                await link.send(
                    b"GET "
                    + target
                    + b" HTTP/1.1\r\nHost: gw.test\r\nConnection: close\r\n"
                    + rig.fields
                    + b"\r\n"
                )
                while part := await link.recv(65536):
                    data += part
            finally:
                link.close()
    except (trio.TooSlowError, OSError) as error:
        return f"{type(error).__name__} after {data[:100]!r}"
    return _check_answer(data, rig.prefix + target)


def _check_answer(data: bytes, target: bytes) -> str:
    try:
        responses, rest = parse_responses(data, [b"GET"], eof=True)
    except WireError as error:
        return str(error)
    finals = [response for response in responses if response.status >= 200]
    want = default_body(b"GET", target, 0)
    if len(finals) != 1 or finals[0].status != 200 or finals[0].body != want or rest:
        return f"expected 200 with {want!r}, got {data[:300]!r}"
    return ""


class _Client:
    """The client of one case."""

    def __init__(self, sock: trio.socket.SocketType | TlsLink, case: Case, token: bytes, rig: Rig) -> None:
        self.sock, self.case, self.token, self.rig, self.upstream = sock, case, token, rig, rig.upstream
        self.data = bytearray()
        self.ended = "open"
        self.refused_send = False
        self.sent = False
        self.idle_wait = 0.0  # waiting that belongs to the test, not to the exchange
        self.closed_by_us = False
        self.half_closed = False
        self._changed = trio.Event()

    @classmethod
    @asynccontextmanager
    async def open(cls, rig: Rig, case: Case, token: bytes) -> AsyncIterator[_Client]:
        sock = await connect(rig.address, tls=rig.tls, source=rig.source)
        try:
            yield cls(sock, case, token, rig)
        finally:
            sock.close()

    async def run(self, seen: Observation) -> None:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._read)
            nursery.start_soon(self._send_all)
            await self._wait(self._answered, self.case.wait)
            await self._after(seen)
            nursery.cancel_scope.cancel()
        seen.ended, seen.refused_send = self.ended, self.refused_send

    # -- sending and receiving

    async def _send_all(self) -> None:
        try:
            for step in self.case.send:
                await self._step(step)
        except OSError:
            self.refused_send = True
        except trio.ClosedResourceError:
            pass
        self.sent = True
        self._notify()

    async def _step(self, step: Step) -> None:
        match step:
            case bytes():
                await self._send(step.replace(b"T0KEN", self.token))
            case Byte(data):
                for byte in data.replace(b"T0KEN", self.token):
                    await self._send(bytes([byte]))
                    await trio.lowlevel.checkpoint()
            case Pause(seconds):
                await trio.sleep(seconds)
            case Await(heads, within):
                await self._wait(lambda: self._n_heads() >= heads, within)
            case AwaitAnswers(answers, within):
                with trio.move_on_after(within):
                    await self._wait(lambda: self._n_whole() >= answers, within)
                    await self.upstream.wait_scripts()
            case AwaitUpstream(heads, within):
                with trio.move_on_after(within):
                    while len(self.upstream.play.arrivals) < heads and self.ended == "open":
                        await self.upstream.wait_change()
            case HalfClose():
                self.half_closed = True
                self.sock.shutdown(socket.SHUT_WR)
            case Close():
                self._leave()
            case Reset():
                self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                self._leave()
            case _:
                raise TypeError(f"not a step of a client: {step!r}")

    def _leave(self) -> None:
        self.closed_by_us = True
        self.sock.close()
        self.upstream.play.client_gone.set()

    async def _send(self, data: bytes) -> None:
        view = memoryview(data)
        while view:
            view = view[await self.sock.send(view) :]

    async def _read(self) -> None:
        while self.ended == "open":
            try:
                part = await self.sock.recv(65536)
                self.ended = "open" if part else "eof"
            except trio.ClosedResourceError:
                part, self.ended = b"", "eof"
            except OSError:
                part, self.ended = b"", "reset"
            self.data += part
            self._notify()

    def _notify(self) -> None:
        self._changed.set()
        self._changed = trio.Event()

    async def _wait(self, ready: Callable[[], bool], within: float) -> None:
        with trio.move_on_after(within):
            while self.ended == "open" and not ready():
                await self._changed.wait()

    # -- what was received

    def _responses(self) -> tuple[list[Response], bytes]:
        return parse_responses(bytes(self.data), list(self.case.methods), eof=self.ended != "open")

    def _n_heads(self) -> int:
        try:
            return len(self._responses()[0])
        except WireError:
            return 1 << 20

    def _n_whole(self) -> int:
        try:
            return sum(each.status >= 200 and each.complete for each in self._responses()[0])
        except WireError:
            return 1 << 20

    def _answered(self) -> bool:
        if self.closed_by_us:
            return True
        try:
            responses, _ = self._responses()
        except WireError:
            return False  # read on to the end: it is all evidence
        finals = [each for each in responses if each.status >= 200 or each.status == 101]
        if len(finals) < self.case.answers or not all(each.complete for each in finals):
            return False
        # An early answer that announces the end: what we have not sent yet will not be read.
        return self.sent or self.refused_send or bool(finals and b"close" in finals[-1].tokens(b"connection"))

    # -- after the answers

    async def _after(self, seen: Observation) -> None:
        before = bytes(self.data)
        try:
            responses, _ = self._responses()
            last = responses[-1] if responses else None
        except WireError:
            last = None
        started = trio.current_time()
        saying_close = last is not None and (b"close" in last.tokens(b"connection"))
        if self.ended == "open" and not self.closed_by_us:
            with trio.move_on_after(2):
                await self.upstream.wait_scripts()
            if saying_close or self.half_closed:
                await self._wait(lambda: False, CLOSE_WAIT)
            elif self.case.follow and self._answered():
                await self._follow(seen)
        if self.ended != "open" and not seen.follow_error and seen.kept is None:
            seen.kept = False
        self.idle_wait += trio.current_time() - started
        seen.received = before if seen.kept else bytes(self.data)
        try:
            everything, seen.unread = parse_responses(
                seen.received, list(self.case.methods), eof=self.ended != "open" and not seen.kept
            )
            seen.interim = [each for each in everything if each.status < 200]
            seen.final = [each for each in everything if each.status >= 200]
        except WireError as error:
            seen.client_error = str(error)
            self._salvage(seen)
        if seen.unread and not (seen.interim and seen.interim[-1].status == 101):
            seen.client_error = seen.client_error or f"bytes after the last response: {seen.unread[:100]!r}"

    def _salvage(self, seen: Observation) -> None:
        """The responses before the one that cannot be read."""
        for end in range(len(seen.received), 0, -1):
            try:
                everything, _ = parse_responses(seen.received[:end], list(self.case.methods), eof=False)
            except WireError:
                continue
            seen.interim = [each for each in everything if each.status < 200]
            seen.final = [each for each in everything if each.status >= 200]
            return

    async def _follow(self, seen: Observation) -> None:
        """One more request on the same connection: is it alive, is it in step?"""
        play = self.upstream.play
        seen.upstream_bytes, play.frozen = bytes(play.data), True
        target = b"/" + self.token + b"/follow"
        start = len(self.data)
        with suppress(OSError):
            await self._send(b"GET " + target + b" HTTP/1.1\r\nHost: gw.test\r\n" + self.rig.fields + b"\r\n")

        def complete() -> bool:
            try:
                finals, _ = parse_responses(bytes(self.data[start:]), [b"GET"], eof=False)
            except WireError:
                return True
            return any(each.status >= 200 and each.complete for each in finals)

        await self._wait(complete, FOLLOW_WAIT)
        answer = bytes(self.data[start:])
        if not answer:
            seen.kept = False if self.ended != "open" else None
            if self.ended == "open":
                seen.follow_error = f"no answer in {FOLLOW_WAIT} s"
            return
        seen.kept = True
        seen.follow_error = _check_answer(answer, self.rig.prefix + target)
