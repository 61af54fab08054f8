"""From the parent to a worker: what a fork inherits, what it closes, and how the process ends."""

from __future__ import annotations

import contextlib
import logging
import os
import socket
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace

import trio

from blitz.config import Resolved
from blitz.errors import BlitzError, ListenerDied, only_error
from blitz.gateway import Gateway, PlaceOnScoreboard, Shared
from blitz.process.heartbeat import Heartbeat
from blitz.process.orders import Orders
from blitz.process.queues import Queues
from blitz.process.reports import Reports
from blitz.process.signals import SignalQueue, ignore_in_worker
from blitz.process.worker import EXIT_BAD_INPUT, EXIT_FAILED, Reader, WorkerStart, work

__all__ = ["Inherited", "Newcomer", "OnReady", "launch"]

_log = logging.getLogger("blitz.workers")

OnReady = Callable[[Gateway], None]


@dataclass(frozen=True, slots=True)
class Inherited:
    """What every worker gets from its parent.

    Attributes:
        read_again: see ``WorkerStart``. on_ready: what the first worker of all calls once it serves.
        alive_in, alive_out: the pipe whose end tells workers that the parent is gone.
        admin_sockets: listening sockets for operators.
    """

    shared: Shared
    read_again: Reader | None
    on_ready: OnReady | None
    reports: Reports
    heartbeat: Heartbeat
    signals: SignalQueue
    queues: Queues
    alive_in: int
    alive_out: int
    admin_sockets: list[socket.socket]


@dataclass(frozen=True, slots=True)
class Newcomer:
    """One worker that is about to start.

    Attributes:
        number: of its place. place: on the scoreboard; None: there is none.
        config, served, set_up_as: see ``WorkerStart``. first: it is the first worker of all.
        orders: to it. siblings: orders to the others, which it closes.
    """

    number: int
    place: PlaceOnScoreboard | None
    config: Resolved | Reader
    served: Mapping[str, str]
    set_up_as: Resolved
    first: bool
    orders: Orders
    siblings: list[Orders]


def launch(newcomer: Newcomer, given: Inherited) -> int:
    """Fork a worker. In the worker this does not return: its process ends.

    Returns:
        The process id, to the parent.
    Raises:
        OSError: the system has no process now.
    """
    pid = os.fork()
    if pid:
        return pid
    code = EXIT_FAILED
    try:
        code = _be_a_worker(newcomer, given)
    except BlitzError as exc:
        given.reports.send_last(str(exc))
        code = EXIT_FAILED if isinstance(exc, ListenerDied) else EXIT_BAD_INPUT
    except BaseException:
        _log.exception("worker %d failed", newcomer.number)
    finally:
        with contextlib.suppress(OSError, ValueError):
            sys.stdout.flush()
            sys.stderr.flush()
        logging.shutdown()  # what handlers hold back is written; it raises nothing
        os._exit(code)


def _be_a_worker(newcomer: Newcomer, given: Inherited) -> int:
    ignore_in_worker()
    os.close(given.alive_out)
    given.reports.only_send()
    newcomer.orders.only_obey()
    for sibling in newcomer.siblings:
        sibling.close()
    given.heartbeat.only_beat()
    given.signals.close()
    given.queues.keep_only(newcomer.number)

    def ready(gateway: Gateway) -> None:
        if newcomer.first and given.on_ready is not None:
            given.on_ready(gateway)

    start = WorkerStart(
        config=newcomer.config,
        served=newcomer.served,
        sockets=given.queues.of(newcomer.number),
        shared=given.shared,
        read_again=given.read_again,
        ready=ready,
        changed=lambda gateway: given.reports.send(served=gateway.served()),
        beat=given.heartbeat.beat,
        parent=given.alive_in,
        admin_sockets=given.admin_sockets,
        place=newcomer.place and replace(newcomer.place, ask=given.reports.ask),
        name=f"worker {newcomer.number}",
        set_up_as=newcomer.set_up_as,
        orders=newcomer.orders,
        leaving=given.reports.ask_to_leave,
        drained=lambda in_flight, cut: given.reports.send_last(drained=(in_flight, cut)),
    )
    return _flat(trio.run, work, start)


def _flat(run_trio: Callable[..., int], *args: object) -> int:
    """Run, and let a single BlitzError out of the groups that nurseries put around it."""
    try:
        return run_trio(*args)
    except BaseExceptionGroup as group:
        error = only_error(group)
        if error is None:
            raise
        raise error from None
