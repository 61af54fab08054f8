"""Packages that are needed for a part only: what to do when one is not there."""

from __future__ import annotations

import sys

__all__ = ["how_to_install"]


def how_to_install(*distributions: str) -> str:
    """For the middle of a sentence: the command, for the interpreter that runs."""
    return f"run '{sys.executable} -m pip install {' '.join(distributions)}'"
