"""A plugin's configuration and the table in its manifest that says what may stand in it.

``[config.keys.NAME]`` of a manifest gives a key its type, default and bounds; what the operator writes under
``config`` is held against it before the plugin runs, with file, line and key, all mistakes at once. What
the plugin gets is complete: defaults are put in, durations are seconds, sizes bytes. The value of a key that
is ``secret`` stands in no message.

There are no patterns: a regular expression of a stranger may take for ever to match.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from typing import Annotated, Any, Literal, TypeGuard

from msgspec import Meta, field, inspect

from blitz.config.check import nearest, read_value
from blitz.config.positions import Path, path_text
from blitz.config.source import Document
from blitz.config.units import parse_duration, parse_size
from blitz.config.values import Model
from blitz.text import one_line

__all__ = ["ConfigKey", "check_keys", "read_settings"]

Scalar = Literal["string", "integer", "number", "boolean"]
# Messages list or show these, and a manifest is not trusted.
MAX_KEYS = 256
MAX_WORDS = 64  # of an enum
MAX_WORD = 64  # letters
MAX_DESCRIPTION = 300  # letters
_NAME = re.compile(r"[A-Za-z0-9_-]{1,64}")
_UNITS = ("duration", "size")
_NUMBERS = ("integer", "number", "duration", "size")


class ConfigKey(Model, frozen=True):
    """One key of its configuration. Where a manifest has such tables, other keys are refused."""

    type: Annotated[
        Literal["string", "integer", "number", "boolean", "list", "table", "duration", "size"],
        Meta(
            description="a duration (`5s`) reaches the plugin as seconds, a size (`64KiB`) as bytes; a table "
            "is not looked into"
        ),
    ]
    default: Annotated[Any, Meta(description="given where the operator says nothing")] = None
    required: Annotated[bool, Meta(description="the operator must say it")] = False
    min: Annotated[Any, Meta(description="of a number, duration or size")] = None
    max: Annotated[Any, Meta(description="of a number, duration or size")] = None
    enum: Annotated[
        list[str], Meta(description="what a string, or an element of a list of strings, may be")
    ] = field(default_factory=list)
    items: Annotated[Scalar | None, Meta(description="type of a list's elements; else `string`")] = None
    secret: Annotated[bool, Meta(description="its value stands in no message")] = False
    description: Annotated[str, Meta(description="one line")] = ""

    def summary(self) -> str:
        """Such as ``integer, 100``: type, what is special about it, a default that is one value."""
        said = [self.type, *(["required"] if self.required else []), *(["secret"] if self.secret else [])]
        if isinstance(self.default, bool):
            said.append(str(self.default).lower())
        elif isinstance(self.default, str | int | float) and not self.secret:
            said.append(str(self.default))
        return ", ".join(said)


def read_settings(
    keys: Mapping[str, ConfigKey], said: Mapping[str, Any], document: Document, path: Path
) -> dict[str, Any]:
    """What the plugin is given; mistakes go to *document*.

    Args:
        keys: of the manifest.
        said: the operator's table at *path* of *document*, as it was read: texts that came from ``--set``
            or a variable are read as the key's type wants.
    """
    reported = {problem.key for problem in document.problems}
    given: dict[str, Any] = {}
    for name in said:
        if name not in keys:
            document.report((*path, name), f"unknown key{nearest(str(name), list(keys))}")
    for name, key in keys.items():
        at = (*path, name)
        if name in said:
            value = None if path_text(at) in reported else _fit(key, said[name], document, at)
        else:
            value = _default(key)
            if key.required:
                document.report(at, f"`{name}` is missing: {key.description or _words(key)}")
        if value is not None:
            given[name] = value
    return given


def check_keys(keys: Mapping[str, ConfigKey], document: Document) -> None:
    """Report what is wrong with the table itself, to *document*, its manifest."""
    if len(keys) > MAX_KEYS:
        document.report(("config", "keys"), f"has {len(keys)} keys, limit {MAX_KEYS}; use tables")
    for name, key in list(keys.items())[:MAX_KEYS]:
        path = ("config", "keys", name)
        if not _NAME.fullmatch(name):
            document.report(path, "is not a key's name (letters, digits, `_` and `-`, at most 64)")
        if one_line(key.description) != key.description:
            document.report((*path, "description"), "holds control or invisible characters; write plain text")
        if len(key.description) > MAX_DESCRIPTION:
            document.report((*path, "description"), f"is longer than {MAX_DESCRIPTION} characters")
        if len(key.enum) > MAX_WORDS or any(len(word) > MAX_WORD for word in key.enum):
            document.report(
                (*path, "enum"), f"has more than {MAX_WORDS} words, or one of more than {MAX_WORD} characters"
            )
        _check_bounds(key, document, path)
        _check_default(key, document, path)


def _check_bounds(key: ConfigKey, document: Document, path: Path) -> None:
    for bound in ("min", "max"):
        said = getattr(key, bound)
        if said is None:
            continue
        if key.type not in _NUMBERS:
            document.report((*path, bound), f"is for {', '.join(_NUMBERS)}, and this is a {key.type}")
        else:
            read_value(document, _plain(key.type), said, (*path, bound))
    if key.enum and "string" not in (key.type, _items(key)):
        document.report((*path, "enum"), f"is for strings and lists of them, and this is a {key.type}")
    if key.items is not None and key.type != "list":
        document.report((*path, "items"), f"is for a list, and this is a {key.type}")


def _check_default(key: ConfigKey, document: Document, path: Path) -> None:
    if key.default is None:
        return
    if key.required:
        document.report((*path, "default"), "is never used: the key is required; leave one of the two out")
    elif key.secret and key.default not in ("", []):
        document.report((*path, "default"), "is in the manifest, which is no secret; leave it out")
    elif not document.problems:  # with bounds that cannot be read there is nothing to hold it against
        _fit(key, key.default, document, (*path, "default"))


def _fit(key: ConfigKey, value: Any, document: Document, path: Path) -> Any:
    """*value* as the key wants it; None after a report."""
    seen = Document(file=document.file)  # by itself: whether it fits is seen before anything is shown
    read = read_value(seen, _wanted(key), value, path)
    if not seen.problems and _is_float(read) and not math.isfinite(read):
        seen.report(path, f"expected a finite number, got {read}")
    if not seen.problems:
        # "5s" is 5 for the plugin, which may read whole numbers only.
        return int(read) if key.type == "duration" and read == int(read) else read
    if key.secret:
        document.report(path, f"expected {_words(key)}; what it is now is a secret, and not shown")
        return None
    for problem in seen.problems:
        file, line = document.where(path)
        problem.file, problem.line = file, line
    document.problems += seen.problems
    return None


def _is_float(value: Any) -> TypeGuard[float]:
    return isinstance(value, float)


def _default(key: ConfigKey) -> Any:
    """As ``_fit`` has read it before, when the manifest was checked."""
    return None if key.default is None else _fit(key, key.default, Document(), ())


def _items(key: ConfigKey) -> str:
    return (key.items or "string") if key.type == "list" else ""


def _wanted(key: ConfigKey) -> inspect.Type:
    """As ``check.py`` reads types."""
    if key.type == "list":
        return inspect.ListType(_plain(_items(key), enum=tuple(key.enum)))
    least, most = (_bound(key, bound) for bound in (key.min, key.max))
    return _plain(key.type, least, most, tuple(key.enum))


def _bound(key: ConfigKey, said: Any) -> Any:
    if said is None or key.type not in _UNITS:
        return said
    return parse_duration(said) if key.type == "duration" else parse_size(said)


def _plain(kind: str, least: Any = None, most: Any = None, enum: tuple[str, ...] = ()) -> inspect.Type:
    if kind == "string":
        return inspect.LiteralType(enum) if enum else inspect.StrType()
    if kind == "boolean":
        return inspect.BoolType()
    if kind == "table":
        return inspect.DictType(inspect.StrType(), inspect.AnyType())
    bare: inspect.Type = inspect.FloatType(ge=least, le=most)
    if kind in ("integer", "size"):
        bare = inspect.IntType(ge=least, le=most)
    return inspect.Metadata(bare, extra={"unit": kind}) if kind in _UNITS else bare


def _words(key: ConfigKey) -> str:
    if key.type == "list":
        return f"a list of {_items(key)}s"
    article = "an" if key.type == "integer" else "a"
    return "true or false" if key.type == "boolean" else f"{article} {key.type}"
