"""Each hostile guest ends in a defined way, and the guest beside it works all the while."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from blitz._native import lib
from blitz.errors import PluginError, PluginLoadError, PluginTimeout
from blitz.wasm.engine import Engine
from blitz.wasm.instance import FAULT, PENDING
from tests.wasm.support import Guest, exchanging, running

from .guests import GUESTS, HostileGuest

SLICES = 3  # of an endless call, before it is cancelled
CLEAN = (Path(__file__).resolve().parents[1] / "guests" / "copy_header.wat").read_text(encoding="utf-8")


@contextmanager
def neighbour(engine: Engine, wat: Callable[[str], bytes]) -> Iterator[Callable[[], None]]:
    """Yield a function that has a clean guest do its work and checks the outcome."""
    fields = [(b"host", b"example.org"), (b"x-user", b"fred")]
    with running(engine, wat(CLEAN), name="neighbour") as guest:

        def works() -> None:
            with exchanging(fields=fields) as exchange:
                assert guest.request(exchange) == lib.BLITZ_V_CONTINUE | lib.BLITZ_R_EDITS
                assert exchange.request_fields() == [*fields, (b"x-out", b"fred")]

        works()
        yield works
        works()


def fault(guest: Guest, works: Callable[[], None], code: int, *, endless: bool) -> PluginError:
    """Drive a call to its fault; an endless one is cancelled."""
    slices = 0
    while code == PENDING and (not endless or slices < SLICES):
        works()
        slices += 1
        code = guest.instance.resume()
    if endless:
        assert code == PENDING
        guest.instance.cancel()
        assert isinstance(guest.instance.fault(), PluginTimeout)
    else:
        assert code == FAULT or code & 3 == lib.BLITZ_V_ERROR
    return guest.instance.fault()


def call(guest: Guest, hostile: HostileGuest, exchange: object) -> int:
    if hostile.text == "process_response":
        return guest.instance.response(exchange)
    return guest.instance.request(exchange)


def test_there_are_enough_of_them() -> None:
    assert len(GUESTS) >= 40


@pytest.mark.parametrize("hostile", [pytest.param(guest, id=guest.name) for guest in GUESTS])
def test_it_ends_in_a_defined_way(engine: Engine, wat: Callable[[str], bytes], hostile: HostileGuest) -> None:
    with neighbour(engine, wat) as works:
        if hostile.outcome == "refused":
            with pytest.raises(PluginLoadError) as caught:
                Guest(engine, hostile.wasm)
            assert hostile.text in str(caught.value)
            return
        where, _, what = hostile.outcome.rpartition("-")
        endless = what == "timeout"
        with running(engine, hostile.wasm, started=False) as guest, exchanging() as exchange:
            code = guest.instance.start()
            if where == "start":
                error = fault(guest, works, code, endless=endless)
            else:
                assert guest.finish(code) & 3 == 0
                error = hook(guest, hostile, works, exchange)
            if error is not None:
                assert (error.hook == hostile.text) if endless else (hostile.text in str(error))
                assert exchange.request_fields() == [(b"host", b"example.org")] or where == "cleanup"
                assert guest.request(exchange) == lib.BLITZ_E_STATE or hostile.name == "error_verdict"


def hook(
    guest: Guest, hostile: HostileGuest, works: Callable[[], None], exchange: object
) -> PluginError | None:
    native = exchange.c  # type: ignore[attr-defined]
    where, _, what = hostile.outcome.rpartition("-")
    if where != "cleanup" and what in ("trap", "timeout", "verdict"):
        return fault(guest, works, call(guest, hostile, native), endless=what == "timeout")
    for length in (300, 30, 3):
        with exchanging(target=b"/" + b"x" * length) as another:
            assert guest.finish(guest.instance.request(another.c)) & 3 == lib.BLITZ_V_CONTINUE
        lines = guest.log()
        assert hostile.outcome != "logs" or lines == [hostile.text]
    if where == "cleanup":
        return fault(guest, works, guest.instance.cleanup(), endless=what == "timeout")
    return None
