"""Configuration: from files, environment and command line to one frozen value."""

from blitz.config.addresses import Address, Endpoint, parse_address, parse_endpoint
from blitz.config.load import Loaded, load, load_config
from blitz.config.model import (
    Answer,
    Config,
    Http,
    Limits,
    Log,
    Plugin,
    PluginDefaults,
    Route,
    Timeouts,
    Upstream,
)
from blitz.config.resolve import resolve
from blitz.config.resolved import Resolved, ResolvedPlugin, ResolvedRoute, ResolvedUpstream

__all__ = [
    "Address",
    "Answer",
    "Config",
    "Endpoint",
    "Http",
    "Limits",
    "Loaded",
    "Log",
    "Plugin",
    "PluginDefaults",
    "Resolved",
    "ResolvedPlugin",
    "ResolvedRoute",
    "ResolvedUpstream",
    "Route",
    "Timeouts",
    "Upstream",
    "load",
    "load_config",
    "parse_address",
    "parse_endpoint",
    "resolve",
]
