"""A connection that a listener has accepted: who serves it, from accept to close.

It has no task as long as the fast path serves it, which is for most connections their whole life: no stack,
no nursery, nothing to wake. ``go_on`` is called where the fast path stops. What does not end the connection
there starts its task, in the nursery of the listener, and from then on the task stays.
"""

from __future__ import annotations

import logging
from functools import partial
from typing import TYPE_CHECKING, Any

import trio

from blitz.errors import ClientGone

from . import serving
from .connection import Connection
from .ends import note_broken
from .handover import CLOSED, RELOADED, SHAKEN, Handover
from .peer import Peer
from .preface import is_plain_http, note_refused, read_proxy_header, refuse, shake_hands, shaken
from .stream import SocketStream

if TYPE_CHECKING:
    from blitz.config import Address

    from .context import ServerContext
    from .tls_stream import TlsStream

__all__ = ["AcceptedConnection", "may_come"]

_log = logging.getLogger("blitz.server")


class AcceptedConnection(Connection):
    """Takes one of the places that there may be when it is made, and gives it back when it is closed.

    Args:
        spoken: what the listener speaks.
        tasks: the nursery of the listener.
    """

    __slots__ = ("_encrypted", "_has_task", "_hosts", "_spoken", "_tasks")

    def __init__(
        self, context: ServerContext, stream: SocketStream, peer: Peer, spoken: Address, tasks: trio.Nursery
    ) -> None:
        super().__init__(context, stream, peer)
        self._spoken = spoken
        self._tasks = tasks
        self._has_task = False
        self._encrypted: TlsStream | None = None  # whose handshake is not done
        self._hosts: tuple[str, ...] = ()
        context.accepted += 1
        if context.runtime.limits.max_connections_per_address:
            self._count(peer.address)

    def begin(self) -> None:
        """Serve it from now on. Raises nothing."""
        serving.register(self)
        context, spoken = self.context, self._spoken
        if spoken.proxy_protocol and context.runtime.trust.contains(self.peer.address):
            self._start(self._read_preface)
        elif spoken.tls:
            self._shake()
        elif self.may_be_short():
            self.meet_peer()
            self._enter()
        else:
            self._start()

    # -- without a task

    def go_on(self, stopped: Handover | str, error: int) -> None:
        """The fast path has stopped, and no task waits for it. *error*: an errno that ended it."""
        try:
            if self._encrypted is not None:
                self._go_on_shaking(stopped, error)
            elif error:
                note_broken(self.line)
                serving.close(self)
            elif stopped == CLOSED:
                serving.close(self)
            elif stopped == RELOADED and self.may_be_short():
                self._enter()
            else:
                self._start(None, stopped)
        except Exception:
            self._fail()

    def cancel(self) -> None:
        """See ``Connection``. An exchange that the fast path has in hand ends as any other does."""
        if self._has_task:
            super().cancel()
            return
        try:
            self.context.fast_path.leave(self)
            error = serving.why_late(self)
            if error is not None:
                self._run(serving.end, error)
            else:
                serving.close(self)
        except Exception:
            self._fail()

    def abandon(self) -> None:
        """The gateway was cancelled, and it has no task that hears of it."""
        try:
            self.context.fast_path.leave(self)
            serving.note_cut_off(self)
        finally:
            serving.close(self)

    def _enter(self) -> None:
        """The fast path serves it from now on."""
        try:
            self.context.fast_path.enter(self, self)
        except trio.BrokenResourceError:
            serving.close(self)

    def _fail(self) -> None:
        self.context.counters.internal_errors += 1
        _log.exception("internal error on a connection from %s", self.peer.address)
        serving.close(self)

    # -- TLS

    def _wrap(self) -> TlsStream | None:
        """Its TLS stream, whose handshake is to come; None: there is no certificate any more."""
        server = self.context.runtime.tls.server
        assert isinstance(self.stream, SocketStream)
        self._encrypted = server.wrap(self.stream) if server is not None else None
        return self._encrypted

    def _shake(self) -> None:
        """Have the handshake done by C if it can; by Python if not, and once a drain has begun."""
        encrypted = self._wrap()
        if encrypted is None:
            serving.close(self)
            return
        self.timer.arm(self.context.runtime.timeouts.handshake, "handshake")
        if self.context.runtime.challenges.answers.certificates:
            self._start(self._meet_authority)
            return
        tls = encrypted.lend()
        if tls is None or not self.context.fast_path.runs or self.context.draining:
            self._start(self._shake_hands)
            return
        try:
            self.context.fast_path.enter_shaking(self, tls, self)
        except trio.BrokenResourceError:
            serving.close(self)

    def _go_on_shaking(self, stopped: Handover | str, error: int) -> None:
        encrypted = self._encrypted
        assert encrypted is not None
        if error:
            self._encrypted = None
            self._refuse(encrypted)
        elif stopped != SHAKEN:
            self._start(self._shake_hands)
        else:
            self._encrypted = None
            shaken(self, encrypted)
            if self.may_be_short():
                self.meet_peer()
                self._enter()
            else:
                self._start()

    def _refuse(self, encrypted: TlsStream) -> None:
        """C found the handshake at fault, or the client gone."""
        why = encrypted.refusal()
        if why is None:
            self.context.counters.tls_failures += 1
            serving.close(self)
        elif is_plain_http(why):
            self._start(partial(refuse, self, encrypted.stream, why))
        else:
            note_refused(self, why)
            serving.close(self)

    # -- with one

    def _start(self, arrive: Any = None, stopped: Handover | str = "") -> None:
        self._run(serving.serve, arrive, stopped)

    def _run(self, serve: Any, *args: Any) -> None:
        """Start its task, which ends it."""
        self._has_task = True
        self._tasks.start_soon(serve, self, *args)

    async def _read_preface(self) -> None:
        """Take the client that the proxy names for the peer, and count the connection as its own."""
        context, stream = self.context, self.stream
        self.timer.arm(context.runtime.timeouts.handshake, "handshake")
        assert isinstance(stream, SocketStream)
        header = await read_proxy_header(stream)
        if header.secure:
            self.peer.scheme = "https"
        if header.address:
            if not may_come(context, header.address):
                context.counters.refused += 1
                raise ClientGone(f"{header.address} has too many connections")
            peer = self.peer
            self.peer = Peer(header.address, header.port, scheme=peer.scheme, listener=peer.listener)
            if context.runtime.limits.max_connections_per_address:
                self._count(header.address)
        if self._spoken.tls:
            if self._wrap() is None:
                raise ClientGone("there is no certificate any more")
            await self._meet_authority()

    async def _meet_authority(self) -> None:
        """An authority may ask by a handshake; else it is done."""
        assert isinstance(self.stream, SocketStream)
        if await self.context.runtime.challenges.took(self.stream):
            raise ClientGone("an authority has asked whether a name leads here")
        await self._shake_hands()

    async def _shake_hands(self) -> None:
        assert self._encrypted is not None
        await shake_hands(self, self._encrypted)
        self._encrypted = None

    # -- its place

    def _count(self, host: str) -> None:
        """It is one of *host*'s."""
        self._hosts += (host,)
        self.context.per_address[host] += 1

    def forget(self) -> None:
        super().forget()
        context = self.context
        context.accepted -= 1
        per_address = context.per_address
        for host in self._hosts:
            per_address[host] -= 1
            if not per_address[host]:
                del per_address[host]
        if context.reserve is not None:
            context.reserve.refill()


def may_come(context: ServerContext, host: str) -> bool:
    """A client may have one more connection. A trusted proxy has those of many clients: it is not counted."""
    most = context.runtime.limits.max_connections_per_address
    if not most or context.per_address[host] < most or context.runtime.trust.contains(host):
        return True
    context.counters.refused_per_address += 1
    return False
