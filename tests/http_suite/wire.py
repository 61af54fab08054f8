"""Strict reading of what was recorded on a wire (RFC 9110, RFC 9112), for judging, not for serving.

The functions take everything that one side sent on one connection and either say what messages it
holds, that it is not finished yet, or why no careful recipient would accept it. They are written for
clarity: no state between calls, the whole buffer is read again each time.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field

__all__ = ["Fields", "Request", "Response", "WireError", "parse_request", "parse_responses", "read_chunked"]

Fields = list[tuple[bytes, bytes]]

TOKEN = rb"[!#$%&'*+\-.^_`|~0-9A-Za-z]+"
REQUEST_LINE = re.compile(rb"(" + TOKEN + rb") ([\x21\x22\x24-\x7e]+) (HTTP/1\.[01])")
STATUS_LINE = re.compile(rb"(HTTP/1\.[01]) ([1-9][0-9]{2})(?: ([\t \x21-\x7e\x80-\xff]*))?")
FIELD_LINE = re.compile(
    rb"("
    + TOKEN
    + rb"):[ \t]*((?:[\x21-\x7e\x80-\xff](?:[\t \x21-\x7e\x80-\xff]*[\x21-\x7e\x80-\xff])?)?)[ \t]*"
)
HOST = re.compile(rb"(?:\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9._~!$&'()*+;=%-]+)(?::[0-9]{0,5})?")
CHUNK_LINE = re.compile(
    rb"([0-9A-Fa-f]{1,15})(?:[ \t]*;[ \t]*"
    + TOKEN
    + rb"(?:[ \t]*=[ \t]*(?:"
    + TOKEN
    + rb'|"(?:[\t \x21\x23-\x5b\x5d-\x7e\x80-\xff]|\\[\t \x21-\x7e\x80-\xff])*"))?)*'
)


class WireError(Exception):
    """The bytes cannot be a message that a careful sender wrote."""


@dataclass
class Message:
    version: bytes
    fields: Fields
    head: bytes  # as received, empty line included
    body: bytes = b""
    trailers: Fields = field(default_factory=list)
    framing: str = "none"  # none, length, chunked, close
    complete: bool = True
    size: int = 0  # bytes of the connection it took

    def get(self, name: bytes) -> list[bytes]:
        """Values of every line of that name, in order."""
        return [value for key, value in self.fields if key.lower() == name.lower()]

    def tokens(self, name: bytes) -> list[bytes]:
        """Members of a comma-separated list field, lower case."""
        members = b",".join(self.get(name)).split(b",")
        return [member.strip(b" \t").lower() for member in members if member.strip(b" \t")]


@dataclass
class Request(Message):
    method: bytes = b""
    target: bytes = b""


@dataclass
class Response(Message):
    status: int = 0
    reason: bytes = b""


def parse_request(data: bytes) -> Request | None:
    """Return the request at the front of *data*, None when its head is not complete yet.

    ``complete`` is False while its body is not. Raises WireError.
    """
    split = _split_head(data)
    if split is None:
        return None
    first, fields, head = split
    match = REQUEST_LINE.fullmatch(first)
    if match is None:
        raise WireError(f"request line {first[:80]!r}")
    request = Request(match[3], fields, head, method=match[1], target=match[2])
    hosts = request.get(b"host")
    if request.version == b"HTTP/1.1" and len(hosts) != 1:
        raise WireError(f"{len(hosts)} Host fields")
    if hosts and not HOST.fullmatch(hosts[0]):
        raise WireError(f"Host {hosts[0]!r}")
    _read_body(request, data[len(head) :], default="none")
    return request


def parse_responses(data: bytes, methods: list[bytes], *, eof: bool) -> tuple[list[Response], bytes]:
    """Return the responses in *data* and what is left after the last complete one.

    Args:
        methods: of the requests that they answer, in order (RFC 9112 section 6.3 rule 1).
        eof: the sender has closed; ends a body that is delimited by close.
    A response whose body is cut off has ``complete`` False and is the last one. After 101 the rest is
    left alone. Raises WireError.
    """
    responses: list[Response] = []
    waiting = list(methods)
    while data:
        split = _split_head(data)
        if split is None:
            if eof:
                raise WireError(f"head cut off: {data[:80]!r}")
            return responses, data
        first, fields, head = split
        match = STATUS_LINE.fullmatch(first)
        if match is None:
            raise WireError(f"status line {first[:80]!r}")
        response = Response(match[1], fields, head, status=int(match[2]), reason=match[3] or b"")
        interim = response.status < 200
        method = b"" if interim else (waiting.pop(0) if waiting else b"")
        if not interim and not method:
            raise WireError(f"more responses than requests: {data[:80]!r}")
        if interim and (response.get(b"content-length") or response.get(b"transfer-encoding")):
            raise WireError(f"{response.status} with framing fields")
        if interim or method == b"HEAD" or response.status in (204, 304):
            if response.status == 204 and response.get(b"content-length"):
                raise WireError("204 with Content-Length")
            _framing(response, "none")
            response.framing, response.size = "none", len(head)
        else:
            _read_body(response, data[len(head) :], default="close", eof=eof)
        responses.append(response)
        if not response.complete:
            return responses, b""
        data = data[response.size :]
        if response.status == 101:
            break
    return responses, data


def read_chunked(data: bytes) -> tuple[bytes, Fields, int]:
    """Decode a chunked body at the front of *data*: content, trailers, bytes used (0: not complete)."""
    body, at = bytearray(), 0
    while True:
        end = data.find(b"\n", at)
        if end < 0:
            if not re.fullmatch(rb"[\t -\x7e\x80-\xff]*\r?", data[at : at + 8192]):
                raise WireError(f"chunk line {data[at : at + 40]!r}")
            return bytes(body), [], 0
        match = CHUNK_LINE.fullmatch(data[at : end - 1]) if data[end - 1 : end] == b"\r" else None
        if match is None:
            raise WireError(f"chunk line {data[at : end + 1][:80]!r}")
        at, size = end + 1, int(match[1], 16)
        if size == 0:
            break
        body += data[at : at + size]
        if not b"\r\n".startswith(data[at + size : at + size + 2]):
            raise WireError(f"after a chunk: {data[at + size : at + size + 20]!r}")
        if len(data) < at + size + 2:
            return bytes(body), [], 0
        at += size + 2
    if data[at : at + 2] == b"\r\n":
        return bytes(body), [], at + 2
    end = data.find(b"\r\n\r\n", at)
    if end < 0:
        return bytes(body), [], 0
    return bytes(body), _fields(data[at:end]), end + 4


def _split_head(data: bytes) -> tuple[bytes, Fields, bytes] | None:
    end = data.find(b"\r\n\r\n")
    if end < 0:
        if re.search(rb"[^\r]\n|\r[^\n]|[\x00-\x08\x0b\x0c\x0e-\x1f\x7f]|\A\n|\A\r\n", data[:65536]):
            raise WireError(f"control byte or bare line end in an unfinished head: {data[:80]!r}")
        return None
    first, _, rest = data[:end].partition(b"\r\n")
    return first, _fields(rest), data[: end + 4]


def _fields(text: bytes) -> Fields:
    fields = []
    for line in text.split(b"\r\n") if text else []:
        match = FIELD_LINE.fullmatch(line)
        if match is None:
            raise WireError(f"field line {line[:80]!r}")
        fields.append((match[1], match[2]))
    return fields


def _framing(message: Message, default: str) -> tuple[str, int]:
    lengths, codings = message.get(b"content-length"), message.get(b"transfer-encoding")
    if lengths and codings:
        raise WireError("Content-Length and Transfer-Encoding")
    if codings:
        if len(codings) > 1 or codings[0].lower() != b"chunked":
            raise WireError(f"Transfer-Encoding {codings!r}")
        return "chunked", 0
    if lengths:
        if len(lengths) > 1 or not re.fullmatch(rb"[0-9]{1,18}", lengths[0]):
            raise WireError(f"Content-Length {lengths!r}")
        return "length", int(lengths[0])
    return default, 0


def _read_body(message: Message, rest: bytes, *, default: str, eof: bool = False) -> None:
    message.framing, length = _framing(message, default)
    used = 0
    if message.framing == "length":
        message.body, used = rest[:length], min(length, len(rest))
        message.complete = len(rest) >= length
    elif message.framing == "chunked":
        message.body, message.trailers, used = read_chunked(rest)
        message.complete = used > 0
    elif message.framing == "close":
        message.body, used, message.complete = rest, len(rest), eof
    message.size = len(message.head) + used
