"""What works beside the traffic of a gateway, each kept going by itself (``server/helper.py``)."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterator
from functools import partial

from blitz.acme.keeper import certificate_helpers
from blitz.housekeeping import Housekeeping
from blitz.server.context import ServerContext
from blitz.server.health_checks import HealthChecks
from blitz.server.resolving import Resolving
from blitz.server.watch import Seen, watch
from blitz.versions import Versions

__all__ = ["Helper", "helpers"]

# Name, what is lost while it fails, and the task: see ``keep_going``.
Helper = tuple[str, str, Callable[[], Awaitable[object]]]


def helpers(
    context: ServerContext,
    keep: Housekeeping,
    versions: Versions,
    *,
    on_dead_listener: Callable[[], Awaitable[object]],
    on_changed_files: Callable[[], Awaitable[object]],
    seen: Seen | None,
) -> Iterator[Helper]:
    """All of them.

    Args:
        seen: what the files looked like that are watched; None: none are.
    """
    yield "deadlines", "nothing times out", context.wheel.run
    yield "housekeeping", "what is idle or replaced stays, and /status may be old", keep.run
    yield "looking after certificates", "they go on as they are", keep.look_after_certificates
    yield "keys of token issuers", "none are fetched", context.keeper.run
    yield "checking passwords", "clients with others than those known wait", context.workshop.run
    yield from certificate_helpers(
        lambda: context.runtime.resolved.tls.acme, lambda: context.runtime.challenges
    )
    yield "copies for mirrors", "none are made", context.copies.run
    yield "health checks", "endpoints are as they were found last", HealthChecks(context).run
    yield "names of endpoints", "addresses stay as they were found last", Resolving(context).run
    yield "the access log", "its lines are kept or lost", context.access_log.run
    yield "ending when a listener is dead", "it goes on without", on_dead_listener
    yield "trying a reload again", "SIGHUP loads", versions.again_later.run
    if seen is not None:
        changes = partial(watch, lambda: context.runtime.resolved, seen, on_changed_files)
        yield "watching files", "changed files are not loaded; SIGHUP loads them", changes
