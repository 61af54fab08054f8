"""How requests of one client connection are written for upstreams: what they are told, and what is left out.

Forwarding fields are what upstreams know of the client. What a client says of itself there is not believed.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from blitz._native import ffi, lib

if TYPE_CHECKING:
    from .cluster import Cluster
    from .endpoint import Endpoint
    from .peer import Peer

__all__ = ["WITH_RANGES", "Forwarding"]

# Forwarding information that a client sent is not believed: it is dropped and written anew.
UNTRUSTED = (
    lib.BLITZ_F_X_FORWARDED_FOR,
    lib.BLITZ_F_X_FORWARDED_PROTO,
    lib.BLITZ_F_X_FORWARDED_HOST,
    lib.BLITZ_F_FORWARDED,
)
# Dropped as well where plugins change responses: of a part they would see a part, and what they made of it
# would be none any more. A server may ignore Range (RFC 9110 section 14.2), so the client gets the whole.
RANGES = (lib.BLITZ_F_RANGE, lib.BLITZ_F_IF_RANGE)
DROPPED_FIELDS = ffi.new("uint8_t[]", [*UNTRUSTED, *RANGES])
WITH_RANGES = len(DROPPED_FIELDS)


class Forwarding:
    """Made with the first request of a connection: an idle one needs none.

    Attributes:
        options: cffi ``blitz_write_options *``, with what ``tell`` and ``write_host`` have set.
    """

    __slots__ = ("_lines", "options")

    def __init__(self) -> None:
        self.options: Any = ffi.new("blitz_write_options *")
        self.options.drop_ids = DROPPED_FIELDS
        self.options.n_drop_ids = len(UNTRUSTED)
        self._lines = b""

    def tell(self, peer: Peer, minor: int, kind: str, asked_host: str = "") -> None:
        """Say who the client is; most times nothing has changed.

        Args:
            minor: of the version received, HTTP/1.*minor*: Via has it (RFC 9110 section 7.6.3).
            kind: ``http.forwarded``.
            asked_host: what the client asked for, where upstreams get another Host; else "".
        """
        lines = peer.introduction(minor, kind, asked_host)
        if lines is not self._lines:
            self._lines = lines
            self.options.extra = ffi.from_buffer("uint8_t[]", lines)
            self.options.extra_len = len(lines)

    def write_host(self, request: Any, cluster: Cluster, endpoint: Endpoint) -> None:
        """Say the right Host to *endpoint* of *cluster*: ``native/request_host.c``."""
        lib.blitz_write_host(self.options, request, cluster.native, endpoint.native)

    def drop_ranges(self, *, drop: bool) -> None:
        """Ask for the whole, whatever part the client wants."""
        self.options.n_drop_ids = WITH_RANGES if drop else len(UNTRUSTED)
