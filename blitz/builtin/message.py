"""A request as filters see and change it, and what they have found out about its client."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from blitz._native import ffi, lib
from blitz.errors import ClientError
from blitz.http.heads import field_values, span_bytes

if TYPE_CHECKING:
    from .compress import Said

__all__ = ["Facts", "Message"]


class Facts:
    """Properties for plugins, as C reads them; immutable, and may serve many requests.

    Attributes:
        native: cffi ``blitz_fact[]``; n: how many.
    """

    __slots__ = ("_texts", "n", "native")

    def __init__(self, values: Mapping[str, str]) -> None:
        pairs = [(name.encode(), text.encode("utf-8", "replace")) for name, text in values.items()]
        self.n = len(pairs)
        self.native: Any = ffi.new("blitz_fact[]", max(self.n, 1))
        self._texts = []
        for at, pair in zip(self.native, pairs, strict=False):
            for text, octets in ((at.name, pair[0]), (at.value, pair[1])):
                kept = ffi.from_buffer("uint8_t[]", octets)
                self._texts.append(kept)
                text.ptr, text.len = kept, len(octets)


class Message:
    """Of one exchange.

    Attributes:
        client: its address. scheme: that it used.
        identity: who it is, as ``auth`` says; "": nobody knows.
        origins: values of its Origin fields, as the client sent them, where a filter looks at them.
        said: what the client has said that compression depends on, where a filter looks at that.
        response_fields: what filters tell the client, whatever the response is; names in lower case.
    """

    __slots__ = ("_cdata", "_facts", "client", "identity", "origins", "response_fields", "said", "scheme")

    def __init__(self, cdata: Any, client: str, scheme: str) -> None:
        """*cdata*: cffi ``blitz_exchange *``."""
        self._cdata = cdata
        self._facts: Facts | None = None
        self.client = client
        self.scheme = scheme
        self.identity = ""
        self.origins: list[bytes] = []
        self.said: Said | None = None
        self.response_fields: dict[bytes, bytes] = {}

    @property
    def method(self) -> bytes:
        request = self._cdata.request
        return span_bytes(request, request.method)

    @property
    def target(self) -> bytes:
        request = self._cdata.request
        return span_bytes(request, request.target)

    @property
    def host(self) -> bytes:
        request = self._cdata.request
        return span_bytes(request, request.host)

    def values(self, name: bytes) -> list[bytes]:
        """Of all field lines of that name, in lower case, in order."""
        return field_values(self._cdata.request, name)

    def fields(self) -> list[tuple[bytes, bytes]]:
        """All, names in lower case."""
        head = self._cdata.request
        return [
            (span_bytes(head, at.name).lower(), span_bytes(head, at.value))
            for at in head.fields[0 : head.n_fields]
            if not at.gone
        ]

    def remove(self, name: bytes) -> None:
        """Take away all fields of that name, in whatever spelling a server may read as it."""
        request = self._cdata.request
        lib.blitz_head_remove_spellings(request, name, len(name))
        lib.blitz_head_remove(request, name, len(name))

    def set(self, name: bytes, value: bytes) -> None:
        """Tell upstreams and plugins.

        Raises:
            ClientError: the value is none that a field may have, or there are too many fields.
        """
        if lib.blitz_head_set(self._cdata.request, name, len(name), value, len(value)) < 0:
            raise ClientError(f"the field {name.decode()} cannot be told to upstreams", status=431)

    def set_target(self, target: bytes) -> None:
        """Ask for another one, of the same path."""
        if lib.blitz_head_set_target(self._cdata.request, target, len(target)) < 0:
            raise ClientError("request target is malformed")

    def know(self, identity: str, facts: Facts) -> None:
        """The client is *identity*; plugins may ask for *facts*."""
        self.identity = identity
        self._facts = facts  # C borrows it
        self._cdata.facts = facts.native
        self._cdata.n_facts = facts.n
