"""What the router lets pass, a real nginx reads: what it finds under /admin was routed to /admin.

Three readers: nginx as it comes, one that keeps slashes apart, and one behind another that hands on the path
decoded, so that it is decoded twice. Skipped where nginx is not installed; CI has it.
"""

from __future__ import annotations

import random
import shutil
import socket
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import wasmtime

from blitz.config import Plugin, Route
from blitz.errors import ClientError
from blitz.routing.match import Router, Rule
from tests.server.harness import rig
from tests.server.test_plugins import HEAD, REQUEST

from ..ports import free_port

NGINX = shutil.which("nginx", path="/usr/sbin:/usr/local/sbin:/usr/bin:/bin")
pytestmark = pytest.mark.skipif(NGINX is None, reason="nginx is not installed")
ROOT = Path(__file__).resolve().parents[2]

CONFIG = """
daemon off; master_process off; pid {folder}/pid; error_log {folder}/error.log crit;
events {{ worker_connections 64; }}
http {{
    access_log off; keepalive_requests 1000000; large_client_header_buffers 4 32k;
    client_body_temp_path {folder}/b; proxy_temp_path {folder}/p; fastcgi_temp_path {folder}/f;
    uwsgi_temp_path {folder}/u; scgi_temp_path {folder}/s;
    server {{
        listen 127.0.0.1:{ports[0]};
        location / {{ return 200 root; }}
        location = /admin {{ return 200 admin; }}
        location /admin/ {{ return 200 admin; }}
    }}
    server {{
        listen 127.0.0.1:{ports[1]}; merge_slashes off;
        location / {{ return 200 root; }}
        location = /admin {{ return 200 admin; }}
        location /admin/ {{ return 200 admin; }}
    }}
    server {{
        listen 127.0.0.1:{ports[2]};
        location / {{ proxy_pass http://127.0.0.1:{ports[0]}$uri; }}
    }}
}}
"""
ROUTER = Router([Rule(b"", b"/", "root"), Rule(b"", b"/admin", "admin"), Rule(b"", b"/public", "public")])


@pytest.fixture(scope="module")
def ports(tmp_path_factory: pytest.TempPathFactory) -> Iterator[list[int]]:
    folder = tmp_path_factory.mktemp("nginx")
    ports = [free_port() for _ in range(3)]
    (folder / "nginx.conf").write_text(CONFIG.format(folder=folder, ports=ports))
    assert NGINX is not None
    process = subprocess.Popen([NGINX, "-p", folder, "-c", folder / "nginx.conf"], stderr=subprocess.DEVNULL)
    try:
        for _ in range(200):
            try:
                socket.create_connection(("127.0.0.1", ports[0])).close()
                break
            except OSError:
                time.sleep(0.02)
        yield ports
    finally:
        process.terminate()
        process.wait(10)


class Reader:
    """One keep-alive connection to an nginx; opened anew when it has closed it."""

    def __init__(self, port: int) -> None:
        self.port = port
        self.connection: socket.socket | None = None

    def read(self, path: bytes) -> str:
        """``root``, ``admin``, or the status."""
        if self.connection is None:
            self.connection = socket.create_connection(("127.0.0.1", self.port), timeout=10)
        self.connection.sendall(b"GET " + path + b" HTTP/1.1\r\nHost: test\r\n\r\n")
        data = b""
        while b"\r\n\r\n" not in data:
            data += (more := self.connection.recv(65536))
            if not more:
                break
        head, _, body = data.partition(b"\r\n\r\n")
        length = int(head.lower().partition(b"content-length:")[2].split(b"\r\n")[0])
        while len(body) < length:
            body += self.connection.recv(65536)
        if b"connection: close" in head.lower():
            self.close()
        status = head.split()[1].decode()
        return body.decode() if status == "200" else status

    def close(self) -> None:
        if self.connection is not None:
            self.connection.close()
            self.connection = None


def found(path: bytes) -> str:
    try:
        return ROUTER.find(b"test", path) or "none"
    except ClientError:
        return "400"


SEPARATORS = [
    b"/",
    b"//",
    b"%2f",
    b"%2F",
    b"%5c",
    b";/",
    b"%252f",
    b"/./",
    b"/%2e/",
    b"/x/../",
    b"/x%2f../",
    b";a=%2f",
]
LETTERS = [
    b"admin",
    b"%61dmin",
    b"a%64min",
    b"Admin",
    b"%2561dmin",
    b"adm%69n",
    b"ADMIN",
    b"admin.",
    b"admin%20",
]
OTHERS = [
    b"..",
    b"%2e%2e",
    b".%2e",
    b"..;",
    b"..;a",
    b"%252e%252e",
    b"x",
    b"public",
    b".",
    b"",
    b"%3f",
    b"%23",
    b"%20",
]


def random_path(chance: random.Random) -> bytes:
    path = b"/"
    for _ in range(chance.randint(1, 6)):
        path += chance.choice(chance.choice([LETTERS, OTHERS, OTHERS])) + chance.choice(SEPARATORS)
    return path + chance.choice([b"", b"", *LETTERS, *OTHERS])


def read_all(ports: list[int], seed: int, count: int) -> dict[str, int]:
    chance = random.Random(seed)
    readers = [Reader(port) for port in ports]
    seen: dict[str, int] = {}
    try:
        for _ in range(count):
            path = random_path(chance)
            route = found(path)
            if route == "400":
                continue
            for reader in readers:
                read = reader.read(path)
                assert read != ("root" if route == "admin" else "admin"), (path, route, reader.port)
                seen[f"{route}-{read}"] = seen.get(f"{route}-{read}", 0) + 1
    finally:
        for reader in readers:
            reader.close()
    return seen


def test_nginx_finds_under_admin_only_what_was_routed_there(ports: list[int]) -> None:
    seen = read_all(ports, 1, 6000)
    assert seen["admin-admin"] > 20 and seen["root-root"] > 100, seen


@pytest.mark.slow
def test_nginx_finds_under_admin_only_what_was_routed_there_at_length(ports: list[int]) -> None:
    read_all(ports, 2, 50_000)


def rows() -> list[list[str]]:
    text = (
        (ROOT / "docs" / "http.md")
        .read_text()
        .split("<!-- paths: begin -->")[1]
        .split("<!-- paths: end -->")[0]
    )
    return [[cell.strip() for cell in line.split("|")[1:-1]] for line in text.splitlines() if "| `/" in line]


def test_the_documented_table_is_true(ports: list[int]) -> None:
    reader = Reader(ports[0])
    assert len(rows()) > 15
    for rule, example, blitz, nginx, _ in rows():
        path = example.strip("`").encode()
        ours = {"400": "400", "`/admin`": "admin", "`/`": "root"}[blitz]
        if b"%00" not in path:  # that is refused before anybody looks for a route
            assert found(path) == ours, rule
        assert reader.read(path) == {"yes": "admin", "no": "root", "400": "400"}[nginx], rule
    reader.close()


async def test_no_spelling_passes_the_guard_in_front_of_a_real_nginx(
    ports: list[int], tmp_path: Path
) -> None:
    guard = tmp_path / "guard.wasm"
    guard.write_bytes(wasmtime.wat2wasm(f"(module {HEAD} {REQUEST} (i32.const 1)))"))
    chance = random.Random(3)
    paths = [b"/admin/x", b"/x", *(random_path(chance) for _ in range(300))]
    upstream = f"http://127.0.0.1:{ports[0]}"
    routes = [
        Route(upstream=upstream, plugins=[]),
        Route(path_prefix="/admin", upstream=upstream, plugins=["guard"]),
    ]
    bodies = []
    async with rig(routes=routes, plugins=[Plugin(name="guard", file=str(guard))]) as test:
        client = await test.connect()
        for path in paths:
            await client.send(b"GET " + path + b" HTTP/1.1\r\nHost: test\r\n\r\n")
            status, fields, body = await client.answer()
            bodies.append(body)
            assert body != b"admin", path
            if status >= 400 or fields.get("connection") == "close":
                client = await test.connect()
    assert bodies[0] == b"" and bodies[1] == b"root" and bodies.count(b"root") > 20
