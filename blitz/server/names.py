"""Addresses of a host's name, from trio's resolver: a thread that may hang, or an embedder's own."""

from __future__ import annotations

import copy
import errno
import socket
from typing import Any

import trio

__all__ = ["LookUp"]

Addresses = list[tuple[int, tuple[Any, ...]]]


class _Question:
    """One that is under way, for everybody who asks meanwhile."""

    def __init__(self) -> None:
        self.answered = trio.Event()
        self.found: Addresses = []
        self.error: OSError | None = OSError(errno.ECANCELED, "the lookup was given up")


class LookUp:
    """Of one endpoint's name, or address. There is one question at a time, and so one thread at most: a
    resolver that hangs over this name keeps no other waiting."""

    __slots__ = ("_host", "_port", "_question")

    def __init__(self, host: str, port: int) -> None:
        self._host, self._port = host, port
        self._question: _Question | None = None

    async def addresses(self) -> Addresses:
        """(family, address as sockets take it) of each, in the resolver's order.

        Raises:
            OSError: socket.gaierror, or the system has no thread for it.
        """
        try:
            flags = socket.AI_NUMERICHOST  # asks nobody
            return _parts(socket.getaddrinfo(self._host, self._port, type=socket.SOCK_STREAM, flags=flags))
        except socket.gaierror:
            pass
        except UnicodeError as exc:
            raise OSError(errno.EINVAL, "no name of a host") from exc
        question = self._question
        if question is None:
            question = self._question = _Question()
            # Not the task that asks: it may be cancelled, and the thread would stay.
            trio.lowlevel.spawn_system_task(self._ask, question)
        await question.answered.wait()
        if question.error is not None:
            raise copy.copy(question.error)
        return question.found

    async def _ask(self, question: _Question) -> None:
        try:
            found = await trio.socket.getaddrinfo(self._host, self._port, type=socket.SOCK_STREAM)
            question.found, question.error = _parts(found), None
        except OSError as exc:
            question.error = exc
        except Exception as exc:  # no thread, or an embedder's resolver
            question.error = OSError(errno.EAGAIN, f"its name cannot be asked for: {exc}")
        finally:
            self._question = None
            question.answered.set()


def _parts(found: Any) -> Addresses:
    return [(one[0], one[4]) for one in found]
