"""The suite's own TLS client: a socket with a layer between, driven byte by byte like the plain one.

Not the gateway's code and not trio's: it must be able to close in any way and to see how the other side did.
"""

from __future__ import annotations

import contextlib
import functools
import os
import socket
import ssl
import tempfile

import trio
import trustme

__all__ = ["TlsLink", "certificate", "connect"]


@functools.cache
def _authority() -> tuple[trustme.CA, tempfile.TemporaryDirectory[str]]:
    directory = tempfile.TemporaryDirectory(prefix="http-suite-ca-")
    return trustme.CA(), directory


@functools.cache
def certificate() -> str:
    """Path of a PEM file with key and certificate for 127.0.0.1; lives as long as the process."""
    authority, directory = _authority()
    path = f"{directory.name}/server.pem"
    authority.issue_cert("127.0.0.1").private_key_and_cert_chain_pem.write_to_path(path)
    return path


async def connect(
    address: tuple[str, int], *, tls: bool, source: str = ""
) -> trio.socket.SocketType | TlsLink:
    sock = trio.socket.socket()
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    try:
        if source:
            await sock.bind((source, 0))
        await sock.connect(address)
        if not tls:
            return sock
        link = TlsLink(sock)
        await link.shake_hands()
    except BaseException:
        sock.close()
        raise
    return link


class TlsLink:
    """What the runner uses of a socket. An end without close_notify is ``ConnectionResetError``."""

    def __init__(self, sock: trio.socket.SocketType) -> None:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        _authority()[0].configure_trust(context)
        context.options &= ~ssl.OP_IGNORE_UNEXPECTED_EOF
        self._sock = sock
        self._in, self._out = ssl.MemoryBIO(), ssl.MemoryBIO()
        self._tls = context.wrap_bio(self._in, self._out, server_hostname="127.0.0.1")
        self._order = trio.Lock()

    async def shake_hands(self) -> None:
        while True:
            try:
                self._tls.do_handshake()
            except ssl.SSLWantReadError:
                await self._flush()
                await self._more()
            else:
                await self._flush()
                return

    async def send(self, data: bytes | memoryview) -> int:
        sent = self._tls.write(data)
        await self._flush()
        return sent

    async def recv(self, size: int) -> bytes:
        while True:
            try:
                return self._tls.read(size)
            except ssl.SSLWantReadError:
                await self._more()
            except ssl.SSLZeroReturnError:
                return b""
            except ssl.SSLError as error:
                raise ConnectionResetError(str(error)) from error

    async def _more(self) -> None:
        data = await self._sock.recv(65536)
        if data:
            self._in.write(data)
        else:
            self._in.write_eof()

    async def _flush(self) -> None:
        async with self._order:
            data = memoryview(self._out.read())
            while data:
                data = data[await self._sock.send(data) :]

    def shutdown(self, how: int) -> None:
        with contextlib.suppress(ssl.SSLError):  # the other side's close_notify is not there yet
            self._tls.unwrap()
        with socket.socket(fileno=os.dup(self._sock.fileno())) as now:  # trio's own can only wait
            now.send(self._out.read())
        self._sock.shutdown(how)

    def setsockopt(self, level: int, option: int, value: int | bytes) -> None:
        self._sock.setsockopt(level, option, value)

    def close(self) -> None:
        self._sock.close()
