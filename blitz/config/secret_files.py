"""Values that have a file of their own: ``${file:PATH}``, ``NAME_FILE``, credentials of systemd.

Containers and systemd hand secrets over as files. What is in the file is the value, without the line break at
its end. It stands in no message: there, the reference does.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from blitz.files import MIB, FileRefused, Kind, read_file, shown

__all__ = ["CREDENTIALS", "SecretFiles"]

CREDENTIALS = "CREDENTIALS_DIRECTORY"  # set by systemd, for LoadCredential= (systemd.exec(5))
SECRET = Kind("a secret", MIB)


class SecretFiles:
    """Reads them, and remembers which.

    Attributes:
        read: paths of the files, in the order in which they were read first.

    Args:
        base: the directory that relative paths count from.
        environ: where systemd says its directory.
    """

    def __init__(self, base: Path, environ: Mapping[str, str]) -> None:
        self._base = base
        self._environ = environ
        self.read: list[str] = []

    def file(self, path: str) -> str:
        """What the file at *path* says. Raises ValueError with one sentence."""
        if not path:
            raise ValueError("`${file:}` names no file; write a path, such as `${file:/run/secrets/token}`")
        return self._text(self._base / path)

    def credential(self, name: str) -> str:
        """What systemd was told to hand over as *name*. Raises ValueError with one sentence."""
        if not name or "/" in name or name in (".", ".."):
            raise ValueError(
                f"`${{credential:{name}}}` is no name of a credential; write it as in LoadCredential="
            )
        directory = self._environ.get(CREDENTIALS, "")
        if not directory:
            raise ValueError(
                f"`${{credential:{name}}}` needs systemd, which sets {CREDENTIALS}; write "
                f"LoadCredential={name}:PATH into the unit, or use `${{file:PATH}}`"
            )
        return self._text(Path(directory) / name)

    def _text(self, path: Path) -> str:
        told = shown(str(path))
        if str(path) not in self.read:
            self.read.append(str(path))
        try:
            raw = read_file(path, SECRET)
        except FileRefused as refused:
            raise ValueError(f"the file {told}: {refused}") from None
        try:
            text = raw.decode()
        except UnicodeDecodeError:
            raise ValueError(
                f"the file {told} is not UTF-8; secrets that are not text cannot be used"
            ) from None
        if "\0" in text:
            raise ValueError(f"the file {told} has a NUL in it, which no value may have")
        return text.removesuffix("\n").removesuffix("\r")
