"""What a row of docs/http.md is, and its words for what became of a form that was sent."""

from __future__ import annotations

import re
from collections import Counter
from dataclasses import dataclass
from typing import Literal

from ..case import Case, Observation
from ..wire import Message, Request

__all__ = ["UNKNOWN", "Form", "Group", "outcome"]

UNKNOWN = "not known"
TOKEN = re.compile(r"(?<=/)z[0-9a-z]{4}\b")  # how the target of a case begins
UPSTREAM = re.compile(r"127\.0\.0\.1:[0-9]+")  # on a port that differs from run to run


@dataclass(frozen=True)
class Form:
    """One doubtful form.

    Attributes:
        words: what it is, as the table says it (Markdown).
        case: what is sent: the id of a case of the suite, or a case of its own.
        rfc: sections, in the suite's spelling.
        shows: what to tell of a form that goes on: names of fields, or ``target``, ``method``, ``body``,
            ``trailers``, ``interim``.
        envoy: what Envoy's documentation or source says; it is not run here.
    """

    words: str
    case: str | Case
    rfc: str
    shows: tuple[str, ...] = ()
    envoy: str = UNKNOWN


@dataclass(frozen=True)
class Group:
    """A table: forms that one side sends, and what stands above and below them."""

    title: str
    sender: Literal["client", "upstream"]
    forms: tuple[Form, ...]
    before: str = ""
    after: str = ""


def outcome(form: Form, sender: str, seen: Observation) -> str:
    """Say in a few words what became of *form*; the words are explained at the top of docs/http.md."""
    return _from_client(form, seen) if sender == "client" else _from_upstream(form, seen)


def _from_client(form: Form, seen: Observation) -> str:
    if seen.upstream_errors:
        return "passed on as it came"
    complete = [arrival.request for arrival in seen.arrivals if arrival.request.complete]
    if complete and any(b"smuggled" in request.target for request in complete):
        return "passed on, and what is behind it as a second request"
    if complete:
        return "passed on" + _shown(form, complete[0], seen)
    return _refusal(seen)


def _from_upstream(form: Form, seen: Observation) -> str:
    if seen.client_error:
        return "passed on as it came"
    last = seen.final[-1] if seen.final else None
    if last is None:
        return _refusal(seen) if not seen.interim else f"passed on: {_interim(seen)}"
    if last.status == 502:
        return "502" + (f", after {_interim(seen)}" if seen.interim else "")
    if not last.complete:
        return "cut off"
    return "passed on" + _shown(form, last, seen)


def _refusal(seen: Observation) -> str:
    if not seen.final:
        return "no answer" if seen.ended == "open" else "closed"
    return f"{seen.final[-1].status}{', kept' if seen.kept else ''}"


def _shown(form: Form, message: Message, seen: Observation) -> str:
    said = [text for name in form.shows if (text := _one(name, message, seen))]
    return f": {', '.join(said)}" if said else ""


def _one(name: str, message: Message, seen: Observation) -> str:
    if name == "interim":
        return _interim(seen)
    if name == "body":
        return f"body {_code(message.body)}"
    if name == "trailers":
        told = [_code(field.lower() + b": " + value) for field, value in message.trailers]
        return f"trailer {', '.join(told)}" if told else "no trailer"
    if name in ("target", "method"):
        assert isinstance(message, Request)
        return _code(message.target if name == "target" else message.method)
    values = message.get(name.encode())
    if not values:
        return f"no `{name}`"
    return ", ".join(_code(f"{name}: ".encode() + value) for value in values)


def _interim(seen: Observation) -> str:
    counts = Counter(response.status for response in seen.interim)
    said = [f"{status}{f' x {n}' if n > 1 else ''}" for status, n in counts.items()]
    return ", ".join(said) if said else "not the interim answer"


def _code(data: bytes) -> str:
    text = UPSTREAM.sub("127.0.0.1:9000", TOKEN.sub("x", repr(data)[2:-1]))
    return f"`{text}`".replace("|", "\\|")
