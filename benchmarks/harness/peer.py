"""A peer: a program that does the same jobs as Blitz, described by data.

A peer module under ``benchmarks/peers/`` gives a list of these. Arguments and configuration files
are templates; ``@name@`` in them stands for:

    @folder@   scratch folder of this run, where the files are written and the process starts
    @port@     where to listen on 127.0.0.1      @origin@   port of the upstream
    @program@  path of the program found         @user@     who runs the benchmarks
    @root@     the tree                          @python@   the interpreter of the benchmarks
"""

from __future__ import annotations

import getpass
import re
import subprocess
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from .errors import BenchError
from .places import PYTHON, ROOT, find_program

__all__ = ["Peer", "Setup", "argv", "missing_module"]


@dataclass(frozen=True)
class Setup:
    """How a peer is started for one job."""

    argv: tuple[str, ...]
    files: Mapping[str, str | Path] = field(default_factory=dict)  # name in the folder -> template or text
    prepare: Callable[[Path], None] | None = None  # builds more into the folder (a guest, say)


@dataclass(frozen=True)
class Peer:
    name: str
    program: str  # looked up in PATH, then in the cache
    version: tuple[str, ...]  # command that prints it
    jobs: Mapping[str, Setup]
    language: str = ""  # what its plugins are written in
    env: Mapping[str, str] = field(default_factory=dict)
    needs: Callable[[], str | None] = lambda: None  # -> why it cannot run here, beyond the program
    checks: str = ""  # the job whose check it must pass; "": the job's own
    cannot: Mapping[str, str] = field(default_factory=dict)  # job -> why it has no part in it

    def missing(self) -> str | None:
        """Why this machine cannot run it, or None."""
        if find_program(self.program) is None:
            return f"no program {self.program!r} (benchmarks/setup.sh installs what it can)"
        return self.needs()

    def read_version(self) -> str:
        """The first thing in its version output that looks like a version number."""
        done = subprocess.run(
            [self._fill(arg, {}) for arg in self.version], capture_output=True, text=True, timeout=30
        )
        found = re.search(r"\d[\w.]*[.-][\w.+~-]*\d", done.stdout + done.stderr)
        return found.group() if found else "unknown"

    def lay_out(self, job: str, folder: Path, port: int, origin: int) -> list[str]:
        """Write the job's files; -> the command."""
        setup = self.jobs[job]
        values = {"folder": str(folder), "port": str(port), "origin": str(origin)}
        for name, source in setup.files.items():
            text = source.read_text() if isinstance(source, Path) else source
            (folder / name).write_text(self._fill(text, values))
        if setup.prepare:
            setup.prepare(folder)
        return [self._fill(arg, values) for arg in setup.argv]

    def environment(self, folder: Path) -> dict[str, str]:
        return {key: self._fill(value, {"folder": str(folder)}) for key, value in self.env.items()}

    def _fill(self, template: str, values: Mapping[str, str]) -> str:
        known = {
            **values,
            "program": find_program(self.program) or self.program,
            "user": getpass.getuser(),
            "python": PYTHON,
            "root": str(ROOT),
        }

        def value(match: re.Match[str]) -> str:
            try:
                return known[match[1]]
            except KeyError:
                raise BenchError(f"{self.name}: @{match[1]}@ in its templates stands for nothing") from None

        return re.sub(r"@([a-z_]+)@", value, template)


def missing_module(name: str, path: str | None) -> str | None:
    return None if path else f"no module {name} (benchmarks/setup.sh debian)"


def argv(line: str | Sequence[str]) -> tuple[str, ...]:
    return tuple(line.split()) if isinstance(line, str) else tuple(line)
