"""The tables of docs/http.md: written from the forms and what was played, and read back."""

from __future__ import annotations

import re
import subprocess
import textwrap
from collections.abc import Mapping, Sequence
from pathlib import Path

from .form import Group
from .forms import GROUPS
from .played import rows

__all__ = ["DOCUMENT", "PLAYED", "cells", "installed", "replace_tables", "replace_versions", "versions"]

DOCUMENT = Path(__file__).resolve().parents[3] / "docs" / "http.md"
PLAYED = {"Blitz": "blitz-auto-1", "nginx": "nginx", "HAProxy": "haproxy"}  # column -> target
WIDTH = 110
_BEGIN, _END = "<!-- tables: begin -->\n", "<!-- tables: end -->\n"
_VERSIONS = re.compile(r"nginx (\S+) and HAProxy (\S+), as")


def replace_tables(text: str, told: Mapping[str, Sequence[str]]) -> str:
    """*text* with its tables made anew; *told*: per column of ``PLAYED``, a cell for each of ``rows()``."""
    before, _, rest = text.partition(_BEGIN)
    _, _, after = rest.partition(_END)
    at = 0
    parts = []
    for group in GROUPS:
        end = at + len(group.forms)
        parts.append(_section(group, {name: column[at:end] for name, column in told.items()}))
        at = end
    return before + _BEGIN + "\n" + "\n".join(parts) + "\n" + _END + after


def _section(group: Group, told: Mapping[str, Sequence[str]]) -> str:
    lines = [f"## {group.title}", ""]
    if group.before:
        lines += [textwrap.fill(group.before, WIDTH, break_on_hyphens=False), ""]
    lines += ["| form | RFC | Blitz | nginx | HAProxy | Envoy |", "|---|---|---|---|---|---|"]
    for index, form in enumerate(group.forms):
        cells = [form.words, form.rfc.replace(" ", " §"), *(told[name][index] for name in PLAYED), form.envoy]
        lines.append(f"| {' | '.join(cells)} |")
    if group.after:
        lines += ["", textwrap.fill(group.after, WIDTH, break_on_hyphens=False)]
    return "\n".join([*lines, ""])


def cells(text: str, column: str) -> list[str]:
    """What the tables of *text* say in *column*, a cell for each of ``rows()``."""
    tables = text.partition(_BEGIN)[2].partition(_END)[0]
    lines = [line for line in tables.splitlines() if line.startswith("| ")]
    split = [[cell.strip() for cell in re.split(r"(?<!\\)\|", line)[1:-1]] for line in lines]
    at = ["form", "RFC", *PLAYED, "Envoy"].index(column)
    found = [row[at] for row in split if row[0] != "form"]
    assert len(found) == len(rows()), "the tables have other rows than forms.py"
    return found


def versions(text: str) -> tuple[str, str]:
    """Of nginx and HAProxy, as *text* says they were measured."""
    found = _VERSIONS.search(text)
    assert found is not None, "no versions are named"
    return found[1], found[2]


def replace_versions(text: str, now: tuple[str, str]) -> str:
    return _VERSIONS.sub(f"nginx {now[0]} and HAProxy {now[1]}, as", text)


def installed() -> tuple[str, str]:
    """The same of what is installed."""
    nginx = subprocess.run(["/usr/sbin/nginx", "-v"], capture_output=True, text=True, check=True).stderr
    haproxy = subprocess.run(["/usr/sbin/haproxy", "-v"], capture_output=True, text=True, check=True).stdout
    found = re.search(r"nginx/(\S+)", nginx), re.search(r"version (\d+\.\d+\.\d+)", haproxy)
    assert found[0] is not None and found[1] is not None, (nginx, haproxy)
    return found[0][1], found[1][1]
