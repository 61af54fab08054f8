"""What an upstream says behind its answer is told of alike, whichever driver reads it, and when."""

from __future__ import annotations

import pytest

from tests.http_suite.case import Case, Script

from .compare import compare, play
from .settings import Setting

BEHIND = b"HTTP/1.1 200 OK\r\nContent-Length: 8\r\n\r\nsmuggled"


@pytest.mark.parametrize("size", [10, 20_000])
@pytest.mark.parametrize("fields", [b"", b"Connection: close\r\n"], ids=["stays", "closes"])
def test_only_what_would_have_met_another_request_is_told_of(size: int, fields: bytes) -> None:
    """Behind an answer that ends its connection nobody is asked any more: nothing can be mistaken there."""
    head = b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n%b\r\n" % (size, fields)
    request = b"GET /T0KEN HTTP/1.1\r\nHost: gw.test\r\n\r\n"
    case = Case("unasked", "", (request,), (), (Script((head + b"z" * size + BEHIND,)),))
    differences = compare([case], Setting(), ("fast", "general"))
    assert not differences, "\n".join(map(str, differences))
    for driver in ("fast", "general"):
        seen = play([case], Setting(), [driver])[driver][case.id]
        told = [line for line in seen["log"] if "nobody had asked for" in line]
        assert len(told) == (not fields)
        assert seen["links"] == ("1 requests, ended",)


@pytest.mark.parametrize(
    "plugins", [(), ("response",), ("whole",), ("response", "request", "reads")], ids="-".join
)
@pytest.mark.parametrize("fields", [b"", b"Connection: close\r\n"], ids=["stays", "closes"])
def test_a_response_without_content_that_has_some_is_told_of(plugins: tuple[str, ...], fields: bytes) -> None:
    """Also where a plugin puts a body of its own in its place."""
    answer = b"HTTP/1.1 304 Not Modified\r\nContent-Length: 3\r\nx-a: b\r\n%b\r\nabc" % fields
    request = b"POST /T0KEN HTTP/1.1\r\nHost: gw.test\r\nContent-Length: 4\r\n\r\nbody"
    case = Case("unasked", "", (request,), (), (Script((answer,)),))
    setting = Setting(plugins=plugins)
    differences = compare([case], setting, ("fast", "general"))
    assert not differences, "\n".join(map(str, differences))
    seen = play([case], setting, ["fast"])["fast"][case.id]
    assert len([line for line in seen["log"] if "nobody had asked for" in line]) == (not fields)
