"""Certificates from a real authority: Pebble, which Let's Encrypt tests clients with, and its DNS server."""

from __future__ import annotations

import contextlib
import json
import os
import re
import shutil
import ssl
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
import trio
import trustme

from ..cli.commands import Running, environment
from ..ports import free_port

pytest.importorskip("acme")
pytestmark = pytest.mark.toolchain

VERSION = "v2.10.3"
MODULE = "github.com/letsencrypt/pebble/v2/cmd"


@pytest.fixture(scope="module")
def programs() -> Path:
    """Pebble and pebble-challtestsrv, built by Go into the cache."""
    if not _go_is_new_enough():
        pytest.skip("building Pebble needs Go 1.21 or newer")
    cache = Path(os.environ.get("BLITZ_CACHE") or Path.home() / ".cache" / "blitz")
    home = cache / f"pebble-{VERSION}"
    for name in ("pebble", "pebble-challtestsrv"):
        if not (home / name).exists():
            home.mkdir(parents=True, exist_ok=True)
            command = ["go", "install", f"{MODULE}/{name}@{VERSION}"]
            subprocess.run(command, check=True, capture_output=True, env=os.environ | {"GOBIN": str(home)})
    return home


def _go_is_new_enough() -> bool:
    """Those get the toolchain that a module asks for."""
    if shutil.which("go") is None:
        return False
    said = subprocess.run(["go", "version"], capture_output=True, text=True, check=True).stdout
    found = re.search(r"go1\.([0-9]+)", said)
    return found is not None and int(found[1]) >= 21


@dataclass(frozen=True)
class Authority:
    """A Pebble that runs. directory: its URL; ca: who signs its own certificate; management: its URL."""

    directory: str
    ca: str
    management: str
    http_port: int
    tls_port: int

    def root(self) -> str:
        """PEM of the root that signs what it issues."""
        context = ssl.create_default_context(cafile=self.ca)
        with urllib.request.urlopen(f"{self.management}/roots/0", context=context, timeout=20) as response:
            return response.read().decode()


@pytest.fixture
def pebble(programs: Path, tmp_path: Path) -> Iterator[Authority]:
    ca = trustme.CA()
    own = ca.issue_cert("localhost")
    ca.cert_pem.write_to_path(tmp_path / "ca.pem")
    own.cert_chain_pems[0].write_to_path(tmp_path / "own.pem")
    own.private_key_pem.write_to_path(tmp_path / "own.key")
    listen, management, http, tls, dns = (free_port() for _ in range(5))
    said = {
        "listenAddress": f"127.0.0.1:{listen}",
        "managementListenAddress": f"127.0.0.1:{management}",
        "certificate": str(tmp_path / "own.pem"),
        "privateKey": str(tmp_path / "own.key"),
        "httpPort": http,
        "tlsPort": tls,
        "ocspResponderURL": "",
        "externalAccountBindingRequired": False,
    }
    (tmp_path / "pebble.json").write_text(json.dumps({"pebble": said}))
    off = ["-http01", "", "-https01", "", "-tlsalpn01", "", "-doh", "", "-management", ""]
    names = [programs / "pebble-challtestsrv", *off, "-dnsserver", f"127.0.0.1:{dns}", "-defaultIPv6", ""]
    pebble = [programs / "pebble", "-config", tmp_path / "pebble.json", "-dnsserver", f"127.0.0.1:{dns}"]
    fast = {"PEBBLE_VA_NOSLEEP": "1", "PEBBLE_WFE_NONCEREJECT": "0"}
    with _running(names, {}, tmp_path / "dns.log"), _running(pebble, fast, tmp_path / "pebble.log"):
        authority = Authority(
            f"https://localhost:{listen}/dir",
            str(tmp_path / "ca.pem"),
            f"https://localhost:{management}",
            http,
            tls,
        )
        _wait(authority)
        yield authority


@contextlib.contextmanager
def _running(command: list[object], env: dict[str, str], log: Path) -> Iterator[None]:
    with open(log, "wb") as output:
        process = subprocess.Popen(
            list(map(str, command)), env=os.environ | env, stdout=output, stderr=subprocess.STDOUT
        )
    try:
        yield
    finally:
        process.kill()
        process.wait()


def _wait(authority: Authority) -> None:
    async def connected() -> None:
        with trio.fail_after(30):
            while True:
                with contextlib.suppress(OSError):
                    authority.root()
                    return
                await trio.sleep(0.1)

    trio.run(connected)


@contextlib.contextmanager
def gateway(
    pebble: Authority, tmp_path: Path, challenge: str, *domains: str, workers: int = 1
) -> Iterator[Running]:
    file = tmp_path / "blitz.toml"
    file.write_text(
        f"""
listen = ["127.0.0.1:{pebble.http_port}", {{ address = "127.0.0.1:{pebble.tls_port}", tls = true }}]
workers = {workers}

[[routes]]
answer = {{ body = "the site" }}

[tls.acme]
domains = {json.dumps(domains)}
directory = "{pebble.directory}"
ca = "ca.pem"
email = "operator@gw.example"
agree_terms = true
challenge = "{challenge}"
storage = "storage"
"""
    )
    process = subprocess.Popen(
        [sys.executable, "-m", "blitz", "run", "-c", str(file)],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        env=environment(),
        text=True,
    )
    running = Running(process)
    try:
        yield running
    finally:
        running.stop()
        assert process.stdout is not None
        process.stdout.close()


def trusted(pebble: Authority, name: str) -> bool:
    """A client that trusts the authority believes the gateway to be *name*, and gets the site."""

    async def ask() -> bool:
        context = ssl.create_default_context(cadata=pebble.root())
        tcp = await trio.open_tcp_stream("127.0.0.1", pebble.tls_port)
        async with tcp:
            stream = trio.SSLStream(tcp, context, server_hostname=name, https_compatible=True)
            await stream.send_all(f"GET / HTTP/1.1\r\nHost: {name}\r\nConnection: close\r\n\r\n".encode())
            return b"".join([part async for part in stream]).endswith(b"the site")

    async def patiently() -> bool:
        with trio.fail_after(60):
            while True:
                with contextlib.suppress(trio.BrokenResourceError, ssl.SSLError):
                    return await ask()
                await trio.sleep(0.2)

    return trio.run(patiently)


@pytest.mark.parametrize("workers", [1, 2])
@pytest.mark.parametrize("challenge", ["http-01", "tls-alpn-01"])
def test_certificates_are_issued_and_taken_up(
    pebble: Authority, tmp_path: Path, challenge: str, workers: int
) -> None:
    names = ("a.gw.example", "b.gw.example")
    with gateway(pebble, tmp_path, challenge, *names, workers=workers) as running:
        for name in names:
            running.wait_for(f"certificate for {name} issued")
            assert trusted(pebble, name)
    storage = tmp_path / "storage"
    assert sorted(one.name for one in storage.iterdir()) == sorted(
        ["account.pem", "certificates", "lock", "pending", "state.json"]
    )
    assert list((storage / "pending").iterdir()) == []
    before = (storage / "certificates" / f"{names[0]}.pem").read_bytes()
    account = (storage / "account.pem").read_bytes()
    with gateway(pebble, tmp_path, challenge, *names) as running:  # it is not ordered again
        assert trusted(pebble, names[0])
        assert not any("issued" in line for line in running.lines)
    assert (storage / "certificates" / f"{names[0]}.pem").read_bytes() == before
    (storage / "certificates" / f"{names[0]}.pem").unlink()
    with gateway(pebble, tmp_path, challenge, *names) as running:  # the account is known to the authority
        running.wait_for(f"certificate for {names[0]} issued")
        assert trusted(pebble, names[0])
    assert (storage / "account.pem").read_bytes() == account


def test_an_authority_that_does_not_see_us_says_so_and_is_asked_later(
    pebble: Authority, tmp_path: Path
) -> None:
    elsewhere = Authority(pebble.directory, pebble.ca, pebble.management, free_port(), pebble.tls_port)
    with gateway(elsewhere, tmp_path, "http-01", "a.gw.example") as running:
        line = running.wait_for("certificate for a.gw.example not issued")
        assert "does not see that the name leads here" in line
        assert "tried again in" in line
    state = json.loads((tmp_path / "storage" / "state.json").read_text())
    assert state["a.gw.example"]["failures"] == 1
    with gateway(elsewhere, tmp_path, "http-01", "a.gw.example") as running:  # a restart does not ask at once
        running.wait_for("listening")
        trio.run(trio.sleep, 3)
        assert not any("not issued" in line for line in running.lines)


def test_an_authority_that_is_not_there_harms_nothing(tmp_path: Path) -> None:
    ca = trustme.CA()
    ca.cert_pem.write_to_path(tmp_path / "ca.pem")
    nobody = Authority(
        f"https://localhost:{free_port()}/dir", str(tmp_path / "ca.pem"), "", free_port(), free_port()
    )
    with gateway(nobody, tmp_path, "http-01", "a.gw.example") as running:
        running.wait_for("certificate for a.gw.example not issued")
        with urllib.request.urlopen(f"http://127.0.0.1:{nobody.http_port}/", timeout=20) as response:
            assert response.read() == b"the site"
