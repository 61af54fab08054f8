"""Listening sockets and the accept loop."""

from __future__ import annotations

import errno
import logging
import math
import os
import socket
import sys
from collections.abc import Sequence

import trio

from blitz.config import Address

from .accepted import AcceptedConnection, may_come
from .context import ServerContext
from .peer import Peer
from .room import is_crowded, last_of_clients, make_room
from .shortages import shortage
from .stream import SocketStream, set_nodelay

__all__ = [
    "Listener",
    "accept_loop",
    "as_bound",
    "bind",
    "close_listener",
    "listens",
    "spoken_on",
    "take_connection",
    "wake_deaf",
]

_log = logging.getLogger("blitz.server")

BACKLOG = 65535  # the kernel clamps it to somaxconn; a burst must not be refused (trio does the same)
SLEEP_WHEN_REFUSED = 0.1  # seconds, when descriptors run out: trio's serve_listeners waits as long
SAY_AGAIN = 10.0  # seconds; a listener that dies twice within them is not made to listen again
OUT_OF_DESCRIPTORS = {errno.EMFILE, errno.ENFILE}
DEAD = {errno.EBADF, errno.ENOTSOCK, errno.EINVAL, errno.EFAULT}  # what a socket that listens never says
ACCEPT_BURST = 64  # connections taken before others run
# The same where connections give way to new ones: each has a few turns of the loop for its request.
RESERVED_BURST = 8


class Listener(socket.socket):
    """A listening socket and what is spoken on it; see ``blitz.config.Address``."""

    tls = False
    proxy_protocol = False
    name = ""


def bind(address: Address, *, share: bool = False) -> Sequence[socket.socket]:
    """Listening sockets for an address; host "" listens on every interface, IPv4 and IPv6.

    Args:
        share: SO_REUSEPORT, so that each worker has a queue of its own.
    Raises: OSError.
    """
    host, port = address.host, address.port
    families = [(socket.AF_INET, host)] if host else [(socket.AF_INET, "0.0.0.0"), (socket.AF_INET6, "::")]
    if ":" in host:
        families = [(socket.AF_INET6, host)]
    elif host and not host.replace(".", "").isdigit():
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
        families = [(socket.AddressFamily(found[0][0]), str(found[0][4][0]))]
    listeners: list[Listener] = []
    try:
        for family, name in families:
            try:
                listener = Listener(family, socket.SOCK_STREAM)
            except OSError as exc:
                if exc.errno == errno.EAFNOSUPPORT and listeners:
                    continue  # no IPv6 here
                raise
            listeners.append(listener)
            listener.tls, listener.proxy_protocol = address.tls, address.proxy_protocol
            listener.name = address.name
            listener.setblocking(False)
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            if share:
                listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
            if family == socket.AF_INET6:
                listener.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
            listener.bind((name, port))
            port = port or listener.getsockname()[1]
            listener.listen(BACKLOG)
    except BaseException:
        for listener in listeners:
            listener.close()
        raise
    return listeners


def spoken_on(listener: socket.socket, listen: Sequence[Address]) -> Address:
    """What is spoken on a socket: as it was bound, or as the address says that it was passed to us for."""
    host, port = str(listener.getsockname()[0]), 0
    if listener.family != socket.AF_UNIX:
        port = listener.getsockname()[1]
    if isinstance(listener, Listener):
        return Address(host, port, listener.tls, listener.proxy_protocol, listener.name)
    # The port decides where the host is spelt in another way: TLS must not become plain by an alias.
    same = [address for address in listen if address.port == port]
    same.sort(key=lambda address: (address.host != host, address.host != ""))
    if not same:
        return Address(host, port)
    return Address(host, port, same[0].tls, same[0].proxy_protocol, same[0].name)


def as_bound(passed: socket.socket, own: Sequence[socket.socket]) -> socket.socket:
    """*passed*, which another process bound to the address of one of *own*, as that one is spoken on."""
    name = passed.getsockname()
    for one in own:
        if isinstance(one, Listener) and one.getsockname() == name:
            listener = Listener(fileno=passed.detach())
            listener.setblocking(False)
            listener.tls, listener.proxy_protocol = one.tls, one.proxy_protocol
            listener.name = one.name
            return listener
    return passed


async def accept_loop(listener: socket.socket, context: ServerContext, nursery: trio.Nursery) -> None:
    """Start one task per connection until *listener* is closed. Errors stay in their connection.

    Every error of accept(2) is one that passes, unless the socket does not listen any more. Then it is made
    to; where that cannot be, ``context.shortages`` is told, and nobody accepts here again.
    """
    if listener.fileno() < 0:
        return  # drained before this task began
    burst = ACCEPT_BURST if context.reserve is None else RESERVED_BURST
    spoken = spoken_on(listener, context.runtime.resolved.listen)
    socket_number = os.fstat(listener.fileno()).st_ino
    revived = -math.inf
    number = 0
    while True:
        try:
            await trio.lowlevel.wait_readable(listener)
            if number not in OUT_OF_DESCRIPTORS or context.reserve is not None or not is_crowded():
                number = _accept(listener, burst, spoken, context, nursery)
        except (trio.ClosedResourceError, ValueError, OSError) as exc:
            if listener.fileno() < 0 or context.draining:
                return
            why = (isinstance(exc, OSError) and exc.strerror) or "it is closed"
            ours = _is_socket(listener, socket_number)
            if not ours or trio.current_time() - revived < SAY_AGAIN or not _revive(listener, spoken, why):
                if not ours:
                    listener.detach()  # the descriptor was closed, and may be somebody else's by now
                context.shortages.listener_died(f"the listener of {spoken} is dead ({why})")
                return
            revived = trio.current_time()
            continue
        if number:
            context.shortages.meet(number)
            await trio.sleep(SLEEP_WHEN_REFUSED)


def _accept(
    listener: socket.socket, burst: int, spoken: Address, context: ServerContext, nursery: trio.Nursery
) -> int:
    """Take up to *burst* connections. 0, or the number of the error if the system refuses for the time being,
    or would if clients got what is left for others.

    Raises:
        OSError: the socket does not listen any more.
    """
    number, taken = 0, False
    last = last_of_clients() if context.reserve is None else sys.maxsize
    for _ in range(burst):
        try:
            sock, peer = listener.accept()
        except BlockingIOError:
            return 0
        except OSError as exc:
            number = exc.errno or errno.EIO
            if number in OUT_OF_DESCRIPTORS and _has_descriptor(context):
                context.shortages.meet(number)
                continue
            if shortage(exc):
                return number
            if number in DEAD or not listens(listener):
                raise
            continue  # that connection has an error of its own, as accept(2) hands it on
        taken = True
        crowded = sock.fileno() >= last
        take_connection(sock, peer, spoken, context, nursery)
        if crowded:
            return errno.EMFILE
    return 0 if taken else number


def listens(listener: socket.socket) -> bool:
    """It is a socket, and in the state in which connections can come."""
    try:
        return bool(listener.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN))
    except OSError:
        return False


def wake_deaf(listeners: Sequence[socket.socket]) -> None:
    """Let accept loops notice that nothing will come any more: a closed descriptor does not tell."""
    for listener in listeners:
        if listener.fileno() >= 0 and not listens(listener):
            trio.lowlevel.notify_closing(listener)


def _is_socket(listener: socket.socket, number: int) -> bool:
    try:
        return os.fstat(listener.fileno()).st_ino == number
    except OSError:
        return False


def _revive(listener: socket.socket, spoken: Address, why: str) -> bool:
    """Let it listen again, with the same address; False: it cannot."""
    try:
        listener.listen(BACKLOG)
    except OSError:
        return False
    if not listens(listener):
        return False
    _log.error("the listener of %s was dead (%s); it listens again", spoken, why)
    return True


def _has_descriptor(context: ServerContext) -> bool:
    """There was none, and now there is one for a connection that must be answered."""
    reserve = context.reserve
    return reserve is not None and (reserve.lend() or make_room(context.connections))


def close_listener(listener: socket.socket) -> None:
    """Close, and end the accept loop that waits on it."""
    if listener.fileno() >= 0:
        trio.lowlevel.notify_closing(listener)
        listener.close()


def take_connection(
    sock: socket.socket,
    address: tuple[object, ...],
    spoken: Address,
    context: ServerContext,
    nursery: trio.Nursery,
) -> None:
    """Serve an accepted connection, unless there are too many; tasks are *nursery*'s."""
    host, port = (str(address[0]), int(str(address[1]))) if len(address) > 1 else ("", 0)
    limits = context.runtime.limits
    full = limits.max_connections and context.accepted >= limits.max_connections
    if full and context.reserve is not None:
        full = not make_room(context.connections)
    if full or not may_come(context, host):
        context.counters.refused += 1
        sock.close()
        return
    if sock.family != socket.AF_UNIX:
        set_nodelay(sock)
    peer = Peer(host, port, listener=spoken.name)
    AcceptedConnection(context, SocketStream(sock), peer, spoken, nursery).begin()
