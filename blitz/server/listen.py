"""Listening sockets and the accept loop."""

from __future__ import annotations

import errno
import logging
import socket

import trio

from .connection import Peer, serve_connection
from .context import ServerContext
from .stream import SocketStream, set_nodelay

__all__ = ["accept_loop", "bind", "close_listener"]

_log = logging.getLogger("blitz.server")

BACKLOG = 65535  # the kernel clamps it to somaxconn; a burst must not be refused (trio does the same)
SLEEP_WHEN_FULL = 0.1  # seconds, when descriptors run out: trio's serve_listeners waits as long
OUT_OF_RESOURCES = {errno.EMFILE, errno.ENFILE, errno.ENOMEM, errno.ENOBUFS}
ACCEPT_BURST = 64  # connections taken before others run


def bind(host: str, port: int, *, share: bool = False) -> list[socket.socket]:
    """Listening sockets for an address; host "" listens on every interface, IPv4 and IPv6.

    Args:
        share: SO_REUSEPORT, so that each worker has a queue of its own.
    Raises: OSError.
    """
    families = [(socket.AF_INET, host)] if host else [(socket.AF_INET, "0.0.0.0"), (socket.AF_INET6, "::")]
    if ":" in host:
        families = [(socket.AF_INET6, host)]
    elif host and not host.replace(".", "").isdigit():
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
        families = [(socket.AddressFamily(found[0][0]), str(found[0][4][0]))]
    listeners: list[socket.socket] = []
    try:
        for family, name in families:
            try:
                listener = socket.socket(family, socket.SOCK_STREAM)
            except OSError as exc:
                if exc.errno == errno.EAFNOSUPPORT and listeners:
                    continue  # no IPv6 here
                raise
            listeners.append(listener)
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


async def accept_loop(listener: socket.socket, context: ServerContext, nursery: trio.Nursery) -> None:
    """Start one task per connection until *listener* is closed. Errors stay in their connection."""
    while True:
        try:
            await trio.lowlevel.wait_readable(listener)
        except (trio.ClosedResourceError, ValueError):
            return
        for _ in range(ACCEPT_BURST):
            try:
                sock, address = listener.accept()
            except (BlockingIOError, ConnectionAbortedError):
                break
            except OSError as exc:
                if exc.errno not in OUT_OF_RESOURCES:
                    return
                _log.error("accept: %s; waiting %g s", exc.strerror, SLEEP_WHEN_FULL)
                await trio.sleep(SLEEP_WHEN_FULL)
                break
            _start(sock, address, context, nursery)


def close_listener(listener: socket.socket) -> None:
    """Close, and end the accept loop that waits on it."""
    if listener.fileno() >= 0:
        trio.lowlevel.notify_closing(listener)
        listener.close()


def _start(
    sock: socket.socket, address: tuple[object, ...], context: ServerContext, nursery: trio.Nursery
) -> None:
    host, port = (str(address[0]), int(str(address[1]))) if len(address) > 1 else ("", 0)
    if not _admitted(context, host):
        context.counters.refused += 1
        sock.close()
        return
    if sock.family != socket.AF_UNIX:
        set_nodelay(sock)
    nursery.start_soon(_serve, sock, host, port, context)


def _admitted(context: ServerContext, host: str) -> bool:
    limits = context.runtime.limits
    if limits.max_connections and len(context.connections) >= limits.max_connections:
        return False
    most = limits.max_connections_per_address
    return not most or context.per_address[host] < most


async def _serve(sock: socket.socket, host: str, port: int, context: ServerContext) -> None:
    counting = context.runtime.limits.max_connections_per_address
    if counting:
        context.per_address[host] += 1
    try:
        await serve_connection(context, SocketStream(sock), Peer(host, port))
    finally:
        if counting:
            context.per_address[host] -= 1
            if not context.per_address[host]:
                del context.per_address[host]
