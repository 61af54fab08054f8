"""What the pages say to type exists: commands, their options, targets of make, packages to install."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import click
import pytest

from blitz.cli import main

from .cli.commands import ROOT

PAGES = [
    ROOT / "README.md",
    *sorted((ROOT / "docs").glob("*.md")),
    *sorted((ROOT / "plugins").rglob("*.md")),
    *sorted((ROOT / "infra").rglob("*.service")),
]
# A word of a command line ends at what stops being one.
COMMAND = re.compile(r"(?:^\$ |`|^ExecStart=/opt/blitz/bin/)(blitz [a-z-][^`\n]*)", re.MULTILINE)


def texts() -> Iterator[tuple[Path, str]]:
    for page in PAGES:
        yield page, page.read_text(encoding="utf-8").replace("\\\n", " ")


def commands() -> list[object]:
    return [
        pytest.param(line, id=f"{page.relative_to(ROOT)}: {line[:60]}")
        for page, text in texts()
        for line in dict.fromkeys(COMMAND.findall(text))
    ]


def words_of(line: str) -> list[str]:
    """Up to a comment, a pipe, or the end of a sentence that goes on behind the command."""
    return re.split(r"[ ,.;:]+(?:\||&|#|\(|$)", f"{line} ")[0].split(" #")[0].split(" | ")[0].split()


@pytest.mark.parametrize("line", commands())
def test_commands_and_their_options_exist(line: str) -> None:
    _, *words = words_of(line)
    context = click.Context(main)
    command: click.Command | None = main
    while words and isinstance(command, click.Group) and not words[0].startswith("-"):
        name = words.pop(0)
        command = command.get_command(context, name)
        assert command is not None, f"no command {name}"
    assert command is not None
    known = {option for parameter in command.params for option in parameter.opts} | {"--help", "-h"}
    for word in words:
        if re.match(r"--?[a-z]", word):
            assert word.partition("=")[0] in known, word


def test_there_are_commands_to_look_at() -> None:
    assert len(commands()) > 20


def test_targets_of_make_exist() -> None:
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    targets = set(re.findall(r"^([a-z-]+):", makefile, re.MULTILINE))
    named = {
        name for _, text in texts() for name in re.findall(r"(?:^\$ |`)make ([a-z-]+)", text, re.MULTILINE)
    }
    assert {"run", "dist", "test"} <= named
    assert named - targets == set()


def test_blitz_itself_is_on_no_package_index() -> None:
    sources = [*(ROOT / "blitz").rglob("*.py"), *(ROOT / "infra").rglob("*.*"), *PAGES]
    for file in sources:
        text = file.read_text(encoding="utf-8")
        assert not re.search(r"pip install[^\n`]*[ '\"]blitz-gateway", text), file


def test_make_run_installs_what_watching_needs() -> None:
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    recipe = makefile.split("$(VENV)/.run: ")[1].split("\n$(VENV)/")[0]
    assert '".[watch,symbols]"' in recipe
    lock = (ROOT / "infra" / "container" / "requirements.lock").read_text(encoding="utf-8")
    assert "\nwatchfiles==" in lock
    assert "\npyelftools==" in lock
