"""One guest: a module in a store of its own, driven call by call.

The functions that run guest code return raw codes (``native/blitz_native.h``): a verdict with flags,
PENDING (let other tasks run, then ``resume``) or FAULT (see ``fault``; the instance is poisoned).
"""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING, Any

from blitz._native import ffi, lib
from blitz.errors import (
    InternalError,
    PluginError,
    PluginLoadError,
    PluginMemory,
    PluginTimeout,
    PluginTrap,
    PluginVerdict,
)
from blitz.wasm.symbols import spell_frames

if TYPE_CHECKING:
    from blitz.wasm.plugin import Plugin

__all__ = ["FAULT", "PENDING", "Instance", "LogLine"]

PENDING: int = lib.BLITZ_PENDING
FAULT: int = lib.BLITZ_FAULT

LogLine = tuple[int, str, bool]  # level, text, truncated

_RECORD = struct.Struct("=BBHI")
_TRUNCATED = 1

_ERRORS: dict[int, type[PluginError]] = {
    lib.BLITZ_FAULT_TRAP: PluginTrap,
    lib.BLITZ_FAULT_EXIT: PluginTrap,
    lib.BLITZ_FAULT_MEMORY: PluginMemory,
    lib.BLITZ_FAULT_VERDICT: PluginVerdict,
    lib.BLITZ_FAULT_HOST: PluginTrap,
    lib.BLITZ_FAULT_INIT: PluginLoadError,
    lib.BLITZ_FAULT_CANCELLED: PluginTimeout,
    lib.BLITZ_FAULT_ENGINE: PluginTrap,
}


class Instance:
    """Owns the native instance.

    Attributes:
        ptr: for the calls of ``blitz._native.lib``; None after free().
        plugin: what it runs.
        id: of its plugin's instances.
        seen, quiet: the pool's: calls when it last looked, and for how many looks nothing was called.
    """

    __slots__ = ("id", "plugin", "ptr", "quiet", "seen")

    def __init__(self, ptr: Any, plugin: Plugin) -> None:
        self.ptr = ptr
        self.plugin = plugin
        self.id = int(lib.blitz_instance_id(ptr))
        self.seen = self.quiet = 0
        plugin.instances += 1

    @property
    def calls(self) -> int:
        """Message hooks that came to an end so far."""
        return int(lib.blitz_instance_calls(self.ptr))

    def start(self) -> int:
        """Instantiate, run the start functions and init."""
        return int(lib.blitz_call_start(self.ptr))

    def request(self, exchange: Any) -> int:
        """Call process_request on a native exchange, which must live until the call is over."""
        return int(lib.blitz_call_request(self.ptr, exchange))

    def response(self, exchange: Any) -> int:
        """Call process_response on a native exchange; its body is the hook's argument."""
        return int(lib.blitz_call_response(self.ptr, exchange))

    def cleanup(self) -> int:
        """Call cleanup; only free() is allowed afterwards."""
        return int(lib.blitz_call_cleanup(self.ptr))

    def resume(self) -> int:
        """Give a pending call its next time slice."""
        return int(lib.blitz_call_resume(self.ptr))

    @property
    def is_due(self) -> bool:
        """The pending call has not begun: guests had their share of the pass of the event loop."""
        return bool(lib.blitz_call_waits(self.ptr) == lib.BLITZ_WAITS_TURN)

    def answer(self) -> bool:
        """Tell a call that waits for something outside that nothing came of it; False: it does not."""
        waits = lib.blitz_call_waits(self.ptr)
        if waits < lib.BLITZ_WAITS_SLEEP:
            return False
        failed = lib.BLITZ_FETCH_FAILED if waits == lib.BLITZ_WAITS_FETCH else 0
        lib.blitz_call_answer(self.ptr, failed)
        return True

    def cancel(self) -> None:
        """Unwind a pending call. The instance is poisoned."""
        lib.blitz_call_cancel(self.ptr)

    def time_out(self) -> PluginError:
        """Cancel a call that is past its deadline; the fault says where the guest was then."""
        lib.blitz_call_time_out(self.ptr)
        return self.fault()

    def free(self) -> None:
        """Give the slot back; a pending call is unwound."""
        if self.ptr is None:
            return
        lib.blitz_instance_free(self.ptr)
        self.ptr = None
        self.plugin.instances -= 1

    def fault(self) -> PluginError:
        """Return why the last call failed, or returned the verdict -1."""
        raw = lib.blitz_instance_fault(self.ptr)
        if raw.kind == 0:
            raise InternalError("the instance has no fault")
        hook, message = _text(raw.hook), _text(raw.message)
        frames = spell_frames(_text(raw.frames), self.plugin.module.symbols)
        spec = self.plugin.spec
        return _ERRORS[raw.kind](
            f"{spec.name} failed in {hook}: {message}",
            plugin=spec.name,
            version=spec.version,
            hook=hook,
            frames=frames,
        )

    def take_log(self) -> list[LogLine]:
        """Return the lines that calls left behind and forget them."""
        raw = lib.blitz_instance_take_log(self.ptr)
        data = bytes(ffi.buffer(raw.ptr, raw.len)) if raw.len else b""
        lines: list[LogLine] = []
        at = 0
        while at < len(data):
            level, flags, _, size = _RECORD.unpack_from(data, at)
            at += _RECORD.size
            text = data[at : at + size].decode("utf-8", "replace")
            lines.append((level, text, bool(flags & _TRUNCATED)))
            at += size
        return lines

    def memory_size(self) -> int:
        """Bytes of linear memory; as last seen while a call is pending."""
        return int(lib.blitz_instance_memory_size(self.ptr))


def _text(raw: Any) -> str:
    text: str = ffi.string(raw).decode("utf-8", "replace")
    return text
