"""``blitz sdk``: copy the SDKs for plugins out of this installation."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import NoReturn

import click

from blitz.cli.output import EXIT_BAD_INPUT, EXIT_FAILED
from blitz.sdk import PLACES, find_sdks, sdk_files

__all__ = ["sdk"]


@click.command()
@click.argument("directory", metavar="DIR", type=click.Path(path_type=Path))
def sdk(directory: Path) -> None:
    """Copy the SDKs for C, C++, Zig, Rust, Go and AssemblyScript to DIR, which is made.

    Begin with DIR/README.md. Where a page says plugins/sdk/, it is DIR/ for you.
    """
    source = find_sdks()
    if source is None:
        places = " nor in ".join(str(place) for place in PLACES)
        _fail(
            f"the SDKs are neither in {places}: this installation is damaged, install it again", EXIT_FAILED
        )
    try:
        if directory.exists() and (not directory.is_dir() or any(directory.iterdir())):
            _fail(
                f"{directory} is there and no empty directory; name one that is not there yet", EXIT_BAD_INPUT
            )
        for file in sdk_files(source):
            (directory / file).parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(source / file, directory / file)
    except OSError as error:
        reason = (error.strerror or str(error)).lower()
        _fail(f"the SDKs cannot be copied to {directory}: {reason}", EXIT_FAILED)
    languages = sorted(path.name for path in directory.iterdir() if path.is_dir())
    click.echo(f"{directory}: {', '.join(languages)}; begin with {directory / 'README.md'}")


def _fail(sentence: str, code: int) -> NoReturn:
    click.echo(sentence, err=True)
    raise SystemExit(code)
