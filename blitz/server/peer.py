"""Who is at the other end of a client connection, as guests and upstreams see it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from blitz._native import ffi
from blitz.http.forwarded import Chain, Networks, field_lines, read_forwarded, read_x_forwarded

from .heads import field_values

__all__ = ["Peer", "client_behind"]

X_FORWARDED = (b"x-forwarded-for", b"x-forwarded-proto", b"x-forwarded-host")
FORWARDED = (b"forwarded",)


class Peer:
    """
    Attributes:
        address: of the client: the socket's, or what a trusted proxy said. What guests see and limits count.
        scheme: of the link to us.
        texts: what ``blitz_peer`` has besides: tls_version, tls_cipher ...
        trusted: it is a proxy whose word is taken: each request may have another client.
        struct: cffi ``blitz_peer *`` whose texts point into this object.
    """

    __slots__ = (
        "_chain",
        "_keep",
        "_link_address",
        "_texts",
        "address",
        "port",
        "scheme",
        "struct",
        "trusted",
    )

    def __init__(
        self, address: str, port: int = 0, *, scheme: str = "http", texts: Mapping[str, str] | None = None
    ) -> None:
        self.address = address
        self.port = port
        self.scheme = scheme
        self.trusted = False
        self._texts = texts or {}
        self._link_address = address
        self._chain: Chain | None = None
        self.struct: Any = ffi.new("blitz_peer *")
        self._keep: list[Any] = []
        self._set("address", address)
        self._set("port", str(port) if port else "")
        for name, value in self._texts.items():
            self._set(name, value)

    def _set(self, name: str, value: str) -> None:
        data = ffi.from_buffer(value.encode())
        self._keep.append(data)
        text = getattr(self.struct, name)
        text.ptr = ffi.cast("const uint8_t *", data)
        text.len = len(data)

    def behind(self, chain: Chain) -> Peer:
        """The client that this trusted proxy speaks for; the TLS texts stay those of the proxy's link."""
        client = Peer(chain.client, scheme=self.scheme, texts=self._texts)
        client._link_address = self._link_address
        client._chain = chain
        return client

    def introduction(self, minor: int, kind: str, host: str = "") -> bytes:
        """Field lines that say all this to an upstream.

        Args:
            minor: of the version received: Via has it (RFC 9110 section 7.6.3).
            kind: ``http.forwarded``.
            host: what the client asked for, where the upstream gets another Host; else "".
        """
        lines = field_lines(kind, self._link_address, self.scheme, host=host, chain=self._chain)
        return b"Via: 1.%d blitz\r\n" % minor + lines


def client_behind(peer: Peer, request: Any, trusted: Networks, field: str) -> Peer:
    """The client that a request from a trusted proxy is for; *peer* itself where it is trusted no more.

    Args:
        request: cffi ``blitz_head *``.
        field: ``trusted_field``.
    """
    if not trusted.contains(peer.address):
        return peer
    if field == "forwarded":
        return peer.behind(read_forwarded(field_values(request, FORWARDED[0]), peer.address, trusted))
    said = [field_values(request, name) for name in X_FORWARDED]
    return peer.behind(read_x_forwarded(said[0], said[1], said[2], peer.address, trusted))
