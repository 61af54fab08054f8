"""What the example plugins of every SDK must do: ``hello``, the first plugin of its README, and ``probe``,
which calls every kind of host function."""

from __future__ import annotations

from .blitz_host import BlitzPlugin
from .reference_host import Message


def check_hello(plugin: BlitzPlugin, greeting: str) -> None:
    assert not plugin.plugin.has_response
    passed = plugin.request("GET", "/a", Message([("accept", "*/*")]))
    assert (passed.verdict, passed.headers) == (0, [("accept", "*/*"), ("x-hello", greeting)])
    refused = plugin.request("GET", "/private/a", Message())
    assert (refused.verdict, refused.status, refused.body) == (1, 403, "not for you\n")


def check_probe(plugin: BlitzPlugin) -> None:
    """*plugin* was started with the variable PROBE_NAME=näme."""
    assert plugin.logs == [("debug", "probe starts")]
    message = Message([("x-echo", "e" * 5000)], {"client.address": "192.0.2.7"})
    passed = plugin.request("PUT", "/a?b", message)
    assert passed.verdict == 0
    assert dict(passed.headers) == {
        "x-seen": "PUT /a?b",
        "x-name": "näme",
        "x-echo-length": "5000",
        "x-client": "192.0.2.7",
        "x-left": "1",
    }
    answer = plugin.response(404, Message(body="ü" * 100_000))
    assert dict(answer.headers) == {"x-status": "404", "x-body-chars": "100000"}
    assert plugin.request("GET", "/", Message()).verdict == 0
    assert plugin.request("GET", "/", Message()).status == 429
    plugin.logs.clear()
    assert plugin.cleanup() == 0
    assert plugin.logs == [("info", "probe ends")]


def check_refused(plugin: BlitzPlugin) -> None:
    """*plugin* was started with the config refuse = "not today"."""
    assert plugin.init_result != 0
    assert plugin.logs == [("debug", "probe starts"), ("error", "not today")]


def exercise(plugin: BlitzPlugin, count: int) -> None:
    """Exchanges with arguments and values of many sizes."""
    for number in range(count):
        plugin.request("GET", "/" + "p" * (number % 300), Message([("x-echo", "e" * (number % 3000))]))
        plugin.response(200, Message(body="b" * (number % 7 * 20_000)))
