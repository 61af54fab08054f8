"""``auth.NAME.forward`` with real services: one with aiohttp, and nginx that wants a password."""

from __future__ import annotations

import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import trio

from blitz.config import Auth, ForwardAuth, Route

from ..ports import free_port
from .harness import rig
from .test_basic_auth import credentials
from .test_jwt import told

AIOHTTP = """
import sys
from aiohttp import web

async def verify(request):
    if request.cookies.get("session") != "right":
        raise web.HTTPFound("https://login.example/?to=" + request.headers["X-Forwarded-Uri"])
    return web.Response(text="x" * 20000, headers={"Remote-User": "ada", "Remote-Groups": "a,b"})

app = web.Application()
app.router.add_get("/verify", verify)
web.run_app(app, host="127.0.0.1", port=int(sys.argv[1]), print=None)
"""

NGINX = """
daemon off; master_process off; worker_processes 1; pid DIR/nginx.pid; error_log stderr error;
events { worker_connections 64; }
http {
    access_log off;
    client_body_temp_path DIR/b; proxy_temp_path DIR/p; fastcgi_temp_path DIR/f;
    uwsgi_temp_path DIR/u; scgi_temp_path DIR/s;
    server {
        listen 127.0.0.1:PORT;
        location / {
            auth_basic "house"; auth_basic_user_file DIR/users;
            add_header Remote-User $remote_user;
            try_files /nothing =204;
        }
    }
}
"""


@contextmanager
def running(command: list[str], port: int) -> Iterator[None]:
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL)
    try:
        deadline = time.monotonic() + 20
        while True:
            try:
                socket.create_connection(("127.0.0.1", port), timeout=1).close()
                break
            except OSError:
                assert process.poll() is None
                assert time.monotonic() < deadline
                time.sleep(0.05)
        yield
    finally:
        process.terminate()
        process.wait(20)


async def test_aiohttp_decides() -> None:
    port = free_port()
    with running([sys.executable, "-c", AIOHTTP, str(port)], port):
        forward = ForwardAuth(
            url=f"http://127.0.0.1:{port}/verify",
            response_headers=["remote-user", "remote-groups"],
            timeout=20.0,
        )
        async with rig(
            auth={"sso": Auth(forward=forward)}, routes=[Route(upstream="main", auth="sso")]
        ) as test:
            with trio.fail_after(20):
                for _ in range(3):
                    status, fields, _ = await test.get("/deep?a")
                    assert (status, fields["location"]) == (302, "https://login.example/?to=/deep?a")
                    status, _, body = await test.get("/deep?a", cookie="session=right", remote_user="root")
                    assert status == 200
                    assert told(body)["remote-user"] == "ada"
                    assert told(body)["remote-groups"] == "a,b"


@pytest.mark.skipif(not shutil.which("nginx", path="/usr/sbin:/usr/bin"), reason="nginx is not installed")
async def test_nginx_decides(tmp_path: Path) -> None:
    port = free_port()
    (tmp_path / "users").write_text("ada:{PLAIN}lovelace\n")
    (tmp_path / "nginx.conf").write_text(NGINX.replace("DIR", str(tmp_path)).replace("PORT", str(port)))
    command = ["/usr/sbin/nginx", "-p", str(tmp_path), "-e", "stderr", "-c", str(tmp_path / "nginx.conf")]
    with running(command, port):
        forward = ForwardAuth(
            url=f"http://127.0.0.1:{port}/",
            response_headers=["remote-user"],
            identity="remote-user",
            timeout=20.0,
        )
        async with rig(
            auth={"sso": Auth(forward=forward)}, routes=[Route(upstream="main", auth="sso")]
        ) as test:
            with trio.fail_after(20):
                for _ in range(3):
                    status, fields, _ = await test.get()
                    assert (status, fields["www-authenticate"]) == (401, 'Basic realm="house"')
                    status, _, body = await test.get(authorization=credentials("ada", "lovelace"))
                    assert (status, told(body)["remote-user"]) == (200, "ada")
