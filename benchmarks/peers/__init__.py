"""Every peer, in the order of the report. A peer is a folder here: its configuration and a list PEERS."""

from __future__ import annotations

from ..harness.peer import Peer
from .asgi import PEERS as _ASGI
from .blitz import PEERS as _BLITZ
from .caddy import PEERS as _CADDY
from .haproxy import PEERS as _HAPROXY
from .nginx import PEERS as _NGINX
from .traefik import PEERS as _TRAEFIK
from .workerd import PEERS as _WORKERD

__all__ = ["ABSENT", "PEERS"]

PEERS: list[Peer] = [*_BLITZ, *_NGINX, *_HAPROXY, *_CADDY, *_WORKERD, *_TRAEFIK, *_ASGI]

# Peers that belong beside Blitz and cannot be had where this suite installs from.
ABSENT = {
    "envoy + proxy-wasm": "in none of Debian, npm, PyPI; not buildable here in reasonable time",
    "kong, apisix": "not in Debian; nginx + lua stands for their engine",
}
