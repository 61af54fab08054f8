"""PROXY headers and HAProxy, whose protocol it is: what it writes is read, what we write it reads."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import subprocess
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import trio

from blitz.config import Certificate, Listener, Tls, Upstream, UpstreamTls

from ..ports import free_port
from .harness import Client, authority, localhost_certificate, rig
from .test_trust import ask

PROGRAM = shutil.which("haproxy", path=os.environ.get("PATH", "") + ":/usr/sbin")
pytestmark = pytest.mark.skipif(PROGRAM is None, reason="needs haproxy")


DEFAULTS = """
global
    log stderr local0 err
defaults
    mode http
    timeout connect 5s
    timeout client 5s
    timeout server 5s
"""


@contextlib.asynccontextmanager
async def haproxy(directory: Path, port: int, text: str) -> AsyncIterator[None]:
    """HAProxy with a configuration, listening on *port*."""
    assert PROGRAM is not None
    file = directory / "haproxy.cfg"
    file.write_text(DEFAULTS + text)
    process = await trio.lowlevel.open_process(
        [PROGRAM, "-db", "-q", "-f", str(file)], stdin=subprocess.DEVNULL, stderr=None
    )
    try:
        with trio.fail_after(20):
            while True:
                try:
                    await (await trio.open_tcp_stream("127.0.0.1", port)).aclose()
                    break
                except OSError:
                    await trio.sleep(0.02)
        yield
    finally:
        process.send_signal(signal.SIGTERM)
        with trio.CancelScope(shield=True):
            await process.wait()


SENDS = [
    pytest.param("send-proxy", False, id="v1"),
    pytest.param("send-proxy-v2", False, id="v2"),
    pytest.param("send-proxy-v2 proxy-v2-options crc32c,unique-id", False, id="v2-crc32c"),
    pytest.param("send-proxy-v2-ssl-cn", False, id="v2-tlvs"),
    pytest.param("send-proxy-v2 ssl verify none", True, id="v2-before-tls"),
    pytest.param("send-proxy-v2 check check-send-proxy inter 50ms", False, id="v2-with-health-checks"),
]


@pytest.mark.parametrize(("options", "encrypted"), SENDS)
async def test_haproxy_in_front(options: str, encrypted: bool, tmp_path: Path) -> None:
    tls = Tls(certs=[Certificate(cert=localhost_certificate())]) if encrypted else Tls()
    listen = [Listener(address="127.0.0.1:0", tls=encrypted, proxy_protocol=True)]
    async with rig(listen=listen, tls=tls, trusted_proxies=["127.0.0.1"]) as test:
        port = free_port()
        text = f"""
frontend in
    bind 127.0.0.1:{port}
    default_backend out
backend out
    http-reuse never
    server blitz 127.0.0.1:{test.gateway.addresses[0][1]} {options}
"""
        async with haproxy(tmp_path, port, text):
            # From another address than HAProxy's own, so that it matters whose is told.
            sock = trio.socket.socket()
            await sock.bind(("127.0.0.77", 0))
            await sock.connect(("127.0.0.1", port))
            stream = trio.SocketStream(sock)
            client = Client(stream)
            for _ in range(3):
                seen = await ask(client)
                assert seen["x-forwarded-for"] == "127.0.0.77"
                assert seen["x-forwarded-proto"] == ("https" if encrypted else "http")
            await stream.aclose()
            assert test.gateway.statistics().counters.internal_errors == 0


@pytest.mark.parametrize("encrypted", [False, True])
async def test_haproxy_behind(encrypted: bool, tmp_path: Path) -> None:
    port = free_port()
    ssl = f" ssl crt {authority().certificate('127.0.0.1')}" if encrypted else ""
    text = f"""
frontend in
    bind 127.0.0.1:{port} accept-proxy{ssl}
    http-request return status 200 hdr x-src %[src] hdr x-src-port %[src_port] hdr x-dst-port %[dst_port]
"""
    endpoint = f"http{'s' if encrypted else ''}://127.0.0.1:{port}"
    tls = UpstreamTls(ca=authority().file) if encrypted else UpstreamTls()
    upstreams = {"main": Upstream(endpoints=[endpoint], proxy_protocol="v2", tls=tls)}
    async with haproxy(tmp_path, port, text), rig(upstreams=upstreams) as test:
        for _ in range(2):
            client = await test.connect()
            for _ in range(2):
                await client.send(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")
                status, fields, _ = await client.answer()
                assert status == 200
                assert isinstance(client.stream, trio.SocketStream)
                assert fields["x-src"] == "127.0.0.1"
                assert int(fields["x-src-port"]) == client.stream.socket.getsockname()[1]
                assert int(fields["x-dst-port"]) == test.gateway.addresses[0][1]
