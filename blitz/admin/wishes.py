"""What operators want of a running service beyond its configuration, as one value that all processes share.

A change is asked of one worker. The parent takes it into the value on its scoreboard, and each worker makes
itself like that; so does one that starts later, and a configuration that is loaded later. The value lives as
long as the service. A process without a parent keeps its own.
"""

from __future__ import annotations

from typing import Literal, TypeVar

import msgspec

__all__ = ["LEVELS", "Change", "What", "Wishes"]

T = TypeVar("T")
What = Literal["reload", "level", "hold", "release", "drain", "ready"]
LEVELS = ("trace", "debug", "info", "warn", "error")
MAX_KEPT = 64  # changes whose ids are remembered; as many wait at once at most
MAX_NAMES = 1000  # plugins, and endpoints, that a value names


class Change(msgspec.Struct, frozen=True, kw_only=True):
    """One wish.

    Attributes:
        id: made up by who asks, to find its own again.
        name: of the plugin, the upstream, or the level; "configured" ends what was asked for the level.
        endpoint: of the upstream, as ``/upstreams`` names it.
    """

    id: str
    what: What
    name: str = ""
    endpoint: str = ""


class Wishes(msgspec.Struct, frozen=True, kw_only=True):
    """
    Attributes:
        number: grows with each change.
        reloads: how many were asked for.
        level: of the log; "": as configured.
        held: plugins in quarantine. released: plugin -> number of the change that released it last.
        drained: endpoints that get no new request: (upstream, address).
        taken: ids of the last changes.
    """

    number: int = 0
    reloads: int = 0
    level: str = ""
    held: tuple[str, ...] = ()
    released: dict[str, int] = {}
    drained: tuple[tuple[str, str], ...] = ()
    taken: tuple[str, ...] = ()

    def after(self, change: Change) -> Wishes:
        """With *change* as well."""
        number, name = self.number + 1, change.name
        more: dict[str, object] = {"number": number, "taken": (*self.taken, change.id)[-MAX_KEPT:]}
        of = (name, change.endpoint)
        if change.what == "reload":
            more["reloads"] = self.reloads + 1
        elif change.what == "level":
            more["level"] = name if name in LEVELS else ""
        elif change.what == "hold":
            more["held"] = _with(self.held, name)
        elif change.what == "release":
            more["held"] = tuple(one for one in self.held if one != name)
            more["released"] = dict([*self.released.items(), (name, number)][-MAX_NAMES:])
        elif change.what == "drain":
            more["drained"] = _with(self.drained, of)
        else:
            more["drained"] = tuple(one for one in self.drained if one != of)
        return msgspec.structs.replace(self, **more)


def _with(names: tuple[T, ...], name: T) -> tuple[T, ...]:
    return names if name in names else (*names, name)[-MAX_NAMES:]
