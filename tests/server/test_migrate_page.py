"""What docs/migrate.md shows of Blitz does what the page says: each listing serves, with its
addresses replaced by ones of this machine, and what it promises is looked at from outside."""

from __future__ import annotations

import contextlib
import re
import shutil
import subprocess
from collections import Counter
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
import trio
import yaml

import blitz
from blitz.config import load_config, resolve
from blitz.errors import ConfigError
from blitz.server.auth_files import load_authenticators

from ..builtin.issuer import KeyServer, claims, jwks, key, token
from ..cli.commands import ROOT
from .fleet import Member
from .harness import Client, FakeUpstream, Served, authority, echo, until
from .test_basic_auth import CHEAP, credentials
from .test_jwt import told

PAGE = (ROOT / "docs" / "migrate.md").read_text(encoding="utf-8")
SECTIONS = dict(part.split("\n", 1) for part in PAGE.split("\n## ")[1:])
PEERS = ("nginx", "Caddy", "Traefik", "Kong", "Envoy")
MAIN = "127.0.0.1:9000"


def listing(section: str) -> str:
    (text,) = re.findall(r"^```toml\n(.*?)^```", SECTIONS[section], re.MULTILINE | re.DOTALL)
    return str(text)


class Site:
    """A running gateway and what stands behind it."""

    def __init__(self, gateway: blitz.Gateway) -> None:
        self.gateway = gateway

    @contextlib.asynccontextmanager
    async def client(self, listener: int = 0, host: str = "") -> AsyncIterator[Client]:
        """A connection; over TLS if *host* is given."""
        with trio.fail_after(20):
            stream: Any = await trio.open_tcp_stream(*self.gateway.addresses[listener])
            if host:
                stream = trio.SSLStream(stream, authority().client_context(), server_hostname=host)
            try:
                yield Client(stream)
            finally:
                await trio.aclose_forcefully(stream)

    async def get(
        self, target: str = "/", method: str = "GET", listener: int = 0, **fields: str
    ) -> tuple[int, dict[str, str], bytes]:
        async with self.client(listener) as client:
            return await ask(client, target, method, **fields)


async def ask(
    client: Client, target: str = "/", method: str = "GET", **fields: str
) -> tuple[int, dict[str, str], bytes]:
    fields = {"host": "test"} | fields
    lines = "".join(f"{name.replace('_', '-')}: {value}\r\n" for name, value in fields.items())
    await client.send(f"{method} {target} HTTP/1.1\r\n{lines}\r\n".encode())
    return await client.answer(method)


@contextlib.asynccontextmanager
async def site(
    section: str,
    tmp_path: Path,
    servers: dict[str, FakeUpstream],
    *,
    files: dict[str, str] | None = None,
    environ: dict[str, str] | None = None,
    overrides: tuple[str, ...] = (),
) -> AsyncIterator[Site]:
    """The section's listing, served. *servers*: what stands at which of its addresses; *files*: what is
    read instead of which of its paths."""
    text = listing(section)
    async with trio.open_nursery() as nursery:
        for address, server in servers.items():
            await nursery.start(server.run)
            assert address in text
            here = f"127.0.0.1:{server.port}"
            text = text.replace(
                address, re.sub(r"^https://[^/]*", f"http://{here}", address) if "/" in address else here
            )
        for name, instead in (files or {}).items():
            assert name in text
            text = text.replace(name, instead)
        if "listen = [" in text:
            text = text.replace('":80"', '"127.0.0.1:0"').replace('":443"', '"127.0.0.1:0"')
        else:
            overrides = ('listen=["127.0.0.1:0"]', *overrides)
        (tmp_path / "blitz.toml").write_text(text)
        environ = environ or {}
        resolved = resolve(load_config(tmp_path / "blitz.toml", environ, overrides), environ)
        assert not resolved.warnings
        async with blitz.open_gateway(resolved) as gateway:
            yield Site(gateway)
        nursery.cancel_scope.cancel()


def test_every_section_has_all_gateways_and_one_listing_that_is_run() -> None:
    tasks = [name for name in SECTIONS if name != "Not yet"]
    assert len(tasks) == 15
    here = Path(__file__).read_text(encoding="utf-8")
    for name in tasks:
        before, _, after = SECTIONS[name].partition("```toml\n# Blitz\n")
        missing = [peer for peer in PEERS if peer not in before]
        assert not missing, (name, missing)
        assert listing(name)
        assert len(after.partition("```\n")[2].split()) > 15, "what differs is said"
        assert re.search(rf'(site|listing)\(\s*"{re.escape(name)}"', here), (
            f"{name}: no test runs its listing"
        )


def listings(language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```", PAGE, re.MULTILINE | re.DOTALL)


def test_listings_of_others_are_yaml() -> None:
    assert len(listings("yaml")) > 30
    for text in listings("yaml"):
        assert yaml.safe_load(text), text


def save_certificate(directory: Path) -> None:
    made = authority().ca.issue_cert("example.org")
    (directory / "certs").mkdir()
    made.private_key_pem.write_to_path(str(directory / "certs" / "example.org.key"))
    for blob in made.cert_chain_pems:
        blob.write_to_path(str(directory / "certs" / "example.org.pem"), append=True)


@pytest.mark.skipif(shutil.which("nginx") is None, reason="needs nginx")
def test_listings_of_nginx_are_taken_by_nginx(tmp_path: Path) -> None:
    save_certificate(tmp_path)
    (tmp_path / "token.conf").write_text('proxy_set_header Authorization "Bearer x";\n')
    elsewhere = ("auth_jwt", "acme_issuer")  # modules that Debian does not have
    texts = [text for text in listings("nginx") if not any(word in text for word in elsewhere)]
    assert len(texts) == len(SECTIONS) - 1 - len(elsewhere)
    for text in texts:
        if not re.search(r"^server", text, re.MULTILINE):
            text = f"server {{ listen 8080;\n{text}}}\n"
        text = text.replace("/run/secrets/", f"{tmp_path}/").replace(" certs/", f" {tmp_path}/certs/")
        (tmp_path / "nginx.conf").write_text(f"pid {tmp_path}/pid;\nevents {{}}\nhttp {{\n{text}}}\n")
        command = ["nginx", "-t", "-q", "-e", "stderr", "-p", str(tmp_path), "-c", "nginx.conf"]
        result = subprocess.run(command, capture_output=True, text=True, timeout=60)
        assert result.returncode == 0, result.stderr


async def test_tls_redirect(tmp_path: Path) -> None:
    save_certificate(tmp_path)
    main = FakeUpstream(echo)
    async with site("TLS redirect", tmp_path, {MAIN: main}) as test:
        status, fields, _ = await test.get("/a?b=1", host="example.org:8080")
        assert (status, fields["location"]) == (308, "https://example.org/a?b=1")
        assert not main.connections
        async with test.client(1, host="example.org") as client:
            status, fields, body = await ask(client, "/a?b=1", host="example.org")
        assert (status, fields["strict-transport-security"]) == (200, "max-age=31536000")
        assert body.startswith(b"GET /a?b=1\n")


async def test_rewrite_and_headers(tmp_path: Path) -> None:
    heads: list[bytes] = []

    async def script(served: Served) -> None:
        while b"/v2/broken" not in (head := await served.head()):
            heads.append(head)
            await served.send(b"HTTP/1.1 200 OK\r\nX-Powered-By: magic\r\nContent-Length: 2\r\n\r\nok")

    main = FakeUpstream(script)
    async with site("Rewrite and headers", tmp_path, {MAIN: main}) as test:
        status, fields, _ = await test.get("/api/users?q=1", x_debug="1", x_client="6.6.6.6")
        assert (status, fields["x-frame-options"]) == (200, "DENY")
        assert "x-powered-by" not in fields
        (head,) = heads
        assert head.startswith(b"GET /v2/users?q=1 HTTP/1.1\r\n")
        lines = head.lower().split(b"\r\n")
        assert [line for line in lines if line.startswith((b"x-client", b"x-debug"))] == [
            b"x-client: 127.0.0.1"
        ]
        assert (await test.get("/apis"))[0] == 404
        assert (await test.get("/api/../x"))[0] == 400
        assert len(heads) == 1
        status, fields, _ = await test.get("/api/broken")
        assert (status, fields["x-frame-options"]) == (502, "DENY")


async def test_balancing_health_retries(tmp_path: Path) -> None:
    a, b = Member("a"), Member("b")
    servers = {"10.0.0.5:9000": a.server, "10.0.0.6:9000": b.server}
    patient = ("routes.0.retry.per_try=20s",)  # a busy machine is not a slow upstream
    async with (
        site("Balancing, health, retries", tmp_path, servers, overrides=patient) as test,
        test.client() as client,
    ):
        assert {(await ask(client))[2] for _ in range(10)} == {b"a", b"b"}
        await until(lambda: a.checks and b.checks)
        assert a.checks[0].startswith(b"GET /up ")
        a.cut = True
        assert [(await ask(client))[::2] for _ in range(4)] == [(200, b"b")] * 4
        a.cut, a.status = False, 503
        assert [(await ask(client))[::2] for _ in range(4)] == [(200, b"b")] * 4
        b.status = 503
        before = len(a.asked) + len(b.asked)
        assert (await ask(client, method="POST", content_length="0"))[0] == 503
        assert len(a.asked) + len(b.asked) == before + 1, "a POST is not sent twice"
        assert (await ask(client))[0] == 503
        assert len(a.asked) + len(b.asked) == before + 1 + 3


async def test_jwt_with_jwks(tmp_path: Path) -> None:
    issuer = "https://idp.example.org"
    main, keys = FakeUpstream(echo), FakeUpstream(KeyServer(jwks(key())))
    servers = {MAIN: main, f"{issuer}/.well-known": keys}
    async with site("JWT with JWKS", tmp_path, servers) as test:
        right = token(claims(iss=issuer))
        status, _, body = await test.get("/api", authorization=f"Bearer {right}", x_user="root")
        assert (status, told(body)["x-user"]) == (200, "ada")
        assert told(body)["authorization"] == f"Bearer {right}"
        assert b"root" not in body
        no_end = {name: value for name, value in claims(iss=issuer).items() if name != "exp"}
        others = (claims(), claims(iss=issuer, aud="other"), claims(iss=issuer, exp=1), no_end)
        for wrong in ("", *map(token, others)):
            fields = {"authorization": f"Bearer {wrong}"} if wrong else {}
            assert (await test.get("/api", **fields))[0] == 401
        assert len(main.connections) == 1


async def test_cors(tmp_path: Path) -> None:
    main = FakeUpstream(echo)
    async with site("CORS", tmp_path, {MAIN: main}) as test:
        wanted = {"access_control_request_method": "PUT", "access_control_request_headers": "content-type"}
        status, fields, _ = await test.get(method="OPTIONS", origin="https://app.example", **wanted)
        assert (status, fields["access-control-allow-origin"]) == (204, "https://app.example")
        assert fields["access-control-allow-methods"] == "GET, PUT"
        assert fields["access-control-allow-headers"] == "content-type"
        assert not main.connections
        for origin in ("https://app.example", "https://evil.example"):
            status, fields, _ = await test.get(origin=origin)
            assert status == 200
            assert fields.get("access-control-allow-origin") == (origin if "app" in origin else None)
            assert (fields.get("access-control-allow-credentials") == "true") == ("app" in origin)


async def test_compression(tmp_path: Path) -> None:
    async def script(served: Served) -> None:
        while True:
            size = 1000 if b" /small " in await served.head() else 2000
            fields = f'Content-Type: application/json\r\nETag: "a"\r\nContent-Length: {size}'
            await served.send(f"HTTP/1.1 200 OK\r\n{fields}\r\n\r\n".encode() + bytes(size))

    async with site("Compression", tmp_path, {MAIN: FakeUpstream(script)}) as test:
        for accepts, coding in (("gzip, deflate, br, zstd", "zstd"), ("gzip, br", "br"), ("gzip", "gzip")):
            _, fields, body = await test.get(accept_encoding=accepts)
            assert (fields["content-encoding"], fields["etag"]) == (coding, 'W/"a"')
            assert len(body) < 100
        for target, accepts in (("/", "identity"), ("/small", "gzip")):
            _, fields, body = await test.get(target, accept_encoding=accepts)
            assert (len(body) in (1000, 2000), "content-encoding" in fields) == (True, False)


async def test_static_files(tmp_path: Path) -> None:
    www = tmp_path / "www"
    (www / "files").mkdir(parents=True)
    (www / "index.html").write_text("<p>app")
    (www / "index.html.br").write_bytes(b"br")
    (www / "files/a.txt").write_text("a")
    files = {"/srv/www": str(www)}
    async with site("Static files, an application in the browser", tmp_path, {}, files=files) as test:
        for target in ("/", "/some/page"):
            assert (await test.get(target))[2] == b"<p>app"
        status, fields, body = await test.get("/", accept_encoding="gzip, br")
        assert (status, fields["content-encoding"], body) == (200, "br", b"br")
        status, fields, body = await test.get("/files/a.txt")
        assert (status, fields["cache-control"], body) == (200, "max-age=3600", b"a")
        assert b"a.txt" in (await test.get("/files/"))[2]
        assert (await test.get("/files/none"))[0] == 404


async def test_limits_for_each_key(tmp_path: Path) -> None:
    servers, trusted = {MAIN: FakeUpstream(echo)}, ('trusted_proxies=["127.0.0.1"]',)
    async with (
        site("Limits for each key, and who may ask at all", tmp_path, servers, overrides=trusted) as test,
        test.client() as client,
    ):

        async def status(name: str, address: str = "10.1.2.3") -> int:
            return (await ask(client, "/api", x_api_key=name, x_forwarded_for=address))[0]

        passed = 0
        while (last := await status("one")) == 200 and passed < 400:
            passed += 1
        assert last == 429 and passed >= 20
        assert await status("two", "10.9.9.9") == 200
        assert await status("three", "203.0.113.9") == 403
        assert (await test.get("/api", x_api_key="four"))[0] == 403


async def test_websocket(tmp_path: Path) -> None:
    async def shouting(served: Served) -> None:
        head = await served.head()
        assert b"upgrade: websocket\r\n" in head.lower()
        await served.send(
            b"HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\r\nhello"
        )
        while True:
            await served.send((await served.exactly(4)).upper())

    upgrade = {
        "connection": "Upgrade",
        "upgrade": "websocket",
        "sec_websocket_version": "13",
        "sec_websocket_key": "dGhlIHNhbXBsZSBub25jZQ==",
    }
    async with (
        site("WebSocket", tmp_path, {MAIN: FakeUpstream(shouting)}) as test,
        test.client() as client,
    ):
        status, fields, _ = await ask(client, "/ws", **upgrade)
        assert (status, fields["upgrade"]) == (101, "websocket")
        assert await client.exactly(5) == b"hello"
        for word in (b"ping", b"pong"):
            await client.send(word)
            assert await client.exactly(4) == word.upper()


async def test_canary(tmp_path: Path) -> None:
    servers = {"10.0.0.5:9000": Member("one").server, "10.0.1.5:9000": Member("two").server}
    async with site("Canary", tmp_path, servers) as test, test.client() as client:
        answers = Counter([(await ask(client))[2] for _ in range(200)])
        assert answers == {b"one": 190, b"two": 10}
        assert {(await ask(client, x_canary="1"))[2] for _ in range(5)} == {b"two"}


async def test_mirroring(tmp_path: Path) -> None:
    main, shadow = Member("main"), Member("shadow", status=500)
    servers = {"10.0.0.5:9000": main.server, "10.0.2.5:9000": shadow.server}
    async with site("Mirroring", tmp_path, servers) as test, test.client() as client:
        answers = [(await ask(client, f"/{number}"))[::2] for number in range(40)]
        assert answers == [(200, b"main")] * 40
        await until(lambda: len(shadow.asked) == 4)
        assert all(b"\r\nhost: test\r\n" in head.lower() for head in shadow.asked)


async def test_basic_authentication(tmp_path: Path) -> None:
    (tmp_path / "users").write_bytes(b"ada:" + CHEAP)
    main = FakeUpstream(echo)
    async with site("Basic authentication", tmp_path, {MAIN: main}) as test:
        status, _, body = await test.get("/admin", authorization=credentials("ada", "lovelace"))
        assert (status, told(body)["x-user"]) == (200, "ada")
        assert "authorization" not in told(body)
        for wrong in ({}, {"authorization": credentials("ada", "x")}):
            status, fields, _ = await test.get("/admin", **wrong)
            assert status == 401 and fields["www-authenticate"].startswith('Basic realm="staff"')
        assert len(main.connections) == 1
    (tmp_path / "users").write_text("ada:$apr1$abcdefgh$0123456789012345678901\n")
    with pytest.raises(ConfigError, match=r"users:1: auth.staff: has no bcrypt or argon2id hash"):
        load_authenticators(resolve(load_config(tmp_path / "blitz.toml", {}), {}))


async def test_forward_authentication(tmp_path: Path) -> None:
    heads: list[bytes] = []

    async def service(served: Served) -> None:
        while True:
            heads.append(head := await served.head())
            if b"cookie: s=1\r\n" in head.lower():
                await served.send(b"HTTP/1.1 200 OK\r\nRemote-User: ada\r\nContent-Length: 0\r\n\r\n")
            else:
                await served.send(
                    b"HTTP/1.1 302 Found\r\nLocation: https://sso/\r\nContent-Length: 0\r\n\r\n"
                )

    main = FakeUpstream(echo)
    servers = {MAIN: main, "127.0.0.1:9091": FakeUpstream(service)}
    async with site("Forward authentication", tmp_path, servers) as test:
        status, fields, _ = await test.get("/a?b=1")
        assert (status, fields["location"]) == (302, "https://sso/")
        assert not main.connections
        status, _, body = await test.get("/a?b=1", cookie="s=1", remote_user="root")
        assert (status, told(body)["remote-user"]) == (200, "ada")
        assert b"root" not in body
        assert heads[0].startswith(b"GET /verify HTTP/1.1\r\n")
        assert b"x-forwarded-uri: /a?b=1\r\n" in heads[0].lower()


def test_acme(tmp_path: Path) -> None:
    """Read only: what happens with an authority is tested in tests/acme."""
    (tmp_path / "blitz.toml").write_text(listing("ACME"))
    config = load_config(tmp_path / "blitz.toml", {})
    assert not resolve(config, {}).warnings
    acme = config.tls.acme
    assert (acme.domains, acme.agree_terms) == (["example.org", "www.example.org"], True)


async def test_secrets_in_files(tmp_path: Path) -> None:
    secrets = {
        "admin_token": "operators-only-0123456789",
        "sticky": "a-secret-of-the-cookies",
        "api": "let-me-in",
    }
    for name, value in secrets.items():
        (tmp_path / name).write_text(f"{value}\n")
    environ = {"API_TOKEN_FILE": str(tmp_path / "api"), "CREDENTIALS_DIRECTORY": str(tmp_path)}
    main = FakeUpstream(echo)
    files = {"/run/secrets/admin_token": str(tmp_path / "admin_token"), "127.0.0.1:9900": "127.0.0.1:0"}
    async with site("Secrets in files", tmp_path, {MAIN: main}, files=files, environ=environ) as test:
        status, fields, body = await test.get()
        assert (status, told(body)["authorization"]) == (200, "Bearer let-me-in")
        assert fields["set-cookie"].startswith("srv=")
        test.gateway.addresses[:] = test.gateway.admin_addresses
        assert (await test.get("/status"))[0] == 401
        status, _, body = await test.get("/status", authorization="Bearer operators-only-0123456789")
        assert status == 200
        assert not [value for value in secrets.values() if value.encode() in body]
