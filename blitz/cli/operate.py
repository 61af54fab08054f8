"""``blitz status``, ``reload``, ``drain``, ``faults``: what a running gateway tells, and is told."""

from __future__ import annotations

import time
from typing import Any

import click

from blitz.cli.admin_client import AdminClient, admin_options
from blitz.cli.output import EXIT_FAILED, print_json
from blitz.text import one_line

__all__ = ["drain", "faults", "reload", "say", "status"]


def say(text: str, **style: Any) -> None:
    """A line of a result; what others have put into it stays in it."""
    click.echo(click.style(one_line(text), **style))


@click.command()
@admin_options
def status(file: str | None, url: str | None, *, as_json: bool) -> None:
    """Tell how a running gateway is. Exit code 1 if it takes no requests."""
    told = AdminClient(url, file).get("/status")
    if as_json:
        print_json(told)
    else:
        _tell(told)
    if not told["ready"]:
        raise SystemExit(EXIT_FAILED)


def _tell(told: dict[str, Any]) -> None:
    ready = "ready" if told["ready"] else f"not ready: {told['trouble']}"
    say(f"blitz {told['version']}, {ready}", fg="green" if told["ready"] else "red")
    say(f"generation {told['generation']}, up for {told['uptime']:.0f} s, workers died: {told['restarts']}")
    say(f"connections: {told['connections']}, requests in flight: {told['in_flight']}")
    reload_ = told["last_reload"]
    if reload_ is not None:
        when = time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(reload_["time"]))
        end = f"refused: {reload_['error']}" if reload_["error"] else "done"
        say(f"last reload {when} ({reload_['reason']}), {end}")
    for worker in told["workers"]:
        about = f"worker {worker['place']} (process {worker['pid']}): {worker['state']}"
        say(f"{about}, connections: {worker['connections']}, in flight: {worker['in_flight']}")
    for lost in told["lost"]:
        say(
            f"worker {lost['place']} is missing: {lost['reason']}; again in {lost['retry_in']:.1f} s",
            fg="red",
        )
    for name, plugin in told["plugins"].items():
        held = f", in quarantine in workers: {plugin['quarantined']}" if plugin["quarantined"] else ""
        say(f"plugin {name}: calls: {plugin['calls']}, faults: {plugin['faults']}{held}")
    for one in told["upstreams"]:
        states = [word for word in ("failing", "down", "drained", "leaving") if one[word]]
        state = ", ".join(states) or "up"
        say(f"upstream {one['upstream']}, {one['address']}: {state}, active: {one['active']}")


@click.command()
@admin_options
def reload(file: str | None, url: str | None, *, as_json: bool) -> None:
    """Have a running gateway read its configuration and plugins again. Exit code 1 if it is refused."""
    done, told = AdminClient(url, file).post("/reload")
    if as_json:
        print_json(told)
    elif done:
        loaded, kept = ", ".join(told["loaded"]) or "none", ", ".join(told["kept"]) or "none"
        say(f"generation {told['generation']} is running; plugins loaded: {loaded}; kept: {kept}")
        for key in told["restart"]:
            say(f"{key} has changed, and waits for a restart", fg="yellow")
    else:
        for error in told["errors"]:
            click.echo(one_line(f"refused, generation {told['generation']} goes on: {error}"), err=True)
    if not done:
        raise SystemExit(EXIT_FAILED)


@click.command()
@click.argument("upstream")
@click.argument("endpoint")
@click.option("--ready", is_flag=True, help="Send it requests again.")
@admin_options
def drain(
    upstream: str, endpoint: str, file: str | None, url: str | None, *, ready: bool, as_json: bool
) -> None:
    """Send no new requests to ENDPOINT of UPSTREAM, such as 127.0.0.1:9000; those it has go on."""
    path = f"/upstreams/{_quoted(upstream)}/{'ready' if ready else 'drain'}"
    _, told = AdminClient(url, file).post(path, {"endpoint": endpoint})
    if as_json:
        print_json(told)
    else:
        say(f"{upstream}: {endpoint} gets {'requests again' if ready else 'no new requests'}")


def _quoted(name: str) -> str:
    from urllib.parse import quote

    return quote(name, safe="")


@click.command()
@admin_options
def faults(file: str | None, url: str | None, *, as_json: bool) -> None:
    """Tell the last faults of plugins, oldest first."""
    told = AdminClient(url, file).get("/faults")
    if as_json:
        print_json(told)
        return
    for fault in told["faults"]:
        when = time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(fault["time"]))
        say(f"{when} {fault['message']}")
        where = (
            f"request {fault['request_id']}, route {fault['route']}" if fault["request_id"] else "no request"
        )
        say(f"    {where}", dim=True)
        for frame in fault["frames"]:
            say(f"    at {frame}", dim=True)
    if not told["faults"]:
        say("none")
