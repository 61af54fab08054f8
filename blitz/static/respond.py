"""The response of a static route to a request: which file, which coding of it, which bytes, which fields.

``plan`` decides all of it and waits for nothing: what a name is, its caller knows, or finds out and asks
again.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Protocol

from blitz.http.accept_encoding import acceptable

from .conditions import Fields, http_date, precondition, range_counts
from .listing import FIELDS as LISTING_FIELDS
from .media_types import media_type
from .names import file_name
from .ranges import content_range, parse_ranges, unsatisfied
from .tree import Kind, Looked, Tree

__all__ = ["REDIRECT", "Asked", "Plan", "Site", "plan"]

ALLOW = b"GET, HEAD"
HTML = b"text/html; charset=utf-8"
REDIRECT = 308
ENDINGS = {
    b"zstd": b".zst",
    b"br": b".br",
    b"gzip": b".gz",
}  # of files that hold a coding of the one beside them
NOSNIFF = (b"x-content-type-options", b"nosniff")
Piece = bytes | tuple[int, int]
"""Of a body: bytes, or (start, end) in the file."""


@dataclass(frozen=True, slots=True)
class Site:
    """What a route says of its files. max_age: seconds; None: nothing is said to caches."""

    tree: Tree
    fallback: bytes = b""
    codings: tuple[bytes, ...] = ()
    max_age: int | None = None


class Asked(Protocol):
    """A request. target: as the client sent it, in origin form; path: what of it counts, rewritten."""

    @property
    def method(self) -> bytes: ...

    @property
    def target(self) -> bytes: ...

    @property
    def path(self) -> bytes: ...

    @property
    def fields(self) -> Fields: ...


class HasLooked(Protocol):
    """What is known of a name."""

    @property
    def looked(self) -> Looked: ...


@dataclass(slots=True)
class Plan:
    """What is sent.

    Attributes:
        kind: Content-Type, b"" for none. body: the pieces of it, in order. None: the text of an error.
        file: that the pieces are of; None: they are all bytes.
        until: the same request means the same up to then, on the caller's clock; set by who knows.
    """

    status: int
    kind: bytes = b""
    fields: list[tuple[bytes, bytes]] = field(default_factory=list)
    body: list[Piece] | None = None
    file: HasLooked | None = None
    until: float = 0.0

    @property
    def size(self) -> int:
        """Bytes of the body."""
        return sum(len(one) if isinstance(one, bytes) else one[1] - one[0] for one in self.body or ())


def plan(site: Site, asked: Asked, find: Callable[[bytes], HasLooked], now: int, boundary: bytes) -> Plan:
    """The response to *asked*.

    Args:
        find: what a name below the root is; what it raises comes out of here.
        now: seconds since 1970.
        boundary: of a multipart body: nothing that a file may hold.
    """
    if asked.method not in (b"GET", b"HEAD"):
        return Plan(405, fields=[(b"allow", ALLOW)])
    name = file_name(asked.path)
    if name is None:
        return Plan(404)
    known = find(name)
    if known.looked.kind == Kind.DIRECTORY:
        path, mark, query = asked.target.partition(b"?")
        if not path.endswith(b"/"):
            # One slash in front: a path that begins with two names a host.
            location = b"/" + path.lstrip(b"/\\") + b"/" + mark + query
            return Plan(REDIRECT, fields=[(b"location", location)])
        known = find(name + b"/")  # the client has asked for a directory; a rewrite took the slash
    fell_back = known.looked.kind == Kind.MISSING and bool(site.fallback)
    if fell_back:
        known = find(site.fallback)
    kind = known.looked.kind
    if kind == Kind.LISTING:
        return Plan(200, HTML, list(LISTING_FIELDS), [known.looked.body or b""])
    if kind != Kind.FILE:
        return Plan(403 if kind == Kind.DENIED else 404)
    return _file(site, asked, known, find, now, boundary, fell_back=fell_back)


def _file(
    site: Site,
    asked: Asked,
    known: HasLooked,
    find: Callable[[bytes], HasLooked],
    now: int,
    boundary: bytes,
    *,
    fell_back: bool,
) -> Plan:
    name = known.looked.name
    coding = b""
    for one in acceptable(asked.fields.get(b"accept-encoding") or b"", site.codings) if site.codings else ():
        found = find(name + ENDINGS[one])
        if found.looked.kind == Kind.FILE:
            known, coding = found, one
            break
    looked = known.looked
    modified = looked.modified_ns // 10**9
    tag = b'"%x-%x-%x"' % (looked.inode, looked.size, looked.modified_ns)
    fields = [(b"etag", tag), (b"last-modified", http_date(modified))]
    if site.codings:
        fields.append((b"vary", b"accept-encoding"))
    if site.max_age is not None:
        # The fallback stands under many names, and under none of its own.
        age = b"no-cache" if fell_back else b"max-age=%d" % site.max_age
        fields.append((b"cache-control", age))
    status = precondition(asked.method, asked.fields, tag, modified, now)
    if status:
        return Plan(status, fields=fields, body=[] if status == 304 else None)
    if coding:
        fields.append((b"content-encoding", coding))
    fields += [NOSNIFF, (b"accept-ranges", b"bytes")]
    kind, size = media_type(name), looked.size
    ranges = None
    wanted = asked.fields.get(b"range")
    if wanted is not None and asked.method == b"GET" and range_counts(asked.fields, tag, modified, now):
        ranges = parse_ranges(wanted, size)
    if ranges is None:
        return _made(200, kind, fields, [(0, size)], known)
    if not ranges:
        return Plan(416, fields=[(b"content-range", unsatisfied(size)), (b"accept-ranges", b"bytes")])
    if len(ranges) == 1:
        fields.append((b"content-range", content_range(*ranges[0], size)))
        return _made(206, kind, fields, [ranges[0]], known)
    pieces: list[Piece] = []
    for start, end in ranges:
        head = b"\r\n--%b\r\ncontent-type: %b\r\ncontent-range: %b\r\n\r\n"
        pieces += [head % (boundary, kind, content_range(start, end, size)), (start, end)]
    pieces.append(b"\r\n--%b--\r\n" % boundary)
    return _made(206, b"multipart/byteranges; boundary=" + boundary, fields, pieces, known)


def _made(
    status: int, kind: bytes, fields: list[tuple[bytes, bytes]], pieces: list[Piece], known: HasLooked
) -> Plan:
    whole = known.looked.body
    if whole is None:
        return Plan(status, kind, fields, pieces, known)
    got = [one if isinstance(one, bytes) else whole[one[0] : one[1]] for one in pieces]
    return Plan(status, kind, fields, [b"".join(got) if len(got) > 1 else got[0]])
