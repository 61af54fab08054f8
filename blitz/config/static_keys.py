"""`[routes.static]`: files of a directory, as frozen values, and what they must mean. See ``model.py``."""

from __future__ import annotations

import os
import stat
from typing import Annotated, Literal

from msgspec import Meta, field

from blitz.config.source import Bad, Document
from blitz.config.values import FilePath, Model, Seconds
from blitz.files import progress

__all__ = ["Static", "check_root", "check_static"]

At = tuple[str | int, ...]


class Static(Model, frozen=True):
    """Answer GET and HEAD with the files of a directory: the path, as `rewrite` leaves it, is the name below
    `root`. Names that begin with a dot are not served, but for `.well-known`."""

    root: Annotated[
        FilePath,
        Meta(description="the directory; links in it may lead anywhere below it, and nowhere else"),
    ]
    index: Annotated[
        list[str], Meta(description="files that answer for their directory, the first that is there")
    ] = field(default_factory=lambda: ["index.html"])
    fallback: Annotated[
        str,
        Meta(
            description='a file that answers, with 200, where there is none: `"/index.html"` for an '
            "application that routes in the browser; empty: 404"
        ),
    ] = ""
    listing: Annotated[
        bool, Meta(description="directories without an index are listed; off: names are nobody's business")
    ] = False
    precompressed: Annotated[
        list[Literal["zstd", "br", "gzip"]],
        Meta(
            description="codings to look for beside each file (`.zst`, `.br`, `.gz`), the one to be "
            "preferred first; the file itself has to be there too"
        ),
    ] = field(default_factory=list)
    max_age: Annotated[
        Seconds | None,
        Meta(
            description="`Cache-Control: max-age`; the fallback gets `no-cache`; left out: no field, so "
            "caches guess"
        ),
    ] = None


def check_static(document: Document, static: Static | None, at: At) -> None:
    """Report what is wrong in the keys themselves; *at*: the path of the table."""
    if static is None or isinstance(static, Bad):
        return
    for position, name in enumerate(static.index):
        if isinstance(name, Bad):
            continue
        if not name or "/" in name or "\0" in name or name.startswith("."):
            here = (*at, "index", position)
            document.report(here, f'"{name}" is no name of a file in a directory; write such as "index.html"')
    fallback = static.fallback
    if isinstance(fallback, Bad) or not fallback:
        return
    if not fallback.startswith("/"):
        document.report((*at, "fallback"), f'"{fallback}" does not begin with "/"; write "/{fallback}"')
    elif any(part.startswith(".") or not part or "\0" in part for part in fallback[1:].split("/")):
        document.report(
            (*at, "fallback"), f'"{fallback}" is no path of a file below `root`; write such as "/index.html"'
        )


def check_root(document: Document, static: Static | None, at: At) -> None:
    """Report a root that is no directory. Looks at the disk."""
    if static is None or isinstance(static, Bad) or isinstance(static.root, Bad):
        return
    here, root = (*at, "root"), static.root
    place = progress.get()
    if place is not None:
        place[:] = [root]
    if not root:
        document.report(here, "is empty; name a directory")
        return
    try:
        is_directory = stat.S_ISDIR(os.stat(root).st_mode)
    except (OSError, ValueError) as exc:
        why = exc.strerror.lower() if isinstance(exc, OSError) and exc.strerror else "it is no path"
        document.report(here, f"{root} cannot be looked at: {why}; name a directory that is there")
        return
    if not is_directory:
        document.report(here, f"{root} is not a directory; name the one that the files are in")
