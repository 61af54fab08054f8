"""All figures as text: Prometheus' format 0.0.4, or OpenMetrics 1.0.

Samples are written by ``native/measures_merge.c`` and are the same in both; families differ in what stands
above them. Python's prometheus_client is the model for escapes and for numbers, and reads both in the tests.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from blitz._native import ffi, lib
from blitz.errors import InternalError

from .figures import COUNTER, FIGURES, GAUGE, SECONDS, Figure
from .memory import Merged

__all__ = ["OPENMETRICS", "TEXT", "exposition", "wants_openmetrics"]

TEXT = b"text/plain; version=0.0.4; charset=utf-8"
OPENMETRICS = b"application/openmetrics-text; version=1.0.0; charset=utf-8"
_OPENMETRICS_TYPE = "application/openmetrics-text"
SECONDS_BOUNDS, VALUES_BOUNDS = range(-20, 7), range(-10, 31)  # exponents of 2, as in native/measures.h


def exposition(merged: Merged, *, openmetrics: bool) -> bytes:
    """The text of all figures that have been told."""
    out = ffi.new("uint8_t **")
    size = lib.blitz_merged_text(merged.native, _tables[openmetrics].native, len(FIGURES), out)
    if size < 0:
        raise InternalError("out of memory for the text of the figures")
    text: bytes = ffi.buffer(ffi.gc(out[0], lib.blitz_bytes_free), size)[:] if size else b""
    return text + b"# EOF\n" if openmetrics else text


def wants_openmetrics(accepted: Iterable[bytes]) -> bool:
    """What a client says in Accept (RFC 9110 section 12.5.1) lets it have OpenMetrics, as Prometheus asks
    for it."""
    for value in accepted:
        for choice in value.decode("latin-1").split(","):
            kind, *parameters = (part.strip().lower() for part in choice.split(";"))
            if kind == _OPENMETRICS_TYPE and not any(_is_refusal(one) for one in parameters):
                return True
    return False


def _is_refusal(parameter: str) -> bool:
    name, _, weight = parameter.partition("=")
    return name.strip() == "q" and weight.strip().rstrip("0").rstrip(".") in ("", "0")


class _Table:
    """``blitz_figure[]`` for one of the formats."""

    def __init__(self, *, openmetrics: bool) -> None:
        self._kept: list[Any] = []
        self.native = ffi.new("blitz_figure[]", len(FIGURES))
        bounds = {kind: self._bounds(kind) for kind in {one.kind for one in FIGURES} - {COUNTER, GAUGE}}
        for native, figure in zip(self.native, FIGURES, strict=True):
            native.header = self._text(_header(figure, openmetrics=openmetrics))
            native.name = self._text(figure.name)
            native.bounds = bounds.get(figure.kind, ffi.NULL)

    def _text(self, text: str) -> Any:
        octets = ffi.from_buffer("uint8_t[]", text.encode())
        self._kept.append(octets)
        return {"ptr": octets, "len": len(octets)}

    def _bounds(self, kind: int) -> Any:
        exponents = SECONDS_BOUNDS if kind == SECONDS else VALUES_BOUNDS
        texts = [self._text(bound) for bound in [*(repr(2.0**exponent) for exponent in exponents), "+Inf"]]
        bounds = ffi.new("blitz_text[]", texts)
        self._kept.append(bounds)
        return bounds


def _header(figure: Figure, *, openmetrics: bool) -> str:
    family = figure.name.removesuffix("_total") if openmetrics else figure.name
    text = figure.help.replace("\\", r"\\").replace("\n", r"\n")
    if openmetrics:
        text = text.replace('"', r"\"")
    lines = [f"# HELP {family} {text}", f"# TYPE {family} {figure.type}"]
    if openmetrics and figure.unit:
        lines.append(f"# UNIT {family} {figure.unit}")
    return "".join(f"{line}\n" for line in lines)


_tables = [_Table(openmetrics=False), _Table(openmetrics=True)]
