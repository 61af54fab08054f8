"""A request that is refused before its body was read: with all of the body here the connection goes on."""

from __future__ import annotations

import pytest

from tests.http_suite.case import Case, Pause, Script

from .compare import play
from .settings import Setting

NEXT = b"GET /T0KEN/next HTTP/1.1\r\nHost: gw.test\r\n\r\n"
OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"
BODIES = {  # how it is framed, what comes of it, and whether that is all
    "length": (b"Content-Length: 900", b"x" * 900, True),
    "chunked": (b"Transfer-Encoding: chunked", b"384\r\n" + b"x" * 900 + b"\r\n0\r\n\r\n", True),
    "part": (b"Content-Length: 900", b"x" * 899, False),
    "none": (b"Transfer-Encoding: chunked", b"no size\r\n", False),
}


def _case(name: str) -> Case:
    fields, body, whole = BODIES[name]
    head = b"POST /T0KEN HTTP/1.1\r\nHost: gw.test\r\nx-a: L\r\n%b\r\n\r\n" % fields
    steps = (head, Pause(0), body + NEXT * whole)
    methods = (b"POST", b"GET")[: 1 + whole]
    return Case(name, "", steps, (), (Script((OK,)),), methods=methods, answers=1 + whole)


@pytest.mark.parametrize("before", [0, 1])
def test_what_came_while_a_plugin_ran_is_of_the_body(before: int) -> None:
    """It runs until it is stopped, half a second after the head came: what was sent behind that is there."""
    setting = Setting(plugins=("both",), before=before)
    played = play([_case(name) for name in BODIES], setting, ["fast", "general"], len(BODIES))
    for name, (_, _, whole) in BODIES.items():
        assert played["fast"][name] == played["general"][name]
        client = played["fast"][name]["client"]
        assert client[0].startswith("HTTP/1.1 500 "), name
        assert ("\nConnection: close" in client[0]) != whole, name
        assert len(client) == 2 + whole, name
        assert client[-1] == ("then kept" if whole else "then ended"), name
