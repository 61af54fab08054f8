"""Which route serves a request: host, then path prefix, the most specific first.

Exact host beats wildcard, the longest wildcard beats shorter ones, any host comes last; within one
host the longest path prefix wins. So the order in the configuration means nothing.

A prefix matches on segment borders: ``/a`` matches ``/a``, ``/a/`` and ``/a/b``, not ``/ab``. The query
is not part of the path. Paths are compared as they came: no decoding, because what we compare must
be what the upstream sees.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Generic, TypeVar

__all__ = ["Router", "Rule"]

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Rule(Generic[T]):
    """One match rule and what it leads to.

    Attributes:
        host: lower case, ``b"api.example.org"``, ``b"*.example.org"`` or ``b""`` for any.
        prefix: begins with ``b"/"``.
    """

    host: bytes
    prefix: bytes
    value: T


class _Paths(Generic[T]):
    """Prefixes of one host, longest first."""

    __slots__ = ("_by_prefix", "_lengths", "_root")

    def __init__(self, rules: Iterable[Rule[T]]) -> None:
        self._by_prefix = {rule.prefix.rstrip(b"/"): rule.value for rule in rules}
        self._root = self._by_prefix.pop(b"", None)
        self._lengths = sorted({len(prefix) for prefix in self._by_prefix}, reverse=True)

    def find(self, path: bytes) -> T | None:
        size = len(path)
        for length in self._lengths:
            if size >= length and (size == length or path[length] == 0x2F):
                value = self._by_prefix.get(path[:length])
                if value is not None:
                    return value
        return self._root


class Router(Generic[T]):
    """All rules of a configuration. Immutable.

    Attributes:
        only: the value when one rule matches everything, so that nobody needs to look; else None.
    """

    __slots__ = ("_any", "_exact", "_wildcards", "only")

    def __init__(self, rules: Iterable[Rule[T]]) -> None:
        by_host: dict[bytes, list[Rule[T]]] = {}
        for rule in rules:
            by_host.setdefault(rule.host, []).append(rule)
        self.only: T | None = None
        if list(by_host) == [b""] and [rule.prefix for rule in by_host[b""]] == [b"/"]:
            self.only = by_host[b""][0].value
        self._any = _Paths(by_host.pop(b"", ()))
        wildcards = {host[1:]: _Paths(rules) for host, rules in by_host.items() if host.startswith(b"*.")}
        self._wildcards = sorted(wildcards.items(), key=lambda item: -len(item[0]))
        self._exact = {host: _Paths(rules) for host, rules in by_host.items() if not host.startswith(b"*.")}

    def find(self, host: bytes, target: bytes) -> T | None:
        """Return the value of the most specific rule, or None.

        Args:
            host: the authority as received; case and port do not matter (RFC 9110 section 4.2.3).
            target: origin-form with its query, or ``b"*"``.
        """
        path = target.partition(b"?")[0]
        if self._exact or self._wildcards:
            name = _without_port(host).lower()
            paths = self._exact.get(name)
            if paths is not None:
                value = paths.find(path)
                if value is not None:
                    return value
            for suffix, paths in self._wildcards:
                if name.endswith(suffix) and len(name) > len(suffix):
                    value = paths.find(path)
                    if value is not None:
                        return value
        return self._any.find(path)


def _without_port(host: bytes) -> bytes:
    if host.startswith(b"["):
        return host.partition(b"]")[0] + b"]"
    name = host.partition(b":")[0]
    return name[:-1] if name.endswith(b".") else name
