"""The tables, by family. ``ALL`` holds every case."""

from __future__ import annotations

from ..case import Case
from . import (
    bodies,
    chunked,
    connection,
    expectation,
    fields,
    forwarding,
    framing,
    host,
    interim,
    limits,
    methods,
    response_body,
    response_head,
    reuse,
    start_line,
    target,
    timing,
    upgrade,
)

__all__ = ["ALL", "FAMILIES"]

ALL: list[Case] = [
    case
    for module in (
        start_line,
        target,
        host,
        fields,
        framing,
        chunked,
        bodies,
        connection,
        forwarding,
        methods,
        expectation,
        upgrade,
        limits,
        response_head,
        response_body,
        interim,
        reuse,
        timing,
    )
    for case in module.CASES
]
FAMILIES = sorted({case.family for case in ALL})
_ids = [case.id for case in ALL]
assert len(_ids) == len(set(_ids)), sorted({each for each in _ids if _ids.count(each) > 1})
