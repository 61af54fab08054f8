"""The configurations that cases are played with."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from blitz.config import (
    Answer,
    Certificate,
    Config,
    Http,
    Limits,
    Listener,
    Log,
    Route,
    Timeouts,
    Tls,
    Upstream,
)
from blitz.config.route_keys import Redirect

from .filters import SLOW, auths, of_route, of_upstream
from .guests import plugin

__all__ = ["PLAIN", "TIMED", "Setting"]

TIMED_WAITS = ("head", "body_idle", "first_byte", "response_idle", "keepalive", "send_idle")


@dataclass(frozen=True)
class Setting:
    """
    Attributes:
        timeouts, http: settings of these sections, as pairs.
        plugins: kinds of ``GUESTS``, in order; their names are a, b, c.
        endpoints: how many the upstream has.
        trusted: what clients say about who they are is believed.
        by_path: other routes beside the one that serves all: one answers by itself, one has no plugins, one
            has another host.
        before: how many of the plugins run before routing.
        filters: of ``FILTERS``: in front of all that goes to the upstream; there is a route that redirects,
            and the route without plugins has none of those that take a route off the fast path.
    """

    timeouts: tuple[tuple[str, float], ...] = ()
    http: tuple[tuple[str, Any], ...] = ()
    plugins: tuple[str, ...] = ()
    endpoints: int = 1
    trusted: bool = False
    by_path: bool = False
    access: str = "json"
    max_body: int = 0
    before: int = 0
    filters: tuple[str, ...] = ()

    @property
    def may_be_fast(self) -> bool:
        """Nothing in front of the upstream keeps the route of all off the fast path."""
        return not self.plugins and not set(SLOW) & set(self.filters)

    def config(self, ports: list[int], certificate: str, copies: int = 0) -> Config:
        """For upstreams on *ports*; clients speak TLS if there is a *certificate*; *copies*: the port of the
        mirror."""
        listener = Listener(address="127.0.0.1:0", tls=True) if certificate else Listener("127.0.0.1:0")
        names = [plugin("abc"[at], kind, at) for at, kind in enumerate(self.plugins)]
        return Config(
            listen=[listener],
            tls=Tls(certs=[Certificate(cert=certificate)]) if certificate else Tls(),
            plugins=names,
            before_routing=[each.name for each in names[: self.before]],
            routes=[*self._other_routes(), Route(upstream="main", name="all", **of_route(self.filters))],
            upstreams=self._upstreams(ports, copies),
            auth=auths(self.filters),
            timeouts=Timeouts(**dict(self.timeouts)),
            limits=Limits(**({"max_body_size": self.max_body} if self.max_body else {})),
            http=Http(**dict(self.http)),
            log=Log(access=self.access),  # type: ignore[arg-type]
            trusted_proxies=["127.0.0.0/8"] if self.trusted else [],
        )

    def _upstreams(self, ports: list[int], copies: int) -> dict[str, Upstream]:
        endpoints = [f"http://127.0.0.1:{port}" for port in ports]
        upstreams = {"main": Upstream(endpoints=list(endpoints), **of_upstream(self.filters))}
        if "mirror" in self.filters:
            upstreams["copies"] = Upstream(endpoints=[f"http://127.0.0.1:{copies}"])
        return upstreams

    def _other_routes(self) -> list[Route]:
        routes = []
        if "redirect" in self.filters:
            moved = Redirect(path="/there${path.rest}", status=307)
            routes.append(Route(name="moved", path_prefix="/moved", redirect=moved))
        if self.by_path:
            fast = tuple(name for name in self.filters if name not in SLOW)
            routes += [
                Route(name="fixed", path_prefix="/fixed", answer=Answer(404, "none here")),
                Route(name="bare", path_prefix="/bare", upstream="main", plugins=[], **of_route(fast)),
                Route(name="host", host="other.test", upstream="main"),
            ]
        return routes


PLAIN = Setting()
TIMED = Setting(timeouts=tuple((wait, 1.0) for wait in TIMED_WAITS))
