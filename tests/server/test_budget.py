"""How long plugins may keep an exchange waiting, together; and when nobody waits for them any more."""

from __future__ import annotations

import socket
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import trio
import wasmtime

from blitz.config import Plugin, Timeouts
from blitz.wasm.engine import Engine

from .harness import Rig, answering, rig
from .test_plugins import HEAD, OK, REQUEST, RESPONSE

LOOP = "(loop $l (br $l)) (i32.const 0))"
WAIT = """
  (local $until i64)
  (local.set $until (i64.add (call $now) (i64.const 150)))
  (loop $l (br_if $l (i64.lt_s (call $now) (local.get $until))))
  (i32.const 0))
"""
Make = Callable[..., Plugin]


@pytest.fixture
def guest(tmp_path: Path) -> Make:
    def make(body: str, name: str = "guest", **settings: Any) -> Plugin:
        path = tmp_path / f"{name}.wasm"
        imports = '(import "blitz" "now_ms" (func $now (result i64)))'
        path.write_bytes(wasmtime.wat2wasm(f"(module {imports} {HEAD} {body})"))
        return Plugin(name=name, file=str(path), **{"response_body": "none", "timeout": 60, **settings})

    return make


async def until(true: Callable[[], object]) -> None:
    with trio.fail_after(20):
        while not true():  # noqa: ASYNC110
            await trio.sleep(0.01)


def live(test: Rig) -> int:
    return test.gateway.statistics().plugins["guest"].live


@pytest.mark.parametrize("failure", ["closed", "open"])
async def test_over_its_budget_an_exchange_fails_closed(guest: Make, failure: str) -> None:
    """Whatever the policy says: what the plugin was to check has not been checked."""
    plugin = guest(f"{REQUEST} {LOOP}", failure=failure)
    async with rig(answering(OK), plugins=[plugin], timeouts=Timeouts(chain=0.2)) as test:
        began = trio.current_time()
        status, _, body = await test.get()
        assert (status, b"request " in body) == (500, True)
        assert 0.2 <= trio.current_time() - began < 5
        (fault,) = test.gateway.faults()
        assert fault.kind == "timeout"
        assert fault.message == (
            "the plugins of one exchange took longer than they may together; the last was guest, in "
            "process_request"
        )
        assert not test.upstream.connections
        assert live(test) == 0
        assert test.gateway.statistics().plugins["guest"].faults == 0


async def test_the_budget_is_of_all_plugins_together(guest: Make) -> None:
    plugins = [guest(f"{REQUEST} {WAIT}", name=name) for name in ("a", "b", "c", "d")]
    async with rig(answering(OK), plugins=plugins, timeouts=Timeouts(chain=0.4)) as test:
        assert (await test.get())[0] == 500
        (fault,) = test.gateway.faults()
        assert fault.plugin in ("c", "d")
    async with rig(answering(OK), plugins=plugins, timeouts=Timeouts(chain=0)) as test:
        assert (await test.get())[0] == 200


async def test_the_budget_is_of_both_phases_together(guest: Make) -> None:
    plugin = guest(f"{REQUEST} {WAIT} {RESPONSE} {WAIT}")
    async with rig(answering(OK), plugins=[plugin], timeouts=Timeouts(chain=0.25)) as test:
        for _ in range(10):
            # On a busy machine the first phase alone may take that long, or a whole one nothing but a pause.
            status, _, _ = await test.get()
            if status == 500 and test.gateway.faults()[-1].hook == "process_response":
                break
        else:
            pytest.fail("it was never over in the response")


async def test_waiting_for_an_instance_counts_too(guest: Make) -> None:
    body = f"""{REQUEST}
      (loop $l (br_if $l (i32.eq (i32.load8_u (i32.add (local.get 2) (i32.const 1))) (i32.const 108))))
      (i32.const 0))"""
    plugin = guest(body, instances="single", timeout=2)
    async with rig(answering(OK), plugins=[plugin], timeouts=Timeouts(chain=0.3)) as test:
        assert (await test.get())[0] == 200
        async with trio.open_nursery() as nursery:
            nursery.start_soon(test.get, "/loop")
            await trio.sleep(0.1)
            status, _, _ = await test.get("/")
            # The first one gave up in time for this one, or this one gave up first.
            assert status in (200, 503)
        assert (await test.get())[0] == 200


async def test_no_instance_in_time_is_503(guest: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    plugin = guest(f"{REQUEST} (i32.const 0))", instances="single")
    async with rig(answering(OK), plugins=[plugin], timeouts=Timeouts(chain=0.1)) as test:
        (pool,) = test.gateway._context.runtime.pools
        instance = pool.take()  # somebody has it
        assert (await test.get())[0] == 503
        (fault,) = test.gateway.faults()
        assert fault.kind == "suspended"
        assert not pool.waiters
        pool.give(instance)
        assert (await test.get())[0] == 200


# ---------------------------------------------------------------- clients that leave


async def test_a_client_that_resets_ends_its_guest(guest: Make) -> None:
    plugin = guest(f"{REQUEST} {LOOP}")
    async with rig(plugins=[plugin], timeouts=Timeouts(chain=0)) as test:
        client = await test.connect()
        await client.send(b"GET / HTTP/1.1\r\nHost: test\r\n\r\n")
        await until(lambda: test.gateway.statistics().in_flight)
        client.stream.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        await client.stream.aclose()
        await until(lambda: not test.gateway.statistics().connections)
        assert live(test) == 0
        assert test.gateway.faults() == ()


async def test_a_client_that_has_said_all_still_gets_its_answer(guest: Make) -> None:
    """Closing the sending half is no reset: many clients do it after their last request."""
    plugin = guest(f"{REQUEST} {WAIT}")
    async with rig(answering(OK), plugins=[plugin]) as test:
        client = await test.connect()
        await client.send(b"GET / HTTP/1.1\r\nHost: test\r\nConnection: close\r\n\r\n")
        await client.stream.send_eof()
        assert (await client.answer())[0] == 200


# ---------------------------------------------------------------- instances of a running gateway


async def test_warm_instances_are_there_before_the_first_request(guest: Make) -> None:
    plugin = guest(f"{REQUEST} (i32.const 0))", warm=3)
    async with rig(answering(OK), plugins=[plugin]) as test:
        statistics = test.gateway.statistics().plugins["guest"]
        assert (statistics.live, statistics.idle, statistics.made) == (3, 3, 3)
        await test.get()
        assert test.gateway.statistics().plugins["guest"].made == 3


@pytest.mark.parametrize("failure", ["closed", "open"])
async def test_a_suspended_plugin_is_not_run_and_comes_back(
    guest: Make, failure: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr("blitz.wasm.pool.QUARANTINE_FIRST_PAUSE", 0.3)
    plugin = guest(f"{REQUEST} (if (i32.eq (local.get 3) (i32.const 2)) (then unreachable)) (i32.const 0))")
    plugin = Plugin(name="guest", file=plugin.file, failure=failure, response_body="none")  # type: ignore[arg-type]
    async with rig(answering(OK), plugins=[plugin]) as test:
        assert (await test.get())[0] == 200
        for _ in range(20):
            assert (await test.get("/x"))[0] == (500 if failure == "closed" else 200)
        caplog.clear()
        made = test.gateway.statistics().plugins["guest"]
        for _ in range(5):
            assert (await test.get())[0] == (503 if failure == "closed" else 200)
        now = test.gateway.statistics().plugins["guest"]
        assert now.quarantined
        assert (now.calls, now.made, now.faults) == (made.calls, made.made, made.faults)
        assert not [record for record in caplog.records if record.name == "blitz.plugin"]
        assert len(test.gateway.faults()) == 20
        await trio.sleep(0.35)
        assert (await test.get())[0] == 200
        assert test.gateway.statistics().plugins["guest"].calls == made.calls + 1


@pytest.mark.parametrize("cleanup", ["unreachable", "(loop $l (br $l))"])
async def test_a_fault_in_cleanup_hurts_nobody_and_is_told(guest: Make, cleanup: str) -> None:
    hook = f'(func (export "cleanup") (result i32) {cleanup} (i32.const 0))'
    plugin = guest(f"{REQUEST} (i32.const 0)) {hook}", max_requests=1, timeout=0.1)
    async with rig(answering(OK), plugins=[plugin]) as test:
        client = await test.connect()
        for _ in range(3):
            await client.send(b"GET / HTTP/1.1\r\nHost: test\r\n\r\n")
            assert (await client.answer())[0] == 200
        await test.gateway._housekeeping.look_after()
        assert {fault.hook for fault in test.gateway.faults()} == {"cleanup"}
        assert len(test.gateway.faults()) == 3


def test_every_instance_is_gone_when_the_gateway_is(guest: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    left: list[int] = []
    close = Engine.close

    def looked(engine: Engine) -> None:
        left.append(engine.statistics().instances_live)
        close(engine)

    monkeypatch.setattr(Engine, "close", looked)

    async def main() -> None:
        async with rig(answering(OK), plugins=[guest(f"{REQUEST} (i32.const 0))", warm=4)]) as test:
            await test.get()

    trio.run(main)
    assert left == [0]
