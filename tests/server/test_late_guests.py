"""A guest that is stopped at a deadline: log, records and errors have the frames that it was in."""

from __future__ import annotations

import logging
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import trio
import wasmtime

import blitz
from blitz.config import Plugin, Timeouts

from .harness import answering, rig

OK = b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello"
FRAMES = ("spin", "middle", "entrance")
HOOKS = {
    "start": "(func $entrance (call $middle)) (start $entrance)",
    "init": '(func $entrance (export "init") (result i32) (call $middle) (i32.const 0))',
    "process_request": '(func $entrance (export "process_request") (param i32 i32 i32 i32) (result i32)'
    " (call $middle) (i32.const 0))",
    "process_response": '(func $entrance (export "process_response") (param i32 i32 i32) (result i32)'
    " (call $middle) (i32.const 0))",
    "cleanup": '(func $entrance (export "cleanup") (result i32) (call $middle) (i32.const 0))',
}
Make = Callable[..., Plugin]


@pytest.fixture
def looping(tmp_path: Path) -> Make:
    """looping(hook, **settings) -> Plugin: its *hook* never returns."""

    def make(hook: str, **settings: Any) -> Plugin:
        path = tmp_path / "guest.wasm"
        request = '(func (export "process_request") (param i32 i32 i32 i32) (result i32) (i32.const 0))'
        path.write_bytes(
            wasmtime.wat2wasm(
                f"""(module (memory (export "memory") 1)
                  (func (export "blitz_buffer") (result i32) (i32.const 1024))
                  (func (export "blitz_buffer_size") (result i32) (i32.const 4096))
                  (func $spin (loop $l (br $l))) (func $middle (call $spin))
                  {HOOKS[hook]} {"" if hook == "process_request" else request})"""
            )
        )
        settings = {"response_body": "none", "timeout": 0.05} | settings
        return Plugin(name="guest", file=str(path), **settings)

    return make


@pytest.mark.parametrize("hook", ["process_request", "process_response"])
async def test_a_hook_past_its_timeout(looping: Make, hook: str, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING, "blitz"):
        async with rig(answering(OK), plugins=[looping(hook)]) as test:
            assert (await test.get())[0] == 500
            (fault,) = test.gateway.faults()
    assert (fault.kind, fault.hook, fault.frames) == ("timeout", hook, FRAMES)
    assert fault.message.startswith(f"guest failed in {hook}: it ran longer than 50 ms (")
    said = [record for record in caplog.records if record.name == "blitz.plugin"]
    (block,) = (record.getMessage() for record in said if fault.message in record.getMessage())
    assert [frame for frame in FRAMES if f"at {frame}" in block] == list(FRAMES)


async def test_a_chain_past_its_time(looping: Make) -> None:
    plugin = looping("process_request", timeout=60)
    async with rig(answering(OK), plugins=[plugin], timeouts=Timeouts(chain=0.1)) as test:
        assert (await test.get())[0] == 500
        (fault,) = test.gateway.faults()
    assert (fault.kind, fault.frames) == ("timeout", FRAMES)


async def test_a_cleanup_past_its_timeout(looping: Make) -> None:
    plugin = looping("cleanup", max_requests=1)
    async with rig(answering(OK), plugins=[plugin]) as test:
        assert (await test.get())[0] == 200
        with trio.fail_after(30):
            while not (faults := test.gateway.faults()):  # noqa: ASYNC110
                await trio.sleep(0.01)
    assert (faults[0].kind, faults[0].hook, faults[0].frames) == ("timeout", "cleanup", FRAMES)


@pytest.mark.parametrize("hook", ["start", "init"])
async def test_a_start_past_the_timeout_refuses_the_plugin(looping: Make, hook: str) -> None:
    with pytest.raises((blitz.PluginLoadError, ExceptionGroup)) as caught:
        async with rig(plugins=[looping(hook)]):
            pass
    error: BaseException = caught.value
    while isinstance(error, ExceptionGroup):
        (error,) = error.exceptions
    assert isinstance(error, blitz.PluginLoadError)
    assert "ran longer than 50 ms (" in error.message
    assert error.frames == FRAMES
