"""TLS to clients: real handshakes with a gateway over sockets."""

from __future__ import annotations

import contextlib
import hashlib
import logging
import os
import shutil
import socket
import ssl
import subprocess
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import trio
import wasmtime

import blitz
import blitz.housekeeping
from blitz.config import Certificate, Config, Listener, Plugin, Route, Timeouts, Tls
from blitz.errors import ConfigError
from blitz.server.certificate import CertificateError, first_certificate, names_in
from blitz.server.tls import TlsFilesError, TlsSettings

from .harness import Authority, Client, Rig, Served, answering, authority, echo, localhost_certificate, rig

GET = b"GET / HTTP/1.1\r\nHost: test\r\n\r\n"
OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"
LISTEN = [Listener(address="127.0.0.1:0", tls=True)]
PROPERTIES = ("version", "cipher", "sni", "client_subject", "client_sha256")


def tls_rig(**options: Any) -> contextlib.AbstractAsyncContextManager[Rig]:
    """TLS to clients, plain to the upstream."""
    script = options.pop("script", echo)
    tls = {"certs": [Certificate(cert=localhost_certificate())], **options.pop("tls", {})}
    return rig(script, listen=LISTEN, tls=Tls(**tls), **options)


async def connect(
    test: Rig, context: ssl.SSLContext | None = None, name: str = "localhost"
) -> trio.SSLStream[trio.SocketStream]:
    stream = await test.open()
    encrypted = trio.SSLStream(stream, context or authority().client_context(), server_hostname=name)
    with trio.fail_after(20):
        await encrypted.do_handshake()
    return encrypted


def property_plugin(directory: Path) -> Plugin:
    """Sets x-<name> on the request to the property tls.<name>, for each that there is."""
    data, calls = "", ""
    for index, name in enumerate(PROPERTIES):
        at = 64 * index
        data += (
            f'(data (i32.const {at}) "tls.{name}") (data (i32.const {at + 32}) "x-{name.replace("_", "-")}")'
        )
        numbers = (at, len(name) + 4, at + 32, len(name) + 2)
        calls += f"(call $copy {' '.join(f'(i32.const {number})' for number in numbers)})"
    module = f"""(module
      (import "blitz" "get_property" (func $get (param i32 i32 i32 i32) (result i32)))
      (import "blitz" "set_header" (func $set (param i32 i32 i32 i32)))
      (memory (export "memory") 1)
      {data}
      (func (export "blitz_buffer") (result i32) (i32.const 4096))
      (func (export "blitz_buffer_size") (result i32) (i32.const 4096))
      (func $copy (param $p i32) (param $pl i32) (param $h i32) (param $hl i32) (local $n i32)
        (local.set $n (call $get (local.get $p) (local.get $pl) (i32.const 16384) (i32.const 1024)))
        (if (i32.ge_s (local.get $n) (i32.const 0))
          (then (call $set (local.get $h) (local.get $hl) (i32.const 16384) (local.get $n)))))
      (func (export "process_request") (param i32 i32 i32 i32) (result i32) {calls} (i32.const 0)))"""
    path = directory / "properties.wasm"
    path.write_bytes(wasmtime.wat2wasm(module))
    return Plugin(name="properties", file=str(path), response_body="none")


async def ask(stream: trio.SSLStream[trio.SocketStream]) -> dict[str, str]:
    """The fields that reached the upstream."""
    client = Client(stream)
    await client.send(GET)
    status, _, body = await client.answer()
    assert status == 200
    lines = body.decode().partition("\n\n")[0].split("\n")[1:]
    return dict(line.split(": ", 1) for line in lines)


async def test_the_upstream_learns_that_it_was_https() -> None:
    async with tls_rig() as test:
        stream = await connect(test)
        assert (await ask(stream))["x-forwarded-proto"] == "https"
        assert stream.selected_alpn_protocol() is None
        assert test.gateway.urls == [f"https://127.0.0.1:{test.gateway.addresses[0][1]}"]


@pytest.mark.parametrize(
    ("offered", "agreed"), [(["http/1.1"], "http/1.1"), (["h2", "http/1.1"], "http/1.1")]
)
async def test_alpn(offered: list[str], agreed: str) -> None:
    context = authority().client_context()
    context.set_alpn_protocols(offered)
    async with tls_rig() as test:
        stream = await connect(test, context)
        assert stream.selected_alpn_protocol() == "http/1.1"


async def test_plain_and_tls_listeners_beside_each_other() -> None:
    async with rig(
        listen=["127.0.0.1:0", *LISTEN], tls=Tls(certs=[Certificate(cert=localhost_certificate())])
    ) as test:
        plain = Client(await test.open())
        await plain.send(GET)
        assert b"x-forwarded-proto: http\n" in (await plain.answer())[2]
        test.gateway.addresses.reverse()
        assert (await ask(await connect(test)))["x-forwarded-proto"] == "https"


# -- versions and ciphers


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
async def test_modern_versions(version: ssl.TLSVersion, tmp_path: Path) -> None:
    context = authority().client_context()
    context.minimum_version = context.maximum_version = version
    async with tls_rig(plugins=[property_plugin(tmp_path)]) as test:
        stream = await connect(test, context)
        seen = await ask(stream)
        assert seen["x-version"] == stream.version()
        assert seen["x-cipher"] == stream.cipher()[0]
        assert seen["x-sni"] == "localhost"
        assert "x-client-subject" not in seen


@pytest.mark.parametrize(
    "ciphers", ["ECDHE-ECDSA-AES128-SHA256", "AES128-GCM-SHA256", "DHE-RSA-AES128-GCM-SHA256"]
)
async def test_weak_ciphers_are_refused(ciphers: str) -> None:
    context = authority().client_context()
    context.maximum_version = ssl.TLSVersion.TLSv1_2
    context.set_ciphers(ciphers)
    async with tls_rig() as test:
        with pytest.raises(trio.BrokenResourceError):
            await connect(test, context)


@pytest.mark.filterwarnings("ignore:ssl.TLSVersion:DeprecationWarning")
async def test_old_versions_are_refused() -> None:
    old = authority().client_context()
    old.set_ciphers("DEFAULT@SECLEVEL=0")
    old.minimum_version = old.maximum_version = ssl.TLSVersion.TLSv1_1
    async with tls_rig() as test:
        with pytest.raises(trio.BrokenResourceError):
            await connect(test, old)
    recent = authority().client_context()
    recent.maximum_version = ssl.TLSVersion.TLSv1_2
    async with tls_rig(tls={"min_version": "1.3"}) as test:
        with pytest.raises(trio.BrokenResourceError):
            await connect(test, recent)
        await connect(test)


# -- several certificates


def shown_names(stream: trio.SSLStream[trio.SocketStream]) -> set[str]:
    return {name for kind, name in stream.getpeercert()["subjectAltName"] if kind == "DNS"}


SNI = [
    ("a.example", "a.example"),
    ("A.EXAMPLE", "a.example"),
    ("x.wild.example", "*.wild.example"),
    ("own.wild.example", "own.wild.example"),
    ("c.example", "c.example"),
]


@pytest.mark.parametrize(("asked", "shown"), SNI)
async def test_the_certificate_is_chosen_by_name(asked: str, shown: str) -> None:
    sets = [("a.example",), ("*.wild.example", "c.example"), ("own.wild.example",)]
    certs = [Certificate(cert=authority().certificate(*names)) for names in sets]
    async with tls_rig(tls={"certs": certs}) as test:
        stream = await connect(test, name=asked)
        assert shown in shown_names(stream)
        assert (await ask(stream))["x-forwarded-proto"] == "https"


@pytest.mark.parametrize("asked", ["other.example", "x.y.wild.example", "wild.example", None])
async def test_an_unknown_name_gets_the_first_certificate(asked: str | None) -> None:
    sets = [("a.example",), ("*.wild.example",)]
    certs = [Certificate(cert=authority().certificate(*names)) for names in sets]
    context = authority().client_context()
    context.check_hostname = False
    async with tls_rig(tls={"certs": certs}) as test:
        stream = await test.open()
        encrypted = trio.SSLStream(stream, context, server_hostname=asked)
        await encrypted.do_handshake()
        assert shown_names(encrypted) == {"a.example"}


def test_names_in_a_certificate(tmp_path: Path) -> None:
    pem = Path(authority().certificate("A.example", "*.b.example", "10.0.0.1", "::1")).read_text()
    der = first_certificate(pem)
    assert sorted(names_in(der)) == ["*.b.example", "10.0.0.1", "::1", "a.example"]
    for end in range(len(der)):
        with contextlib.suppress(CertificateError):
            names_in(der[:end])
    for index in range(len(der)):
        for flip in (0x01, 0x80, 0xFF):
            with contextlib.suppress(CertificateError):
                names_in(der[:index] + bytes([der[index] ^ flip]) + der[index + 1 :])
    for bad in ("", "-----BEGIN CERTIFICATE-----\n", pem[:700]):
        with pytest.raises(CertificateError):
            first_certificate(bad.partition("-----END")[0])


# -- files that change


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(blitz.housekeeping, "HOUSEKEEPING_INTERVAL", 0.02)


async def served_serial(test: Rig) -> str:
    stream = await connect(test)
    serial: str = stream.getpeercert()["serialNumber"]
    await trio.aclose_forcefully(stream)
    return serial


async def wait_for_another(test: Rig, old: str) -> str:
    with trio.fail_after(20):
        while (new := await served_serial(test)) == old:  # noqa: ASYNC110
            await trio.sleep(0.02)
    return new


async def wait_until(true: Callable[[], bool]) -> None:
    with trio.fail_after(20):
        while not true():  # noqa: ASYNC110
            await trio.sleep(0.02)


def split(pem: str, directory: Path) -> tuple[bytes, bytes]:
    """(certificates, key) of a file that holds both."""
    text = Path(pem).read_bytes()
    at = text.index(b"-----BEGIN CERTIFICATE")
    return text[at:], text[:at]


async def test_a_replaced_pair_is_taken_up_and_a_half_written_one_is_not(
    impatient: None, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    cert, key = tmp_path / "cert.pem", tmp_path / "key.pem"
    first, second = (split(authority().certificate("localhost"), tmp_path) for _ in range(2))
    cert.write_bytes(first[0])
    key.write_bytes(first[1])
    async with tls_rig(tls={"certs": [Certificate(cert=str(cert), key=str(key))]}) as test:
        stream = await connect(test)
        old = await served_serial(test)
        for half in (second[0], second[0][:300], b""):
            caplog.clear()
            cert.write_bytes(half)
            await wait_until(lambda: any("not replaced" in record.message for record in caplog.records))
            assert await served_serial(test) == old
        said = [record.message for record in caplog.records if "not replaced" in record.message]
        assert len(said) == len(set(said))  # not once a second
        cert.write_bytes(second[0])
        key.write_bytes(second[1])
        await wait_for_another(test, old)
        # A connection keeps what it began with.
        assert (await ask(stream))["x-forwarded-proto"] == "https"


async def test_an_exchanged_link_is_a_change(impatient: None, tmp_path: Path) -> None:
    """As Kubernetes mounts secrets: a link to a directory is replaced."""
    for number in (1, 2):
        (tmp_path / str(number)).mkdir()
        shutil.copy(authority().certificate("localhost"), tmp_path / str(number) / "tls.pem")
        os.utime(tmp_path / str(number) / "tls.pem", (1, 1))
    (tmp_path / "now").symlink_to("1")
    async with tls_rig(tls={"certs": [Certificate(cert=str(tmp_path / "now" / "tls.pem"))]}) as test:
        old = await served_serial(test)
        (tmp_path / "next").symlink_to("2")
        (tmp_path / "next").replace(tmp_path / "now")
        await wait_for_another(test, old)


async def test_a_reload_keeps_serving_and_needs_certificates() -> None:
    async with tls_rig() as test:
        stream = await connect(test)
        old = await served_serial(test)
        route = [Route(answer={"status": 200, "body": "new"})]
        new_cert = [Certificate(cert=authority().certificate("localhost"))]
        with pytest.raises(ConfigError, match="no certificate any more"):
            await test.gateway.reload(Config(routes=route))
        await test.gateway.reload(Config(listen=LISTEN, tls=Tls(certs=new_cert), routes=route))
        client = Client(stream)
        await client.send(GET)
        assert (await client.answer())[2] == b"new"
        assert await served_serial(test) != old


def refused(**tls: Any) -> list[str]:
    config = Config(listen=LISTEN, tls=Tls(**tls), routes=[Route(answer={"status": 200})])
    with pytest.raises(TlsFilesError) as caught:
        TlsSettings.load(blitz.config.resolve(config, {}))
    return [str(problem) for problem in caught.value.problems]


def test_files_that_cannot_be_used_are_all_named(tmp_path: Path) -> None:
    good, other = (split(authority().certificate("a"), tmp_path) for _ in range(2))
    files = {"cert": good[0], "key": good[1], "other": other[1], "text": b"hello"}
    for name, data in files.items():
        (tmp_path / name).write_bytes(data)
    from cryptography.hazmat.primitives import serialization

    locked = serialization.load_pem_private_key(good[1], None).private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.BestAvailableEncryption(b"secret"),
    )
    (tmp_path / "locked").write_bytes(locked)

    def pair(cert: str, key: str) -> Certificate:
        return Certificate(cert=str(tmp_path / cert), key=str(tmp_path / key) if key else "")

    problems = refused(
        certs=[
            pair("nowhere", "key"),
            pair("cert", "nowhere"),
            pair("cert", "other"),
            pair("text", "key"),
            pair("cert", "text"),
            pair("cert", "locked"),
            pair("cert", ""),
            pair("cert", "key"),
        ]
    )
    sentences = [
        ("tls.certs[0].cert", "no such file; check the path"),
        ("tls.certs[1].key", "no such file; check the path"),
        ("tls.certs[2].key", "does not belong to the certificate"),
        ("tls.certs[3].cert", "holds no certificate"),
        ("tls.certs[4].key", "no PEM key"),
        ("tls.certs[5].key", "has a passphrase"),
        ("tls.certs[6].key", "no PEM key"),
    ]
    assert len(problems) == len(sentences)
    for problem, (key, sentence) in zip(problems, sentences, strict=True):
        assert problem.startswith(f"{key}: {tmp_path}/")
        assert sentence in problem
    (problem,) = refused(certs=[pair("cert", "key")], client_auth="require", client_ca=str(tmp_path / "text"))
    assert problem.startswith("tls.client_ca: ")


# -- client certificates


def with_certificate(issuer: Authority, *names: str, **options: Any) -> ssl.SSLContext:
    context = authority().client_context()
    context.load_cert_chain(issuer.certificate(*names, **options))
    return context


@pytest.fixture
def stranger(tmp_path: Path) -> Authority:
    import trustme

    return Authority(trustme.CA(), str(tmp_path / "ca.pem"))


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
@pytest.mark.parametrize("auth", ["optional", "require"])
async def test_a_clients_certificate_is_known_to_plugins(
    auth: str, version: ssl.TLSVersion, tmp_path: Path
) -> None:
    context = with_certificate(
        authority(), "client.example", organization_name='Cats, "Dogs"', common_name="me"
    )
    context.maximum_version = version
    tls = {"client_auth": auth, "client_ca": authority().file}
    async with tls_rig(tls=tls, plugins=[property_plugin(tmp_path)]) as test:
        for _ in range(2):
            seen = await ask(await connect(test, context))
            parts = seen["x-client-subject"].split(",", 1)
            assert parts[0] == "CN=me"
            assert 'O=Cats\\, \\"Dogs\\"' in seen["x-client-subject"]
            assert len(seen["x-client-sha256"]) == 64


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
async def test_a_resumed_session_has_the_same_identity(version: ssl.TLSVersion, tmp_path: Path) -> None:
    context = with_certificate(authority(), "client.example", common_name="me")
    context.maximum_version = version
    tls = {"client_auth": "require", "client_ca": authority().file}

    def ask_twice(address: tuple[str, int]) -> list[tuple[bool, bytes]]:
        seen, session = [], None
        for _ in range(2):
            with socket.create_connection(address, timeout=5) as sock:
                link = context.wrap_socket(sock, server_hostname="localhost", session=session)
                link.sendall(GET)
                answer = b""
                while b"\nvia: " not in answer:
                    answer += link.recv(65536)
                seen.append((bool(link.session_reused), answer))
                session = link.session
                link.close()
        return seen

    async with tls_rig(tls=tls, plugins=[property_plugin(tmp_path)]) as test:
        first, second = await trio.to_thread.run_sync(ask_twice, test.gateway.addresses[0])
        assert (first[0], second[0]) == (False, True)
        assert b"x-client-subject: CN=me" in first[1]
        assert b"x-client-subject: CN=me" in second[1]


async def refused_by(test: Rig, context: ssl.SSLContext) -> bool:
    try:
        stream = await connect(test, context)
        client = Client(stream)
        with trio.fail_after(20):
            await client.send(GET)  # TLS 1.3: the client is done before the server has looked
            await client.head()
    except (trio.BrokenResourceError, EOFError):
        return True
    return False


async def test_who_must_show_a_certificate(stranger: Authority) -> None:
    nobody, wrong = authority().client_context(), with_certificate(stranger, "client.example")
    right = with_certificate(authority(), "client.example")
    for auth, expected in (("require", (True, True, False)), ("optional", (False, True, False))):
        async with tls_rig(tls={"client_auth": auth, "client_ca": authority().file}) as test:
            assert (
                await refused_by(test, nobody),
                await refused_by(test, wrong),
                await refused_by(test, right),
            ) == expected
            assert test.gateway.statistics().counters.tls_failures == sum(expected)


async def test_without_client_auth_a_certificate_is_not_looked_at(
    stranger: Authority, tmp_path: Path
) -> None:
    async with tls_rig(plugins=[property_plugin(tmp_path)]) as test:
        seen = await ask(await connect(test, with_certificate(stranger, "client.example")))
        assert "x-client-subject" not in seen


# -- what is not TLS


async def test_a_plain_http_client_is_told_and_nobody_else_notices(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    async with tls_rig() as test:
        good = await connect(test)
        plain = Client(await test.open())
        await plain.send(GET)
        with trio.fail_after(20):
            status, fields, body = await plain.answer()
        assert (status, fields["connection"]) == (400, "close")
        assert b"use https" in body
        assert (await ask(good))["x-forwarded-proto"] == "https"
        assert not [record for record in caplog.records if record.levelno > logging.INFO]


@pytest.mark.parametrize(
    "garbage", [b"\x00", b"\x16\x03\x01\x02\x00" + b"x" * 512, b"SSH-2.0-x\r\n", b"\x80\x2e\x01\x00\x02", b""]
)
async def test_garbage_closes_its_own_connection(garbage: bytes, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    async with tls_rig() as test:
        good = await connect(test)
        bad = await test.open()
        if garbage:
            await bad.send_all(garbage)
        await bad.send_eof()
        with trio.fail_after(20), contextlib.suppress(trio.BrokenResourceError):
            while await bad.receive_some():
                pass
        assert (await ask(good))["x-forwarded-proto"] == "https"
        assert not [record for record in caplog.records if record.levelno > logging.INFO]


async def test_a_handshake_has_a_deadline_of_its_own() -> None:
    async with tls_rig(timeouts=Timeouts(handshake=0.2)) as test:
        silent = await test.open()
        slow = await test.open()

        async def drip() -> None:
            with contextlib.suppress(trio.BrokenResourceError):
                for byte in b"\x16\x03\x01\x02\x00" + b"\x01" * 400:
                    await slow.send_all(bytes([byte]))
                    await trio.sleep(0.05)

        with trio.fail_after(20):
            async with trio.open_nursery() as nursery:
                nursery.start_soon(drip)
                assert await Client(silent).closed()
                assert await Client(slow).closed()
                nursery.cancel_scope.cancel()
        assert test.gateway.statistics().counters.timeouts == 2


async def test_drain_ends_handshakes_that_do_not_come_to_an_end() -> None:
    async with tls_rig() as test:
        await test.open()
        await trio.testing.wait_all_tasks_blocked(0.01)
        with trio.fail_after(20):
            assert await test.gateway.drain(10)


async def test_a_request_behind_a_handshake_that_drain_met_is_answered() -> None:
    async with tls_rig() as test:
        stream = await test.open()
        await trio.testing.wait_all_tasks_blocked(0.01)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(test.gateway.drain, 5)
            await trio.testing.wait_all_tasks_blocked(0.01)
            encrypted = trio.SSLStream(stream, authority().client_context(), server_hostname="localhost")
            client = Client(encrypted)
            await client.send(GET)
            status, fields, _ = await client.answer()
            assert (status, fields["connection"]) == (200, "close")
            assert await client.rest() == b""


# -- ends


async def test_a_finished_connection_says_close_notify() -> None:
    async with tls_rig(timeouts=Timeouts(keepalive=0.2)) as test:
        for request in (GET, GET.replace(b"\r\n\r\n", b"\r\nConnection: close\r\n\r\n"), b"nonsense\r\n\r\n"):
            client = Client(await connect(test))
            await client.send(request)
            await client.answer()
            with trio.fail_after(20):
                assert await client.stream.receive_some() == b""  # trio raises when close_notify is missing


async def test_a_client_that_leaves_without_a_word_harms_nobody() -> None:
    async with tls_rig() as test:
        for sent in (b"", b"GET / HT", GET):
            stream = await connect(test)
            if sent:
                await stream.send_all(sent)
            await trio.aclose_forcefully(stream)
        assert (await ask(await connect(test)))["x-forwarded-proto"] == "https"
        await wait_until(lambda: test.gateway.statistics().connections == 1)
        assert test.gateway.statistics().counters.internal_errors == 0


CUT = [
    pytest.param(b"HTTP/1.1 200 OK\r\nContent-Length: 50\r\n\r\nhalf", id="length"),
    pytest.param(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhel", id="chunked"),
]


@pytest.mark.parametrize("answer", CUT)
@pytest.mark.parametrize("encrypted", [True, False])
async def test_a_cut_answer_is_visible_to_a_client_that_reads_to_the_end(
    answer: bytes, encrypted: bool
) -> None:
    """HTTP/1.0 knows the end of chunked answers by the connection's end alone: that one must look wrong."""

    async def script(served: Served) -> None:
        await served.head()
        await served.send(answer)

    async with rig(script, parser="auto+tls" if encrypted else "auto") as test:
        client = await test.connect()
        await client.send(b"GET / HTTP/1.0\r\n\r\n")
        status, fields = await client.head()
        assert status == 200
        if "content-length" in fields:
            with pytest.raises((EOFError, trio.BrokenResourceError)):
                await client.exactly(50)
        else:
            with pytest.raises(trio.BrokenResourceError):
                await client.rest()


# -- bodies

SIZE = 20 * 1024 * 1024


@pytest.mark.parametrize("framing", ["length", "chunked"])
async def test_large_bodies_both_ways_arrive_whole(framing: str) -> None:
    block = os.urandom(64 * 1024)
    whole = hashlib.sha256(block * (SIZE // len(block))).digest()

    async def script(served: Served) -> None:
        await served.head()
        hasher = hashlib.sha256()
        left = SIZE
        if framing == "length":
            while left:
                data = bytes(served.received) or await served.stream.receive_some()
                served.received.clear()
                hasher.update(data)
                left -= len(data)
        else:
            while True:
                while b"\r\n" not in served.received:
                    served.received += await served.stream.receive_some()
                size = int(bytes(served.received).partition(b"\r\n")[0], 16)
                del served.received[: served.received.index(b"\r\n") + 2]
                hasher.update(await served.exactly(size))
                assert await served.exactly(2) == b"\r\n"
                if not size:
                    break
        assert hasher.digest() == whole
        if framing == "length":
            await served.send(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % SIZE)
            for _ in range(SIZE // len(block)):
                await served.send(block)
        else:
            await served.send(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
            for _ in range(SIZE // len(block)):
                await served.send(b"%x\r\n%b\r\n" % (len(block), block))
            await served.send(b"0\r\n\r\n")

    async with rig(script, parser="auto+tls") as test:
        client = await test.connect()

        async def upload() -> None:
            if framing == "length":
                await client.send(b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: %d\r\n\r\n" % SIZE)
                for _ in range(SIZE // len(block)):
                    await client.send(block)
            else:
                await client.send(b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n")
                for _ in range(SIZE // len(block)):
                    await client.send(b"%x\r\n%b\r\n" % (len(block), block))
                await client.send(b"0\r\n\r\n")

        async with trio.open_nursery() as nursery:
            nursery.start_soon(upload)
            with trio.fail_after(60):
                status, _, body = await client.answer()
        assert status == 200
        assert hashlib.sha256(body).digest() == whole


async def test_openssl_s_client_gets_an_answer() -> None:
    """A peer that is not Python's ssl, with a half-close: the answer still comes."""
    program = shutil.which("openssl")
    if program is None:
        pytest.skip("needs openssl")
    async with tls_rig(script=answering(OK)) as test:
        host, port = test.gateway.addresses[0]
        result = await trio.run_process(
            [program, "s_client", "-quiet", "-CAfile", authority().file, "-verify_return_error",
             "-servername", "localhost", "-connect", f"{host}:{port}"],
            stdin=GET.replace(b"\r\n\r\n", b"\r\nConnection: close\r\n\r\n"),
            capture_stdout=True,
            capture_stderr=True,
        )  # fmt: skip
        assert result.stdout.endswith(b"\r\n\r\nok")


def test_sockets_that_were_passed_to_us_speak_what_their_address_says() -> None:
    from blitz.config import Address
    from blitz.server.listen import spoken_on

    with socket.socket() as passed:
        passed.bind(("127.0.0.1", 0))
        port = passed.getsockname()[1]
        assert spoken_on(passed, [Address("", port, tls=True)]) == Address("127.0.0.1", port, tls=True)
        assert spoken_on(passed, [Address("localhost", port, tls=True)]) == Address(
            "127.0.0.1", port, tls=True
        )
        both = [Address("", port, tls=True), Address("127.0.0.1", port)]
        assert spoken_on(passed, both) == Address("127.0.0.1", port)
        assert spoken_on(passed, [Address("", 1, tls=True)]) == Address("127.0.0.1", port)


@pytest.mark.parametrize("command", ["k", "K"])
async def test_a_clients_key_update_is_followed(command: str) -> None:
    """RFC 8446 section 4.6.3: "K" also asks for ours, which goes out between two answers."""
    program = shutil.which("openssl")
    if program is None:
        pytest.skip("needs openssl")
    async with tls_rig(script=answering(OK)) as test, trio.open_nursery() as nursery:
        host, port = test.gateway.addresses[0]
        process: trio.Process = await nursery.start(
            partial(
                trio.run_process,
                [program, "s_client", "-tls1_3", "-CAfile", authority().file, "-servername", "localhost",
                 "-connect", f"{host}:{port}"],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                check=False,
            )
        )  # fmt: skip
        assert process.stdin is not None
        assert process.stdout is not None
        output = b""
        with trio.fail_after(20):
            for answers in (1, 2, 3):
                await process.stdin.send_all(GET)
                while output.count(b"\r\n\r\nok") < answers:
                    output += await process.stdout.receive_some()
                await process.stdin.send_all(command.encode() + b"\n")
                while output.count(b"KEYUPDATE") < answers:
                    output += await process.stdout.receive_some()
        process.kill()
        assert len(test.upstream.connections) == 1
        assert test.gateway.statistics().counters.connections == 1
