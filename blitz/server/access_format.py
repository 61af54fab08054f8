"""One exchange as a line of the access log: an object in JSON, or the formats that web servers write.

Text that clients sent is shown in printable ASCII, shortened to MAX_* and in the end to PIPE_SIZE for the
whole line, so that a line is one write to a pipe and never mixes with another.
"""

from __future__ import annotations

import time

import msgspec

from blitz.text import one_line

__all__ = ["MAX_ERROR", "MAX_SMALL", "MAX_TARGET", "PIPE_SIZE", "Record", "encode", "shown"]

PIPE_SIZE = 4096  # PIPE_BUF: writes of up to this size are not mixed with others
MAX_TARGET = 2048  # characters of a target; the rest is replaced by "..."
MAX_ERROR = 300  # of a sentence, and of what a client says about itself
MAX_SMALL = 100  # of a method
LONG = ("target", "user_agent", "referrer", "error", "host", "route", "upstream")  # what may be shortened

_to_json = msgspec.json.Encoder().encode


class Record(msgspec.Struct, frozen=True, omit_defaults=True):
    """A line of ``log.access = "json"``. docs/operations.md explains the fields.

    Attributes:
        time: RFC 3339, when the request head was complete. duration: seconds from then to the answer's end.
        id: of the request; a fault and an error answer name the same one.
        client: its address. method, target, host, user_agent, referrer: as it sent them; of a refused head as
            far as they can be told.
        scheme: that the client used, as far as we know: ours, or what a trusted proxy says.
        received, sent: bytes of the bodies, without their framing; of a tunnel all bytes.
        route: "" when none was chosen. upstream: the endpoint of the last try. tries: requests sent, or
            connections tried; 0: none.
        plugin: the last one that answered or failed.
        cause: why there is no whole, proper answer, a word of ``blitz.errors.CAUSES``. error: the same in a
            sentence.
    """

    time: str
    id: str
    client: str
    method: str
    target: str
    http: str
    status: int
    received: int
    sent: int
    duration: float
    scheme: str = ""
    host: str = ""
    user_agent: str = ""
    referrer: str = ""
    route: str = ""
    upstream: str = ""
    tries: int = 0
    plugin: str = ""
    cause: str = ""
    error: str = ""


def shown(octets: bytes, most: int) -> str:
    """*octets* as printable ASCII, at most *most* characters of it."""
    if octets.isascii() and len(octets) <= most:
        text = octets.decode()
        return text if text.isprintable() else _cut(one_line(text), most)
    text = octets[:most].decode("ascii", "backslashreplace")
    if not text.isprintable():
        text = one_line(text)
    return _cut(text, most) if len(octets) <= most else text[: most - 3] + "..."


def encode(record: Record, kind: str) -> bytes:
    """The line of *record* without its end; *kind* is ``log.access``. Less than PIPE_SIZE bytes."""
    write = _WRITERS[kind]
    line = write(record)
    most = MAX_TARGET
    while len(line) >= PIPE_SIZE and most > 3:
        most //= 2  # what is quoted takes more room than it has characters
        long = {name: _cut(getattr(record, name), most) for name in LONG}
        line = write(msgspec.structs.replace(record, **long))
    return line[: PIPE_SIZE - 1]


def _cut(text: str, most: int) -> str:
    return text if len(text) <= most else text[: max(most - 3, 0)] + "..."


def _common(record: Record) -> bytes:
    """NCSA Common Log Format, and the request id behind it."""
    return f"{_ncsa(record)} {record.id}".encode()


def _combined(record: Record) -> bytes:
    """NCSA Combined Log Format, the request id, and the rest as NAME=VALUE."""
    line = f"{_ncsa(record)} {_quoted(record.referrer)} {_quoted(record.user_agent)} {record.id}"
    rest = {
        "scheme": record.scheme,
        "host": record.host,
        "route": record.route,
        "upstream": record.upstream,
        "tries": str(record.tries or ""),
        "duration": str(record.duration),
        "plugin": record.plugin,
        "cause": record.cause,
    }
    return " ".join((line, *(f"{name}={_word(value)}" for name, value in rest.items() if value))).encode()


def _ncsa(record: Record) -> str:
    when = time.strftime("%d/%b/%Y:%H:%M:%S +0000", time.strptime(record.time[:19], "%Y-%m-%dT%H:%M:%S"))
    request = "-"
    if record.method:
        request = f"{record.method} {record.target or '-'} HTTP/{record.http or '-'}"
    return f"{record.client or '-'} - - [{when}] {_quoted(request)} {record.status} {record.sent or '-'}"


def _quoted(text: str) -> str:
    text = text.replace("\\", "\\\\").replace('"', '\\"')
    return f'"{text or "-"}"'


def _word(text: str) -> str:
    return _quoted(text) if " " in text or '"' in text else text


_WRITERS = {"json": _to_json, "common": _common, "combined": _combined}
