"""A body that plugins have read was received, whatever becomes of the request then."""

from __future__ import annotations

import json

import pytest

from tests.http_suite.case import Case

from .compare import compare, play
from .settings import Setting


@pytest.mark.parametrize(("plugins", "size"), [(("reads", "both"), 900), (("both", "reads"), 0)])
def test_a_request_without_a_route_has_the_body_that_was_read(plugins: tuple[str, str], size: int) -> None:
    head = b"POST /bare/../T0KEN HTTP/1.1\r\nHost: gw.test\r\nContent-Length: 900\r\n\r\n"
    case = Case("seen", "", (head + b"z" * 900,), (), (), methods=(b"POST",))
    setting = Setting(plugins=plugins, before=1, by_path=True)
    differences = compare([case], setting, ("fast", "general"))
    assert not differences, "\n".join(map(str, differences))
    line = json.loads(play([case], setting, ["fast"])["fast"][case.id]["access"][0])
    assert (line["status"], line["received"]) == (400, size)
