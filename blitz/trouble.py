"""What a helper cannot do at the moment, for the log: said when it begins, and once more when it is over.

A helper is whatever works beside the traffic: it looks for changes, reads files, tells others how it goes.
Its failure is not the gateway's, so nobody else would say it.
"""

from __future__ import annotations

import errno
import logging

from blitz.text import one_line

__all__ = ["Trouble", "may_pass", "reason_of"]

MAX_REASONS = 8  # different ones that are said before it is over
MAX_REASON = 500  # letters

# What the system answers while it is short of something, or does not reach a disk.
PASSING = frozenset(
    (
        *(errno.EAGAIN, errno.EINTR, errno.EMFILE, errno.ENFILE, errno.ENOMEM, errno.ENOBUFS, errno.ENOSPC),
        *(errno.EDQUOT, errno.EIO, errno.ESTALE, errno.ETIMEDOUT, errno.ENOTCONN, errno.EHOSTDOWN),
    )
)


class Trouble:
    """Of one helper.

    Args:
        log: where it is said.
        name: the helper, as the beginning of a sentence.
        lost: what does not happen until it is over.
    """

    def __init__(self, log: logging.Logger, name: str, lost: str) -> None:
        self._log = log
        self._name = name
        self._lost = lost
        self._said: set[str] = set()

    @property
    def there(self) -> bool:
        return bool(self._said)

    def begins(self, why: str) -> None:
        """It fails because of *why*; the same again is not said again."""
        why = one_line(why)[:MAX_REASON]
        if why in self._said or len(self._said) >= MAX_REASONS:
            return
        self._said.add(why)
        self._log.error("%s: %s; until that is over, %s", self._name, why, self._lost)

    def ends(self) -> None:
        """It works, perhaps again."""
        if self._said:
            self._said.clear()
            self._log.warning("%s: works again", self._name)


def reason_of(error: BaseException) -> str:
    """*error* in a few words, whatever it is."""
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    if isinstance(error, OSError) and error.strerror:
        return error.strerror.lower()
    if isinstance(error, MemoryError):
        return "out of memory"
    said = str(error)
    return f"{type(error).__name__}: {said}" if said else type(error).__name__


def may_pass(error: BaseException | None) -> bool:
    """The cause of *error* lies with the system and may be over later: the same may work then."""
    while error is not None:
        if isinstance(error, MemoryError) or getattr(error, "transient", False):
            return True
        if isinstance(error, OSError) and error.errno in PASSING:
            return True
        if isinstance(error, RuntimeError) and "start new thread" in str(error):
            return True
        error = error.__cause__
    return False
