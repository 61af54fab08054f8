"""Every failure Blitz can report, and whose fault it is.

A class says *who* is at fault (``source``), what a client is told (``status_hint``) and whether the
same request may be tried again elsewhere (``retryable``). Foreign exceptions (h11's, the operating
system's, the C shim's codes) are translated once, at the border where they appear, with
``raise New(...) from exc``. The message is for the log; a client sees the status and its reason
phrase only.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar

from blitz.files import shown

__all__ = [
    "CAUSES",
    "BlitzError",
    "ClientError",
    "ClientGone",
    "ConfigError",
    "ConfigProblem",
    "CutOff",
    "FileError",
    "InternalError",
    "ListenerDied",
    "NoRoute",
    "PluginError",
    "PluginLoadError",
    "PluginMemory",
    "PluginReroute",
    "PluginSuspended",
    "PluginTimeout",
    "PluginTrap",
    "PluginVerdict",
    "ShortageError",
    "UpstreamError",
    "only_error",
]


AT = "\n    at "  # before each frame of a text


class BlitzError(Exception):
    """Base of all of them.

    Attributes:
        source: who is at fault: ``config``, ``client``, ``upstream``, ``plugin``, ``file`` or ``internal``;
            ``gateway`` where nobody is.
        status_hint: the status a client gets when no head was sent yet; 0 when nothing is sent.
        retryable: the same request may succeed on another connection or endpoint (``routing/balance.py``).
        transient: what kept something from loading lies with the system, and may be over later.
    """

    source: ClassVar[str] = "internal"
    status_hint: int = 500
    retryable: bool = False
    transient: bool = False
    _cause: str = ""

    @property
    def cause(self) -> str:
        """One of CAUSES: what kind of thing ended the exchange, for logs."""
        if self._cause:
            return self._cause
        by_status = _CAUSE_BY_STATUS.get((self.source, self.status_hint))
        return by_status or _CAUSE_BY_SOURCE.get(self.source, "internal")

    @property
    def message(self) -> str:
        """What happened, for one line of a log or a record: ``str`` may have more."""
        return super().__str__()


# The words of ``cause`` in a line of the access log and of an error answer; docs/operations.md explains each.
CAUSES = (
    "bad_request",
    "client_reset",
    "client_timeout",
    "limit",
    "no_route",
    "denied",
    "rate_limited",
    "upstream_connect",
    "upstream_busy",
    "upstream_reset",
    "upstream_timeout",
    "upstream_error",
    "deadline",
    "idle",
    "plugin",
    "file",
    "drain",
    "internal",
)
_CAUSE_BY_SOURCE = {
    "client": "bad_request",
    "upstream": "upstream_error",
    "plugin": "plugin",
    "file": "file",
    "gateway": "drain",
}
_CAUSE_BY_STATUS = {
    ("client", 0): "client_reset",
    ("client", 408): "client_timeout",
    ("client", 413): "limit",
    ("client", 414): "limit",
    ("client", 431): "limit",
    ("upstream", 404): "no_route",
    ("upstream", 503): "upstream_busy",
    ("upstream", 504): "upstream_timeout",
}


def only_error(group: BaseExceptionGroup[BaseException]) -> BlitzError | None:
    """The one BlitzError that nurseries wrapped in *group*; None when there is more in it, or none."""
    inner: BaseException = group
    while isinstance(inner, BaseExceptionGroup) and len(inner.exceptions) == 1:
        inner = inner.exceptions[0]
    return inner if isinstance(inner, BlitzError) else None


class ConfigProblem:
    """One mistake in a configuration: what was wrong, where, what was expected, what to do.

    All of it is printable text, whatever the names in it are.

    Attributes:
        message: one sentence, lower case.
        file: path as the user wrote it, or the name of an environment variable or command-line flag.
        line: 1-based, or 0 where there is none.
        key: dotted path such as ``routes[0].upstream``, or "".
        frames: of a plugin that could not start, as ``PluginError`` has them; not in ``str``.
    """

    __slots__ = ("file", "frames", "key", "line", "message")

    def __init__(
        self, message: str, *, file: str = "", line: int = 0, key: str = "", frames: tuple[str, ...] = ()
    ) -> None:
        self.message = shown(message)
        self.frames = frames
        self.file = shown(file)
        self.line = line
        self.key = key

    @classmethod
    def read(cls, text: str) -> ConfigProblem:
        """What ``str`` of a BlitzError says: a sentence, and frames if it is a plugin's."""
        message, *frames = text.split(AT)
        return cls(message, frames=tuple(frames))

    def __str__(self) -> str:
        where = f"{self.file}:{self.line}" if self.file and self.line else self.file
        return ": ".join(part for part in (where, self.key, self.message) if part)

    def __repr__(self) -> str:
        return f"ConfigProblem({str(self)!r})"


class ConfigError(BlitzError):
    """The operator's fault: the configuration cannot run. Carries every problem at once."""

    source = "config"

    def __init__(self, problems: list[ConfigProblem] | str) -> None:
        self.problems = [ConfigProblem(problems)] if isinstance(problems, str) else problems
        super().__init__("\n".join(str(problem) for problem in self.problems))


class ClientError(BlitzError):
    """The client's fault: its message is wrong, too large or too slow (4xx)."""

    source = "client"

    def __init__(self, message: str, *, status: int = 400, cause: str = "") -> None:
        super().__init__(message)
        self.status_hint = status
        self._cause = cause


class ClientGone(ClientError):
    """The client went away; nothing can be sent."""

    def __init__(self, message: str = "client closed the connection") -> None:
        super().__init__(message, status=0)


class UpstreamError(BlitzError):
    """The upstream's fault: unreachable (502), overloaded (503), late (504), or nonsense (502)."""

    source = "upstream"

    def __init__(self, message: str, *, status: int = 502, retryable: bool = False, cause: str = "") -> None:
        super().__init__(message)
        self.status_hint = status
        self.retryable = retryable
        self._cause = cause


class PluginError(BlitzError):
    """A plugin's fault. Its failure policy may turn this into a skip.

    Attributes:
        kind: one word for the class, for records.
        plugin: its name. version: as its manifest says, or "".
        hook: the export that was running, or "".
        frames: guest frames, innermost first, one ``function  file:line`` each. ``str`` lists them below
            the message, in lines of their own.
    """

    source = "plugin"
    kind: ClassVar[str] = "error"

    def __init__(
        self,
        message: str,
        *,
        plugin: str = "",
        version: str = "",
        hook: str = "",
        frames: tuple[str, ...] = (),
    ) -> None:
        super().__init__(message)
        self.plugin = plugin
        self.version = version
        self.hook = hook
        self.frames = frames

    def __str__(self) -> str:
        return AT.join((self.message, *self.frames))


class PluginLoadError(PluginError):
    """The file is not a plugin that can run here; the message says what was found and what was wanted. It is
    printable text: names of files are chosen by others."""

    kind = "load"

    def __init__(self, message: str, **about: Any) -> None:
        super().__init__(shown(message), **about)


class PluginTrap(PluginError):
    """The guest trapped, exited, or made a host call that is not allowed."""

    kind = "trap"


class PluginTimeout(PluginError):
    """The guest ran past its deadline and was cancelled."""

    kind = "timeout"


class PluginMemory(PluginError):
    """The guest wanted more memory, or more host memory, than it may have."""

    kind = "memory"


class PluginVerdict(PluginError):
    """The hook returned -1 or a value that is no verdict."""

    kind = "verdict"


class PluginReroute(PluginError):
    """The plugin led the request to another route, whose plugins have not run. No failure policy applies."""

    kind = "reroute"


class PluginSuspended(PluginError):
    """The plugin failed too often of late, or has no free instance: it is not run for this exchange."""

    kind = "suspended"
    status_hint = 503


class CutOff(BlitzError):
    """Nobody's fault: the gateway ends, and the exchange had no more time."""

    source = "gateway"
    status_hint = 503


class FileError(BlitzError):
    """The disk's, or of whoever writes to it: a file of a static route cannot be had now (503, 504), or is
    another one than the response that has begun."""

    source = "file"

    def __init__(self, message: str, *, status: int = 503) -> None:
        super().__init__(message)
        self.status_hint = status


class InternalError(BlitzError):
    """Ours: a broken invariant. Logged with its traceback."""


class NoRoute(UpstreamError):
    """No route matches a request. The client's, or the configuration's.

    Attributes:
        allow: the methods with which one would have; then the status is 405 (RFC 9110 section 15.5.6).
    """

    def __init__(self, message: str, allow: Sequence[bytes] = ()) -> None:
        super().__init__(message, status=405 if allow else 404)
        self.allow = b", ".join(allow)


class ListenerDied(InternalError):
    """The system's: a listening socket does not listen any more and cannot be made to. ``serve`` raises it
    once what was in flight has ended."""


class ShortageError(BlitzError):
    """The machine's: it has no descriptor or no memory for this exchange. Not the upstream's fault.

    Attributes:
        number: of the system's error.
    """

    status_hint = 503

    def __init__(self, message: str, number: int) -> None:
        super().__init__(message)
        self.number = number
