"""Which plugins there are: the operator's entries, and every ``*.wasm`` in ``plugin_dir``.

Each comes out as a :class:`Found`: file, manifest, and the operator's entry if there is one.
``resolve.py`` makes the final plugin of it. Files are looked at here, never run.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, replace
from pathlib import Path as FilePath

from blitz.config.binding import bound_digest, why_not_for
from blitz.config.check import nearest
from blitz.config.manifest import Manifest, find_manifest, read_manifest
from blitz.config.model import Config, Plugin
from blitz.config.pin import why_not_pinned
from blitz.config.rules import PLUGIN_NAME, SHA256
from blitz.config.source import Bad, Document
from blitz.errors import ConfigProblem
from blitz.files import MODULE, FileRefused, check_file, read_file, shown
from blitz.text import one_line

__all__ = ["Found", "discover", "plugin_name"]


@dataclass(frozen=True, slots=True)
class Found:
    """One plugin before its settings are merged.

    Attributes:
        name: final.
        file: path of the ``.wasm``.
        manifest: what it says, or None; document: for the lines of it.
        entry: the operator's, or None; index: its position in ``config.plugins``.
        bound: hex digest of the only module that the manifest is for, or "".
        stale: the file holds another module, in a sentence, or ""; the manifest is None then.
    """

    name: str
    file: str
    manifest: Manifest | None
    document: Document
    entry: Plugin | None = None
    index: int = -1
    bound: str = ""
    stale: str = ""


def discover(config: Config, document: Document) -> tuple[list[Found], bool]:
    """Return the enabled plugins, and whether every plugin there is could be found.

    After False, a name that is not in the list may still be one. Problems go to *document*.
    """
    files = _directory(config, document)
    complete = files is not None
    files = files or []
    taken = {_identity(plugin.file) for plugin in config.plugins if plugin.file}
    lying = [_look(path) for path in files if _identity(str(path)) not in taken]
    found = [_entry(config, index, lying, document) for index in range(len(config.plugins))]
    named = {item.name for item in found if item is not None}
    found += [item for item in lying if item.name not in named]
    enabled = [item for item in found if item is not None and (item.entry is None or item.entry.enabled)]
    for item in enabled:
        _check_name(item, document)
        _check_about(item)
        document.problems += item.document.problems
    _report_doubles(enabled, document)
    all_named = not any(isinstance(plugin.name, Bad) for plugin in config.plugins)
    return enabled, complete and all_named and not document.is_bad("plugins")


def plugin_name(file: str) -> str:
    """The name that the plugin in *file* goes by: its manifest's, else the file's."""
    return _look(FilePath(file)).name


def _directory(config: Config, document: Document) -> list[FilePath] | None:
    """Every ``*.wasm`` in plugin_dir, by name; hidden files are somebody's half-written ones. None after
    a problem."""
    if isinstance(config.plugin_dir, Bad):
        return None
    if not config.plugin_dir:
        return []
    directory = FilePath(config.plugin_dir)
    try:
        return sorted(
            path
            for path in directory.iterdir()
            if path.suffix == ".wasm" and not path.name.startswith(".") and not path.is_dir()
        )
    except FileNotFoundError:
        reason = "does not exist; create it, or name the directory that holds your .wasm files"
    except NotADirectoryError:
        reason = "is not a directory; name the directory that holds your .wasm files"
    except OSError as error:
        reason = f"cannot be listed: {(error.strerror or str(error)).lower()}; check its permissions"
    document.report(("plugin_dir",), f"{directory} {reason}", reveal=True)
    return None


def _look(path: FilePath, entry: Plugin | None = None, index: int = -1) -> Found:
    """A file with its manifest."""
    manifest_path = find_manifest(path)
    manifest, manifest_document = None, Document()
    bound = stale = ""
    if manifest_path is not None:
        manifest, manifest_document = read_manifest(manifest_path)
        bound = bound_digest(manifest_document)
        stale = why_not_for(path, manifest_document, bound)
        if stale:  # nothing of it counts, its mistakes neither; a pin still means both files
            manifest, bound = None, ""
            manifest_document = Document(file=manifest_document.file, sha256=manifest_document.sha256)
    name = entry.name if entry is not None else ""
    if not name:
        said = manifest.plugin.name if manifest is not None else ""
        name = said if said and not isinstance(said, Bad) else shown(path.stem)
    return Found(name, str(path), manifest, manifest_document, entry, index, bound, stale)


def _entry(config: Config, index: int, lying: list[Found], document: Document) -> Found | None:
    """The plugin that an operator's entry is about; None after a report."""
    entry = config.plugins[index]
    if isinstance(entry.name, Bad) or isinstance(entry.file, Bad) or not (entry.name or entry.file):
        return None
    if entry.file:
        found = _look(FilePath(entry.file), entry, index)
        at: tuple[str | int, ...] = ("plugins", index, "file")
    else:
        meant = [item for item in lying if item.name == entry.name]
        unread = any(problem.key == "plugin_dir" for problem in document.problems)
        at = ("plugins", index)
        if entry.enabled and len(meant) != 1 and not unread:  # else nobody knows what is in it
            document.report(at, _unclear(config, entry.name, meant, lying))
        if not meant:
            return None
        found = replace(meant[0], entry=entry, index=index)
    if entry.enabled:
        _check_file(found, entry, document, at)
    return found


def _unclear(config: Config, name: str, meant: list[Found], lying: list[Found]) -> str:
    """Why there is not one file that *name* means."""
    if meant:
        files = " and ".join(item.file for item in meant)
        return f'"{name}" has no `file`, and {files} both go by that name; rename one, or write `file`'
    if not config.plugin_dir:
        return f'"{name}" needs `file`, the path of its .wasm: no plugin_dir is set to find it in'
    hint = nearest(name, [item.name for item in lying]) or "; there is no .wasm in it"
    return f'"{name}" has no `file`, and plugin_dir {config.plugin_dir} holds none of that name{hint}'


def _check_file(found: Found, entry: Plugin, document: Document, at: tuple[str | int, ...]) -> None:
    """The file can be read, and with its manifest it is what was pinned. The digest of the module is
    computed again when it is loaded: it is what is loaded that counts."""
    pin = entry.sha256
    try:
        if not SHA256.fullmatch(pin):
            check_file(found.file, MODULE)
            return
        digest = hashlib.sha256(read_file(found.file, MODULE)).hexdigest()
    except FileRefused as refused:
        document.report(at, f"{found.file}: {refused}", reveal=True)
        return
    manifest = found.document
    if manifest.file and not manifest.sha256:
        return  # it cannot be read, which is reported for itself
    why = why_not_pinned(found.file, digest, manifest.file, manifest.sha256, pin)
    if why:
        document.report(("plugins", found.index, "sha256"), why)


def _check_name(item: Found, document: Document) -> None:
    if not PLUGIN_NAME.fullmatch(item.name) and not (item.entry and item.entry.name):
        document.problems.append(
            ConfigProblem(
                f'"{item.name}" is not a plugin name (letters, digits, `_`, `-`, `.`, at most 64); '
                "rename the file, or give it a name in a manifest",
                file=item.file,
            )
        )


def _check_about(item: Found) -> None:
    """A manifest is not trusted: what it says goes to logs and terminals, and must stay in its line."""
    if item.manifest is None:
        return
    for key in ("version", "license", "description"):
        text = getattr(item.manifest.plugin, key)
        if not isinstance(text, Bad) and one_line(text) != text:
            item.document.report(
                ("plugin", key), "holds control or invisible characters; write one line of plain text"
            )


def _report_doubles(found: list[Found], document: Document) -> None:
    first: dict[str, Found] = {}
    for item in found:
        other = first.setdefault(item.name, item)
        if other is item or (item.entry and item.entry.name and other.entry and other.entry.name):
            continue  # two entries that say the same name are reported by rules.py
        message = (
            f'the plugin in {item.file} is named "{item.name}", as is the one in {other.file}; rename one'
        )
        if item.index >= 0:
            document.report(("plugins", item.index), message)
        else:
            document.problems.append(ConfigProblem(message, file=item.document.file or item.file))


def _identity(file: str) -> str:
    try:
        return str(FilePath(file).resolve())
    except (OSError, RuntimeError):  # a loop of links
        return file
