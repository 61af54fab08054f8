"""Which changed keys a reload leaves as they were: those of the sockets, and of what is set up once."""

from __future__ import annotations

from collections.abc import Callable

from .resolved import Resolved

__all__ = ["needs_restart"]


def needs_restart(running: Resolved, fresh: Resolved, *, logs: bool) -> dict[str, str]:
    """Keys whose values of *fresh* wait for a restart -> a sentence about each.

    Args:
        running: what the process was started with; later reloads have not changed these keys.
        logs: it has set up its logs itself.
    """
    said = {}
    for key, value in (KEYS | (LOG_KEYS if logs else {})).items():
        now, then = value(running), value(fresh)
        if now != then:
            said[key] = f"{key} stays {now} and is {then} after a restart"
    return said


def _listen(resolved: Resolved) -> str:
    return ", ".join(
        f"{address}{' (tls)' if address.tls else ''}{' (proxy_protocol)' if address.proxy_protocol else ''}"
        for address in resolved.listen
    )


KEYS: dict[str, Callable[[Resolved], str]] = {
    "listen": _listen,
    "admin.listen": lambda resolved: resolved.admin.where,
    "watch": lambda resolved: "on" if resolved.watch else "off",
}
LOG_KEYS: dict[str, Callable[[Resolved], str]] = {
    "log.level": lambda resolved: resolved.log.level,
    "log.plugins": lambda resolved: resolved.log.plugins,
}
