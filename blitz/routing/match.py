"""Which route serves a request: host, then path prefix, the most specific first.

Exact host beats wildcard, the longest wildcard beats shorter ones, any host comes last; within one
host the longest path prefix wins. So the order in the configuration means nothing.

A prefix matches on segment borders: ``/a`` matches ``/a``, ``/a/`` and ``/a/b``, not ``/ab``. The query
is not part of the path. A path is matched by everything that it may mean to servers (``native/path.c``); one
that may mean routes with different protection is refused. The host's letters may have any case; its port,
one dot at its end, and how an IPv6 address is spelt do not count.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Hashable, Iterable
from dataclasses import dataclass
from typing import Generic, TypeVar

from blitz._native import ffi, lib
from blitz.errors import ClientError, InternalError

from .path import canonical

__all__ = ["Router", "Rule"]

T = TypeVar("T")

LONGEST = 65536  # bytes of a path that is more than plain
_WHY = {
    lib.BLITZ_PATH_AMBIGUOUS: "the path could mean different routes to different servers",
    lib.BLITZ_PATH_CLIMBS: "the path climbs above the root",
    lib.BLITZ_PATH_TOO_LONG: "the path is more than plain, and has over 256 segments or 65536 bytes",
}


@dataclass(frozen=True, slots=True)
class Rule(Generic[T]):
    """One match rule and what it leads to.

    Attributes:
        host: lower case, ``b"api.example.org"``, ``b"*.example.org"`` or ``b""`` for any.
        prefix: begins with ``b"/"``.
        protection: equal for rules that a path may mean both of, since the same stands in front of what
            they lead to; None: no other rule's.
    """

    host: bytes
    prefix: bytes
    value: T
    protection: Hashable = None


class Router(Generic[T]):
    """All rules of a configuration. Immutable.

    Attributes:
        only: the value when one rule matches everything, so that nobody needs to look; else None.
        by_host: some rule names a host.
        table: cffi ``blitz_path_table *``; the tree of requests for any host is number 0.
    """

    __slots__ = ("_exact", "_numbers", "_values", "_wildcards", "by_host", "only", "table")

    def __init__(self, rules: Iterable[Rule[T]]) -> None:
        rules = list(rules)
        self._values = [rule.value for rule in rules]
        self._numbers = {id(rule.value): index for index, rule in enumerate(rules)}
        hosts: dict[bytes, dict[bytes, int]] = {b"": {}}
        for index, rule in enumerate(rules):
            host = _name(rule.host)
            hosts.setdefault(host, {})[canonical(rule.prefix).rstrip(b"/")] = index
        self.by_host = len(hosts) > 1
        self.only: T | None = None
        if not self.by_host and list(hosts[b""]) == [b""]:
            self.only = self._values[hosts[b""][b""]]
        table = lib.blitz_path_table_new(LONGEST)
        if table == ffi.NULL:
            raise InternalError("out of memory for the routes")
        self.table = ffi.gc(table, lib.blitz_path_table_free)
        protections = _numbered(rules)
        trees = {host: self._plant(host, hosts, protections) for host in sorted(hosts)}
        lib.blitz_path_table_seal(table)
        self._exact = {host: tree for host, tree in trees.items() if host and not _is_wildcard(host)}
        self._wildcards = [(suffix, trees[b"*" + suffix]) for suffix in _suffixes(hosts)]

    def find(self, host: bytes, target: bytes) -> T | None:
        """Return the value of the most specific rule, or None.

        Args:
            host: the authority as received (RFC 9110 section 4.2.3).
            target: origin-form with its query, or ``b"*"``.
        Raises:
            ClientError: the path climbs above the root, or could mean routes with different protection, or
                has too many segments to tell.
        """
        tree = self._tree(host) if self.by_host else 0
        found: int = lib.blitz_path_find(self.table, tree, target, len(target))
        if found >= 0:
            return self._values[found]
        if found == lib.BLITZ_PATH_NONE:
            return None
        raise ClientError(_WHY[found])

    def number(self, value: T) -> int:
        """What the table calls *value*, one of the rules'."""
        return self._numbers[id(value)]

    def stays(self, host: bytes, target: bytes, value: T) -> bool:
        """The request leads to what is protected as *value* is, however it is read."""
        tree = self._tree(host) if self.by_host else 0
        return bool(lib.blitz_path_stays(self.table, tree, self.number(value), target, len(target)))

    def _tree(self, host: bytes) -> int:
        name = _name(_without_port(host))
        tree = self._exact.get(name)
        if tree is not None:
            return tree
        for suffix, tree in self._wildcards:
            if name.endswith(suffix) and len(name) > len(suffix):
                return tree
        return 0

    def _plant(self, host: bytes, hosts: dict[bytes, dict[bytes, int]], protections: list[int]) -> int:
        """Make the tree of requests for *host*: its own rules, and less specific ones where it has none."""
        tables = [hosts[host]] if host else []
        name = host[1:] if _is_wildcard(host) else host
        for suffix in _suffixes(hosts) if host else ():
            if name.endswith(suffix) and len(name) > len(suffix):
                tables.append(hosts[b"*" + suffix])
        tables.append(hosts[b""])
        tree = lib.blitz_path_table_tree(self.table)
        for prefix in set().union(*tables):
            found = next(value for table in tables if (value := _longest(table, prefix)) is not None)
            code = lib.blitz_path_table_add(self.table, tree, prefix, len(prefix), found, protections[found])
            if tree < 0 or code < 0:
                raise InternalError(f"a route's prefix cannot be kept (code {min(tree, code)})")
        return int(tree)


def _numbered(rules: list[Rule[T]]) -> list[int]:
    """Rules with equal numbers have one protection."""
    numbers: dict[Hashable, int] = {}
    return [
        numbers.setdefault(("value", id(rule.value)) if rule.protection is None else rule.protection, index)
        for index, rule in enumerate(rules)
    ]


def _longest(table: dict[bytes, int], prefix: bytes) -> int | None:
    """The value of the longest of the table's prefixes of *prefix*."""
    while prefix not in table:
        if not prefix:
            return None
        prefix = prefix.rpartition(b"/")[0]
    return table[prefix]


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
