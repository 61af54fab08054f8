"""What a Blitz configuration says, as frozen values. No files, no environment: see ``load.py``.

Durations are float seconds and sizes int bytes here; ``units.py`` reads them from ``"5s"`` and
``"16MiB"``. Every default stands in this file with its reason, and so does the sentence that
describes each key: the JSON schema and ``docs/config.md`` are made from them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Literal

from msgspec import Meta, field

from blitz.config.acme_keys import Acme
from blitz.config.auth_keys import Auth
from blitz.config.plugin_keys import Plugin, PluginDefaults
from blitz.config.route_keys import Answer, Route
from blitz.config.upstream_keys import Upstream, UpstreamTls
from blitz.config.values import KIB, Count, FilePath, Level, Model, Seconds, Size, TrustedField

__all__ = [
    "Admin",
    "Answer",
    "Auth",
    "Certificate",
    "Config",
    "Http",
    "Limits",
    "Listener",
    "Log",
    "Plugin",
    "PluginDefaults",
    "Route",
    "Timeouts",
    "Tls",
    "Upstream",
    "UpstreamTls",
]


class Timeouts(Model, frozen=True):
    """How long each wait may last; `0` switches one off."""

    head: Annotated[
        Seconds, Meta(description="the whole request head, from its first byte: longer is a slow-loris")
    ] = 10.0
    handshake: Annotated[
        Seconds, Meta(description="a client's PROXY header and its whole TLS handshake: as long as a head")
    ] = 10.0
    body_idle: Annotated[Seconds, Meta(description="between two parts of a request body")] = 30.0
    body_grace: Annotated[
        Seconds,
        Meta(description="waiting for a request body in all, until `limits.min_body_rate` is asked for"),
    ] = 30.0
    keepalive: Annotated[Seconds, Meta(description="an idle client connection; nginx's value")] = 75.0
    connect: Annotated[
        Seconds, Meta(description="connect to an upstream, its TLS handshake included: three SYN retries")
    ] = 5.0
    first_byte: Annotated[
        Seconds,
        Meta(
            description="request sent to first byte of the answer; the value of nginx's `proxy_read_timeout`"
        ),
    ] = 60.0
    response_idle: Annotated[Seconds, Meta(description="between two parts of an answer's body")] = 60.0
    total: Annotated[
        Seconds, Meta(description="a whole exchange; off, because streams have no natural end")
    ] = 0.0
    chain: Annotated[
        Seconds,
        Meta(
            description="the plugins of one exchange together, as far as it waits for them: for a running "
            "guest or a free instance; over it the answer is 500 or 503, whatever their failure policies say"
        ),
    ] = 5.0
    collect: Annotated[
        Seconds,
        Meta(
            description="an answer's body held back for plugins that read it; after it they get what is "
            "there, as beyond `max_body`, and the rest streams past, but if one of them changes bodies the "
            "answer is 504; as long as `chain`: most bodies are there at once, and one that is not may be a "
            "stream"
        ),
    ] = 5.0
    send_idle: Annotated[
        Seconds,
        Meta(description="a peer that takes not one byte of what we send; one that takes some stays"),
    ] = 30.0
    tunnel_idle: Annotated[
        Seconds, Meta(description="a tunnel, such as a WebSocket, in which neither side says anything")
    ] = 300.0
    tunnel_silence: Annotated[
        Seconds,
        Meta(
            description="one side of a tunnel that says nothing while the other talks; an hour, because some "
            "only listen, and browsers answer pings"
        ),
    ] = 3600.0
    drain: Annotated[
        Seconds, Meta(description="what is in flight after SIGTERM, once new clients are taken no more")
    ] = 30.0
    drain_delay: Annotated[
        Seconds,
        Meta(
            description="after SIGTERM new clients are served for so long while `/readyz` already says 503: "
            "as long as the balancer in front needs to notice"
        ),
    ] = 0.0
    worker: Annotated[
        Seconds,
        Meta(
            description="a worker that says nothing to its parent is stopped, or its event loop spins: it is "
            "killed and replaced; at least 3 s; gunicorn's value"
        ),
    ] = 30.0


class Limits(Model, frozen=True):
    """Sizes and counts that a client or an upstream may reach; `0` switches one off where a bound is
    not vital."""

    max_head_size: Annotated[
        Size, Meta(ge=256, description="request or response head; Envoy's 60 KiB rounded up")
    ] = 64 * KIB
    max_line_size: Annotated[Size, Meta(ge=64, description="request line")] = 16 * KIB
    max_field_size: Annotated[Size, Meta(ge=64, description="one field line")] = 32 * KIB
    max_fields: Annotated[
        Count,
        Meta(ge=1, le=256, description="field lines of one head; the default of Envoy and Apache"),
    ] = 100
    max_chunk_line_size: Annotated[
        Size, Meta(ge=16, description="one chunk-size line with its extensions")
    ] = 4 * KIB
    max_trailer_size: Annotated[Size, Meta(description="the trailer section of a chunked body")] = 16 * KIB
    max_interim_responses: Annotated[Count, Meta(description="1xx answers before the final one")] = 10
    max_body_size: Annotated[Size, Meta(description="a whole request body; off: streams are the point")] = 0
    min_body_rate: Annotated[
        Size,
        Meta(
            description="bytes of a request body that a client must send per second, averaged over the time "
            "that it was waited for, after `timeouts.body_grace`; Kestrel's value, below any modem's"
        ),
    ] = 240
    max_connections: Annotated[Count, Meta(description="client connections of one worker")] = 10_000
    max_connections_per_address: Annotated[
        Count,
        Meta(
            description="client connections from one address; off: a NAT or a balancer looks like one client"
        ),
    ] = 0


class Listener(Model, frozen=True):
    """An element of `listen` that says more than an address: `listen = [":8080", { address = ":8443", tls =
    true }]`, or one `[[listen]]` for each."""

    address: Annotated[str, Meta(description='as in `listen`: `"127.0.0.1:8443"`, `":8443"`')]
    tls: Annotated[bool, Meta(description="connections are TLS, with the certificates of `[tls]`")] = False
    proxy_protocol: Annotated[
        bool,
        Meta(
            description="connections from `trusted_proxies` begin with a PROXY protocol header (version 1 or "
            "2), which names the client; those from anybody else begin as usual"
        ),
    ] = False
    name: Annotated[str, Meta(description="what routes call it in their own `listen`")] = ""


class Certificate(Model, frozen=True):
    """A certificate, chosen by the names in it; the first one serves clients that name no host, or one that
    no certificate has. Files that change are taken up without a restart."""

    cert: Annotated[FilePath, Meta(description="PEM: the certificate, then the chain that leads to a root")]
    key: Annotated[
        FilePath, Meta(description="PEM, without a passphrase; empty: it is in the same file as `cert`")
    ] = ""


class Tls(Model, frozen=True):
    """TLS to clients, on the listeners that say `tls = true`."""

    certs: list[Certificate] = field(default_factory=list)
    client_auth: Annotated[
        Literal["none", "optional", "require"],
        Meta(
            description="ask clients for a certificate: one that is shown must be valid; plugins read it as "
            "`tls.client_subject` and `tls.client_sha256`"
        ),
    ] = "none"
    client_ca: Annotated[FilePath, Meta(description="PEM: who signs clients' certificates")] = ""
    min_version: Annotated[
        Literal["1.2", "1.3"], Meta(description="older versions are broken (RFC 8996) and not offered")
    ] = "1.2"
    acme: Acme = Acme()


class Http(Model, frozen=True):
    """How HTTP/1 is read and passed on."""

    parser: Annotated[
        Literal["auto", "h11"],
        Meta(description="`auto`: the C scanner, and h11 for what it declines; `h11`: always h11"),
    ] = "auto"
    upgrades: Annotated[
        list[str],
        Meta(description="protocols that a client may switch to; other `Upgrade` fields are not passed on"),
    ] = field(default_factory=lambda: ["websocket"])
    forwarded: Annotated[
        Literal["x-forwarded", "forwarded", "both"],
        Meta(
            description="the fields that tell upstreams about the client: `X-Forwarded-For`, `-Proto` and "
            "`-Host`, or `Forwarded` (RFC 7239)"
        ),
    ] = "x-forwarded"
    request_id_header: Annotated[
        str,
        Meta(
            description="a field that tells plugins and upstreams the request's id, such as "
            '`"x-request-id"`; one that a client sends is replaced; empty: none'
        ),
    ] = ""


class Log(Model, frozen=True):
    """What is written where people look."""

    level: Annotated[
        Level,
        Meta(
            description="the gateway's own log on standard error; `QUIC_LOG` overrides it; `debug` and "
            "`trace` tell the way of each request, and turn the fast path off"
        ),
    ] = "info"
    format: Annotated[
        Literal["text", "json"],
        Meta(description="of the gateway's own log: lines to read, or a JSON object in each"),
    ] = "text"
    plugins: Annotated[
        Literal["trace", "debug", "info", "warn", "error", "off"],
        Meta(description="the lines that plugins write; `PLUGIN_LOG` overrides it"),
    ] = "info"
    access: Annotated[
        Literal["off", "json", "common", "combined"],
        Meta(
            description="one line per exchange on standard output; `json`: an object with all that is known, "
            "`common`: the Common Log Format and the request id, `combined`: the Combined Log Format, the "
            "request id and the rest as `name=value`; never Authorization, Cookie or other fields, but the "
            "target with its query; [operations.md](operations.md) explains the fields"
        ),
    ] = "off"


class Admin(Model, frozen=True):
    """Where operators look, and change what runs: [admin.md](admin.md)."""

    listen: Annotated[
        str,
        Meta(
            description='such as `"127.0.0.1:9900"`, or `"unix:/run/blitz/admin.sock"`, which only the user '
            "of the service may open; an address that other machines reach needs `token`; `off`: nowhere; "
            'left out: `"127.0.0.1:9900"` in `blitz run` and `blitz demo`, if it is free, where commands '
            "look for it, and nowhere else"
        ),
    ] = ""
    token: Annotated[
        str,
        Meta(
            description="all but `/livez` and `/readyz` wants it as `Authorization: Bearer ...`; at least 16 "
            'visible characters, best from the environment: `"${BLITZ_ADMIN_TOKEN}"`'
        ),
    ] = ""

    def __repr__(self) -> str:  # the token is a secret
        return f"Admin(listen={self.listen!r})"


class Config(Model, frozen=True):
    """The whole of `blitz.toml`."""

    include: Annotated[
        list[str],
        Meta(
            description="more files, such as `routes.d/*.toml`, beside this one: tables of the same name "
            "become one, lists go behind each other in the order of the files' names, and a key that two of "
            "them set is refused"
        ),
    ] = field(default_factory=list)
    listen: Annotated[
        list[str | Listener],
        Meta(
            min_length=1,
            description='`"127.0.0.1:8080"`, `"[::1]:8080"`, or `":8080"` for every interface; '
            "loopback, so that nothing is open by accident; a table says more",
        ),
    ] = field(default_factory=lambda: ["127.0.0.1:8080"])
    workers: Annotated[
        Annotated[int, Meta(ge=1, le=1024)] | Literal["auto"],
        Meta(
            description="processes; `auto`: one per CPU that this process may use, "
            "by its affinity and the quota of its control group"
        ),
    ] = 1
    plugin_dir: Annotated[
        FilePath, Meta(description="every `*.wasm` in it is a plugin; `PLUGIN_DIR` overrides it")
    ] = ""
    before_routing: Annotated[
        list[str] | None,
        Meta(
            description="plugins that run on every request before a route is chosen, and may change what it "
            "is chosen by (path, host); routes need not name them; left out: every plugin whose type is said "
            "to be `request_preprocessing`, which every route must then run; `[]`: none"
        ),
    ] = None
    trusted_proxies: Annotated[
        list[str],
        Meta(
            description='addresses and networks, such as `"10.0.0.0/8"`, whose word about the client is '
            "taken; anybody else's is dropped"
        ),
    ] = field(default_factory=list)
    trusted_field: Annotated[
        TrustedField,
        Meta(
            description="where trusted proxies write the client's address; the other field is dropped, "
            "because a proxy that does not know it lets a client's pass. Scheme and host come from the same "
            "field, or from `X-Forwarded-Proto` and `X-Forwarded-Host`: `wss` is https, and where several "
            "elements do not tell whose link is the client's, one that is secure counts"
        ),
    ] = "x-forwarded-for"
    tls: Tls = Tls()
    cache_dir: Annotated[
        FilePath,
        Meta(
            description="compiled plugins; native code, so nobody else may be able to write there; empty: "
            "`$XDG_CACHE_HOME/blitz` or `~/.cache/blitz`"
        ),
    ] = ""
    watch: Annotated[
        bool,
        Meta(
            description="reload when a file of the configuration changes, and when a `.wasm` or a manifest "
            "in `plugin_dir`, or of [[plugins]], comes, changes or goes; needs the package watchfiles. "
            "SIGHUP reloads in any case"
        ),
    ] = False
    timeouts: Timeouts = Timeouts()
    limits: Limits = Limits()
    http: Http = Http()
    log: Log = Log()
    admin: Admin = Admin()
    auth: dict[str, Auth] = field(default_factory=dict)
    upstreams: dict[str, Upstream] = field(default_factory=dict)
    plugin_defaults: PluginDefaults = PluginDefaults()
    plugins: list[Plugin] = field(default_factory=list)
    routes: list[Route] = field(default_factory=list)

    @classmethod
    def load(
        cls,
        path: str | Path | None,
        *,
        environ: Mapping[str, str] | None = None,
        overrides: Sequence[str] = (),
    ) -> Config:
        """Read a file, the environment and ``key=value`` overrides: see :func:`blitz.config.load_config`."""
        from blitz.config.load import load_config  # load.py builds on this module

        return load_config(path, environ=environ, overrides=overrides)
