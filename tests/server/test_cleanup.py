"""cleanup() of instances that leave: nobody waits for more than one timeout of it."""

from __future__ import annotations

from typing import Any

import trio

from blitz.config import Config

from .harness import answering, rig, until
from .test_plugins import GET, OK, REQUEST, RESPONSE, guest

__all__ = ["guest"]

TIMEOUT = 0.3
AT_ONCE = 8
LOOPING = f"""(func (export "cleanup") (result i32) (loop $l (br $l)) (i32.const 0))
    {REQUEST} (i32.const 0)) {RESPONSE} (i32.const 0))"""


async def test_looping_cleanups_end_side_by_side(guest: Any) -> None:
    release = trio.Event()
    async with rig(answering(OK, when=release), plugins=[guest(LOOPING, timeout=TIMEOUT)]) as test:
        for _ in range(AT_ONCE):
            client = await test.connect()
            await client.send(GET)
        engine = test.gateway._engine
        await until(lambda: len(test.upstream.connections) == AT_ONCE)
        release.set()
        await until(lambda: not test.gateway.statistics().in_flight)
        assert engine.statistics().instances_live >= AT_ONCE
        await test.gateway.reload(Config(routes=test.config.routes, upstreams=test.config.upstreams))
        began = trio.current_time()
        await until(lambda: engine.statistics().instances_live == 0)
        # Housekeeping looks once a second.
        assert trio.current_time() - began < 1.0 + 2 * TIMEOUT + 0.5
