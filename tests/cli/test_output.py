"""What the commands print about their input."""

from __future__ import annotations

import pytest

from blitz.cli.output import print_problem
from blitz.errors import ConfigProblem

TRICKS = "a\x1b[2J\r\x9b\u202e\u2066\u200b\u2028\ufeff\U000e0041\udcffb"


def test_a_problem_is_one_line_whatever_its_file_is_called(capsys: pytest.CaptureFixture[str]) -> None:
    print_problem(ConfigProblem(TRICKS, file=TRICKS, line=3, key=TRICKS))
    said = capsys.readouterr().err
    assert said.removesuffix("\n").isprintable()
    assert said.count(r"\u202e\u2066") == 3
