"""A plugin: a module, linked to the host functions it imports, with its limits, grants and config."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from blitz._native import ffi, lib
from blitz.errors import InternalError, PluginLoadError
from blitz.grants import BY_DEFAULT, how_to_allow, how_to_grant
from blitz.state import State
from blitz.wasm.abi import detect
from blitz.wasm.abi.linkage import SHARED_FUNCTIONS, WAITING_FUNCTIONS, Part
from blitz.wasm.engine import ERROR_SIZE, Engine
from blitz.wasm.instance import Instance
from blitz.wasm.module import Module
from blitz.wasm.shared import Shared

__all__ = ["Plugin", "PluginSpec"]

KIB = 1024

# Host memory one call may cause, beyond the bodies that max_body bounds.
MAX_EDITS = 1000  # a head holds 256 fields; the rest is slack for set-after-set
MAX_EDITS_SIZE = 256 * KIB  # four heads of the largest size that a client may send
MAX_LOG_SIZE = 64 * KIB  # of one call
MAX_LOG_LINES = 256  # of one call: writing them down takes a millisecond
LOG_LINES_PER_SECOND = 10_000  # of one plugin in one worker: two lines a request at 5,000 requests a second
LOG_BURST = 2_000
MAX_TABLE_ELEMENTS = 20_000  # what the engine's slots hold


_PARTS = {
    Part.REQUEST_CHUNK: lib.BLITZ_PARTS_REQUEST,
    Part.RESPONSE_CHUNK: lib.BLITZ_PARTS_RESPONSE,
    Part.END: lib.BLITZ_PARTS_END,
}
_BODIES = lib.BLITZ_PARTS_REQUEST | lib.BLITZ_PARTS_RESPONSE


@dataclass(frozen=True, slots=True)
class PluginSpec:
    """What the operator says about a plugin.

    Attributes:
        name: for messages, logs, metrics and the namespace of shared state.
        source: path of the file.
        sha256: its digest, in hex.
        memory: bytes of linear memory per instance.
        timeout: seconds; one call of one hook, but for what it waits for outside.
        wait_timeout: seconds; that, all together.
        upstreams: names of those that it may send requests to.
        max_body: bytes; what is collected for get_body and process_response.
        response_body: ``full`` or ``none``.
        instances: ``pooled``, ``per-request`` or ``single``; empty: by what it does.
        max_requests: calls before a pooled instance is replaced.
        max_instances: per worker.
        warm: instances that are ready before the first call, and stay when they are idle.
        failure: ``closed`` or ``open``.
        rollback: the version before this one returns when this one is put in quarantine.
        config: what get_config returns.
        config_values: dotted key to value, for get_property("config.<key>").
        env: granted environment.
        grants: capabilities that it may use (``blitz.grants``).
        asks: those that its manifest lets it use; None without a manifest: any.
        manifest: path of the manifest, for messages.
        origins: limit (``memory``, ``timeout``) -> what set it and how to raise it, for messages.
        namespace: of its shared state; "": its name.
        reroute: it may lead a request to another route.
        log_level: 0 trace .. 4 error, 5 none.
        version: for messages.
        max_line_size, max_field_size, max_head_size: bytes; what it may write of a head, as a client may.
    """

    name: str
    source: str
    memory: int
    timeout: float
    max_body: int
    response_body: str
    instances: str
    max_requests: int
    max_instances: int
    failure: str
    sha256: str = ""
    warm: int = 1
    rollback: bool = False
    config: bytes = b""
    config_values: dict[str, bytes] = field(default_factory=dict)
    env: dict[str, str] = field(default_factory=dict)
    grants: tuple[str, ...] = BY_DEFAULT
    asks: tuple[str, ...] | None = None
    manifest: str = ""
    origins: dict[str, str] = field(default_factory=dict, compare=False)  # lines move; nothing changes
    namespace: str = ""
    reroute: bool = False
    wait_timeout: float = 5.0
    upstreams: tuple[str, ...] = ()
    log_level: int = 2
    version: str = ""
    max_line_size: int = 0
    max_field_size: int = 0
    max_head_size: int = 0

    def too_long(self) -> str:
        """What a call that was cancelled did, for messages."""
        origin = self.origins.get("timeout")
        return f"ran longer than {self.timeout * 1000:g} ms" + (f" ({origin})" if origin else "")

    def waited_too_long(self) -> str:
        """The same of a call that waited."""
        origin = self.origins.get("wait_timeout")
        return f"waited longer than {self.wait_timeout * 1000:g} ms" + (f" ({origin})" if origin else "")


class Plugin:
    """Owns the native plugin. Instances are made from it.

    Attributes:
        engine, module, spec: as given; the module must outlive the plugin.
        plan: how the module is driven.
        has_request, has_response: the module exports that hook, the latter in either form.
        parts: BLITZ_PARTS_*: what it sees of streams. changes: which bodies of them it may change.
        reads_body, writes_body: the module imports get_body, set_body.
        is_command: its start is ``_start``: it has a main, and no ``_initialize``.
        needs_response_body: process_response wants the body: the answer is collected before the hook.

    Raises:
        PluginLoadError: the module cannot run as this plugin; the message says what was found and wanted.
    """

    def __init__(self, engine: Engine, module: Module, spec: PluginSpec, shared: State | None = None) -> None:
        self.engine = engine
        self.module = module
        self.spec = spec
        self.instances = 0  # alive; they must go first
        self.plan = detect(module)
        self._check_memory()
        self._check_grants()
        self._error = ffi.new("char[]", ERROR_SIZE)  # kept: instances are made on the request path
        self._own_shared: State | None = None
        self._shared: State | None = shared
        self._measures: object = None
        self._ptr: Any = lib.blitz_plugin_new(module.ptr, spec.name.encode(), self._limits())
        if self._ptr == ffi.NULL:
            raise InternalError("out of memory")
        module.plugins += 1
        try:
            self._bind()
            self._grant()
            self._link()
        except BaseException:
            self.close()
            raise
        self.has_request = Part.REQUEST in self.plan.parts
        self.has_response = not self.plan.parts.keys().isdisjoint((Part.RESPONSE, Part.RESPONSE_HEAD))
        self.response_hook = (
            "process_response_head" if Part.RESPONSE_HEAD in self.plan.parts else "process_response"
        )
        self.parts = sum(flag for part, flag in _PARTS.items() if part in self.plan.parts)
        self.changes = self.parts & _BODIES if self.plan.calls("set_chunk") else 0
        lib.blitz_plugin_set_changes(self._ptr, self.changes)
        start = module.export("_start")
        self.is_command = start is not None and self.plan.parts.get(Part.START) == start.index
        self.reads_body = self.plan.calls("get_body")
        self.writes_body = self.plan.calls("set_body")
        takes_body = self.has_response and Part.RESPONSE_HEAD not in self.plan.parts
        self.needs_response_body = takes_body and spec.response_body == "full"

    @property
    def ptr(self) -> Any:
        if self._ptr is None:
            raise InternalError(f"plugin {self.spec.name} is closed")
        return self._ptr

    def new_instance(self) -> Instance:
        """Return a new instance, not started.

        Raises:
            PluginLoadError: the host is out of memory.
        """
        ptr = lib.blitz_instance_new(self.ptr, self._error, ERROR_SIZE)
        if ptr == ffi.NULL:
            raise PluginLoadError(_decode(self._error), plugin=self.spec.name)
        return Instance(ptr, self)

    def take_dropped(self, min_age: float) -> tuple[int, float]:
        """How many log lines were dropped, and within how many seconds, if the first of them is at least
        *min_age* seconds old; else 0. Asking begins anew."""
        seconds = ffi.new("double *")
        count = int(lib.blitz_plugin_take_log_dropped(self.ptr, min_age, seconds))
        return count, seconds[0]

    def set_log_level(self, level: int) -> None:
        """Drop log lines below *level* (0 trace .. 4 error, 5 none) from now on."""
        lib.blitz_plugin_set_log_level(self.ptr, level)

    def close(self) -> None:
        """Free the plugin. All its instances must be freed before."""
        if self._ptr is None:
            return
        if self.instances:
            raise InternalError(f"plugin {self.spec.name} is closed while {self.instances} instances live")
        lib.blitz_plugin_free(self._ptr)
        self._ptr = None
        self.module.plugins -= 1
        if self._own_shared is not None:
            self._own_shared.close()

    def _check_memory(self) -> None:
        minimum, most = self.plan.minimum_memory, self.engine.max_memory_size
        limit = min(self.spec.memory, most)
        if minimum <= limit:
            return
        origin = self.spec.origins.get("memory", f"raise the memory of plugin {self.spec.name}")
        if limit < self.spec.memory:  # what is written does not matter
            origin = "the most that the engine's slots hold"
        raise PluginLoadError(
            f"{self.module.source} needs {minimum} bytes of memory from the start, limit {limit}: "
            f"{origin}, or build with less",
            plugin=self.spec.name,
        )

    def _check_grants(self) -> None:
        spec = self.spec
        needs = self.plan.needs()
        for capability, how in needs.items():
            what = f"{self.module.source} {how}"
            free = capability in BY_DEFAULT
            if spec.asks is not None and capability not in spec.asks:
                raise PluginLoadError(
                    f"{what}, and its manifest says {capability} = false: take that out of {spec.manifest}"
                    if free
                    else f"{what}, and its manifest does not ask for it: write {capability} = true under "
                    f"[capabilities] in {spec.manifest}",
                    plugin=spec.name,
                )
            if capability not in spec.grants:
                remedy = (
                    f"denied; {how_to_allow(spec.name, capability)}"
                    if free
                    else f"not granted; {how_to_grant(spec.name, {*spec.grants, *needs})}"
                )
                raise PluginLoadError(f"{what}, which is {remedy}", plugin=spec.name)

    def _limits(self) -> Any:
        limits = ffi.new("blitz_plugin_limits *")
        limits.max_memory_size = min(self.spec.memory, self.engine.max_memory_size)
        limits.max_table_elements = MAX_TABLE_ELEMENTS
        limits.max_edits_size = min(MAX_EDITS_SIZE + self.spec.max_body, 2**31)
        limits.max_edits = MAX_EDITS
        limits.head.max_head_size = self.spec.max_head_size
        limits.head.max_line_size = self.spec.max_line_size
        limits.head.max_field_size = self.spec.max_field_size
        limits.max_part_size = min(max(self.spec.max_body, lib.BLITZ_MOST_PART), 2**31)
        limits.max_log_size = MAX_LOG_SIZE
        limits.max_log_lines = MAX_LOG_LINES
        limits.log_level = self.spec.log_level
        limits.log_lines_per_second = LOG_LINES_PER_SECOND
        limits.log_burst = LOG_BURST
        return limits

    def _bind(self) -> None:
        _check(lib.blitz_plugin_speak(self._ptr, self.plan.abi.encode()))
        for binding in self.plan.bindings:
            row = 0 if binding.function is None else binding.function.row
            _check(lib.blitz_plugin_bind(self._ptr, binding.index, binding.how, row))
        for part, index in self.plan.parts.items():
            _check(lib.blitz_plugin_use_export(self._ptr, part, index))
        if any(map(self.plan.calls, WAITING_FUNCTIONS)):
            lib.blitz_plugin_may_wait(self._ptr)
        # A plugin that was given no shared state gets its own.
        if self._shared is None and any(map(self.plan.calls, SHARED_FUNCTIONS)):
            self._shared = self._own_shared = Shared()
        if self._shared is not None:
            lib.blitz_plugin_set_state(self._ptr, self._shared.native)

    def count_in(self, measures: Any, owner: object) -> None:
        """Its own metrics go to a cffi ``blitz_plugin_measures *``, which lives as long as *owner*."""
        self._measures = owner
        lib.blitz_plugin_set_measures(self._ptr, measures)

    def _grant(self) -> None:
        if "fine_clock" in self.spec.grants and (self.spec.asks is None or "fine_clock" in self.spec.asks):
            lib.blitz_plugin_allow_fine_clock(self._ptr)
        if self.spec.reroute:
            lib.blitz_plugin_allow_reroute(self._ptr)
        if self.spec.namespace:
            _check(lib.blitz_plugin_set_namespace(self._ptr, self.spec.namespace.encode()))
        for name in self.spec.upstreams:
            _check(lib.blitz_plugin_grant_upstream(self._ptr, name.encode(), len(name.encode())))
        for name, value in self.spec.env.items():
            key, text = name.encode(), value.encode("utf-8", "surrogateescape")
            _check(lib.blitz_plugin_grant_env(self._ptr, key, len(key), text, len(text)))
        for name, content in {"": self.spec.config, **self.spec.config_values}.items():
            key = name.encode()
            _check(lib.blitz_plugin_set_config(self._ptr, key, len(key), content, len(content)))

    def _link(self) -> None:
        error = ffi.new("char[]", ERROR_SIZE)
        if lib.blitz_plugin_link(self._ptr, error, ERROR_SIZE) != 0:
            raise PluginLoadError(
                f"{self.module.source} does not link: {_decode(error)}", plugin=self.spec.name
            )


def _check(code: int) -> None:
    if code < 0:
        raise InternalError(f"the plan of a plugin does not fit its module (code {code})")


def _decode(error: Any) -> str:
    text: str = ffi.string(error).decode("utf-8", "replace")
    return text
