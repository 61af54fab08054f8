"""The log of plugins as the gateway sets it up, where a test can look at it."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from blitz.cli.log_format import JsonFormatter, TextFormatter
from blitz.cli.log_handler import LogHandler
from blitz.wasm.logs import LEVELS, finished_lines

FORMATTERS: dict[str, Callable[[], logging.Formatter]] = {
    "text": TextFormatter,
    "terminal": lambda: TextFormatter(terminal=True),
    "json": JsonFormatter,
}


class Kept:
    """A writer that keeps what it is given."""

    def __init__(self) -> None:
        self.pieces: list[bytes] = []

    def write(self, data: bytes) -> None:
        self.pieces.append(data)

    def close(self) -> None:
        return

    def forget(self) -> None:
        return


class Records(LogHandler):
    """The gateway's handler, which notes what comes as records."""

    def __init__(self, formatter: logging.Formatter) -> None:
        self.kept = Kept()
        self.records: list[logging.LogRecord] = []
        super().__init__(self.kept, formatter)

    def emit(self, record: logging.LogRecord) -> None:
        self.records.append(record)
        super().emit(record)


@contextmanager
def only(formatter: str) -> Iterator[Records]:
    """The only handler of what plugins say; entered in the test, behind pytest's own handlers."""
    logger = logging.getLogger("blitz.plugin")
    before = logger.propagate, logger.level, logger.handlers
    handler = Records(FORMATTERS[formatter]())
    logger.propagate, logger.handlers = False, [handler]
    logger.setLevel(LEVELS[0])
    try:
        yield handler
    finally:
        logger.propagate, logger.handlers = before[0], before[2]
        logger.setLevel(before[1])
    assert finished_lines() is None
