"""What logs, guests and answers say of an exchange, where the drivers once said different things."""

from __future__ import annotations

import json

import pytest

from tests.http_suite.case import Case, Pause, Script

from .compare import compare, play
from .record import Record
from .settings import Setting

DRIVERS = ("fast", "general")
HOST = b"Host: gw.test\r\n"
STALLS = Script((Pause(1.5),))


def case(name: str, head: bytes, *upstream: Script, method: bytes = b"GET") -> Case:
    request = method + b" /T0KEN HTTP/1.1\r\n" + HOST + head + b"\r\n"
    return Case(f"told/{name}", "", (request,), (), upstream, methods=(method,))


def both(setting: Setting, one: Case) -> Record:
    """What was seen of *one*, which is the same over both drivers."""
    differences = compare([one], setting, DRIVERS)
    assert not differences, "\n".join(map(str, differences))
    return play([one], setting, ["fast"])["fast"][one.id]


@pytest.mark.parametrize("by_path", [False, True])
def test_plugins_before_routing_see_the_same_route(by_path: bool) -> None:
    setting = Setting(plugins=("both", "both"), before=1, by_path=by_path)
    seen = both(setting, case("route", b"x-a: v\r\nx-b: v\r\n"))
    first, second = seen["guests"][:2]
    assert ("route.name=- " if by_path else "route.name=all ") in first
    assert "route.name=all " in second


def test_a_late_upstream_is_told_with_the_id_the_client_and_the_endpoint_that_others_saw() -> None:
    setting = Setting(
        timeouts=(("first_byte", 0.3),),
        http=(("request_id_header", "X-Request-Id"),),
        plugins=("request",),
        trusted=True,
    )
    head = b"x-a: v\r\nX-Forwarded-For: 203.0.113.9\r\n"
    seen = both(setting, case("late", head, STALLS))
    assert "504 Gateway Timeout\nrequest ID0\n" in seen["client"][0]
    assert "X-Request-Id: ID0\r\n" in seen["upstream"][0]
    assert "client.address=203.0.113.9 request.id=ID0 " in seen["guests"][0]
    line = json.loads(seen["access"][0])
    assert (line["id"], line["client"], line["upstream"]) == ("ID0", "203.0.113.9", "127.0.0.1:PORT")
    (log,) = [line for line in seen["log"] if " answered " in line]  # beside what is said of the endpoint
    assert "from 203.0.113.9 answered 504" in log
    assert "request ID0, route all, upstream 127.0.0.1:PORT" in log


@pytest.mark.parametrize(("method", "sent"), [(b"HEAD", 0), (b"GET", len("edited by a"))])
def test_the_answer_of_a_plugin_is_logged_with_the_bytes_that_were_sent(method: bytes, sent: int) -> None:
    seen = both(Setting(plugins=("request",)), case("answer", b"x-a: b!\r\n", method=method))
    line = json.loads(seen["access"][0])
    assert (line["status"], line["sent"], line["plugin"]) == (200, sent, "a")
    assert not seen["upstream"]


def test_a_difference_is_found() -> None:
    """What two drivers really do otherwise is reported: one is told the scheme of its clients by TLS."""
    differences = compare([case("scheme", b"")], Setting(), ("general", "general-tls"))
    assert {each.section for each in differences} == {"upstream", "access"}


def test_a_driver_is_forced() -> None:
    plain = Setting()
    on_it, off_it = (play([case("get", b"")], plain, [name])[name] for name in DRIVERS)
    assert on_it == off_it
