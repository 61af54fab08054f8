"""What the parent of workers orders and says: queues of the dead, drains, restarts, upgrades."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import time
from pathlib import Path

import pytest

from .test_drains import REQUEST, Slow, file, ready, slow, text  # noqa: F401
from .test_workers import Server, put_plugin, serving, serving_workers, wait_until
from .test_workers_recovering import Site, site  # noqa: F401


def answer(sock: socket.socket) -> bytes:
    data = b""
    while part := sock.recv(65536):
        data += part
    return data


def test_what_waits_for_a_worker_that_died_is_served_by_who_is_left(site: Site) -> None:  # noqa: F811
    """Nothing can start in its place: the module is in no cache, and its file is gone."""
    site.keep_nothing()
    with serving(site.file, "--workers", "2") as server:
        ready(server, 2)
        site.plugin.unlink()
        victim = max(serving_workers(server), key=lambda worker: worker["place"])["pid"]
        os.kill(victim, signal.SIGSTOP)
        clients = [socket.create_connection(("127.0.0.1", server.port), 20) for _ in range(40)]
        for client in clients:
            client.sendall(REQUEST)
        time.sleep(0.2)
        os.kill(victim, signal.SIGKILL)
        for client in clients:
            with client:
                assert answer(client).endswith(b"one")
        wait_until(lambda: server.status()["lost"] != [])
        for _ in range(40):  # also the next ones, while the place stays empty
            assert server.get() == b"one"
        put_plugin(site.plugin, "two")
        server.process.send_signal(signal.SIGHUP)
        ready(server, 2)
        wait_until(lambda: {server.get() for _ in range(20)} == {b"two"})
        assert server.stop() == 0


def test_no_worker_holds_the_queue_of_another_one(file: Path) -> None:  # noqa: F811
    with serving(file, "--workers", "3") as server:
        ready(server, 3)

        def queues(pid: int) -> set[str]:
            links = {os.readlink(link) for link in Path(f"/proc/{pid}/fd").iterdir()}
            return links & listening

        def listening_now() -> set[str]:
            rows = [line.split() for line in Path("/proc/net/tcp").read_text().splitlines()[1:]]
            port = f":{server.port:04X}"
            return {f"socket:[{row[9]}]" for row in rows if row[1].endswith(port) and row[3] == "0A"}

        listening = listening_now()
        assert len(listening) == 3
        wait_until(lambda: all(len(queues(pid)) == 1 for pid in server.children()))
        assert set.union(*(queues(pid) for pid in server.children())) == listening


def test_a_drain_is_told_over_all_workers(file: Path, slow: Slow) -> None:  # noqa: F811
    file.write_text(text(slow) + "[timeouts]\ndrain = 0.3\n")
    with serving(file, "--workers", "2") as server:
        ready(server, 2)
        for _ in range(3):
            slow.hold(server, "/slow/one?key=secret")
        server.process.send_signal(signal.SIGTERM)
        assert server.process.wait(20) == 1
        server.reader.join(10)
        said = "".join(server.lines)
        assert "draining: workers that serve: 2" in said
        assert "drained: exchanges that were in flight: 3, cut off: 3" in said
        assert said.count("cut off: GET /slow/one (route route-0, client 127.0.0.1, ") == 3
        assert {f"worker {place}: drain: begun with" in said for place in (0, 1)} == {True}
        assert "secret" not in said


@pytest.mark.parametrize("workers", ["1", "2"])
def test_a_second_sigterm_does_not_wait_for_the_delay_or_the_exchanges(
    workers: str,
    file: Path,  # noqa: F811
    slow: Slow,  # noqa: F811
) -> None:
    file.write_text(text(slow) + "[timeouts]\ndrain_delay = 500\ndrain = 500\n")
    with serving(file, "--workers", workers) as server:
        ready(server, int(workers))
        client = slow.hold(server)
        server.process.send_signal(signal.SIGTERM)
        wait_until(lambda: server.admin("/readyz") == (503, b"draining\n"))
        server.wait_for("new clients are served for 500 s more")
        for _ in range(10):
            assert server.get() == b"one"
        server.process.send_signal(signal.SIGTERM)
        assert server.process.wait(20) == 1
        assert answer(client).startswith(b"HTTP/1.1 503 ")


def test_a_worker_that_is_signalled_twice_does_not_wait(file: Path, slow: Slow) -> None:  # noqa: F811
    with serving(file, "--workers", "2") as server:
        ready(server, 2)
        before = server.children()
        client = slow.hold(server)
        for _ in range(2):
            for pid in before:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGTERM)
            time.sleep(0.3)
        wait_until(lambda: not server.children() & before)
        assert answer(client).startswith(b"HTTP/1.1 503 ")
        ready(server, 2)
        assert server.stop() == 0


def changed(slow: Slow) -> str:  # noqa: F811
    more = 'workers = 1\nwatch = false\n[log]\nlevel = "warn"\n'
    return text(slow, more, 'listen = ["127.0.0.1:1"]\n')


def test_a_reload_says_which_keys_wait_for_a_restart(file: Path, slow: Slow) -> None:  # noqa: F811
    with serving(file, "--workers", "2") as server:
        ready(server, 2)
        file.write_text(changed(slow).replace('"127.0.0.1:0"', '"127.0.0.1:2"'))
        server.process.send_signal(signal.SIGHUP)
        server.wait_for("reload: listen stays 127.0.0.1:0 and is 127.0.0.1:1 after a restart")
        server.wait_for("reload: admin.listen stays 127.0.0.1:0 and is 127.0.0.1:2 after a restart")
        wait_until(lambda: (server.status()["last_reload"] or {}).get("restart"))
        last = server.status()["last_reload"]
        assert (last["restart"], last["error"]) == (["listen", "admin.listen", "log.level"], "")
        assert server.get() == b"one"
        file.write_text(text(slow))
        server.process.send_signal(signal.SIGHUP)
        wait_until(lambda: server.status()["last_reload"]["restart"] == [])


def test_a_replacement_says_them_too(file: Path, slow: Slow) -> None:  # noqa: F811
    with serving(file) as server:
        first = server.children()
        file.write_text(changed(slow))
        server.process.send_signal(signal.SIGUSR2)
        server.wait_for("SIGUSR2: listen has changed and stays as it was until a restart")
        wait_until(lambda: not server.children() & first and len(serving_workers(server)) == 1)
        last = server.status()["last_reload"]
        assert (last["reason"], last["restart"], last["error"]) == ("upgrade", ["listen", "log.level"], "")
        assert server.get() == b"one"


def refused(server: Server) -> str:
    last = server.status()["last_reload"] or {"reason": "", "error": ""}
    return str(last["error"]) if last["reason"] == "upgrade" else ""


def test_a_refused_upgrade_is_the_last_reload_until_the_next_one(
    file: Path,  # noqa: F811
    slow: Slow,  # noqa: F811
) -> None:
    with serving(file, "--workers", "2") as server:
        ready(server, 2)
        before = server.children()
        file.write_text("nonsense = 1\n")
        server.process.send_signal(signal.SIGUSR2)
        wait_until(lambda: "nonsense" in refused(server))
        assert "\n" not in refused(server)
        assert "cannot start" in refused(server)
        assert server.children() == before
        file.write_text(text(slow))
        server.process.send_signal(signal.SIGHUP)
        wait_until(lambda: server.status()["last_reload"]["reason"] == "signal")
        assert server.status()["last_reload"]["error"] == ""
