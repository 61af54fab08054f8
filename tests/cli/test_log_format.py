"""Any text, fields, errors: exactly one line, which shows; in JSON mode an object that any reader takes."""

from __future__ import annotations

import json
import logging
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from blitz.cli.log_format import JsonFormatter, TextFormatter

TEXT = st.text(st.characters(exclude_categories=()), max_size=40)  # lone surrogates too
NASTY = st.one_of(
    TEXT,
    st.binary(max_size=40).map(lambda data: data.decode("utf-8", "surrogateescape")),
    st.sampled_from(
        ["a\nb", "a\r\n2026-01-01T00:00:00.000Z info server: forged", '{"level":"info"}', "\x1b[2J"]
    ),
)
VALUES = st.one_of(
    NASTY, st.integers(), st.floats(), st.none(), st.booleans(), st.lists(NASTY, max_size=3).map(tuple)
)
TAKEN = {*vars(logging.makeLogRecord({})), "message", "asctime"}
NAMES = NASTY.filter(lambda name: name not in TAKEN and name not in ("lines", "block", "taskName"))


def make(
    message: str, *, area: str = "server", error: BaseException | None = None, **extra: Any
) -> logging.LogRecord:
    about = None if error is None else (type(error), error, error.__traceback__)
    record = logging.LogRecord(f"blitz.{area}", logging.ERROR, "", 0, "%s", (message,), about)
    vars(record).update(extra)
    return record


def caught(message: str) -> BaseException:
    try:
        raise ValueError(message)
    except ValueError as error:
        return error


@given(NASTY, NASTY, st.sampled_from(["server", "plugin"]))
def test_a_line_of_text_is_one_line(message: str, raised: str, area: str) -> None:
    for error in (None, caught(raised)):
        line = TextFormatter().format(make(message, area=area, error=error))
        assert line.isprintable()
        assert line.isascii() or line.encode()
        stamp, level, _ = line.split(" ", 2)
        assert (len(stamp), level) == (len("2026-11-22T19:24:21.328Z"), "error")


@given(NASTY, NASTY, st.dictionaries(NAMES, VALUES, max_size=5))
def test_a_line_of_json_is_one_object(message: str, raised: str, extra: dict[str, Any]) -> None:
    for error in (None, caught(raised)):
        line = JsonFormatter().format(make(message, error=error, **extra))
        assert line.isascii()
        assert line.isprintable()
        told = json.loads(line, parse_constant=pytest.fail)  # NaN and Infinity are no JSON
        assert (told["level"], told["source"]) == ("error", "server")
        assert told["message"].isprintable()
        json.dumps(told, ensure_ascii=False).encode()  # no lone surrogate in it
        assert ("traceback" in told) == (error is not None or "traceback" in extra)


@given(st.lists(NASTY, min_size=1, max_size=5))
def test_lines_that_come_together_are_as_many(texts: list[str]) -> None:
    record = make("\n".join(texts), area="plugin", lines=tuple(texts), plugin="p")
    lines = TextFormatter().format(record).split("\n")
    objects = [json.loads(line) for line in JsonFormatter().format(record).split("\n")]
    assert len(lines) == len(objects) == len(texts)
    assert all(line.isprintable() and line[10] == "T" for line in lines)
    assert {one["plugin"] for one in objects} == {"p"}


@given(NASTY, NASTY)
def test_on_a_terminal_only_the_first_line_of_a_block_begins_a_message(first: str, second: str) -> None:
    record = make("flat", area="plugin", block=(first, second), error=caught(first))
    begin, *rest = TextFormatter(terminal=True).format(record).split("\n")
    assert "\x1b[31merror\x1b[0m" in begin
    assert begin.replace("\x1b[31m", "").replace("\x1b[0m", "").isprintable()
    assert rest
    assert all(line.startswith("    ") and line.isprintable() for line in rest)


def test_a_field_never_stands_for_one_of_ours() -> None:
    record = make("the truth", time="never", level="info", source="x")
    told = json.loads(JsonFormatter().format(record))
    assert (told["level"], told["source"], told["message"]) == ("error", "server", "the truth")
    assert told["time"].endswith("Z")


def test_what_a_line_of_text_looks_like() -> None:
    record = make("hello", area="plugin")
    record.created, record.msecs = 1764350661.328, 328.0
    assert TextFormatter().format(record) == "2025-11-28T17:24:21.328Z error hello"
    record.name = "blitz.server"
    assert TextFormatter().format(record) == "2025-11-28T17:24:21.328Z error server: hello"


def test_what_an_object_looks_like() -> None:
    block = ("[WASM Plugin] a failed", "at f")
    record = make(
        "[WASM Plugin] a failed; at f", area="plugin", block=block, plugin="a", frames=("f",), id=""
    )
    record.created, record.msecs, record.process = 1764350661.328, 328.0, 7
    assert json.loads(JsonFormatter().format(record)) == {
        "time": "2025-11-28T17:24:21.328Z",
        "level": "error",
        "source": "plugin",
        "message": "[WASM Plugin] a failed",
        "pid": 7,
        "plugin": "a",
        "frames": ["f"],
    }


def test_a_traceback_is_bounded_and_ends_with_what_happened() -> None:
    def even(left: int) -> None:  # two that take turns: Python tells repeated lines once
        odd(left - 1)

    def odd(left: int) -> None:
        if left <= 0:
            raise ValueError("deepest")
        even(left - 1)

    try:
        even(600)
    except ValueError as error:
        told = json.loads(JsonFormatter().format(make("x", error=error)))
        assert 30_000 < len(told["traceback"]) < 40_000
        assert told["traceback"].endswith("ValueError: deepest")
