"""Configuration: from files, environment and command line to one frozen value."""

from blitz.config.addresses import Address, Endpoint, parse_address, parse_endpoint
from blitz.config.discover import plugin_name
from blitz.config.load import Loaded, load_config, read_config
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
from blitz.config.schema import json_schema
from blitz.config.source import Document
from blitz.config.units import format_duration, format_size, parse_duration, parse_size

__all__ = [
    "Address",
    "Answer",
    "Config",
    "Document",
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
    "format_duration",
    "format_size",
    "json_schema",
    "load_config",
    "parse_address",
    "parse_duration",
    "parse_endpoint",
    "parse_size",
    "plugin_name",
    "read_config",
    "resolve",
]
