"""The Blitz ABI as wasm-bindgen spells it.

User functions are imported as ``__wbg_<name>_<16 hex digits>``. The digits depend on the build and
are never looked at; up to version 0.2.100 the name lost everything that is not alphanumeric, later it
keeps underscores: so names are compared without them, and then the type decides (``console.log`` is
``__wbg_log_...`` too). What wasm-bindgen's glue may import besides is linked as a trap that names it.

Strings given to an export are freed by the guest itself. The allocator is ``__wbindgen_malloc``, of
one argument up to 0.2.86 and two (with the alignment) after; a build whose names were stripped calls
it ``__wbindgen_export_N``, and it is found by its type.
"""

from __future__ import annotations

import re
from functools import cache

from blitz.errors import PluginLoadError
from blitz.wasm.abi.linkage import Binding, HostFunction, How, Part, host_functions
from blitz.wasm.module import Export, Import, Module, spell_type

__all__ = ["bind", "find_parts", "is_bindgen"]

_MANGLED = re.compile(r"__wbg_(?P<name>.+)_[0-9a-f]{16}")
_STRIPPED = re.compile(r"__wbindgen_export(_?\d+)?")
_MALLOC_TYPES = ("i:i", "ii:i")
_TABLE_INIT = "wbindgeninitexternreftable"


def is_bindgen(module: Module) -> bool:
    names = [one.name for one in module.imports] + [one.name for one in module.exports]
    return any(name.startswith(("__wbg_", "__wbindgen_")) for name in names)


def bind(module: Module, wanted: Import) -> Binding | None:
    """Return what serves an import of wasm-bindgen's spelling, or None when it is not one."""
    if not wanted.name.startswith(("__wbg_", "__wbindgen_")) or not wanted.is_function:
        return None
    key = _key(wanted.name)
    if key == _TABLE_INIT and wanted.type == ":":
        return Binding(wanted.index, How.EXTERNREF_TABLE)
    function = _functions().get(key)
    if function is None:
        return Binding(wanted.index, How.TRAP)
    if function.bindgen_type is not None and wanted.type == function.bindgen_type:
        return Binding(wanted.index, How.BINDGEN, function)
    if wanted.type == function.plain_type:
        return Binding(wanted.index, How.PLAIN, function)
    return Binding(wanted.index, How.TRAP)


def find_parts(module: Module, bindings: tuple[Binding, ...]) -> dict[Part, int]:
    """Return the helper exports of wasm-bindgen's glue: start, allocator, table of externrefs.

    Raises:
        PluginLoadError: both kinds of start function, or a stripped build whose allocator is ambiguous.
    """
    if not is_bindgen(module):
        return {}
    parts = {}
    start = module.export("__wbindgen_start")
    if start is not None:
        if module.export("_initialize") is not None:
            raise PluginLoadError(
                f"{module.source} exports _initialize and __wbindgen_start, wanted one of them"
            )
        if start.type != ":":
            found, wanted = spell_type(start.type), spell_type(":")
            raise PluginLoadError(f"{module.source} exports __wbindgen_start as {found}, wanted {wanted}")
        parts[Part.START] = start.index
    if module.export("blitz_alloc") is None:
        malloc = _find_malloc(module)
        if malloc is not None:
            parts[Part.ALLOC] = malloc.index
    if any(binding.how is How.EXTERNREF_TABLE for binding in bindings):
        tables = [export for export in module.exports if export.type == "tx"]
        if tables:
            parts[Part.EXTERNREFS] = tables[0].index
    return parts


def _find_malloc(module: Module) -> Export | None:
    named = module.export("__wbindgen_malloc")
    if named is not None:
        if named.type not in _MALLOC_TYPES:
            raise PluginLoadError(
                f"{module.source} exports __wbindgen_malloc as {spell_type(named.type)}, "
                f"wanted {spell_type('i:i')} or {spell_type('ii:i')}"
            )
        return named
    stripped = [export for export in module.exports if _STRIPPED.fullmatch(export.name)]
    # Two arguments first: a one-argument function of these names may also be the externref table's.
    for wanted in reversed(_MALLOC_TYPES):
        found = [export for export in stripped if export.type == wanted]
        if len(found) == 1:
            return found[0]
        if found:
            names = ", ".join(export.name for export in found)
            raise PluginLoadError(
                f"{module.source} was stripped of its names and its allocator could be any of {names}: "
                "keep the name section (strip = false) or export blitz_alloc"
            )
    return None


def _key(name: str) -> str:
    mangled = _MANGLED.fullmatch(name)
    return (mangled["name"] if mangled else name).replace("_", "").lower()


@cache
def _functions() -> dict[str, HostFunction]:
    served = (function for function in host_functions() if function.group in ("blitz", "bindgen"))
    return {_key(function.name): function for function in served}
