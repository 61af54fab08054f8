"""Which plugin ABI a module speaks, and the plan for driving it.

Detection follows the exports and imports alone. A file that speaks none is refused with one sentence
that says what was found and what was wanted.
"""

from __future__ import annotations

from blitz.errors import PluginLoadError
from blitz.wasm.abi import bindgen, blitz
from blitz.wasm.abi.plan import Plan
from blitz.wasm.module import Module

__all__ = ["Plan", "detect"]

HOOKS = ("process_request", "process_response")


def detect(module: Module) -> Plan:
    """Return the plan for *module*.

    Raises:
        PluginLoadError: it speaks another ABI or none, or its imports or exports do not fit.
    """
    exports = {export.name for export in module.exports}
    _refuse_others(module, exports)
    if not exports & set(HOOKS):
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


def _refuse_others(module: Module, exports: set[str]) -> None:
    proxy = sorted(name for name in exports if name.startswith("proxy_abi_version"))
    if proxy:
        raise PluginLoadError(
            f"{module.source} is a Proxy-Wasm module (it exports {proxy[0]}), wanted the Blitz ABI: "
            "export process_request or process_response"
        )
    handler = any(one.module == "http_handler" for one in module.imports)
    if handler or exports & {"handle_request", "handle_response"}:
        raise PluginLoadError(
            f"{module.source} is an http-wasm module (http_handler), wanted the Blitz ABI: "
            "export process_request or process_response"
        )


def _nothing_found(module: Module, exports: set[str]) -> str:
    if "_start" in exports:
        return (
            f"{module.source} is a command (it exports _start and no hook), wanted a reactor that exports "
            "process_request or process_response: build it as a library, without main"
        )
    found = ", ".join(sorted(exports)[:8]) or "nothing"
    return (
        f"{module.source} has no hook: it exports {found}, wanted process_request or process_response: "
        "export one of them, or both"
    )
