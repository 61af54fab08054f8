"""The directory that servers of files serve: one file of 16 KB."""

from __future__ import annotations

from pathlib import Path

__all__ = ["FILE", "FILE_BODY", "FILE_SIZE", "lay_site"]

FILE_SIZE = 16 * 1024
FILE = "/page.html"
FILE_BODY = b"<p>sixteen bytes" * (FILE_SIZE // 16)


def lay_site(folder: Path) -> None:
    """Put it into *folder* as ``www``."""
    (folder / "www").mkdir(exist_ok=True)
    (folder / "www" / FILE.lstrip("/")).write_bytes(FILE_BODY)
