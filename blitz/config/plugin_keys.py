"""The keys of ``[plugin_defaults]`` and ``[[plugins]]``, as frozen values. See ``model.py``."""

from __future__ import annotations

from typing import Annotated, Any

from msgspec import Meta, field

from blitz.config.values import (
    MIB,
    Body,
    CallTime,
    Capability,
    Count,
    Failure,
    FilePath,
    Instances,
    Memory,
    Model,
    PluginType,
    Several,
    Size,
)

__all__ = ["Plugin", "PluginDefaults"]


class PluginDefaults(Model, frozen=True):
    """What a plugin may use where its `[[plugins]]` entry says nothing. A manifest may ask for less;
    for more, the operator writes it in `[[plugins]]`."""

    memory: Annotated[
        Memory, Meta(description="linear memory of one instance; `PLUGIN_MEMORY_LIMIT` overrides it")
    ] = 16 * MIB
    timeout: Annotated[CallTime, Meta(description="one call of one hook; `PLUGIN_TIMEOUT` overrides it")] = (
        1.0
    )
    wait_timeout: Annotated[
        CallTime,
        Meta(
            description="what one call of one hook may wait for outside, in `sleep_ms` and `http_fetch`, all "
            "together; neither `timeout` nor `timeouts.chain` counts it. As long as `timeouts.connect`: "
            "a plugin that waits for longer has asked somebody who does not answer"
        ),
    ] = 5.0
    max_body: Annotated[
        Size,
        Meta(
            description="what is collected for `get_body` and `process_response`; and what `set_chunk` may "
            "give back for one part of a body, 64 KiB at least"
        ),
    ] = MIB
    max_requests: Annotated[
        Several, Meta(description="calls before a pooled instance is replaced: bounds slow leaks in guests")
    ] = 10_000
    max_instances: Annotated[Several, Meta(description="per worker; a further exchange waits for one")] = 256
    warm: Annotated[
        Count,
        Meta(
            description="instances that each worker starts before the first request and keeps when idle; "
            "further ones end after 10 s without a call"
        ),
    ] = 1
    grant: Annotated[
        list[Capability],
        Meta(
            description="what a plugin may use beyond the message in hand and what all have, a clock of "
            "milliseconds (`clock`) and random bytes (`random`): Wasm GC, exceptions and typed function "
            "references (`gc`), whose values live in a second heap that may be as large as `memory`; a clock "
            "of nanoseconds (`fine_clock`). One that uses more does not load. Variables and other plugins' "
            "shared state are only granted one by one. `PLUGIN_GRANT` overrides it"
        ),
    ] = field(default_factory=list)
    deny: Annotated[
        list[Capability],
        Meta(
            description='what a plugin may not use though all have it: `["clock"]`, `["clock", "random"]`; '
            "one that needs it does not load; what a plugin's own entry grants, it has. `PLUGIN_DENY` "
            "overrides it"
        ),
    ] = field(default_factory=list)
    rollback: Annotated[
        bool,
        Meta(
            description="when a plugin that a reload brought is put in quarantine for failing, the version "
            "before it returns by itself; off: an older version may have the hole that the newer one closed"
        ),
    ] = False


class Plugin(Model, frozen=True):
    """What the operator says of one plugin: a file of its own, or an entry for a plugin that
    `plugin_dir` holds. A key that is left out comes from the manifest beside the file, else from
    `[plugin_defaults]`."""

    name: Annotated[
        str,
        Meta(
            description="as routes, logs and metrics call it; empty: the name in the manifest of `file`, "
            "else its file name without `.wasm`"
        ),
    ] = ""
    file: Annotated[
        FilePath, Meta(description="the `.wasm`; empty: the one of that name in `plugin_dir`")
    ] = ""
    enabled: Annotated[bool, Meta(description="`false` leaves a discovered plugin out")] = True
    type: Annotated[
        PluginType | None,
        Meta(
            description="its place in the default order of a chain: request_preprocessing, authentication, "
            "request_transformation, response_transformation, observability; where nobody says, it stands "
            "first, and runs behind routing. See `before_routing` for request_preprocessing"
        ),
    ] = None
    order: Annotated[
        int | None,
        Meta(
            description="a place of its own, smaller runs earlier, on the scale where the types stand at "
            "0, 100, 200, 300 and 400; equal places go by name"
        ),
    ] = None
    memory: Annotated[Memory | None, Meta(description="see `plugin_defaults.memory`")] = None
    timeout: Annotated[CallTime | None, Meta(description="see `plugin_defaults.timeout`")] = None
    wait_timeout: Annotated[CallTime | None, Meta(description="see `plugin_defaults.wait_timeout`")] = None
    upstreams: Annotated[
        list[str],
        Meta(
            description="names in `[upstreams]` to which the plugin may send requests of its own "
            "(`http_fetch`): its grant; `[]`: none"
        ),
    ] = field(default_factory=list)
    max_body: Annotated[Size | None, Meta(description="see `plugin_defaults.max_body`")] = None
    max_requests: Annotated[Several | None, Meta(description="see `plugin_defaults.max_requests`")] = None
    max_instances: Annotated[Several | None, Meta(description="see `plugin_defaults.max_instances`")] = None
    warm: Annotated[Count | None, Meta(description="see `plugin_defaults.warm`")] = None
    rollback: Annotated[bool | None, Meta(description="see `plugin_defaults.rollback`")] = None
    grant: Annotated[list[Capability] | None, Meta(description="see `plugin_defaults.grant`")] = None
    deny: Annotated[list[Capability] | None, Meta(description="see `plugin_defaults.deny`")] = None
    reroute: Annotated[
        bool,
        Meta(
            description="it may change a request's path or host so that another route serves it, once that "
            "route's plugins have run too; else such a request ends with 500. A manifest cannot say this"
        ),
    ] = False
    namespace: Annotated[
        str,
        Meta(
            description="where its shared state (rates, values) is kept: plugins that name the same one "
            "share it; empty: its own, which nobody else gets at unless a `namespace` says so"
        ),
    ] = ""
    response_body: Annotated[
        Body | None,
        Meta(
            description="`none`: `process_response` gets an empty body and nothing is collected; else `full`"
        ),
    ] = None
    instances: Annotated[
        Instances | None,
        Meta(
            description="one per exchange from a pool (`pooled`), a fresh one each, or one per worker. Where "
            "nobody says it: `per-request` for a plugin that sees parts of bodies, since its memory holds "
            "what they have left there; else `pooled`"
        ),
    ] = None
    failure: Annotated[
        Failure | None,
        Meta(description="an error of the plugin answers 500 (`closed`), or the plugin is skipped (`open`)"),
    ] = None
    config: Annotated[
        dict[str, Any] | str,
        Meta(
            description="what `get_config` gives: JSON for a table, a string as it is; "
            '`get_property("config.<key>")` gives one value'
        ),
    ] = ""
    env: Annotated[
        list[str], Meta(description="the environment variables that the plugin may read: its grant")
    ] = field(default_factory=list)
    sha256: Annotated[
        str,
        Meta(
            description="pin: refuse any other module or manifest. The digest of both, as `blitz plugin "
            "inspect` prints it: the module's own where no manifest lies beside it, else that of "
            "`{ sha256sum < NAME.wasm; sha256sum < NAME.toml; } | sha256sum`",
            extra_json_schema={"pattern": "^([0-9a-fA-F]{64})?$"},
        ),
    ] = ""

    def __repr__(self) -> str:  # config may hold secrets
        return f"Plugin(name={self.name!r}, file={self.file!r})"
