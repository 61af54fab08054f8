"""200 MB each way: the same bytes, and memory that does not grow with them."""

from __future__ import annotations

import hashlib
import http.client
import json
from collections.abc import Iterator

import pytest

from .conftest import LARGE, Process
from .origin import blob

MAX_GROWTH = 32 * 1024 * 1024


@pytest.fixture
def growth(gateway: Process) -> Iterator[list[int]]:
    """Bytes by which the gateway's memory peaked above where it was."""
    warm = http.client.HTTPConnection("127.0.0.1", gateway.port, timeout=30)
    warm.request("GET", "/bytes/1000000")
    warm.getresponse().read()
    warm.close()
    before = gateway.resident()
    grown: list[int] = []
    yield grown
    assert max(0, gateway.peak() - before) < MAX_GROWTH, "memory grew with the body"


@pytest.mark.parametrize("framing", ["length", "chunked", "close"])
def test_download(gateway: Process, sha256: str, growth: list[int], framing: str) -> None:
    connection = http.client.HTTPConnection("127.0.0.1", gateway.port, timeout=60)
    connection.request("GET", f"/bytes/{LARGE}/{framing}")
    answer = connection.getresponse()
    digest, size = hashlib.sha256(), 0
    while part := answer.read(1 << 20):
        digest.update(part)
        size += len(part)
    connection.close()
    assert (size, digest.hexdigest()) == (LARGE, sha256)


@pytest.mark.parametrize("framing", ["length", "chunked"])
def test_upload(gateway: Process, sha256: str, growth: list[int], framing: str) -> None:
    connection = http.client.HTTPConnection("127.0.0.1", gateway.port, timeout=60)
    headers = {"Content-Length": str(LARGE)} if framing == "length" else {}
    connection.request(
        "POST", "/digest", body=blob(LARGE), headers=headers, encode_chunked=framing == "chunked"
    )
    report = json.loads(connection.getresponse().read())
    connection.close()
    assert report == {"size": LARGE, "sha256": sha256, "method": "POST"}
