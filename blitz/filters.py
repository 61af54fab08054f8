"""The filter door: what looks at requests and responses on their way, and may change or answer them.

An exchange knows this and no plugin. The one kind that there is today is a chain of Wasm plugins
(``wasm/chain.py``), which C runs as a whole; the fast path takes routes whose filter is one.

A filter waits for nothing. It says what it needs with a step, and is called again when that is there::

    CONTINUE       the message may pass; the edits are in the exchange's head
    ANSWER         (request) the exchange's response head and new_body are the response
    PENDING        its time slice is over, or its turn has not come: let others run, then ``resume``; or it
                   waits for something ``outside``: see to that first
    NEED_BODY      it reads the body of the message in hand: put that into the exchange, set ``body_ready``,
                   call the same method again
    NEED_INSTANCE  ``needed`` is busy: wait for it, call again
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol

from blitz._native import lib
from blitz.errors import PluginError

__all__ = ["ANSWER", "CONTINUE", "NEED_BODY", "NEED_INSTANCE", "PENDING", "Filter", "FilterRun", "Waited"]

CONTINUE: int = lib.BLITZ_CHAIN_CONTINUE
ANSWER: int = lib.BLITZ_CHAIN_ANSWER
PENDING: int = lib.BLITZ_CHAIN_PENDING
NEED_BODY: int = lib.BLITZ_CHAIN_NEED_BODY
NEED_INSTANCE: int = lib.BLITZ_CHAIN_NEED_INSTANCE


class Filter(Protocol):
    """Of one route or of several; immutable."""

    @property
    def wants(self) -> bool:
        """It has something to look at; else no exchange asks it."""
        ...

    def begin(self, exchange: Any, now: Callable[[], float], *, begun: bool = False) -> FilterRun:
        """Look at one exchange.

        Args:
            exchange: cffi ``blitz_exchange *``, whose request head is complete.
            now: the clock, in seconds.
            begun: the fast path has begun it; the step that it came to is for ``see_to``.
        """
        ...


class Waited(Protocol):
    """What whoever waits for PENDING and NEED_INSTANCE knows of a run (``server/guests.py``).

    Attributes:
        left: seconds that it may still keep the exchange waiting; the waiter counts it down.
        changed: the call that was resumed has ended, and another one is pending; the waiter sets it to False.
    """

    left: float
    changed: bool

    @property
    def needed(self) -> Any:
        """What NEED_INSTANCE waits for: ``wait(callback)``, ``wait_no_more(callback)``, ``wake()``."""
        ...

    @property
    def timeout(self) -> float:
        """Seconds that the pending call may take in all, but for what it waits for outside."""
        ...

    @property
    def wait_timeout(self) -> float:
        """Seconds that the pending call may wait for that, all together."""
        ...

    @property
    def outside(self) -> Any:
        """cffi ``blitz_instance *`` of a pending call that waits for something outside; None: its turn is
        all that it waits for. See ``server/outside.py``."""
        ...

    @property
    def max_fetch_size(self) -> int:
        """Bytes that the body of a response may have which the pending call waits for."""
        ...

    def wait_out(self) -> int:
        """The pending call has waited for as long as it may: end it; the next step. Raises PluginError."""
        ...

    @property
    def is_due(self) -> bool:
        """The pending call has not begun."""
        ...

    def resume(self) -> int:
        """Go on for another slice; the next step. Raises PluginError."""
        ...

    def time_out(self) -> int:
        """The pending call is past its deadline: end it; the next step. Raises PluginError."""
        ...

    def give_up(self) -> PluginError:
        """Nothing of the time is ``left``: end all; the error to raise."""
        ...


class FilterRun(Waited, Protocol):
    """One exchange's way through a filter; hold it until ``close``.

    Attributes:
        body_ready: the body of the message in hand is in the exchange, or it has none.
        on_fault: called with each PluginError, whatever comes of it.
        on_verdict: called with name, hook and verdict of each part that is done; None: nobody listens.
        cause: how the exchange ended, for those that are told: "done", or one of ``blitz.errors.CAUSES``.
    """

    body_ready: bool
    on_fault: Callable[[PluginError], object] | None
    on_verdict: Callable[[str, str, str], object] | None
    cause: str

    def request(self) -> int:
        """Look at the request, or go on with that. Raises PluginError."""
        ...

    def begin_response(self) -> None:
        """A response head is in the exchange. Who has seen the request sees it now, but for who gave it."""
        ...

    def begin_local_response(self) -> None:
        """The same for a local response, its body in the exchange's new_body."""
        ...

    def response(self) -> int:
        """Look at the response, or go on with that. Raises PluginError."""
        ...

    def see_to(self, step: int) -> int:
        """Go on from *step*, to which another driver has come. Raises PluginError."""
        ...

    @property
    def has_response(self) -> bool:
        """It wants to see responses."""
        ...

    @property
    def edits_answers(self) -> bool:
        """It may change the body of a response that it has read: it must have all of that."""
        ...

    def wanted_body_size(self) -> tuple[int, bool]:
        """Bytes that it takes of the body in hand at most, and whether it must have all of that."""
        ...

    def take_stages(self, which: int) -> list[Any]:
        """What is to see the body of the message in hand part by part, and was not taken yet; in the order in
        which that passes it.

        Args:
            which: BLITZ_PARTS_REQUEST or BLITZ_PARTS_RESPONSE.
        """
        ...

    @property
    def pending_plugin(self) -> str:
        """The name of the part that was asked last, for logs."""
        ...

    def extend(self, chain: Filter) -> None:
        """Go on with the rest of *chain*, which begins with what has run so far, and is of the same kind."""
        ...

    def join(self, chain: Filter) -> None:
        """All has run: go on with what of *chain* has not, each once."""
        ...

    def close(self) -> None:
        """The exchange is over; a pending call is cancelled."""
        ...
