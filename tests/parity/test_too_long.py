"""A body over ``max_body_size``: what was too much of it counts nowhere, whichever driver reads it."""

from __future__ import annotations

import json

import pytest

from tests.http_suite.case import Case

from .compare import compare, play
from .settings import Setting

PLUGINS = [(), ("request",), ("reads",)]


@pytest.mark.parametrize("plugins", PLUGINS, ids="-".join)
@pytest.mark.parametrize("sizes", [(1001,), (16000,), (600, 600)], ids=str)
def test_what_is_too_much_is_not_received(plugins: tuple[str, ...], sizes: tuple[int, ...]) -> None:
    head = b"POST /T0KEN HTTP/1.1\r\nHost: gw.test\r\nTransfer-Encoding: chunked\r\n\r\n"
    body = b"".join(b"%x\r\n%b\r\n" % (size, b"z" * size) for size in sizes) + b"0\r\n\r\n"
    case = Case(f"too_long/{sum(sizes)}", "", (head + body,), (), (), methods=(b"POST",))
    setting = Setting(plugins=plugins, max_body=1000)
    differences = compare([case], setting, ("fast", "general"))
    assert not differences, "\n".join(map(str, differences))
    seen = play([case], setting, ["fast"])["fast"][case.id]
    line = json.loads(seen["access"][0])
    assert (line["status"], line["received"], line["cause"]) == (413, 0, "limit")
    assert "over 1000 bytes" in line["error"]
