"""Names of header fields that are not for a configuration to write, or to read anything into."""

from __future__ import annotations

__all__ = ["FRAMING", "HOP", "NOT_OURS", "TOLD_OF_CLIENTS"]

# Where a message ends (RFC 9112 section 6).
FRAMING = frozenset(("content-length", "transfer-encoding"))
# Between two neighbours on the way (RFC 9110 sections 7.6.1, 10.1.1, 11.7; RFC 9113 section 3.2.1).
HOP = frozenset(
    (
        *("connection", "keep-alive", "proxy-connection", "te", "trailer", "upgrade", "expect"),
        *("proxy-authenticate", "proxy-authorization", "http2-settings"),
    )
)
# What the gateway knows of the client and of the way.
TOLD_OF_CLIENTS = frozenset(("x-forwarded-for", "x-forwarded-proto", "x-forwarded-host", "forwarded", "via"))
# Fields that framing, the connection, or the gateway itself decide.
NOT_OURS = FRAMING | HOP | TOLD_OF_CLIENTS | {"host", "max-forwards", "date"}
