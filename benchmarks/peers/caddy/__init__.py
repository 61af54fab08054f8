"""Caddy: plain. Its modules are compiled into it, so it has no part in the plugin jobs."""

from __future__ import annotations

from pathlib import Path

from ...harness.peer import Peer, Setup, argv
from ...harness.site import lay_site

__all__ = ["PEERS"]

_CONF = (Path(__file__).parent / "Caddyfile").read_text()
_RUN = argv("@program@ run --adapter caddyfile --config @folder@/Caddyfile")

_PROXY = """reverse_proxy 127.0.0.1:@origin@ {
		transport http {
			keepalive_idle_conns_per_host 256
		}
	}"""


def _setup(handler: str) -> Setup:
    return Setup(_RUN, {"Caddyfile": _CONF.replace("@handler@", handler)})


_STATIC = Setup(_RUN, _setup("root * @folder@/www\n\tfile_server").files, lay_site)


PEERS = [
    Peer(
        name="caddy",
        program="caddy",
        version=argv("@program@ version"),
        jobs={"fixed": _setup(f'respond "{"o" * 128}"'), "proxy": _setup(_PROXY), "static": _STATIC},
        cannot={"plugin": "its modules are compiled in, it loads no plugin code"},
        # One core is what it gets; Go would start a thread per core it sees.
        env={"GOMAXPROCS": "1", "XDG_DATA_HOME": "@folder@", "XDG_CONFIG_HOME": "@folder@"},
    ),
]
