"""SIGTERM while requests are under way: none is lost, and the process ends with 0."""

from __future__ import annotations

import http.client
import signal
import socket
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import pytest

from .conftest import Process, Start

IN_FLIGHT = 40
Send = Callable[[Process, float], tuple[int, bytes, str | None]]


def slow_request(gateway: Process, seconds: float) -> tuple[int, bytes, str | None]:
    connection = http.client.HTTPConnection("127.0.0.1", gateway.port, timeout=15)
    try:
        connection.request("GET", f"/slow/{seconds}")
        answer = connection.getresponse()
        return answer.status, answer.read(), answer.getheader("Connection")
    finally:
        connection.close()


def slow_upload(gateway: Process, seconds: float) -> tuple[int, bytes, str | None]:
    """A body that is still coming while the gateway drains."""
    connection = http.client.HTTPConnection("127.0.0.1", gateway.port, timeout=15)
    try:
        connection.putrequest("POST", "/digest")
        connection.putheader("Content-Length", "10")
        connection.endheaders()
        for _ in range(10):
            time.sleep(seconds / 10)
            connection.send(b"x")
        answer = connection.getresponse()
        body = answer.read()
        return answer.status, b"slow\n" if b'"size": 10' in body else body, answer.getheader("Connection")
    finally:
        connection.close()


@pytest.mark.parametrize("workers", [pytest.param("1", marks=pytest.mark.slow), "2"])
@pytest.mark.parametrize("request_of", [slow_request, slow_upload])
def test_what_is_in_flight_is_finished(start_gateway: Start, workers: str, request_of: Send) -> None:
    gateway = start_gateway("--workers", workers)
    idle = http.client.HTTPConnection("127.0.0.1", gateway.port, timeout=15)
    idle.request("GET", "/status/200")
    assert idle.getresponse().read() == b"status\n"
    with ThreadPoolExecutor(IN_FLIGHT) as pool:
        answers = [pool.submit(request_of, gateway, 1.5) for _ in range(IN_FLIGHT)]
        time.sleep(0.7)
        started = time.monotonic()
        gateway.signal(signal.SIGTERM)
        assert idle.sock.recv(1) == b"", "an idle connection stayed open"
        idle.close()
        with pytest.raises(OSError):
            refused_soon(gateway.port)
        results = [answer.result() for answer in answers]
    assert [(status, body) for status, body, _ in results] == [(200, b"slow\n")] * IN_FLIGHT
    assert {connection for _, _, connection in results} == {"close"}
    assert gateway.wait(5) == 0
    assert time.monotonic() - started < 6


def refused_soon(port: int) -> None:
    """Raises OSError once nobody accepts connections any more."""
    deadline = time.monotonic() + 2  # seconds; a busy machine lets a worker wait for the signal
    while time.monotonic() < deadline:
        socket.create_connection(("127.0.0.1", port), timeout=1).close()
        time.sleep(0.02)


def test_a_second_sigterm_hurries(start_gateway: Start) -> None:
    gateway = start_gateway()
    with ThreadPoolExecutor(1) as pool:
        answer = pool.submit(slow_request, gateway, 8)
        time.sleep(0.4)
        gateway.signal(signal.SIGTERM)
        time.sleep(0.4)
        started = time.monotonic()
        gateway.signal(signal.SIGTERM)
        gateway.wait(5)
        assert time.monotonic() - started < 4
        assert answer.result()[0] == 503
