"""Guests that loop for ever take turns: of any number, one of them runs per pass of the event loop."""

from __future__ import annotations

from pathlib import Path

import trio
import trio.testing
import wasmtime

from blitz.config import Plugin, Route, Timeouts

from .harness import answering, rig, until
from .test_plugins import HEAD, OK, REQUEST

LOOPING = 16
PASSES = 200
LOOP = f"(module {HEAD} {REQUEST} (loop $l (br $l)) (i32.const 0)))"
GET = b"GET /%s HTTP/1.1\r\nHost: test\r\n\r\n"


async def test_looping_guests_take_turns_and_others_are_answered(tmp_path: Path) -> None:
    file = tmp_path / "loop.wasm"
    file.write_bytes(wasmtime.wat2wasm(LOOP))
    plugin = Plugin(name="loop", file=str(file), timeout=60, max_instances=LOOPING)
    routes = [Route(upstream="main", path_prefix="/loop"), Route(upstream="main", plugins=[])]
    end = Timeouts(drain=0.1)
    async with rig(answering(OK), plugins=[plugin], routes=routes, timeouts=end) as test:
        for _ in range(LOOPING):
            await (await test.connect()).send(GET % b"loop")
        await until(lambda: test.gateway.statistics().plugins["loop"].live == LOOPING)
        slices = []
        before = test.gateway.statistics().guests.pended
        for _ in range(PASSES):
            await trio.lowlevel.cancel_shielded_checkpoint()
            now = test.gateway.statistics().guests.pended
            slices.append(now - before)
            before = now
        # We are now before, now behind the guest whose turn it is: two passes show as 2 and 0, or as 1 and 1.
        assert max(slices) <= 2
        assert PASSES // 4 < sum(slices) <= PASSES + 2
        client = await test.connect()
        for _ in range(20):
            await client.send(GET % b"clean")
            assert (await client.answer())[0] == 200
        assert test.gateway.statistics().plugins["loop"].live == LOOPING
        assert test.gateway.faults() == ()
