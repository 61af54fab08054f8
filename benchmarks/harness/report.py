"""Write what was measured: Markdown for people, JSON for programs."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from .bench import Bench
from .machine import Machine
from .table import Claim, Column, Row, Table

__all__ = ["write_json", "write_markdown"]

BASE = "blitz"  # the row that ratios are relative to


_WHERE_TIME_GOES = "Where the time goes in what is not met: [figures.md](../figures.md)."


def write_markdown(
    path: Path, machine: Machine, bench: Bench, tables: Sequence[Table], plot: str | None
) -> None:
    lines = ["# Benchmarks", "", *_setting(machine, bench)]
    if plot:
        lines += [f"![requests per second]({plot})", ""]
    claims = [(table, claim) for table in tables for claim in table.claims]
    if claims and not bench.settings.smoke:
        lines += ["## What is promised", "", *_claims(claims), "", _WHERE_TIME_GOES, ""]
    for table in tables:
        lines += _table(table)
    path.write_text("\n".join(lines).rstrip() + "\n")


def write_json(path: Path, machine: Machine, bench: Bench, tables: Sequence[Table]) -> None:
    settings = dataclasses.asdict(bench.settings)
    document = {
        "machine": dataclasses.asdict(machine),
        "settings": settings,
        "cores": {"server": bench.cores.server, "load_and_origin": bench.cores.load},
        "versions": bench.versions,
        "slices": bench.slices,
        "disturbed_slices": bench.disturbed,
        "tables": [_table_data(table) for table in tables],
    }
    path.write_text(json.dumps(document, indent=1, default=str) + "\n")


def _setting(machine: Machine, bench: Bench) -> list[str]:
    s = bench.settings
    versions = ", ".join(f"{name} {version}" for name, version in sorted(bench.versions.items()))
    where = f"{machine.cores} x {machine.cpu}, {machine.memory_gib:g} GiB, {machine.system}"
    cores = f"Server on core {bench.cores.server}, load generator and origin on core {bench.cores.load}."
    lines = [
        f"{machine.date}, revision {machine.revision}. {where}, kernel {machine.kernel}, {machine.python}.",
        "",
        f"{cores} Slices of {s.seconds:g} s in turns, median of {s.rounds}; {bench.disturbed} of "
        f"{bench.slices} slices were taken while something else used more than a tenth of either core.",
        "",
        f"Versions: {versions}.",
        "",
    ]
    if s.smoke:
        lines = [
            "**A smoke run: it shows that everything still runs. The figures mean nothing.**",
            "",
            *lines,
        ]
    return lines


def _claims(claims: Sequence[tuple[Table, Claim]]) -> list[str]:
    lines = ["| question | promise | wanted | measured | |", "|---|---|---|---|---|"]
    for table, claim in claims:
        sign = "at least" if claim.at_least else "at most"
        value = "not measured" if claim.value is None else f"{claim.value:.3g}{claim.unit}"
        verdict = {True: "met", False: "**not met**", None: ""}[claim.met]
        lines.append(
            f"| {table.job} | {claim.text} | {sign} {claim.wanted:g}{claim.unit} | {value} | {verdict} |"
        )
    return lines


def _table(table: Table) -> list[str]:
    lines = [f"## {table.job}: {table.question}", ""]
    if table.method:
        lines += [" ".join(table.method.split()), ""]
    heads = ["", *(_title(column) for column in table.columns)]
    compared = [column for column in table.columns if column.compare] if table.row(BASE) else []
    heads += [f"{column.title} / {BASE}" for column in compared]
    lines += ["| " + " | ".join(heads) + " |", "|---" * len(heads) + "|"]
    for row in table.rows:
        cells = [row.name + (f" ({row.note})" if row.note else "")]
        cells += [_cell(row, column) for column in table.columns]
        cells += [_ratio(table, row, column) for column in compared]
        lines.append("| " + " | ".join(cells) + " |")
    lines.append("")
    if table.broken:
        lines += [
            "Failed here: "
            + "; ".join(f"**{n}** ({_one_line(why)})" for n, why in table.broken.items())
            + ".",
            "",
        ]
    if table.left_out:
        lines += [
            "Left out: " + "; ".join(f"{name} ({why})" for name, why in table.left_out.items()) + ".",
            "",
        ]
    return lines


def _title(column: Column) -> str:
    return f"{column.title}, {column.unit}" if column.unit else column.title


def _cell(row: Row, column: Column) -> str:
    """The median, and how far the rounds were apart."""
    values = row.values.get(column.key)
    median = row.median(column.key)
    if not values or median is None:
        return ""
    text = f"{median:,.{column.digits}f}"
    if len(values) > 1 and median:
        text += f" ±{(max(values) - min(values)) / 2 / abs(median):.0%}"
    return text


def _ratio(table: Table, row: Row, column: Column) -> str:
    base, value = table.median(BASE, column.key), row.median(column.key)
    return f"{value / base:.2f}" if base and value is not None else ""


def _one_line(text: str) -> str:
    return " ".join(text.split())[:300]


def _table_data(table: Table) -> dict[str, Any]:
    return {
        "job": table.job,
        "question": table.question,
        "columns": [{"key": c.key, "title": c.title, "unit": c.unit} for c in table.columns],
        "rows": [
            {
                "name": row.name,
                "median": {key: row.median(key) for key in row.values},
                "rounds": row.values,
                "slices": [dataclasses.asdict(s) for s in row.slices],
            }
            for row in table.rows
        ],
        "left_out": table.left_out,
        "failed": table.broken,
        "claims": [{**dataclasses.asdict(claim), "met": claim.met} for claim in table.claims],
    }
