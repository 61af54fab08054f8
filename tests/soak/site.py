"""The gateway under test: its directory, its process, and the changes that happen to it."""

from __future__ import annotations

import collections
import itertools
import json
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
import urllib.request
from pathlib import Path
from typing import Any

from tests.hostile.guests import HostileGuest

from .guests import mark, versioned

__all__ = ["GOOD", "Site", "hostile_path"]

ROOT = Path(__file__).resolve().parents[2]
PATIENCE = 120.0  # seconds until the gateway has started, or taken up a change, on a busy machine
KEPT_LINES = 2000

# Path -> field that the answer must have, for requests whose answer is looked at.
GOOD = {
    "/clean/": "",
    "/marked/": "x-marked",
    "/versioned/": "x-version",
    "/built-in/": "ratelimit-limit",
    "/per-request/": "x-marked",
}

HEAD = """
listen = ["127.0.0.1:0"]
workers = {workers}
plugin_dir = "plugins"
before_routing = []
cache_dir = "cache"
watch = true
log.access = "{access}"
[admin]
listen = "127.0.0.1:0"
[limits]
max_fields = {max_fields}
[plugin_defaults]
memory = "2MiB"
timeout = "1s"
[upstreams.main]
endpoints = ["http://127.0.0.1:{upstream}"]
"""

PLUGIN = """
[[plugins]]
name = "{name}"
{more}
"""

ROUTE = """
[[routes]]
path_prefix = "{path}"
upstream = "main"
plugins = {plugins}
"""


def hostile_path(guest: HostileGuest, policy: str) -> str:
    return f"/hostile/{policy}/{guest.name}/"


class Site:
    """
    Args:
        hostile: plugins on routes of their own.
        workers: how many.
        access: a file for the access log; None: there is none.

    Attributes:
        worker: pid of the first process that serves.
        port: where.
        lines: the last of what it wrote; said: how many bytes that were in all.
        reads: whether anybody reads what it writes.
    """

    def __init__(
        self,
        directory: Path,
        upstream: int,
        hostile: list[HostileGuest],
        *,
        workers: int = 1,
        access: Path | None = None,
    ) -> None:
        self.directory = directory
        self._workers, self._access = workers, access
        self.reads = threading.Event()
        self.reads.set()
        self.plugins = directory / "plugins"
        self._upstream, self._hostile = upstream, hostile
        self._max_fields = 100
        self.lines: collections.deque[str] = collections.deque(maxlen=KEPT_LINES)
        self.said = 0
        self._lay_out()
        output = access.open("ab") if access is not None else None
        self._process = subprocess.Popen(
            [sys.executable, "-m", "blitz", "run", "-c", str(directory / "blitz.toml")],
            cwd=ROOT,
            env={"PATH": os.environ["PATH"], "PYTHONPATH": str(ROOT), "PYTHONUNBUFFERED": "1"}
            | {name: value for name, value in os.environ.items() if name.startswith(("MALLOC_", "BLITZ_"))},
            stdin=subprocess.DEVNULL,
            stdout=output or subprocess.DEVNULL,
            stderr=subprocess.PIPE,
        )
        if output is not None:
            output.close()
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()
        try:
            self._look()
        except BaseException:
            self._process.kill()
            self._end()
            raise

    def _look(self) -> None:
        self.port, self._admin = self._port_in("listening on"), self._port_in("for operators")
        self.worker = self.children()[0]

    @property
    def parent(self) -> int:
        return self._process.pid

    def children(self) -> list[int]:
        """The workers' pids."""
        said = Path(f"/proc/{self.parent}/task/{self.parent}/children").read_text("ascii")
        return [int(pid) for pid in said.split()]

    # -- what it says

    def _read(self) -> None:
        # A guest's log must find a reader, or the worker waits for one.
        assert self._process.stderr is not None
        for line in self._process.stderr:
            self.reads.wait()
            self.said += len(line)
            self.lines.append(line[:400].decode("utf-8", "replace").rstrip())

    def _port_in(self, text: str) -> int:
        line = self.wait_for(text)
        return int("".join(itertools.takewhile(str.isdecimal, line.partition("http://127.0.0.1:")[2])))

    def wait_for(self, text: str) -> str:
        deadline = time.monotonic() + PATIENCE
        while time.monotonic() < deadline and self._process.poll() is None:
            for line in list(self.lines):
                if text in line:
                    return line
            time.sleep(0.05)
        raise TimeoutError(f"the gateway did not say {text!r}: {list(self.lines)[-20:]}")

    def status(self) -> dict[str, Any]:
        """``/status`` of the admin listener."""
        with urllib.request.urlopen(f"http://127.0.0.1:{self._admin}/status", timeout=PATIENCE) as answer:
            said: dict[str, Any] = json.load(answer)
            return said

    def is_alive(self) -> bool:
        return self._process.poll() is None

    # -- what happens to it

    def hang_up(self) -> None:
        self._process.send_signal(signal.SIGHUP)

    def put(self, name: str, content: bytes) -> None:
        """As a careful deployment does: written aside, renamed into place."""
        aside = self.plugins / f".{name}"
        aside.write_bytes(content)
        aside.rename(self.plugins / name)

    def put_version(self, number: int) -> None:
        self.put("versioned.wasm", versioned(number))

    def put_manifest(self, number: int) -> None:
        self.put("versioned.toml", f'schema = 1\n[plugin]\nversion = "1.0.{number}"\n'.encode())

    def put_settings(self, number: int) -> None:
        self._max_fields = 100 + number % 2
        self._write_file()

    def add_another(self, number: int) -> None:
        self.put("another.wasm", mark("x-another", f"v{number:08}"))

    def remove_another(self) -> None:
        (self.plugins / "another.wasm").unlink(missing_ok=True)

    def stop(self) -> int:
        """Drain; the exit code."""
        self.reads.set()
        if self._process.poll() is None:
            self._process.send_signal(signal.SIGTERM)
        try:
            return self._process.wait(PATIENCE)
        except subprocess.TimeoutExpired:
            self._process.kill()
            raise
        finally:
            self._end()

    def _end(self) -> None:
        self._process.wait()
        self._reader.join(PATIENCE)
        assert self._process.stderr is not None
        self._process.stderr.close()

    # -- how it begins

    def _lay_out(self) -> None:
        self.plugins.mkdir()
        (self.directory / "cache").mkdir(mode=0o700, exist_ok=True)
        for name in ("request_logger", "rate_limiter", "auth_custom"):
            for suffix in ("wasm", "toml"):
                shutil.copy(ROOT / "plugins" / f"{name}.{suffix}", self.plugins)
        self.put("marked.wasm", mark("x-marked", "yes"))
        self.put("fresh.wasm", mark("x-marked", "fresh"))
        self.put_version(0)
        self.put_manifest(0)
        for guest in self._hostile:
            self.put(f"{guest.name}.wasm", guest.wasm)
        self._write_file()

    def _write_file(self) -> None:
        parts = [
            HEAD.format(
                upstream=self._upstream,
                max_fields=self._max_fields,
                workers=self._workers,
                access="json" if self._access is not None else "off",
            ),
            PLUGIN.format(name="auth_custom", more='config = { keys = ["soak:key-of-the-soak"] }'),
            PLUGIN.format(name="request_logger", more=""),
            PLUGIN.format(
                name="rate_limiter", more="config = { requests_per_minute = 1000000, burst = 100000 }"
            ),
            PLUGIN.format(name="fresh", more='instances = "per-request"'),
            ROUTE.format(path="/clean/", plugins=[]),
            ROUTE.format(path="/marked/", plugins=["marked"]),
            ROUTE.format(path="/versioned/", plugins=["versioned"]),
            ROUTE.format(path="/per-request/", plugins=["fresh"]),
            ROUTE.format(path="/built-in/", plugins=["request_logger", "rate_limiter", "auth_custom"]),
        ]
        for guest in self._hostile:
            for policy in ("closed", "open"):
                name = guest.name if policy == "closed" else f"{guest.name}-open"
                more = f'file = "plugins/{guest.name}.wasm"\nfailure = "{policy}"\ntimeout = "50ms"\n'
                more += f"max_instances = {3 if policy == 'closed' else 2}\n"
                # A fresh instance each: its cleanup runs after every request.
                if policy == "open" and ("cleanup" in guest.name or len(guest.name) % 2):
                    more += 'instances = "per-request"'
                parts.append(PLUGIN.format(name=name, more=more))
                parts.append(ROUTE.format(path=hostile_path(guest, policy), plugins=[name]))
        aside = self.directory / ".blitz.toml"
        aside.write_text("".join(parts).replace("'", '"'), encoding="utf-8")
        aside.rename(self.directory / "blitz.toml")
