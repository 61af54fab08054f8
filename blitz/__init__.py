"""Blitz: an edge gateway on trio that runs untrusted WebAssembly plugins on every request.

Names are imported when they are first used: ``import blitz`` costs nothing, and ``blitz --help`` does not
wait for an event loop and an engine.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from blitz.config import Config, load_config
    from blitz.embed import AppliedChain, ChainExchange, Continue, Request, Respond, Response, open_chain
    from blitz.errors import (
        BlitzError,
        ClientError,
        ConfigError,
        ConfigProblem,
        InternalError,
        ListenerDied,
        PluginError,
        PluginLoadError,
        PluginMemory,
        PluginReroute,
        PluginSuspended,
        PluginTimeout,
        PluginTrap,
        PluginVerdict,
        UpstreamError,
    )
    from blitz.gateway import (
        Counters,
        EndpointStatus,
        EngineStatistics,
        Fault,
        Gateway,
        LostWorker,
        PluginStatus,
        PoolStatistics,
        Reload,
        Shared,
        Statistics,
        Status,
        WorkerStatus,
        serve,
    )
    from blitz.gateway_context import open_gateway

__all__ = [
    "AppliedChain",
    "BlitzError",
    "ChainExchange",
    "ClientError",
    "Config",
    "ConfigError",
    "ConfigProblem",
    "Continue",
    "Counters",
    "EndpointStatus",
    "EngineStatistics",
    "Fault",
    "Gateway",
    "InternalError",
    "ListenerDied",
    "LostWorker",
    "PluginError",
    "PluginLoadError",
    "PluginMemory",
    "PluginReroute",
    "PluginStatus",
    "PluginSuspended",
    "PluginTimeout",
    "PluginTrap",
    "PluginVerdict",
    "PoolStatistics",
    "Reload",
    "Request",
    "Respond",
    "Response",
    "Shared",
    "Statistics",
    "Status",
    "UpstreamError",
    "WorkerStatus",
    "load_config",
    "open_chain",
    "open_gateway",
    "serve",
]

# Where each name lives.
_HOMES = {
    "AppliedChain": "blitz.embed",
    "BlitzError": "blitz.errors",
    "ChainExchange": "blitz.embed",
    "ClientError": "blitz.errors",
    "Config": "blitz.config",
    "ConfigError": "blitz.errors",
    "ConfigProblem": "blitz.errors",
    "Continue": "blitz.embed",
    "Counters": "blitz.gateway",
    "EndpointStatus": "blitz.gateway",
    "EngineStatistics": "blitz.gateway",
    "Fault": "blitz.gateway",
    "Gateway": "blitz.gateway",
    "InternalError": "blitz.errors",
    "ListenerDied": "blitz.errors",
    "LostWorker": "blitz.gateway",
    "PluginError": "blitz.errors",
    "PluginLoadError": "blitz.errors",
    "PluginMemory": "blitz.errors",
    "PluginReroute": "blitz.errors",
    "PluginStatus": "blitz.gateway",
    "PluginSuspended": "blitz.errors",
    "PluginTimeout": "blitz.errors",
    "PluginTrap": "blitz.errors",
    "PluginVerdict": "blitz.errors",
    "PoolStatistics": "blitz.gateway",
    "Reload": "blitz.gateway",
    "Request": "blitz.embed",
    "Respond": "blitz.embed",
    "Response": "blitz.embed",
    "Shared": "blitz.gateway",
    "Statistics": "blitz.gateway",
    "Status": "blitz.gateway",
    "UpstreamError": "blitz.errors",
    "WorkerStatus": "blitz.gateway",
    "load_config": "blitz.config",
    "open_chain": "blitz.embed",
    "open_gateway": "blitz.gateway_context",
    "serve": "blitz.gateway",
}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = globals()[name] = getattr(import_module(_HOMES[name]), name)
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
