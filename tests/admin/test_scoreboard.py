"""The notice scoreboard: what is read is a whole notice, whoever dies or writes meanwhile."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Iterator

import pytest

from blitz.admin.scoreboard import PAGE_SIZE, Scoreboard

READS = 20_000  # some tenths of a second


@pytest.fixture
def scoreboard() -> Iterator[Scoreboard]:
    scoreboard = Scoreboard(3)
    yield scoreboard
    scoreboard.close()


def test_a_slot_has_its_last_notice(scoreboard: Scoreboard) -> None:
    assert scoreboard.read(1) == b""
    for notice in (b"one", b"a longer one", b"3"):
        assert scoreboard.write(1, notice)
        assert scoreboard.read(1) == notice
    assert (scoreboard.read(0), scoreboard.read(2)) == (b"", b"")
    scoreboard.clear(1)
    assert scoreboard.read(1) == b""


def test_a_notice_that_is_too_long_leaves_the_last_one(scoreboard: Scoreboard) -> None:
    longest = bytes(PAGE_SIZE - 8)
    assert scoreboard.write(2, longest)
    assert scoreboard.write(2, b"short")
    assert not scoreboard.write(2, longest + b"x")
    assert scoreboard.read(2) == b"short"


@pytest.mark.parametrize("slot", [-1, 3])
def test_there_are_no_other_slots(scoreboard: Scoreboard, slot: int) -> None:
    with pytest.raises(IndexError):
        scoreboard.read(slot)
    with pytest.raises(IndexError):
        scoreboard.write(slot, b"x")


def test_a_writer_that_dies_in_the_middle_leaves_its_last_notice(scoreboard: Scoreboard) -> None:
    """The page of the next turn is overwritten byte by byte: none of its states is ever read."""
    scoreboard.write(0, b"first" * 100)
    scoreboard.write(0, b"good" * 100)
    start = scoreboard._start(0)
    turn = 3
    page = start + 4096 + turn % 2 * PAGE_SIZE
    for end in range(8, 400, 7):
        scoreboard._memory[page + 8 : page + end] = b"x" * (end - 8)
        assert scoreboard.read(0) == b"good" * 100


def test_another_process_reads_whole_notices_while_one_writes(scoreboard: Scoreboard) -> None:
    child = os.fork()
    if not child:
        turn = 0
        while True:
            turn += 1
            scoreboard.write(1, b"%d " % (turn % 10) * (turn % 5000))
    try:
        deadline = time.monotonic() + 20
        seen: set[bytes] = set()
        reads = 0
        while (reads < READS or len(seen) < 10) and time.monotonic() < deadline:
            reads += 1
            notice = scoreboard.read(1)
            words = set(notice.split())
            assert len(words) <= 1
            seen |= words
        assert len(seen) == 10
    finally:
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
    assert len(set(scoreboard.read(1).split())) <= 1
