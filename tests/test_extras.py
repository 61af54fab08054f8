"""Without any of the extras everything else works: their packages are imported where they are asked for."""

from __future__ import annotations

import subprocess
import sys
import tomllib
from pathlib import Path

from .cli.commands import ROOT, environment

# Distribution -> the packages that it brings and that Blitz imports.
BRINGS = {
    "watchfiles": ("watchfiles",),
    "pyelftools": ("elftools",),
    "pyyaml": ("yaml",),
    "tomlkit": ("tomlkit",),
    "acme": ("acme", "josepy", "cryptography", "requests"),
    "google-re2": ("re2",),
    "joserfc": ("joserfc", "cryptography"),
    "bcrypt": ("bcrypt",),
    "argon2-cffi": ("argon2",),
    "brotli": ("brotli",),
    "backports.zstd": ("backports.zstd",),
}
PROGRAM = """
import sys
for name in sys.argv[1:]:
    sys.modules[name] = None
import pkgutil, blitz, blitz.cli, blitz.gateway, blitz.explain, blitz.examine
import blitz.process.workers
for module in pkgutil.iter_modules(blitz.cli.__path__):
    __import__(f"blitz.cli.{module.name}")
import trio
from blitz.config import Answer, Config, Route

async def main():
    async with blitz.open_gateway(Config(listen=["127.0.0.1:0"], routes=[Route(answer=Answer(body="ok"))])):
        print("serves")

trio.run(main)
"""


def extras() -> set[str]:
    """The distributions that extras name, but for those of developers."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    named = project["optional-dependencies"]
    lists = [named[name] for name in named if name not in ("test", "lint", "plugins")]
    return {one.partition(">")[0].partition("=")[0] for each in lists for one in each}


def test_every_extra_is_known_here() -> None:
    assert extras() == BRINGS.keys()


def test_it_serves_without_any(tmp_path: Path) -> None:
    names = sorted({name for each in BRINGS.values() for name in each})
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, *names],
        cwd=tmp_path,
        env=environment(),
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert (done.returncode, done.stdout) == (0, "serves\n"), done.stderr
