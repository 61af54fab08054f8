"""A client connection as those see it who hold many: the context, a drain, whoever needs a place.

They know nothing of how it is served (``connection.py``).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from blitz.errors import CutOff

    from .deadline import Timer
    from .facts import ExchangeFacts
    from .peer import Peer
    from .stream import ByteStream

__all__ = ["OpenConnection"]


class OpenConnection(Protocol):
    """One that was accepted and has not ended.

    Attributes:
        busy: an exchange is running.
    """

    busy: bool

    @property
    def exchange(self) -> ExchangeFacts | None:
        """The one that runs on the general path."""
        ...

    @property
    def peer(self) -> Peer:
        """Who is at its other end."""
        ...

    @property
    def stream(self) -> ByteStream:
        """Its bytes."""
        ...

    @property
    def timer(self) -> Timer:
        """The deadline of its present wait."""
        ...

    def cancel(self) -> None:
        """End it, whatever it does."""
        ...

    def drain(self) -> None:
        """No keep-alive from now on; an idle client may still send a request for a moment."""
        ...

    def cut_off(self, why: CutOff) -> None:
        """End the exchange that runs: with a response that says so, if none has begun."""
        ...
