"""``blitz logs`` and ``blitz top``: a running gateway as it goes on."""

from __future__ import annotations

import contextlib
import json
import time
from typing import Any

import click

from blitz.cli.admin_client import AdminClient, admin_options
from blitz.cli.output import print_json
from blitz.log_level import LEVELS
from blitz.text import one_line

__all__ = ["logs", "top"]

TOLD_LEVELS = [*(level for level in LEVELS if level != "off"), "configured"]


@click.command()
@click.option("--events", is_flag=True, help="Follow reloads, faults, endpoints and workers instead.")
@click.option("--level", type=click.Choice(TOLD_LEVELS), help="Change the level of its log first.")
@click.option("--lines", metavar="N", type=click.IntRange(1), help="End after so many.")
@admin_options
def logs(
    file: str | None, url: str | None, *, events: bool, level: str | None, lines: int | None, as_json: bool
) -> None:
    """Follow what a running gateway writes: its own log and the access log, until it ends or Ctrl-C.

    Lines are as they are written; where there are more than can be followed, that is said.
    """
    client = AdminClient(url, file)
    if level is not None:
        client.post("/log", {"level": level})
    count = 0
    with contextlib.suppress(KeyboardInterrupt, BrokenPipeError):
        for name, said in client.follow("/events" if events else "/logs"):
            if as_json:
                click.echo(json.dumps({"event": name} | said))
            elif name == "lost":
                click.echo("... some were left out", err=True)
            elif "line" in said:
                click.echo(one_line(said["line"]))
            else:
                click.echo(one_line(_told(said)))
            count += name != "lost"
            if count == lines:
                return


def _told(event: dict[str, Any]) -> str:
    when = time.strftime("%H:%M:%S", time.localtime(event.get("time", 0)))
    if "message" in event:
        return f"{when} fault: {event['message']}"
    about = [str(event[key]) for key in ("plugin", "upstream", "endpoint", "place", "why") if key in event]
    return " ".join([when, str(event.get("event")), *about, str(event.get("state"))])


@click.command()
@click.option("--interval", metavar="SECONDS", type=click.FloatRange(0.2, 60), default=1.0, show_default=True)
@admin_options
def top(file: str | None, url: str | None, *, interval: float, as_json: bool) -> None:
    """Watch what a running gateway does, until Ctrl-C. With --json: once, rates over one interval."""
    client = AdminClient(url, file)
    before, then = client.get("/status"), time.monotonic()
    if as_json:
        time.sleep(interval)
        now = client.get("/status")
        print_json(rates(before, now, time.monotonic() - then))
        return
    from rich.live import Live

    with contextlib.suppress(KeyboardInterrupt), Live(auto_refresh=False, screen=True) as live:
        while True:
            time.sleep(interval)
            now, at = client.get("/status"), time.monotonic()
            live.update(table_of(rates(before, now, at - then)), refresh=True)
            before, then = now, at


def rates(before: dict[str, Any], now: dict[str, Any], seconds: float) -> dict[str, Any]:
    """What has happened between two looks, per second, and what there is now."""

    def per_second(new: int, old: int) -> float:
        return round(max(new - old, 0) / max(seconds, 0.001), 1)

    counters = {name: per_second(count, before["counters"][name]) for name, count in now["counters"].items()}
    plugins = {
        name: {
            "calls": per_second(one["calls"], before["plugins"].get(name, one)["calls"]),
            "faults": per_second(one["faults"], before["plugins"].get(name, one)["faults"]),
            "live": one["live"],
            "quarantined": one["quarantined"],
        }
        for name, one in now["plugins"].items()
    }
    return {
        "seconds": round(seconds, 3),
        "ready": now["ready"],
        "trouble": now["trouble"],
        "generation": now["generation"],
        "connections": now["connections"],
        "in_flight": now["in_flight"],
        "per_second": counters,
        "workers": now["workers"],
        "plugins": plugins,
        "upstreams": now["upstreams"],
    }


def table_of(now: dict[str, Any]) -> Any:
    """What ``rates`` tells, for a terminal."""
    from rich.console import Group
    from rich.table import Table
    from rich.text import Text

    per_second = now["per_second"]
    state = "ready" if now["ready"] else f"not ready: {now['trouble']}"
    head = Text(
        one_line(
            f"{state}; generation {now['generation']}; {per_second['exchanges']:g} requests/s; in flight "
            f"{now['in_flight']}; connections {now['connections']}; errors/s: upstream "
            f"{per_second['upstream_errors']:g}, client {per_second['client_errors']:g}"
        ),
        style="green" if now["ready"] else "red",
    )
    workers = Table("worker", "process", "state", "connections", "in flight", expand=True)
    for one in now["workers"]:
        workers.add_row(*_cells(one, "place", "pid", "state", "connections", "in_flight"))
    plugins = Table("plugin", "calls/s", "faults/s", "instances", "quarantined", expand=True)
    for name, one in now["plugins"].items():
        plugins.add_row(Text(one_line(name)), *_cells(one, "calls", "faults", "live", "quarantined"))
    upstreams = Table("upstream", "endpoint", "active", "idle", "state", expand=True)
    for one in now["upstreams"]:
        states = [word for word in ("failing", "down", "drained", "leaving") if one[word]]
        upstreams.add_row(
            *_cells(one, "upstream", "address", "active", "idle"), Text(", ".join(states) or "up")
        )
    return Group(head, workers, plugins, upstreams)


def _cells(one: dict[str, Any], *names: str) -> list[Any]:
    from rich.text import Text

    return [Text(one_line(f"{one[name]}")) for name in names]
