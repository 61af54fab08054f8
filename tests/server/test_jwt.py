"""``auth`` by tokens in a running gateway: right ones pass, wrong ones do not, whatever the issuer's keys
do."""

from __future__ import annotations

import hmac
import json
import random
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
import trio

from blitz.config import Auth, JwtAuth, Route

from ..builtin.issuer import AUDIENCE, ISSUER, KeyServer, claims, jwks, key, token
from .harness import FakeUpstream, rig, until

PARSERS = ["auto", "h11"]


@asynccontextmanager
async def guarded(
    tmp_path: Path, *keys: Any, parser: str = "auto", route: Any = None, **settings: Any
) -> Any:
    """A gateway that lets tokens of *keys* pass."""
    file = tmp_path / "keys.json"
    file.write_bytes(jwks(*(keys or [key()]), private=True))
    settings = {"issuer": ISSUER, "audiences": [AUDIENCE], "jwks_file": str(file)} | settings
    auth = {"idp": Auth(jwt=JwtAuth(**settings))}
    async with rig(
        parser=parser, auth=auth, routes=[Route(upstream="main", auth="idp", **(route or {}))]
    ) as test:
        yield test


def bearer(text: str) -> str:
    return f"Bearer {text}"


def hmac_under(secret: bytes, digest: str) -> Any:
    return lambda signed: hmac.digest(secret, signed, digest)


async def becomes(test: Any, wanted: int, text: str) -> None:
    """The status of requests with that token, sooner or later."""
    with trio.fail_after(20):
        for _ in range(1000):
            if (await test.get(authorization=bearer(text)))[0] == wanted:
                return
            await trio.sleep(0.05)


def told(body: bytes) -> dict[str, str]:
    """The fields that reached the upstream."""
    head = body.partition(b"\n\n")[0].decode().split("\n")[1:]
    return {name.lower(): value for name, _, value in (line.partition(": ") for line in head)}


@pytest.mark.parametrize("parser", PARSERS)
@pytest.mark.parametrize("kind", ["RSA", "P-256", "P-384", "P-521", "Ed25519", "oct"])
async def test_a_right_token_passes_and_a_request_without_one_does_not(
    tmp_path: Path, kind: str, parser: str
) -> None:
    algorithm = {
        "RSA": "RS256",
        "P-256": "ES256",
        "P-384": "ES384",
        "P-521": "ES512",
        "Ed25519": "EdDSA",
    }.get(kind)
    async with guarded(tmp_path, key(kind), parser=parser, algorithms=[algorithm or "HS256"]) as test:
        status, _, _ = await test.get(authorization=bearer(token(kind=kind)))
        assert status == 200
        status, fields, _ = await test.get()
        assert (status, fields["www-authenticate"]) == (401, 'Bearer realm="idp"')
        assert len(test.upstream.connections) == 1


NOW = claims()["iat"]
WRONG = {
    "another key of the same name": token(by=key("RSA", "other")),
    "no algorithm": token(header={"alg": "none"}),
    "no algorithm in other letters": token(header={"alg": "nOnE"}),
    "an algorithm that is not pinned": token(header={"alg": "RS512"}, by=key()),
    "expired": token(claims(exp=NOW - 100)),
    "no exp": token({"sub": "ada", "iss": ISSUER, "aud": AUDIENCE}),
    "exp is text": token(claims(exp=str(NOW + 600))),
    "exp is true": token(claims(exp=True)),
    "not yet": token(claims(nbf=NOW + 1000)),
    "issued later": token(claims(iat=NOW + 1000)),
    "another issuer": token(claims(iss="https://evil.example")),
    "an issuer in a list": token(claims(iss=[ISSUER])),
    "another audience": token(claims(aud="other")),
    "no audience": token({"sub": "ada", "iss": ISSUER, "exp": NOW + 600}),
    "an audience that begins so": token(claims(aud=AUDIENCE + "x")),
    "an unknown key": token(header={"kid": "nobody"}),
    "a key that is a path": token(header={"kid": "../../../../dev/null"}),
    "a key that is a query": token(header={"kid": "x' UNION SELECT 'k"}),
    "a key that is a number": token(header={"kid": 1}),
    "its own key": token(header={"jwk": key("RSA", "other").as_dict(private=False)}, by=key("RSA", "other")),
    "a key from elsewhere": token(header={"jku": "http://evil.example/keys"}, by=key("RSA", "other")),
    "extensions": token(header={"crit": ["exp"], "exp": 1}),
    "an unencoded payload": token(header={"b64": False}),
    "no object": token(b"[]"),
    "no JSON": token(b"{"),
    "deep": token(b'{"a":' + b"[" * 5000 + b"]" * 5000 + b"}"),
    "empty": "a.b.c",
    "two parts": token().rpartition(".")[0],
    "an empty signature": token().rpartition(".")[0] + ".",
    "five parts": token() + ".a.b",
    "padded": token() + "=",
    "too long": token(claims(x="a" * 20000)),
    "a user in lists": token(claims(sub=["ada"])),
}


async def test_wrong_tokens_do_not_pass(tmp_path: Path) -> None:
    async with guarded(tmp_path) as test:
        for what, text in WRONG.items():
            status, fields, _ = await test.get(authorization=bearer(text))
            assert status == 401, what
            assert fields["www-authenticate"] == 'Bearer realm="idp", error="invalid_token"', what
        assert not test.upstream.connections


@pytest.mark.parametrize("algorithm", ["HS256", "HS384", "HS512"])
async def test_a_public_key_is_no_secret(tmp_path: Path, algorithm: str) -> None:
    """Algorithm confusion: a token signed with HMAC under the bytes of the issuer's public key, in each
    form."""
    public = key().as_pem(private=False)
    document = json.dumps(key().as_dict(private=False)).encode()
    forms = [public, public.strip() + b"\n ", key().as_der(private=False), document]
    # Both kinds are allowed here, and a secret is there too: still no key serves the other kind.
    async with guarded(tmp_path, key(), key("oct", "secret"), algorithms=["RS256", algorithm]) as test:
        for form in forms:
            for name in ("one", "secret", None):
                header = {"alg": algorithm, "kid": name}
                forged = token(header=header, by=hmac_under(form, f"sha{algorithm[2:]}"))
                assert (await test.get(authorization=bearer(forged)))[0] == 401
        assert (await test.get(authorization=bearer(token())))[0] == 200


async def test_any_change_of_a_token_makes_it_wrong(tmp_path: Path) -> None:
    """Also of one that is remembered."""
    choose = random.Random(12)
    right = token()
    async with guarded(tmp_path) as test:
        assert (await test.get(authorization=bearer(right)))[0] == 200
        client = await test.connect()
        for _ in range(150):
            at = choose.randrange(len(right) - 4)  # the last letters have bits that say nothing
            letter = choose.choice([one for one in "AZaz09-_.=" if one != right[at]])
            changed = right[:at] + letter + right[at + 1 :]
            await client.send(
                f"GET / HTTP/1.1\r\nHost: a\r\nAuthorization: Bearer {changed}\r\n\r\n".encode()
            )
            assert (await client.answer())[0] in (400, 401), changed


async def test_required_claims_are_403(tmp_path: Path) -> None:
    required = {"role": ["admin", "root"], "scope": "write", "level": 3}
    fits = {"role": ["user", "root"], "scope": "read write", "level": 3}
    async with guarded(tmp_path, required_claims=required) as test:
        assert (await test.get(authorization=bearer(token(claims(**fits)))))[0] == 200
        for change in (
            {"role": "user"},
            {"scope": "writer"},
            {"scope": None},
            {"level": "3"},
            {"level": True},
        ):
            status, fields, _ = await test.get(authorization=bearer(token(claims(**(fits | change)))))
            assert status == 403, change
            assert fields["www-authenticate"] == 'Bearer realm="idp", error="insufficient_scope"'


IDENTITY = {"x-user": "sub", "x-roles": "realm.roles"}


@pytest.mark.parametrize("parser", PARSERS)
async def test_claims_reach_the_upstream_and_a_clients_own_fields_do_not(tmp_path: Path, parser: str) -> None:
    payload = claims(realm={"roles": ["a", "b,c"]})
    async with guarded(tmp_path, headers=IDENTITY, parser=parser) as test:
        client = await test.connect()
        for smuggled in (
            "X-User: root",
            "x_user: root\r\nX-USER: root\r\nX.User: root",
            "Connection: x-user\r\nx-user: root",
            'X-Roles: ["admin"]\r\nx-roles: admin',
        ):
            head = (
                f"GET / HTTP/1.1\r\nHost: a\r\n{smuggled}\r\nAuthorization: Bearer {token(payload)}\r\n\r\n"
            )
            await client.send(head.encode())
            status, _, body = await client.answer()
            assert status == 200
            assert b"root" not in body
            assert b"admin" not in body
            assert told(body)["x-user"] == "ada"
            assert told(body)["x-roles"] == '["a","b,c"]'
        # A claim that is not there leaves nothing of the client's own.
        await client.send(
            f"GET / HTTP/1.1\r\nHost: a\r\nx-roles: admin\r\nAuthorization: Bearer {token()}\r\n\r\n".encode()
        )
        assert "x-roles" not in told((await client.answer())[2])


@pytest.mark.parametrize("value", ["a\r\nx-admin: 1", "a\nb", "a\0b", " a", "a ", "\x7f"])
async def test_a_claim_cannot_make_fields(tmp_path: Path, value: str) -> None:
    async with guarded(tmp_path, headers={"x-user": "sub"}) as test:
        assert (await test.get(authorization=bearer(token(claims(sub=value)))))[0] == 401


@pytest.mark.parametrize(
    ("source", "head", "left"),
    [
        ("header:x-token", "X-Token: TOKEN", "x-token"),
        ("cookie:session", "Cookie: a=1; session=TOKEN; b=2", "session"),
        ("query:t", "", "t="),
    ],
)
async def test_where_a_token_may_stand(tmp_path: Path, source: str, head: str, left: str) -> None:
    text = token()
    query = f"/?a=1&t={text}&b=2" if source.startswith("query") else "/"
    for removed in (False, True):
        async with guarded(tmp_path, source=source, remove_credentials=removed) as test:
            client = await test.connect()
            lines = head.replace("TOKEN", text) + "\r\n" if head else ""
            await client.send(f"GET {query} HTTP/1.1\r\nHost: a\r\n{lines}\r\n".encode())
            status, _, body = await client.answer()
            assert status == 200
            assert (text.encode() in body) is not removed
            if removed and "cookie" in source:
                assert told(body)["cookie"] == "a=1; b=2"
            if removed and "query" in source:
                assert body.startswith(b"GET /?a=1&b=2\n")
            # Two of them: which one is meant, others may read otherwise.
            twice = {
                "header:x-token": "X-Token: a\r\nX-Token: TOKEN",
                "cookie:session": "Cookie: session=a; session=TOKEN",
            }
            target = f"/?t=a&%74={text}" if "query" in source else "/"
            lines = twice.get(source, "").replace("TOKEN", text) + "\r\n" if source in twice else ""
            await client.send(f"GET {target} HTTP/1.1\r\nHost: a\r\n{lines}\r\n".encode())
            assert (await client.answer())[0] == 400


async def test_a_verified_token_is_known_until_it_ends(tmp_path: Path, monkeypatch: Any) -> None:
    from blitz.builtin import jwt

    verified = []
    real = jwt.verify
    monkeypatch.setattr(jwt, "verify", lambda *args: verified.append(1) or real(*args))
    async with guarded(tmp_path) as test:
        text = token()
        for _ in range(5):
            assert (await test.get(authorization=bearer(text)))[0] == 200
        assert len(verified) == 1
        monkeypatch.setattr("time.time", lambda: NOW + 10_000.0)
        assert (await test.get(authorization=bearer(text)))[0] == 401


# ---------------------------------------------------------------- keys that are fetched


@asynccontextmanager
async def fetching(server: KeyServer, **settings: Any) -> Any:
    """A gateway that fetches keys of *server*."""
    idp = FakeUpstream(server)
    async with trio.open_nursery() as nursery:
        await nursery.start(idp.run)
        jwt = JwtAuth(
            **{"jwks_url": f"{idp.endpoint}/keys", "issuer": ISSUER, "audiences": [AUDIENCE], "timeout": 5.0}
            | settings
        )
        async with rig(auth={"idp": Auth(jwt=jwt)}, routes=[Route(upstream="main", auth="idp")]) as test:
            yield test, idp
        nursery.cancel_scope.cancel()


async def test_keys_are_fetched_and_rotate() -> None:
    server = KeyServer(jwks(key()), jwks(key("RSA", "two")))
    async with fetching(server, min_refresh=0.1) as (test, idp):
        assert (await test.get(authorization=bearer(token())))[0] == 200
        assert idp.connections
        await becomes(test, 200, token(name="two"))
        # The first key is published no more: a token of it that was remembered ends with it.
        assert (await test.get(authorization=bearer(token())))[0] == 401


async def test_unknown_keys_do_not_make_fetches() -> None:
    server = KeyServer(jwks(key()))
    async with fetching(server) as (test, _):
        assert (await test.get(authorization=bearer(token())))[0] == 200
        for number in range(30):
            assert (await test.get(authorization=bearer(token(header={"kid": f"k{number}"}))))[0] == 401
        assert server.asked == 1


@pytest.mark.parametrize(
    "lie",
    [
        500,
        b"",
        b"[]",
        b'{"keys":[]}',
        b'{"keys":"no"}',
        jwks(key("oct"), private=True),
        b'{"keys":[{"kty":"RSA","n":"AQAB","e":"AQAB","kid":"one"}]}',
        b'{"keys":[' + b",".join([b"{}"] * 200) + b"]}",
        b"[" * 100_000,
        b" " * (600 * 1024),
    ],
    ids=["500", "empty", "list", "none", "text", "secrets", "small", "many", "deep", "large"],
)
async def test_an_issuer_that_lies_lets_nobody_pass(lie: Any) -> None:
    async with fetching(KeyServer(lie)) as (test, _):
        status, fields, _ = await test.get(authorization=bearer(token()))
        assert status == 503
        assert fields["retry-after"]
        if not isinstance(lie, int) and b"oct" in lie:
            forged = token(kind="oct")
            assert (await test.get(authorization=bearer(forged)))[0] == 503


async def test_keys_that_were_there_go_on_while_an_issuer_lies_or_stalls() -> None:
    server = KeyServer(jwks(key()), b'{"keys":[]}', None)
    async with fetching(server, min_refresh=0.1, timeout=0.2, leeway=0) as (test, _):
        assert (await test.get(authorization=bearer(token())))[0] == 200
        for _ in range(3):
            await trio.sleep(0.12)
            await test.get(authorization=bearer(token(header={"kid": "unknown"})))
            assert (await test.get(authorization=bearer(token())))[0] == 200
        await until(lambda: server.asked > 1, 20)


async def test_an_issuer_that_stalls_holds_nobody_for_longer_than_its_timeout() -> None:
    async with fetching(KeyServer(None), timeout=0.2) as (test, _):
        with trio.fail_after(20):
            assert (await test.get(authorization=bearer(token())))[0] == 503
            # Other routes and requests are not concerned; one without a token needs no keys.
            assert (await test.get())[0] == 401


async def test_old_keys_end() -> None:
    server = KeyServer(jwks(key()), 500)
    async with fetching(server, max_stale=1, refresh=1) as (test, _):
        assert (await test.get(authorization=bearer(token())))[0] == 200
        await becomes(test, 503, token())


async def test_a_reload_goes_on_with_the_keys_there_are() -> None:
    server = KeyServer(jwks(key()), 500)
    async with fetching(server) as (test, _):
        assert (await test.get(authorization=bearer(token())))[0] == 200
        await test.gateway.reload(test.config)
        for _ in range(3):
            assert (await test.get(authorization=bearer(token())))[0] == 200
        assert server.asked == 1
