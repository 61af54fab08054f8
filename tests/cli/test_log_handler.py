"""However much is said: of each kind so many lines, and the count of the rest, exact, also at the end."""

from __future__ import annotations

import json
import logging
import os
import re
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from blitz.cli.log_format import JsonFormatter, TextFormatter
from blitz.cli.log_handler import MOST, LogHandler
from blitz.cli.stderr import open_fd

SOON = 20.0


class Log:
    """A logger of its own with the gateway's handler, to a file."""

    def __init__(self, path: Path, formatter: logging.Formatter, window: float) -> None:
        self.path = path
        fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
        writer = open_fd(fd, os.fstat(fd).st_mode, lambda count, cause: b"LOST\n")
        self.handler = LogHandler(writer, formatter, window)
        self.logger = logging.Logger("blitz.server")
        self.logger.addHandler(self.handler)
        self._fd = fd

    def close(self) -> None:
        self.handler.close()
        os.close(self._fd)

    def lines(self) -> list[str]:
        return self.path.read_text().splitlines()

    def objects(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in self.lines()]


@pytest.fixture
def log(tmp_path: Path) -> Iterator[Log]:
    with logging_to(tmp_path / "log") as log:
        yield log


@contextmanager
def logging_to(path: Path, formatter: logging.Formatter | None = None, window: float = 60.0) -> Iterator[Log]:
    log = Log(path, formatter or JsonFormatter(), window)
    try:
        yield log
    finally:
        log.close()


def wait_for(true: Callable[[], object]) -> None:
    deadline = time.monotonic() + SOON
    while not true():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def test_a_flood_is_counted_and_the_count_is_told_at_the_end(log: Log) -> None:
    for number in range(1304):
        log.logger.warning("%s: refused", f"192.0.2.{number % 250}")
    log.handler.close()
    *said, last = log.objects()
    assert len(said) == MOST
    assert last["message"].startswith("1,204 more like this in 1 s: 192.0.2.100: refused")
    assert (last["more"], last["level"], last["source"]) == (1204, "warn", "server")


def test_the_count_is_told_when_the_window_ends(tmp_path: Path) -> None:
    with logging_to(tmp_path / "log", TextFormatter(), window=0.2) as log:
        for _ in range(MOST + 7):
            log.logger.info("again")
        wait_for(lambda: "more like this" in log.path.read_text())
        wait_for(lambda: log.handler._teller is None)  # no thread where there is nothing to tell
        assert re.fullmatch(r"\S+Z info server: 7 more like this in 1 s: again", log.lines()[-1])
        log.logger.info("again")
        log.handler.close()
        assert log.lines()[-1].endswith("info server: again")


@settings(max_examples=20, deadline=None)
@given(
    st.lists(
        st.tuples(
            st.sampled_from(["%s cannot connect", "%s answered", "%s is slow"]),
            st.sampled_from(["", "one", "two"]),
            st.sampled_from(["", "10.0.0.1:80", "10.0.0.2:80"]),
            st.sampled_from([logging.INFO, logging.ERROR]),
            st.integers(1, 3 * MOST),
        ),
        max_size=12,
    )
)
def test_every_kind_has_its_own_room_and_its_own_count(
    tmp_path_factory: pytest.TempPathFactory, floods: list[tuple[str, str, str, int, int]]
) -> None:
    said: Counter[tuple[str, str, str, int]] = Counter()
    with logging_to(tmp_path_factory.getbasetemp() / "kinds.log") as log:
        for text, plugin, endpoint, level, times in floods:
            said[text % "it", plugin, endpoint, level] += times
            for _ in range(times):
                log.logger.log(level, text, "it", extra={"plugin": plugin, "endpoint": endpoint})
            wait_for(lambda: not log.handler._writer._size)  # type: ignore[attr-defined]
        log.handler.close()
        written: Counter[tuple[str, str, str, int]] = Counter()
        counted: Counter[tuple[str, str, str, int]] = Counter()
        for told in log.objects():
            level = logging.INFO if told["level"] == "info" else logging.ERROR
            text = told["message"].rpartition(": ")[2]
            kind = (text, told.get("plugin", ""), told.get("endpoint", ""), level)
            if "more" in told:
                counted[kind] += told["more"]
            else:
                written[kind] += 1
    assert written == Counter({kind: min(times, MOST) for kind, times in said.items()})
    assert counted == Counter({kind: times - MOST for kind, times in said.items() if times > MOST})


def test_what_is_left_out_is_not_even_spelt(log: Log) -> None:
    spelt = [0]

    class Costly:
        def __str__(self) -> str:
            spelt[0] += 1
            return "costly"

    for _ in range(50 * MOST):
        log.logger.warning("%s", Costly())
    assert spelt[0] == MOST + 1  # and the first of those that are left out, as a sample


def test_who_asks_for_more_gets_more(log: Log) -> None:
    log.logger.setLevel(logging.DEBUG)
    for _ in range(5 * MOST):
        log.logger.debug("step")
    log.handler.close()
    assert len(log.lines()) == 5 * MOST


def test_what_plugins_say_is_bounded_elsewhere(log: Log) -> None:
    for _ in range(3 * MOST):
        log.logger.info("%s", "a\nb", extra={"plugin": "p", "lines": ("a", "b")})
    log.handler.close()
    assert len(log.lines()) == 6 * MOST


def test_many_threads_lose_no_count(log: Log) -> None:
    threads = [
        threading.Thread(target=lambda: [log.logger.warning("again") for _ in range(500)]) for _ in range(8)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    log.handler.close()
    objects = log.objects()
    assert len(objects) == MOST + 1
    assert objects[-1]["more"] == 4000 - MOST


def test_a_child_does_not_tell_what_its_parent_counts(log: Log) -> None:
    for _ in range(MOST + 5):
        log.logger.warning("again")
    wait_for(lambda: not log.handler._writer._size)  # type: ignore[attr-defined]
    pid = os.fork()
    if not pid:
        log.logger.warning("again")  # has room of its own
        log.handler.close()
        os._exit(0)
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0
    log.handler.close()
    objects = log.objects()
    assert len(objects) == MOST + 2
    assert (objects[-2]["message"], objects[-2]["pid"]) == ("again", pid)
    assert objects[-1]["more"] == 5


def test_a_fault_in_a_call_of_the_log_is_a_line_too(log: Log, capfd: pytest.CaptureFixture[str]) -> None:
    log.logger.warning("%d and %d", 1)
    log.logger.warning("%s", "after")
    log.handler.close()
    first, second = log.objects()
    assert (first["level"], second["message"]) == ("error", "after")
    assert first["message"] == "a message of the log does not fit its values: %d and %d"
    assert capfd.readouterr().err == ""
