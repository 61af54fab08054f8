"""What docs/routes.md shows is what happens: its listing is right, and its commands say what stands there."""

from __future__ import annotations

import re
import shlex
import shutil
from pathlib import Path

import pytest

from blitz.server.asked import RANK

from .cli.commands import PLUGINS, ROOT, blitz

PAGE = (ROOT / "docs" / "routes.md").read_text(encoding="utf-8")
LISTING, *MORE = re.findall(r"^```toml\n(.*?)^```", PAGE, re.MULTILINE | re.DOTALL)
CONSOLES = re.findall(r"^```console\n(.*?)^```", PAGE, re.MULTILINE | re.DOTALL)
SHOWN = [
    (command, said)
    for console in CONSOLES
    for command, said in re.findall(r"^\$ (.*)\n((?:(?!\$ ).*\n)*)", console, re.MULTILINE)
]


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    shutil.copytree(PLUGINS, tmp_path / "plugins", ignore=shutil.ignore_patterns("src", "sdk"))
    (tmp_path / "blitz.toml").write_text(LISTING)
    return tmp_path


def test_the_listing_is_right(directory: Path) -> None:
    result = blitz("validate", cwd=directory)
    assert (result.returncode, result.stderr) == (0, "")
    assert result.stdout == "blitz.toml: ok: 4 routes, 3 upstreams, 2 plugins\n"


def test_the_smaller_listings_are_right(tmp_path: Path) -> None:
    (tmp_path / "www").mkdir()
    for text in MORE:
        (tmp_path / "blitz.toml").write_text(text)
        result = blitz("validate", cwd=tmp_path)
        assert (result.returncode, result.stderr) == (0, "")


def test_there_are_transcripts() -> None:
    assert len(SHOWN) >= 8


@pytest.mark.parametrize(("command", "said"), SHOWN, ids=[command for command, _ in SHOWN])
def test_transcripts(command: str, said: str, directory: Path) -> None:
    name, *words = shlex.split(command)
    result = blitz(*words, cwd=directory)
    assert name == "blitz"
    assert (result.stdout, result.stderr) == (said, "")
    assert result.returncode == (1 if "\nrefused " in said else 0)


def test_each_question_of_the_order_is_on_the_page() -> None:
    """Host and path are two of them, then one for each part of a rank, then the place in the file."""
    questions = re.findall(r"^\d\. ", PAGE[: PAGE.index("## An example")], re.MULTILINE)
    assert len(questions) == 2 + len(RANK) + 1
