"""Clients that people use, each on its own HTTP implementation.

Every client does the same round: it reads a small answer, sends a body with a known length and one
without, reads a large answer in every framing, and asks for what has no body. ``report`` is what it saw.
"""

from __future__ import annotations

import asyncio
import hashlib
import http.client
import io
import json
import shutil
import subprocess
import time
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import pytest

from .conftest import Process
from .origin import blob

CLIENTS = Path(__file__).with_name("clients")
SIZE = 3_000_000
BLOB = b"".join(blob(SIZE))
SHA256 = hashlib.sha256(BLOB).hexdigest()
FRAMINGS = ("length", "chunked", "close")
NEEDS_CURL = pytest.mark.skipif(shutil.which("curl") is None, reason="curl is not installed")

EXPECTED = {
    "fields": True,
    "length": {"size": SIZE, "sha256": SHA256, "method": "POST"},
    "chunked": {"size": SIZE, "sha256": SHA256, "method": "PUT"},
    "down": dict.fromkeys(FRAMINGS, SHA256),
    "head": [200, SIZE],
    "statuses": [204, 404, 500],
}


def digest(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def pieces() -> Iterator[bytes]:
    for at in range(0, SIZE, 70_001):
        yield BLOB[at : at + 70_001]


def with_requests(url: str) -> dict[str, Any]:
    requests = pytest.importorskip("requests")
    with requests.Session() as session:
        return {
            "fields": ["x-test", "a b"]
            in lowered(session.get(f"{url}/fields", headers={"X-Test": "a b"}).json()),
            "length": session.post(f"{url}/digest", data=BLOB).json(),
            "chunked": session.put(f"{url}/digest", data=pieces()).json(),
            "down": {f: digest(session.get(f"{url}/bytes/{SIZE}/{f}").content) for f in FRAMINGS},
            "head": head(session.head(f"{url}/bytes/{SIZE}")),
            "statuses": [session.get(f"{url}/status/{n}").status_code for n in (204, 404, 500)],
        }


def with_httpx(url: str) -> dict[str, Any]:
    httpx = pytest.importorskip("httpx")
    with httpx.Client(timeout=30) as client:
        return {
            "fields": ["x-test", "a b"]
            in lowered(client.get(f"{url}/fields", headers={"X-Test": "a b"}).json()),
            "length": client.post(f"{url}/digest", content=BLOB).json(),
            "chunked": client.put(f"{url}/digest", content=pieces()).json(),
            "down": {f: digest(client.get(f"{url}/bytes/{SIZE}/{f}").content) for f in FRAMINGS},
            "head": head(client.head(f"{url}/bytes/{SIZE}")),
            "statuses": [client.get(f"{url}/status/{n}").status_code for n in (204, 404, 500)],
        }


def with_aiohttp(url: str) -> dict[str, Any]:
    pytest.importorskip("aiohttp")
    return asyncio.run(_with_aiohttp(url))


async def _with_aiohttp(url: str) -> dict[str, Any]:
    import aiohttp

    async def parts() -> AsyncIterator[bytes]:
        for piece in pieces():
            yield piece

    async with aiohttp.ClientSession() as session:

        async def call(method: str, path: str, **more: Any) -> tuple[int, Any, bytes]:
            async with session.request(method, url + path, **more) as answer:
                return answer.status, answer.headers, await answer.read()

        fields = json.loads((await call("GET", "/fields", headers={"X-Test": "a b"}))[2])
        status, headers, _ = await call("HEAD", f"/bytes/{SIZE}")
        return {
            "fields": ["x-test", "a b"] in lowered(fields),
            "length": json.loads((await call("POST", "/digest", data=io.BytesIO(BLOB)))[2]),
            "chunked": json.loads((await call("PUT", "/digest", data=parts()))[2]),
            "down": {f: digest((await call("GET", f"/bytes/{SIZE}/{f}"))[2]) for f in FRAMINGS},
            "head": [status, int(headers["Content-Length"])],
            "statuses": [(await call("GET", f"/status/{n}"))[0] for n in (204, 404, 500)],
        }


def with_curl(url: str) -> dict[str, Any]:
    def curl(*arguments: str, data: bytes = b"") -> bytes:
        command = ["curl", "--silent", "--show-error", "--max-time", "30", *arguments]
        return subprocess.run(command, input=data, capture_output=True, check=True).stdout

    code = ("--output", "/dev/null", "--write-out", "%{http_code}\n")
    urls = [word for n in (204, 404, 500) for word in (*code, f"{url}/status/{n}")]
    heads = curl("--head", f"{url}/bytes/{SIZE}").decode().lower().split("\r\n")
    return {
        "fields": ["x-test", "a b"] in lowered(json.loads(curl("--header", "X-Test: a b", f"{url}/fields"))),
        # Over 1 MiB curl says Expect: 100-continue and waits for it.
        "length": json.loads(curl("--data-binary", "@-", f"{url}/digest", data=BLOB)),
        "chunked": json.loads(curl("--upload-file", "-", f"{url}/digest", data=BLOB)),
        "down": {f: digest(curl(f"{url}/bytes/{SIZE}/{f}")) for f in FRAMINGS},
        "head": [
            int(heads[0].split()[1]),
            next(int(h.split()[1]) for h in heads if h.startswith("content-length")),
        ],
        "statuses": [int(line) for line in curl(*urls).split()],
    }


def with_go(url: str) -> dict[str, Any]:
    return run(["go", "run", str(CLIENTS / "client.go")], url)


def with_node(url: str) -> dict[str, Any]:
    return run(["node", str(CLIENTS / "client.mjs")], url)


def run(command: list[str], url: str) -> dict[str, Any]:
    done = subprocess.run(
        [*command, url, str(SIZE)], input=BLOB, capture_output=True, timeout=120, check=False
    )
    assert done.returncode == 0, done.stderr.decode()
    report: dict[str, Any] = json.loads(done.stdout)
    return report


def head(answer: Any) -> list[int]:
    return [answer.status_code, int(answer.headers["content-length"])]


def lowered(fields: list[list[str]]) -> list[list[str]]:
    return [[name.lower(), value] for name, value in fields]


@pytest.mark.parametrize(
    "client", [with_requests, with_httpx, with_aiohttp, pytest.param(with_curl, marks=NEEDS_CURL)]
)
def test_client_sees_what_the_origin_said(client: Any, gateway: Process) -> None:
    assert client(gateway.url) == EXPECTED


@pytest.mark.toolchain
@pytest.mark.parametrize(("program", "client"), [("go", with_go), ("node", with_node)])
def test_client_in_another_language(program: str, client: Any, gateway: Process) -> None:
    if shutil.which(program) is None:
        pytest.skip(f"{program} is not installed")
    assert client(gateway.url) == EXPECTED


@NEEDS_CURL
def test_curl_reuses_its_connection(gateway: Process) -> None:
    out = ("--output", "/dev/null", "--write-out", "%{num_connects}")
    command = ["curl", "--silent", *(word for _ in range(5) for word in (*out, f"{gateway.url}/fields"))]
    assert subprocess.run(command, capture_output=True, check=True).stdout == b"10000"


@NEEDS_CURL
def test_curl_speaks_http10(gateway: Process) -> None:
    command = ["curl", "--silent", "--http1.0", f"{gateway.url}/bytes/{SIZE}/chunked"]
    assert digest(subprocess.run(command, capture_output=True, check=True).stdout) == SHA256


def test_events_arrive_while_they_are_made(gateway: Process) -> None:
    connection = http.client.HTTPConnection("127.0.0.1", gateway.port, timeout=10)
    started = time.monotonic()
    connection.request("GET", "/events/40")
    answer = connection.getresponse()
    first = answer.read1(65536)
    seconds = time.monotonic() - started
    rest = answer.read()
    connection.close()
    assert (first + rest).count(b"data: event") == 40
    assert seconds < 1.5, "the first event waited for later ones"  # all of them take two seconds
