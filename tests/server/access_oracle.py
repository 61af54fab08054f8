"""Lines of the access log, written in Python: what those of native/access_line.c are compared with."""

from __future__ import annotations

import time
from typing import Any

import msgspec

from blitz._native import ffi, lib
from blitz.server.access import AccessLog
from blitz.text import one_line

PIPE_SIZE = 4096  # PIPE_BUF: writes of up to this size are not mixed with others
MAX_TARGET = 2048  # characters of a target; the rest is replaced by "..."
MAX_ERROR = 300  # of a sentence, and of what a client says about itself
MAX_SMALL = 100  # of a method
LONG = ("target", "user_agent", "referrer", "error", "host", "route", "upstream")  # what may be shortened

SAID = {
    "method": MAX_SMALL,
    "target": MAX_TARGET,
    "host": MAX_ERROR,
    "user_agent": MAX_ERROR,
    "referrer": MAX_ERROR,
    "upstream": MAX_ERROR,
    "identity": MAX_SMALL,
}  # octets of others

_to_json = msgspec.json.Encoder().encode


class Record(msgspec.Struct, frozen=True, omit_defaults=True):
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
    identity: str = ""
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


def stamp(now: float) -> str:
    second = int(now)
    prefix = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(second))
    return f"{prefix}.{int((now - second) * 1000):03d}Z"


def line_of(facts: dict[str, Any], kind: str) -> bytes:
    """The line of *facts*, as ``AccessLog.write`` takes them, without its end."""
    ours = facts.keys() - SAID.keys()
    texts = {name: facts[name].decode() for name in ours if isinstance(facts[name], bytes)}
    said = {name: shown(facts[name], most) for name, most in SAID.items() if name in facts}
    changes = {"time": stamp(facts["time"]), "duration": round(facts["duration"], 6)}
    return encode(Record(**(facts | texts | said | changes)), kind)


def taken(log: AccessLog) -> list[bytes]:
    """The lines that wait in *log*, with their ends; they wait no more."""
    first = block = lib.blitz_access_log_take(log.native)
    octets = b""
    while block != ffi.NULL:
        octets += ffi.buffer(block.data, block.len)[:]
        block = block.next
    lib.blitz_access_blocks_free(first)
    return octets.splitlines(keepends=True)


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
    user = record.identity.replace(" ", "\\x20").replace('"', "\\x22") or "-"
    return f"{record.client or '-'} - {user} [{when}] {_quoted(request)} {record.status} {record.sent or '-'}"


def _quoted(text: str) -> str:
    text = text.replace("\\", "\\\\").replace('"', '\\"')
    return f'"{text or "-"}"'


def _word(text: str) -> str:
    return _quoted(text) if " " in text or '"' in text else text


_WRITERS = {"json": _to_json, "common": _common, "combined": _combined}
