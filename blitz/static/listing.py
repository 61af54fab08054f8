"""The page that lists a directory. Names are text: whoever may write files there may not write the page."""

from __future__ import annotations

import html
from collections.abc import Sequence
from dataclasses import dataclass
from urllib.parse import quote_from_bytes

from blitz.files import shown

from .conditions import http_date

__all__ = ["FIELDS", "Entry", "render"]

# What the page is: nothing in it loads or runs anything, whatever a name brings.
FIELDS = (
    (b"content-security-policy", b"default-src 'none'; style-src 'unsafe-inline'"),
    (b"x-content-type-options", b"nosniff"),
    (b"cache-control", b"no-cache"),
)
_PAGE = """<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width">
<title>{title}</title>
<style>body {{ font: 1rem sans-serif }} td {{ padding: 0 1rem 0 0 }} td + td {{ text-align: right }}</style>
</head>
<body>
<h1>{title}</h1>
<table>
{rows}</table>
{more}</body>
</html>
"""


@dataclass(frozen=True, slots=True)
class Entry:
    """size: bytes; modified: seconds since 1970."""

    name: bytes
    is_directory: bool
    size: int = 0
    modified: int = 0


def render(name: bytes, entries: Sequence[Entry], *, is_cut: bool) -> bytes:
    """The page of the directory *name* (relative to the root; it ends in a slash, or is b"").

    Args:
        is_cut: there are more entries than these.
    """
    rows = ['<tr><td><a href="../">../</a></td></tr>\n'] if name else []
    rows += [_row(entry) for entry in sorted(entries, key=lambda one: (not one.is_directory, one.name))]
    more = f"<p>Only the first {len(entries)} entries are listed.</p>\n" if is_cut else ""
    return _PAGE.format(title=_text(b"/" + name), rows="".join(rows), more=more).encode()


def _row(entry: Entry) -> str:
    slash = "/" if entry.is_directory else ""
    # "./": a name with a colon is no scheme. Percent-encoding leaves no byte that HTML knows.
    link = f"./{quote_from_bytes(entry.name, safe='')}{slash}"
    size = "" if entry.is_directory else f"{entry.size}"
    when = http_date(entry.modified).decode()
    return (
        f'<tr><td><a href="{link}">{_text(entry.name)}{slash}</a></td><td>{size}</td><td>{when}</td></tr>\n'
    )


def _text(name: bytes) -> str:
    return html.escape(shown(name.decode("utf-8", "surrogateescape")))
