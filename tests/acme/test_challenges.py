"""What a gateway tells an authority, without one: over real sockets, and what others are told meanwhile."""

from __future__ import annotations

import re
import ssl
import time
from pathlib import Path

import pytest
import trio

import blitz
from blitz.acme.schedule import Tries
from blitz.acme.store import Store
from blitz.config import Acme, Answer, Certificate, Config, Listener, Route, Tls
from blitz.server.acme_challenges import MAX_PENDING, read_answers

from ..server.harness import authority, until

pytest.importorskip("acme")

NAME = "gw.example"
CERTIFICATE = re.compile("-----BEGIN CERTIFICATE-----.*?-----END CERTIFICATE-----", re.DOTALL)


@pytest.fixture
def storage(tmp_path: Path) -> Path:
    """A storage directory in which an order has just failed: the gateway makes none meanwhile."""
    store = Store(str(tmp_path))
    with store.lock():
        store.keep_tries(NAME, Tries(1, time.time() + 3600))
    return tmp_path


def config(storage: Path, challenge: str = "http-01", certs: list[Certificate] | None = None) -> Config:
    acme = Acme(
        domains=[NAME],
        agree_terms=True,
        storage=str(storage),
        challenge=challenge,  # type: ignore[arg-type]
        directory="https://127.0.0.1:1/nobody",
    )
    return Config(
        listen=["127.0.0.1:0", Listener(address="127.0.0.1:0", tls=True)],
        routes=[Route(answer=Answer(body="the site"))],
        tls=Tls(acme=acme, certs=certs or []),
    )


async def get(address: tuple[str, int], path: str, host: str = NAME) -> bytes:
    with trio.fail_after(20):
        async with await trio.open_tcp_stream(*address) as stream:
            await stream.send_all(
                f"GET {path} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n".encode()
            )
            return b"".join([part async for part in stream])


async def shown(address: tuple[str, int], alpn: str, name: str = NAME) -> tuple[bytes, str | None]:
    """The certificate (DER) that a handshake shows, and the protocol that it settles on."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    context.set_alpn_protocols([alpn])
    with trio.fail_after(20):
        tcp = await trio.open_tcp_stream(*address)
        async with tcp:
            stream = trio.SSLStream(tcp, context, server_hostname=name, https_compatible=True)
            await stream.do_handshake()
            return stream.getpeercert(binary_form=True) or b"", stream.selected_alpn_protocol()


async def test_a_token_is_told_to_whoever_asks_for_its_name(storage: Path) -> None:
    store = Store(str(storage))
    async with blitz.open_gateway(config(storage)) as gateway:
        plain = gateway.addresses[0]
        challenges = gateway._context.runtime.challenges
        assert b" 404 " in await get(plain, "/.well-known/acme-challenge/abc")
        with store.lock():
            store.put_pending("abc_-9", b"abc.thumbprint")
        await until(lambda: challenges.answers.tokens, 20)
        found = await get(plain, "/.well-known/acme-challenge/abc_-9")
        assert b" 200 " in found
        assert found.endswith(b"\r\n\r\nabc.thumbprint")
        for path in ("abc_-", "abc_-9/", "../abc_-9", "abc_-9.pem", ""):
            found = await get(plain, f"/.well-known/acme-challenge/{path}")
            assert b"thumbprint" not in found
        assert (await get(plain, "/")).endswith(b"the site")
        assert b"the site" in await get(plain, "/.well-known/acme-challenge/abc_-9", "other.example")
        await gateway.reload()
        challenges = gateway._context.runtime.challenges
        await until(lambda: challenges.answers.tokens, 20)
        store.clear_pending()
        await until(lambda: not challenges.answers.tokens, 20)
        assert b" 404 " in await get(plain, "/.well-known/acme-challenge/abc_-9")


async def test_a_handshake_that_asks_is_answered_and_others_are_served(storage: Path) -> None:
    certificate = authority().certificate(NAME)
    async with blitz.open_gateway(config(storage, "tls-alpn-01", [Certificate(cert=certificate)])) as gateway:
        encrypted = gateway.addresses[1]
        own, protocol = await shown(encrypted, "http/1.1")
        assert protocol == "http/1.1"
        with Store(str(storage)).lock():
            answer = authority().ca.issue_cert(NAME, "answer.example").private_key_and_cert_chain_pem.bytes()
            Store(str(storage)).put_pending(f"{NAME}.pem", answer)
        await until(lambda: gateway._context.runtime.challenges.answers.certificates, 20)
        told, protocol = await shown(encrypted, "acme-tls/1")
        assert protocol == "acme-tls/1"
        assert told == ssl.PEM_cert_to_DER_cert(CERTIFICATE.findall(answer.decode())[0])
        assert await shown(encrypted, "http/1.1") == (own, "http/1.1")  # while it is pending
        with pytest.raises(trio.BrokenResourceError):
            await shown(encrypted, "acme-tls/1", "other.example")
        assert gateway.statistics().counters.internal_errors == 0


async def test_until_it_is_issued_the_listener_shows_one_that_nobody_trusts(storage: Path) -> None:
    async with blitz.open_gateway(config(storage)) as gateway:
        first, _ = await shown(gateway.addresses[1], "http/1.1")
        assert b"not issued yet" in first
        chain = authority().ca.issue_cert(NAME).private_key_and_cert_chain_pem.bytes()
        with Store(str(storage)).lock():
            Store(str(storage)).keep_certificate(NAME, chain, b"")
        with trio.fail_after(20):
            while (await shown(gateway.addresses[1], "http/1.1"))[0] == first:  # noqa: ASYNC110
                await trio.sleep(0.1)


def test_what_lies_in_the_directory_is_bounded_and_is_no_path(tmp_path: Path) -> None:
    pending = tmp_path / "pending"
    pending.mkdir()
    (pending / "to.ken").write_text("x")
    (pending / "token").write_text("told")
    (pending / "large").write_bytes(b"x" * (2 * 1024 * 1024))
    (pending / "link").symlink_to("/dev/zero")
    assert read_answers(str(tmp_path)).tokens == {"token": b"told"}
    assert read_answers(str(tmp_path / "none")).tokens == {}
    for index in range(MAX_PENDING + 10):
        (pending / f"t{index}").write_text("x")
    assert len(read_answers(str(tmp_path)).tokens) <= MAX_PENDING
