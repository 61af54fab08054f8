"""Invariant: any bytes are a plugin or a PluginLoadError with one sentence; what loads ends in a verdict, a
fault or a cancel; nothing else comes of it, and a clean guest beside it works.

BLITZ_FUZZ_MODULES says how many to try (default 400); BLITZ_FUZZ_SEED another series.
"""

from __future__ import annotations

import os
import random
from collections.abc import Callable
from pathlib import Path

import pytest

from blitz.errors import PluginError, PluginLoadError
from blitz.wasm.engine import Engine
from blitz.wasm.instance import FAULT, PENDING
from tests.wasm.support import Guest, exchanging

from .guests import GUESTS
from .test_guests import neighbour

ROOT = Path(__file__).resolve().parents[2]
MODULES = int(os.environ.get("BLITZ_FUZZ_MODULES", "400"))
SEED = int(os.environ.get("BLITZ_FUZZ_SEED", "1"))
SLICES = 3


def corpus() -> list[bytes]:
    plugins = [path.read_bytes() for path in sorted((ROOT / "plugins").glob("*.wasm"))]
    return [guest.wasm for guest in GUESTS] + plugins


def mutate(chance: random.Random, data: bytes) -> bytes:
    """Change a few bytes, cut a piece, or double one; most leave the preamble alone."""
    out = bytearray(data)
    for _ in range(chance.choice((1, 1, 1, 1, 2, 8))):
        at = chance.randrange(8 if chance.random() < 0.95 else 0, len(out) + 1)
        what = chance.random()
        if what < 0.9 and at < len(out):
            out[at] = chance.choice(
                (out[at] ^ (1 << chance.randrange(8)), 0, 0x7F, 0xFF, chance.randrange(256))
            )
        elif what < 0.95:
            del out[at : at + chance.randrange(1, 5)]
        else:
            out[at:at] = out[max(0, at - chance.randrange(1, 9)) : at]
    return bytes(out)


def drive(guest: Guest, code: int) -> bool:
    """Run a call for a few slices. -> it came to a healthy end."""
    for _ in range(SLICES):
        if code != PENDING:
            break
        code = guest.instance.resume()
    if code == PENDING:
        guest.instance.cancel()
    if code in (PENDING, FAULT):
        assert str(guest.instance.fault())
        return False
    assert code >= 0
    return True


def run(engine: Engine, data: bytes) -> bool:
    """-> it was a plugin."""
    try:
        guest = Guest(engine, data)
    except PluginLoadError as error:
        assert "\n" not in str(error) and len(str(error)) < 1200
        return False
    try:
        with exchanging(target=b"/path", fields=[(b"host", b"a.example"), (b"x-user", b"u")]) as exchange:
            exchange.respond(200, [(b"x-user", b"u")], b"a body")
            healthy = drive(guest, guest.instance.start())
            if healthy and guest.plugin.has_request:
                healthy = drive(guest, guest.instance.request(exchange.c))
            if healthy and guest.plugin.has_response:
                healthy = drive(guest, guest.instance.response(exchange.c))
            if healthy:
                drive(guest, guest.instance.cleanup())
            guest.instance.take_log()
    finally:
        guest.close()
    return True


def test_mutated_modules(engine: Engine, wat: Callable[[str], bytes], tmp_path: Path) -> None:
    chance = random.Random(SEED)
    originals = corpus()
    loaded = 0
    with neighbour(engine, wat) as works:
        for number in range(MODULES):
            data = mutate(chance, chance.choice(originals))
            try:
                loaded += run(engine, data)
            except (AssertionError, PluginError):
                (tmp_path / f"mutant-{number}.wasm").write_bytes(data)
                raise
            if number % 50 == 0:
                works()
    # Not all are refused at the door, or this would test little.
    assert loaded > MODULES // 20


@pytest.mark.parametrize("size", [0, 1, 7, 8, 9, 100, 10_000])
def test_noise(engine: Engine, size: int) -> None:
    chance = random.Random(size)
    assert not run(engine, chance.randbytes(size))
    assert not run(engine, (b"\0asm\1\0\0\0" + chance.randbytes(size))[: size + 7])
