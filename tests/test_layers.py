"""Who may import whom. This file holds the table; the code has to fit it.

Every import counts, wherever it stands: at the top, in a function, under ``TYPE_CHECKING``.
``importlib.import_module("literal")`` and ``__import__("literal")`` count too.
"""

from __future__ import annotations

import ast
import sys
from dataclasses import dataclass, field
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
PACKAGE = ROOT / "blitz"


@dataclass(frozen=True)
class Layer:
    """What the files of one layer are, and what they may import.

    Attributes:
        files: module prefixes, such as ``blitz.http``; the longest prefix of all layers wins.
        layers: layers it may import besides itself.
        third_party: top-level packages from outside the standard library.
        native: it may import the C extension.
        forbidden: modules of the standard library it must not import.
    """

    files: tuple[str, ...]
    layers: tuple[str, ...] = ()
    third_party: frozenset[str] = frozenset()
    native: bool = False
    forbidden: frozenset[str] = field(default=frozenset())


SANS_IO = frozenset({"socket", "ssl", "select", "selectors", "asyncio", "time", "threading"})
TRIO = frozenset({"trio"})
CORES = ("foundation", "measures", "http", "wasm", "routing", "config")

LAYERS = {
    "foundation": Layer(
        (
            "blitz.cpus",
            "blitz.errors",
            "blitz.extras",
            "blitz.files",
            "blitz.filters",
            "blitz.flood",
            "blitz.grants",
            "blitz.log_level",
            "blitz.log_tap",
            "blitz.state",
            "blitz.text",
            "blitz.trouble",
        ),
        native=True,
        forbidden=SANS_IO,
    ),
    # The scanner and the writer are C: http drives them.
    "http": Layer(("blitz.http",), ("foundation",), frozenset({"h11"}), native=True, forbidden=SANS_IO),
    # Compiling is a process with two streams and a deadline.
    "wasm": Layer(
        ("blitz.wasm",),
        ("foundation",),
        frozenset({"elftools"}),
        native=True,
        forbidden=SANS_IO - {"time", "threading", "selectors"},
    ),
    # Figures are counted in C too, in the same memory.
    "measures": Layer(
        ("blitz.measures",), ("foundation",), frozenset({"msgspec"}), native=True, forbidden=SANS_IO
    ),
    # What a path means is C: plugins ask for it too.
    "routing": Layer(("blitz.routing",), ("foundation",), native=True, forbidden=SANS_IO),
    "config": Layer(
        ("blitz.config",),
        ("foundation",),
        frozenset({"backports", "brotli", "compression", "msgspec", "re2", "tomlkit", "yaml"}),
        forbidden=SANS_IO,
    ),
    # Filters of the gateway's own: what they wait for, a Services gives them.
    "builtin": Layer(
        ("blitz.builtin",),
        ("foundation", "http", "config"),
        frozenset({"joserfc", "bcrypt", "argon2", "msgspec"}),
        native=True,
        forbidden=SANS_IO,
    ),
    # Opening files is its business; whoever calls it has a thread for that.
    "static": Layer(
        ("blitz.static",), ("foundation", "http", "routing"), native=True, forbidden=SANS_IO | {"trio"}
    ),
    "server": Layer(
        ("blitz.server",),
        (*CORES, "builtin", "static"),
        TRIO | {"cryptography", "msgspec", "watchfiles"},
        native=True,
    ),
    "acme": Layer(
        ("blitz.acme",), ("foundation", "config", "server"), TRIO | {"acme", "cryptography", "josepy"}
    ),
    "admin": Layer(("blitz.admin",), (*CORES, "server"), TRIO | {"msgspec"}),
    "gateway": Layer(
        (
            "blitz.beside",
            "blitz.gateway",
            "blitz.embed",
            "blitz.examine",
            "blitz.explain",
            "blitz.housekeeping",
            "blitz.gateway_context",
            "blitz.under_trio",
            "blitz.versions",
        ),
        (*CORES, "server", "acme", "admin"),
        TRIO,
        native=True,
    ),
    "process": Layer(
        ("blitz.process",), ("foundation", "config", "gateway"), TRIO | {"msgspec"}, native=True
    ),
    "public": Layer(("blitz",), (*CORES, "gateway", "process")),
    "testing": Layer(("blitz.testing",), ("public", *CORES, "gateway"), TRIO),
    "demo": Layer(("blitz.demo", "blitz.sdk"), ("public", "foundation", "config", "gateway"), TRIO | {"h11"}),
    "cli": Layer(
        ("blitz.cli", "blitz.__main__"), ("public", "process", "testing", "demo"), TRIO | {"click", "rich"}
    ),
}
# The command line may use what these export, not what they are made of.
CLI_MAY_IMPORT = {
    "blitz",
    "blitz.embed",
    "blitz.config",
    "blitz.demo",
    "blitz.errors",
    "blitz.examine",
    "blitz.explain",
    "blitz.extras",
    "blitz.files",
    "blitz.flood",
    "blitz.gateway",
    "blitz.log_level",
    "blitz.process.signals",
    "blitz.process.workers",
    "blitz.sdk",
    "blitz.testing",
    "blitz.text",
}
OFF_THE_SERVING_PATH = {"testing", "cli", "demo"}
FILES = sorted(PACKAGE.rglob("*.py"))


def module_name(path: Path) -> str:
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def layer_of(module: str) -> str | None:
    """Name of the layer with the longest prefix of *module*; ``blitz`` alone stands for itself only."""
    best = ""
    found = None
    for name, layer in LAYERS.items():
        for prefix in layer.files:
            fits = module == prefix or (prefix != "blitz" and module.startswith(prefix + "."))
            if fits and len(prefix) > len(best):
                best, found = prefix, name
    return found


def imports(source: str, module: str, *, is_package: bool) -> set[tuple[int, str]]:
    """(line, absolute module) per import; ``from blitz import x`` gives ``blitz.x`` if that is a file."""
    found: set[tuple[int, str]] = set()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            found |= {(node.lineno, alias.name) for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            base = absolute(node, module, is_package)
            found |= {(node.lineno, submodule_or(base, alias.name)) for alias in node.names}
        elif isinstance(node, ast.Call) and node.args:
            called = ast.unparse(node.func)
            first = node.args[0]
            if called.split(".")[-1] in {"import_module", "__import__"} and isinstance(first, ast.Constant):
                found.add((node.lineno, str(first.value)))
    return found


def absolute(node: ast.ImportFrom, module: str, is_package: bool) -> str:
    if not node.level:
        return node.module or ""
    package = module.split(".") if is_package else module.split(".")[:-1]
    base = package[: len(package) - (node.level - 1)]
    return ".".join([*base, node.module] if node.module else base)


def submodule_or(base: str, name: str) -> str:
    where = ROOT.joinpath(*base.split("."))
    if base == "blitz" and name == "_native":
        return "blitz._native"
    is_module = (where / f"{name}.py").exists() or (where / name).is_dir()
    return f"{base}.{name}" if base.split(".")[0] == "blitz" and is_module else base


def complaint(module: str, target: str) -> str | None:
    """Why *module* may not import *target*, or None."""
    own = layer_of(module)
    if own is None:
        return f"{module} is in no layer: add it to the table of tests/test_layers.py"
    layer = LAYERS[own]
    top = target.split(".")[0]
    if target == "blitz._native":
        return None if layer.native else f"{own} may not import the C extension"
    if top == "blitz":
        other = layer_of(target)
        if own == "cli" and other != "cli" and target not in CLI_MAY_IMPORT:
            return f"cli may import public names only, not {target}"
        reachable = other == own or other in layer.layers or own == "cli"
        return None if reachable else f"{own} may not import {target} ({other or 'no layer'})"
    if top in sys.stdlib_module_names:
        return f"{own} may not import {top}" if top in layer.forbidden else None
    return None if top in layer.third_party else f"{own} may not import {top}"


@pytest.mark.parametrize("path", [pytest.param(path, id=module_name(path)) for path in FILES])
def test_imports_fit_the_table(path: Path) -> None:
    module = module_name(path)
    source = path.read_text(encoding="utf-8")
    problems = [
        f"{path.relative_to(ROOT)}:{line}: {why}"
        for line, target in sorted(imports(source, module, is_package=path.name == "__init__.py"))
        if (why := complaint(module, target))
    ]
    assert not problems, "\n".join(problems)


def circles(imported: dict[str, set[str]]) -> list[list[str]]:
    """The groups of modules that import each other, however many steps it takes; each sorted.

    Args:
        imported: of each module, what it imports.
    """
    reached = {module: reachable(module, imported) for module in imported}
    groups = {
        tuple(sorted({module} | {other for other in reached[module] if module in reached.get(other, set())}))
        for module in imported
        if module in reached[module]
    }
    return sorted(map(list, groups))


def reachable(module: str, imported: dict[str, set[str]]) -> set[str]:
    found: set[str] = set()
    left = [module]
    while left:
        new = imported.get(left.pop(), set()) - found
        found |= new
        left += new
    return found


def test_no_circle_of_imports_in_the_server() -> None:
    """Also not for types only: a file is understood with those below it, and no others."""
    imported = {
        module_name(path): {
            target
            for _, target in imports(
                path.read_text(encoding="utf-8"), module_name(path), is_package=path.name == "__init__.py"
            )
        }
        for path in FILES
        if layer_of(module_name(path)) == "server"
    }
    found = circles(imported)
    assert not found, "\n".join(f"these import each other: {', '.join(group)}" for group in found)


# (id, what each module imports, the circles in it)
CIRCLES = [
    ("none", {"a": {"b", "c"}, "b": {"c", "trio"}, "c": set()}, []),
    ("itself", {"a": {"a"}}, [["a"]]),
    ("two", {"a": {"b"}, "b": {"a", "c"}, "c": set()}, [["a", "b"]]),
    ("three_and_who_uses_them", {"x": {"a"}, "a": {"b"}, "b": {"c"}, "c": {"a", "y"}}, [["a", "b", "c"]]),
    ("two_of_them", {"a": {"b"}, "b": {"a", "c"}, "c": {"d"}, "d": {"c"}}, [["a", "b"], ["c", "d"]]),
]


@pytest.mark.parametrize(("imported", "expected"), [pytest.param(*row[1:], id=row[0]) for row in CIRCLES])
def test_circles_are_found(imported: dict[str, set[str]], expected: list[list[str]]) -> None:
    assert circles(imported) == expected


def test_imports_for_types_and_in_functions_count() -> None:
    source = "if TYPE_CHECKING:\n    from .exchange import Exchange\ndef f():\n    from . import tunnel"
    found = imports(source, "blitz.server.upload", is_package=False)
    assert {target for _, target in found} == {"blitz.server.exchange", "blitz.server.tunnel"}


SERVING = [path for path in FILES if layer_of(module_name(path)) not in OFF_THE_SERVING_PATH]


@pytest.mark.parametrize("path", [pytest.param(path, id=module_name(path)) for path in SERVING])
def test_serving_path_does_not_import_wasmtime(path: Path) -> None:
    """Its import takes 52 ms; the shim opens the library itself and asks ``find_spec`` where it is."""
    source = path.read_text(encoding="utf-8")
    found = imports(source, module_name(path), is_package=path.name == "__init__.py")
    assert not [line for line, target in found if target.split(".")[0] == "wasmtime"]


def test_package_root_holds_public_names_and_nothing_else() -> None:
    """Imports for type checkers, the same names for __getattr__ and in __all__; nothing else is defined."""
    tree = ast.parse((PACKAGE / "__init__.py").read_text(encoding="utf-8"))
    odd = [
        f"line {node.lineno}: {ast.unparse(node).splitlines()[0]}" for node in tree.body if not is_plain(node)
    ]
    assert not odd, odd
    values = {
        ast.unparse(node.targets[0]): ast.literal_eval(node.value)
        for node in tree.body
        if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) in {"__all__", "_HOMES"}
    }
    checked = next(node for node in tree.body if isinstance(node, ast.If))
    assert ast.unparse(checked.test) == "TYPE_CHECKING"
    imported = {
        alias.name: node.module
        for node in checked.body
        if isinstance(node, ast.ImportFrom)
        for alias in node.names
    }
    assert values["_HOMES"] == imported
    assert set(values["__all__"]) - {"__version__"} == set(imported)


def is_plain(node: ast.stmt) -> bool:
    if isinstance(node, ast.Expr):
        return isinstance(node.value, ast.Constant)
    if isinstance(node, ast.If):
        return all(isinstance(inner, ast.ImportFrom) for inner in node.body) and not node.orelse
    if isinstance(node, ast.FunctionDef):
        return node.name in {"__getattr__", "__dir__"}
    if isinstance(node, ast.Assign):
        return ast.unparse(node.targets[0]) in {"__all__", "__version__", "_HOMES"}
    return isinstance(node, ast.Import | ast.ImportFrom)


# The referee is tested too: (id, module, source, what the complaint says or None)
REFEREE = [
    ("stdlib_is_free", "blitz.http.h1", "import re", None),
    ("own_layer", "blitz.http.h1", "from . import rules", None),
    ("foundation", "blitz.http.h1", "from ..errors import ClientError", None),
    ("h11_in_http", "blitz.http.h1", "import h11", None),
    ("trio_in_http", "blitz.http.h1", "import trio", "http may not import trio"),
    ("socket_in_function", "blitz.http.h1", "def f():\n    import socket", "http may not import socket"),
    ("upward", "blitz.http.h1", "from blitz.server import exchange", "http may not import blitz.server"),
    ("sideways", "blitz.routing.match", "from ..wasm import chain", "routing may not import blitz.wasm"),
    ("time_in_routing", "blitz.routing.limit", "from time import monotonic", "routing may not import time"),
    ("native_in_config", "blitz.config.load", "from blitz import _native", "the C extension"),
    ("type_checking", "blitz.wasm.pool", "if TYPE_CHECKING:\n    import trio", "wasm may not import trio"),
    ("dynamic", "blitz.wasm.pool", 'importlib.import_module("h11")', "wasm may not import h11"),
    ("click_in_server", "blitz.server.listen", "import click", "server may not import click"),
    ("internals_in_cli", "blitz.cli.run", "from blitz.wasm.engine import Engine", "public names only"),
    ("public_in_cli", "blitz.cli.run", "from blitz import serve", None),
    ("unknown_file", "blitz.helpers", "import re", "in no layer"),
]


@pytest.mark.parametrize(
    ("module", "source", "expected"), [pytest.param(*row[1:], id=row[0]) for row in REFEREE]
)
def test_referee(module: str, source: str, expected: str | None) -> None:
    found = [
        why for _, target in imports(source, module, is_package=False) if (why := complaint(module, target))
    ]
    if expected is None:
        assert found == []
    else:
        assert len(found) == 1
        assert expected in found[0]
