"""Before a contender is measured: does it do the job? One request, its answer and what reached the origin."""

from __future__ import annotations

import http.client
import secrets
from collections.abc import Callable

from .errors import BenchError

__all__ = ["CHECKS", "fetch"]

FIXED_SIZE = 128


def fetch(
    port: int, path: str, headers: dict[str, str] | None = None, *, timeout: float = 20.0
) -> tuple[int, bytes]:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=timeout)
    try:
        connection.request("GET", path, headers=headers or {})
        response = connection.getresponse()
        return response.status, response.read()
    except (OSError, http.client.HTTPException) as exc:
        raise BenchError(f"GET {path} failed: {exc!r}") from exc
    finally:
        connection.close()


def _fixed(port: int) -> None:
    status, body = fetch(port, "/")
    if status != 200 or body != b"o" * FIXED_SIZE:
        raise BenchError(
            f"a fixed answer should be 200 with {FIXED_SIZE} times 'o'; got {status} with {body[:100]!r}"
        )


def _proxy(port: int) -> None:
    status, body = fetch(port, "/echo?a=1", {"x-user": "someone"})
    if status != 200 or not body.startswith(b"GET /echo?a=1 HTTP/1.1\r\n") or b"someone" not in body:
        raise BenchError(
            f"a proxied request did not reach the origin as sent; got {status} with {body[:300]!r}"
        )


def _sets(count: int) -> Callable[[int], None]:
    def check(port: int) -> None:
        value = secrets.token_hex(8)
        status, body = fetch(port, "/echo", {"x-user": value})
        lines = body.lower().split(b"\r\n")
        for n in range(1, count + 1):
            if status != 200 or f"x-seen-{n}: {value}".encode() not in [
                line.replace(b":  ", b": ") for line in lines
            ]:
                raise BenchError(f"plugin {n} did not set its header; the origin saw {status} {body[:600]!r}")

    return check


def _good(port: int) -> None:
    status, body = fetch(port, "/good")
    if (status, body) != (200, b"good\n"):
        raise BenchError(f"/good should be 200 with 'good'; got {status} with {body[:100]!r}")


CHECKS: dict[str, Callable[[int], None]] = {
    "fixed": _fixed,
    "proxy": _proxy,
    "plugin": _sets(1),
    "chain3": _sets(3),
    "isolation": _sets(1),
    "crowd": _proxy,
    "faults": _good,
}
