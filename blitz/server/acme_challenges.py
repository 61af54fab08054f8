"""What a certificate authority asks for to see that a name leads here (RFC 8555 section 8.3, RFC 8737).

Whoever orders a certificate, which may be another worker, puts the answers as files into ``pending`` of the
storage directory; each worker reads that once a second, and answers from memory.
"""

from __future__ import annotations

import contextlib
import os
import re
import ssl
from dataclasses import dataclass, field
from typing import Any

import trio

from blitz.files import PEM, FileRefused, read_file
from blitz.http.heads import span_bytes

from .local_response import Reply
from .pem import PemRefused, load_own
from .stream import SocketStream
from .tls_stream import RAW_SIZE, TlsError, TlsStream

__all__ = ["CHALLENGE_PATH", "Answers", "Challenges", "read_answers"]

CHALLENGE_PATH = "/.well-known/acme-challenge"
ALPN = "acme-tls/1"
MAX_PENDING = 1000  # files
_TOKEN = re.compile(r"[A-Za-z0-9_-]{1,256}")
_OFFERED = b"\x0aacme-tls/1"  # in a ClientHello: the name with its length before it
_HELLO = 4096  # bytes; an authority's is a few hundred
_PEEK_TIME = 1.0  # seconds


@dataclass(frozen=True, slots=True)
class Answers:
    """Of all orders that are under way.

    Attributes:
        tokens: what is told at ``CHALLENGE_PATH/TOKEN``.
        certificates: name -> what shows its certificate to who offers ``acme-tls/1``. Made when they are
            read, and not for whoever asks: anybody may offer that.
    """

    tokens: dict[str, bytes] = field(default_factory=dict)
    certificates: dict[str, ssl.SSLContext] = field(default_factory=dict)


def read_answers(storage: str) -> Answers:
    """What is in ``pending`` now. Blocks."""
    found = Answers()
    with contextlib.suppress(OSError), os.scandir(os.path.join(storage, "pending")) as entries:
        for entry in list(entries)[:MAX_PENDING]:
            with contextlib.suppress(FileRefused, PemRefused):
                if entry.name.endswith(".pem"):
                    context = _bare_context()
                    load_own(context, entry.path, "")
                    found.certificates[entry.name.removesuffix(".pem")] = context
                elif _TOKEN.fullmatch(entry.name):
                    found.tokens[entry.name] = read_file(entry.path, PEM)
    return found


class Challenges:
    """Of one gateway.

    Attributes:
        answers: as they were read last.
    """

    def __init__(self) -> None:
        self.answers = Answers()

    def reply(self, request: Any) -> Reply:
        """The response to a request (cffi ``blitz_head *``) at CHALLENGE_PATH."""
        path = span_bytes(request, request.target).partition(b"?")[0].decode("latin-1")
        told = self.answers.tokens.get(path.removeprefix(f"{CHALLENGE_PATH}/"))
        if told is None:
            return Reply(404, b"no such challenge\n")
        return Reply(200, told, b"application/octet-stream")

    async def took(self, stream: SocketStream) -> bool:
        """The client was an authority that asked by a handshake; it has its answer, and nothing else follows.

        Nothing is read from *stream* where it was not. Raises ``trio.BrokenResourceError``.
        """
        if not self.answers.certificates:
            return False
        with trio.move_on_after(_PEEK_TIME):
            await stream.wait_readable()
        if _OFFERED not in stream.peek(_HELLO):
            return False
        context = _choosing(self.answers.certificates)
        with contextlib.suppress(trio.BrokenResourceError, TlsError):
            encrypted = TlsStream(stream, context, memoryview(bytearray(RAW_SIZE)), server_side=True)
            await encrypted.do_handshake()
            encrypted.finish()
        return True


def _bare_context() -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.set_alpn_protocols([ALPN])
    return context


def _choosing(certificates: dict[str, ssl.SSLContext]) -> ssl.SSLContext:
    """Shows the certificate of the name that is asked for, and none to others."""

    def choose(chosen: ssl.SSLObject, name: str | None, _: ssl.SSLContext) -> int | None:
        if name is None or name.lower() not in certificates:
            return ssl.ALERT_DESCRIPTION_UNRECOGNIZED_NAME
        chosen.context = certificates[name.lower()]
        return None

    first = _bare_context()
    first.sni_callback = choose
    return first
