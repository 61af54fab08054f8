"""What a configuration must mean beyond its shape: names that exist, addresses, patterns, order of sizes.

Runs over a model whose wrong values are already :class:`Bad`, and passes over those. Needs no file:
what depends on the plugins themselves is in ``discover.py``.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from blitz.config.acme_rules import check_acme
from blitz.config.addresses import (
    MAX_SOCKET_PATH,
    Address,
    parse_address,
    parse_network,
)
from blitz.config.check import nearest
from blitz.config.field_names import NOT_OURS
from blitz.config.filter_rules import check_filters
from blitz.config.model import Config, Listener, PluginDefaults
from blitz.config.route_actions import check_actions
from blitz.config.route_answer import check_answer
from blitz.config.route_match import check_matches
from blitz.config.source import Bad, Document
from blitz.config.syntax import is_readable as _syntax
from blitz.config.units import format_duration, format_size
from blitz.config.upstream_rules import check_route_upstreams, check_upstreams
from blitz.grants import contradictions

__all__ = ["PLUGIN_NAME", "SHA256", "check_rules"]

PLUGIN_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,63}")
_SECRET = re.compile(r"[!-~]{16,}")
_ENV_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
SHA256 = re.compile(r"[0-9a-fA-F]{64}")
_PROTOCOL = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+(/[!#$%&'*+.^_`|~0-9A-Za-z-]+)?")  # RFC 9110 section 7.8
_TOKEN = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]{1,64}")
HTTP_NAMES = ("h2c", "h2", "h3", "http")


def check_rules(config: Config, document: Document) -> None:
    """Report what cannot run in *config*."""
    _listen(config, document)
    _tls(config, document)
    _limits(config, document)
    _admin(config, document)
    _upgrades(config, document)
    _request_id(config, document)
    check_upstreams(config, document)
    _plugins(config, document)
    _routes(config, document)
    check_filters(config, document)


def _listen(config: Config, document: Document) -> None:
    seen: list[tuple[str, Address]] = []
    for index, said in enumerate(config.listen):
        at: tuple[str | int, ...] = ("listen", index)
        text = said
        if isinstance(said, Listener):
            _listener(config, document, said, at)
            text, at = said.address, (*at, "address")
        assert isinstance(text, str)
        if not _syntax(document, parse_address, text, *at):
            continue
        address = parse_address(text)
        other = next((said for said, one in seen if one.takes_port_of(address)), None)
        if other is not None:
            document.report(at, _port_taken(text, address, other, parse_address(other)))
        else:
            seen.append((text, address))


def _port_taken(text: str, address: Address, other: str, taken: Address) -> str:
    if address.host == taken.host:
        return f'"{text}" is listed twice; leave one out'
    return f'"{text}" takes the port that "{other}" takes; leave one out, or choose another port'


def _listener(config: Config, document: Document, listener: Listener, at: tuple[str | int, ...]) -> None:
    first = next(said for said in config.listen if isinstance(said, Listener) and said.tls == listener.tls)
    if listener.tls and not config.tls.certs and not config.tls.acme.domains and listener is first:
        document.report(
            (*at, "tls"),
            "TLS needs a certificate; write [[tls.certs]] with `cert` and `key`, or `domains` in [tls.acme]",
        )
    if listener.proxy_protocol and not config.trusted_proxies:
        document.report(
            (*at, "proxy_protocol"),
            "PROXY headers are taken from trusted proxies only, and there are none; name them in "
            "`trusted_proxies`",
        )


def _tls(config: Config, document: Document) -> None:
    tls = config.tls
    check_acme(config, document)
    for index, network in enumerate(config.trusted_proxies):
        _syntax(document, parse_network, network, "trusted_proxies", index)
    for index, certificate in enumerate(tls.certs):
        if isinstance(certificate, Bad):
            continue
        if not certificate.cert and not isinstance(certificate.cert, Bad):
            document.report(("tls", "certs", index, "cert"), "`cert` is empty; name a PEM file")
    if tls.client_auth != "none" and not tls.client_ca and not isinstance(tls.client_ca, Bad):
        document.report(
            ("tls", "client_auth"),
            f'"{tls.client_auth}" needs `client_ca`, the authorities that sign clients\' certificates',
        )
    if tls.client_auth == "none" and tls.client_ca and not isinstance(tls.client_ca, Bad):
        document.report(
            ("tls", "client_ca"),
            'nobody is asked for a certificate; set client_auth = "optional" or "require"',
        )


def _admin(config: Config, document: Document) -> None:
    listen, token = config.admin.listen, config.admin.token
    if token and not isinstance(token, Bad) and not _SECRET.fullmatch(token):
        document.report(
            ("admin", "token"),
            "the token is shorter than 16 characters, or has one that is not visible ASCII; make one with "
            "`openssl rand -hex 16`",
        )
    if listen.startswith("unix:"):
        path = listen.removeprefix("unix:")
        if not path.startswith("/") or len(path.encode()) > MAX_SOCKET_PATH:
            document.report(
                ("admin", "listen"),
                f'"{listen}" is no Unix socket: write "unix:" and an absolute path of at most '
                f"{MAX_SOCKET_PATH} bytes",
            )
        return
    if listen in ("", "off") or not _syntax(document, parse_address, listen, "admin", "listen"):
        return
    address = parse_address(listen)
    if not address.is_loopback and not token:
        document.report(
            ("admin", "listen"),
            f'other machines reach "{listen}", and there is no token; set `token`, or listen on 127.0.0.1',
        )
    if any(_takes_port_of(said, address) for said in config.listen):
        document.report(("admin", "listen"), f'"{listen}" is in `listen` too; choose another port')


def _takes_port_of(said: str | Listener, address: Address) -> bool:
    try:
        return parse_address(said.address if isinstance(said, Listener) else said).takes_port_of(address)
    except ValueError:
        return False


def _limits(config: Config, document: Document) -> None:
    limits = config.limits
    said = document.data.get("limits")
    above = [
        name for name in ("max_line_size", "max_field_size") if getattr(limits, name) > limits.max_head_size
    ]
    if above and isinstance(said, dict) and not any(name in said for name in above):
        document.report(
            ("limits", "max_head_size"),
            f"{format_size(limits.max_head_size)} is less than {' and '.join(above)} are, which could "
            "never be reached; lower them too",
        )
        return
    for name in above:
        document.report(
            ("limits", name),
            f"{format_size(getattr(limits, name))} is more than max_head_size, "
            f"{format_size(limits.max_head_size)}, and could never be reached",
        )


def _upgrades(config: Config, document: Document) -> None:
    for position, name in enumerate(config.http.upgrades):
        if isinstance(name, Bad):
            continue
        if not _PROTOCOL.fullmatch(name):
            problem = f'"{name}" is not the name of a protocol; write one such as "websocket"'
        elif name.split("/")[0].lower() in HTTP_NAMES:
            problem = f'"{name}" is HTTP itself: a tunnel of it would pass every rule by; leave it out'
        else:
            continue
        document.report(("http", "upgrades", position), problem)


def _request_id(config: Config, document: Document) -> None:
    name = config.http.request_id_header
    if isinstance(name, Bad) or not name:
        return
    if not _TOKEN.fullmatch(name):
        document.report(("http", "request_id_header"), f'"{name}" is not the name of a field')
    elif name.lower() in NOT_OURS:
        document.report(
            ("http", "request_id_header"), f'"{name}" means something else; write such as "x-request-id"'
        )


def _plugins(config: Config, document: Document) -> None:
    seen: dict[str, int] = {}
    for index, plugin in enumerate(config.plugins):
        at = ("plugins", index)
        if not plugin.name and not plugin.file and not isinstance(plugin.name, Bad):
            document.report(at, "has neither `name` nor `file`; write which plugin it is about")
        elif plugin.name and not isinstance(plugin.name, Bad):
            if not PLUGIN_NAME.fullmatch(plugin.name):
                document.report(
                    (*at, "name"),
                    f'"{plugin.name}" is not a plugin name; use letters, digits, `_`, `-`, `.`, at most 64',
                )
            elif plugin.name in seen:
                document.report(
                    (*at, "name"),
                    f'"{plugin.name}" is also the name of plugins[{seen[plugin.name]}]; rename one',
                )
            seen.setdefault(plugin.name, index)
        namespace = plugin.namespace
        if namespace and not isinstance(namespace, Bad) and not PLUGIN_NAME.fullmatch(namespace):
            document.report(
                (*at, "namespace"),
                f'"{namespace}" is not a name; use letters, digits, `_`, `-`, `.`, at most 64',
            )
        for position, name in enumerate(plugin.env):
            if not isinstance(name, Bad) and not _ENV_NAME.fullmatch(name):
                document.report(
                    (*at, "env", position), f'"{name}" is not the name of an environment variable'
                )
        if plugin.sha256 and not isinstance(plugin.sha256, Bad) and not SHA256.fullmatch(plugin.sha256):
            document.report(
                (*at, "sha256"),
                "not a SHA-256 digest; write the 64 hex digits that `blitz plugin inspect` prints",
            )
        _grants(document, plugin.grant, plugin.deny, at)
        for position, name in enumerate(plugin.upstreams):
            _upstream_is_there(config, document, name, (*at, "upstreams", position))
        _timeout(config, document, plugin.timeout, (*at, "timeout"))
    _grants(document, config.plugin_defaults.grant, config.plugin_defaults.deny, ("plugin_defaults",))
    if config.plugin_defaults.timeout != PluginDefaults().timeout:  # nobody chose the default
        _timeout(config, document, config.plugin_defaults.timeout, ("plugin_defaults", "timeout"))


def _grants(
    document: Document, grant: Sequence[str] | None, deny: Sequence[str] | None, at: tuple[str | int, ...]
) -> None:
    for index, name in contradictions(grant or [], deny or []):
        document.report((*at, "deny", index), f'grant names "{name}"; grant it or deny it')


def _timeout(config: Config, document: Document, timeout: float | None, at: tuple[str | int, ...]) -> None:
    total = config.timeouts.total
    if timeout is not None and 0 < total < timeout:
        document.report(
            at,
            f"{format_duration(timeout)} is longer than timeouts.total, {format_duration(total)}, "
            "which ends the whole exchange; lower one or raise the other",
        )


def _once(document: Document, names: list[str], *at: str | int) -> None:
    """Report what the list of plugins at *at* names again."""
    for position, name in enumerate(names):
        if names.index(name) < position and not isinstance(name, Bad):
            document.report((*at, position), f'"{name}" is listed twice; a chain runs it once')


def _routes(config: Config, document: Document) -> None:
    _once(document, config.before_routing or [], "before_routing")
    names: dict[str, int] = {}
    for index, route in enumerate(config.routes):
        at = ("routes", index)
        check_route_upstreams(config, document, route, at)
        if route.answer is not None:
            check_answer(document, route.answer, (*at, "answer"))
        _once(document, route.plugins or [], *at, "plugins")
        if route.name and not isinstance(route.name, Bad):
            if route.name in names:
                document.report(
                    (*at, "name"),
                    f'"{route.name}" is also the name of routes[{names[route.name]}]; rename one',
                )
            names.setdefault(route.name, index)
    check_matches(config, document)
    check_actions(config, document)


def _upstream_is_there(config: Config, document: Document, name: str, at: tuple[str | int, ...]) -> None:
    if isinstance(name, Bad) or name in config.upstreams or document.is_bad("upstreams"):
        return
    known = nearest(name, list(config.upstreams)) or "; there is no [upstreams] table to name one in"
    document.report(at, f'no upstream is named "{name}"{known}')
