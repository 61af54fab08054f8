"""Configuration: from files, environment and command line to one frozen value."""

from blitz.config.acme_keys import Acme
from blitz.config.addresses import Address, Endpoint, parse_address, parse_endpoint
from blitz.config.auth_keys import Auth, BasicAuth, ForwardAuth, JwtAuth
from blitz.config.discover import plugin_name
from blitz.config.document import STANDARD_INPUT, parse_document
from blitz.config.effective import Effective, effective_values
from blitz.config.filter_keys import Compress, Cors, RateLimit
from blitz.config.layout import LayoutRefused, lay_out
from blitz.config.load import Loaded, load_config, read_config
from blitz.config.model import (
    Admin,
    Answer,
    Certificate,
    Config,
    Http,
    Limits,
    Listener,
    Log,
    Plugin,
    PluginDefaults,
    Route,
    Timeouts,
    Tls,
    Upstream,
    UpstreamTls,
)
from blitz.config.positions import path_text
from blitz.config.resolve import resolve
from blitz.config.resolved import (
    Resolved,
    ResolvedAdmin,
    ResolvedPlugin,
    ResolvedRoute,
    ResolvedUpstream,
    Served,
)
from blitz.config.restart import needs_restart
from blitz.config.schema import json_schema
from blitz.config.source import Document
from blitz.config.units import format_duration, format_size, parse_duration, parse_size

__all__ = [
    "STANDARD_INPUT",
    "Acme",
    "Address",
    "Admin",
    "Answer",
    "Auth",
    "BasicAuth",
    "Certificate",
    "Compress",
    "Config",
    "Cors",
    "Document",
    "Effective",
    "Endpoint",
    "ForwardAuth",
    "Http",
    "JwtAuth",
    "LayoutRefused",
    "Limits",
    "Listener",
    "Loaded",
    "Log",
    "Plugin",
    "PluginDefaults",
    "RateLimit",
    "Resolved",
    "ResolvedAdmin",
    "ResolvedPlugin",
    "ResolvedRoute",
    "ResolvedUpstream",
    "Route",
    "Served",
    "Timeouts",
    "Tls",
    "Upstream",
    "UpstreamTls",
    "effective_values",
    "format_duration",
    "format_size",
    "json_schema",
    "lay_out",
    "load_config",
    "needs_restart",
    "parse_address",
    "parse_document",
    "parse_duration",
    "parse_endpoint",
    "parse_size",
    "path_text",
    "plugin_name",
    "read_config",
    "resolve",
]
