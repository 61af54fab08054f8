"""``docs/config.md``, made from the model: ``python -m blitz.config.reference > docs/config.md``.

A test holds the file to what this prints.
"""

from __future__ import annotations

import inspect as python_inspect
from collections.abc import Iterator
from typing import Any, Literal, get_args, get_origin, get_type_hints

import msgspec
from msgspec import inspect

from blitz.config.environment import VARIABLES
from blitz.config.manifest import Manifest
from blitz.config.model import Config
from blitz.config.positions import path_text
from blitz.config.units import format_duration, format_size
from blitz.config.value_text import FACTS
from blitz.config.values import unit_of

__all__ = ["render"]

HEAD = """\
# Configuration

Made from `blitz/config/model.py` by `python -m blitz.config.reference`; do not edit.

Blitz reads one TOML file (`blitz run -c blitz.toml`), and those that it includes. `blitz validate` lists
every mistake in it with its line, and loads the plugins too; `blitz config show` prints what it comes to, and
which line, variable or flag each value is from; `blitz fmt` lays it out in one way (needs the package
tomlkit); `blitz schema` prints a JSON schema for your editor.

A file whose name ends in `.yaml` or `.yml` is YAML with the same keys (needs the package PyYAML). `-c -`
reads TOML from standard input, once.

## An example

```toml
listen = ["127.0.0.1:8080", { address = ":8443", tls = true }]
workers = "auto"
plugin_dir = "plugins"            # every *.wasm in it is a plugin

[[tls.certs]]                     # chosen by the names in it; changed files are taken up by themselves
cert = "certs/example.org.pem"
key = "certs/example.org.key"

[timeouts]
head = "10s"
connect = "2s"

[plugin_defaults]
memory = "2MiB"
timeout = "50ms"

[upstreams.api]
endpoints = ["http://127.0.0.1:9000", "http://127.0.0.1:9001"]

[[plugins]]                       # more about one of those in plugin_dir
name = "auth_custom"
deny = ["random"]                 # every plugin has a clock and random bytes, unless it is said
failure = "closed"
env = ["API_KEYS"]                # it may read this variable, and no other
config = { header = "x-api-key" }

[[routes]]
name = "api"
path_prefix = "/api"
upstream = "api"

[[routes]]
name = "health"
path_prefix = "/healthz"
plugins = []
answer = { status = 200, body = "ok" }
```

## Where a value comes from

`--set KEY=VALUE` wins over the environment, the environment over the file, the file over the defaults below.

* **Units.** A duration is `"250ms"`, `"5s"`, `"1m"`, `"1h"` (us, ms, s, m, h); a bare number is seconds. A
  size is `"64KiB"`, `"16MiB"`, `"2MB"` (B, KB, MB, GB, KiB, MiB, GiB); a bare number is bytes.
* **`${NAME}`** in a string of the file is replaced by that environment variable; it must be set.
  `${NAME:-default}` is the default where it is not set or empty. `$${` is the two characters `${`.
* **Secrets in files.** `${file:/run/secrets/token}` is what stands in that file, without the line break at
  its end. `${credential:token}` is what systemd hands over (`LoadCredential=token:...`). Where `NAME` is not
  set and `NAME_FILE` is, `${NAME}` is what stands in the file of that name. No message shows what `${...}`
  became.
* **`--set`** takes a dotted key: `timeouts.head=5s`, `listen='[":8080"]'`, `routes.0.host=example.org`,
  `plugins.auth_custom.timeout=20ms`. An element of a list is named by its position, a plugin or a route also
  by its name. `plugins.auth_custom.deny=clock,random`: names out of a fixed set need no brackets.
* **Paths** in a file count from that file's directory; in the environment and in `--set`, from the
  working directory.

| variable | overrides | a bare number is |
|---|---|---|
"""

PLUGINS_NOTE = """
A setting of a plugin comes from its `[[plugins]]` entry, else from the manifest beside its file, else from
`[plugin_defaults]`. `PLUGIN_MEMORY_LIMIT` and `PLUGIN_TIMEOUT` also replace what the entries say;
`PLUGIN_GRANT` (such as `gc`) and `PLUGIN_DENY` (such as `clock,random`) leave an entry's own `grant` and
`deny` as they are. A manifest may ask for less
memory, time or body than the defaults; for more, the operator writes it in the entry.
"""

FACTS_NOTE = """
Texts of `redirect`, `rewrite`, `request_headers` and `response_headers` may name facts of the request. One
that is not known is an empty text. `$${` is the two characters `${`, and `${NAME}` with any other name is a
variable of the environment. What a client chose is checked: a value that is no field content is as one that
is not known.

| fact | |
|---|---|
"""

MANIFEST_HEAD = """
# Plugin manifest

`<stem>.toml` beside `<stem>.wasm`, or `blitz-plugin.toml` in a directory that holds one `.wasm`. It is
written by the plugin's author and only asks. `${NAME}` is not expanded in it. A plugin in `plugin_dir`
without a manifest runs with the defaults, and a warning says so.

```toml
schema = 1

[plugin]
name = "auth_custom"
version = "1.0.0"
type = "authentication"

[hooks]
response_body = "none"

[limits]
memory = "1MiB"
timeout = "20ms"

[capabilities]
env_optional = ["API_KEYS"]

[config.keys.header]
type = "string"
default = "x-api-key"
description = "the field that holds the key"

[config.keys.window]
type = "duration"          # the operator writes "5m", the plugin reads 300
default = "5m"
max = "1h"

[config.keys.keys]
type = "list"              # of strings, unless `items` says otherwise
secret = true              # no message shows it
```
"""


def render() -> str:
    """The whole page."""
    out = [HEAD]
    for name, (path, _) in VARIABLES.items():
        bare = {"PLUGIN_MEMORY_LIMIT": "bytes", "PLUGIN_TIMEOUT": "milliseconds"}.get(name, "")
        out.append(f"| `{name}` | `{path_text(path)}` | {bare} |\n")
    out.append("\n## Keys\n")
    out.extend(_table(Config, "", "the top of the file"))
    for prefix, heading, model in _tables(Config, ""):
        out.extend(_table(model, prefix, heading))
        if heading == "`[[plugins]]`":
            out.append(PLUGINS_NOTE)
        if heading == "`[[routes]]`":
            out.append(FACTS_NOTE)
            out.extend(f"| `${{{name}}}` | {about} |\n" for name, about in FACTS.items())
            out.append("| `${jwt.CLAIM}` | a claim of the token that `auth` has checked |\n")
    out.append(MANIFEST_HEAD)
    out.extend(_table(Manifest, "", "the top of the manifest"))
    for prefix, heading, model in _tables(Manifest, ""):
        out.extend(_table(model, prefix, heading))
    return "".join(out)


def _tables(model: type[msgspec.Struct], prefix: str) -> Iterator[tuple[str, str, type[msgspec.Struct]]]:
    """(prefix of its keys, heading, model) of every table below *model*."""
    for field in _fields(model):
        wanted = _plain(field.type)
        path = f"{prefix}{field.encode_name}"
        if isinstance(wanted, inspect.StructType):
            heading, inner = f"`[{path}]`", wanted.cls
        elif isinstance(wanted, inspect.ListType) and (item := _struct_among(wanted.item_type)):
            heading, inner = f"`[[{path}]]`", item.cls
        elif isinstance(wanted, inspect.DictType) and (item := _struct_among(wanted.value_type)):
            path += ".NAME"
            heading, inner = f"`[{path}]`", item.cls
        elif isinstance(wanted, inspect.UnionType) and (item := _struct_among(wanted)):
            heading, inner = f"`[{path}]`", item.cls
        else:
            continue
        yield f"{path}.", heading, inner
        yield from _tables(inner, f"{path}.")


def _table(model: type[msgspec.Struct], prefix: str, heading: str) -> Iterator[str]:
    yield f"\n### {heading}\n\n{python_inspect.cleandoc(model.__doc__ or '')}\n\n"
    yield "| key | value | default | |\n|---|---|---|---|\n"
    hints = get_type_hints(model)
    for field in _fields(model):
        if not _is_table(field.type):
            about = _described(field.type)
            cells = (f"`{field.encode_name}`", _kind(field.type, hints[field.name]), _default(field), about)
            yield "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |\n"


def _fields(model: type[msgspec.Struct]) -> tuple[inspect.Field, ...]:
    described = inspect.type_info(model)
    assert isinstance(described, inspect.StructType)
    return described.fields


def _plain(wanted: inspect.Type) -> inspect.Type:
    """Without annotations, and without None."""
    if isinstance(wanted, inspect.Metadata):
        return _plain(wanted.type)
    if isinstance(wanted, inspect.UnionType):
        rest = [member for member in wanted.types if not isinstance(member, inspect.NoneType)]
        if len(rest) == 1:
            return _plain(rest[0])
    return wanted


def _struct_among(item: inspect.Type) -> inspect.StructType | None:
    """The table that an element of a list may be."""
    members = item.types if isinstance(item, inspect.UnionType) else (item,)
    return next((member for member in members if isinstance(member, inspect.StructType)), None)


def _is_table(wanted: inspect.Type) -> bool:
    """It has a section of its own. A table that may be absent is listed, too."""
    if isinstance(wanted, inspect.ListType):
        return isinstance(wanted.item_type, inspect.StructType)
    if isinstance(wanted, inspect.DictType):
        return isinstance(wanted.value_type, inspect.StructType)
    return isinstance(wanted, inspect.StructType)


def _described(wanted: inspect.Type) -> str:
    return (
        str((wanted.extra_json_schema or {}).get("description", ""))
        if isinstance(wanted, inspect.Metadata)
        else ""
    )


def _kind(wanted: inspect.Type, hint: Any) -> str:
    unit = unit_of(wanted)
    if unit:
        return {"path": "path", "count": "number"}.get(unit, unit)
    plain = _plain(wanted)
    if isinstance(plain, inspect.UnionType):
        return " or ".join(
            dict.fromkeys(_kind(m, hint) for m in plain.types if not isinstance(m, inspect.NoneType))
        )
    if isinstance(plain, inspect.LiteralType):
        return ", ".join(f'`"{value}"`' for value in _literals(hint) if value)
    if isinstance(plain, inspect.ListType) and _struct_among(plain.item_type):
        return "list of strings and tables"
    names: dict[type, str] = {
        inspect.AnyType: "value",
        inspect.StrType: "string",
        inspect.IntType: "number",
        inspect.FloatType: "number",
        inspect.BoolType: "boolean",
        inspect.ListType: "list of strings",
        inspect.DictType: "table",
        inspect.StructType: "table",
    }
    return names[type(plain)]


def _literals(hint: Any) -> list[str]:
    """The words of the Literal inside *hint*, in the order of the model (msgspec sorts them)."""
    if get_origin(hint) is Literal:
        return list(get_args(hint))
    return [word for inner in get_args(hint) for word in _literals(inner)]


def _default(field: inspect.Field) -> str:
    if field.required:
        return "required"
    value = field.default_factory() if field.default is msgspec.NODEFAULT else field.default
    unit = unit_of(field.type)
    if value is None:
        return ""
    if unit == "duration":
        return "0" if value == 0 else f"`{format_duration(value)}`"
    if unit == "size":
        return "0" if value == 0 else f"`{format_size(value)}`"
    return f"`{msgspec.json.encode(value).decode()}`"


if __name__ == "__main__":
    print(render(), end="")
