"""What `compress` must mean beyond its shape. See ``rules.py``."""

from __future__ import annotations

import re

from blitz.config.codings import check_coding
from blitz.config.filter_keys import Compress, ContentCoding
from blitz.config.source import Bad, Document
from blitz.config.syntax import is_readable

__all__ = ["check_compress", "compress_of"]

_TOKEN = r"[!#$%&'*+.^_`|~0-9A-Za-z-]{1,127}"  # RFC 9110 section 5.6.2
_RANGE = re.compile(rf"(?!\*){_TOKEN}/(\*|(?!\*){_TOKEN})")
_SUFFIX = re.compile(r"\+[0-9A-Za-z][0-9A-Za-z.-]{0,63}")

Path = tuple[str | int, ...]


def compress_of(said: list[ContentCoding] | Compress | None) -> Compress | None:
    """The short form, written out."""
    return Compress(encodings=said) if isinstance(said, list) else said


def check_compress(document: Document, said: list[ContentCoding] | Compress, at: Path) -> None:
    """Report what cannot be done."""
    codings = said if isinstance(said, list) else said.encodings
    here = at if isinstance(said, list) else (*at, "encodings")
    for position, coding in enumerate(codings):
        if isinstance(coding, Bad):
            continue
        if coding in codings[:position]:
            document.report((*here, position), f'"{coding}" is there already; leave it out')
        else:
            is_readable(document, check_coding, coding, *here, position)
    if isinstance(said, list):
        return
    for position, kind in enumerate(said.types):
        if not isinstance(kind, Bad) and not _RANGE.fullmatch(kind) and not _SUFFIX.fullmatch(kind):
            document.report(
                (*at, "types", position),
                f'"{kind}" is no media type; write such as "application/json", "text/*" or "+json"',
            )
