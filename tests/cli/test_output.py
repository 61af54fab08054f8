"""Lines of the log, as a terminal gets them."""

from __future__ import annotations

import logging

import pytest
from hypothesis import given
from hypothesis import strategies as st

from blitz.cli.output import _Lines, print_problem
from blitz.errors import ConfigProblem

TEXT = st.text(st.characters(exclude_categories=()), max_size=30)
TRICKS = "a\x1b[2J\r\x9b\u202e\u2066\u200b\u2028\ufeff\U000e0041\udcffb"


def line(message: str, *, area: str = "server", colour: bool = False) -> str:
    record = logging.LogRecord(f"blitz.{area}", logging.ERROR, "", 0, "%s", (message,), None)
    return _Lines(colour=colour).format(record)


def test_control_characters_of_others_do_not_reach_the_terminal() -> None:
    assert line("a\x1b[2J\r\x9bb\x00").endswith(r"error server: a\x1b[2J\r\u009bb\x00")
    assert line("a\x1b[2J", area="plugin") == r"a\x1b[2J"


def test_a_block_of_lines_stays_one() -> None:
    assert line("a\n    b").endswith("error server: a\n    b")


def test_our_own_colours_do() -> None:
    assert "\x1b[31merror\x1b[0m" in line("a", colour=True)


@given(TEXT)
def test_a_line_of_the_log_is_what_it_looks_like(message: str) -> None:
    for one in (line(message), line(message, area="plugin")):
        assert all(part.isprintable() for part in one.split("\n"))
        assert one.count("\n") == message.count("\n")
        one.encode()


def test_a_problem_is_one_line_whatever_its_file_is_called(capsys: pytest.CaptureFixture[str]) -> None:
    print_problem(ConfigProblem(TRICKS, file=TRICKS, line=3, key=TRICKS))
    said = capsys.readouterr().err
    assert said.removesuffix("\n").isprintable()
    assert said.count(r"\u202e\u2066") == 3
