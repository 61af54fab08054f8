"""A manifest is for one module: ``sha256`` under its ``[plugin]``, which ``blitz plugin build`` writes.

Who copies another ``.wasm`` over a plugin leaves the manifest of the old one behind. Its limits, its place
and what it asks for mean nothing for the new one, so it is not applied; a warning says so. A manifest
without a digest, written by hand, is for whatever lies beside it.
"""

from __future__ import annotations

import hashlib
import re
import tomllib
from pathlib import Path

from blitz.config.positions import key_lines
from blitz.config.rules import SHA256
from blitz.config.source import Document
from blitz.files import MODULE, FileRefused, read_file

__all__ = ["bind_manifest", "bound_digest", "why_not_for"]

_LINE = re.compile(r"""\s*sha256\s*=\s*(?:"[^"]*"|'[^']*')\s*(?:#.*)?""")
_HEADER = re.compile(r"\s*\[\s*plugin\s*\]\s*(?:#.*)?")


def bound_digest(manifest: Document) -> str:
    """The digest that *manifest* names, also where other keys of it are wrong, or ""."""
    about = manifest.data.get("plugin")
    said = about.get("sha256") if isinstance(about, dict) else None
    return said.lower() if isinstance(said, str) and SHA256.fullmatch(said) else ""


def why_not_for(wasm: Path, manifest: Document, bound: str) -> str:
    """Why *manifest* is not applied to the module in *wasm*, in one sentence; "" if it is.

    Blocks while the module is read. One that cannot be read is reported by who loads it.
    """
    if not bound:
        return ""
    try:
        digest = hashlib.sha256(read_file(str(wasm), MODULE)).hexdigest()
    except FileRefused:
        return ""
    if digest == bound:
        return ""
    return (
        f"{manifest.file} is the manifest of another module (sha256 {bound}) than {wasm} ({digest}) and is "
        "not applied, so defaults apply; delete it, or, if it fits, write the new digest into it"
    )


def bind_manifest(text: str, digest: str) -> str:
    """*text*, a manifest, with ``sha256 = "digest"`` under ``[plugin]``, and nothing else changed.

    Raises:
        ValueError: its ``[plugin]`` is written in a way that no line can be put into.
    """
    wanted = tomllib.loads(text)
    wanted.setdefault("plugin", {})["sha256"] = digest
    lines = text.splitlines()
    places = key_lines(text)
    new = f'sha256 = "{digest}"'
    if ("plugin", "sha256") in places:
        at = places["plugin", "sha256"] - 1
        if _LINE.fullmatch(lines[at]):
            lines[at] = new
    elif ("plugin",) not in places:
        lines += ["", "[plugin]", new]
    elif _HEADER.fullmatch(lines[places["plugin",] - 1]):
        lines.insert(places["plugin",], new)
    made = "\n".join(lines) + "\n"
    if tomllib.loads(made) != wanted:
        raise ValueError(f"write {new} under [plugin] yourself: the table is not in lines of its own")
    return made
