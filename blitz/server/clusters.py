"""From what a configuration says about an upstream to its cluster."""

from __future__ import annotations

import random
from typing import TYPE_CHECKING

import trio

from blitz.config.addresses import Endpoint as Said
from blitz.config.resolved import ResolvedUpstream
from blitz.routing.check import CheckState

from .cluster import Balancing, Cluster
from .endpoint import Endpoint, EndpointAddress
from .sticky import token_of

if TYPE_CHECKING:
    from .tls import ClientTls

__all__ = ["build_cluster", "build_endpoint", "is_name"]


def is_name(endpoint: Said) -> bool:
    """It may have several addresses, and others tomorrow. localhost has its own (RFC 6761 section 6.3)."""
    host = endpoint.host
    return bool(host) and host != "localhost" and ":" not in host and not host.replace(".", "").isdigit()


def build_cluster(upstream: ResolvedUpstream, tls: ClientTls | None) -> Cluster:
    """The cluster of *upstream*; *tls*: how https endpoints are spoken to."""
    outlier = upstream.outlier
    balancing = Balancing(
        lb=upstream.lb,
        hash=upstream.hash,
        sticky=upstream.sticky.cookie if upstream.sticky is not None else "",
        max_fails=outlier.max_fails,
        fail_duration=outlier.fail_duration,
        failures=upstream.failures,
        max_ejected=upstream.max_ejected,
        slow_start=outlier.slow_start,
    )
    endpoints = [
        build_endpoint(upstream, said, tls, weight)
        for said, weight in zip(upstream.endpoints, upstream.weights, strict=True)
    ]
    names = sum(map(is_name, upstream.endpoints)) if upstream.resolve_interval else 0
    return Cluster(upstream.name, endpoints, upstream.host, balancing, names=names)


def build_endpoint(
    upstream: ResolvedUpstream, said: Said, tls: ClientTls | None, weight: float, address: str = ""
) -> Endpoint:
    """One endpoint of *upstream*. *address*: of its name, to be used instead of that."""
    endpoint = Endpoint(
        EndpointAddress(address or said.host, said.port, said.path),
        upstream.max_connections,
        upstream.max_idle,
        upstream.idle_timeout,
        upstream.max_age,
        upstream=upstream.name,
        tls=tls if said.scheme == "https" else None,
        proxy_protocol=upstream.proxy_protocol,
        reuse=upstream.reuse,
        max_pending=upstream.max_pending,
        weight=weight,
        host=said.host if address else "",
    )
    sticky, health = upstream.sticky, upstream.health
    if sticky is not None:
        token = token_of(sticky.secret, upstream.name, str(endpoint.address))
        cookie = f"{sticky.cookie}={token}; Path=/; HttpOnly; SameSite=Lax"
        endpoint.set_token(token.encode(), cookie.encode())
    if health is not None:
        endpoint.check = CheckState(
            health.interval, health.rise, health.fall, trio.current_time(), random.random()
        )
    return endpoint
