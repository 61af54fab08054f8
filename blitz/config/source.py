"""Where a configuration value came from, so that a problem can say it.

A document starts as plain builtins out of ``tomllib``. Texts that other sources put into it (the
environment, ``--set``, ``${NAME}``) are marked by str subclasses, because they are read differently:
``"8"`` from ``--set`` may be a number, ``"8"`` between quotes in a file may not.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path as FilesystemPath
from typing import Any

from blitz.config.positions import Path, path_text
from blitz.errors import ConfigProblem

__all__ = ["Bad", "Document", "Expanded", "Given"]


class Given(str):
    """Text from outside the file (``--set``, an environment variable): read as the key's type wants."""


class Expanded(str):
    """A string of the file after ``${NAME}`` was put in: read as the key's type wants.

    Attributes:
        source: the string as the file has it. Messages show this one: the value may be a secret.
    """

    source: str

    def __new__(cls, text: str, source: str) -> Expanded:
        made = super().__new__(cls, text)
        made.source = source
        return made


class Bad(str):
    """Stands for a value that has already been reported, so that later checks pass over it."""


@dataclass(slots=True)
class Document:
    """Builtins plus where each of their keys stands.

    Attributes:
        data: what tomllib returned, as changed by the environment and overrides.
        file: as the user wrote it; "" when there is none.
        lines: key path -> line in *file*.
        expanded: key path -> the string of the file that was expanded there, and the result.
        origins: key path -> name of the flag or variable that set it.
        variables: key -> environment variable that sets it for every plugin, over what its entry says.
        problems: what has been found wrong so far.
        sha256: hex digest of the bytes that were read from *file*; "" when there are none.
        files: key path -> the file whose line stands in *lines*, where it is another one than *file*.
        sources: every file that was read for it.
    """

    data: dict[str, Any] = field(default_factory=dict)
    file: str = ""
    lines: dict[Path, int] = field(default_factory=dict)
    origins: dict[Path, str] = field(default_factory=dict)
    expanded: dict[Path, Expanded] = field(default_factory=dict)
    variables: dict[str, str] = field(default_factory=dict)
    problems: list[ConfigProblem] = field(default_factory=list)
    sha256: str = ""
    files: dict[Path, str] = field(default_factory=dict)
    sources: list[str] = field(default_factory=list)

    def base_of(self, path: Path) -> FilesystemPath:
        """The directory that a relative path there counts from: that of the file it stands in."""
        for end in range(len(path), 0, -1):
            if path[:end] in self.lines:
                return FilesystemPath(self.files.get(path[:end], self.file)).parent
        return FilesystemPath(self.file).parent

    def where(self, path: Path) -> tuple[str, int]:
        """File (or flag, or variable) and line of *path*, or of the nearest table around it."""
        for end in range(len(path), -1, -1):
            if path[:end] in self.origins:
                return self.origins[path[:end]], 0
            if path[:end] in self.lines:
                return self.files.get(path[:end], self.file), self.lines[path[:end]]
        return self.file, 0

    def is_bad(self, key: str) -> bool:
        """The whole of a table or list at the top has been reported: what it would have held is not known."""
        return any(problem.key == key for problem in self.problems)

    def report(self, path: Path, message: str, *, reveal: bool = False) -> None:
        """Note a problem at *path*. What a variable put there is shown as ``${NAME}``, unless *reveal*."""
        file, line = self.where(path)
        if path in self.expanded and not reveal:
            message = _masked(message, self.expanded[path])
        self.problems.append(ConfigProblem(message, file=file, line=line, key=path_text(path)))


def _masked(message: str, value: Expanded) -> str:
    """*message* with the reference in place of the value, which may be a secret."""
    message = message.replace(f'"{value}"', f'"{value.source}"')
    # A short value would be found in other words; it is quoted in every message but these.
    return message.replace(str(value), value.source) if len(value) > 3 else message
