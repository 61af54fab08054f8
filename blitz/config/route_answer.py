"""Rules for a route's own answer."""

from __future__ import annotations

from blitz.config.route_keys import Answer
from blitz.config.source import Bad, Document

__all__ = ["check_answer"]

# RFC 9110 sections 15.3.5, 15.3.6 and 15.4.5; the least status that may be written is 200.
NO_CONTENT = {204: "204 No Content", 205: "205 Reset Content", 304: "304 Not Modified"}


def check_answer(document: Document, answer: Answer, at: tuple[str | int, ...]) -> None:
    """Report a body that its status does not let through. *at*: the path of the answer."""
    if isinstance(answer, Bad) or isinstance(answer.status, Bad) or isinstance(answer.body, Bad):
        return
    said = "body" if answer.body else "file"
    if (answer.body or answer.file) and answer.status in NO_CONTENT:
        document.report(
            (*at, said),
            f"a response with status {NO_CONTENT[answer.status]} has no body, so this would not be sent: "
            "take it out, or answer with another status, such as 200",
        )
