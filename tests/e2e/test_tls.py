"""The clients' round and the large bodies once more, over TLS: each client has a TLS of its own."""

from __future__ import annotations

import hashlib
import http.client
import json
import os
import shutil
import ssl
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import trustme

from ..ports import free_port
from .conftest import LARGE, ROOT, Process
from .origin import blob
from .test_clients import (
    EXPECTED,
    NEEDS_CURL,
    with_aiohttp,
    with_curl,
    with_go,
    with_httpx,
    with_node,
    with_requests,
)

MAX_GROWTH = 32 * 1024 * 1024
TRUST = ("SSL_CERT_FILE", "REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE", "NODE_EXTRA_CA_CERTS")


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A certificate authority that every client believes while the module runs; the directory it is in."""
    directory = tmp_path_factory.mktemp("tls")
    ca = trustme.CA()
    ca.cert_pem.write_to_path(str(directory / "ca.pem"))
    ca.issue_cert("127.0.0.1").private_key_and_cert_chain_pem.write_to_path(str(directory / "server.pem"))
    before = {name: os.environ.get(name) for name in TRUST}
    os.environ.update(dict.fromkeys(TRUST, str(directory / "ca.pem")))
    yield directory
    for name, value in before.items():
        if value is None:
            del os.environ[name]
        else:
            os.environ[name] = value


@pytest.fixture(scope="module")
def gateway(origin: Process, authority: Path) -> Iterator[Process]:
    port = free_port()
    settings = {
        "listen": f'[{{ address = "127.0.0.1:{port}", tls = true }}]',
        "tls.certs": f'[{{ cert = "{authority / "server.pem"}" }}]',
    }
    words = [word for key, value in settings.items() for word in ("--set", f"{key}={value}")]
    process = Process("-m", "blitz", "proxy", f"127.0.0.1:{port}", origin.url, *words, port=port)
    process.url = f"https://127.0.0.1:{port}"
    yield process
    code, output = process.stop()
    assert code == 0, output
    assert "Traceback" not in output, output


@pytest.mark.parametrize(
    "client", [with_requests, with_httpx, with_aiohttp, pytest.param(with_curl, marks=NEEDS_CURL)]
)
def test_client_sees_what_the_origin_said(client: Any, gateway: Process) -> None:
    # In a process of its own: some decide whom to believe when they are imported.
    name = client.__name__
    program = (
        f"import json; from tests.e2e.test_clients import {name}; print(json.dumps({name}({gateway.url!r})))"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], cwd=ROOT, capture_output=True, timeout=120, check=False
    )
    assert done.returncode == 0, done.stderr.decode()
    assert json.loads(done.stdout) == EXPECTED


@pytest.mark.toolchain
@pytest.mark.parametrize(("program", "client"), [("go", with_go), ("node", with_node)])
def test_client_in_another_language(program: str, client: Any, gateway: Process) -> None:
    if shutil.which(program) is None:
        pytest.skip(f"{program} is not installed")
    assert client(gateway.url) == EXPECTED


@pytest.fixture
def connection(gateway: Process, authority: Path) -> Iterator[http.client.HTTPSConnection]:
    """A connection to a gateway that is warm; its memory is looked at again at the end."""
    context = ssl.create_default_context(cafile=str(authority / "ca.pem"))
    warm = http.client.HTTPSConnection("127.0.0.1", gateway.port, timeout=60, context=context)
    warm.request("GET", "/bytes/1000000")
    warm.getresponse().read()
    before = gateway.resident()
    yield warm
    warm.close()
    assert max(0, gateway.peak() - before) < MAX_GROWTH, "memory grew with the body"


@pytest.mark.parametrize("framing", ["length", "chunked", "close"])
def test_download(connection: http.client.HTTPSConnection, sha256: str, framing: str) -> None:
    connection.request("GET", f"/bytes/{LARGE}/{framing}")
    answer = connection.getresponse()
    digest, size = hashlib.sha256(), 0
    while part := answer.read(1 << 20):
        digest.update(part)
        size += len(part)
    assert (size, digest.hexdigest()) == (LARGE, sha256)


@pytest.mark.parametrize("framing", ["length", "chunked"])
def test_upload(connection: http.client.HTTPSConnection, sha256: str, framing: str) -> None:
    headers = {"Content-Length": str(LARGE)} if framing == "length" else {}
    connection.request(
        "POST", "/digest", body=blob(LARGE), headers=headers, encode_chunked=framing == "chunked"
    )
    report = json.loads(connection.getresponse().read())
    assert report == {"size": LARGE, "sha256": sha256, "method": "POST"}
