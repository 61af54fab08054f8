"""The ``blitz`` command. Thin: each command reads its words, calls public names, prints.

Exit codes: 0 done, 1 failed, 2 the input is wrong (what click uses for a wrong command line, too).
Commands are imported when they are called, so that ``blitz --help`` does not wait for an engine.
"""

from __future__ import annotations

import difflib
from importlib import import_module
from typing import Any

import click

from blitz.cli.streams import occupy_standard_streams
from blitz.process.signals import for_command

__all__ = ["main"]

# name -> (module:attribute, one line for --help)
COMMANDS = {
    "run": ("blitz.cli.run:run", "Run the gateway that a file describes."),
    "proxy": ("blitz.cli.run:proxy", "Put plugins in front of one upstream, without a file."),
    "demo": ("blitz.cli.demo:demo", "Run a demo: an upstream, the built-in plugins, three routes."),
    "status": ("blitz.cli.operate:status", "Tell how a running gateway is."),
    "reload": ("blitz.cli.operate:reload", "Have a running gateway read its file again."),
    "drain": ("blitz.cli.operate:drain", "Send no new requests to an endpoint of a running gateway."),
    "faults": ("blitz.cli.operate:faults", "Tell the last faults of plugins."),
    "logs": ("blitz.cli.follow:logs", "Follow the logs of a running gateway."),
    "top": ("blitz.cli.follow:top", "Watch what a running gateway does."),
    "validate": ("blitz.cli.check:validate", "List every mistake in a file, and load its plugins."),
    "route": ("blitz.cli.route:route", "Explain which route a request takes, and why."),
    "config": (
        "blitz.cli.config:config",
        "Show what a file comes to, and where each value is from.",
    ),
    "fmt": ("blitz.cli.config:fmt", "Lay out a TOML file in one way."),
    "schema": ("blitz.cli.check:schema", "Print the JSON schema of blitz.toml."),
    "plugin": ("blitz.cli.plugin:plugin", "Look at plugin files, and build them."),
    "sdk": ("blitz.cli.sdk:sdk", "Copy the SDKs for plugins to a directory."),
    "version": ("blitz.cli.check:version", "Print what is installed."),
}
SERVING = frozenset(("run", "proxy", "demo"))


class _LazyGroup(click.Group):
    """A group that knows its commands' names and summaries without importing them."""

    def main(self, *args: Any, **extra: Any) -> Any:
        occupy_standard_streams()
        return super().main(*args, **extra)

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in COMMANDS:
            return None
        module, _, attribute = COMMANDS[cmd_name][0].partition(":")
        command: click.Command = getattr(import_module(module), attribute)
        for_command(serves=cmd_name in SERVING)
        return command

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        if args and args[0] not in COMMANDS and not args[0].startswith("-"):
            close = difflib.get_close_matches(args[0], COMMANDS, n=1)
            hint = f"did you mean {close[0]}?" if close else f"there are {', '.join(COMMANDS)}"
            ctx.fail(f"no command {args[0]!r}; {hint}")
        return super().resolve_command(ctx, args)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl([(name, summary) for name, (_, summary) in COMMANDS.items()])


def _print_version(ctx: click.Context, _: click.Parameter, wanted: bool) -> None:
    if wanted and not ctx.resilient_parsing:
        from importlib import metadata

        try:
            click.echo(f"blitz {metadata.version('blitz-gateway')}")
        except metadata.PackageNotFoundError:
            click.echo("blitz, from a directory that is not installed")
        ctx.exit()


@click.command(cls=_LazyGroup, context_settings={"help_option_names": ["-h", "--help"]})
@click.option(
    "-V",
    "--version",
    is_flag=True,
    is_eager=True,
    expose_value=False,
    callback=_print_version,
    help="Print the version; `blitz version` prints what it runs on, too.",
)
def main() -> None:
    """Blitz, an edge gateway that runs WebAssembly plugins on every request."""
