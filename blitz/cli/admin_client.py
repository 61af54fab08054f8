"""What commands ask a running gateway for, over its admin listener."""

from __future__ import annotations

import contextlib
import http.client
import json
import os
import socket
from collections.abc import Callable, Iterator
from typing import Any
from urllib.parse import urlsplit

import click

from blitz.cli.output import EXIT_BAD_INPUT, EXIT_FAILED
from blitz.config import read_config
from blitz.text import one_line

__all__ = ["AdminClient", "admin_options", "fail"]

DEFAULT_FILE = "blitz.toml"
DEFAULT_URL = "http://127.0.0.1:9900"
TIMEOUT = 150.0  # seconds: a reload compiles plugins
MAX_ANSWER = 64 << 20  # bytes
MAX_LINE = 1 << 20
Command = Callable[..., None]


def admin_options(command: Command) -> Command:
    """Where the gateway is, and how to print: ``-c``, ``--admin``, ``--json``."""
    options = (
        click.option("--json", "as_json", is_flag=True, help="Print JSON."),
        click.option(
            "--admin",
            "url",
            metavar="URL",
            help="Where it listens for operators: http://HOST:PORT or unix:/PATH; BLITZ_ADMIN_TOKEN is the "
            "token.",
        ),
        click.option(
            "-c",
            "--config",
            "file",
            metavar="FILE",
            help=f"The file that it runs on; {DEFAULT_FILE}, if it is there, else {DEFAULT_URL}.",
        ),
    )
    for option in options:
        command = option(command)
    return command


def fail(sentence: str, code: int = EXIT_FAILED) -> SystemExit:
    """Say it, and end with *code*."""
    click.echo(one_line(sentence), err=True)
    return SystemExit(code)


class AdminClient:
    """One gateway. Whatever goes wrong is one sentence and an end of the command."""

    def __init__(self, url: str | None, file: str | None) -> None:
        self._token = os.environ.get("BLITZ_ADMIN_TOKEN", "")
        self._url = url or self._from_file(file)
        if self._url.startswith("unix:"):
            self._path, self._host, self._port = self._url.removeprefix("unix:"), "localhost", 80
            return
        parts = urlsplit(self._url if "://" in self._url else f"http://{self._url}")
        try:
            self._path, self._host, self._port = "", parts.hostname or "", parts.port or 9900
        except ValueError:
            self._host = ""
        if parts.scheme != "http" or not self._host:
            raise fail(
                f"{self._url} is no admin address: write http://HOST:PORT or unix:/PATH", EXIT_BAD_INPUT
            )

    def _from_file(self, file: str | None) -> str:
        if file is None and not os.path.exists(DEFAULT_FILE):
            return DEFAULT_URL
        loaded = read_config(file or DEFAULT_FILE)
        if loaded.problems:
            raise fail(
                f"{loaded.problems[0]}; --admin says where it listens without the file", EXIT_BAD_INPUT
            )
        admin = loaded.resolved.with_admin().admin
        if admin.where == "off":
            raise fail(f'{file or DEFAULT_FILE}: admin.listen is "off": nobody answers', EXIT_BAD_INPUT)
        self._token = admin.token or self._token
        if admin.path or admin.listen is None:
            return admin.where
        host = admin.listen.host if admin.listen.host not in ("", "0.0.0.0", "::") else "127.0.0.1"
        return f"http://[{host}]:{admin.listen.port}" if ":" in host else f"http://{host}:{admin.listen.port}"

    def get(self, path: str) -> Any:
        """JSON of a page."""
        code, body = self._ask("GET", path, None)
        if code != 200:
            raise self._refused(code, body)
        return self._json(body)

    def post(self, path: str, said: Any = None) -> tuple[bool, Any]:
        """Ask for a change: was it made, and what is told of it. A reload may be refused."""
        code, body = self._ask("POST", path, json.dumps(said or {}).encode())
        if code not in (200, 422):
            raise self._refused(code, body)
        return code == 200, self._json(body)

    def follow(self, path: str) -> Iterator[tuple[str, Any]]:
        """Events of a stream: name and JSON; until it ends."""
        connection, answer = self._open("GET", path, None, None)
        try:
            if answer.status != 200:
                raise self._refused(answer.status, answer.read(MAX_LINE))
            name = ""
            while line := answer.readline(MAX_LINE):
                field, _, value = line.decode("utf-8", "replace").rstrip("\r\n").partition(": ")
                if field == "event":
                    name = value
                elif field == "data":
                    yield name, json.loads(value)
        except (OSError, http.client.HTTPException, ValueError) as exc:
            raise fail(f"{self._url}: the stream broke: {exc}") from exc
        finally:
            connection.close()

    def _ask(self, method: str, path: str, body: bytes | None) -> tuple[int, bytes]:
        connection, answer = self._open(method, path, body, TIMEOUT)
        try:
            return answer.status, answer.read(MAX_ANSWER)
        except (OSError, http.client.HTTPException) as exc:
            raise fail(f"{self._url}: the answer broke off: {exc}") from exc
        finally:
            connection.close()

    def _open(
        self, method: str, path: str, body: bytes | None, timeout: float | None
    ) -> tuple[http.client.HTTPConnection, http.client.HTTPResponse]:
        connection = http.client.HTTPConnection(self._host, self._port, timeout=timeout)
        fields = {"content-type": "application/json"}
        if self._token:
            fields["authorization"] = f"Bearer {self._token}"
        try:
            if self._path:
                connection.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
                connection.sock.settimeout(timeout)
                connection.sock.connect(self._path)
            connection.request(method, path, body, fields)
            return connection, connection.getresponse()
        except (ConnectionRefusedError, FileNotFoundError):
            connection.close()
            raise fail(
                f"nothing listens on {self._url}: is the gateway running, and admin.listen this address?"
            ) from None
        except (OSError, http.client.HTTPException, ValueError) as exc:
            connection.close()
            raise fail(f"{self._url} does not answer as a gateway does: {exc or type(exc).__name__}") from exc

    def _json(self, body: bytes) -> Any:
        try:
            return json.loads(body)
        except ValueError as exc:
            raise fail(f"{self._url} does not answer as a gateway does: no JSON") from exc

    def _refused(self, code: int, body: bytes) -> SystemExit:
        text = body.decode("utf-8", "replace").strip()
        with contextlib.suppress(ValueError, LookupError, TypeError):
            text = json.loads(text)["error"]
        hint = "; set BLITZ_ADMIN_TOKEN, or name the file with -c" if code == 401 else ""
        return fail(f"{self._url} answers {code}: {text}{hint}", EXIT_BAD_INPUT if code in (400, 404) else 1)
