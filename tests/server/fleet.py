"""Several upstreams behind one gateway, each of which says who it is, and does what it is told."""

from __future__ import annotations

import contextlib
from collections import Counter
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from typing import Any

import trio

from blitz.config import Route, Upstream

from .harness import Client, FakeUpstream, Rig, Served, rig

PARSERS = ("auto", "h11")


@dataclass
class Member:
    """One upstream. Change what it does at any time.

    Attributes:
        status, fields: of its answers. hold: it answers when that is set.
        mute: it reads requests and says nothing. cut: it closes after a request.
        asked: requests, without health checks; checks: those, by their targets.
    """

    name: str
    status: int = 200
    fields: str = ""
    hold: trio.Event | None = None
    mute: bool = False
    cut: bool = False
    asked: list[bytes] = field(default_factory=list)
    checks: list[bytes] = field(default_factory=list)
    well: int = 200

    def __post_init__(self) -> None:
        self.server = FakeUpstream(self.script)

    async def script(self, served: Served) -> None:
        while True:
            head = await served.head()
            if b"User-Agent: blitz\r\n" in head:
                self.checks.append(head)
                await served.send(f"HTTP/1.1 {self.well} x\r\nContent-Length: 0\r\n\r\n".encode())
                return
            for line in head.lower().split(b"\r\n"):
                if line.startswith(b"content-length:"):
                    head += await served.exactly(int(line.partition(b":")[2]))
            self.asked.append(head)
            if self.cut:
                return
            if self.mute:
                await trio.sleep_forever()
            if self.hold is not None:
                await self.hold.wait()
            answer = f"HTTP/1.1 {self.status} x\r\n{self.fields}Content-Length: {len(self.name)}\r\n\r\n"
            await served.send(answer.encode() + self.name.encode())


@dataclass
class Fleet:
    test: Rig
    members: dict[str, Member]

    def __getitem__(self, name: str) -> Member:
        return self.members[name]

    async def ask(self, *fields: str, client: Client | None = None, method: str = "GET") -> tuple[int, str]:
        """Status and who answered."""
        status, _, who = await self.answer(*fields, client=client, method=method)
        return status, who

    async def answer(
        self, *fields: str, client: Client | None = None, method: str = "GET", target: str = "/"
    ) -> tuple[int, dict[str, str], str]:
        own = client or await self.test.connect()
        lines = "".join(f"{line}\r\n" for line in fields)
        await own.send(f"{method} {target} HTTP/1.1\r\nHost: test\r\n{lines}\r\n".encode())
        with trio.fail_after(20):
            status, got, body = await own.answer()
        if client is None:
            await own.stream.aclose()
        return status, got, body.decode()

    async def spread(self, times: int, *fields: str) -> Counter[str]:
        """Who answers so many requests on one connection."""
        async with contextlib.aclosing((await self.test.connect()).stream) as stream:
            client = Client(stream)
            return Counter([(await self.ask(*fields, client=client))[1] for _ in range(times)])

    @property
    def cluster(self) -> Any:
        return self.test.gateway._context.runtime.clusters["main"]


@contextlib.asynccontextmanager
async def fleet(
    *names: str,
    route: dict[str, Any] | None = None,
    weights: dict[str, int] | None = None,
    split: dict[str, float] | None = None,
    mirror: dict[str, Any] | None = None,
    parser: str = "auto",
    timeouts: Any = None,
    **main: Any,
) -> AsyncIterator[Fleet]:
    """*names* are endpoints of the upstream main, unless *split* makes an upstream of each with that weight.

    Args:
        mirror: of the route; the upstream is one more member named "mirror".
        main: settings of the upstream.
    """
    members = {name: Member(name) for name in (*names, *(["mirror"] if mirror is not None else []))}
    async with trio.open_nursery() as nursery:
        for member in members.values():
            await nursery.start(member.server.run)
        said = {**(route or {})}
        upstreams: dict[str, Upstream] = {}
        if mirror is not None:
            upstreams["mirror"] = Upstream(endpoints=[members["mirror"].server.endpoint])
            said["mirror"] = {"upstream": "mirror", **mirror}
        if split:
            said["upstreams"] = [{"name": name, "weight": weight} for name, weight in split.items()]
            for name in split:
                upstreams[name] = Upstream(endpoints=[members[name].server.endpoint], **main)
        else:
            said["upstream"] = "main"
            urls = {name: members[name].server.endpoint for name in names}
            upstreams["main"] = Upstream(
                endpoints=[{"url": urls[name], "weight": (weights or {}).get(name, 1)} for name in names],  # type: ignore[list-item]
                **main,
            )
        config = {"upstreams": upstreams, "routes": [Route(**said)], "timeouts": timeouts}
        async with rig(parser=parser, **config) as test:
            yield Fleet(test, members)
        nursery.cancel_scope.cancel()
