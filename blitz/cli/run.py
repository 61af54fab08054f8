"""``blitz run`` and ``blitz proxy``: the commands that serve."""

from __future__ import annotations

import logging
import sys
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import click

from blitz.cli.log import log_problem, set_up_logging
from blitz.cli.output import fail_on_errors, print_problem, refuse
from blitz.config import (
    STANDARD_INPUT,
    Address,
    Document,
    Loaded,
    Resolved,
    parse_document,
    plugin_name,
    read_config,
)
from blitz.errors import ConfigError, ConfigProblem
from blitz.files import CONFIGURATION, MIB

if TYPE_CHECKING:
    from blitz.gateway import Gateway

__all__ = ["config_options", "flags_of", "proxy", "reader_of", "run"]

_log = logging.getLogger("blitz.cli")

Command = Callable[..., None]


def config_options(command: Command) -> Command:
    """Options that every command shares that reads a configuration."""
    options = (
        click.option(
            "--plugin-dir", metavar="DIR", help="Every *.wasm in DIR is a plugin (as PLUGIN_DIR says)."
        ),
        click.option(
            "--set",
            "overrides",
            metavar="KEY=VALUE",
            multiple=True,
            help="Override one key, such as timeouts.head=5s; may be repeated.",
        ),
    )
    for option in options:
        command = option(command)
    return command


def flags_of(
    *, plugin_dir: str | None, workers: str | None = None, watch: bool = False
) -> list[tuple[str, str]]:
    """The flags that were given, with the keys that they set."""
    given = {
        "plugin_dir": ("--plugin-dir", plugin_dir),
        "workers": ("--workers", workers),
        "watch": ("--watch", "true" if watch else None),
    }
    return [(flag, f"{key}={value}") for key, (flag, value) in given.items() if value is not None]


def reader_of(file: str, overrides: Sequence[str], flags: Sequence[tuple[str, str]]) -> Callable[[], Loaded]:
    """What reads *file*, as often as it is called; ``-`` is standard input, which is read here, once."""
    if file != "-":
        return lambda: read_config(file, overrides=overrides, flags=flags)
    raw = sys.stdin.buffer.read(CONFIGURATION.max_size + 1) if sys.stdin is not None else b""
    if len(raw) > CONFIGURATION.max_size:
        problem = f"is more than the {CONFIGURATION.max_size // MIB} MiB that {CONFIGURATION.what} may have"
        refuse([ConfigProblem(problem, file=STANDARD_INPUT)])
    return lambda: read_config(
        None, overrides=overrides, flags=flags, start=parse_document(raw, STANDARD_INPUT)
    )


@click.command()
@click.option("-c", "--config", "file", metavar="FILE", default="blitz.toml", show_default=True)
@click.option("--workers", metavar="N", help='Processes, or "auto": one per CPU.')
@click.option("--watch", is_flag=True, help="Reload when FILE or a plugin's file or manifest changes.")
@config_options
def run(
    file: str, workers: str | None, watch: bool, plugin_dir: str | None, overrides: tuple[str, ...]
) -> None:
    """Run the gateway that FILE describes, until SIGTERM or SIGINT; SIGHUP reads FILE again.

    FILE is TOML, or YAML if its name ends in .yaml or .yml; "-" is TOML on standard input, read once.
    """
    flags = flags_of(plugin_dir=plugin_dir, workers=workers, watch=watch)
    _serve(reader_of(file, overrides, flags), reloads=file != "-", operated=True)


@click.command()
@click.argument("listen")
@click.argument("upstream")
@click.option("--plugin", "files", metavar="FILE", multiple=True, help="A .wasm to run; may be repeated.")
@click.option("--workers", metavar="N", help='Processes, or "auto": one per CPU.')
@config_options
def proxy(
    listen: str,
    upstream: str,
    files: tuple[str, ...],
    workers: str | None,
    plugin_dir: str | None,
    overrides: tuple[str, ...],
) -> None:
    """Listen on LISTEN and forward to UPSTREAM through plugins, without a file.

    LISTEN is :8080 (every interface) or 127.0.0.1:8080. UPSTREAM is http://127.0.0.1:9000 or
    127.0.0.1:9000.
    """
    flags = flags_of(plugin_dir=plugin_dir, workers=workers)

    def read() -> Loaded:
        start = _proxy_document(listen, upstream, files)
        return read_config(None, overrides=overrides, flags=flags, start=start)

    _serve(read)


def _proxy_document(listen: str, upstream: str, files: Sequence[str]) -> Document:
    """What the command line says, in the form of a file."""
    endpoint = upstream if "://" in upstream else f"http://{upstream}"
    data: dict[str, Any] = {
        "listen": [listen],
        "upstreams": {"default": {"endpoints": [endpoint]}},
        "plugins": [{"name": plugin_name(file), "file": file} for file in files],
        "routes": [{"name": "default", "upstream": "default"}],
    }
    return Document(
        data=data, origins={("listen",): "LISTEN", ("upstreams",): "UPSTREAM", ("plugins",): "--plugin"}
    )


def _serve(read: Callable[[], Loaded], *, reloads: bool = False, operated: bool = False) -> None:
    """*operated*: there is an admin listener where nothing is said about it."""
    loaded = read()
    resolved = loaded.resolved.with_admin() if operated else loaded.resolved
    log = resolved.log
    say = log_problem if log.format == "json" else print_problem
    if not loaded.problems or say is log_problem:
        set_up_logging(log.level, log.format)
    if loaded.problems:
        refuse(loaded.problems, say)

    def read_again() -> Resolved:
        again = read()
        if again.problems:
            raise ConfigError(again.problems)
        return again.resolved.with_admin() if operated else again.resolved

    from blitz.process.workers import run as run_workers  # loads the engine

    def greet(gateway: Gateway) -> None:
        _greet(resolved, gateway)

    with fail_on_errors(say):
        code = run_workers(resolved, read_again=read_again if reloads else None, on_ready=greet)
    raise SystemExit(code)


def _greet(resolved: Resolved, gateway: Gateway) -> None:
    addresses = ", ".join(gateway.urls)
    names = ", ".join(plugin.name for plugin in resolved.plugins) or "none"
    _log.info("listening on %s; workers: %d; plugins: %s", addresses, resolved.workers, names)
    for host, port in gateway.admin_addresses:
        _log.info("for operators: http://%s/status", Address(host, port))
    if resolved.admin.path:
        _log.info("for operators: %s", resolved.admin.where)
