"""What a route asks of a request besides host and path: method, header fields, query, listener.

A condition holds, does not, or *may* hold (None): several fields of one name, or a query that servers read in
more than one way, do not tell what the upstream will see. Who chooses a route has to reckon with both.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol
from urllib.parse import unquote_to_bytes

__all__ = [
    "NOTHING",
    "Asked",
    "Condition",
    "FieldIs",
    "ListenerIs",
    "MethodIs",
    "PathLike",
    "QueryHas",
    "Wanted",
    "first_unmet",
]

Verdict = bool | None


class Asked(Protocol):
    """What conditions look at."""

    @property
    def method(self) -> bytes: ...

    @property
    def preflight(self) -> bytes | None:
        """The method that a CORS preflight asks leave for (``blitz/http/preflight.py``); None: it is none."""

    @property
    def target(self) -> bytes:
        """Origin-form with its query."""

    @property
    def listener(self) -> str:
        """The name of the listener that took the connection."""

    def fields(self) -> Sequence[tuple[bytes, bytes]]:
        """Names in lower case, and values."""


class _Nothing:
    method = b""
    preflight = None
    target = b"/"
    listener = ""

    def fields(self) -> Sequence[tuple[bytes, bytes]]:
        return ()


NOTHING: Asked = _Nothing()


class Condition(Protocol):
    def holds(self, asked: Asked) -> Verdict: ...

    def why_not(self, asked: Asked) -> str:
        """One clause about a request for which it does not hold."""


def first_unmet(conditions: Iterable[Condition], asked: Asked) -> tuple[Verdict, Condition | None]:
    """All hold (True), one does not (False), or nobody knows (None); and the first that makes it so."""
    unclear: Condition | None = None
    for condition in conditions:
        verdict = condition.holds(asked)
        if verdict is False:
            return False, condition
        if verdict is None and unclear is None:
            unclear = condition
    return (True if unclear is None else None), unclear


@dataclass(frozen=True)
class Wanted:
    """What a value must be: *text*, or what *pattern* finds anything in; neither: any. *absent*: none at all.

    Attributes:
        shown: the end of a clause about another value.
    """

    text: bytes | None = None
    pattern: Callable[[bytes], Any] | None = None
    shown: str = ""
    absent: bool = False

    def takes(self, value: bytes) -> bool:
        if self.pattern is not None:
            return self.pattern(value) is not None
        return self.text is None or value == self.text


@dataclass(frozen=True)
class MethodIs:
    """One of *methods*; GET takes HEAD along (RFC 9110 section 9.1 wants both of every server).

    Attributes:
        preflights: the route answers those, and takes them for the methods that they ask about.
    """

    methods: tuple[bytes, ...]
    preflights: bool = False

    def holds(self, asked: Asked) -> Verdict:
        method = self._of(asked)
        return method in self.methods or (method == b"HEAD" and b"GET" in self.methods)

    def why_not(self, asked: Asked) -> str:
        preflight = self.preflights and asked.preflight is not None
        said = "the method that the preflight is for" if preflight else "the method"
        shown = _shown(self._of(asked)) or "unclear"
        return f"{said} is {shown}, not {' or '.join(map(_shown, self.methods))}"

    def _of(self, asked: Asked) -> bytes:
        preflight = asked.preflight if self.preflights else None
        return asked.method if preflight is None else preflight

    @property
    def allow(self) -> tuple[bytes, ...]:
        head = (b"HEAD",) if b"GET" in self.methods and b"HEAD" not in self.methods else ()
        return (*self.methods, *head)


@dataclass(frozen=True)
class ListenerIs:
    name: str

    def holds(self, asked: Asked) -> Verdict:
        return asked.listener == self.name

    def why_not(self, asked: Asked) -> str:
        return f'the listener is "{asked.listener}", not "{self.name}"'


@dataclass(frozen=True)
class FieldIs:
    """The header field *name* (lower case) has a value that is *wanted*.

    Several fields of the name are one list to one server, and the first or the last to another. A name that
    CGI and its heirs read as this one may be it.
    """

    name: bytes
    wanted: Wanted

    def holds(self, asked: Asked) -> Verdict:
        mine: list[bytes] = []
        alike: list[bytes] = []
        variable = _variable(self.name)
        for name, value in asked.fields():
            if name == self.name:
                mine.append(value)
            elif len(name) == len(variable) and _variable(name) == variable:
                alike.append(value)
        if self.wanted.absent:
            return False if mine else None if alike else True
        readings = [*mine, b", ".join(mine)] if mine else []
        found = {self.wanted.takes(value) for value in readings} or {False}
        found |= {self.wanted.takes(value) for value in alike}
        return found.pop() if len(found) == 1 else None

    def why_not(self, asked: Asked) -> str:
        value = next((value for name, value in asked.fields() if name == self.name), None)
        said = "is not there" if value is None else f'is "{_shown(value)}"'
        return f"the field {_shown(self.name)} {said}{self.wanted.shown}"


@dataclass(frozen=True)
class QueryHas:
    """The query has *name* with a value that is *wanted*.

    Of several values servers take the first or the last; ``;`` parts pairs for some of them.
    """

    name: bytes
    wanted: Wanted

    def holds(self, asked: Asked) -> Verdict:
        found = self._readings(asked, b"&")
        if b";" in asked.target:
            found |= self._readings(asked, b"[&;]")
        return found.pop() if len(found) == 1 else None

    def _readings(self, asked: Asked, border: bytes) -> set[bool]:
        values = self._values(asked, border)
        if self.wanted.absent:
            return {not values}
        return {self.wanted.takes(value) for value in values} or {False}

    def why_not(self, asked: Asked) -> str:
        values = self._values(asked, b"&")
        said = f'is "{_shown(values[0])}"' if values else "is not in the query"
        return f"{_shown(self.name)} {said}{self.wanted.shown}"

    def _values(self, asked: Asked, border: bytes) -> list[bytes]:
        pairs = re.split(border, asked.target.partition(b"?")[2])
        split = [pair.partition(b"=") for pair in pairs if pair]
        return [_decoded(value) for name, _, value in split if _decoded(name) == self.name]


@dataclass(frozen=True)
class PathLike:
    """The path is one that *pattern* finds anything in, however servers read it.

    Args:
        pattern, folded: search functions, the second whatever the case of letters.
    """

    pattern: Callable[[bytes], Any]
    folded: Callable[[bytes], Any]
    shown: str

    def holds(self, asked: Asked) -> Verdict:
        path = asked.target.partition(b"?")[0]
        decoded = unquote_to_bytes(path)
        if not _is_clear(path, decoded):
            return None
        forms = {path, decoded, path.rstrip(b"/") or b"/", decoded.rstrip(b"/") or b"/"}
        found = {search(form) is not None for form in forms for search in (self.pattern, self.folded)}
        return found.pop() if len(found) == 1 else None

    def why_not(self, asked: Asked) -> str:
        return f"the path is not like {self.shown}"


_RAW = rb"A-Za-z0-9._~!$&'()*+,=:@\[\]\^|\-"
_CLEAR = re.compile(rb"(?:/(?:[" + _RAW + rb"]|%[0-9A-Fa-f]{2})*)+")
_NEEDLESS = re.compile(rb"[" + _RAW + rb"%/\\;?#\x00-\x1f\x7f]")
_EDGES = re.compile(rb"//|(?:^|/)[. ]|[. ](?:/|$)")


def _is_clear(path: bytes, decoded: bytes) -> bool:
    """There is one reading of it, but for the case of letters and a slash at its end."""
    if _EDGES.search(decoded) or _CLEAR.fullmatch(path) is None:
        return False
    if b"%" not in path:
        return True
    if any(_NEEDLESS.fullmatch(unquote_to_bytes(one)) for one in re.findall(rb"%..", path)):
        return False
    try:
        decoded.decode()
    except UnicodeDecodeError:
        return False
    return True


def _variable(name: bytes) -> bytes:
    return re.sub(rb"[^a-z0-9]", b"_", name.lower())


def _decoded(text: bytes) -> bytes:
    return unquote_to_bytes(text.replace(b"+", b" "))


def _shown(text: bytes) -> str:
    return text.decode("latin-1")
