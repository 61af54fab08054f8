"""What routes may have in front of their upstream, by name: keys of route and upstream, and ``[auth]``.

Of the filters, those in SLOW are asked on the general path only, whatever drives the connection.
"""

from __future__ import annotations

import functools
import tempfile
import time
from base64 import b64encode
from contextlib import suppress
from pathlib import Path
from typing import Any

import trio

from blitz.config import Auth, BasicAuth, Cors, JwtAuth, RateLimit
from blitz.config.retry_keys import Mirror, Retry
from blitz.config.route_keys import HeaderEdits, Rewrite
from tests.builtin.issuer import AUDIENCE, ISSUER, claims, jwks, key, token
from tests.http_suite.wire import WireError, parse_request

__all__ = [
    "CREDENTIALS",
    "FILTERS",
    "SLOW",
    "auths",
    "credentials",
    "of_route",
    "of_upstream",
    "serve_copies",
]

SLOW = ("auth", "cors", "rate")
FILTERS = ("edits", "ip", "least_conn", "mirror", "redirect", "retry", "rewrite", *SLOW)
CREDENTIALS = ("", "jwt", "basic", "wrong")
NAME, PASSWORD = "ada", "correct horse"
EDITS = {
    "request_headers": HeaderEdits(
        set={
            "x-edit": "${request.method} ${path} ${query} ${client.address} ${client.scheme} ${request.id}",
            "x-who": "${route.name} ${identity} ${jwt.iss}",
        },
        add={"x-case": "of ${request.host}"},
        remove=["cookie", "referer"],
    ),
    "response_headers": HeaderEdits(
        set={"x-status": "${response.status} by ${upstream.address}"},
        add={"x-case": "${request.target}"},
        remove=["server"],
    ),
}
ON = ["connect", "reset", "503"]


def of_route(filters: tuple[str, ...]) -> dict[str, Any]:
    """Keys of a route that has *filters*."""
    keys: dict[str, Any] = {}
    if "edits" in filters:
        keys |= EDITS
    if "ip" in filters:
        keys |= {"ip_allow": ["127.0.0.0/8", "203.0.113.0/24", "::1"], "ip_deny": ["203.0.113.9"]}
    if "mirror" in filters:
        keys["mirror"] = Mirror(upstream="copies", percent=50)
    if "retry" in filters:
        keys["retry"] = Retry(attempts=2, on=ON, budget="100%")
    if "rewrite" in filters:
        keys["rewrite"] = Rewrite(path="/up${path}")
    if "same-path" in filters:
        keys["rewrite"] = Rewrite(path="${path}")
    if "auth" in filters:
        keys["auth"] = "either"
    if "cors" in filters:
        keys["cors"] = Cors(origins=["https://app.example"], credentials=True, expose=["x-case"])
    if "rate" in filters:
        keys["rate_limit"] = RateLimit(rate="900000/s", key="identity" if "auth" in filters else "client")
    return keys


def of_upstream(filters: tuple[str, ...]) -> dict[str, Any]:
    return {"lb": "least_conn"} if "least_conn" in filters else {}


def auths(filters: tuple[str, ...]) -> dict[str, Auth]:
    if "auth" not in filters:
        return {}
    keys, users = _files()
    jwt = JwtAuth(
        jwks_file=keys, issuer=ISSUER, audiences=[AUDIENCE], algorithms=["ES256"], headers={"x-user": "sub"}
    )
    return {
        "idp": Auth(jwt=jwt),
        "staff": Auth(basic=BasicAuth(users_file=users, header="x-user")),
        "either": Auth(any=["idp", "staff"]),
    }


def credentials(kind: str) -> bytes:
    """A field line with them; *kind* is one of CREDENTIALS."""
    if not kind:
        return b""
    if kind == "jwt":
        return b"Authorization: Bearer " + _token() + b"\r\n"
    password = PASSWORD if kind == "basic" else "guessed"
    return b"Authorization: Basic " + b64encode(f"{NAME}:{password}".encode()) + b"\r\n"


@functools.cache
def _token() -> bytes:
    return token(claims(exp=int(time.time()) + 86_400), kind="P-256").encode()


_directory = functools.cache(tempfile.TemporaryDirectory)  # until the process ends


@functools.cache
def _files() -> tuple[str, str]:
    import bcrypt

    directory = Path(_directory().name)
    keys, users = directory / "keys.json", directory / "users"
    keys.write_bytes(jwks(key("P-256")))
    users.write_bytes(f"{NAME}:".encode() + bcrypt.hashpw(PASSWORD.encode(), bcrypt.gensalt(4)) + b"\n")
    return str(keys), str(users)


async def serve_copies(stream: trio.SocketStream) -> None:
    """Where mirrors send copies: whoever compares plays must not find them among what the upstream got."""
    data = bytearray()
    with suppress(OSError, trio.BrokenResourceError, trio.ClosedResourceError, WireError):
        async with stream:
            while part := await stream.receive_some():
                data += part
                while (request := parse_request(bytes(data))) is not None and request.complete:
                    del data[: request.size]
                    await stream.send_all(b"HTTP/1.1 204 No Content\r\n\r\n")
