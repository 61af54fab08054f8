"""Start what the suite is run against: this gateway in its modes, and peers for calibration.

A target is a command line made from two ports and a profile. Profiles: ``plain`` has generous timeouts,
``timed`` short ones for the cases that wait for them.
"""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from ..ports import free_port
from .link import certificate

__all__ = ["TARGETS", "Target", "running"]

PEERS = Path(__file__).with_name("peers")
ROOT = Path(__file__).resolve().parents[2]
START_WAIT = 60.0
START_ATTEMPTS = 3

# Seconds; the cases of family "time" know these.
TIMED = {
    "timeouts.head": "1s",
    "timeouts.body_idle": "1s",
    "timeouts.first_byte": "1s",
    "timeouts.response_idle": "1s",
    "timeouts.keepalive": "1s",
    "timeouts.send_idle": "1s",
}


@dataclass(frozen=True)
class Target:
    name: str
    command: Callable[
        [int, int, str, Path], list[str]
    ]  # listen port, upstream port, profile, scratch directory
    needs: str = ""  # program that must be installed
    workers: int = 1
    peer: bool = True
    tls: bool = False

    def available(self) -> bool:
        return (
            not self.needs
            or shutil.which(self.needs, path=os.environ.get("PATH", "") + ":/usr/sbin") is not None
        )


def _blitz(parser: str, workers: int, *, tls: bool = False) -> Target:
    def command(listen: int, upstream: int, profile: str, _: Path) -> list[str]:
        settings = {"http.parser": parser} | (TIMED if profile == "timed" else {})
        if tls:
            settings["listen"] = f'[{{ address = "127.0.0.1:{listen}", tls = true }}]'
            settings["tls.certs"] = f'[{{ cert = "{certificate()}" }}]'
        return [
            *os.environ.get("BLITZ_COMMAND", f"{sys.executable} -m blitz").split(),
            *("proxy", f"127.0.0.1:{listen}", f"http://127.0.0.1:{upstream}"),
            *("--workers", str(workers)),
            *(word for key, value in settings.items() for word in ("--set", f"{key}={value}")),
        ]

    name = f"blitz-{parser}-{workers}{'-tls' if tls else ''}"
    return Target(name, command, workers=workers, peer=False, tls=tls)


USERS = "ada:$2b$04$abcdefghijklmnopqrstuuxEZbCv0c5OhIvyXPrm0B5A1QVRiZW7q\n"
KEYS = '{"keys": [{"kty": "oct", "alg": "HS256", "k": "QUFBQUFBQUFBQUFBQUFBQUFBQUFBQUFBQUFBQUFBQUE"}]}'
FILTERS = """
listen = [
  {{ address = "127.0.0.1:{listen}", name = "main" }},
  {{ address = "127.0.0.1:{copies}", name = "copies" }},
]
http.parser = "{parser}"

[auth.idp.jwt]
jwks_file = "keys.json"
algorithms = ["HS256"]
issuer = "tools"
audiences = ["gateway"]
remove_credentials = false

[auth.staff.basic]
users_file = "users"
remove_credentials = false

[auth.pass.forward]    # asks this gateway itself, which says yes
url = "http://127.0.0.1:{listen}/.well-known/pass"
request_headers = ["x-nothing"]
response_headers = ["remote-user"]

[auth.either]          # the cases bring no credentials: all three are asked
any = ["idp", "staff", "pass"]

[upstreams.main]
endpoints = ["http://127.0.0.1:{upstream}"]
lb = "least_conn"

[upstreams.copies]     # another listener of this gateway, which answers
endpoints = ["http://127.0.0.1:{copies}"]

[[routes]]
name = "main"
listen = "main"
upstream = "main"
ip_allow = ["127.0.0.0/8"]
ip_deny = ["192.0.2.0/24"]
redirect = {{ scheme = "http" }}   # leads to where the request is: it goes on
auth = "either"
cors = {{ origins = ["https://app.example"], credentials = true }}
rate_limit = {{ rate = "900000/s" }}
compress = {{ encodings = ["zstd", "br", "gzip"], min_size = 0 }}
request_headers = {{ set = {{ x-of = "${{client.address}} ${{path}}" }}, remove = ["x-none"] }}
response_headers = {{ set = {{ x-said = "${{response.status}}" }}, remove = ["x-none"] }}
# An upstream that breaks does so once, and the cases want to see what becomes of it: not tried again.
retry = {{ attempts = 3, on = ["connect", "429"], budget = "100%" }}
mirror = {{ upstream = "copies", percent = 50 }}

[[routes]]
name = "copies"
listen = "copies"
answer = {{ body = "thanks" }}

[[routes]]
listen = "main"
path_prefix = "/.well-known/pass"
answer = {{ body = "yes" }}
"""


def _blitz_with_filters(parser: str) -> Target:
    def command(listen: int, upstream: int, profile: str, scratch: Path) -> list[str]:
        file = scratch / "blitz.toml"
        said = FILTERS.format(listen=listen, upstream=upstream, parser=parser, copies=free_port())
        file.write_text(said, encoding="utf-8")
        (scratch / "users").write_text(USERS)
        (scratch / "keys.json").write_text(KEYS)
        settings = TIMED if profile == "timed" else {}
        return [
            *os.environ.get("BLITZ_COMMAND", f"{sys.executable} -m blitz").split(),
            *("run", "-c", str(file)),
            *(word for key, value in settings.items() for word in ("--set", f"{key}={value}")),
        ]

    return Target(f"blitz-filters-{parser}", command, peer=False)


def _template(name: str, listen: int, upstream: int, profile: str, scratch: Path) -> Path:
    text = (PEERS / name).read_text(encoding="utf-8")
    wait = "1" if profile == "timed" else "20"
    for key, value in (("@LISTEN@", listen), ("@UPSTREAM@", upstream), ("@WAIT@", wait), ("@DIR@", scratch)):
        text = text.replace(key, str(value))
    path = scratch / name
    path.write_text(text, encoding="utf-8")
    return path


def _nginx(listen: int, upstream: int, profile: str, scratch: Path) -> list[str]:
    path = _template("nginx.conf", listen, upstream, profile, scratch)
    return ["/usr/sbin/nginx", "-p", str(scratch), "-e", "stderr", "-c", str(path)]


def _haproxy(listen: int, upstream: int, profile: str, scratch: Path) -> list[str]:
    return [
        "/usr/sbin/haproxy",
        "-db",
        "-q",
        "-f",
        str(_template("haproxy.cfg", listen, upstream, profile, scratch)),
    ]


def _caddy(listen: int, upstream: int, profile: str, scratch: Path) -> list[str]:
    path = _template("Caddyfile", listen, upstream, profile, scratch)
    return ["caddy", "run", "--adapter", "caddyfile", "--config", str(path)]


def _python_peer(module: str) -> Callable[[int, int, str, Path], list[str]]:
    def command(listen: int, upstream: int, profile: str, _: Path) -> list[str]:
        return [sys.executable, "-m", f"tests.http_suite.peers.{module}", str(listen), str(upstream)]

    return command


TARGETS = {
    target.name: target
    for target in (
        _blitz("auto", 1),
        _blitz("h11", 1),
        _blitz("auto", 2),
        _blitz("h11", 2),
        _blitz("auto", 1, tls=True),
        _blitz_with_filters("auto"),
        _blitz_with_filters("h11"),
        Target("nginx", _nginx, needs="nginx"),
        Target("haproxy", _haproxy, needs="haproxy"),
        Target("caddy", _caddy, needs="caddy"),
        Target("plain-h11", _python_peer("h11_proxy")),
        Target("naive", _python_peer("naive_proxy")),
    )
}


class running:
    """Run *target* in front of the upstream's port; entering gives the address where it listens.

    Its output goes to a file that is shown when it does not come up. Stopped with SIGTERM.
    """

    def __init__(self, target: Target, upstream: int, profile: str = "plain") -> None:
        self.target, self.upstream, self.profile = target, upstream, profile
        self.port = free_port()
        self.last_output = ""  # once it has ended

    def __enter__(self) -> tuple[str, int]:
        self._scratch = tempfile.TemporaryDirectory(prefix="http-suite-")
        for attempt in reversed(range(START_ATTEMPTS)):
            try:
                self._start()
                break
            except RuntimeError:
                if not attempt:
                    self._scratch.cleanup()
                    raise
                self.port = free_port()  # somebody was quicker
        return ("127.0.0.1", self.port)

    def __exit__(self, *_: object) -> None:
        _stop(self.process)
        self.last_output = self.output()
        if os.environ.get("HTTP_SUITE_LOG"):
            sys.stderr.write(self.last_output)
        self._scratch.cleanup()

    def output(self) -> str:
        return (Path(self._scratch.name) / "output").read_text(errors="replace")

    def restart(self) -> str:
        """Start again on the same port; returns what the old process wrote."""
        _stop(self.process)
        output = self.output()
        self._start()
        return output

    def _start(self) -> None:
        home = self._scratch.name
        command = self.target.command(self.port, self.upstream, self.profile, Path(home))
        with (Path(home) / "output").open("wb") as output:
            self.process = subprocess.Popen(
                command,
                cwd=ROOT,
                env=os.environ | {"HOME": home, "XDG_DATA_HOME": home, "XDG_CONFIG_HOME": home},
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
            )
        self._wait_listening()

    def _wait_listening(self) -> None:
        deadline = time.monotonic() + START_WAIT
        while time.monotonic() < deadline and self.process.poll() is None:
            try:
                socket.create_connection(("127.0.0.1", self.port), timeout=1).close()
                return
            except OSError:
                time.sleep(0.02)
        _stop(self.process)
        raise RuntimeError(
            f"{self.target.name} does not listen on port {self.port}; its output:\n{self.output()}"
        )


def _stop(process: subprocess.Popen[bytes]) -> None:
    if process.poll() is None:
        process.send_signal(signal.SIGTERM)
        try:
            process.wait(5)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
