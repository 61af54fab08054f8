"""Tokens and key sets as pure functions. Any bytes give a Token or BadToken, a KeySet or BadKeys."""

from __future__ import annotations

import json
import random
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from blitz.builtin.jwks import BadKeys, KeySource, read_key_set
from blitz.builtin.tokens import BadToken, check_times, claim_text, find_claim, fits, read_token, verify

from .issuer import ALGORITHMS, jwks, key, part, token

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=6), inner, max_size=4),
    max_leaves=12,
)
HEADER = st.fixed_dictionaries(
    {},
    optional={
        "alg": st.sampled_from([*ALGORITHMS.values(), "none", "None", ""]) | JSON,
        "kid": st.sampled_from(["one", "two", ""]) | JSON,
        "typ": JSON,
        "crit": JSON,
        "b64": JSON,
        "jwk": JSON,
        "jku": JSON,
    },
)


@given(
    st.binary(max_size=300)
    | st.builds(lambda parts: b".".join(parts), st.lists(st.binary(max_size=60), max_size=5))
)
@settings(max_examples=120, deadline=None)
def test_any_bytes_are_a_token_or_refused(octets: bytes) -> None:
    try:
        read_token(octets)
    except BadToken as error:
        assert octets.decode("latin-1") not in str(error) or len(octets) < 3


@given(HEADER, JSON, st.binary(max_size=100))
@settings(max_examples=120, deadline=None)
def test_nobody_without_a_key_is_believed(header: Any, payload: Any, signature: bytes) -> None:
    keys = read_key_set(jwks(key(), key("P-256", "two"), private=True), secrets=True)
    text = b".".join([part(header), part(payload), part(signature)])
    with pytest.raises(BadToken):
        found = read_token(text)
        verify(found, keys.candidates(found.key_id, found.algorithm))


def test_a_key_verifies_only_what_it_is_for() -> None:
    """Each kind of key, and tokens of each other kind, under its name."""
    kinds = list(ALGORITHMS)
    for kind in kinds:
        keys = read_key_set(jwks(key(kind), private=True), secrets=True)
        for other in kinds:
            found = read_token(token(kind=other).encode())
            candidates = keys.candidates("one", found.algorithm)
            assert bool(candidates) == (kind == other), (kind, other)


@given(JSON)
@settings(max_examples=80, deadline=None)
def test_any_json_is_a_key_set_or_refused(document: Any) -> None:
    for value in (document, {"keys": document}, {"keys": [document]}):
        octets = json.dumps(value).encode()
        with pytest.raises(BadKeys):
            read_key_set(octets, secrets=False)


def test_keys_that_are_changed_are_left_out_or_are_other_keys() -> None:
    """A set with anything wrong in one key still gives the others, and raises nothing of the libraries'."""
    choose = random.Random(3)
    kinds = ["RSA", "P-256", "P-384", "Ed25519"]
    for _ in range(150):
        bad = dict(key(choose.choice(kinds), "bad").as_dict(private=choose.random() < 0.3))
        for _ in range(choose.randrange(1, 3)):
            name = choose.choice([*bad, "crv", "use", "alg", "key_ops", "kty"])
            bad[name] = choose.choice(
                ["", "AA", "RSA", "enc", "none", "x" * 5000, 1, None, [], {}, "P-256", "é"]
            )
        good = key("P-256").as_dict(private=False)
        keys = read_key_set(json.dumps({"keys": [bad, good]}).encode(), secrets=False)
        assert keys.candidates("one", "ES256")
        assert not any(one.key.is_private for one in keys.all)


def test_private_keys_and_secrets_that_are_published_are_not_used() -> None:
    with pytest.raises(BadKeys):
        read_key_set(jwks(key("oct"), private=True), secrets=False)
    (found,) = read_key_set(jwks(key(), private=True), secrets=False).all
    assert not found.key.is_private


@given(JSON, JSON, JSON, st.floats(0, 1e10))
@settings(max_examples=120, deadline=None)
def test_any_times_are_times_or_refused(exp: Any, nbf: Any, iat: Any, now: float) -> None:
    try:
        ends = check_times({"exp": exp, "nbf": nbf, "iat": iat}, now, 60.0)
    except BadToken:
        return
    assert not isinstance(exp, bool)
    assert now < ends


def test_claims() -> None:
    claims = {"a.b": 1, "a": {"b": 2, "c": {"d": "x"}}}
    assert find_claim(claims, "a.b") == 1
    assert find_claim(claims, "a.c.d") == "x"
    assert find_claim(claims, "a.c.d.e") is None
    assert claim_text({"a": ["é"]}) == '{"a":["é"]}'
    assert fits("scope", "read write", "read")
    assert not fits("role", "read write", "read")
    assert not fits("level", True, 1)
    assert not fits("level", 1, True)
    assert not fits("x", None, ["a"])
    assert fits("x", ["a", "b"], ["c", "b"])


def source(**more: Any) -> KeySource:
    return KeySource(**({"name": "idp", "upstream": "u", "authority": "i", "target": b"/"} | SECONDS | more))


SECONDS = {"refresh": 600.0, "min_refresh": 10.0, "max_stale": 3600.0, "timeout": 5.0}
DOCUMENT = jwks(key("P-256"))


def test_when_keys_are_fetched() -> None:
    keys = read_key_set(DOCUMENT, secrets=False)
    one = source()
    assert one.is_due(0.0)
    one.begin(0.0)
    assert not one.is_due(100.0), "a fetch runs"
    one.took(DOCUMENT, keys, 1.0)
    one.end()
    assert not one.is_due(599.0)
    assert one.is_due(600.0)
    one.want()  # a token has a key that is not there
    assert not one.is_due(9.9)
    assert one.is_due(10.0)
    one.begin(10.0)
    one.failed("gone")
    one.end()
    assert one.usable(11.0) is keys
    assert not one.is_due(19.9)
    one.want()
    assert not one.is_due(19.9), "whoever asks does not make it sooner"
    assert one.is_due(20.0)
    assert one.usable(3601.0) is keys
    assert one.usable(3602.0) is None


def test_pauses_grow_while_fetches_fail() -> None:
    one, now, pauses = source(), 0.0, []
    for _ in range(10):
        assert one.is_due(now)
        one.begin(now)
        one.failed("gone")
        one.end()
        pauses.append(one.due_at - now)
        now = one.due_at
    assert pauses == sorted(pauses)
    assert (pauses[0], pauses[-1]) == (1.0, 60.0)


def test_the_same_keys_are_the_same_generation() -> None:
    first, again = (read_key_set(DOCUMENT, secrets=False, generation=n) for n in (1, 2))
    one = source()
    one.took(DOCUMENT, first, 0.0)
    one.took(DOCUMENT, again, 1.0)
    assert one.keys is first
    assert one.fetched_at == 1.0
    other = source(max_stale=5.0)
    other.go_on_from(one)
    assert other.usable(3.0) is first
