"""What configured static routes mean.

``open_beneath`` is the door to the file system (``tree.Opener``): tests put another one here, which waits, or
fails as a system does.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from blitz.static.respond import Site
from blitz.static.tree import Tree, open_beneath

if TYPE_CHECKING:
    from blitz.config.resolved import ResolvedRoute

__all__ = ["Site", "site_of"]


def site_of(route: ResolvedRoute) -> Site | None:
    """The files of *route*; None: it has none."""
    said = route.static
    if said is None:
        return None
    tree = Tree(said.root, tuple(said.index), listing=said.listing, opener=open_beneath)
    max_age = None if said.max_age is None else int(said.max_age)
    return Site(
        tree, said.fallback.lstrip("/").encode(), tuple(one.encode() for one in said.precompressed), max_age
    )
