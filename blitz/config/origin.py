"""Which file and key, flag or variable set a limit of a plugin, and what to do so that it gets more.

The order is: a variable or ``--set`` for every plugin, the ``[[plugins]]`` entry, the manifest (up to
``[plugin_defaults]``), ``[plugin_defaults]``. Advice that a variable would override is no advice: where one
is set, it is named.
"""

from __future__ import annotations

from blitz.config.positions import Path, path_text
from blitz.config.source import Document

__all__ = ["limit_origin"]


def limit_origin(key: str, name: str, index: int, document: Document, manifest: Document, source: str) -> str:
    """Where limit *key* of plugin *name* comes from, and how to raise it, for the middle of a sentence.

    Args:
        index: of its entry in *document*, or -1.
        source: ``entry``, ``manifest`` or ``defaults``: who said it last.
    """
    entry = f'write {key} in its [[plugins]] entry (name = "{name}")'
    variable = document.variables.get(key, "")
    if source == "manifest":
        most = f"; {variable} is the most that this gives" if variable else ""
        return f"set by {_place(manifest, ('limits', key))}; to give it more, {entry}{most}"
    path = ("plugins", index, key) if source == "entry" else ("plugin_defaults", key)
    where, _ = document.where(path)
    if variable and where == variable:
        return f"set by the variable {variable}, which overrides the keys of files; raise it there"
    if source == "entry":
        return f"set by {_place(document, path)}; raise it there"
    if path in document.lines or path in document.origins:
        return f"set by {_place(document, path)}; raise it there"
    return f"the default of plugin_defaults.{key}; to give it more, {entry}"


def _place(document: Document, path: Path) -> str:
    file, line = document.where(path)
    where = f"{file}:{line}" if line else file
    if file.startswith("--"):  # a flag says which key it sets
        return file
    return f"{where}: {path_text(path)}" if where else path_text(path)
