"""Why a rule does not take a request, in a clause: the router's own answer for that rule alone.

Host and path are asked of a ``Router`` that has no other rule, conditions of the function by which routers
decide, and which of two rules comes first of the order in which routers keep them.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import TypeVar

from blitz.errors import ClientError

from .conditions import Asked, Verdict, first_unmet
from .match import Router, Rule, order_of

__all__ = ["UNCLEAR", "for_host", "why_behind", "why_not"]

T = TypeVar("T")

UNCLEAR = "whether it takes the request depends on how a server reads it"
# What the elements of ``order_of`` stand for, before those of ``Rule.rank``.
_ORDER = ("host", "longer host", "kind of path", "longer prefix")


def for_host(rules: Iterable[Rule[T]], host: bytes) -> Rule[T] | None:
    """Of *rules*, those of one route, which differ in their hosts, the most specific one for *host*."""
    return min((rule for rule in rules if _has_host(rule, host)), key=order_of, default=None)


def why_not(rules: Sequence[Rule[T]], host: bytes, target: bytes, asked: Asked) -> str:
    """The first thing that keeps the request from *rules*, those of one route; "": it takes the request.

    Args: as of ``Router.find``.
    """
    rule = for_host(rules, host)
    if rule is None:
        wanted = " or ".join(rule.host.decode() for rule in rules)
        return f"the host is {host.decode('latin-1') or 'not said'}, not {wanted}"
    path = _has_path(rule, target)
    if path is False:
        kind = "" if rule.exact else "below "
        said = target.partition(b"?")[0].decode("latin-1")
        return f"the path is {said}, not {kind}{rule.prefix.decode()}"
    met, condition = first_unmet(rule.conditions, asked)
    if met is False and condition is not None:
        return condition.why_not(asked)
    return UNCLEAR if path is None or met is None else ""


def why_behind(rule: Rule[T], first: Rule[T], rank: Sequence[str]) -> str:
    """Both take the request: why *first* comes before *rule*.

    Args:
        rank: what each element of ``Rule.rank`` stands for.
    """
    names = (*_ORDER, *rank)
    pairs = zip(names, order_of(first), order_of(rule), strict=False)
    what = next((name for name, one, other in pairs if one != other), "")
    if what == "host":
        return f"{_host_kind(first)} comes before {_host_kind(rule)}"
    if what == "kind of path":
        return f"{_path_kind(first)} comes before {_path_kind(rule)}"
    return f"has the {what}" if what in _ORDER else what or "stands first in the configuration"


def _has_host(rule: Rule[T], host: bytes) -> bool:
    alone = Router([Rule(rule.host, b"/", None)])
    return bool(alone.candidates(host if alone.by_host else b"", b"/"))


def _has_path(rule: Rule[T], target: bytes) -> Verdict:
    alone = Router([replace(rule, host=b"", conditions=(), pattern=False)])
    try:
        return alone.find(b"", target) is not None
    except ClientError:
        return None


def _host_kind(rule: Rule[T]) -> str:
    return "no host" if not rule.host else "a wildcard" if rule.host.startswith(b"*.") else "an exact host"


def _path_kind(rule: Rule[T]) -> str:
    return "an exact path" if rule.exact else "a pattern" if rule.pattern else "a prefix"
