"""Keeps certificates: orders those that are missing or near their end, in a thread beside the traffic.

Every worker runs it; the one that holds the lock of the storage directory orders. What it has got is taken up
by whoever looks after certificates, as when an operator replaces a file.
"""

from __future__ import annotations

import logging
import random
import time
from collections.abc import Awaitable, Callable, Iterator
from functools import partial

import trio

from blitz.acme.schedule import Tries, after_failure, is_due
from blitz.acme.store import Store
from blitz.config.acme_keys import Acme
from blitz.server.acme_challenges import Challenges, read_answers
from blitz.server.reading import read_apart
from blitz.text import one_line

__all__ = ["certificate_helpers", "order_due"]

_log = logging.getLogger("blitz.acme")

LOOK_INTERVAL = 1.0  # seconds between looks at what is pending
DUE_INTERVAL = 60.0  # seconds between looks at what is due


def certificate_helpers(
    settings: Callable[[], Acme], challenges: Callable[[], Challenges]
) -> Iterator[tuple[str, str, Callable[[], Awaitable[object]]]]:
    """What works beside the traffic: name, what is lost while it fails, and what to run.

    Args:
        settings, challenges: give those of the present configuration.
    """
    yield (
        "answers for certificate authorities",
        "no certificate is issued",
        partial(_watch_challenges, settings, challenges),
    )
    yield "ordering certificates", "those that are there go on", partial(_keep_certificates, settings)


async def _watch_challenges(settings: Callable[[], Acme], challenges: Callable[[], Challenges]) -> None:
    """Keep what is pending in memory, for ever."""
    while True:
        acme = settings()
        if acme.domains:
            answers = await read_apart(partial(read_answers, acme.storage))
            challenges().answers = answers
        await trio.sleep(LOOK_INTERVAL)


async def _keep_certificates(settings: Callable[[], Acme]) -> None:
    """Order what is due, for ever."""
    while True:
        acme = settings()
        if acme.domains and acme.agree_terms:
            # Left behind at the end: the next one to hold the lock begins anew.
            await trio.to_thread.run_sync(partial(order_due, acme), abandon_on_cancel=True)
        await trio.sleep(DUE_INTERVAL)


def order_due(acme: Acme) -> None:
    """Order each certificate that is due, one after the other, unless another process does so. Blocks."""
    store = Store(acme.storage)
    with store.lock() as held:
        if not held:
            return
        for name in acme.domains:
            tries = store.tries(name)
            if is_due(time.time(), tries, _life(store, name)):
                _order(acme, store, name, tries)


def _life(store: Store, name: str) -> tuple[float, float] | None:
    from blitz.acme.order import life_of  # loads the package

    pem = store.certificate(name)
    try:
        return None if pem is None else life_of(pem)
    except ValueError:
        return None


def _order(acme: Acme, store: Store, name: str, tries: Tries) -> None:
    from blitz.acme.order import OrderFailed, order  # loads the package

    try:
        order(acme, store, name)
    except Exception as exc:  # the network's too; what is wrong with one name must not keep others waiting
        now = time.time()
        limited = isinstance(exc, OrderFailed) and exc.rate_limited
        later = after_failure(now, tries, random.random(), rate_limited=limited)
        store.keep_tries(name, later)
        reason = str(exc) if isinstance(exc, OrderFailed) else f"{type(exc).__name__}: {exc}"
        _log.error(
            "certificate for %s not issued: %s; tried again in %d s",
            name,
            one_line(reason)[:500],
            later.next - now,
        )
        return
    store.keep_tries(name, Tries())
    _log.info("certificate for %s issued", name)
