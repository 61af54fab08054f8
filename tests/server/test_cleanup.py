"""cleanup() of instances that leave: nobody waits for more than one timeout of it."""

from __future__ import annotations

from typing import Any

import trio

from blitz.config import Config

from .harness import answering, rig, until
from .test_plugins import GET, OK, REQUEST, RESPONSE, guest

__all__ = ["guest"]

TIMEOUT = 0.3
AT_ONCE = 24
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
        # Housekeeping looks once a second; one behind the other they would take as long as this and longer.
        await until(lambda: engine.statistics().instances_live == 0, 1.0 + AT_ONCE * TIMEOUT)
