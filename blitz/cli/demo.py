"""``blitz demo``: the first minute with Blitz."""

from __future__ import annotations

import contextlib
import signal
from collections.abc import AsyncIterator, Iterator

import click
import trio

from blitz.cli.log import set_up_logging
from blitz.cli.output import fail_on_errors
from blitz.config import parse_address
from blitz.demo import DEMO_KEY, builtin_plugins, demo_config, serve_upstream, with_admin
from blitz.errors import ConfigError

__all__ = ["demo"]

# What to type, and what it shows.
TO_TRY = (
    ("curl -i {base}/", "401 from auth_custom: no key"),
    ("curl -i -H 'x-api-key: {key}' {base}/hello", "reaches the upstream, as x-authenticated-identity: demo"),
    ("curl -i {base}/open/hello", "a route that needs no key"),
    ("curl -N {base}/stream", "server-sent events, as they happen"),
    (
        "for i in $(seq 15); do curl -s -o /dev/null -w '%{{http_code}} ' {base}/open; done; echo",
        "a burst: 429 from rate_limiter",
    ),
)


def introduction(base: str, upstream: str) -> str:
    """What a newcomer reads first."""
    lines = [f"Blitz listens on {base}; its upstream, on {upstream}, tells what reached it. Try:", ""]
    for command, shows in TO_TRY:
        lines += [f"  # {shows}", f"  {command.format(base=base, key=DEMO_KEY)}", ""]
    lines += ["request_logger logs each request below. Ctrl-C ends the demo.", ""]
    return "\n".join(lines)


@click.command()
@click.option("--listen", metavar="ADDRESS", help="Where to listen, instead of 127.0.0.1 and --port.")
@click.option(
    "--port", type=click.IntRange(0, 65535), default=8080, show_default=True, help="0: any free one."
)
@click.option("--upstream-only", is_flag=True, help="Only the upstream, for a gateway that runs elsewhere.")
def demo(listen: str | None, port: int, upstream_only: bool) -> None:
    """Run the built-in plugins and three routes in front of an upstream that tells what reached it."""
    set_up_logging("info")
    with fail_on_errors():
        trio.run(_upstream if upstream_only else _demo, listen or f"127.0.0.1:{port}")


async def _upstream(listen: str) -> None:
    try:
        address = parse_address(listen)
    except ValueError as error:
        raise ConfigError(f"--listen: {error}") from None
    async with trio.open_nursery() as nursery:
        with _stop_signals() as signals:
            try:
                host, port = await nursery.start(serve_upstream, address.host or "0.0.0.0", address.port)
            except OSError as error:
                raise ConfigError(
                    f"cannot listen on {address}: {(error.strerror or str(error)).lower()}"
                ) from None
            click.echo(f"The demo's upstream listens on http://{host}:{port} and tells what reached it.")
            async for _ in signals:
                break
        nursery.cancel_scope.cancel()


@contextlib.contextmanager
def _stop_signals() -> Iterator[AsyncIterator[int]]:
    """SIGHUP: the terminal is gone, and nobody reads on. SIGUSR1 and SIGUSR2 have no meaning here."""
    with trio.open_signal_receiver(signal.SIGINT, signal.SIGTERM, signal.SIGHUP) as signals:
        signal.pthread_sigmask(signal.SIG_UNBLOCK, [signal.SIGHUP])
        yield signals


async def _demo(listen: str) -> None:
    from blitz.gateway import serve

    plugin_dir = builtin_plugins()
    async with trio.open_nursery() as nursery:
        with _stop_signals() as signals:
            host, upstream_port = await nursery.start(serve_upstream)
            upstream = f"http://{host}:{upstream_port}"
            config = with_admin(demo_config(listen, upstream, plugin_dir))
            gateway = await nursery.start(serve, config)
            base = "http://{}:{}".format(*gateway.addresses[0])
            click.echo(introduction(base, upstream))
            async for _ in signals:
                break
            await gateway.drain(grace=1.0)
        nursery.cancel_scope.cancel()
