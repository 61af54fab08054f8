"""Files of users: lines ``name:hash``, as ``htpasswd -B`` writes them, with bcrypt or argon2id.

Weaker hashes are refused: whoever gets the file would have the passwords. So are costs that would keep a
core busy for seconds.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import argon2
import bcrypt

__all__ = ["BadUsers", "Hash", "read_users", "stand_in"]

MAX_USERS = 100_000
MAX_PASSWORD = 72  # bytes of it that bcrypt looks at
_BCRYPT = re.compile(rb"\$2[aby]\$([0-9]{2})\$[./A-Za-z0-9]{53}")
_ARGON2 = re.compile(
    rb"\$argon2id\$v=19\$m=([0-9]{1,8}),t=([0-9]{1,4}),p=([0-9]{1,3})\$[A-Za-z0-9+/]{11,88}\$[A-Za-z0-9+/]{16,172}"
)
_COSTS = (4, 14)  # of bcrypt: 14 is about a second
_MAX_MEMORY, _MAX_PASSES = 256 * 1024, 16  # of argon2: KiB and passes
_argon2 = argon2.PasswordHasher()


class BadUsers(Exception):
    """The file cannot be used.

    Attributes:
        line: 1-based, or 0.
    """

    def __init__(self, message: str, line: int = 0) -> None:
        super().__init__(message)
        self.line = line


@dataclass(frozen=True, slots=True)
class Hash:
    """A password's. ``fits`` costs what the file says: not for the event loop."""

    text: bytes
    fits: Callable[[bytes], bool]


def read_users(data: bytes) -> dict[bytes, Hash]:
    """name -> hash; empty lines and those that begin with ``#`` are passed over.

    Raises:
        BadUsers: with the line; no message has anything of a hash.
    """
    users: dict[bytes, Hash] = {}
    for number, line in enumerate(data.split(b"\n"), 1):
        line = line.strip()
        if not line or line.startswith(b"#"):
            continue
        name, colon, text = line.partition(b":")
        if not colon or not name:
            raise BadUsers("is no line `name:hash`", number)
        if name in users:
            raise BadUsers("names a user who is there already", number)
        users[name] = _hash(text, number)
        if len(users) > MAX_USERS:
            raise BadUsers(f"there are more than {MAX_USERS} users", number)
    if not users:
        raise BadUsers("has no users; nobody could be let pass")
    return users


def _hash(text: bytes, line: int) -> Hash:
    if match := _BCRYPT.fullmatch(text):
        if not _COSTS[0] <= int(match[1]) <= _COSTS[1]:
            raise BadUsers(
                f"has a bcrypt cost of {int(match[1])}; from {_COSTS[0]} to {_COSTS[1]} are taken", line
            )
        return Hash(text, lambda password: _is_bcrypt(password, text))
    if match := _ARGON2.fullmatch(text):
        if int(match[1]) > _MAX_MEMORY or int(match[2]) > _MAX_PASSES:
            raise BadUsers(f"costs more than {_MAX_MEMORY} KiB or {_MAX_PASSES} passes of argon2", line)
        return Hash(text, lambda password: _is_argon2(password, text))
    raise BadUsers("has no bcrypt or argon2id hash; write it with `htpasswd -B`", line)


def _is_bcrypt(password: bytes, text: bytes) -> bool:
    # htpasswd hashes the beginning of a longer one; bcrypt itself would end at a NUL.
    whole = b"\0" not in password
    return bcrypt.checkpw(password[:MAX_PASSWORD].replace(b"\0", b"?"), text) and whole


def _is_argon2(password: bytes, text: bytes) -> bool:
    try:
        return bool(_argon2.verify(text, password))
    except (argon2.exceptions.VerificationError, argon2.exceptions.InvalidHashError):
        return False


def stand_in(users: Mapping[bytes, Hash], number: int) -> Hash:
    """The hash that is checked for a name that is not there, always the same one: so it costs what one that
    is there may cost, in a file of several costs too."""
    hashes = list(users.values())
    return hashes[number % len(hashes)]
