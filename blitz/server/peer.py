"""Who is at the other end of a client connection, as guests and upstreams see it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from blitz._native import ffi
from blitz.http.forwarded import Chain, field_lines, read_forwarded, read_x_forwarded
from blitz.http.heads import field_values
from blitz.http.networks import Networks

__all__ = ["Peer", "Trust"]

X_FORWARDED = (b"x-forwarded-for", b"x-forwarded-proto", b"x-forwarded-host")
FORWARDED = (b"forwarded",)
MAX_CLIENTS = 4096  # clients that Trust remembers ...
MAX_KEY_SIZE = 512  # ... if they were named in so many bytes: 4 MiB in all


class Peer:
    """
    Attributes:
        address: of the client: the socket's, or what a trusted proxy said. What guests see and limits count.
        scheme: of the link to us.
        texts: what ``blitz_peer`` has besides: tls_version, tls_cipher ...
        listener: the name of the one that took the connection.
        trusted: it is a proxy whose word is taken: each request may have another client.
        struct: cffi ``blitz_peer *`` whose texts point into this object.
    """

    __slots__ = (
        "_bytes",
        "_chain",
        "_link",
        "_link_address",
        "_struct",
        "_texts",
        "_told",
        "address",
        "listener",
        "port",
        "scheme",
        "trusted",
    )

    def __init__(
        self,
        address: str,
        port: int = 0,
        *,
        scheme: str = "http",
        texts: Mapping[str, str] | None = None,
        listener: str = "",
    ) -> None:
        self.address = address
        self.port = port
        self.scheme = scheme
        self.trusted = False
        self.listener = listener
        self._texts = texts or {}
        self._link = b""
        self._link_address = address
        self._chain: Chain | None = None
        self._told: tuple[tuple[int, str, str], bytes] | None = None
        self._struct: Any = None
        self._bytes: Any = None

    @property
    def struct(self) -> Any:
        if self._struct is None:  # many a connection is over before anybody asks
            self._make_struct()
        return self._struct

    def _make_struct(self) -> None:
        """All texts in one object: there is a struct for every idle connection."""
        struct = self._struct = ffi.new("blitz_peer *")
        address, port = self.address.encode(), b"%d" % self.port if self.port else b""
        scheme = self.client_scheme.encode()
        more = [value.encode() for value in self._texts.values()]
        texts = self._bytes = ffi.from_buffer("uint8_t[]", b"".join((address, port, scheme, *more)))
        struct.address = (texts, len(address))
        at = len(address)
        struct.port = (texts + at, len(port))
        at += len(port)
        struct.client_scheme = (texts + at, len(scheme))
        at += len(scheme)
        for name, value in zip(self._texts, more, strict=True):
            setattr(struct, name, (texts + at, len(value)))
            at += len(value)

    @property
    def link(self) -> bytes:
        """All that a client behind this peer takes over from it, as one key."""
        if not self._link:
            self._link = "\n".join(
                [self.address, self.scheme, self.listener, *self._texts.values(), ""]
            ).encode()
        return self._link

    @property
    def client_scheme(self) -> str:
        """That the client used: of the link to us, unless a trusted proxy says otherwise."""
        return (self._chain.scheme if self._chain is not None else "") or self.scheme

    def behind(self, chain: Chain) -> Peer:
        """The client that this trusted proxy speaks for; the TLS texts stay those of the proxy's link."""
        client = Peer(chain.client, scheme=self.scheme, texts=self._texts, listener=self.listener)
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
        asked = (minor, kind, host)
        if self._told is None or self._told[0] != asked:
            lines = field_lines(kind, self._link_address, self.scheme, host=host, chain=self._chain)
            self._told = (asked, b"Via: 1.%d blitz\r\n" % minor + lines)
        return self._told[1]


class Trust:
    """The proxies whose word about the client is taken, and the clients that they named lately.

    A balancer sends the requests of one client over many connections, so what was made for the same words
    over the same kind of link is kept, in bounds, for all of them.
    """

    __slots__ = ("_clients", "_names", "_networks")

    def __init__(self, networks: Iterable[str], field: str) -> None:
        self._networks = Networks(networks)
        self._names = FORWARDED if field == "forwarded" else X_FORWARDED
        self._clients: dict[bytes, Peer] = {}

    def contains(self, address: str) -> bool:
        return self._networks.contains(address)

    def client_behind(self, proxy: Peer, request: Any) -> Peer:
        """The client that a request from a trusted proxy is for; *proxy* itself if it is trusted no more.

        Args:
            request: cffi ``blitz_head *``.
        """
        if not self._networks.contains(proxy.address):
            return proxy
        said = [field_values(request, name) for name in self._names]
        # Neither byte can be in a value.
        key = proxy.link + b"\n".join([b"\r".join(values) for values in said])
        client = self._clients.get(key)
        if client is None:
            client = proxy.behind(self._read(said, proxy.address))
            if len(key) <= MAX_KEY_SIZE:
                if len(self._clients) >= MAX_CLIENTS:
                    self._clients.clear()
                self._clients[key] = client
        return client

    def _read(self, said: list[list[bytes]], address: str) -> Chain:
        if self._names is FORWARDED:
            return read_forwarded(said[0], address, self._networks)
        return read_x_forwarded(said[0], said[1], said[2], address, self._networks)
