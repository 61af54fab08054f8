"""What values of a configuration may be: durations, sizes, counts, words. ``units.py`` reads them."""

from __future__ import annotations

from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta, inspect

KIB = 1024
MIB = 1024 * KIB

PLUGIN_TYPES = (
    # The default order of a chain: the seed document's list.
    "request_preprocessing",
    "authentication",
    "request_transformation",
    "response_transformation",
    "observability",
)
PluginType = Literal[
    "request_preprocessing",
    "authentication",
    "request_transformation",
    "response_transformation",
    "observability",
]
Level = Literal["trace", "debug", "info", "warn", "error"]
Failure = Literal["closed", "open"]
Body = Literal["full", "none"]
Instances = Literal["pooled", "per-request", "single"]
Capability = Literal["clock", "random", "gc", "fine_clock"]
TrustedField = Literal["x-forwarded-for", "forwarded"]

# "unit" tells check.py which strings it may read as a number, and that none of these is negative.
_DURATION: dict[str, Any] = {"extra": {"unit": "duration"}, "extra_json_schema": {"unit": "duration"}}
_SIZE: dict[str, Any] = {"extra": {"unit": "size"}, "extra_json_schema": {"unit": "size"}}
_COUNT: dict[str, Any] = {"extra": {"unit": "count"}}
Seconds = Annotated[float, Meta(**_DURATION)]
CallTime = Annotated[float, Meta(gt=0, le=3600, **_DURATION)]  # a guest without a deadline is not offered
Size = Annotated[int, Meta(**_SIZE)]
Memory = Annotated[int, Meta(ge=64 * KIB, le=4096 * MIB, **_SIZE)]  # one page to all that 32 bits reach
Count = Annotated[int, Meta(**_COUNT)]
Several = Annotated[int, Meta(ge=1, **_COUNT)]
# A relative path in a file counts from that file's directory.
FilePath = Annotated[str, Meta(extra={"unit": "path"})]


class Model(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    pass


def unit_of(wanted: inspect.Type) -> str:
    """``duration``, ``size``, ``count``, ``path``; "" for a type that has none."""
    if isinstance(wanted, inspect.Metadata):
        return str((wanted.extra or {}).get("unit", "")) or unit_of(wanted.type)
    if isinstance(wanted, inspect.UnionType):
        return next((unit for unit in map(unit_of, wanted.types) if unit), "")
    return ""
