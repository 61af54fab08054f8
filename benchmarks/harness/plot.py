"""One SVG of horizontal bars, a panel per table; drawn here, so that nothing else has to be installed."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape
from pathlib import Path

from .table import Column, Row, Table

__all__ = ["write_svg"]

WIDTH = 760
LABEL = 210  # room for names
VALUE = 90  # room for figures behind the bars
BAR = 16
GAP = 6
TITLE = 34
BLITZ, OTHER, SPREAD = "#c2410c", "#64748b", "#1e293b"


def write_svg(path: Path, tables: Sequence[Table], caption: str) -> bool:
    """Draw every table that names a column to plot. -> whether there was one."""
    panels = [(table, column) for table in tables for column in table.columns if column.key == table.plot]
    panels = [(table, column) for table, column in panels if table.rows]
    if not panels:
        return False
    parts: list[str] = []
    y = 10
    for table, column in panels:
        parts.append(
            _text(
                10,
                y + 16,
                f"{table.job}: {column.title}{', ' + column.unit if column.unit else ''}",
                15,
                bold=True,
            )
        )
        y = _bars(parts, table, column, y + TITLE) + 18
    parts.append(_text(10, y + 6, caption, 11))
    height = y + 20
    size = f'width="{WIDTH}" height="{height}" viewBox="0 0 {WIDTH} {height}"'
    path.write_text(
        f'<svg xmlns="http://www.w3.org/2000/svg" {size} font-family="system-ui, sans-serif">\n'
        f'<rect width="100%" height="100%" fill="#ffffff"/>\n{"".join(parts)}</svg>\n'
    )
    return True


def _bars(parts: list[str], table: Table, column: Column, y: int) -> int:
    rows = [(row, median) for row in table.rows if (median := row.median(column.key)) is not None]
    top = max((max(row.values[column.key]) for row, _ in rows), default=0) or 1
    scale = (WIDTH - LABEL - VALUE) / top
    for row, median in rows:
        colour = BLITZ if row.name.startswith("blitz") else OTHER
        parts.append(_text(LABEL - 8, y + 12, row.name, 12, anchor="end"))
        length = max(median * scale, 1)
        parts.append(f'<rect x="{LABEL}" y="{y}" width="{length:.1f}" height="{BAR}" fill="{colour}"/>\n')
        _whisker(parts, row, column, y, scale)
        end = LABEL + max(row.values[column.key]) * scale
        parts.append(_text(end + 6, y + 12, f"{median:,.{column.digits}f}", 12))
        y += BAR + GAP
    return y


def _whisker(parts: list[str], row: Row, column: Column, y: int, scale: float) -> None:
    """From the least to the most of the rounds."""
    low, high = (LABEL + pick(row.values[column.key]) * scale for pick in (min, max))
    middle = y + BAR / 2
    parts.append(f'<path d="M{low:.1f} {middle}H{high:.1f}" stroke="{SPREAD}" stroke-width="1.5"/>\n')


def _text(x: float, y: float, text: str, size: int, *, anchor: str = "start", bold: bool = False) -> str:
    weight = ' font-weight="600"' if bold else ""
    return (
        f'<text x="{x:.1f}" y="{y:.1f}" font-size="{size}" text-anchor="{anchor}"{weight} fill="#0f172a">'
        f"{escape(text)}</text>\n"
    )
