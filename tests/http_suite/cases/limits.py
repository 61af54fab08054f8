"""Bounds of a request head: 64 KiB in all, 100 fields, and no growth with what never ends.

The settings are the defaults: 64 KiB a head, 16 KiB a request line, 32 KiB a field line, 100 fields.
"""

from __future__ import annotations

from ..case import Case, HalfClose, Seen
from .make import HOST, Row, either, get, passed, refused, silent, table

START = b"GET /T0KEN HTTP/1.1\r\n"
TOO_LARGE = refused(400, 413, 414, 431)
GONE = either(TOO_LARGE, silent())


def many(count: int, value: bytes = b"v") -> bytes:
    return b"".join(b"X-%d: %s\r\n" % (n, value) for n in range(count))


def in_all(size: int) -> bytes:
    """A request whose head is that long, in fields of 1000 bytes."""
    rest = size - len(START + HOST) - 2
    fields = b""
    while rest > 2000:
        fields += b"X-Pad: " + b"a" * 991 + b"\r\n"
        rest -= 1000
    fields += b"X-Pad: " + b"a" * (rest - 9) + b"\r\n"
    return START + HOST + fields + b"\r\n"


ROWS: list[Row] = [
    ("fields_50", get(many(50)), passed(Seen(has=((b"x-49", b"v"),)))),
    ("fields_90", get(many(90)), passed(Seen(has=((b"x-89", b"v"),)))),
    ("fields_99_and_host", get(many(99)), passed(Seen(has=((b"x-98", b"v"),)))),
    ("fields_150", get(many(150)), TOO_LARGE),
    ("fields_1000", get(many(1000)), TOO_LARGE),
    ("fields_20000", get(many(20_000)), GONE),
    ("field_8k", get(b"X-A: " + b"a" * 8000 + b"\r\n"), passed(Seen(has=((b"x-a", b"a" * 8000),)))),
    ("field_30k", get(b"X-A: " + b"a" * 30_000 + b"\r\n"), passed(Seen(has=((b"x-a", b"a" * 30_000),)))),
    ("field_70k", get(b"X-A: " + b"a" * 70_000 + b"\r\n"), TOO_LARGE),
    ("field_1m", get(b"X-A: " + b"a" * 1_000_000 + b"\r\n"), GONE),
    ("field_name_70k", get(b"a" * 70_000 + b": b\r\n"), TOO_LARGE),
    ("head_40k", in_all(40_000), passed()),
    ("head_60k", in_all(60_000), passed()),
    ("head_70k", in_all(70_000), TOO_LARGE),
    ("head_80k_in_small_fields", get(b"".join(b"X: %s\r\n" % (b"a" * 900) for _ in range(90))), TOO_LARGE),
    ("head_200k", in_all(200_000), GONE),
    ("line_8k", get(target=b"/T0KEN?" + b"a" * 8000), passed(Seen(target=b"/T0KEN?" + b"a" * 8000))),
    ("line_15k", get(target=b"/T0KEN?" + b"a" * 15_000), passed(Seen(target=b"/T0KEN?" + b"a" * 15_000))),
    ("line_70k", get(target=b"/T0KEN?" + b"a" * 70_000), TOO_LARGE),
    ("line_1m", get(target=b"/T0KEN?" + b"a" * 1_000_000), GONE),
    ("method_70k", get(method=b"A" * 70_000), either(TOO_LARGE, refused(405, 501))),
    ("endless_line", (b"GET /T0KEN/" + b"a" * 2_000_000, HalfClose()), GONE, {"follow": False}),
    ("endless_field", (START + b"X-A: " + b"a" * 2_000_000, HalfClose()), GONE, {"follow": False}),
    ("endless_fields", (START + HOST + many(200_000), HalfClose()), GONE, {"follow": False}),
    ("endless_method", (b"A" * 2_000_000, HalfClose()), GONE, {"follow": False}),
    ("connection_of_many_options", get(b"Connection: " + b",".join(b"x-%d" % n for n in range(1000)) + b"\r\n" + many(20)),
     either(passed(Seen(lacks=(b"x-0", b"x-19"))), TOO_LARGE)),
]  # fmt: skip

CASES: list[Case] = table("limits", "9112 3, 6585 5", ROWS, wait=6.0)
