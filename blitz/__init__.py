"""Blitz: an edge gateway on trio that runs untrusted WebAssembly plugins on every request."""

from blitz.config import Config, load_config
from blitz.embed import AppliedChain, Continue, Request, Respond, Response, open_chain
from blitz.errors import (
    BlitzError,
    ClientError,
    ConfigError,
    InternalError,
    PluginError,
    PluginLoadError,
    PluginMemory,
    PluginTimeout,
    PluginTrap,
    PluginVerdict,
    UpstreamError,
)
from blitz.gateway import Gateway, Statistics, open_gateway, serve

__all__ = [
    "AppliedChain",
    "BlitzError",
    "ClientError",
    "Config",
    "ConfigError",
    "Continue",
    "Gateway",
    "InternalError",
    "PluginError",
    "PluginLoadError",
    "PluginMemory",
    "PluginTimeout",
    "PluginTrap",
    "PluginVerdict",
    "Request",
    "Respond",
    "Response",
    "Statistics",
    "UpstreamError",
    "load_config",
    "open_chain",
    "open_gateway",
    "serve",
]
