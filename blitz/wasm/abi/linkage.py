"""How a module will be driven: which host function serves each import, which export plays which part."""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum

from blitz._native import ffi, lib

__all__ = [
    "SHARED_FUNCTIONS",
    "WAITING_FUNCTIONS",
    "Binding",
    "HostFunction",
    "How",
    "Part",
    "Plan",
    "host_functions",
]


# Host functions that tell more than the message in hand. Variables are not among them: one that was not
# granted looks unset.
CAPABILITIES = {
    "now_ms": "clock",
    "now": "clock",
    "clock_time_get": "clock",
    "clock_res_get": "clock",
    "random": "random",
    "getRandomValues": "random",
    "random_get": "random",
}
GC_NEEDED = "uses Wasm GC, exceptions or typed function references"
# Host functions on state that the workers of a host share.
SHARED_FUNCTIONS = ("rate_limit", "kv_incr", "kv_get", "kv_set")
# Host functions that wait for something outside.
WAITING_FUNCTIONS = ("sleep_ms", "http_fetch")


class How(IntEnum):
    """Values equal BLITZ_BIND_*."""

    PLAIN = 0
    BINDGEN = 1
    TRAP = 2
    EXTERNREF_TABLE = 3


class Part(IntEnum):
    """Values equal BLITZ_X_*."""

    MEMORY = 0
    START = 1
    INIT = 2
    REQUEST = 3
    RESPONSE = 4
    CLEANUP = 5
    ALLOC = 6
    FREE = 7
    BUFFER = 8
    BUFFER_SIZE = 9
    EXTERNREFS = 10
    RESPONSE_HEAD = 11
    REQUEST_CHUNK = 12
    RESPONSE_CHUNK = 13
    END = 14


@dataclass(frozen=True, slots=True)
class HostFunction:
    """A row of ``native/host_calls.def``.

    Attributes:
        bindgen_type: None where the spelling is the same.
        modules: those that it is imported from; (): any that no other row names.
    """

    row: int
    name: str
    plain_type: str
    bindgen_type: str | None
    group: str
    modules: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Binding:
    """What serves import number ``index``. ``function`` is None for a trap and for the externref table."""

    index: int
    how: How
    function: HostFunction | None = None


@dataclass(frozen=True, slots=True)
class Plan:
    """The outcome of detection.

    Attributes:
        abi: ``blitz/1``.
        spelling: ``plain`` or ``wasm-bindgen``, for people.
        bindings: one per import.
        parts: export index by part.
        minimum_memory: bytes the module's memory has from the start.
        needs_gc: the module's values may live in a heap beside that memory.
    """

    abi: str
    spelling: str
    bindings: tuple[Binding, ...]
    parts: dict[Part, int]
    minimum_memory: int
    needs_gc: bool

    def needs(self) -> dict[str, str]:
        """The capabilities that the module needs, each with what it does that needs it, for a sentence."""
        found = {
            CAPABILITIES[binding.function.name]: f"imports {binding.function.name}"
            for binding in self.bindings
            if binding.function is not None and binding.function.name in CAPABILITIES
        }
        return found | {"gc": GC_NEEDED} if self.needs_gc else found

    def calls(self, name: str) -> bool:
        """The module imports the Blitz host function *name*."""
        return any(
            binding.function is not None
            and binding.function.group == "blitz"
            and binding.function.name == name
            for binding in self.bindings
        )


def host_functions() -> tuple[HostFunction, ...]:
    """Every host function that the C core has."""
    return tuple(_row(index) for index in range(lib.blitz_host_n()))


def _row(index: int) -> HostFunction:
    raw = lib.blitz_host_at(index)
    bindgen = None if raw.bindgen_type == ffi.NULL else ffi.string(raw.bindgen_type).decode()
    return HostFunction(
        row=index,
        name=ffi.string(raw.name).decode(),
        plain_type=ffi.string(raw.plain_type).decode(),
        bindgen_type=bindgen,
        group=ffi.string(raw.group).decode(),
        modules=() if raw.modules == ffi.NULL else tuple(ffi.string(raw.modules).decode().split()),
    )
