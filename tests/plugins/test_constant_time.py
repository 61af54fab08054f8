"""auth_custom takes the same number of instructions whatever about a credential is wrong.

Fuel counts executed WebAssembly instructions, so an early exit anywhere would show as a difference.
"""

from __future__ import annotations

import hashlib
import hmac
import itertools
import time

import pytest

from .cases import PLUGINS
from .reference_host import Message, ReferencePlugin

KEY = "0123456789abcdef0123456789abcdef"
WRONG_KEYS = {
    "first byte": "x" + KEY[1:],
    "middle byte": KEY[:16] + "x" + KEY[17:],
    "last byte": KEY[:-1] + "x",
    "every byte": "x" * len(KEY),
}


def start(config: dict[str, object]) -> ReferencePlugin:
    plugin = ReferencePlugin(PLUGINS / "auth_custom.wasm", config, {})
    assert plugin.init_result == 0
    return plugin


def near_miss(digest: bytes, equal_bytes: int) -> str:
    """A wrong key of KEY's length whose SHA-256 begins like *digest*, but no longer."""
    for number in itertools.count():
        key = f"{number:032x}"
        seen = hashlib.sha256(key.encode()).digest()
        if seen[:equal_bytes] == digest[:equal_bytes] and seen[equal_bytes] != digest[equal_bytes]:
            return key
    raise AssertionError


@pytest.mark.parametrize("position", [0, 3, 6])
def test_api_keys_are_compared_in_constant_time(position: int) -> None:
    keys = [f"user{i}:{'k' * 31}{i}" for i in range(6)]
    keys.insert(position, f"alice:{KEY}")
    plugin = start({"keys": keys})
    digest = hashlib.sha256(KEY.encode()).digest()
    # Digests are what the plugin compares: some that begin like the right one.
    wrong = WRONG_KEYS | {f"{n} bytes of the digest right": near_miss(digest, n) for n in (0, 1, 2)}
    fuel = {what: plugin.fuel_of("GET", "/", Message([("x-api-key", key)])) for what, key in wrong.items()}
    assert len(set(fuel.values())) == 1, fuel


def test_an_accepted_key_costs_the_same_wherever_it_stands_in_the_list() -> None:
    others = [f"user{i}:{'k' * 31}{i}" for i in range(6)]
    fuel = set()
    for position in (0, 3, 6):
        keys = [*others[:position], f"alice:{KEY}", *others[position:]]
        fuel.add(start({"keys": keys}).fuel_of("GET", "/", Message([("x-api-key", KEY)])))
    assert len(fuel) == 1


def test_signatures_are_compared_in_constant_time() -> None:
    plugin = start({"hmac_secrets": ["partner:secret"]})
    timestamp = str(int(time.time()))
    good = hmac.new(b"secret", f"GET\n/\n{timestamp}\n".encode(), hashlib.sha256).hexdigest()

    def fuel(signature: str, key_id: str = "partner") -> int:
        headers = [("x-blitz-key-id", key_id), ("x-blitz-timestamp", timestamp)]
        return plugin.fuel_of("GET", "/", Message([*headers, ("x-blitz-signature", signature)]))

    wrong = {"x" + good[1:], good[:-1] + "x", good[:32] + "x" + good[33:], "x" * 64}
    assert len({fuel(signature) for signature in wrong}) == 1


def test_fuel_would_show_an_early_exit() -> None:
    """The measure itself: a longer key, one more SHA-256 block, costs more."""
    plugin = start({"keys": [f"alice:{KEY}"]})
    short = plugin.fuel_of("GET", "/", Message([("x-api-key", "k" * 40)]))
    long = plugin.fuel_of("GET", "/", Message([("x-api-key", "k" * 70)]))
    assert long > short
