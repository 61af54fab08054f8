"""A checked request head as conditions of routes look at it, and the rules that configured routes mean."""

from __future__ import annotations

import weakref
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, TypeVar

from blitz._native import ffi
from blitz.config.patterns import compile_pattern
from blitz.config.resolved import ResolvedMatch, ResolvedValue
from blitz.http.heads import field_values, span_bytes
from blitz.http.preflight import ORIGIN, REQUESTED_METHOD, preflight_for
from blitz.routing.conditions import Condition, FieldIs, ListenerIs, MethodIs, PathLike, QueryHas, Wanted
from blitz.routing.match import Rule

__all__ = ["RANK", "AskedHead", "chosen_by", "rules_of"]

T = TypeVar("T")
# What the elements of a rule's rank are.
RANK = (
    "names a listener",
    "names methods",
    "names more header fields",
    "names more of the query",
    "has the larger priority",
)
# What a native value points to lives as long as the value does; as cffi's manual has it.
_kept_for: weakref.WeakKeyDictionary[Any, Any] = weakref.WeakKeyDictionary()


class AskedHead:
    """See ``conditions.Asked``; reads each part once, when it is asked for."""

    __slots__ = ("_fields", "_head", "_method", "_target", "listener")

    def __init__(self, head: Any, listener: str) -> None:
        """
        Args:
            head: cffi ``blitz_head *`` of a request.
            listener: the name of the one that took the connection.
        """
        self._head = head
        self._method: bytes | None = None
        self._target: bytes | None = None
        self._fields: list[tuple[bytes, bytes]] | None = None
        self.listener = listener

    @property
    def method(self) -> bytes:
        if self._method is None:
            self._method = span_bytes(self._head, self._head.method)
        return self._method

    @property
    def preflight(self) -> bytes | None:
        if self.method != b"OPTIONS":
            return None
        origins, requested = field_values(self._head, ORIGIN), field_values(self._head, REQUESTED_METHOD)
        return preflight_for(self.method, origins, requested)

    @property
    def target(self) -> bytes:
        if self._target is None:
            self._target = span_bytes(self._head, self._head.target)
        return self._target

    def fields(self) -> Sequence[tuple[bytes, bytes]]:
        if self._fields is None:
            head = self._head
            live = (field for field in ffi.unpack(head.fields, head.n_fields) if not field.gone)
            self._fields = [
                (span_bytes(head, field.name).lower(), span_bytes(head, field.value)) for field in live
            ]
        return self._fields


def rules_of(match: ResolvedMatch, value: T, protection: object) -> Iterator[Rule[T]]:
    """One rule for each host of *match*."""
    conditions = tuple(_conditions(match))
    rank = (bool(match.listen), bool(match.methods), len(match.fields), len(match.query), match.priority)
    for host in match.hosts:
        yield Rule(
            host.encode(),
            match.path.encode(),
            value,
            protection,
            exact=match.exact,
            conditions=conditions,
            rank=tuple(map(int, rank)),
            pattern=bool(match.regex),
        )


def chosen_by(matches: Iterable[ResolvedMatch]) -> Any:
    """What these look at besides host and path, as cffi ``blitz_chosen_by *``; NULL: nothing."""
    matches = list(matches)
    found = {field.name.encode() for match in matches for field in match.fields}
    if any(match.preflights for match in matches):
        found |= {ORIGIN, REQUESTED_METHOD}
    names = sorted(found)
    method, query = any(match.methods for match in matches), any(match.query for match in matches)
    if not (names or method or query):
        return ffi.NULL
    texts = [ffi.from_buffer("uint8_t[]", name) for name in names]
    fields = ffi.new("blitz_text[]", [{"ptr": text, "len": len(text)} for text in texts])
    made = ffi.new("blitz_chosen_by *", {"method": method, "query": query})
    made.fields, made.n_fields = fields, len(names)
    _kept_for[made] = (fields, texts, names)
    return made


def _conditions(match: ResolvedMatch) -> Iterator[Condition]:
    """The cheapest first."""
    if match.listen:
        yield ListenerIs(match.listen)
    if match.methods:
        methods = tuple(method.encode() for method in match.methods)
        yield MethodIs(methods, preflights=match.preflights)
    for query in match.query:
        yield QueryHas(query.name.encode(), _wanted(query))
    for field in match.fields:
        yield FieldIs(field.name.encode(), _wanted(field))
    if match.regex:
        yield PathLike(compile_pattern(match.regex), compile_pattern(match.regex, fold=True), match.regex)


def _wanted(value: ResolvedValue) -> Wanted:
    if value.text is not None:
        return Wanted(text=value.text.encode(), shown=f'; it must be "{value.text}"')
    if value.regex:
        return Wanted(pattern=compile_pattern(value.regex), shown=f"; it must be like {value.regex}")
    return Wanted(absent=not value.present, shown="" if value.present else "; it must not be there")
