"""Lines of the log, as a terminal gets them."""

from __future__ import annotations

import logging

from blitz.cli.output import _Lines


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
