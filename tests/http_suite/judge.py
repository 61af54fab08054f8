"""Compare an observation with a case: what every case demands, then its own outcomes."""

from __future__ import annotations

from .case import Case, Expect, Observation, Seen
from .wire import Message, Request, Response

__all__ = ["judge"]

# RFC 9110 section 7.6.1: meant for one connection. Transfer-Encoding is the gateway's own.
HOP_BY_HOP = (b"keep-alive", b"proxy-connection", b"http2-settings")
KEPT_OPTIONS = {b"close", b"keep-alive", b"upgrade", b"te", b"transfer-encoding"}


def judge(case: Case, token: bytes, seen: Observation) -> list[str]:
    """Return what is wrong, in sentences; empty when the case holds."""
    wrong = _always(seen)
    attempts = [_outcome(expect, token, seen) for expect in case.expect]
    if all(attempts):
        nearest: list[str] = min(attempts, key=len)
        wrong += nearest
    return wrong


def _always(seen: Observation) -> list[str]:
    wrong = [f"upstream could not read what it got: {error}" for error in seen.upstream_errors]
    if seen.client_error:
        wrong.append(f"client could not read what it got: {seen.client_error}")
    for arrival in seen.arrivals:
        wrong += [f"upstream got {text}" for text in _connection_level(arrival.request)]
        if b"smuggled" in arrival.request.target:
            wrong.append(f"smuggled request reached the upstream: {arrival.request.target!r}")
        if arrival.request.version != b"HTTP/1.1":
            wrong.append(f"upstream got version {arrival.request.version!r}")
    for response in seen.final:
        wrong += [f"client got {text}" for text in _connection_level(response)]
    if seen.follow_error:
        wrong.append(f"next request on the connection: {seen.follow_error}")
    wrong += [f"next client: {error}" for error in seen.probe_errors]
    wrong += [f"upstream got a request that belongs to nobody: {target!r}" for target in seen.strays]
    return wrong


def _connection_level(message: Message) -> list[str]:
    wrong = [f"connection-level field {name.decode()}" for name in HOP_BY_HOP if message.get(name)]
    options = message.tokens(b"connection")
    upgrading = message.get(b"upgrade") and (
        not isinstance(message, Response) or message.status in (101, 426)
    )
    if message.get(b"upgrade") and b"upgrade" not in options and not isinstance(message, Response):
        wrong.append("Upgrade without Connection: upgrade")
    if b"upgrade" in options and not upgrading:
        wrong.append("Connection: upgrade without Upgrade")
    if message.get(b"te") and b"te" not in options:
        wrong.append("TE without Connection: te")
    for option in options:
        if option not in KEPT_OPTIONS and message.get(option):
            wrong.append(f"field {option.decode('latin-1')} that Connection names")
    return wrong


def _outcome(expect: Expect, token: bytes, seen: Observation) -> list[str]:
    wrong = _responses(expect, seen) + _requests(expect, token, seen)
    if expect.closed is True and seen.kept:
        wrong.append("connection stayed usable, expected close")
    if expect.closed is True and seen.ended == "open" and not seen.kept:
        wrong.append("connection stayed open, expected close")
    if expect.closed is False and seen.kept is False:
        wrong.append("connection was closed, expected keep")
    for name, wire, needles in (
        ("upstream", seen.upstream_bytes, expect.never_up),
        ("client", seen.received, expect.never_down),
    ):
        wrong += [
            f"{name} got forbidden bytes {needle!r}" for needle in needles if needle.lower() in wire.lower()
        ]
    if expect.max_seconds is not None and seen.seconds > expect.max_seconds:
        wrong.append(f"took {seen.seconds:.2f} s, at most {expect.max_seconds} s allowed")
    if expect.check is not None:
        wrong += expect.check(seen)
    return wrong


def _responses(expect: Expect, seen: Observation) -> list[str]:
    wrong = []
    statuses = [response.status for response in seen.final]
    if len(statuses) != len(expect.statuses) or any(
        status not in allowed for status, allowed in zip(statuses, expect.statuses, strict=True)
    ):
        allowed = [sorted(each) for each in expect.statuses]
        wrong.append(f"statuses {statuses}, expected {allowed}")
    if expect.interim is not None and tuple(response.status for response in seen.interim) != expect.interim:
        wrong.append(
            f"interim {[response.status for response in seen.interim]}, expected {list(expect.interim)}"
        )
    if not seen.final:
        return wrong
    last = seen.final[-1]
    if expect.truncated is not None and expect.truncated == last.complete:
        wrong.append("response looks complete" if last.complete else "response was cut short")
    if expect.body is not None and last.body != expect.body:
        wrong.append(f"body is {last.body[:200]!r} ({len(last.body)} bytes), expected {expect.body[:200]!r}")
    for name, value in expect.has:
        if last.get(name) != [value]:
            wrong.append(f"client got {name.decode()} {last.get(name)!r}, expected {value!r}")
    wrong += [f"client got field {name.decode()}" for name in expect.lacks if last.get(name)]
    return wrong


def _requests(expect: Expect, token: bytes, seen: Observation) -> list[str]:
    if expect.seen is None:
        return []
    wrong = []
    complete = [arrival.request for arrival in seen.arrivals if arrival.request.complete]
    if len(complete) != len(expect.seen):
        wrong.append(
            f"upstream saw {len(complete)} complete requests {[r.target for r in complete]}, "
            f"expected {len(expect.seen)}"
        )
    heads = len(expect.seen) if expect.heads is None else expect.heads
    if len(seen.arrivals) > heads:
        wrong.append(f"upstream saw {len(seen.arrivals)} request heads, at most {heads} allowed")
    for request, want in zip(complete, expect.seen, strict=False):
        wrong += _request(want, token, request)
    return wrong


def _request(want: Seen, token: bytes, request: Request) -> list[str]:
    wrong = []
    if want.method is not None and request.method != want.method:
        wrong.append(f"upstream saw method {request.method!r}, expected {want.method!r}")
    if want.target is not None and request.target != want.target.replace(b"T0KEN", token):
        wrong.append(f"upstream saw target {request.target!r}, expected {want.target!r}")
    if want.body is not None and request.body != want.body.replace(b"T0KEN", token):
        wrong.append(
            f"upstream saw body {request.body[:100]!r} ({len(request.body)}), expected {want.body[:100]!r}"
        )
    if want.hosts and request.get(b"host") not in [[host] for host in want.hosts]:
        wrong.append(f"upstream saw Host {request.get(b'host')!r}, expected one of {want.hosts!r}")
    for name, value in want.has:
        if request.get(name) != [value]:
            wrong.append(f"upstream saw {name.decode()} {request.get(name)!r}, expected {value!r}")
    wrong += [f"upstream saw field {name.decode('latin-1')}" for name in want.lacks if request.get(name)]
    if want.trailers is not None and tuple(request.trailers) != want.trailers:
        wrong.append(f"upstream saw trailers {request.trailers!r}, expected {want.trailers!r}")
    return wrong
