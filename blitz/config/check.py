"""Builtins -> model values, with every mistake of shape reported.

msgspec converts too, but stops at the first mistake. This walks the same type descriptions
(``msgspec.inspect``) to the end, reads units, and puts a harmless stand-in where a value is wrong, so
that the checks of meaning can still run over the rest.
"""

from __future__ import annotations

import datetime
import difflib
import math
import tomllib
from functools import cache
from typing import Any, TypeVar

import msgspec
from msgspec import inspect

from blitz.config.positions import Path
from blitz.config.source import Bad, Document, Expanded, Given
from blitz.config.units import format_duration, format_size, parse_duration, parse_size

__all__ = ["build", "nearest", "read_value"]

_M = TypeVar("_M", bound=msgspec.Struct)


class _Wrong(Exception):
    """The value is wrong; the argument is the sentence."""


def build(model: type[_M], document: Document) -> _M:
    """Return *document* as a *model*; mistakes are in ``document.problems`` and their values replaced."""
    built: _M = _Checker(document).struct(_struct_type(model), document.data, ())
    return built


def read_value(document: Document, wanted: inspect.Type, value: Any, path: Path) -> Any:
    """*value*, which stands at *path*, as *wanted*; None after a report."""
    try:
        return _Checker(document).value(wanted, value, path)
    except _Wrong as wrong:
        document.report(path, str(wrong))
        return None


def nearest(name: str, known: list[str]) -> str:
    """A hint such as ``; did you mean "auth"?``, or the names there are, or nothing."""
    close = closest(name, known)
    if close:
        return f"; did you mean `{close}`?"
    return f"; known here: {', '.join(known)}" if known else ""


def closest(name: str, known: list[str]) -> str:
    """The one of *known* that *name* may have meant, or ""."""
    spelled = {item.lower(): item for item in known}
    close = [item for item in spelled if item.startswith(name.lower()) and len(name) > 2]
    close += difflib.get_close_matches(name.lower(), list(spelled), n=1, cutoff=0.6)
    return spelled[close[0]] if close else ""


@cache
def _struct_type(model: type[msgspec.Struct]) -> inspect.StructType:
    described = inspect.type_info(model)
    assert isinstance(described, inspect.StructType)
    return described


class _Checker:
    def __init__(self, document: Document) -> None:
        self.document = document

    # ------------------------------------------------------------ containers

    def struct(self, wanted: inspect.StructType, value: Any, path: Path) -> Any:
        fields = {field.encode_name: field for field in wanted.fields}
        if not isinstance(value, dict):
            if not isinstance(value, Bad):
                self.document.report(path, f"expected a table, got {_seen(value)}")
            return wanted.cls(
                **{name: _stand_in(field) for name, field in fields.items() if _replaced(field)}
            )
        made: dict[str, Any] = {}
        for key in value:
            if key not in fields:
                self.document.report((*path, key), f"unknown key{nearest(str(key), list(fields))}")
                meant = fields.get(closest(str(key), list(fields)))
                if meant is not None and meant.encode_name not in value and _replaced(meant):
                    made[meant.name] = _stand_in(meant)  # it was misspelt, not left out
        for key, field in fields.items():
            if key in value:
                found = self.field(field, value[key], (*path, key))
                if found is not msgspec.NODEFAULT:
                    made[field.name] = found
            elif field.required and field.name not in made:
                self.document.report((*path, key), f"`{key}` is missing: {_about(field)}")
            if field.required and field.name not in made:
                made[field.name] = _stand_in(field)
        return wanted.cls(**made)

    def field(self, field: inspect.Field, value: Any, path: Path) -> Any:
        """The value as the model wants it; after a report a Bad where text was wanted, else NODEFAULT."""
        if not isinstance(value, Bad):
            try:
                return self.value(field.type, value, path)
            except _Wrong as wrong:
                self.document.report(path, str(wrong))
        return Bad() if isinstance(_plain(field.type), inspect.StrType) else msgspec.NODEFAULT

    def value(self, wanted: inspect.Type, value: Any, path: Path) -> Any:
        unit = ""
        if isinstance(wanted, inspect.Metadata):
            unit = (wanted.extra or {}).get("unit", "")
            wanted = wanted.type
        if isinstance(wanted, inspect.UnionType):
            return self.union(wanted, value, path)
        if isinstance(value, Given | Expanded) and not isinstance(
            wanted, inspect.StrType | inspect.LiteralType
        ):
            value = _literal(value, wanted, unit)
        if isinstance(wanted, inspect.StructType):
            return self.struct(wanted, value, path)
        if isinstance(wanted, inspect.ListType):
            return self.array(wanted, value, path)
        if isinstance(wanted, inspect.DictType):
            return self.mapping(wanted, value, path)
        if isinstance(wanted, inspect.AnyType):
            return self.anything(value, path)
        if unit in ("duration", "size"):
            return _quantity(wanted, value, unit)
        if unit == "path":
            return self.path(value, path)
        found = _scalar(wanted, value)
        if unit == "count" and found < 0:
            raise _Wrong(f"expected 0 or more, got {found}")
        return found

    def array(self, wanted: inspect.ListType, value: Any, path: Path) -> list[Any]:
        if isinstance(value, Given) and isinstance(_plain(wanted.item_type), inspect.LiteralType):
            value = [Given(name.strip()) for name in value.split(",")]  # grant=clock,random
        if not isinstance(value, list):
            raise _Wrong(f"expected a list, such as {_example(wanted, path)}, got {_seen(value)}")
        if wanted.min_length and len(value) < wanted.min_length:
            raise _Wrong("the list is empty; write at least one element")
        items = []
        for index, item in enumerate(value):
            try:
                items.append(
                    item if isinstance(item, Bad) else self.value(wanted.item_type, item, (*path, index))
                )
            except _Wrong as wrong:
                self.document.report((*path, index), str(wrong))
                items.append(Bad())
        return items

    def mapping(self, wanted: inspect.DictType, value: Any, path: Path) -> dict[str, Any]:
        if not isinstance(value, dict):
            each = f", such as [{path[0]}.NAME] for each" if _of_tables(wanted) and not path[1:] else ""
            raise _Wrong(f"expected a table{each}, got {_seen(value)}")
        made = {}
        for key, item in value.items():
            try:
                checked = self.value(wanted.value_type, item, (*path, key))
                made[str(key)] = item if isinstance(item, Bad) and isinstance(checked, str) else checked
            except _Wrong as wrong:
                if not isinstance(item, Bad):
                    self.document.report((*path, key), str(wrong))
        return made

    def union(self, wanted: inspect.UnionType, value: Any, path: Path) -> Any:
        """The first member that fits. Tables, lists and units go by the look of the value."""
        if value is None and any(isinstance(member, inspect.NoneType) for member in wanted.types):
            return None
        members = [member for member in wanted.types if not isinstance(member, inspect.NoneType)]
        shaped = _toml_value(value) if isinstance(value, Given | Expanded) else value
        if isinstance(shaped, dict):
            members = _of_kind(members, inspect.DictType, inspect.StructType)
        else:
            members = [m for m in members if not isinstance(_plain(m), inspect.StructType)] or members
        if isinstance(shaped, int | float) and not isinstance(shaped, bool):
            members = _of_kind(members, inspect.IntType, inspect.FloatType)
        wrongs = []
        for member in sorted(members, key=lambda m: isinstance(_plain(m), inspect.StrType)):
            try:
                return self.value(member, value, path)
            except _Wrong as wrong:
                wrongs.append(str(wrong))
        if len(wrongs) == 1:
            raise _Wrong(wrongs[0])
        raise _Wrong(f"expected {' or '.join(_name(m) for m in members)}, got {_seen(value)}")

    # ------------------------------------------------------------ leaves

    def path(self, value: Any, path: Path) -> str:
        """A file name; relative ones in a file count from that file, others from the working directory."""
        text: str = _scalar(inspect.StrType(), value)
        if "\0" in text:
            raise _Wrong("has a NUL in it, which no path has")
        if not text or isinstance(value, Given) or not self.document.file:
            return text
        return str(self.document.base_of(path) / text)

    def anything(self, value: Any, path: Path) -> Any:
        """The plugin's own configuration: whatever JSON can say."""
        if isinstance(value, dict):
            return {str(key): self.anything(item, (*path, key)) for key, item in value.items()}
        if isinstance(value, list):
            return [self.anything(item, (*path, index)) for index, item in enumerate(value)]
        if isinstance(value, datetime.date | datetime.time):
            self.document.report(path, "a date or time cannot be handed to a plugin; write it as a string")
        if isinstance(value, float) and not math.isfinite(value):
            self.document.report(path, "inf and nan cannot be handed to a plugin; write a finite number")
        return str(value) if isinstance(value, str) else value


def _scalar(wanted: inspect.Type, value: Any) -> Any:
    if isinstance(wanted, inspect.StrType):
        if isinstance(value, str):
            return _unquoted(value)
    elif isinstance(wanted, inspect.LiteralType):
        if isinstance(value, str) and _unquoted(value) in wanted.values:
            return _unquoted(value)
        raise _Wrong(f"expected {_name(wanted)}, got {_seen(value)}{_close(value, wanted)}")
    elif isinstance(wanted, inspect.BoolType):
        if isinstance(value, bool):
            return value
    elif isinstance(wanted, inspect.IntType | inspect.FloatType):
        whole = isinstance(wanted, inspect.IntType)
        if isinstance(value, int if whole else int | float) and not isinstance(value, bool):
            _bounds(wanted, value, str)
            return value if whole else float(value)
    else:  # pragma: no cover - the model has no other types; tests/config/test_model.py walks them
        raise AssertionError(wanted)
    raise _Wrong(f"expected {_name(wanted)}, got {_seen(value)}")


def _quantity(wanted: inspect.Type, value: Any, unit: str) -> float | int:
    assert isinstance(wanted, inspect.IntType | inspect.FloatType)
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        example = '"5s"' if unit == "duration" else '"64KiB"'
        raise _Wrong(f"expected a {unit} such as {example}, got {_seen(value)}")
    try:
        number = parse_duration(value) if unit == "duration" else parse_size(value)
    except ValueError as error:
        raise _Wrong(str(error)) from None
    _bounds(wanted, number, format_duration if unit == "duration" else format_size)
    return number


def _bounds(wanted: inspect.IntType | inspect.FloatType, value: float | int, show: Any) -> None:
    if wanted.ge is not None and value < wanted.ge:
        raise _Wrong(f"{show(value)} is too small; the least is {show(wanted.ge)}")
    if wanted.gt is not None and value <= wanted.gt:
        raise _Wrong(f"expected more than {show(wanted.gt)}, got {show(value)}")
    if wanted.le is not None and value > wanted.le:
        raise _Wrong(f"{show(value)} is too large; the most is {show(wanted.le)}")


# ---------------------------------------------------------------- texts from outside


def _literal(value: Given | Expanded, wanted: inspect.Type, unit: str) -> Any:
    """Read text as the TOML value that it spells; text that spells none stays text.

    In a plugin's own configuration ``${NAME}`` stays text even where it looks like a number: a key
    ``12345`` is not the number.
    """
    if unit in ("duration", "size", "path") or (
        isinstance(wanted, inspect.AnyType) and isinstance(value, Expanded)
    ):
        return value
    return _toml_value(value)


def _toml_value(text: str) -> Any:
    stripped = text.strip()
    if "\n" in stripped and not stripped.startswith(("[", "{", '"""', "'''")):
        return text
    try:
        read = tomllib.loads(f"value = {stripped}")
    except tomllib.TOMLDecodeError:
        return text
    return read["value"] if set(read) == {"value"} else text


def _unquoted(value: str) -> str:
    """``--set name='"x"'`` may quote its string as TOML does."""
    if isinstance(value, Given) and value[:1] in ("'", '"'):
        read = _toml_value(value)
        if isinstance(read, str):
            return str(read)
    return str(value)


# ---------------------------------------------------------------- words for messages


def _seen(value: Any) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, dict):
        return "a table"
    if isinstance(value, list):
        return "a list"
    if isinstance(value, str):
        text = value.source if isinstance(value, Expanded) else str(value)
        return '"' + (text if len(text) <= 60 else text[:57] + "...") + '"'
    return str(value)


def _name(wanted: inspect.Type) -> str:
    if isinstance(wanted, inspect.Metadata):
        unit = (wanted.extra or {}).get("unit", "")
        return f"a {unit}" if unit in ("duration", "size") else _name(wanted.type)
    if isinstance(wanted, inspect.LiteralType):
        words = [f'"{value}"' for value in wanted.values]
        return words[0] if len(words) == 1 else f"one of {', '.join(words)}"
    names: dict[type, str] = {
        inspect.StrType: "a string",
        inspect.IntType: "a whole number",
        inspect.FloatType: "a number",
        inspect.BoolType: "true or false",
        inspect.ListType: "a list",
        inspect.DictType: "a table",
        inspect.StructType: "a table",
    }
    return names[type(wanted)]


def _close(value: Any, wanted: inspect.LiteralType) -> str:
    if not isinstance(value, str) or isinstance(value, Expanded):
        return ""
    close = difflib.get_close_matches(value.lower(), [str(item) for item in wanted.values], n=1)
    return f'; did you mean "{close[0]}"?' if close else ""


def _example(wanted: inspect.ListType, path: Path) -> str:
    item = _plain(wanted.item_type)
    if not isinstance(item, inspect.StructType):
        return '["a", "b"]'
    return "[{ ... }]" if path[1:] else f"one [[{path[0]}]] for each"


def _of_tables(wanted: inspect.DictType) -> bool:
    return isinstance(_plain(wanted.value_type), inspect.StructType)


def _about(field: inspect.Field) -> str:
    described = field.type
    text = ""
    if isinstance(described, inspect.Metadata):
        text = (described.extra_json_schema or {}).get("description", "")
    return text or _name(field.type)


def _plain(wanted: inspect.Type) -> inspect.Type:
    return _plain(wanted.type) if isinstance(wanted, inspect.Metadata) else wanted


def _of_kind(members: list[inspect.Type], *kinds: type) -> list[inspect.Type]:
    """Those of *members* that are of one of *kinds*, or all when none is."""
    return [member for member in members if isinstance(_plain(member), kinds)] or members


def _replaced(field: inspect.Field) -> bool:
    """In a table that is not there, this field must not pass for its default."""
    return field.required or isinstance(_plain(field.type), inspect.StrType)


def _stand_in(field: inspect.Field) -> Any:
    wanted = _plain(field.type)
    return Bad() if isinstance(wanted, inspect.StrType) else []
