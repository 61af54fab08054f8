"""Before a contender is measured: does it do the job? One request, its answer and what reached the origin."""

from __future__ import annotations

import base64
import gzip
import hmac
import http.client
import json
import secrets
import ssl
from collections.abc import Callable

from .errors import BenchError
from .site import FILE, FILE_BODY

__all__ = [
    "API_KEY",
    "CHECKS",
    "CLIENT",
    "ELSEWHERE",
    "FIXED_SIZE",
    "JSON_BODY",
    "KEYS",
    "NETWORKS",
    "TOKEN",
    "fetch",
]

FIXED_SIZE = 128
API_KEY = "0123456789abcdef"
CLIENT = "203.0.113.5"  # as a trusted proxy names it
JSON_BODY = '{"id": 4711, "role":"user", "tags": [' + '"sixteen letters!",' * 51 + '"end"]}'
JSON_BODY += " " * (1024 - len(JSON_BODY))
ELSEWHERE = "https://www.example.org"  # where redirects lead
NETWORKS = [*(f"10.{number}.0.0/16" for number in range(63)), "127.0.0.0/8"]
TOKEN_SECRET = b"0123456789abcdef0123456789abcdef"
REWRITTEN = JSON_BODY.replace('"role":"user"', '"role":"root"')


def _part(value: bytes) -> str:
    return base64.urlsafe_b64encode(value).rstrip(b"=").decode()


def _token() -> str:
    """Signed with the secret (RFC 7515 section 3.1), until the year 2100."""
    header = {"alg": "HS256", "typ": "JWT", "kid": "one"}
    claims = {"iss": "bench", "aud": "bench", "sub": "someone", "exp": 4102444800}
    signed = ".".join(_part(json.dumps(part).encode()) for part in (header, claims))
    return f"{signed}.{_part(hmac.digest(TOKEN_SECRET, signed.encode(), 'sha256'))}"


TOKEN = _token()
KEYS = {"keys": [{"kty": "oct", "kid": "one", "alg": "HS256", "k": _part(TOKEN_SECRET)}]}


def fetch(
    port: int, path: str, headers: dict[str, str] | None = None, *, timeout: float = 20.0
) -> tuple[int, bytes]:
    """GET *path*; -> status and body."""
    status, _, body = _exchange(http.client.HTTPConnection("127.0.0.1", port, timeout=timeout), path, headers)
    return status, body


def _exchange(
    connection: http.client.HTTPConnection,
    path: str,
    headers: dict[str, str] | None = None,
    body: bytes | None = None,
) -> tuple[int, dict[str, str], bytes]:
    try:
        connection.request("GET" if body is None else "POST", path, body, headers=headers or {})
        response = connection.getresponse()
        fields = {name.lower(): value for name, value in response.getheaders()}
        return response.status, fields, response.read()
    except (OSError, http.client.HTTPException) as exc:
        raise BenchError(f"{path} failed: {exc!r}") from exc
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


def _reaches(name: str, sent: dict[str, str], value: str) -> Callable[[int], None]:
    """The origin sees the field *name* with *value* in it."""

    def check(port: int) -> None:
        status, body = fetch(port, "/echo", sent)
        lines = [line for line in body.lower().split(b"\r\n") if line.startswith(f"{name}:".encode())]
        if status != 200 or not any(value.encode() in line for line in lines):
            raise BenchError(f"the origin should see {name} with {value!r}; got {status} {body[:600]!r}")

    return check


def _response_header(port: int) -> None:
    status, fields, _ = _exchange(http.client.HTTPConnection("127.0.0.1", port, timeout=20), "/")
    if status != 200 or fields.get("x-seen-1") != "0123456789abcdef":
        raise BenchError(f"the plugin did not set x-seen-1 on the response; got {status} with {fields}")


def _gzip(port: int) -> None:
    status, fields, body = _exchange(
        http.client.HTTPConnection("127.0.0.1", port, timeout=20), "/json/16384", {"accept-encoding": "gzip"}
    )
    if (status, fields.get("content-encoding")) != (200, "gzip"):
        raise BenchError(f"JSON should come in gzip; got {status} with {fields}")
    if len(text := gzip.decompress(body)) != 16384 or not text.startswith(b'[{"id":0,'):
        raise BenchError(f"JSON of 16384 bytes should come; got {len(text)}: {text[:100]!r}")


def _redirect(port: int) -> None:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=20)
    status, fields, _ = _exchange(connection, "/a/b?c=1")
    if (status, fields.get("location")) != (308, f"{ELSEWHERE}/a/b?c=1"):
        raise BenchError(f"/a/b?c=1 should be led to {ELSEWHERE}/a/b?c=1; got {status} with {fields}")


def _edits(port: int) -> None:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=20)
    status, fields, body = _exchange(connection, "/echo?a=1", {"x-drop": "secret"})
    lines = [line.replace(b":  ", b": ") for line in body.lower().split(b"\r\n")]
    seen = b"x-client: 127.0.0.1" in lines and b"x-path: /echo" in lines and b"secret" not in body
    if status != 200 or not seen or fields.get("x-gateway") != "bench" or fields.get("server") == "origin":
        raise BenchError(f"fields should be set and removed; got {status} with {fields}, {body[:600]!r}")


def _jwt(port: int) -> None:
    wrong = TOKEN[:-2] + ("AA" if TOKEN[-2:] != "AA" else "BB")
    refused = [fetch(port, "/", headers)[0] for headers in ({}, {"authorization": f"Bearer {wrong}"})]
    status, _ = fetch(port, "/", {"authorization": f"Bearer {TOKEN}"})
    if (refused, status) != ([401, 401], 200):
        raise BenchError(f"without its token 401 is right, with it 200; got {refused} and {status}")


def _body(port: int) -> None:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=20)
    status, _, body = _exchange(connection, "/sum", body=JSON_BODY.encode())
    if (status, body) != (200, f"sum {_fnv(REWRITTEN.encode()):08x}\n".encode()):
        raise BenchError(f"the body did not reach the origin rewritten; got {status} with {body[:100]!r}")


def _fnv(data: bytes) -> int:
    value = 2166136261
    for byte in data:
        value = (value ^ byte) * 16777619 % 2**32
    return value


def _built_in(port: int) -> None:
    without, _ = fetch(port, "/echo")
    status, body = fetch(port, "/echo", {"x-api-key": API_KEY})
    if (without, status) != (401, 200) or API_KEY.encode() in body or b"bench" not in body:
        raise BenchError(
            f"without a key 401 is right, with one 200 and no key behind it; got {without}, {status}, "
            f"{body[:600]!r}"
        )


def _tls(port: int) -> None:
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    context.minimum_version = ssl.TLSVersion.TLSv1_3
    connection = http.client.HTTPSConnection("127.0.0.1", port, timeout=20, context=context)
    status, _, body = _exchange(connection, "/")
    if (status, len(body)) != (200, FIXED_SIZE):
        raise BenchError(
            f"a request over TLS should be answered with {FIXED_SIZE} bytes; got {status} {body!r}"
        )


def _static(port: int) -> None:
    status, body = fetch(port, FILE)
    if (status, body) != (200, FILE_BODY):
        raise BenchError(f"{FILE} should be 200 with {len(FILE_BODY)} bytes; got {status} with {len(body)}")


CHECKS: dict[str, Callable[[int], None]] = {
    "fixed": _fixed,
    "proxy": _proxy,
    "plugin": _sets(1),
    "chain3": _sets(3),
    "isolation": _sets(1),
    "crowd": _proxy,
    "faults": _good,
    "passwords": _proxy,
    "json-log": _proxy,
    "request-id": _reaches("x-request-id", {"x-request-id": "forged"}, ""),
    "total": _proxy,
    "endpoints": _proxy,
    "least-conn": _proxy,
    "gzip": _gzip,
    "redirect": _redirect,
    "header-edits": _edits,
    "ip-allow": _proxy,
    "jwt": _jwt,
    "trusted": _reaches("x-forwarded-for", {"x-forwarded-for": CLIENT}, CLIENT),
    "response-header": _response_header,
    "body": _body,
    "built-in": _built_in,
    "tls": _tls,
    "static": _static,
}
