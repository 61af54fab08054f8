"""Under every fault others are served, correctly and at once; it gets what is right; nothing leaks."""

from __future__ import annotations

import resource
import socket
import time
from collections.abc import Iterator
from typing import Any

import pytest
import trio

from ..e2e.conftest import Process
from ..ports import free_port
from .faults import FAULTS, Fault, run_fault

MAX_P99 = 15.0  # seconds: a client that was forgotten, on whatever machine; benchmarks/ has the speed
MAX_GROWTH = 48 * 1024 * 1024
SETTLE = 20.0
ALWAYS = {"client-slow-head", "client-reset-waiting", "client-idle-2000", "upstream-cut"}  # the rest is slow
WAITS = ("head", "body_idle", "first_byte", "response_idle", "send_idle")


def param(fault: Fault) -> Any:
    return pytest.param(fault, id=fault.name, marks=() if fault.name in ALWAYS else pytest.mark.slow)


@pytest.fixture(scope="module", params=["auto", pytest.param("h11", marks=pytest.mark.slow)])
def gateway(request: pytest.FixtureRequest) -> Iterator[Process]:
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(most, 20_000), most))
    port = free_port()
    origin = Process("-m", "tests.faults.origin", str(port), port=port)
    port = free_port()
    settings = [
        f"http.parser={request.param}",
        "timeouts.keepalive=3s",
        *(f"timeouts.{wait}=1s" for wait in WAITS),
    ]
    options = [word for setting in settings for word in ("--set", setting)]
    process = Process("-m", "blitz", "proxy", f"127.0.0.1:{port}", origin.url, *options, port=port)
    trio.run(run_fault, ("127.0.0.1", port), None, 0.5)  # what is built once is no leak
    yield process
    code, output = process.stop()
    origin.stop()
    assert code == 0, output[-3000:]
    assert "Traceback" not in output, output[-3000:]


@pytest.mark.parametrize("fault", [param(fault) for fault in FAULTS])
def test_others_do_not_notice(gateway: Process, fault: Fault) -> None:
    files, memory = gateway.open_files(), gateway.resident()
    report = trio.run(run_fault, ("127.0.0.1", gateway.port), fault, fault.seconds)
    assert report.errors == []
    assert len(report.latencies) > 3  # a paced client on a machine that may be busy
    assert report.percentile(0.99) < MAX_P99
    unexpected = {outcome: n for outcome, n in report.seen.items() if outcome not in fault.outcomes}
    assert not unexpected, f"{fault.name}: {dict(report.seen)}"
    assert fault.wanted <= set(report.seen), f"{fault.name}: {dict(report.seen)}"
    assert settled(gateway, files) <= files + 16, "file descriptors leak"
    assert gateway.resident() - memory < MAX_GROWTH, "memory grows"


def settled(gateway: Process, wanted: int) -> int:
    """Open files, once they are few again or do not get fewer."""
    deadline = time.monotonic() + SETTLE
    while time.monotonic() < deadline and gateway.open_files() > wanted + 16:
        time.sleep(0.05)
    return gateway.open_files()


@pytest.mark.parametrize("workers", ["1", "2"])
def test_an_upstream_that_is_down_is_502_at_once_and_200_when_it_is_back(workers: str) -> None:
    import http.client

    nobody, port = socket.socket(), free_port()
    nobody.bind(("127.0.0.1", 0))  # kept for the origin, and refusing until it comes
    upstream = nobody.getsockname()[1]
    listen, url = f"127.0.0.1:{port}", f"http://127.0.0.1:{upstream}"
    gateway = Process("-m", "blitz", "proxy", listen, url, "--workers", workers, port=port)

    def ask() -> int:
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=20)
        connection.request("GET", "/good")
        status = connection.getresponse().status
        connection.close()
        return status

    try:
        started = time.monotonic()
        assert [ask() for _ in range(20)] == [502] * 20
        assert time.monotonic() - started < 20  # each of them waited for nothing
        nobody.close()
        origin = Process("-m", "tests.faults.origin", str(upstream), port=upstream)
        assert [ask() for _ in range(20)] == [200] * 20
        origin.stop()
        assert [ask() for _ in range(20)] == [502] * 20
    finally:
        nobody.close()
        gateway.stop()
