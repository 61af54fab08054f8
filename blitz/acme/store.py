"""The directory that holds account, keys, certificates and what is under way: all workers share it.

::

    account.pem             the account's key
    certificates/NAME.pem   chain and key of a name, replaced as a whole
    pending/                answers while an order is under way (``server/acme_challenges.py``)
    state.json              failures in a row of each name, and when it is tried next
    lock                    held by the one process that orders

Everything is readable by its owner only.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import tempfile
from collections.abc import Iterator
from typing import Any

from blitz.acme.schedule import Tries
from blitz.config.acme_keys import certificate_file

__all__ = ["Store"]


class Store:
    """Blocks on the disk. Its errors are OSError."""

    def __init__(self, directory: str) -> None:
        self._directory = directory
        self.pending = os.path.join(directory, "pending")

    @contextlib.contextmanager
    def lock(self) -> Iterator[bool]:
        """False: another process orders at the moment."""
        for path in (self._directory, self.pending, os.path.join(self._directory, "certificates")):
            os.makedirs(path, mode=0o700, exist_ok=True)
        fd = os.open(os.path.join(self._directory, "lock"), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            try:
                fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                yield False
            else:
                yield True
        finally:
            os.close(fd)

    def account_key(self) -> bytes | None:
        """PEM; None: there is none yet."""
        return self._read("account.pem")

    def keep_account_key(self, pem: bytes) -> None:
        self._write(os.path.join(self._directory, "account.pem"), pem)

    def certificate(self, name: str) -> bytes | None:
        """PEM of the chain and its key; None: it has not been issued."""
        return self._read(os.path.relpath(certificate_file(self._directory, name), self._directory))

    def keep_certificate(self, name: str, chain: bytes, key: bytes) -> None:
        self._write(certificate_file(self._directory, name), chain.rstrip() + b"\n" + key)

    def tries(self, name: str) -> Tries:
        """What came of *name* so far; a file that is broken says nothing."""
        said = self._state().get(name)
        try:
            return Tries(int(said["failures"]), float(said["next"]))  # type: ignore[index]
        except (TypeError, KeyError, ValueError):
            return Tries()

    def keep_tries(self, name: str, tries: Tries) -> None:
        state = self._state() | {name: {"failures": tries.failures, "next": tries.next}}
        self._write(os.path.join(self._directory, "state.json"), json.dumps(state).encode())

    def put_pending(self, name: str, content: bytes) -> None:
        self._write(os.path.join(self.pending, name), content)

    def clear_pending(self) -> None:
        """Also what a process left behind that ended in the middle."""
        for name in os.listdir(self.pending):
            with contextlib.suppress(FileNotFoundError):
                os.unlink(os.path.join(self.pending, name))

    def _state(self) -> dict[str, Any]:
        try:
            found = json.loads(self._read("state.json") or b"{}")
        except ValueError:
            return {}
        return found if isinstance(found, dict) else {}

    def _read(self, name: str) -> bytes | None:
        try:
            with open(os.path.join(self._directory, name), "rb") as file:
                return file.read(1024 * 1024)
        except FileNotFoundError:
            return None

    def _write(self, path: str, content: bytes) -> None:
        """As a whole or not at all, also when the machine stops in the middle."""
        fd, aside = tempfile.mkstemp(dir=self._directory, prefix=".new-")  # mode 0600
        try:
            with os.fdopen(fd, "wb") as file:
                file.write(content)
                file.flush()
                os.fsync(file.fileno())
            os.replace(aside, path)
        except BaseException:
            os.unlink(aside)
            raise
