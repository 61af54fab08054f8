"""Which responses are compressed, and what their heads say then. It knows no socket and no body.

``server/compressing.py`` does it, step by step. What other codings there are on the way: what an upstream has
encoded is left as it is, and so is a part of a representation (206), which is one of the bytes as they are.

The answer says ``Vary: Accept-Encoding`` wherever it depends on that, compressed or not. The tag of what is
compressed becomes a weak one, as with nginx: its bytes are others than those that the upstream means (RFC
9110 section 8.8.3.3). A client that asks again with that tag gets 304 from the upstream, which compares
weakly (section 13.1.2), and a 304 with the tag that it knows.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from blitz._native import lib
from blitz.http.accept_encoding import choose_coding
from blitz.http.heads import field_values
from blitz.http.media import is_stream
from blitz.http.rules import field_value

from .encoders import ENCODERS, Encoder, memory_of

if TYPE_CHECKING:
    from blitz.config.filter_keys import Compress

    from .message import Message
    from .services import Answer, Services

__all__ = ["Coded", "CompressFilter", "Said"]

_NOT_MODIFIED, _PARTIAL = 304, 206
_WITHOUT_CONTENT = (204, 205, _NOT_MODIFIED)
# What they say is of the bytes that came: a length, ranges of them, digests (RFC 9530, RFC 3230, RFC 1864).
_OF_THE_BYTES = (
    b"content-length",
    b"accept-ranges",
    b"content-digest",
    b"repr-digest",
    b"digest",
    b"content-md5",
)
_ACCEPT = b"accept-encoding"


@dataclass(frozen=True, slots=True)
class Said:
    """What the client has said that compression depends on; plugins and the route may change it afterwards.

    Attributes:
        accepts: its Accept-Encoding. tags: its If-None-Match. Lists, from all their lines.
        no_transform: nobody may change what it gets (RFC 9111 section 5.2.1.6).
    """

    accepts: bytes
    tags: bytes
    no_transform: bool


@dataclass(frozen=True, slots=True)
class Coded:
    """A response whose head says that it is compressed.

    Attributes:
        memory: bytes that its encoder will hold, at most.
        eager: each part that comes is to leave at once.
    """

    coding: str
    level: int
    size: int | None
    memory: int
    eager: bool

    def encoder(self) -> Encoder:
        return ENCODERS[self.coding](self.level, self.size)


class CompressFilter:
    """Of one route."""

    def __init__(self, said: Compress) -> None:
        self._offered = tuple(coding.encode() for coding in said.encodings)
        self._levels = {"gzip": said.gzip_level, "zstd": said.zstd_level, "br": said.br_level}
        self._types = Types(said.types)
        self._min_size = said.min_size

    async def request(self, message: Message, services: Services) -> Answer | None:
        """Remember what the client says."""
        message.said = Said(
            b",".join(message.values(_ACCEPT)),
            b",".join(message.values(b"if-none-match")),
            _no_transform(message.values(b"cache-control")),
        )
        return None

    def response(self, message: Message, response: Any, size: int | None, room: int) -> Coded | None:
        """What is done with *response* (cffi ``blitz_head *``), whose head is changed to say so; None: it
        goes as it is.

        Args:
            size: of its body, as GET gets it; None: it is not known.
            room: bytes that an encoder may hold.
        """
        said, status = message.said, response.status
        if said is None or status < 200:
            return None
        if status == _NOT_MODIFIED:
            _weaken_as_known(response, said.tags)
            _vary(response)
            return None
        kind = field_value(response, b"content-type") or b""
        if status in _WITHOUT_CONTENT or not self._types.contains(kind) or not _may_change(response):
            return None
        is_part = status == _PARTIAL or field_value(response, b"content-range") is not None
        is_small = size is not None and (size < self._min_size or not size)
        if (is_small and not is_part) or not _vary(response) or is_part or said.no_transform:
            return None
        chosen = choose_coding(said.accepts, self._offered)
        if chosen is None:
            return None
        coding = chosen.decode()
        memory = memory_of(coding, size)
        if memory > room or not _tell(response, chosen):
            return None
        return Coded(coding, self._levels[coding], size, memory, size is None or is_stream(kind))


class Types:
    """A set of media types: whole ones, ``text/*``, and ``+json`` for a suffix."""

    def __init__(self, said: Sequence[str]) -> None:
        names = [one.lower().encode() for one in said]
        self._exact = frozenset(one for one in names if not one.startswith(b"+") and not one.endswith(b"/*"))
        self._families = frozenset(one[:-2] for one in names if one.endswith(b"/*"))
        self._suffixes = frozenset(one[1:] for one in names if one.startswith(b"+"))

    def contains(self, content_type: bytes) -> bool:
        """A Content-Type's media type is one of them; parameters and case do not matter."""
        kind = content_type.partition(b";")[0].strip(b" \t").lower()
        family, _, name = kind.partition(b"/")
        if not name or (family == b"application" and name.startswith(b"grpc")):
            return False  # gRPC compresses message by message
        suffix = name.rpartition(b"+")
        return (
            kind in self._exact
            or family in self._families
            or (bool(suffix[1]) and suffix[2] in self._suffixes)
        )


def _may_change(response: Any) -> bool:
    """Nobody has encoded it, and nobody forbids to (RFC 9110 section 7.7)."""
    if field_value(response, b"content-encoding") is not None:
        return False
    return not _no_transform(field_values(response, b"cache-control"))


def _no_transform(values: Sequence[bytes]) -> bool:
    if not values:
        return False
    return any(one.strip(b" \t").lower() == b"no-transform" for one in b",".join(values).split(b","))


def _vary(response: Any) -> bool:
    """Say once that the answer depends on it (RFC 9110 section 12.5.5). False: there is no room for that."""
    values = field_values(response, b"vary")
    said = b", ".join(value for value in values if value)
    names = {name.strip(b" \t") for name in said.lower().split(b",")}
    if {_ACCEPT, b"*"} & names:
        return True
    value = b"Accept-Encoding"
    if said and _set(response, b"vary", said + b", " + value):
        return True
    return bool(lib.blitz_head_add(response, b"vary", 4, value, len(value)) >= 0)


def _tell(response: Any, coding: bytes) -> bool:
    """The head says *coding*, and nothing of the bytes that were. False: there is no room for that."""
    if not _set(response, b"content-encoding", coding):
        return False
    for name in _OF_THE_BYTES:
        lib.blitz_head_remove(response, name, len(name))
    tag = field_value(response, b"etag")
    if tag is not None:
        _weaken(response, tag)
    return True


def _weaken(response: Any, tag: bytes) -> None:
    if tag.startswith(b"W/"):
        return
    if not tag.startswith(b'"') or not _set(response, b"etag", b"W/" + tag):
        lib.blitz_head_remove(response, b"etag", 4)


def _weaken_as_known(response: Any, tags: bytes) -> None:
    """A 304 names its tag as the client has it, else the client would not know which of its responses is
    still good (RFC 9111 section 4.3.4)."""
    tag = field_value(response, b"etag")
    if tag is None or not tag.startswith(b'"') or b"W/" + tag not in tags:
        return
    if tag not in tags.replace(b"W/" + tag, b""):
        _weaken(response, tag)


def _set(response: Any, name: bytes, value: bytes) -> bool:
    return bool(lib.blitz_head_set(response, name, len(name), value, len(value)) >= 0)
