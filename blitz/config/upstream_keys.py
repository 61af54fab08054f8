"""The keys of ``[upstreams.NAME]``, as frozen values. See ``model.py``."""

from __future__ import annotations

from typing import Annotated, Literal

from msgspec import Meta

from blitz.config.values import Count, FilePath, Model, Seconds

__all__ = ["Upstream", "UpstreamTls"]


class UpstreamTls(Model, frozen=True):
    """How `https://` endpoints are spoken to."""

    ca: Annotated[
        FilePath, Meta(description="PEM: the authorities to believe; empty: those of the system")
    ] = ""
    server_name: Annotated[
        str,
        Meta(description="the name to find in its certificate; empty: the endpoint's host"),
    ] = ""
    verify: Annotated[
        bool, Meta(description="`false` accepts any certificate: anybody on the way can read and change all")
    ] = True
    cert: Annotated[FilePath, Meta(description="PEM: our own certificate, for upstreams that want one")] = ""
    key: Annotated[FilePath, Meta(description="PEM: its key; empty: it is in the same file")] = ""


class Upstream(Model, frozen=True):
    """A cluster: a named group of endpoints that are interchangeable, tried in turn."""

    endpoints: Annotated[
        list[str],
        Meta(
            min_length=1,
            description='addresses such as `"http://10.0.0.5:9000"`, `"https://api.example.org"` or '
            '`"unix:/run/app.sock"`',
        ),
    ]
    max_connections: Annotated[
        Count,
        Meta(ge=1, description="per endpoint and worker; waiting for one is bounded by `timeouts.connect`"),
    ] = 1024
    max_idle: Annotated[Count, Meta(description="idle connections kept per endpoint and worker")] = 64
    idle_timeout: Annotated[
        Seconds, Meta(description="shorter than the 60 s that many servers keep an idle connection")
    ] = 55.0
    max_age: Annotated[
        Seconds,
        Meta(
            description="one that is older is not used again, so that a name that moved is followed; an "
            "exchange or tunnel on it ends first; five minutes, as long as many names may be remembered; "
            "`0`: no limit"
        ),
    ] = 300.0
    host: Annotated[str, Meta(description="the Host field to send; empty: the client's")] = ""
    tls: UpstreamTls = UpstreamTls()
    reuse: Annotated[
        bool | Literal["client"],
        Meta(
            description="who may use a connection again after an exchange: everybody, nobody (`false`), or "
            'only the client connection that it was opened for (`"client"`); on a shared one, an upstream '
            "that sends more than it was asked for answers whoever is next"
        ),
    ] = True
    proxy_protocol: Annotated[
        Literal["off", "v2"],
        Meta(
            description="begin each connection with a PROXY protocol header that names the client; "
            "connections are then used for one exchange only, because the next one may be another client's"
        ),
    ] = "off"
