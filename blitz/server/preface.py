"""What comes before HTTP on a connection: a PROXY header, then a TLS handshake. Both under one deadline.

What fails here fails quietly: a port that faces the world gets scanners, plain HTTP and half-open connections
all day. The connection closes; counters and the debug log know.
"""

from __future__ import annotations

import logging
from typing import NoReturn

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

__all__ = ["is_plain_http", "note_refused", "read_proxy_header", "refuse", "shake_hands", "shaken"]

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


async def shake_hands(connection: Connection, encrypted: TlsStream) -> None:
    """Do a TLS handshake, or the rest of it.

    Raises:
        ClientGone: it failed, and the client was told what it can be told.
        trio.BrokenResourceError: the client is gone.
    """
    try:
        await _shake(connection, encrypted)
    except TlsError as exc:
        await refuse(connection, encrypted.stream, exc)
    except trio.BrokenResourceError:
        connection.context.counters.tls_failures += 1
        raise
    shaken(connection, encrypted)


async def _shake(connection: Connection, encrypted: TlsStream) -> None:
    """As ``do_handshake``: by C if it can; by Python if not, and once a drain has begun."""
    tls = encrypted.lend()
    if tls is not None and not connection.context.draining:
        try:
            if await fast_path.shake_hands(connection.context.fast_path, connection, tls):
                return
        except trio.BrokenResourceError:
            if (refusal := encrypted.refusal()) is not None:
                raise refusal from None
            raise
    await encrypted.do_handshake()


def shaken(connection: Connection, encrypted: TlsStream) -> None:
    """Its handshake is done: that is its stream from now on, and its peer says with whom."""
    connection.context.measures.count(TLS_HANDSHAKES)
    connection.stream = encrypted
    peer = connection.peer
    texts = peer_texts(encrypted.ssl_object)
    connection.peer = Peer(peer.address, peer.port, scheme="https", texts=texts, listener=peer.listener)


def note_refused(connection: Connection, error: TlsError) -> None:
    """Its handshake has failed."""
    connection.context.counters.tls_failures += 1
    _log.debug("%s: %s", connection.peer.address, error)


def is_plain_http(error: TlsError) -> bool:
    """What came instead of a handshake was a request."""
    return error.reason in PLAIN_HTTP_REASONS


async def refuse(connection: Connection, stream: SocketStream, error: TlsError) -> NoReturn:
    """Tell the client of a failed handshake what it can be told. Raises ClientGone."""
    note_refused(connection, error)
    if is_plain_http(error):
        await stream.send_rest(memoryview(PLAIN_HTTP_ANSWER))
        await linger(stream, connection.context)
    raise ClientGone(str(error)) from error
