"""All that was seen of one case, as text, without what must differ between two plays of it."""

from __future__ import annotations

import json
import re
from collections import Counter
from dataclasses import dataclass, field

from tests.http_suite.case import Case, Observation
from tests.http_suite.wire import Message, Request, Response

__all__ = ["Play", "Record", "record"]

ID = re.compile(r"\b[0-9a-f]{32}\b")
PORT = re.compile(r"(?<=[\d\w\]]:)\d{4,5}\b")
DATE = re.compile(r"(?i)(?<=\ndate: )[^\r\n]*GMT")
STAMP = re.compile(r" \[[^]]*\]| duration=\S+")  # of a line that is not JSON
UNTOLD = ("time", "duration")  # of access lines
LOOKED = " is left out: it failed at requests"  # said when somebody looks, once a second


@dataclass
class Play:
    """What one driver did with one case.

    Attributes:
        token: what stood for ``T0KEN``; source: the client's address.
        seen: what client and upstream saw.
        access, log, guests: lines; counters: what they have grown by.
        links: how many requests came on each of the upstream connections, and did it stay open.
    """

    case: Case
    token: bytes
    source: str
    seen: Observation
    access: list[str] = field(default_factory=list)
    log: list[str] = field(default_factory=list)
    guests: list[str] = field(default_factory=list)
    counters: Counter[str] = field(default_factory=Counter)
    links: list[str] = field(default_factory=list)


Record = dict[str, tuple[str, ...]]


def record(play: Play) -> Record:
    """The sections of *play* that have to be the same for every driver."""
    seen = play.seen
    client = [_message(each) for each in (*seen.interim, *seen.final)]
    if seen.client_error:
        client.append(f"{seen.client_error}: {seen.received!r}")
    client.append(f"then {_ending(seen)}")
    upstream = [_message(each.request) for each in seen.arrivals]
    upstream += seen.upstream_errors
    sections = {
        "client": client,
        "upstream": upstream,
        "links": play.links,
        "access": [_access(line) for line in play.access],
        "log": sorted(line for line in play.log if LOOKED not in line),
        "guests": play.guests,
        "counters": [f"{name} {n}" for name, n in sorted(play.counters.items()) if n],
        "wrong": seen.probe_errors + [repr(each) for each in seen.strays] + [seen.follow_error],
    }
    ids: dict[str, str] = {}
    return {
        name: tuple(_normal(text, play, ids) for text in texts if text) for name, texts in sections.items()
    }


def _ending(seen: Observation) -> str:
    return "kept" if seen.kept else "open" if seen.ended == "open" else "ended"


def _message(message: Message) -> str:
    """Chunks may be cut otherwise: what counts is the head, what the body says, and whether it is whole."""
    parts = [message.head.decode("latin-1")]
    if isinstance(message, Request | Response) and not message.complete:
        return parts[0] + "<cut>"
    parts.append(message.body.decode("latin-1"))
    parts += [f"<{name!r}: {value!r}>" for name, value in message.trailers]
    return "".join(parts)


def _access(line: str) -> str:
    if not line.startswith("{"):
        return STAMP.sub("", line)
    fields = json.loads(line)
    for name in UNTOLD:
        fields.pop(name, None)
    return json.dumps(fields)


def _normal(text: str, play: Play, ids: dict[str, str]) -> str:
    """*ids*: those that were seen before, in the order of the sections: who tells of whom stays visible."""
    text = text.replace(play.token.decode(), "T0KEN").replace(play.source, "CLIENT")
    text = DATE.sub("DATE", text)
    text = ID.sub(lambda found: ids.setdefault(found[0], f"ID{len(ids)}"), text)
    return PORT.sub("PORT", text)
