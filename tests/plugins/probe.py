"""What the example plugins of every SDK must do: ``hello``, the first plugin of its README, and ``probe``,
which calls every kind of host function."""

from __future__ import annotations

import random

from .blitz_host import BlitzPlugin
from .reference_host import Message


def check_hello(plugin: BlitzPlugin, greeting: str) -> None:
    assert not plugin.plugin.has_response
    passed = plugin.request("GET", "/a", Message([("accept", "*/*")]))
    assert (passed.verdict, passed.headers) == (0, [("accept", "*/*"), ("x-hello", greeting)])
    for path in private_paths(300):
        refused = plugin.request("GET", path, Message())
        assert (refused.verdict, refused.status, refused.body) == (1, 403, "not for you\n"), path
    for path in OPEN:
        assert plugin.request("GET", path, Message()).verdict == 0, path


OPEN = [
    "/",
    "/a",
    "/privates",
    "/privat",
    "/a/private",
    "/private/..",
    "/private/../a",
    "/Private/x",
    "/?/private",
]
SPELLINGS = [
    *("/private", "/private/", "/private/x", "/private?x", "/%70rivate/x", "//private/x", "/./private/x"),
    *(
        "/a/../private/x",
        "/private%2fx",
        "/private;x",
        "/x/..%2fprivate/x",
        "/x%5C..%5Cprivate",
        "/..;/private",
    ),
    *(
        "/%2e%2E/private",
        "/;a/private/",
        "/private/./x",
        "/private//x/..",
        "/private%3b/x?y=/../..",
        "/private/.."[:-1],
    ),
]


def private_paths(count: int) -> list[str]:
    """Paths that servers find under /private: the ways that were ever used, and *count* by chance."""
    chance = random.Random(5)
    paths = list(SPELLINGS)
    for _ in range(count):
        path = ""
        for _ in range(chance.randint(0, 3)):
            path += chance.choice(
                ["/.", "/", "%2f.", "/;a", "/x/..", "/%2e", "%5Cx/%2E.", "/..", "/x;b%2f..", "/.;c"]
            )
        name = "".join(chance.choice([c, c, f"%{ord(c):02x}", f"%{ord(c):02X}"]) for c in "private")
        end = chance.choice(["", "/", "/x", "%2fx", "%5C", ";v=1", "/x/..", "?a", "/./x", "//x"])
        first = "/" if not path or path[0] == "%" else ""
        paths.append(f"{first}{path}{chance.choice(['/', '%2F', '//']) if path else ''}{name}{end}")
    return paths


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
