"""The table of figures in ``docs/operations.md``: ``python -m blitz.measures.reference`` prints it."""

from __future__ import annotations

import sys

from .figures import FIGURES

__all__ = ["render"]


def render() -> str:
    """A table in Markdown, a line for each figure."""
    lines = ["| figure | kind | labels | what it tells |", "|---|---|---|---|"]
    for figure in FIGURES:
        labels = ", ".join(f"`{label}`" for label in figure.labels)
        lines.append(f"| `{figure.name}` | {figure.type} | {labels} | {figure.help} |")
    return "".join(f"{line}\n" for line in lines)


if __name__ == "__main__":
    sys.stdout.write(render())
