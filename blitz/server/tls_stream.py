"""TLS as a byte stream of ours, over a socket: what ``ssl`` computes, between two buffers in memory.

Why not ``trio.SSLStream``: the request path wants ``send_nowait`` and ``receive_into``; tunnels want
half-close, which it lacks; a pool wants to know that nothing has arrived (``is_quiet``), tickets aside.

Between two waits ciphertext only lies in ``_unsent``: what the library wrote and the socket did not take yet.
Whatever puts bytes there keeps their order, so the reader's answers (KeyUpdate, alerts) and the sender's
records may be mixed freely.

While a connection is on the fast path, ``native/tls.c`` drives the same SSL object. What neither the object
nor its BIOs know stands in ``_state`` (``blitz_tls``), for both: ``encrypted``, plaintext whose records were
written and not all sent, and which no send has reported; ``broken``; ``ended``.

An end of the socket without close_notify is ``trio.BrokenResourceError``, never an end of stream: a body that
ends with its connection must not look complete when somebody cut it (RFC 8446 section 6.1).
"""

from __future__ import annotations

import contextlib
import ssl
from collections.abc import Callable
from typing import Any

import trio
from trio.lowlevel import wait_readable, wait_writable

from blitz._native import ffi, lib

from .stream import SocketStream
from .tls_native import wrap

__all__ = ["TlsError", "TlsStream"]

RAW_SIZE = 64 * 1024  # bytes received at once: four full records
SEND_SLICE = 64 * 1024  # plaintext that is encrypted before the socket is asked: bounds what lies in _unsent
MAX_LOOKS = 4  # reads that bring no data before a stream counts as not quiet
MAX_STASH = 1024 * 1024  # plaintext that may be waiting when our end is said; more than RAW_SIZE cannot be


class TlsError(Exception):
    """The handshake failed; the argument is one sentence. ``reason`` is OpenSSL's word for it."""

    def __init__(self, message: str, reason: str = "") -> None:
        super().__init__(message)
        self.reason = reason


class TlsStream:
    """A ``ByteStream``; owns *stream*. ``do_handshake`` comes first.

    Args:
        raw: scratch for received ciphertext, RAW_SIZE bytes; empty again before anybody waits, so that all
            streams of an event loop can share one.
    """

    __slots__ = (
        "_ended",
        "_from_peer",
        "_object",
        "_raw",
        "_stash",
        "_state",
        "_to_peer",
        "_unsent",
        "stream",
    )

    def __init__(
        self,
        stream: SocketStream,
        context: ssl.SSLContext,
        raw: memoryview,
        *,
        server_side: bool,
        server_hostname: str | None = None,
    ) -> None:
        self.stream = stream
        self._raw = raw
        self._from_peer = ssl.MemoryBIO()
        self._to_peer = ssl.MemoryBIO()
        # Any: typeshed knows the form of read that fills a buffer for bytearray only.
        self._object: Any
        self._object, self._state = wrap(
            context,
            self._from_peer,
            self._to_peer,
            server_side=server_side,
            server_hostname=server_hostname,
        )
        self._unsent = bytearray()
        self._stash = b""  # plaintext that was read before our end was said
        self._ended = False

    @property
    def ssl_object(self) -> ssl.SSLObject:
        """For what was agreed on: version, cipher, the peer's certificate."""
        made: ssl.SSLObject = self._object
        return made

    # -- handshake

    async def do_handshake(self) -> None:
        """
        Raises:
            TlsError: it failed; the peer has been told why, as far as TLS has a word for it.
            trio.BrokenResourceError: the peer is gone.
        """
        while True:
            try:
                self._object.do_handshake()
            except ssl.SSLWantReadError:
                await self._flush()
            except ssl.SSLCertVerificationError as exc:
                await self._flush()
                raise TlsError(f"certificate refused: {exc.verify_message}", exc.reason or "") from exc
            except ssl.SSLEOFError as exc:
                raise trio.BrokenResourceError("connection closed in the TLS handshake") from exc
            except (ssl.SSLError, ssl.CertificateError) as exc:
                await self._flush()
                reason = getattr(exc, "reason", None) or "SSL_ERROR"
                raise TlsError(f"TLS handshake failed: {reason.lower().replace('_', ' ')}", reason) from exc
            else:
                await self._flush()
                self._state.shaken = 1
                return
            await wait_readable(self.stream.socket)
            self._take()

    def refusal(self) -> TlsError | None:
        """What C found wrong in a handshake, as ``do_handshake`` raises it; None: only the peer is gone."""
        if not self._state.error:
            return None
        reason, refusal = (
            ffi.string(text(self._state)).decode() for text in (lib.blitz_ssl_reason, lib.blitz_ssl_refusal)
        )
        word = reason.upper().replace(" ", "_")
        if refusal:
            return TlsError(f"certificate refused: {refusal}", word)
        return TlsError(f"TLS handshake failed: {reason}", word)

    # -- receiving

    async def wait_readable(self) -> None:
        if not self._holds_more() and not self._stash:
            await wait_readable(self.stream.socket)

    def _holds_more(self) -> bool:
        """Something to read has left the socket, and be it the end."""
        return bool(self._from_peer.pending or self._object.pending() or self._state.ended)

    async def receive_into(self, view: memoryview) -> int:
        while True:
            got = self._read(view)
            if got >= 0:
                return got
            if self.stream.socket.fileno() < 0:
                raise trio.ClosedResourceError("this socket was already closed")
            await wait_readable(self.stream.socket)
            self._take()

    def receive_nowait(self, view: memoryview) -> int:
        got = self._read(view)
        if got < 0 and self._take():
            got = self._read(view)
        return got

    def _take(self) -> bool:
        """Move what the socket has to the library; False when it has nothing."""
        got = self.stream.receive_nowait(self._raw)
        if got < 0:
            return False
        if got:
            self._from_peer.write(self._raw[:got])
        else:
            self._from_peer.write_eof()
        return True

    def _read(self, view: memoryview) -> int:
        """Plaintext that is here already: its size, 0 at the end, -1 for none."""
        if self._stash:
            got = min(len(view), len(self._stash))
            view[:got], self._stash = self._stash[:got], self._stash[got:]
            return got
        got = 0
        try:
            got = self._object.read(len(view), view)
            # A read gives one record, 16 KiB at most: take what came with it.
            more = got
            while more and got < len(view) and self._from_peer.pending:
                more = self._object.read(len(view) - got, view[got:])
                got += more
            if not more:
                self._state.ended = 1  # close_notify; behind data it is seen again by the next read
        except ssl.SSLWantReadError:
            if not got:
                got = -1
        except ssl.SSLZeroReturnError:
            self._state.ended = 1  # the same, where our own was sent
        except ssl.SSLError as exc:
            if not got:
                self._state.broken = 1
                self._push()
                raise trio.BrokenResourceError(_sentence(exc)) from exc
        if self._to_peer.pending:
            self._push()
        return got

    def is_quiet(self) -> bool:
        """Open, and no data has arrived. Reads what is not data: tickets, key updates."""
        one = memoryview(bytearray(1))
        try:
            for _ in range(MAX_LOOKS):
                if self._read(one) >= 0:
                    return False
                if not self._take():
                    return True
        except (trio.BrokenResourceError, trio.ClosedResourceError):
            pass
        return False

    # -- sending

    def send_nowait(self, data: bytes | bytearray | memoryview) -> int:
        """As ``ByteStream`` says. After a short count the next call must be ``send_rest`` with the rest."""
        self._check()
        if self._unsent:
            self._push()
        sent = 0
        with memoryview(data) as view:
            while sent < len(view) and not self._unsent:
                size = self._encrypt(view[sent : sent + SEND_SLICE])
                self._push()
                if self._unsent:
                    self._state.encrypted = size
                else:
                    sent += size
        return sent

    async def send_rest(self, data: memoryview, moved: Callable[[], object] | None = None) -> None:
        self._check()
        at, self._state.encrypted = self._state.encrypted, 0
        try:
            while True:
                await self._flush(moved)
                if at >= len(data):
                    return
                at += self._encrypt(data[at : at + SEND_SLICE])
                self._push()
        except trio.Cancelled:
            # Half a message is on its way: nothing that makes sense can follow.
            self._state.broken = 1
            raise

    def _encrypt(self, data: memoryview) -> int:
        done = 0
        try:
            while done < len(data):
                done += self._object.write(data[done:])
        except ssl.SSLError as exc:
            self._state.broken = 1
            raise trio.BrokenResourceError(_sentence(exc)) from exc
        return done

    def _push(self) -> None:
        """Give the socket what it takes now; the rest stays in ``_unsent``."""
        if self._to_peer.pending:
            data = self._to_peer.read()
            if not self._unsent:
                sent = self.stream.send_nowait(data)
                if sent == len(data):
                    return
                data = data[sent:]
            self._unsent += data
        if self._unsent:
            sent = self.stream.send_nowait(self._unsent)
            if sent:
                del self._unsent[:sent]

    async def _flush(self, moved: Callable[[], object] | None = None) -> None:
        self._push()
        while self._unsent:
            await wait_writable(self.stream.socket)
            self._push()
            if moved is not None:
                moved()

    def _check(self) -> None:
        if self._ended:
            raise trio.ClosedResourceError("the end of this stream was already sent")
        if self._state.broken:
            raise trio.BrokenResourceError("this TLS connection is broken")

    # -- ends

    def finish(self) -> None:
        """Say, without waiting, that what was sent is all (close_notify). Before ``close``, if it is true."""
        if self._ended or self._state.broken or self.stream.fileno() < 0:
            return
        self._ended = True
        tls = self._state
        by_c = tls.ssl != ffi.NULL and not self._unsent and not self._stash
        if by_c and not lib.blitz_tls_finish(tls, self.stream.fileno()):
            return
        with contextlib.suppress(ssl.SSLError, trio.BrokenResourceError, trio.ClosedResourceError):
            # The library looks for the peer's answer, and fails if it finds data: take those out first.
            if self._from_peer.pending or self._object.pending():
                self._save_plaintext()
            self._object.unwrap()
        with contextlib.suppress(trio.BrokenResourceError, trio.ClosedResourceError):
            self._push()

    def _save_plaintext(self) -> None:
        kept = bytearray(self._stash)
        part = memoryview(bytearray(RAW_SIZE))
        self._stash = b""
        try:
            while len(kept) < MAX_STASH:
                got = self._read(part)
                if got <= 0:
                    break
                kept += part[:got]
        finally:
            self._stash = bytes(kept)

    async def send_eof(self) -> None:
        """Half-close: the peer's data can still be received (RFC 8446 section 6.1)."""
        if self._ended:
            return
        self._check()
        await self._flush()
        self.finish()
        await self._flush()

    @property
    def half_closes(self) -> bool:
        return True

    def close(self) -> None:
        self.stream.close()

    def reset(self) -> None:
        self.stream.reset()

    async def aclose(self) -> None:
        self.finish()
        await self.stream.aclose()

    def unsent(self) -> int:
        return self.stream.unsent()

    def fileno(self) -> int:
        return -1  # what is readable at the socket is not what is readable here

    def descriptor(self) -> int:
        return self.stream.fileno()

    def lend(self) -> Any:
        state = self._state
        if state.ssl == ffi.NULL or self._unsent or self._stash or self._ended:
            return None
        state.holds_more = self._holds_more()
        state.large = 1
        return state

    def is_reset(self) -> bool:
        return self.stream.is_reset()


def _sentence(exc: ssl.SSLError) -> str:
    if isinstance(exc, ssl.SSLEOFError):
        return "TLS connection cut off without close_notify"
    return f"TLS connection broken: {(exc.reason or 'error').lower().replace('_', ' ')}"
