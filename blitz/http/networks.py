"""Sets of IP networks: ``native/networks.c`` says what is in one."""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable
from typing import Any

from blitz._native import ffi, lib

__all__ = ["Networks"]

MAPPED = b"\0" * 10 + b"\xff\xff"  # RFC 4291 section 2.5.5.2


class Networks:
    """Empty ones contain nothing and are false.

    Attributes:
        native: cffi ``blitz_network[]``, of len(self); alive as long as this.

    Args:
        networks: in canonical form.
    """

    __slots__ = ("_ip", "native")

    def __init__(self, networks: Iterable[str]) -> None:
        self.native = ffi.new("blitz_network[]", [_network(text) for text in networks])
        self._ip = ffi.new("blitz_ip *")

    def __len__(self) -> int:
        return len(self.native)

    def contains(self, address: str) -> bool:
        """Is *address* (text, without port) in one of them? False for what is no address."""
        text = address.encode("utf-8", "surrogateescape")
        if not lib.blitz_ip_read(self._ip, text, len(text)):
            return False
        return bool(lib.blitz_ip_is_in(self._ip, self.native, len(self)))


def _network(text: str) -> dict[str, Any]:
    network = ipaddress.ip_network(text)
    octets, bits = network.network_address.packed, network.prefixlen
    if network.version == 4:
        octets, bits = MAPPED + octets, bits + 8 * len(MAPPED)
    return {"first": {"bytes": list(octets), "is_v4": network.version == 4}, "bits": bits}
