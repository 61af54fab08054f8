"""Media types as far as they say how a body is to be passed on."""

from __future__ import annotations

__all__ = ["is_stream"]

# Records that are made one after the other, with no end to wait for: whoever asked wants each at once.
_STREAMS = frozenset(
    (
        b"text/event-stream",  # WHATWG HTML, section 9.2
        b"multipart/x-mixed-replace",  # cameras, and what came before server-sent events
        b"application/json-seq",  # RFC 7464
        b"application/x-ndjson",
        b"application/ndjson",
        b"application/x-ldjson",
        b"application/jsonl",
        b"application/x-jsonl",
        b"application/jsonlines",
        b"application/x-jsonlines",
        b"application/x-json-stream",
        b"application/stream+json",
        b"application/vnd.amazon.eventstream",
        b"application/grpc",
        b"application/grpc-web",
        b"application/grpc-web-text",
    )
)
_GRPC = (
    b"application/grpc+",
    b"application/grpc-web+",
    b"application/grpc-web-text+",
    b"application/connect+",
)
_SEQUENCE = b"+json-seq"  # RFC 8091: the suffix of types that are a json-seq


def is_stream(content_type: bytes) -> bool:
    """Is a body of this Content-Type sent record by record?

    Case and parameters do not matter (RFC 9110 section 8.3.1).
    """
    media_type = content_type.partition(b";")[0].strip(b" \t").lower()
    return media_type in _STREAMS or media_type.startswith(_GRPC) or media_type.endswith(_SEQUENCE)
