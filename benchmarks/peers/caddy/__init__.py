"""Caddy: plain. Its modules are compiled into it, so it has no part in the plugin jobs."""

from __future__ import annotations

from pathlib import Path

from ...harness.check import ELSEWHERE, NETWORKS
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


_FOUR = "@origin@ 127.0.0.2:@origin@ 127.0.0.3:@origin@ 127.0.0.4:@origin@ {\n\t\tlb_policy least_conn"
_EDITS = """
		header_up X-Client {remote_host}
		header_up X-Path {path}
		header_up -X-Drop
		header_down X-Gateway bench
		header_down -Server
		transport http {"""


def _setup(handler: str) -> Setup:
    return Setup(_RUN, {"Caddyfile": _CONF.replace("@handler@", handler)})


_STATIC = Setup(_RUN, _setup("root * @folder@/www\n\tfile_server").files, lay_site)


PEERS = [
    Peer(
        name="caddy",
        program="caddy",
        version=argv("@program@ version"),
        jobs={
            "fixed": _setup(f'respond "{"o" * 128}"'),
            "proxy": _setup(_PROXY),
            "gzip": _setup("encode {\n\t\tgzip 1\n\t}\n\t" + _PROXY),
            "redirect": _setup(f"redir {ELSEWHERE}{{uri}} 308"),
            "header-edits": _setup(_PROXY.replace("\n\t\ttransport http {", _EDITS)),
            "ip-allow": _setup(f"@others not remote_ip {' '.join(NETWORKS)}\n\tabort @others\n\t{_PROXY}"),
            "static": _STATIC,
            "least-conn": _setup(_PROXY.replace("@origin@ {", _FOUR)),
        },
        cannot={"plugin": "its modules are compiled in, it loads no plugin code"},
        # One core is what it gets; Go would start a thread per core it sees.
        env={"GOMAXPROCS": "1", "XDG_DATA_HOME": "@folder@", "XDG_CONFIG_HOME": "@folder@"},
    ),
]
