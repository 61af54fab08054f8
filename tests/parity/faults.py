"""The faults of ``tests/faults`` over two drivers: what comes of each must be the same.

A fault is played by a few at a time on a gateway of its own. How often something is seen depends on the
moment, so what was seen is a set; what differs is played again, as cases are (``compare.py``), and counts if
it is always seen over one driver and never over the other.
"""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import suppress
from functools import partial

import trio
from msgspec import structs

import blitz
from tests.faults.faults import BROKEN, Address, Fault, again_and_again
from tests.faults.origin import GOOD, serve
from tests.http_suite.link import certificate, connect

from .compare import AGAIN
from .drivers import DRIVERS, Driver, as_driver, forcible
from .record import ID, PORT, UNTOLD
from .rig import output, serve_streams
from .settings import TIMED

__all__ = ["compare", "compare_fault", "play"]

MANY = 3
PATIENCE = 30.0
ASK = b"GET /good HTTP/1.1\r\nHost: gw.test\r\nConnection: close\r\n\r\n"
NUMBER = re.compile(r"\d+(?:\.\d+)?")
# What depends on how far it had come: bytes, and where the client came from.
BY_MOMENT = (*UNTOLD, "id", "client", "sent", "received", "upstream_time")

Seen = dict[str, frozenset[str]]


def compare_fault(fault: Fault, drivers: tuple[str, str]) -> list[str]:
    """Play *fault* over both; what they never came to alike, in words."""
    left, right = drivers
    return list(compare({left: partial(play, fault, left), right: partial(play, fault, right)}))


def compare(plays: dict[str, Callable[[], Seen]]) -> Iterator[str]:
    """What is not the same in two plays, which may be played several times."""
    seen: dict[str, list[Seen]] = {name: [each()] for name, each in plays.items()}
    left, right = seen
    for _ in range(AGAIN):
        if not any(_differing(seen[left], seen[right])):
            return
        for name, each in plays.items():
            seen[name].append(each())
    for section in _differing(seen[left], seen[right]):
        for mine, theirs in ((left, right), (right, left)):
            always = frozenset.intersection(*(each[section] for each in seen[mine]))
            only = always.difference(*(each[section] for each in seen[theirs]))
            if only:
                yield f"{section} over {mine} only: {sorted(only)}"


def _differing(left: list[Seen], right: list[Seen]) -> Iterator[str]:
    """The sections in which no play over one driver was like any over the other."""
    for section in left[0]:
        if not {each[section] for each in left} & {each[section] for each in right}:
            yield section


def play(fault: Fault, name: str) -> Seen:
    """What was seen of *fault* over the driver of that name, by section."""
    with forcible() as counts, output() as written:
        outcomes, counters = trio.run(_run, fault, DRIVERS[name])
    assert counts["entered" if DRIVERS[name].fast else "kept off"]
    return {
        "outcomes": frozenset(outcomes),
        "access": frozenset(_access(line) for line in written.access),
        "log": frozenset(NUMBER.sub("N", ID.sub("ID", line)) for line in written.stray),
        "counters": frozenset(each for each, n in counters.items() if n),
    }


def _access(line: str) -> str:
    fields = json.loads(line)
    text = json.dumps({name: value for name, value in fields.items() if name not in BY_MOMENT})
    return PORT.sub("PORT", ID.sub("ID", text))


async def _run(fault: Fault, driver: Driver) -> tuple[set[str], Counter[str]]:
    """-> what the attackers saw, and what has been counted."""
    seen: Counter[str] = Counter()
    async with trio.open_nursery() as nursery:
        (listener,) = await nursery.start(partial(trio.serve_tcp, serve, 0, host="127.0.0.1"))
        port = listener.socket.getsockname()[1]
        config = TIMED.config([port], certificate() if driver.tls else "")
        with as_driver(driver):
            async with blitz.open_gateway(config) as gateway:
                address = gateway.addresses[0]
                if driver.stream:
                    address = await serve_streams(nursery, gateway)
                with trio.fail_after(PATIENCE):
                    await _attack(fault, (str(address[0]), address[1]), gateway, seen)
                    await _nobody_is_left(gateway)
                    await _is_well((str(address[0]), address[1]), driver)
                    await _nobody_is_left(gateway)
                counters = Counter(
                    {each: int(n) for each, n in structs.asdict(gateway.statistics().counters).items()}
                )
        nursery.cancel_scope.cancel()
    return set(seen) - {"open"}, counters


async def _attack(fault: Fault, address: Address, gateway: blitz.Gateway, seen: Counter[str]) -> None:
    """A few, until what must be seen was seen and the gateway has let go of one of them."""
    async with trio.open_nursery() as nursery:
        for _ in range(min(fault.many, MANY)):
            nursery.start_soon(again_and_again, fault.attack, address, seen)
        while not (fault.wanted <= set(seen) and _ended(gateway)):  # noqa: ASYNC110
            await trio.sleep(0.01)
        nursery.cancel_scope.cancel()


def _ended(gateway: blitz.Gateway) -> bool:
    """Of those that have come some have gone."""
    now = gateway.statistics()
    return now.counters.connections - now.connections >= MANY


async def _nobody_is_left(gateway: blitz.Gateway) -> None:
    while gateway.statistics().connections:  # noqa: ASYNC110
        await trio.sleep(0.01)


async def _is_well(address: Address, driver: Driver) -> None:
    """Whoever comes behind it is served."""
    link = await connect(address, tls=driver.tls)
    data = b""
    try:
        await link.send(ASK)
        with suppress(*BROKEN):
            while part := await link.recv(65536):
                data += part
    finally:
        link.close()
    assert data.endswith(b"\r\n\r\n" + GOOD), data
