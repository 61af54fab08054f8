"""The Blitz ABI, plain spelling: hooks, host functions by name and type, the guest's allocator.

An import is matched by its name and type, whatever its module is called, but where rows of
``native/host_calls.def`` name the module: only theirs are looked for under it (WASI).
"""

from __future__ import annotations

import difflib
from functools import cache

from blitz.errors import PluginLoadError
from blitz.wasm.abi.linkage import Binding, HostFunction, How, Part, host_functions
from blitz.wasm.module import Export, Import, MemoryType, Module, spell_type

__all__ = ["MESSAGE_HOOKS", "bind", "check_allocator", "check_memory", "find_parts"]

# export -> part, type. A hook of another type is refused; so is a helper that the host would call.
HOOKS: dict[str, tuple[Part, str]] = {
    # A command's own start: what a compiler sets up before main, it sets up there. See find_parts.
    "_start": (Part.START, ":"),
    "_initialize": (Part.START, ":"),
    "init": (Part.INIT, ":i"),
    "process_request": (Part.REQUEST, "iiii:i"),
    "process_response": (Part.RESPONSE, "iii:i"),
    "cleanup": (Part.CLEANUP, ":i"),
    "process_response_head": (Part.RESPONSE_HEAD, "i:i"),
    "process_request_chunk": (Part.REQUEST_CHUNK, "iii:i"),
    "process_response_chunk": (Part.RESPONSE_CHUNK, "iii:i"),
    "process_end": (Part.END, "ii:"),
    "blitz_buffer": (Part.BUFFER, ":i"),
    "blitz_buffer_size": (Part.BUFFER_SIZE, ":i"),
}
# Of a message: a plugin has one of them at least.
MESSAGE_HOOKS = (
    "process_request",
    "process_response",
    "process_response_head",
    "process_request_chunk",
    "process_response_chunk",
)
_STRING = "a pointer and a length"
_TAKES = {
    "process_request": f"two strings, each {_STRING}",
    "process_response": f"a status and a string that is {_STRING}",
    "process_response_head": "a status",
    "process_request_chunk": f"a part that is {_STRING}, and whether it is the last",
    "process_response_chunk": f"a part that is {_STRING}, and whether it is the last",
    "process_end": f"a string that is {_STRING}, and returns nothing",
}
# Those of them, and process_end, that take strings.
_WITH_STRINGS = tuple(name for name in (*MESSAGE_HOOKS, "process_end") if HOOKS[name][1] != "i:i")


def find_parts(module: Module) -> dict[Part, int]:
    """Return the exports that are hooks or helpers of the plain ABI.

    Raises:
        PluginLoadError: one of them has another type.
    """
    parts = {}
    reactor = module.export("_initialize") is not None
    for export in module.exports:
        if export.name in HOOKS and not (reactor and export.name == "_start"):
            part, wanted = HOOKS[export.name]
            _check_type(module, export, wanted)
            parts[part] = export.index
    if (Part.BUFFER in parts) != (Part.BUFFER_SIZE in parts):
        raise PluginLoadError(
            f"{module.source} exports one of blitz_buffer and blitz_buffer_size, wanted both or none"
        )
    memory = module.export("memory")
    if memory is not None and memory.type.startswith("m"):
        parts[Part.MEMORY] = memory.index
    return parts | _find_allocator(module)


def check_memory(module: Module) -> int:
    """Return the bytes that the module's memory has from the start.

    Raises:
        PluginLoadError: no memory of the module's own under that name, or one that is 64-bit or shared.
    """
    export = module.export("memory")
    if export is None or not export.type.startswith("m"):
        found = "no memory" if export is None else f"memory as {spell_type(export.type)}"
        raise PluginLoadError(
            f"{module.source} exports {found}, wanted its linear memory under the name memory"
        )
    memory = MemoryType.parse(export.type)
    if memory.is_64:
        raise PluginLoadError(f"{module.source} has a 64-bit memory, wanted a 32-bit one (build for wasm32)")
    if memory.shared:
        raise PluginLoadError(
            f"{module.source} has a shared memory, wanted an unshared one (build without threads)"
        )
    return memory.minimum_size


def bind(module: Module, wanted: Import) -> Binding:
    """Return what serves an import of the plain spelling, or of WASI.

    Raises:
        PluginLoadError: there is no such host function, or it has another type.
    """
    if not wanted.is_function:
        raise PluginLoadError(
            f"{module.source} imports {spell_type(wanted.type)} ({wanted.module}.{wanted.name}), "
            "wanted functions only: a plugin defines and exports its own memory"
        )
    function = _of_module(wanted.module).get(wanted.name)
    if function is None:
        raise PluginLoadError(_unknown(module, wanted))
    if wanted.type == function.plain_type:
        return Binding(wanted.index, How.PLAIN, function)
    if wanted.type == function.bindgen_type:
        return Binding(wanted.index, How.BINDGEN, function)
    raise PluginLoadError(
        f"{module.source} imports {wanted.module}.{wanted.name} as {spell_type(wanted.type)}, "
        f"wanted {spell_type(function.plain_type)}: declare it so"
    )


def check_allocator(module: Module, parts: dict[Part, int], bindings: tuple[Binding, ...]) -> None:
    """Refuse a module whose strings could not be written anywhere.

    A fixed area (blitz_buffer) is enough for arguments; string results of wasm-bindgen's spelling need
    an allocator.
    """
    if Part.ALLOC in parts:
        return
    hooks = [name for name in _WITH_STRINGS if HOOKS[name][0] in parts]
    if hooks and Part.BUFFER not in parts:
        raise PluginLoadError(
            f"{module.source} exports {hooks[0]}, which takes strings, but no allocator: wanted blitz_alloc, "
            "__wbindgen_malloc, malloc with free, or the fixed area blitz_buffer with blitz_buffer_size"
        )
    needing = [one.function.name for one in bindings if one.how is How.BINDGEN and one.function is not None]
    if needing:
        raise PluginLoadError(
            f"{module.source} imports {needing[0]} in the spelling of wasm-bindgen, whose result needs "
            "an allocator, but exports none: wanted __wbindgen_malloc"
        )


def _check_type(module: Module, export: Export, wanted: str) -> None:
    if export.type != wanted:
        raise PluginLoadError(
            f"{module.source} exports {export.name} as {spell_type(export.type)}, "
            f"wanted {spell_type(wanted)}: {_advice(export.name)}"
        )


def _advice(name: str) -> str:
    return f"it takes {_TAKES[name]}" if name in _TAKES else "give it that type"


def _find_allocator(module: Module) -> dict[Part, int]:
    """blitz_alloc, else malloc with free. wasm-bindgen's stands between the two: see bindgen.py."""
    alloc, free = module.export("blitz_alloc"), module.export("blitz_free")
    if alloc is not None:
        _check_type(module, alloc, "i:i")
        if free is None:
            return {Part.ALLOC: alloc.index}
        _check_type(module, free, "ii:")
        return {Part.ALLOC: alloc.index, Part.FREE: free.index}
    if any(export.name.startswith("__wbindgen_") for export in module.exports):
        return {}
    alloc, free = module.export("malloc"), module.export("free")
    if alloc is not None and free is not None and alloc.type == "i:i" and free.type == "i:":
        return {Part.ALLOC: alloc.index, Part.FREE: free.index}
    return {}


def _unknown(module: Module, wanted: Import) -> str:
    known = _of_module(wanted.module)
    near = difflib.get_close_matches(wanted.name, known, n=1)
    hint = (
        f"; did you mean {near[0]}?"
        if near
        else ": remove the import, or import one of those that docs/plugin-abi.md lists"
    )
    return (
        f"{module.source} imports {wanted.module}.{wanted.name} {spell_type(wanted.type)}, "
        f"which is no host function{hint}"
    )


def _of_module(module: str) -> dict[str, HostFunction]:
    """The functions that a module of that name may be asked for."""
    return _by_module().get(module, _by_module()[""])


@cache
def _by_module() -> dict[str, dict[str, HostFunction]]:
    """By module, the functions whose rows name it; under "" those of every other one; by their names."""
    found: dict[str, dict[str, HostFunction]] = {"": {}}
    for function in host_functions():
        if function.group != "bindgen":  # those have names of their own, see bindgen.py
            for module in function.modules or ("",):
                found.setdefault(module, {})[function.name] = function
    return found
