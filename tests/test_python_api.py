"""docs/python.md: its programs print what it shows, it names all that is public; asyncio gets a sentence."""

from __future__ import annotations

import asyncio
import inspect
import re
import shutil
import subprocess
import sys
import typing
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import trio

import blitz
import blitz.config
from blitz.config import Answer, Config, Plugin, Route

from .cli.commands import PLUGINS, ROOT, environment

PAGE = (ROOT / "docs" / "python.md").read_text(encoding="utf-8")
PROGRAMS = re.findall(r"^```python\n(.*?)^```\n\n```text\n(.*?)^```", PAGE, re.MULTILINE | re.DOTALL)
FIXED = Config(listen=["127.0.0.1:0"], routes=[Route(answer=Answer(200))])
LIMITER = str(PLUGINS / "rate_limiter.wasm")
# Given to `serve` by Blitz's own worker processes.
OURS = {"PlaceOnScoreboard"}


@pytest.mark.parametrize("number", range(len(PROGRAMS)))
def test_programs_print_what_stands_below_them(tmp_path: Path, number: int) -> None:
    program, shown = PROGRAMS[number]
    (tmp_path / "plugins").mkdir()
    for file in [*PLUGINS.glob("*.wasm"), *PLUGINS.glob("*.toml")]:
        shutil.copy(file, tmp_path / "plugins")
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", program],
        cwd=tmp_path,
        env=environment(),
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert without_ids(done.stdout) == without_ids(shown)


def without_ids(text: str) -> str:
    return re.sub(r"\bid=[0-9a-f]{32}\b", "id=", text)


def test_every_python_block_is_run() -> None:
    assert len(PROGRAMS) == PAGE.count("```python") == 5


def test_everything_public_is_named() -> None:
    named = set(re.findall(r"\w+", PAGE))
    assert [name for name in blitz.__all__ if name not in named] == []
    assert {getattr(blitz, name).__name__ for name in blitz.__all__} == set(blitz.__all__)


def test_types_that_come_out_are_public() -> None:
    """Whatever a public function takes or returns, or a public class has, can be named by its user."""
    public = {*blitz.__all__, *blitz.config.__all__, *OURS}
    hidden = {
        f"{owner}: {used.__name__}"
        for owner in blitz.__all__
        for used in used_by(getattr(blitz, owner))
        if used.__name__ not in public
    }
    assert hidden == set()


def used_by(owner: Any) -> Iterator[type]:
    members = [owner]
    if inspect.isclass(owner):
        values = [value for name, value in vars(owner).items() if not name.startswith("_")]
        members += [value.fget if isinstance(value, property) else value for value in values]
    for member in members:
        if inspect.isclass(member) or inspect.isfunction(member):
            for name, hint in typing.get_type_hints(member).items():
                if not name.startswith("_"):
                    yield from classes_in(hint)


def classes_in(hint: Any) -> Iterator[type]:
    if inspect.isclass(hint) and hint.__module__.partition(".")[0] == "blitz":
        yield hint
    for inner in typing.get_args(hint):
        yield from classes_in(inner)


# ---------------------------------------------------------------- asyncio

Start = Callable[[], Awaitable[object]]
STARTS = {
    "blitz.serve": lambda: blitz.serve(FIXED),
    "blitz.open_gateway": lambda: blitz.open_gateway(FIXED).__aenter__(),
    "blitz.open_chain": lambda: blitz.open_chain([LIMITER]).__aenter__(),
}


@pytest.mark.parametrize("name", STARTS)
def test_started_under_asyncio_it_names_the_guest_mode(name: str) -> None:
    async def main() -> None:
        await STARTS[name]()

    with pytest.raises(RuntimeError) as caught:
        asyncio.run(main())
    assert str(caught.value).startswith(f"{name} needs trio and was called from asyncio: ")
    assert "guest mode" in str(caught.value) and "docs/python.md" in str(caught.value)


@pytest.mark.parametrize("name", STARTS)
def test_started_under_nothing_it_names_trio_run(name: str) -> None:
    coroutine: Any = STARTS[name]()
    with pytest.raises(
        RuntimeError, match=f"^{name} needs trio: call it from a function that trio.run started$"
    ):
        coroutine.send(None)


def test_a_gateway_that_is_a_guest_is_not_called_from_its_host() -> None:
    """What has to be called in trio says so, too, once the gateway runs in the guest."""

    async def main() -> list[str]:
        loop = asyncio.get_running_loop()
        started, done = loop.create_future(), loop.create_future()
        enough = trio.Event()

        async def guest() -> None:
            limiter = Plugin(file=LIMITER)
            async with blitz.open_gateway(FIXED) as gateway, blitz.open_chain([limiter]) as chain:
                started.set_result((gateway, chain))
                await enough.wait()

        trio.lowlevel.start_guest_run(
            guest,
            run_sync_soon_threadsafe=loop.call_soon_threadsafe,
            done_callback=lambda outcome: loop.call_soon(done.set_result, outcome),
            host_uses_signal_set_wakeup_fd=True,
        )
        gateway, chain = await started
        calls: list[Start] = [
            gateway.reload,
            gateway.drain,
            lambda: gateway.roll_back("rate_limiter"),
            lambda: chain.process_request(blitz.Request("GET", "/")),
        ]
        said = []
        for call in calls:
            with pytest.raises(RuntimeError) as caught:
                await call()
            said.append(str(caught.value))
        with pytest.raises(RuntimeError) as caught:
            gateway.statistics()
        said.append(str(caught.value))
        enough.set()
        (await done).unwrap()
        return said

    for sentence in asyncio.run(main()):
        assert re.match(r"(Gateway|AppliedChain)\.\w+ needs trio and was called from asyncio: ", sentence)
