"""Look at plugin files without serving: does each of them load, and what is in one.

For ``blitz validate`` and ``blitz plugin inspect``, and for embedders. What is made here is gone when a
function returns.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from blitz.config import Document, Resolved, ResolvedPlugin
from blitz.config.binding import bind_manifest, bound_digest, why_not_for
from blitz.config.manifest import Build, Hooks, Manifest, find_manifest, read_manifest
from blitz.config.pin import bundle_digest
from blitz.errors import BlitzError, ConfigError, ConfigProblem, PluginLoadError
from blitz.files import shown
from blitz.grants import BY_DEFAULT
from blitz.server.auth_files import load_authenticators
from blitz.server.guests import probe
from blitz.server.loading import discard, load_plugin
from blitz.server.space import engine_for, engine_to_look
from blitz.server.tls import TlsFilesError, TlsSettings
from blitz.server.turns import GuestTurns
from blitz.wasm.abi import detect
from blitz.wasm.abi.blitz import MESSAGE_HOOKS
from blitz.wasm.abi.linkage import SHARED_FUNCTIONS, Plan
from blitz.wasm.cache import CompileCache, open_cache
from blitz.wasm.compile_process import Stop
from blitz.wasm.engine import Engine
from blitz.wasm.module import MemoryType, Module, spell_type
from blitz.wasm.pool import PluginPool

__all__ = [
    "Entry",
    "Inspection",
    "bind",
    "check_auth",
    "check_plugins",
    "check_tls",
    "inspect_plugin",
    "read_build",
]

# Word -> host functions that it stands for.
USES = {
    "body": ("get_body", "set_body"),
    "environment": ("get_env",),
    "config": ("get_config",),
    "shared state": SHARED_FUNCTIONS,
    "waiting": ("sleep_ms",),
    "upstreams": ("http_fetch",),
}
MADE = "# Made by `blitz plugin build` of"  # first line of manifests that we may write again
HOOKS = ("init", *MESSAGE_HOOKS, "process_end", "cleanup")


async def check_plugins(resolved: Resolved) -> list[tuple[ResolvedPlugin, BlitzError]]:
    """Load and start every plugin as a gateway would; return those that cannot run, each with why."""
    refused = []
    engine, _ = engine_for(resolved.plugins)
    cache = open_cache(resolved.cache_dir)
    try:
        for plugin in resolved.plugins:
            try:
                await _start(engine, plugin, cache)
            except BlitzError as error:
                refused.append((plugin, error))
    finally:
        engine.close()
    return refused


def check_tls(resolved: Resolved) -> list[tuple[tuple[str | int, ...], str]]:
    """Read every certificate, key and authority; return what cannot be used: (path of the key, sentence)."""
    try:
        TlsSettings.load(resolved)
    except TlsFilesError as error:
        return error.found
    return []


def check_auth(resolved: Resolved) -> list[ConfigProblem]:
    """Read every file of users and keys; return what cannot be used."""
    try:
        load_authenticators(resolved)
    except ConfigError as error:
        return error.problems
    return []


async def _start(engine: Engine, plugin: ResolvedPlugin, cache: CompileCache) -> None:
    """One plugin, one instance, and all of it freed again."""
    pool = PluginPool(await load_plugin(engine, plugin, "off", cache), engine.share(1))
    try:
        await probe(pool, GuestTurns())
    finally:
        discard([pool])


@dataclass(frozen=True, slots=True)
class Entry:
    """An import or an export; type in words, such as ``(i32, i32) -> i32``. module "" for an export."""

    module: str
    name: str
    type: str


@dataclass(frozen=True, slots=True)
class Inspection:
    """What is in a plugin file.

    Attributes:
        size: bytes of the file.
        sha256: hex digest of module and manifest together, as `sha256` of a `[[plugins]]` entry pins them.
        module_sha256, manifest_sha256: of each; "" where there is no manifest.
        refused: why it cannot run as a plugin, or "".
        abi, spelling: such as ``blitz/1`` and ``plain``; "" when refused.
        hooks: those of the Blitz hooks that it exports.
        uses: what it uses beyond the message's head: ``clock``, ``random``, ``gc``, ``body``,
            ``environment``, ``config``, ``shared state``. unasked: what of it the manifest had to ask for.
        memory_min, memory_max: bytes of linear memory that it declares; None for no maximum.
        manifest: path of the one beside it, or ""; asks: what that says.
        stale: why the manifest is not applied: it is another module's; or "".
        problems: what is wrong with the manifest.
    """

    file: str
    size: int
    sha256: str
    module_sha256: str
    manifest_sha256: str
    refused: str
    abi: str
    spelling: str
    hooks: tuple[str, ...]
    uses: tuple[str, ...]
    unasked: tuple[str, ...]
    imports: tuple[Entry, ...]
    exports: tuple[Entry, ...]
    memory_min: int
    memory_max: int | None
    manifest: str
    stale: str
    asks: Manifest | None
    problems: tuple[ConfigProblem, ...]


def read_build(manifest: Path) -> tuple[Build, list[ConfigProblem]]:
    """How *manifest* says that its plugin is made, and what is wrong with the file."""
    asks, document = read_manifest(manifest)
    return asks.build, document.problems


def bind(manifest: Path, output: Path, digest: str) -> tuple[Path, Hooks]:
    """Write *digest* into ``NAME.toml`` beside the module *output*; -> its path, what it says of hooks.

    Where that file is not *manifest* itself, it is made of it.

    Raises:
        ValueError: another manifest is there, or it cannot be written; in a sentence.
    """
    beside = output.with_suffix(".toml")
    try:
        text = manifest.read_text("utf-8-sig")
        if not (beside.exists() and beside.samefile(manifest)):
            if beside.exists() and not _may_replace(beside):
                if bound_digest(read_manifest(beside)[1]) == digest:
                    return beside, read_manifest(beside)[0].hooks  # the command wrote it
                raise ValueError(
                    f'it is not made of {manifest}; write sha256 = "{digest}" under its [plugin], or '
                    "delete it and build again"
                )
            text = f"{MADE} {manifest.name}: change that one.\n{text}"
        beside.write_text(bind_manifest(text, digest), "utf-8")
    except (OSError, ValueError) as error:
        raise ValueError(f"{beside}: the digest of the module was not written into it: {error}") from error
    return beside, read_manifest(beside)[0].hooks


def _may_replace(file: Path) -> bool:
    return file.is_file() and file.read_bytes().startswith(MADE.encode())


def inspect_plugin(file: str) -> Inspection:
    """Say what is in *file*, whether or not it can run.

    Raises:
        PluginLoadError: it cannot be read, or is not a WebAssembly module.
    """
    path = Path(file)
    beside = find_manifest(path)
    asks, document = None, Document()
    if beside is not None:
        asks, document = read_manifest(beside)
    stale = why_not_for(path, document, bound_digest(document))
    if stale:
        asks, document = None, Document(file=document.file, sha256=document.sha256)
    cache = open_cache("")
    source = cache.read(file, whole=True)
    assert source.content is not None
    engine = engine_to_look()
    try:
        module = cache.find(engine, source.digest, file) or cache.compile(engine, source, Stop())
        plan, refused = _plan(module)
        imports = tuple(Entry(one.module, one.name, spell_type(one.type)) for one in module.imports)
        exports = tuple(Entry("", one.name, spell_type(one.type)) for one in module.exports)
        memory = next((MemoryType.parse(one.type) for one in module.exports if one.type[:1] == "m"), None)
        module.close()
    finally:
        engine.close()
    names = {entry.name for entry in exports}
    return Inspection(
        file=shown(file),
        size=len(source.content),
        sha256=bundle_digest(source.digest, document.sha256),
        module_sha256=source.digest,
        manifest_sha256=document.sha256,
        refused=refused,
        abi=plan.abi if plan else "",
        spelling=plan.spelling if plan else "",
        hooks=tuple(hook for hook in HOOKS if hook in names),
        uses=_uses(plan) if plan else (),
        unasked=_unasked(plan, asks) if plan and asks else (),
        imports=imports,
        exports=exports,
        memory_min=memory.minimum_size if memory else 0,
        memory_max=memory.maximum_size if memory else None,
        manifest=shown(str(beside or "")),
        stale=shown(stale),
        asks=asks,
        problems=tuple(document.problems),
    )


def _plan(module: Module) -> tuple[Plan | None, str]:
    """How it would be driven, or why it cannot."""
    try:
        return detect(module), ""
    except PluginLoadError as error:
        return None, str(error)


def _uses(plan: Plan) -> tuple[str, ...]:
    found = [word for word, names in USES.items() if any(plan.calls(name) for name in names)]
    return (*plan.needs(), *found)


def _unasked(plan: Plan, asks: Manifest) -> tuple[str, ...]:
    """What it uses and the manifest does not let it."""
    free = {name for name in BY_DEFAULT if getattr(asks.capabilities, name) is None}
    return tuple(
        name for name in plan.needs() if name not in free and getattr(asks.capabilities, name) is not True
    )
