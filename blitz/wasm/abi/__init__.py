"""Which plugin ABI a module speaks, and the plan for driving it.

Detection follows the exports and imports alone. A file that speaks none is refused with one sentence
that says what was found and what was wanted.
"""

from __future__ import annotations

from blitz.errors import PluginLoadError
from blitz.wasm.abi import bindgen, blitz
from blitz.wasm.abi.linkage import Plan
from blitz.wasm.kinds import foreign_module, how_to_build_a_reactor
from blitz.wasm.module import Module

__all__ = ["Plan", "detect"]


def detect(module: Module) -> Plan:
    """Return the plan for *module*.

    Raises:
        PluginLoadError: it speaks another ABI or none, or its imports or exports do not fit.
    """
    exports = {export.name for export in module.exports}
    foreign = foreign_module(((one.module, one.name) for one in module.imports), sorted(exports))
    if foreign:
        raise PluginLoadError(f"{module.source} is {foreign}")
    if not exports & set(blitz.MESSAGE_HOOKS):
        raise PluginLoadError(_nothing_found(module, exports))
    parts = blitz.find_parts(module)
    bindings = tuple(bindgen.bind(module, one) or blitz.bind(module, one) for one in module.imports)
    parts |= bindgen.find_parts(module, bindings)
    blitz.check_allocator(module, parts, bindings)
    return Plan(
        abi="blitz/1",
        spelling="wasm-bindgen" if bindgen.is_bindgen(module) else "plain",
        bindings=bindings,
        parts=parts,
        minimum_memory=blitz.check_memory(module),
        needs_gc=module.needs_gc,
    )


def _nothing_found(module: Module, exports: set[str]) -> str:
    if "_start" in exports:
        how = how_to_build_a_reactor((one.module, one.name) for one in module.imports)
        return (
            f"{module.source} is a command (it exports _start and no hook), wanted a reactor that exports "
            f"process_request or process_response: {how}"
        )
    found = ", ".join(sorted(exports)[:8]) or "nothing"
    return (
        f"{module.source} has no hook: it exports {found}, wanted process_request or process_response: "
        "export one of them, or both, or a hook on parts of bodies"
    )
