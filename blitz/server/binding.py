"""Listening sockets for the addresses of a configuration, and sentences for those that cannot be bound."""

from __future__ import annotations

import errno
import logging
import os
import socket
import stat
from collections.abc import Sequence

from blitz.config import Resolved
from blitz.errors import ConfigError, ConfigProblem
from blitz.server.listen import BACKLOG, bind, spoken_on
from blitz.server.tls import TlsSettings

__all__ = ["bind_admin", "bind_all", "check_listeners"]

_log = logging.getLogger("blitz.server")


def bind_all(resolved: Resolved, *, share: bool = False) -> list[socket.socket]:
    """Listening sockets for every address of a configuration; *share*: SO_REUSEPORT.

    Raises:
        ConfigError: with every address that cannot be bound; nothing stays bound.
    """
    listeners: list[socket.socket] = []
    problems: list[ConfigProblem] = []
    for address in resolved.listen:
        try:
            listeners += bind(address, share=share)
        except OSError as exc:
            problems.append(ConfigProblem(_bind_sentence(str(address), exc), key="listen"))
    if problems:
        for listener in listeners:
            listener.close()
        raise ConfigError(problems)
    return listeners


def bind_admin(resolved: Resolved) -> list[socket.socket]:
    """Listening sockets for the admin address of a configuration, [] when it has none.

    Raises:
        ConfigError: it cannot be bound.
    """
    admin = resolved.admin
    try:
        if admin.path:
            return [_bind_path(admin.path)]
        return list(bind(admin.listen)) if admin.listen is not None else []
    except OSError as exc:
        sentence = _bind_sentence(admin.where, exc)
        if admin.by_default:
            _log.warning("there is no admin listener: %s, or set admin.listen", sentence)
            return []
        raise ConfigError([ConfigProblem(sentence, key="admin.listen")]) from exc


def _bind_path(path: str) -> socket.socket:
    """A Unix socket that only this user may open. One that nobody listens on any more gives way."""
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        listener.setblocking(False)
        os.fchmod(listener.fileno(), 0o600)  # Linux gives it to the file
        try:
            listener.bind(path)
        except OSError as exc:
            if exc.errno != errno.EADDRINUSE or not _is_left_over(path):
                raise
            os.unlink(path)
            listener.bind(path)
        listener.listen(BACKLOG)
    except BaseException:
        listener.close()
        raise
    return listener


def _is_left_over(path: str) -> bool:
    if not stat.S_ISSOCK(os.lstat(path).st_mode):
        return False
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        probe.setblocking(False)
        return probe.connect_ex(path) == errno.ECONNREFUSED


def _bind_sentence(address: str, exc: OSError) -> str:
    if isinstance(exc, socket.gaierror):
        return f"{address} has a name that does not resolve; write an IP address of this machine"
    advice = {
        errno.EADDRINUSE: "is in use by another process; stop that one or choose another port",
        errno.EACCES: "needs privileges; choose a port above 1023 or grant CAP_NET_BIND_SERVICE",
        errno.EADDRNOTAVAIL: "is not an address of this machine; use 127.0.0.1 or 0.0.0.0",
    }.get(exc.errno or 0, f"cannot be bound: {exc.strerror}")
    return f"{address} {advice}"


def check_listeners(resolved: Resolved, tls: TlsSettings, listeners: Sequence[socket.socket]) -> None:
    """Sockets that speak TLS outlive configurations; one without certificates cannot serve them."""
    if tls.server is None and any(
        spoken_on(one, resolved.listen).tls for one in listeners if one.fileno() >= 0
    ):
        raise ConfigError(
            "a listener speaks TLS, and there is no certificate any more; keep [[tls.certs]], or start anew"
        )
