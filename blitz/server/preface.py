"""What comes before HTTP on a connection: a PROXY header, then a TLS handshake. Both under one deadline.

What fails here fails quietly: a port that faces the world gets scanners, plain HTTP and half-open connections
all day. The connection closes; counters and the debug log know.
"""

from __future__ import annotations

import logging

import trio

from blitz.errors import ClientGone
from blitz.measures.figures import TLS_HANDSHAKES

from . import fast_path
from .connection import Connection
from .linger import linger
from .peer import Peer
from .proxy_protocol import ProxyHeader, ProxyProtocolError, missing, parse_header
from .stream import SocketStream
from .tls import peer_texts
from .tls_stream import TlsError, TlsStream

__all__ = ["read_proxy_header", "shake_hands"]

_log = logging.getLogger("blitz.tls")

# What nginx calls 497. OpenSSL has read the request's beginning by then, and said nothing.
PLAIN_HTTP_REASONS = ("HTTP_REQUEST", "HTTPS_PROXY_REQUEST")
PLAIN_HTTP_BODY = b"400 Bad Request\nthis port speaks TLS: use https\n"
PLAIN_HTTP_ANSWER = (
    b"HTTP/1.1 400 Bad Request\r\nContent-Type: text/plain\r\n"
    b"Content-Length: %d\r\nConnection: close\r\n\r\n%b" % (len(PLAIN_HTTP_BODY), PLAIN_HTTP_BODY)
)


async def read_proxy_header(stream: SocketStream) -> ProxyHeader:
    """Read a PROXY header and not a byte more.

    Raises:
        ClientGone: there was none, or a bad one.
        trio.BrokenResourceError: the peer is gone.
    """
    received = bytearray()
    try:
        while more := missing(bytes(received)):
            part = bytearray(more)
            got = await stream.receive_into(memoryview(part))
            if not got:
                raise ClientGone("connection closed in the PROXY header")
            received += part[:got]
        return parse_header(bytes(received))
    except ProxyProtocolError as exc:
        raise ClientGone(str(exc)) from exc


async def shake_hands(connection: Connection, stream: SocketStream) -> None:
    """Do a TLS handshake; ``connection.stream`` is the TLS stream then, and its peer says with whom.

    Raises:
        ClientGone: it failed, and the client was told what it can be told.
        trio.BrokenResourceError: the client is gone.
    """
    context = connection.context
    server = context.runtime.tls.server
    if server is None:
        raise ClientGone("there is no certificate any more")
    if await context.runtime.challenges.took(stream):
        raise ClientGone("an authority has asked whether a name leads here")
    encrypted = server.wrap(stream)
    try:
        await _shake(connection, encrypted)
    except TlsError as exc:
        context.counters.tls_failures += 1
        _log.debug("%s: %s", connection.peer.address, exc)
        if exc.reason in PLAIN_HTTP_REASONS:
            await _answer_plain_http(connection, stream)
        raise ClientGone(str(exc)) from exc
    except trio.BrokenResourceError:
        context.counters.tls_failures += 1
        raise
    context.measures.count(TLS_HANDSHAKES)
    connection.stream = encrypted
    peer = connection.peer
    connection.peer = Peer(peer.address, peer.port, scheme="https", texts=peer_texts(encrypted.ssl_object))


async def _shake(connection: Connection, encrypted: TlsStream) -> None:
    """As ``do_handshake``: by C if it can; by Python if not, and once a drain has begun."""
    tls = encrypted.lend()
    if tls is not None and not connection.context.draining:
        try:
            if await fast_path.shake_hands(connection.context.fast_path, connection, tls):
                return
        except trio.BrokenResourceError:
            if tls.error:
                raise encrypted.why_refused() from None
            raise
    await encrypted.do_handshake()


async def _answer_plain_http(connection: Connection, stream: SocketStream) -> None:
    await stream.send_rest(memoryview(PLAIN_HTTP_ANSWER))
    await linger(stream, connection.context)
