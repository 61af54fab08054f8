"""Nobody waits for whoever is told how it goes: the parent process, or systemd."""

from __future__ import annotations

import contextlib
import itertools
import logging
import os
import resource
import signal
import socket
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from blitz.config import Answer, Config, Route, Served, resolve
from blitz.process import systemd
from blitz.process.reports import Reports

from .test_workers import ANSWER, serving, wait_until

SERVED = Served(resolved=resolve(Config(routes=[Route(answer=Answer())])), digests={})
SOON = 10.0  # seconds


def in_time(what: object) -> None:
    """Run *what* in a thread, which must not wait for ever."""
    thread = threading.Thread(target=what, daemon=True)  # type: ignore[arg-type]
    thread.start()
    thread.join(SOON)
    assert not thread.is_alive()


@contextlib.contextmanager
def reports() -> Iterator[Reports]:
    made = Reports()
    try:
        yield made
    finally:
        made.close()


def test_a_parent_that_reads_nothing_keeps_no_worker_waiting() -> None:
    with reports() as both:
        refused: list[OSError] = []

        def send() -> None:
            for _ in range(5000):
                try:
                    both.send(served=SERVED)
                except OSError as exc:
                    refused.append(exc)
                    return

        in_time(send)
        assert isinstance(refused[0], BlockingIOError)
        taken = both.read()
        assert taken
        assert all(report.served == SERVED for report in taken)
        both.send(served=SERVED)
        assert len(both.read()) == 1


def test_a_report_that_cannot_be_read_is_said_and_costs_no_other(caplog: pytest.LogCaptureFixture) -> None:
    with reports() as both, caplog.at_level(logging.WARNING, "blitz"):
        soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
        both.send(served=SERVED)
        both.send("second")
        free = os.dup(0)
        os.close(free)
        resource.setrlimit(resource.RLIMIT_NOFILE, (free, hard))
        try:
            found = both.read()
        finally:
            resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
        assert [report.error for report in found] == ["second"]
        assert both.read() == []
        both.send(served=SERVED)
        assert [report.served for report in both.read()] == [SERVED]
    lines = [record.getMessage() for record in caplog.records]
    assert len(lines) == 2
    assert lines[0].startswith("reports of workers: ")
    assert lines[1] == "reports of workers: works again"


@pytest.mark.slow
def test_a_stopped_parent_stops_nobody(tmp_path: Path) -> None:
    """Workers reload and say so until nobody takes it, and go on serving; then the parent hears it."""
    file = tmp_path / "blitz.toml"
    file.write_text(f'listen = ["127.0.0.1:0"]\n{ANSWER.format(body="one")}')
    with serving(file) as server:
        (worker,) = server.children()
        os.kill(server.process.pid, signal.SIGSTOP)
        try:
            for number in range(400):
                file.write_text(f'listen = ["127.0.0.1:0"]\n{ANSWER.format(body=f"body {number}")}')
                os.kill(worker, signal.SIGHUP)
                wait_until(lambda number=number: server.get() == b"body %d" % number)
            server.wait_for("reports to the parent process: ")
        finally:
            os.kill(server.process.pid, signal.SIGCONT)
        server.wait_for("reports to the parent process: works again")
        assert server.get() == b"body 399"


# ---------------------------------------------------------------- systemd


@pytest.fixture
def listener(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[socket.socket]:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as made:
        made.bind(str(tmp_path / "notify"))
        made.setblocking(False)
        monkeypatch.setenv("NOTIFY_SOCKET", str(tmp_path / "notify"))
        systemd._untold.clear()
        yield made
        systemd._untold.clear()


def heard(listener: socket.socket) -> list[str]:
    found = []
    with contextlib.suppress(BlockingIOError):
        while True:
            found.append(listener.recv(4096).decode())
    return found


def test_a_manager_that_takes_nothing_keeps_nobody_waiting_and_hears_the_rest_later(
    listener: socket.socket, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.WARNING, "blitz")

    def tell() -> None:
        for number in itertools.count():
            if not systemd.notify(f"STATUS={number}"):
                break
        for _ in range(100):
            systemd.notify("WATCHDOG=1")
        systemd.notify("READY=1")

    in_time(tell)
    assert len(caplog.records) == 1
    before = heard(listener)
    assert systemd.notify_again()
    told = [*before, *heard(listener)]
    assert told[-1] == "READY=1"
    assert [one for one in told if one.startswith("STATUS")] == [f"STATUS={n}" for n in range(len(told) - 1)]
    assert caplog.records[-1].getMessage() == "telling systemd how it goes: works again"


def test_a_manager_that_is_gone_hears_it_when_it_is_back(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    path = tmp_path / "notify"
    monkeypatch.setenv("NOTIFY_SOCKET", str(path))
    systemd._untold.clear()
    for _ in range(3):
        assert not systemd.notify("READY=1")
    assert len(caplog.records) == 1
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as back:
        back.bind(str(path))
        back.setblocking(False)
        assert systemd.notify_again()
        assert heard(back) == 3 * ["READY=1"]


def test_without_a_manager_nothing_is_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("NOTIFY_SOCKET", raising=False)
    assert not systemd.notify("READY=1")
    assert not systemd._untold


def test_a_parent_that_is_stopped_and_continued_goes_on(tmp_path: Path) -> None:
    file = tmp_path / "blitz.toml"
    file.write_text(f'listen = ["127.0.0.1:0"]\n{ANSWER.format(body="one")}')
    with serving(file) as server:
        os.kill(server.process.pid, signal.SIGSTOP)
        time.sleep(1.2)  # longer than it waits for a signal
        os.kill(server.process.pid, signal.SIGCONT)
        time.sleep(0.2)
        assert server.process.poll() is None
        assert server.get() == b"one"
        assert server.stop() == 0
