"""The demo's configuration: what a newcomer sees first."""

from __future__ import annotations

from pathlib import Path

from blitz.config import Config, Plugin, Resolved, Route, Upstream, resolve

__all__ = ["DEMO_IDENTITY", "DEMO_KEY", "demo_config", "with_admin"]

DEMO_IDENTITY = "demo"
DEMO_KEY = "demo-key"  # no secret: the demo listens on loopback and guards nothing
PER_MINUTE = 60
BURST = 10  # small enough to be passed by hand


def demo_config(listen: str, upstream: str, plugin_dir: Path) -> Config:
    """The three built-in plugins and three routes in front of *upstream*.

    Args:
        listen: ``127.0.0.1:8080``.
        upstream: ``http://127.0.0.1:9000``.
    """
    return Config(
        listen=[listen],
        plugin_dir=str(plugin_dir),
        before_routing=["request_logger"],
        upstreams={"demo": Upstream(endpoints=[upstream])},
        plugins=[
            Plugin(name="auth_custom", config={"keys": [f"{DEMO_IDENTITY}:{DEMO_KEY}"]}),
            Plugin(name="rate_limiter", config={"requests_per_minute": PER_MINUTE, "burst": BURST}),
            Plugin(name="request_logger", config={"headers": ["user-agent", "x-api-key"]}),
        ],
        routes=[
            Route(name="guarded", path_prefix="/", upstream="demo"),
            Route(
                name="open", path_prefix="/open", upstream="demo", plugins=["request_logger", "rate_limiter"]
            ),
            Route(name="stream", path_prefix="/stream", upstream="demo", plugins=["request_logger"]),
        ],
    )


def with_admin(config: Config) -> Resolved:
    """With the admin listener of commands that serve."""
    return resolve(config).with_admin()
