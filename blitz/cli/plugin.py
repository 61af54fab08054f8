"""``blitz plugin``: commands for people who write or judge plugins."""

from __future__ import annotations

import shlex
import subprocess
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

import click

from blitz.cli.output import EXIT_BAD_INPUT, EXIT_FAILED, fail_on_errors, print_json, refuse
from blitz.config import format_duration, format_size
from blitz.errors import ConfigProblem
from blitz.text import one_line

if TYPE_CHECKING:
    from blitz.examine import Inspection

__all__ = ["plugin"]

BAD = ("refused", "problem")  # rows in red


@click.group()
def plugin() -> None:
    """Look at plugin files, and build them."""


@plugin.command(short_help="Show what is in a .wasm and what it asks for.")
@click.argument("file")
@click.option("--json", "as_json", is_flag=True, help="Print it as JSON.")
def inspect(file: str, as_json: bool) -> None:
    """Show what is in FILE: ABI, hooks, imports, memory, and what its manifest asks for.

    Exit code 2 when it cannot run as a plugin.
    """
    from blitz.examine import inspect_plugin  # loads the engine

    with fail_on_errors():
        found = inspect_plugin(file)
    if as_json:
        print_json(_as_json(found))
    else:
        _print(found)
    raise SystemExit(EXIT_BAD_INPUT if found.refused or found.problems or found.unasked else 0)


@plugin.command(short_help="Run the build command of a manifest.")
@click.argument("manifest", default=".", type=click.Path(path_type=Path))
def build(manifest: Path) -> None:
    """Run [build] command of MANIFEST (default: blitz-plugin.toml here) and look at what it makes.

    The command runs as you, in the manifest's directory, without a shell; for one, write sh -c '...'.

    Exit code 1 when the command fails or does not make [build] output, 2 when that cannot run as a plugin.
    """
    from blitz.examine import inspect_plugin, read_build  # loads the engine

    if manifest.is_dir():
        manifest = manifest / "blitz-plugin.toml"
    asked, problems = read_build(manifest)
    if problems:
        refuse(problems)
    command, output = _words(manifest, asked.command), manifest.parent / asked.output
    if not asked.output:
        refuse(
            [
                ConfigProblem(
                    "say what the command makes, such as hello.wasm", file=str(manifest), key="build.output"
                )
            ]
        )
    click.echo(f"{manifest.parent}$ {asked.command}")
    _run(command, manifest)
    if not output.is_file():
        _fail(f"{manifest}: build.output: the command ended well and made no {output}")
    with fail_on_errors():
        found = inspect_plugin(str(output))
    if found.refused:
        refuse([ConfigProblem(found.refused)])
    click.echo(f"{output}: {found.size} bytes, {found.abi}, hooks: {', '.join(found.hooks)}")
    _bind(manifest, output, found)


def _bind(manifest: Path, output: Path, found: Inspection) -> None:
    """Have the manifest beside what was made name its digest, so that it is applied to no other module."""
    from blitz.examine import bind

    try:
        beside, hooks = bind(manifest, output, found.module_sha256)
    except ValueError as error:
        _fail(str(error))
    click.echo(f"{beside}: for this module only, by its digest")
    if "process_response" in found.hooks and hooks.response_body is None:
        click.echo(
            "process_response is given whole bodies, for which answers wait; if it does not look at them, "
            'write response_body = "none" under [hooks]'
        )


def _words(manifest: Path, command: str) -> list[str]:
    problem = "there is nothing to run; write the command that makes the .wasm"
    words: list[str] = []
    try:
        words = shlex.split(command)
    except ValueError as error:
        problem = f"cannot be split into words: {str(error).lower()}"
    if not words:
        refuse([ConfigProblem(problem, file=str(manifest), key="build.command")])
    return words


def _run(command: list[str], manifest: Path) -> None:
    try:
        code = subprocess.run(command, cwd=manifest.parent, check=False).returncode
    except OSError as error:
        _fail(f"{manifest}: build.command: {command[0]} cannot be run: {(error.strerror or '').lower()}")
    if code:
        ended = f"with exit code {code}" if code > 0 else f"by signal {-code}"
        _fail(f"{manifest}: build.command: {command[0]} ended {ended}; what it says is above")


def _fail(sentence: str) -> NoReturn:
    click.echo(sentence, err=True)
    raise SystemExit(EXIT_FAILED)


def _as_json(found: Inspection) -> dict[str, Any]:
    shown = {name: value for name, value in _fields(found).items() if name not in ("asks", "problems")}
    shown["imports"] = [asdict(entry) for entry in found.imports]
    shown["exports"] = [{"name": entry.name, "type": entry.type} for entry in found.exports]
    return shown | {"asks": _asks(found), "problems": [str(problem) for problem in found.problems]}


def _fields(found: Inspection) -> dict[str, Any]:
    return {name: getattr(found, name) for name in found.__dataclass_fields__}


def _asks(found: Inspection) -> dict[str, Any]:
    """What the manifest says, without what it leaves out."""
    asks = found.asks
    if asks is None:
        return {}
    limits = asks.limits
    said = {
        "name": asks.plugin.name,
        "version": asks.plugin.version,
        "license": asks.plugin.license,
        "description": asks.plugin.description,
        "type": asks.plugin.type,
        "order": asks.plugin.order,
        "memory": None if limits.memory is None else format_size(limits.memory),
        "timeout": None if limits.timeout is None else format_duration(limits.timeout),
        "wait_timeout": None if limits.wait_timeout is None else format_duration(limits.wait_timeout),
        "max_body": None if limits.max_body is None else format_size(limits.max_body),
        "response_body": asks.hooks.response_body,
        "instances": limits.instances,
        "failure": asks.failure.policy,
        "upstreams": asks.capabilities.upstreams,
        "env": asks.capabilities.env,
        "env_optional": asks.capabilities.env_optional,
        "clock": asks.capabilities.clock,
        "random": asks.capabilities.random,
        "gc": asks.capabilities.gc,
        "fine_clock": asks.capabilities.fine_clock,
        "namespace": asks.capabilities.namespace,
        "config": [f"{name} ({key.summary()})" for name, key in asks.config.keys.items()]
        or list(asks.config.defaults),
    }
    return {name: value for name, value in said.items() if value not in (None, "", [], False)}


def _print(found: Inspection) -> None:
    rows = list(_rows(found))
    width = max(len(name) for name, _ in rows)
    for name, text in rows:
        shown = one_line(text)
        if name in BAD:
            shown = click.style(shown, fg="red")
        click.echo(f"{click.style(name.ljust(width), bold=True)}  {shown}")


def _rows(found: Inspection) -> Iterator[tuple[str, str]]:
    yield "file", found.file
    yield "size", f"{found.size} bytes"
    yield "sha256", found.sha256
    if found.manifest_sha256:
        yield "  module", found.module_sha256
        yield "  manifest", found.manifest_sha256
    if found.refused:
        yield "refused", found.refused
    else:
        yield "abi", f"{found.abi}, {found.spelling}"
    yield "hooks", ", ".join(found.hooks) or "none"
    yield "uses", ", ".join(found.uses) or "nothing but the message's head"
    most = "no maximum" if found.memory_max is None else f"at most {format_size(found.memory_max)}"
    yield "memory", f"{format_size(found.memory_min)} from the start, {most}"
    for position, entry in enumerate(found.imports):
        yield "" if position else "imports", f"{entry.module}.{entry.name} {entry.type}"
    for position, entry in enumerate(found.exports):
        yield "" if position else "exports", f"{entry.name} {entry.type}"
    yield "manifest", found.stale or found.manifest or "none: defaults apply"
    for name, value in _asks(found).items():
        text = ", ".join(map(str, value)) if isinstance(value, list) else str(value)
        yield f"  {name}", "yes" if value is True else text
    for name in found.unasked:
        text = f"it imports what {name} = true under [capabilities] would ask for, and does not load"
        yield "problem", text
    for problem in found.problems:
        yield "problem", str(problem)
