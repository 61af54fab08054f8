"""One plugin: the operator's entry, the manifest and ``[plugin_defaults]`` become one set of settings.

A manifest may ask for less than the defaults; for more it gets the defaults and a warning that says
what to write. Environment variables that it asks for are given only when the entry's ``env`` grants
them; one that it cannot run without, and that is not granted, is a problem.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, TypeVar

import msgspec

from blitz.config.discover import Found
from blitz.config.flatten import encode, flatten, merge
from blitz.config.manifest import SCHEMA, Manifest
from blitz.config.model import Config, Plugin
from blitz.config.origin import limit_origin
from blitz.config.positions import Path
from blitz.config.resolved import ResolvedPlugin
from blitz.config.settings import read_settings
from blitz.config.source import Bad, Document
from blitz.config.units import format_duration, format_size
from blitz.errors import ConfigProblem
from blitz.grants import BY_DEFAULT, CAPABILITIES, how_to_allow, how_to_grant, in_force

__all__ = ["PluginMerge"]

_T = TypeVar("_T")


class PluginMerge:
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
            wait_timeout=self.bounded(
                "wait_timeout", entry.wait_timeout, asked.wait_timeout, defaults.wait_timeout, format_duration
            ),
            upstreams=self.upstreams(),
            max_body=self.bounded("max_body", entry.max_body, asked.max_body, defaults.max_body, format_size),
            response_body=_first(entry.response_body, manifest.hooks.response_body, "full"),
            instances=_first(entry.instances, asked.instances, ""),
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
        if _holds_bad(merged):
            return b"", {}  # what is missing of it has been reported
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

    def upstreams(self) -> tuple[str, ...]:
        """Those that are granted. What the manifest needs must be."""
        granted = _read(self.entry.upstreams) or []
        for index, name in enumerate(_read(self.manifest.capabilities.upstreams) or ()):
            if name not in granted:
                wanted = self.to_write(f'upstreams = ["{name}"]')
                self.asked_in_vain(("upstreams", index), f"upstream {name}", wanted)
        return tuple(granted)

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


def _holds_bad(value: Any) -> bool:
    if isinstance(value, dict):
        return any(map(_holds_bad, value.values()))
    return any(map(_holds_bad, value)) if isinstance(value, list) else isinstance(value, Bad)


def _read(names: Sequence[Any] | None) -> list[str] | None:
    """The names that are some; the others have been reported."""
    return None if names is None else [name for name in names if not isinstance(name, Bad)]
