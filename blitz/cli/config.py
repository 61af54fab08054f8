"""``blitz config show`` and ``blitz fmt``: what a configuration comes to, and how its file looks."""

from __future__ import annotations

import difflib
import os
import sys
import tempfile

import click

from blitz.cli.output import EXIT_FAILED, print_json, refuse
from blitz.cli.run import config_options, flags_of, reader_of
from blitz.config import LayoutRefused, effective_values, lay_out
from blitz.errors import ConfigProblem
from blitz.files import CONFIGURATION, FileRefused, read_file
from blitz.text import one_line

__all__ = ["config", "fmt"]


@click.group()
def config() -> None:
    """Look at what a configuration comes to."""


@config.command(short_help="Print every value, and where it is from.")
@click.argument("prefix", required=False, default="")
@click.option("-c", "--config", "file", metavar="FILE", default="blitz.toml", show_default=True)
@click.option("--set-only", is_flag=True, help="Leave out defaults.")
@click.option("--json", "as_json", is_flag=True, help="Print it as JSON.")
@config_options
def show(
    prefix: str, file: str, set_only: bool, as_json: bool, plugin_dir: str | None, overrides: tuple[str, ...]
) -> None:
    """Print each key that begins with PREFIX (default: all), its value, and where that is from.

    That is FILE or an included one with the line, a variable, a flag, or "default". Values of `${...}` are
    shown as the reference, and what may be a secret is hidden. Exit code 2 if FILE has mistakes.
    """
    loaded = reader_of(file, overrides, flags_of(plugin_dir=plugin_dir))()
    if loaded.problems:
        refuse(loaded.problems)
    rows = [
        row
        for row in effective_values(loaded)
        if row.key.startswith(prefix) and not (set_only and row.origin == "default")
    ]
    if prefix and not rows:
        refuse([ConfigProblem(f"no key begins with {prefix}; blitz config show lists all", file=file)])
    if as_json:
        print_json({row.key: {"value": row.plain, "origin": row.origin} for row in rows})
        return
    lines = [one_line(f"{row.key} = {row.value}") for row in rows]
    width = min(max(map(len, lines), default=0), 60)
    for line, row in zip(lines, rows, strict=True):
        click.echo(f"{line:<{width}}  {click.style('# ' + one_line(row.origin), dim=True)}")


@click.command()
@click.argument("file", required=False, default="blitz.toml")
@click.option("--check", is_flag=True, help="Change nothing; exit code 1 if it would.")
@click.option("--diff", is_flag=True, help="Change nothing; print what would be changed.")
def fmt(file: str, check: bool, diff: bool) -> None:
    """Lay out FILE (default: blitz.toml) in one way. Comments, order and values stay; needs tomlkit."""
    if file.endswith((".yaml", ".yml")):
        refuse([ConfigProblem("is YAML, and only TOML is laid out", file=file)])
    try:
        text = read_file(file, CONFIGURATION).decode("utf-8-sig")
        made = lay_out(text)
    except UnicodeDecodeError:
        refuse([ConfigProblem("is not UTF-8; save the file in that encoding", file=file)])
    except (FileRefused, LayoutRefused) as refused:
        refuse([ConfigProblem(str(refused), file=file)])
    if diff:
        before, after = text.splitlines(keepends=True), made.splitlines(keepends=True)
        sys.stdout.writelines(difflib.unified_diff(before, after, file, file))
    if made == text or diff:
        return
    if check:
        click.echo(f"{file}: would be changed", err=True)
        raise SystemExit(EXIT_FAILED)
    try:
        _replace(file, made)
    except OSError as error:
        refuse([ConfigProblem(f"cannot be written: {error.strerror}; it was left as it is", file=file)])


def _replace(file: str, text: str) -> None:
    """Put *text* into *file*, or leave that as it is; who reads meanwhile reads one of both."""
    target = os.path.realpath(file)
    fd, aside = tempfile.mkstemp(prefix=".blitz-fmt-", dir=os.path.dirname(target))
    try:
        with os.fdopen(fd, "w", encoding="utf-8", newline="") as new:
            new.write(text)
            new.flush()
            os.fsync(new.fileno())
        found = os.stat(target)
        os.chmod(aside, found.st_mode & 0o7777)
        if (found.st_uid, found.st_gid) != (os.geteuid(), os.getegid()):
            os.chown(aside, found.st_uid, found.st_gid)
        os.replace(aside, target)
    except BaseException:
        os.unlink(aside)
        raise
