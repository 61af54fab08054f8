"""Which route serves a request: host, then path prefix, the most specific first.

Exact host beats wildcard, the longest wildcard beats shorter ones, any host comes last; within one
host the longest path prefix wins. So the order in the configuration means nothing.

A prefix matches on segment borders: ``/a`` matches ``/a``, ``/a/`` and ``/a/b``, not ``/ab``. The query
is not part of the path. A path is matched by what it means to the upstream (``path.py``), not by how it
is spelt; one that means different routes to different servers is refused.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Generic, TypeVar

from blitz.errors import ClientError

from .path import may_mean_another, plain, readings

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
        self._by_prefix = {plain(rule.prefix).rstrip(b"/"): rule.value for rule in rules}
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
        Raises:
            ClientError: the path climbs above the root, or could mean another route to the upstream.
        """
        path = target.partition(b"?")[0]
        if not may_mean_another(path):
            return self._find(host, path)
        usual, doubtful = readings(path)
        found = self._find(host, usual)
        if doubtful != usual and self._find(host, doubtful) is not found:
            raise ClientError("path means different routes to different servers")
        return found

    def _find(self, host: bytes, path: bytes) -> T | None:
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
