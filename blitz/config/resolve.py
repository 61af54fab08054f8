"""Config -> Resolved: plugins found and merged, chains in order, addresses read.

For each setting of a plugin the order is: the operator's entry, the manifest, ``[plugin_defaults]``.
A manifest may ask for less than the defaults; for more it gets the defaults and a warning that says
what to write. Environment variables that it asks for are given only when the entry's ``env`` grants
them; one that it cannot run without, and that is not granted, is a problem.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from typing import Any, TypeVar

import msgspec

from blitz.config.addresses import Address, parse_address, parse_endpoint, parse_network
from blitz.config.check import build, nearest
from blitz.config.discover import Found, discover
from blitz.config.flatten import encode, flatten, merge
from blitz.config.manifest import SCHEMA, Manifest
from blitz.config.model import Config, Listener, Plugin, Route, Upstream
from blitz.config.origin import limit_origin
from blitz.config.positions import Path
from blitz.config.resolved import Resolved, ResolvedAdmin, ResolvedPlugin, ResolvedRoute, ResolvedUpstream
from blitz.config.rules import check_rules, is_address
from blitz.config.settings import read_settings
from blitz.config.source import Bad, Document
from blitz.config.units import format_duration, format_size
from blitz.config.values import PLUGIN_TYPES
from blitz.errors import ConfigError, ConfigProblem
from blitz.files import shown
from blitz.grants import BY_DEFAULT, CAPABILITIES, how_to_allow, how_to_grant, in_force

__all__ = ["resolve", "resolve_document"]

_T = TypeVar("_T")

PREPROCESSING = "request_preprocessing"
TYPE_STEP = 100  # between the places of two types, so that `order` can name a place between them


def resolve(config: Config, environ: Mapping[str, str] | None = None) -> Resolved:
    """Return what *config* means, however it was made.

    A Config that Python code made is checked here as thoroughly as a file; units may be strings.

    Args:
        config: from ``load_config`` or made by hand.
        environ: where granted variables are read; the process's own when None.
    Raises:
        ConfigError: with every problem.
    """
    document = Document(data=msgspec.to_builtins(config))
    checked = build(Config, document)
    check_rules(checked, document)
    resolved = resolve_document(checked, document, os.environ if environ is None else environ)
    if document.problems:
        raise ConfigError(document.problems)
    return resolved


def resolve_document(config: Config, document: Document, environ: Mapping[str, str]) -> Resolved:
    """Return the resolved form of *config*; its value means nothing if *document* has problems."""
    warnings: list[str] = []
    found, complete = discover(config, document)
    if config.plugin_dir and complete and not found and not config.plugins:
        warnings.append(f"plugin_dir {config.plugin_dir} holds no .wasm file")
    plugins = sorted(
        (_Merge(config, document, environ, item, warnings).plugin() for item in found), key=_place
    )
    before = _before_routing(config, document, plugins, complete)
    upstreams = {name: _upstream(name, upstream) for name, upstream in config.upstreams.items()}
    routes = []
    for index, route in enumerate(config.routes):
        if is_address(route.upstream) and route.upstream not in upstreams:
            upstreams[route.upstream] = _upstream(route.upstream, Upstream(endpoints=[route.upstream]))
        routes.append(_route(config, document, index, route, plugins, before, complete))
    trusted = tuple(_readable(parse_network, config.trusted_proxies))
    _warn_of_trust(config, trusted, warnings)
    _warn_of_unused(config, warnings)
    return Resolved(
        listen=tuple(_readable(_address, config.listen)),
        workers=_cpus() if config.workers == "auto" else config.workers,
        timeouts=config.timeouts,
        limits=config.limits,
        http=config.http,
        log=config.log,
        admin=_admin(config),
        upstreams=upstreams,
        plugins=tuple(plugins),
        before_routing=before,
        routes=tuple(routes),
        tls=config.tls,
        trusted_proxies=trusted,
        trusted_field=config.trusted_field,
        plugin_dir=config.plugin_dir,
        cache_dir=config.cache_dir,
        watch=config.watch,
        warnings=tuple(map(shown, warnings)),
    )


def _admin(config: Config) -> ResolvedAdmin:
    addresses = _readable(parse_address, [config.admin.listen]) if config.admin.listen else []
    return ResolvedAdmin(listen=addresses[0] if addresses else None, token=config.admin.token)


def _address(said: str | Listener) -> Address:
    if not isinstance(said, Listener):
        return parse_address(said)
    address = parse_address(said.address)
    return Address(address.host, address.port, said.tls, said.proxy_protocol)


def _warn_of_trust(config: Config, trusted: tuple[str, ...], warnings: list[str]) -> None:
    for network in trusted:
        if network.endswith("/0"):
            warnings.append(f"trusted_proxies has {network}: every client can say that it is any other")
    for name, upstream in config.upstreams.items():
        if not upstream.tls.verify:
            warnings.append(
                f"upstream {name}: verify = false accepts any certificate; "
                "name its authority in tls.ca instead"
            )


def _warn_of_unused(config: Config, warnings: list[str]) -> None:
    used = {route.upstream for route in config.routes}
    if any(name and name not in config.upstreams and not is_address(name) for name in used):
        return  # a name that is misspelt has been reported, and may be the one that is missing here
    for name in config.upstreams:
        if name not in used:
            warnings.append(f"upstream {name}: no route uses it; name it in one, or leave it out")


def _place(plugin: ResolvedPlugin) -> tuple[int, str]:
    """Where it stands in every chain: its own order, else its type's; equal places by name."""
    implied = PLUGIN_TYPES.index(plugin.type) * TYPE_STEP if plugin.type is not None else 0
    return (implied if plugin.order is None else plugin.order, plugin.name)


def _upstream(name: str, upstream: Upstream) -> ResolvedUpstream:
    return ResolvedUpstream(
        name=name,
        endpoints=tuple(_readable(parse_endpoint, upstream.endpoints)),
        max_connections=upstream.max_connections,
        max_idle=upstream.max_idle,
        idle_timeout=upstream.idle_timeout,
        max_age=upstream.max_age,
        host=upstream.host,
        tls=upstream.tls,
        reuse=upstream.reuse,
        proxy_protocol=upstream.proxy_protocol == "v2",
    )


def _before_routing(
    config: Config, document: Document, plugins: list[ResolvedPlugin], complete: bool
) -> tuple[str, ...]:
    """Names of the plugins that run before a route is chosen, in chain order.

    Where nobody says which, all of type request_preprocessing do. They run on every request then, so a route
    that leaves one out would not get what it says: that is refused, and not settled by running it later,
    because then a new route would change where the requests of all others go.
    """
    known = [plugin.name for plugin in plugins]
    said = config.before_routing
    if said is not None:
        _check_names(config, document, ("before_routing",), said, known, complete)
        return tuple(name for name in known if name in set(said))
    early = [plugin.name for plugin in plugins if plugin.type == PREPROCESSING]
    lists = [(index, route.plugins) for index, route in enumerate(config.routes) if route.plugins is not None]
    short = [index for index, names in lists if not set(early).issubset(names)]
    if short:
        left_out = [name for name in early if name not in (config.routes[short[0]].plugins or [])]
        rest = ", ".join(f'"{name}"' for name in early if name not in left_out)
        others = f" (and {len(short) - 1} more routes leave out some)" if len(short) > 1 else ""
        document.report(
            ("routes", short[0], "plugins"),
            f"leaves out {', '.join(left_out)}: plugins of type request_preprocessing run before a route is "
            f"chosen, so on every request; add what is missing, or write before_routing = [{rest}] at the "
            f"top: what it does not name runs behind routing, in the routes that list it{others}",
        )
    return tuple(early)


def _check_names(
    config: Config,
    document: Document,
    path: tuple[str | int, ...],
    names: Sequence[str],
    known: list[str],
    complete: bool,
) -> None:
    """Report those of *names*, the list at *path*, that are no plugins that run."""
    said = {plugin.name for plugin in config.plugins}  # one that is not known has been reported
    off = {plugin.name for plugin in config.plugins if not plugin.enabled}
    for position, name in enumerate(names):
        at = (*path, position)
        if name in off:
            document.report(at, f'"{name}" is switched off by `enabled = false` in its [[plugins]] entry')
        elif name and name not in known and name not in said and complete:
            hint = nearest(name, known) or "; there are no plugins: set plugin_dir or write [[plugins]]"
            document.report(at, f'no plugin is named "{name}"{hint}')


def _route(
    config: Config,
    document: Document,
    index: int,
    route: Route,
    plugins: list[ResolvedPlugin],
    before: tuple[str, ...],
    complete: bool,
) -> ResolvedRoute:
    known = [plugin.name for plugin in plugins]
    wanted = known if route.plugins is None else route.plugins
    _check_names(config, document, ("routes", index, "plugins"), wanted, known, complete)
    return ResolvedRoute(
        name=route.name or f"route-{index}",
        upstream=route.upstream,
        answer=route.answer,
        host=route.host.lower(),
        path_prefix=route.path_prefix.rstrip("/") or "/",
        plugins=(*before, *(name for name in known if name in set(wanted) and name not in before)),
    )


class _Merge:
    """Makes one ResolvedPlugin out of entry, manifest and defaults."""

    def __init__(
        self,
        config: Config,
        document: Document,
        environ: Mapping[str, str],
        found: Found,
        warnings: list[str],
    ) -> None:
        self.defaults = config.plugin_defaults
        self.document = document
        self.environ = environ
        self.found = found
        self.warnings = warnings
        self.entry = found.entry or Plugin(name=found.name)
        self.manifest = found.manifest or Manifest(schema=SCHEMA)
        self.origins: dict[str, str] = {}
        if found.stale:
            warnings.append(found.stale)
        elif found.manifest is None and found.entry is None:
            warnings.append(
                f"{found.file} has no manifest, so defaults apply; "
                f"write {found.name}.toml beside it to say more"
            )

    def plugin(self) -> ResolvedPlugin:
        entry, manifest, defaults = self.entry, self.manifest, self.defaults
        asked = manifest.limits
        config, values = self.config()
        return ResolvedPlugin(
            name=self.found.name,
            file=self.found.file,
            manifest=self.found.document.file,
            version=manifest.plugin.version,
            description=manifest.plugin.description,
            type=entry.type or manifest.plugin.type,
            order=entry.order if entry.order is not None else manifest.plugin.order,
            memory=self.bounded("memory", entry.memory, asked.memory, defaults.memory, format_size),
            timeout=self.bounded("timeout", entry.timeout, asked.timeout, defaults.timeout, format_duration),
            max_body=self.bounded("max_body", entry.max_body, asked.max_body, defaults.max_body, format_size),
            response_body=_first(entry.response_body, manifest.hooks.response_body, "full"),
            instances=_first(entry.instances, asked.instances, "pooled"),
            max_requests=_first(entry.max_requests, asked.max_requests, defaults.max_requests),
            max_instances=_first(entry.max_instances, None, defaults.max_instances),
            warm=_first(entry.warm, None, defaults.warm),
            rollback=_first(entry.rollback, None, defaults.rollback),
            failure=_first(entry.failure, manifest.failure.policy, "closed"),
            config=config,
            config_values=values,
            env=self.env(),
            grants=self.grants(),
            asks=self.asks() if self.found.manifest is not None else None,
            reroute=entry.reroute is True,
            namespace=self.namespace(),
            sha256=entry.sha256.lower(),
            manifest_sha256=self.found.document.sha256,
            bound_sha256=self.found.bound,
            origins=self.origins,
        )

    def bounded(self, key: str, said: Any, asked: Any, default: Any, show: Any) -> Any:
        """The operator's word; else what the manifest asks, up to the default."""
        source = "entry" if said is not None else "manifest"
        if said is None and (asked is None or asked > default):
            source = "defaults"
        found = self.found
        self.origins[key] = limit_origin(key, found.name, found.index, self.document, found.document, source)
        if asked is None or source != "defaults":
            return _first(said, asked, default)
        variable = self.document.variables.get(key, "")
        remedy = (
            f"raise {variable}, which overrides the keys of files"
            if variable
            else f'write {key} = "{show(asked)}" in its [[plugins]] entry'
        )
        self.warnings.append(
            f"plugin {found.name}: its manifest asks for {key} {show(asked)} and gets {show(default)}; "
            f"to give it more, {remedy}"
        )
        return default

    def config(self) -> tuple[bytes, dict[str, str]]:
        said = self.entry.config
        if self.manifest.config.keys and self.found.document.problems:
            return b"", {}  # what the keys mean is not known
        if self.manifest.config.keys:
            return self.encoded(read_settings(self.manifest.config.keys, *self.settings_said()))
        if isinstance(said, str) and said:
            return said.encode(), {}
        merged = merge(self.manifest.config.defaults, said if isinstance(said, dict) else {})
        if not merged and said == "":
            return b"", {}
        return self.encoded(merged)

    def settings_said(self) -> tuple[dict[str, Any], Document, Path]:
        """The operator's table as the file, the environment and ``--set`` have it, and where it stands."""
        if self.found.index < 0:
            return {}, self.document, ("plugins", self.found.name, "config")
        path = ("plugins", self.found.index, "config")
        raw = self.document.data["plugins"][self.found.index].get("config", "")
        if isinstance(raw, dict):
            return raw, self.document, path
        if isinstance(self.entry.config, dict):  # a table that --set spells
            return self.entry.config, self.document, path
        if self.entry.config:
            self.document.report(path, "expected a table: the plugin's manifest says which keys it has")
        return {}, self.document, path

    def encoded(self, merged: dict[str, Any]) -> tuple[bytes, dict[str, str]]:
        try:
            return encode(merged), flatten(merged)
        except ValueError as error:
            self.report(str(error), "config")
        except msgspec.MsgspecError as error:  # an integer that JSON readers cannot hold
            self.report(f"cannot be written as JSON: {error}", "config")
        return b"", {}

    def env(self) -> dict[str, str]:
        """Granted names that are set. What the manifest needs must be granted and set."""
        granted = self.entry.env
        asked = self.manifest.capabilities
        for index, name in enumerate(asked.env):
            if name not in granted:
                self.asked_in_vain(
                    ("env", index), f"environment variable {name}", self.to_write(f'env = ["{name}"]')
                )
            elif name not in self.environ:
                self.report(
                    f"needs the environment variable {name}, which is granted but not set; set it", "env"
                )
        if self.found.manifest is not None:
            for name in granted:
                if name not in (*asked.env, *asked.env_optional):
                    self.warnings.append(
                        f"plugin {self.found.name}: env grants {name}, which its manifest does not ask for"
                    )
        return {name: self.environ[name] for name in granted if name in self.environ}

    def asks(self) -> tuple[str, ...]:
        """What the manifest lets the module use: what it asks for, and what all have, unless it says no."""
        asked = self.manifest.capabilities
        return tuple(
            name
            for name in CAPABILITIES
            if (said := getattr(asked, name)) is True or (said is None and name in BY_DEFAULT)
        )

    def grants(self) -> tuple[str, ...]:
        """What is granted; all that the manifest asks for must be in it."""
        entry, defaults = self.entry, self.defaults
        granted = in_force(
            (_read(defaults.grant) or [], _read(defaults.deny) or []), (_read(entry.grant), _read(entry.deny))
        )
        asked = [name for name in CAPABILITIES if getattr(self.manifest.capabilities, name) is True]
        for name in asked:
            if name not in granted:
                self.not_granted(name, {*granted, *asked})
        if self.found.manifest is not None:
            for name in _read(entry.grant) or ():
                if name not in self.asks():
                    self.warnings.append(
                        f"plugin {self.found.name}: grant names {name}, which its manifest does not ask for"
                    )
        return granted

    def not_granted(self, name: str, wanted: set[str]) -> None:
        denied = name in BY_DEFAULT
        remedy = how_to_allow(self.found.name, name) if denied else how_to_grant(self.found.name, wanted)
        self.asked_in_vain((name,), CAPABILITIES[name], remedy, "denied" if denied else "not granted")

    def namespace(self) -> str:
        """The operator's word; a manifest that asks for another one than its own needs it."""
        asked, said = self.manifest.capabilities.namespace, self.entry.namespace
        if asked not in ("", self.found.name, said) and not isinstance(asked, Bad):
            self.asked_in_vain(
                ("namespace",), f"shared state of {asked}", self.to_write(f'namespace = "{asked}"')
            )
        return said

    def to_write(self, line: str) -> str:
        return f'to grant it, write {line} in its [[plugins]] entry (name = "{self.found.name}")'

    def asked_in_vain(
        self, where: tuple[str | int, ...], what: str, remedy: str, how: str = "not granted"
    ) -> None:
        file, line = self.found.document.where(("capabilities", *where))
        key = "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in where)
        self.document.problems.append(
            ConfigProblem(
                f"plugin {self.found.name} asks for the {what}, which is {how}; {remedy}",
                file=file,
                line=line,
                key=f"capabilities{key}",
            )
        )

    def report(self, message: str, key: str) -> None:
        if self.found.index >= 0:
            self.document.report(("plugins", self.found.index, key), message)
        else:
            self.document.problems.append(
                ConfigProblem(f"plugin {self.found.name}: {message}", file=self.found.document.file)
            )


def _first(said: _T | None, asked: _T | None, default: _T) -> _T:
    if said is not None:
        return said
    return default if asked is None else asked


def _read(names: Sequence[Any] | None) -> list[str] | None:
    """The names that are some; the others have been reported."""
    return None if names is None else [name for name in names if not isinstance(name, Bad)]


def _readable(read: Any, texts: Sequence[Any]) -> list[Any]:
    """The ones that can be read; the others have been reported."""
    made = []
    for text in texts:
        try:
            made.append(read(text))
        except ValueError:
            continue
    return made


def _cpus() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
