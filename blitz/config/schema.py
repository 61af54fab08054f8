"""The JSON schema of ``blitz.toml``, for completion and checks in editors.

Made from the model by msgspec. It says less than ``load.py`` checks (names that exist, plugins that
load), and never refuses what Blitz accepts: units, and ``${NAME}`` in place of any value.
"""

from __future__ import annotations

from typing import Any

import msgspec

from blitz.config.model import Config

__all__ = ["json_schema"]

_REFERENCE = r"\$\{"  # a string with this in it becomes what the environment says
_UNITS = {
    "duration": r"^\s*[0-9]+(\.[0-9]+)?\s*(us|ms|s|m|h)?\s*$",
    "size": r"^\s*[0-9]+(\.[0-9]+)?\s*([kKmMgG]?[iI]?[bB])?\s*$",
}


def json_schema() -> dict[str, Any]:
    """Return the schema (draft 2020-12) as builtins."""
    schema = _loosened(msgspec.json.schema(Config))
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", "title": "blitz.toml", **schema}


def _loosened(schema: Any) -> Any:
    """*schema* with strings allowed where Blitz reads them."""
    if isinstance(schema, list):
        return [_loosened(item) for item in schema]
    if not isinstance(schema, dict):
        return schema
    made = {key: value if key == "default" else _loosened(value) for key, value in schema.items()}
    pattern = "|".join(filter(None, [_UNITS.get(str(made.pop("unit", ""))), _REFERENCE]))
    if made.get("type") in ("integer", "number", "boolean"):
        made |= {"type": [made["type"], "string"], "pattern": pattern}
    elif isinstance(made.get("enum"), list):
        made["anyOf"] = [{"enum": made.pop("enum")}, {"type": "string", "pattern": pattern}]
    elif "pattern" in made:
        made["pattern"] = f"{made['pattern']}|{pattern}"
    return made
