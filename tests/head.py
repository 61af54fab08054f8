"""A message head, as Python sees it: a thin handle on the table that C keeps.

A head is the bytes it arrived in plus a table of spans (``native/blitz_native.h``); routing, plugins
and the writer work on that table in C. ``Head`` owns one such table and makes Python objects only for
what is asked for. It is for tests: the package passes tables straight to ``lib``.

Names and values are bytes. A value comes without the whitespace around it (RFC 9110 section 5.5), a
name in the case it was given in; look-ups ignore case.
"""

from __future__ import annotations

from collections.abc import Iterable
from enum import IntEnum
from typing import Any

from blitz._native import ffi, lib

__all__ = ["Body", "Head", "HeadLimits"]

Fields = Iterable[tuple[bytes, bytes]]


class Body(IntEnum):
    """How the body of a message ends (RFC 9112 section 6.3). Equal to ``BLITZ_BODY_*``."""

    NONE = 0
    LENGTH = 1
    CHUNKED = 2
    CLOSE = 3


class HeadLimits:
    """Bounds for one head; 0 stands for the largest that the table can hold.

    Attributes:
        c: the cffi ``blitz_head_limits *``, alive as long as this object.
    """

    __slots__ = ("c",)

    def __init__(
        self, *, max_head_size: int = 0, max_line_size: int = 0, max_field_size: int = 0, max_fields: int = 0
    ) -> None:
        self.c: Any = ffi.new(
            "blitz_head_limits *", (max_head_size, max_line_size, max_field_size, max_fields)
        )


class Head:
    """A request or response head. Reusable: ``reset`` or a new scan forgets the old one.

    Attributes:
        c: the cffi ``blitz_head *``; owned by this object, freed with it.
    """

    __slots__ = ("_bytes", "c")

    def __init__(self) -> None:
        head = lib.blitz_head_new()
        if head == ffi.NULL:
            raise MemoryError("no memory for a message head")
        self.c: Any = ffi.gc(head, lib.blitz_head_free)
        self._bytes: Any = None  # keeps the received bytes alive that the table points into

    @classmethod
    def request(cls, method: bytes, target: bytes, fields: Fields = (), *, minor: int = 1) -> Head:
        """Make a request head, HTTP/1.*minor*. Nothing but syntax is checked: see ``check``.

        Raises:
            ValueError: *method* is no token, *target* is not visible ASCII, a field is malformed, or
                there are more than 256 fields.
        """
        head = cls()
        result = lib.blitz_head_start_request(head.c, method, len(method), target, len(target), minor)
        _refuse(result, "request line", method + b" " + target)
        head._extend(fields)
        return head

    @classmethod
    def response(cls, status: int, fields: Fields = (), *, reason: bytes = b"", minor: int = 1) -> Head:
        """Make a response head, HTTP/1.*minor*. Raises ValueError as ``request`` does."""
        head = cls()
        result = lib.blitz_head_start_response(head.c, status, reason, len(reason), minor)
        _refuse(result, "status line", b"%d %s" % (status, reason))
        head._extend(fields)
        return head

    def reset(self) -> None:
        """Forget everything; the next message may be of either kind."""
        lib.blitz_head_reset(self.c, lib.BLITZ_REQUEST)
        self._bytes = None

    # ------------------------------------------------------------ scanning

    def scan_request(self, data: bytes, *, limits: HeadLimits | None = None, path: str = "") -> int:
        """Scan the request head at the front of *data* with the strict scanner.

        Args:
            data: kept alive (and not copied) until this head is reset or scanned again.
            path: the scanner's instruction set, for tests; "" is the one of this machine.
        Returns:
            Bytes of the head, which is then checked; 0 when more are needed; ``BLITZ_E_DECLINED`` or
            ``BLITZ_E_LIMIT``. The head is empty unless the result is positive.
        """
        name = path.encode() or lib.blitz_scan_path()
        where = limits.c if limits is not None else ffi.NULL
        return int(lib.blitz_scan_request_with(name, self.c, self.borrow(data), len(data), 0, where))

    def scan_response(
        self, data: bytes, request_method: bytes = b"GET", *, limits: HeadLimits | None = None, path: str = ""
    ) -> int:
        """Scan the response head at the front of *data*; see ``scan_request``."""
        name = path.encode() or lib.blitz_scan_path()
        where = limits.c if limits is not None else ffi.NULL
        raw = self.borrow(data)
        return int(
            lib.blitz_scan_response_with(
                name, self.c, raw, len(data), 0, where, request_method, len(request_method)
            )
        )

    def borrow(self, data: bytes | bytearray | memoryview) -> Any:
        """Keep *data* alive until the next reset; its address, for scans through ``lib`` into ``c``."""
        self._bytes = ffi.from_buffer("uint8_t[]", data)
        return self._bytes

    def check(self, request_method: bytes = b"") -> int:
        """Apply the rules of ``native/head_rules.c``: framing, Host, target, Connection and the rest.

        Fills ``body``, ``content_length``, ``flags`` and ``host``; takes away what Connection names.

        Args:
            request_method: for a response, the method of the request that it answers.
        Returns:
            0, or the negative of a ``BLITZ_BAD_*`` (sentences in ``http/rules.py``).
        """
        return int(lib.blitz_head_check(self.c, request_method, len(request_method)))

    # ------------------------------------------------------------ reading

    @property
    def is_request(self) -> bool:
        return bool(self.c.kind == lib.BLITZ_REQUEST)

    @property
    def method(self) -> bytes:
        return self._text(self.c.method)

    @property
    def target(self) -> bytes:
        """Origin-form, or ``*`` for OPTIONS, once the head was checked."""
        return self._text(self.c.target)

    @property
    def status(self) -> int:
        return int(self.c.status)

    @property
    def reason(self) -> bytes:
        return self._text(self.c.reason)

    @property
    def version(self) -> bytes:
        return b"1.%d" % self.c.minor

    @property
    def host(self) -> bytes:
        """The authority that the request is for, as received; empty before ``check`` or without one."""
        return self._text(self.c.host)

    @property
    def body(self) -> Body:
        return Body(self.c.body)

    @property
    def content_length(self) -> int | None:
        """Bytes of the body when its length is known beforehand, else None."""
        return int(self.c.content_length) if self.c.body == lib.BLITZ_BODY_LENGTH else None

    @property
    def keep_alive(self) -> bool:
        """The sender allows another message on its connection."""
        return bool(self.c.flags & lib.BLITZ_HEAD_KEEP_ALIVE)

    @property
    def expects_continue(self) -> bool:
        return bool(self.c.flags & lib.BLITZ_HEAD_EXPECT_CONTINUE)

    @property
    def upgrade(self) -> bool:
        """A real upgrade: Connection and Upgrade agree, one protocol, no content."""
        return bool(self.c.flags & lib.BLITZ_HEAD_UPGRADE)

    def fields(self) -> list[tuple[bytes, bytes]]:
        """All (name, value) pairs in their order."""
        head = self.c
        live = [head.fields[i] for i in range(head.n_fields) if not head.fields[i].gone]
        return [(self._text(field.name), self._text(field.value)) for field in live]

    def get(self, name: bytes) -> bytes | None:
        """The first value of *name*, or None."""
        at = lib.blitz_head_find(self.c, name, len(name), 0)
        return None if at < 0 else self._text(self.c.fields[at].value)

    def get_all(self, name: bytes) -> list[bytes]:
        """Every value of *name*, in order."""
        found = []
        at = lib.blitz_head_find(self.c, name, len(name), 0)
        while at >= 0:
            found.append(self._text(self.c.fields[at].value))
            at = lib.blitz_head_find(self.c, name, len(name), at + 1)
        return found

    # ------------------------------------------------------------ changing

    def add(self, name: bytes, value: bytes) -> None:
        """Append a field. Raises ValueError when it is malformed or the table is full."""
        result = lib.blitz_head_add(self.c, name, len(name), value, len(value))
        _refuse(result, "field", name + b": " + value)

    def set(self, name: bytes, value: bytes) -> None:
        """Replace every field of that name by one, in the place of the first."""
        result = lib.blitz_head_set(self.c, name, len(name), value, len(value))
        _refuse(result, "field", name + b": " + value)

    def remove(self, name: bytes) -> int:
        """Take away every field of that name; how many there were."""
        return int(lib.blitz_head_remove(self.c, name, len(name)))

    def set_target(self, target: bytes) -> None:
        """Raises ValueError unless *target* is strict origin-form (``native/head_target.c``) or ``*``."""
        _refuse(lib.blitz_head_set_target(self.c, target, len(target)), "target", target)

    def set_method(self, method: bytes) -> None:
        _refuse(lib.blitz_head_set_method(self.c, method, len(method)), "method", method)

    # ------------------------------------------------------------ writing

    def write(
        self,
        *,
        body: Body = Body.NONE,
        content_length: int = 0,
        first: bytes = b"",
        last: bool = False,
        **more: Any,
    ) -> bytes:
        """The head as it goes out, hop-by-hop fields removed, then the first part of its body.

        Args:
            body: framing of the outgoing message.
            content_length: with ``Body.LENGTH``.
            first: bytes of the body that go out with the head; *last*: they are all of it.
            more: other members of ``blitz_write_options``: ints, or bytes for host, target, extra,
                drop_ids.
        Raises:
            ValueError: the options contradict each other, or bring bytes that are not clean.
        """
        options = ffi.new("blitz_write_options *")
        options.body = int(body)
        options.content_length = content_length
        options.first_is_last = last
        alive = []
        for name, value in more.items():
            if isinstance(value, bytes):
                alive.append(ffi.from_buffer("uint8_t[]", value))
                setattr(options, name, alive[-1])
                setattr(options, "n_drop_ids" if name == "drop_ids" else f"{name}_len", len(value))
            else:
                setattr(options, name, value)
        size = lib.blitz_head_write_bound(self.c, options) + len(first)
        out = ffi.new("uint8_t[]", size)
        written = int(lib.blitz_head_write(self.c, options, first, len(first), out, size))
        _refuse(written, "options for this head", self.method or b"%d" % self.status)
        return bytes(ffi.buffer(out, written))

    # ------------------------------------------------------------

    def _extend(self, fields: Fields) -> None:
        for name, value in fields:
            self.add(name, value)

    def _text(self, span: Any) -> bytes:
        if not span.len:
            return b""
        return bytes(ffi.buffer(lib.blitz_head_at(self.c, span), span.len))

    def __repr__(self) -> str:
        what = f"{self.method!r} {self.target!r}" if self.is_request else str(self.status)
        return f"<Head {what}, {len(self.fields())} fields>"


_REASONS = {
    lib.BLITZ_E_SYNTAX: "malformed",
    lib.BLITZ_E_LIMIT: f"one too many: a head holds {lib.BLITZ_MAX_FIELDS} fields",
    lib.BLITZ_E_STATE: "not possible here",
}


def _refuse(result: int, what: str, seen: bytes) -> None:
    if result == lib.BLITZ_E_NOMEM:
        raise MemoryError(f"no memory for a {what}")
    if result < 0:
        raise ValueError(f"{what} {seen[:100]!r}: {_REASONS.get(result, f'result {result}')}")
