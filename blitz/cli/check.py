"""``blitz validate``, ``blitz schema``, ``blitz version``: commands that look and do not serve."""

from __future__ import annotations

import platform
import sys
from importlib import metadata
from typing import Any

import click
import trio

from blitz.cli.output import EXIT_BAD_INPUT, print_json, print_problem
from blitz.cli.run import config_options, flags_of, reader_of
from blitz.config import STANDARD_INPUT, Loaded, json_schema, path_text
from blitz.errors import ConfigError, ConfigProblem, PluginError
from blitz.files import shown
from blitz.text import one_line

__all__ = ["schema", "validate", "version"]


@click.command()
@click.argument("file", required=False)
@click.option("-c", "--config", "named", metavar="FILE", help="The same, as in blitz run.")
@click.option("--json", "as_json", is_flag=True, help="Print the result as JSON.")
@config_options
def validate(
    file: str | None,
    named: str | None,
    as_json: bool,
    plugin_dir: str | None,
    overrides: tuple[str, ...],
) -> None:
    """List every mistake in FILE (default: blitz.toml) with its line, and load its plugins.

    Exit code 0: it would run. 2: it would not.
    """
    file = file or named or "blitz.toml"
    loaded = reader_of(file, overrides, flags_of(plugin_dir=plugin_dir))()
    file = STANDARD_INPUT if file == "-" else file
    problems = [*loaded.problems, *_tls_problems(loaded), *_auth_problems(loaded), *_plugin_problems(loaded)]
    warnings = _warnings(loaded)
    if as_json:
        print_json(_report(shown(file), problems, warnings))
    else:
        _print_report(shown(file), loaded, problems, warnings)
    raise SystemExit(EXIT_BAD_INPUT if problems else 0)


def _tls_problems(loaded: Loaded) -> list[ConfigProblem]:
    """What is wrong with the files for TLS; only looked at once the keys that name them are right."""
    if loaded.problems:
        return []
    from blitz.examine import check_tls  # loads the engine

    found = []
    for path, message in check_tls(loaded.resolved):
        file, line = loaded.document.where(path)
        found.append(ConfigProblem(message, file=file, line=line, key=path_text(path)))
    return found


def _auth_problems(loaded: Loaded) -> list[ConfigProblem]:
    """What is wrong with the files of users and keys."""
    if loaded.problems or not loaded.resolved.auth:
        return []
    from blitz.examine import check_auth  # loads the engine

    found = check_auth(loaded.resolved)
    for problem in found:
        if not problem.file:
            problem.file, problem.line = loaded.document.where(("auth", problem.key.removeprefix("auth.")))
    return found


def _plugin_problems(loaded: Loaded) -> list[ConfigProblem]:
    """What is wrong with the plugins themselves; those that could not be found have been reported."""
    if not loaded.resolved.plugins:
        return []
    from blitz.examine import check_plugins  # loads the engine

    found: dict[tuple[str, str], ConfigProblem] = {}  # a file may be more than one plugin
    try:
        refused = trio.run(check_plugins, loaded.resolved)
    except ConfigError as exc:  # there is no room for them
        return exc.problems
    for plugin, error in refused:
        file = shown(plugin.file)
        told = loaded.problems
        reported = [problem.file for problem in told]
        if plugin.manifest not in reported and not any(file in problem.message for problem in told):
            said = error.message.removeprefix(file).lstrip(": ")
            frames = error.frames if isinstance(error, PluginError) else ()
            found.setdefault((file, said), ConfigProblem(said, file=file, frames=frames))
    return list(found.values())


def _warnings(loaded: Loaded) -> list[str]:
    """What would run, and yet is perhaps not what is meant; of descriptors, as they are for this shell."""
    from blitz.gateway import too_few_descriptors  # loads the engine

    few = "" if loaded.problems else too_few_descriptors(loaded.resolved, raised=True)
    return [*loaded.resolved.warnings, *filter(None, [few])]


def _report(file: str, problems: list[ConfigProblem], warnings: list[str]) -> dict[str, Any]:
    return {
        "file": file,
        "ok": not problems,
        "problems": [
            {"file": problem.file, "line": problem.line, "key": problem.key, "message": problem.message}
            | ({"frames": problem.frames} if problem.frames else {})
            for problem in problems
        ],
        "warnings": warnings,
    }


def _print_report(file: str, loaded: Loaded, problems: list[ConfigProblem], warnings: list[str]) -> None:
    for problem in problems:
        print_problem(problem)
    for warning in warnings:
        click.echo(click.style("warning: ", fg="yellow") + one_line(warning), err=True)
    if problems:
        click.echo(f"{file}: {_count(len(problems), 'problem')}", err=True)
        return
    resolved = loaded.resolved
    counts = [
        _count(len(resolved.routes), "route"),
        _count(len(resolved.upstreams), "upstream"),
        _count(len(resolved.plugins), "plugin"),
    ]
    click.echo(f"{file}: ok: {', '.join(counts)}")


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}" + ("" if number == 1 else "s")


@click.command()
def schema() -> None:
    """Print the JSON schema of blitz.toml, for completion and checks in editors."""
    print_json(json_schema())


@click.command()
@click.option("--json", "as_json", is_flag=True, help="Print it as JSON.")
def version(as_json: bool) -> None:
    """Print the versions of Blitz and of what it runs on."""
    versions = {
        "blitz": _installed("blitz-gateway"),
        "wasmtime": _installed("wasmtime"),
        "trio": _installed("trio"),
        "python": platform.python_version(),
        "platform": f"{sys.platform}-{platform.machine()}",
    }
    if as_json:
        print_json(versions)
    else:
        for name, text in versions.items():
            click.echo(f"{name} {text}")


def _installed(distribution: str) -> str:
    try:
        return metadata.version(distribution)
    except metadata.PackageNotFoundError:
        return "not installed"
