"""Which route serves a request: host, then path, then what else it asks; the most specific first.

Of all routes that match, this decides: exact host, the longer wildcard, any host; then exact path, pattern,
the longer prefix; then one listener before any, methods before any, more header fields, more of the query;
then the larger priority; then the place in the configuration, which only routes of one kind come to.

A prefix matches on segment borders: ``/a`` matches ``/a``, ``/a/`` and ``/a/b``, not ``/ab``. The query
is not part of the path. A path is matched by everything that it may mean to servers (``native/path.c``), and
so are fields and queries that servers read differently (``conditions.py``); a request that may mean routes
with different protection is refused. The host's letters may have any case; its port,
one dot at its end, and how an IPv6 address is spelt do not count.

Routes that may serve a request for a host and a path stand in a list, the most specific first: the table in C
finds the list, and here the first of it is taken whose conditions hold.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Hashable, Iterable, Iterator
from dataclasses import dataclass
from typing import Generic, TypeVar

from blitz._native import ffi, lib
from blitz.errors import ClientError, InternalError

from .conditions import NOTHING, Asked, Condition, MethodIs, first_unmet
from .path import canonical

__all__ = ["Router", "Rule", "order_of"]

T = TypeVar("T")

LONGEST = 65536  # bytes of a path that is more than plain
_AMBIGUOUS = lib.BLITZ_PATH_AMBIGUOUS
_WHY = {
    _AMBIGUOUS: "the path could mean different routes to different servers",
    lib.BLITZ_PATH_CLIMBS: "the path climbs above the root",
    lib.BLITZ_PATH_TOO_LONG: "the path is more than plain, and has over 256 segments or 65536 bytes",
}
_MAYBE = "path, fields or query could mean different routes to different servers"


@dataclass(frozen=True, slots=True)
class Rule(Generic[T]):
    """One match rule and what it leads to.

    Attributes:
        host: lower case, ``b"api.example.org"``, ``b"*.example.org"`` or ``b""`` for any.
        prefix: begins with ``b"/"``.
        protection: equal for rules that a request may mean any of, since the same stands in front of what
            they lead to; None: no other rule's.
        exact: *prefix* is the whole path.
        conditions: all of them must hold.
        rank: of rules with one host and path the larger one comes first.
        pattern: the conditions say which paths.
    """

    host: bytes
    prefix: bytes
    value: T
    protection: Hashable = None
    exact: bool = False
    conditions: tuple[Condition, ...] = ()
    rank: tuple[int, ...] = ()
    pattern: bool = False


class Router(Generic[T]):
    """All rules of a configuration. Immutable.

    Attributes:
        only: the value when one rule matches everything, so that nobody needs to look; else None.
        by_host: some rule names a host.
        by_more: some rule has conditions.
        rules: in the order of the configuration.
        table: cffi ``blitz_path_table *``; the tree of requests for any host is number 0.
    """

    __slots__ = (
        "_exact",
        "_lists",
        "_numbers",
        "_protections",
        "_wildcards",
        "by_host",
        "by_more",
        "only",
        "rules",
        "table",
    )

    def __init__(self, rules: Iterable[Rule[T]]) -> None:
        self.rules = rules = list(rules)
        self._lists: list[tuple[int, ...]] = []
        self._protections = _numbered(rules)
        hosts: dict[bytes, list[int]] = {b"": []}
        for index, rule in enumerate(rules):
            hosts.setdefault(_name(rule.host), []).append(index)
        self.by_host = len(hosts) > 1
        self.by_more = any(rule.conditions for rule in rules)
        first = rules[0] if len(rules) == 1 else None
        plain = first is not None and not (first.host or first.exact or first.conditions)
        self.only: T | None = first.value if first is not None and plain and first.prefix == b"/" else None
        table = lib.blitz_path_table_new(LONGEST)
        if table == ffi.NULL:
            raise InternalError("out of memory for the routes")
        self.table = ffi.gc(table, lib.blitz_path_table_free)
        numbers: dict[tuple[int, ...], int] = {}
        trees = {host: self._plant(host, hosts, numbers) for host in sorted(hosts)}
        lib.blitz_path_table_seal(table)
        self._numbers = {id(rules[found[0]].value): number for number, found in enumerate(self._lists)}
        self._exact = {host: tree for host, tree in trees.items() if host and not _is_wildcard(host)}
        self._wildcards = [(suffix, trees[b"*" + suffix]) for suffix in _suffixes(hosts)]

    def find(self, host: bytes, target: bytes, asked: Asked = NOTHING) -> T | None:
        """Return the value of the most specific rule, or None.

        Args:
            host: the authority as received (RFC 9110 section 4.2.3).
            target: origin-form with its query, or ``b"*"``.
            asked: the request, for what conditions say.
        Raises:
            ClientError: the path climbs above the root, or has too many segments to tell; or the request
                could mean routes with different protection.
        """
        tree = self._tree(host) if self.by_host else 0
        if self.by_more:
            return self._find_by_more(tree, target, asked)
        found: int = lib.blitz_path_find(self.table, tree, target, len(target))
        if found >= 0:
            return self.rules[self._lists[found][0]].value
        if found == lib.BLITZ_PATH_NONE:
            return None
        raise ClientError(_WHY[found])

    def allowed(self, host: bytes, target: bytes, asked: Asked) -> list[bytes]:
        """The methods with which some rule would take a request that none takes; [] if that is not why."""
        if not self.by_more:
            return []
        allowed: dict[bytes, None] = {}
        for number in self._all(self._tree(host) if self.by_host else 0, target):
            for index in self._lists[number] if number >= 0 else ():
                conditions = self.rules[index].conditions
                failed = [one for one in conditions if one.holds(asked) is not True]
                if len(failed) == 1 and isinstance(failed[0], MethodIs):
                    allowed |= dict.fromkeys(failed[0].allow)
        return list(allowed)

    def number(self, value: T) -> int | None:
        """What the table calls *value*, one of the rules'; None: its path alone leads nobody to it."""
        return self._numbers.get(id(value))

    def stays(self, host: bytes, target: bytes, value: T, asked: Asked = NOTHING) -> bool:
        """The request leads to what is protected as *value* is, however it is read."""
        try:
            found = self.find(host, target, asked)
        except ClientError:
            return False
        return found is not None and (found is value or self._protection(found) == self._protection(value))

    def candidates(self, host: bytes, target: bytes) -> list[Rule[T]]:
        """The rules that host and path alone do not rule out, the most specific first.

        Raises: ClientError, as ``find``.
        """
        numbers = self._all(self._tree(host) if self.by_host else 0, target)
        found = dict.fromkeys(index for number in numbers if number >= 0 for index in self._lists[number])
        return [self.rules[index] for index in found]

    def _protection(self, value: T) -> int:
        index = next(index for index, rule in enumerate(self.rules) if rule.value is value)
        return self._protections[index]

    def _all(self, tree: int, target: bytes) -> list[int]:
        values = ffi.new("int32_t[]", lib.BLITZ_PATH_MOST)
        n: int = lib.blitz_path_all(self.table, tree, target, len(target), values)
        if n < 0:
            raise ClientError(_WHY[n])
        return [values[i] for i in range(n)]

    def _find_by_more(self, tree: int, target: bytes, asked: Asked) -> T | None:
        found: int = lib.blitz_path_find(self.table, tree, target, len(target))
        if found == lib.BLITZ_PATH_NONE:
            return None
        if found < 0 and found != _AMBIGUOUS:
            raise ClientError(_WHY[found])
        numbers = [found] if found >= 0 else self._all(tree, target)
        best = None
        for position, index in enumerate(self._possible(numbers, asked)):
            if position == 0:
                best = index
            elif self._in_front(index) != self._in_front(best):
                raise ClientError(_WHY[_AMBIGUOUS] if found < 0 else _MAYBE)
        return None if best is None else self.rules[best].value

    def _in_front(self, index: int | None) -> int | None:
        """What protects that rule; None: no rule has the request, which protects as well as any answer."""
        return None if index is None else self._protections[index]

    def _possible(self, numbers: Iterable[int], asked: Asked) -> Iterator[int | None]:
        """What a request may mean that leads to any of the lists *numbers*: rules, or None."""
        for number in numbers:
            for index in self._lists[number] if number >= 0 else ():
                verdict, _ = first_unmet(self.rules[index].conditions, asked)
                if verdict is not False:
                    yield index
                if verdict:
                    break
            else:
                yield None

    def _tree(self, host: bytes) -> int:
        name = _name(_without_port(host))
        tree = self._exact.get(name)
        if tree is not None:
            return tree
        for suffix, tree in self._wildcards:
            if name.endswith(suffix) and len(name) > len(suffix):
                return tree
        return 0

    def _plant(self, host: bytes, hosts: dict[bytes, list[int]], numbers: dict[tuple[int, ...], int]) -> int:
        """Make the tree of requests for *host*: its own rules, and less specific ones behind them."""
        groups = [hosts[host]] if host else []
        name = host[1:] if _is_wildcard(host) else host
        for suffix in _suffixes(hosts) if host else ():
            if name.endswith(suffix) and len(name) > len(suffix):
                groups.append(hosts[b"*" + suffix])
        groups.append(hosts[b""])
        tree = lib.blitz_path_table_tree(self.table)
        # The most specific first.
        rules = sorted(
            (index for group in groups for index in group),
            key=lambda index: (order_of(self.rules[index]), index),
        )
        paths = {index: _bare(self.rules[index]) for index in rules}
        for path in sorted({*paths.values(), b""}):
            below = [i for i, at in paths.items() if not self.rules[i].exact and _is_below(path, at)]
            here = [
                i for i, at in paths.items() if (at == path if self.rules[i].exact else _is_below(path, at))
            ]
            self._add(tree, path, self._cut(below), numbers, exact=False)
            self._add(tree, path, self._cut(here), numbers, exact=True)
        return int(tree)

    def _cut(self, found: list[int]) -> tuple[int, ...]:
        """Nothing comes behind a rule that always takes the request."""
        end = next((at for at, index in enumerate(found) if not self.rules[index].conditions), len(found))
        return tuple(found[: end + 1])

    def _add(
        self,
        tree: int,
        path: bytes,
        found: tuple[int, ...],
        numbers: dict[tuple[int, ...], int],
        *,
        exact: bool,
    ) -> None:
        if not found:
            return
        number = numbers.setdefault(found, len(self._lists))
        if number == len(self._lists):
            self._lists.append(found)
        # Lists of several rules are alike only to themselves: what the request asks decides.
        protection = (
            self._protections[found[0]]
            if len(found) == 1 and not self.rules[found[0]].conditions
            else (len(self.rules) + number)
        )
        code = lib.blitz_path_table_add(self.table, tree, path, len(path), number, protection, exact)
        if tree < 0 or code < 0:
            raise InternalError(f"a route's path cannot be kept (code {min(tree, code)})")


def order_of(rule: Rule[T]) -> tuple[int, ...]:
    """Of rules that take one request the one with the least comes first: host, its length, kind of path, its
    length, and what ``rank`` has. Equal ones come in the order of the configuration.

    Of patterns none is longer: what else they ask decides.
    """
    host, path = _name(rule.host), _bare(rule)
    of_host = (1, -len(host)) if _is_wildcard(host) else (0, 0) if host else (2, 0)
    kind = 0 if rule.exact else 1 if rule.pattern else 2
    return (*of_host, kind, -path.count(b"/"), *(-part for part in rule.rank))


def _bare(rule: Rule[T]) -> bytes:
    return canonical(rule.prefix).rstrip(b"/")


def _is_below(path: bytes, prefix: bytes) -> bool:
    return path == prefix or path.startswith(prefix + b"/")


def _numbered(rules: list[Rule[T]]) -> list[int]:
    """Rules with equal numbers have one protection."""
    numbers: dict[Hashable, int] = {}
    return [
        numbers.setdefault(("value", id(rule.value)) if rule.protection is None else rule.protection, index)
        for index, rule in enumerate(rules)
    ]


def _is_wildcard(host: bytes) -> bool:
    return host.startswith(b"*.")


def _suffixes(hosts: Iterable[bytes]) -> list[bytes]:
    """What names that a wildcard matches end in, the longest first."""
    return sorted(
        (host[1:] for host in hosts if _is_wildcard(host)), key=lambda suffix: (-len(suffix), suffix)
    )


def _without_port(host: bytes) -> bytes:
    if host.startswith(b"["):
        return host.partition(b"]")[0] + b"]"
    return host.partition(b":")[0]


def _name(host: bytes) -> bytes:
    """One spelling of a host without port."""
    if host.startswith(b"["):
        try:
            return f"[{ipaddress.IPv6Address(host[1:-1].decode())}]".encode()
        except ValueError:
            return host.lower()
    return host.removesuffix(b".").lower()
