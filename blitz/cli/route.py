"""``blitz route``: which route a request takes, what stands in front of it, and why not the others."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING

import click

from blitz.cli.output import EXIT_FAILED, print_json, refuse
from blitz.cli.run import config_options, flags_of, reader_of
from blitz.errors import ConfigProblem
from blitz.text import one_line

if TYPE_CHECKING:
    from blitz.explain import Explanation

__all__ = ["route"]


@click.command()
@click.argument("method")
@click.argument("url", metavar="URL")
@click.option("-H", "headers", metavar="FIELD", multiple=True, help='"name: value"; may be repeated.')
@click.option(
    "--from", "client", metavar="ADDRESS", default="127.0.0.1", show_default=True, help="Who connects."
)
@click.option("--listen", "listen", metavar="NAME", default="", help="The listener (default: by the URL).")
@click.option("-c", "--config", "file", metavar="FILE", default="blitz.toml", show_default=True)
@click.option("--json", "as_json", is_flag=True, help="Print it as JSON.")
@config_options
def route(
    method: str,
    url: str,
    headers: tuple[str, ...],
    client: str,
    listen: str,
    file: str,
    as_json: bool,
    plugin_dir: str | None,
    overrides: tuple[str, ...],
) -> None:
    """Explain which route of FILE takes the request METHOD URL, and why not the others.

    A path alone will do for the URL: it is asked for at localhost, or at the host of -H 'host: ...'.
    Nothing is sent, no plugin is loaded. Exit code 0: a route takes it. 1: it is refused, or no route takes
    it. 2: the input is wrong.
    """
    loaded = reader_of(file, overrides, flags_of(plugin_dir=plugin_dir))()
    if loaded.problems:
        refuse(loaded.problems)
    from blitz.explain import explain  # loads the engine

    try:
        found = explain(loaded.resolved, method, url, headers, client=client, listen=listen)
    except ValueError as error:
        refuse([ConfigProblem(str(error))])
    if as_json:
        shown = dataclasses.asdict(found)
        print_json(shown | {"others": [{"route": name, "why": why} for name, why in found.others]})
    else:
        _print(found)
    raise SystemExit(EXIT_FAILED if found.refused else 0)


def _print(found: Explanation) -> None:
    click.echo(one_line(f"{found.request}, from {found.client}, to listener {found.listener}"))
    if found.route:
        match = f" ({found.match})" if found.match else ""
        click.echo(click.style("route ", bold=True) + one_line(found.route + match))
    for number, step in enumerate(found.steps, 1):
        click.echo(one_line(f"  {number}. {step.key}: {step.says}"))
    if found.refused:
        allow = f"; allow: {found.allow}" if found.allow else ""
        click.echo(click.style("refused ", fg="red") + one_line(f"{found.status}: {found.refused}{allow}"))
    for name, why in found.others:
        click.echo(one_line(f"not {name}: {why}"))
