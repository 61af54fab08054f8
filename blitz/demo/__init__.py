"""What `blitz demo` starts: an upstream that tells what reached it, the built-in plugins, three routes."""

from blitz.demo.plugins import builtin_plugins
from blitz.demo.setup import DEMO_KEY, demo_config, with_admin
from blitz.demo.upstream import serve_upstream

__all__ = ["DEMO_KEY", "builtin_plugins", "demo_config", "serve_upstream", "with_admin"]
