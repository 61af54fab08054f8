"""The keys of ``[upstreams.NAME]``, as frozen values. See ``model.py``."""

from __future__ import annotations

from typing import Annotated, Literal

from msgspec import Meta, field

from blitz.config.values import Count, FilePath, Model, Seconds, Several

__all__ = ["Hash", "Health", "Outlier", "Sticky", "Upstream", "UpstreamTls", "WeightedEndpoint"]

Balancing = Literal["round_robin", "least_conn", "random_two", "hash"]


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


class WeightedEndpoint(Model, frozen=True):
    """An element of `endpoints` that says more than an address: `endpoints = ["http://a:9000", { url =
    "http://b:9000", weight = 3 }]`."""

    url: Annotated[str, Meta(description='as in `endpoints`: `"http://10.0.0.5:9000"`')]
    weight: Annotated[
        int, Meta(ge=1, le=1000, description="its share of the requests, beside the others' weights")
    ] = 1


class Hash(Model, frozen=True):
    """With `lb = "hash"`: what must be equal for two requests to go to the same endpoint."""

    on: Annotated[
        str,
        Meta(
            description='`"client"` (its address), `"header:NAME"`, `"cookie:NAME"` or `"path"` (without the '
            "query); a request that has none goes to the endpoint with the fewest exchanges"
        ),
    ] = "client"


class Sticky(Model, frozen=True):
    """A cookie that leads a client back to the endpoint that served it first. It says nothing about that; one
    that is not ours is ignored, and so is one for an endpoint that does not work."""

    cookie: Annotated[
        str, Meta(description='its name, such as `"srv"`; `HttpOnly`, `SameSite=Lax`, `Path=/`')
    ]
    secret: Annotated[
        str,
        Meta(
            description="at least 16 visible characters, the same in each of several gateways that take each "
            "other's cookies; empty: a random one until the gateway restarts"
        ),
    ] = ""

    def __repr__(self) -> str:  # the secret is one
        return f"Sticky(cookie={self.cookie!r})"


class Health(Model, frozen=True):
    """Each worker asks each endpoint by itself whether it is well, beside the traffic. One that is down is
    tried after those that are up."""

    uri: Annotated[str, Meta(description="path and query of the GET request")] = "/"
    interval: Annotated[
        Seconds, Meta(ge=0.1, description="between two questions, up to a tenth more or less; nginx's value")
    ] = 5.0
    timeout: Annotated[Seconds, Meta(gt=0, description="for the whole answer; longer is a failure")] = 1.0
    status: Annotated[
        str,
        Meta(description='what a well endpoint answers: `"2xx"`, `"204"`, `"200-399"`, with commas between'),
    ] = "2xx"
    rise: Annotated[Several, Meta(description="good answers in a row until one that was down is up")] = 2
    fall: Annotated[Several, Meta(description="failures in a row until one that was up is down")] = 3


class Outlier(Model, frozen=True):
    """Endpoints that fail at requests are left out for a while, whether or not there are health checks: they
    are tried after those that work. Each worker counts for itself."""

    max_fails: Annotated[
        Several,
        Meta(
            description="so many failures within `fail_duration`: no connection, one that ends before the "
            "answer, `timeouts.first_byte`, or one of `status`"
        ),
    ] = 1
    fail_duration: Annotated[
        Seconds,
        Meta(
            gt=0,
            description="failures count for so long, and so long is an endpoint left out; a second, so that "
            "one that restarts is soon back",
        ),
    ] = 1.0
    status: Annotated[
        list[str], Meta(description='answers that are failures: `["5xx"]`, `["502", "503"]`; none by default')
    ] = field(default_factory=list)
    max_ejected: Annotated[
        str, Meta(description="share of the endpoints that may be left out at once; one always may")
    ] = "100%"
    slow_start: Annotated[
        Seconds,
        Meta(description="an endpoint that is back gets its whole share after so long; `0`: at once"),
    ] = 0.0


class Upstream(Model, frozen=True):
    """A cluster: a named group of endpoints that are interchangeable."""

    endpoints: Annotated[
        list[str | WeightedEndpoint],
        Meta(
            min_length=1,
            description='addresses such as `"http://10.0.0.5:9000"`, `"https://api.example.org"` or '
            '`"unix:/run/app.sock"`; a table says more',
        ),
    ]
    lb: Annotated[
        Balancing,
        Meta(
            description="who gets the next request: in turn, by weight; the one with the fewest exchanges; "
            "the less busy of two at random; or by `hash`. Each worker counts for itself"
        ),
    ] = "round_robin"
    hash: Hash = Hash()
    sticky: Sticky | None = None
    health: Health | None = None
    outlier: Outlier = Outlier()
    resolve_interval: Annotated[
        Seconds,
        Meta(
            description="names of endpoints are asked for again so often, each of their addresses is an "
            "endpoint, and those that are gone finish what they have; `0`: each new connection asks, and "
            "uses the first address that answers, so that one which has moved (a container that was started "
            "again) is followed at once and not after an interval: write one for names with several addresses"
        ),
    ] = 0.0
    max_pending: Annotated[
        Count,
        Meta(
            description="requests per endpoint and worker that wait for one of `max_connections`; the next "
            "is tried elsewhere, or answered with 503 at once; as many as connections; `0`: any number"
        ),
    ] = 1024
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
