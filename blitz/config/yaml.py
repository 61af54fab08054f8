"""A configuration in YAML: the same keys and values as in TOML, and nothing that TOML cannot say.

PyYAML reads it; what its text means is decided here, because YAML 1.1 takes ``no`` for false and ``12:30``
for 750: only ``true``, ``false``, ``null`` and decimal numbers are more than text (YAML 1.2, section 10.2).
Anchors, tags and merge keys are refused: with them a few lines are a gigabyte.
"""

from __future__ import annotations

import re
from typing import Any

from blitz.config.positions import Path
from blitz.extras import how_to_install

__all__ = ["YamlRefused", "parse_yaml"]

_INT = re.compile(r"[-+]?(?:0|[1-9][0-9]*)")
_FLOAT = re.compile(r"[-+]?(?:0|[1-9][0-9]*)(?:\.[0-9]+)?(?:[eE][-+]?[0-9]+)?")
_WORDS = {"true": True, "false": False}
_MAX_DIGITS = 20  # of a number


class YamlRefused(Exception):
    """The text is not what it should be, in one sentence without its file. line: from 1; 0: none is known."""

    def __init__(self, message: str, line: int = 0) -> None:
        super().__init__(message)
        self.line = line


def parse_yaml(text: str, levels: int) -> tuple[dict[str, Any], dict[Path, int]]:
    """-> values as ``tomllib`` has them, and the line of every key and element.

    Args:
        levels: how deep values may be nested.
    Raises:
        YamlRefused.
    """
    try:
        import yaml  # type: ignore[import-untyped]
    except ModuleNotFoundError:
        raise YamlRefused(
            f"YAML needs the package PyYAML: {how_to_install('pyyaml')}, or write the configuration as TOML"
        ) from None
    reader = _Reader(yaml, levels)
    try:
        node = reader.node(text)
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        what = str(getattr(error, "problem", None) or getattr(error, "reason", None) or "cannot be read")
        raise YamlRefused(f"not YAML: {what}", mark.line + 1 if mark is not None else 0) from None
    except RecursionError:
        raise YamlRefused(f"nests its values too deeply; {levels} levels are allowed") from None
    if node is None:
        return {}, {}
    data = reader.value(node, (), 0)
    if not isinstance(data, dict):
        raise YamlRefused('is no table at the top; write keys, such as `listen: ["127.0.0.1:8080"]`', 1)
    return data, reader.lines


class _Reader:
    def __init__(self, yaml: Any, levels: int) -> None:
        self._yaml = yaml
        self._levels = levels
        self.lines: dict[Path, int] = {}

    def node(self, text: str) -> Any:
        """The tree of the one document in *text*; None: it is empty."""
        for event in self._yaml.parse(text, Loader=self._yaml.SafeLoader):  # before anything is built of it
            if isinstance(event, self._yaml.AliasEvent) or getattr(event, "anchor", None):
                raise _at(event, "has an anchor or an alias; write the value where it is wanted")
            if getattr(event, "tag", None):
                raise _at(event, f"has the tag {event.tag}; write the value without it")
        return self._yaml.compose(text, Loader=self._yaml.SafeLoader)

    def value(self, node: Any, path: Path, depth: int) -> Any:
        if depth > self._levels:
            raise _at(node, f"nests its values too deeply; {self._levels} levels are allowed")
        if isinstance(node, self._yaml.MappingNode):
            return self._table(node, path, depth)
        if isinstance(node, self._yaml.SequenceNode):
            items = []
            for index, item in enumerate(node.value):
                self.lines[*path, index] = item.start_mark.line + 1
                items.append(self.value(item, (*path, index), depth + 1))
            return items
        return self._scalar(node)

    def _table(self, node: Any, path: Path, depth: int) -> dict[str, Any]:
        made: dict[str, Any] = {}
        for key_node, value_node in node.value:
            if not isinstance(key_node, self._yaml.ScalarNode):
                raise _at(key_node, "has a key that is no text")
            key = _text(key_node)
            if key == "<<":
                raise _at(key_node, "has a merge key (`<<`); write the keys where they are wanted")
            if key in made:
                raise _at(key_node, f"has the key `{key}` twice; keep one")
            self.lines[*path, key] = key_node.start_mark.line + 1
            value = self.value(value_node, (*path, key), depth + 1)
            if value is not None:  # `key:` with nothing behind it says nothing, as a key that is not there
                made[key] = value
        return made

    def _scalar(self, node: Any) -> Any:
        text = _text(node)
        if node.style is not None:  # between quotes, or a block
            return text
        if text in ("", "~", "null"):
            return None
        if text in _WORDS:
            return _WORDS[text]
        if len(text) <= _MAX_DIGITS and _INT.fullmatch(text):
            return int(text)
        if len(text) <= _MAX_DIGITS and _FLOAT.fullmatch(text):
            return float(text)
        return text


def _text(node: Any) -> str:
    """PyYAML leaves the halves of a surrogate pair, as JSON writes letters beyond the first 65536, apart."""
    try:
        return str(node.value).encode("utf-16", "surrogatepass").decode("utf-16")
    except UnicodeDecodeError:
        raise _at(node, "has an escape that is half of a letter; write the letter") from None


def _at(place: Any, message: str) -> YamlRefused:
    return YamlRefused(message, place.start_mark.line + 1)
