"""The manifest beside a plugin: what its author says of it, and what it asks for.

``<stem>.toml`` beside ``<stem>.wasm``, or ``blitz-plugin.toml`` in a directory that holds one
``.wasm``. It comes with the plugin, so it is not trusted: it asks, ``[[plugins]]`` grants. Nothing in
it is expanded from the environment.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated, Any, Literal

from msgspec import Meta, field

from blitz.config.check import build
from blitz.config.document import read_document
from blitz.config.rules import SHA256
from blitz.config.settings import ConfigKey, check_keys
from blitz.config.source import Document
from blitz.config.values import Body, CallTime, Failure, Instances, Memory, Model, PluginType, Several, Size
from blitz.files import MANIFEST

__all__ = ["SCHEMA", "Manifest", "find_manifest", "read_manifest"]

SCHEMA = 1
SHARED_NAME = "blitz-plugin.toml"


class About(Model, frozen=True):
    """Who it is."""

    name: Annotated[str, Meta(description="empty: the file name without `.wasm`")] = ""
    version: Annotated[str, Meta(description="of the plugin")] = ""
    abi: Annotated[Literal["", "blitz/1"], Meta(description="empty: found out from the file")] = ""
    sha256: Annotated[
        str,
        Meta(
            description="of the module that it is for, as `blitz plugin build` writes it; beside another "
            "one it is not applied. Empty: it is for whatever lies beside it"
        ),
    ] = ""
    license: Annotated[str, Meta(description="SPDX expression")] = ""
    description: Annotated[str, Meta(description="one line")] = ""
    type: Annotated[PluginType | None, Meta(description="its place in the default order of a chain")] = None
    order: Annotated[int | None, Meta(description="a place of its own, as in `[[plugins]]`")] = None


class Build(Model, frozen=True):
    """How to make the `.wasm`: what `blitz plugin build` runs."""

    command: Annotated[str, Meta(description="run in the manifest's directory, without a shell")] = ""
    output: Annotated[str, Meta(description="what it makes, relative to the manifest")] = ""


class Hooks(Model, frozen=True):
    """What its hooks need."""

    response_body: Annotated[
        Body | None, Meta(description="`none`: `process_response` does not look at the body")
    ] = None


class AskedLimits(Model, frozen=True):
    """What it needs to run. More than `[plugin_defaults]` allows is not given."""

    memory: Annotated[Memory | None, Meta(description="linear memory of one instance")] = None
    timeout: Annotated[CallTime | None, Meta(description="one call of one hook")] = None
    wait_timeout: Annotated[
        CallTime | None, Meta(description="what one call of one hook waits for outside")
    ] = None
    max_body: Annotated[Size | None, Meta(description="what is collected of a body")] = None
    instances: Annotated[
        Instances | None, Meta(description="`pooled`, `per-request` or `single`, as in `[[plugins]]`")
    ] = None
    max_requests: Annotated[Several | None, Meta(description="calls before an instance is replaced")] = None


class AskedFailure(Model, frozen=True):
    """What an error of the plugin means."""

    policy: Annotated[Failure | None, Meta(description="`closed`: 500; `open`: skipped")] = None


class Capabilities(Model, frozen=True):
    """What it uses beyond the message in hand. What it asks for must be granted, and what it uses it must ask
    for, but for the clock and random bytes, which it may leave out; else it does not load."""

    clock: Annotated[
        bool | None,
        Meta(
            description="the time of day: `now_ms`, and WASI's `clock_time_get` and `clock_res_get`; "
            "`false`: it uses none"
        ),
    ] = None
    random: Annotated[
        bool | None,
        Meta(description="random bytes: `random`, and WASI's `random_get`; `false`: it uses none"),
    ] = None
    fine_clock: Annotated[
        bool, Meta(description="WASI's clock in nanoseconds; without it, it counts milliseconds")
    ] = False
    gc: Annotated[
        bool, Meta(description="Wasm GC, exceptions and typed function references; its heap counts apart")
    ] = False
    namespace: Annotated[
        str, Meta(description="shared state (rates, values) under another name than its own; empty: its own")
    ] = ""
    upstreams: Annotated[
        list[str], Meta(description="upstreams, by name, that it cannot run without sending requests to them")
    ] = field(default_factory=list)
    env: Annotated[list[str], Meta(description="environment variables it cannot run without")] = field(
        default_factory=list
    )
    env_optional: Annotated[list[str], Meta(description="environment variables it can use")] = field(
        default_factory=list
    )


class ManifestConfig(Model, frozen=True):
    """Its configuration."""

    keys: Annotated[
        dict[str, ConfigKey],
        Meta(description="what the operator may write under `config`, and nothing else"),
    ] = field(default_factory=dict)
    defaults: Annotated[
        dict[str, Any],
        Meta(description="merged under the operator's `config`, unchecked: for one without `keys`"),
    ] = field(default_factory=dict)


class Manifest(Model, frozen=True):
    """The whole of a manifest."""

    schema: Annotated[int, Meta(description="version of this format: 1")]
    plugin: About = About()
    build: Build = Build()
    hooks: Hooks = Hooks()
    limits: AskedLimits = AskedLimits()
    failure: AskedFailure = AskedFailure()
    capabilities: Capabilities = Capabilities()
    config: ManifestConfig = ManifestConfig()


def find_manifest(wasm: Path) -> Path | None:
    """The manifest that belongs to *wasm*, if there is one.

    Whatever has its name is the manifest: one that cannot be read (a FIFO, a link to nothing) is to be
    refused, since without it the plugin would run with other settings.
    """
    if not wasm.name:  # "/", say
        return None
    own = wasm.with_suffix(".toml")
    if os.path.lexists(own) and own != wasm:  # or somebody took the one for the other
        return own
    shared = wasm.parent / SHARED_NAME
    if os.path.lexists(shared) and len(_modules(wasm.parent)) == 1:
        return shared
    return None


def _modules(directory: Path) -> list[Path]:
    """Hidden ones are somebody's half-written ones."""
    return [path for path in directory.glob("*.wasm") if not path.name.startswith(".")]


def read_manifest(path: Path) -> tuple[Manifest, Document]:
    """Read one manifest; what is wrong with it is in the document's problems."""
    document = read_document(str(path), MANIFEST)
    newer = document.data.get("schema")
    if isinstance(newer, int) and newer != SCHEMA:
        document.report(("schema",), f"this Blitz reads manifests of schema {SCHEMA}, this one is {newer}")
        document.data = {"schema": SCHEMA}
    if document.problems:
        return Manifest(schema=SCHEMA), document
    manifest = build(Manifest, document)
    if not document.problems:
        _check(manifest, document)
    return manifest, document


def _check(manifest: Manifest, document: Document) -> None:
    """What the shape does not say."""
    check_keys(manifest.config.keys, document)
    if manifest.config.keys and manifest.config.defaults:
        document.report(("config", "defaults"), "stands beside `keys`; write each as `default` of its key")
    if manifest.plugin.sha256 and not SHA256.fullmatch(manifest.plugin.sha256):
        document.report(("plugin", "sha256"), "expected the 64 hex digits of the module's SHA-256")
