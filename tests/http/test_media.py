"""Which media types are streams. Invariant: how a type is spelled does not matter."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from blitz._native import lib

STREAMS = [
    "text/event-stream", "application/x-ndjson", "application/json-seq", "application/geo+json-seq",
    "multipart/x-mixed-replace", "application/grpc", "application/grpc+proto", "application/grpc-web",
    "application/grpc-web+proto", "application/grpc-web-text", "application/grpc-web-text+json",
    "application/connect+json", "application/jsonl", "application/stream+json",
]  # fmt: skip
WHOLE = [
    "", "text/html", "application/json", "application/problem+json", "multipart/form-data",
    "text/event-streams", "application/json; a=application/x-ndjson", "text/plain;text/event-stream",
    "application/grpc2", "application/x-ndjson2", "x-ndjson", ";application/x-ndjson",
]  # fmt: skip
SPACE = st.text(" \t", max_size=2)
REST = st.sampled_from(["", ";", ";charset=utf-8", '; boundary="a;b"', ";a=b;c=d"])


def is_stream(content_type: bytes) -> bool:
    return bool(lib.blitz_is_stream_type(content_type, len(content_type)))


@settings(deadline=None)
@given(st.sampled_from(STREAMS), st.lists(st.booleans(), min_size=40, max_size=40), SPACE, SPACE, REST)
def test_a_stream_however_it_is_spelled(
    name: str, capitals: list[bool], before: str, behind: str, rest: str
) -> None:
    spelled = "".join(c.upper() if big else c for c, big in zip(name, capitals, strict=False))
    assert is_stream(f"{before}{spelled}{behind}{rest}".encode())


@pytest.mark.parametrize("name", WHOLE)
def test_what_is_no_stream(name: str) -> None:
    assert not is_stream(name.encode())


@settings(deadline=None)
@given(st.binary(max_size=40))
def test_any_bytes_are_a_stream_or_not(value: bytes) -> None:
    assert is_stream(value) in (True, False)
