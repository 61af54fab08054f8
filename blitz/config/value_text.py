"""Texts in which a route names facts of an exchange: ``"${client.address}"``.

They look like references to environment variables, and the file's reader leaves them alone: the names of
facts are known here. ``$${`` is the two characters ``${``.
"""

from __future__ import annotations

import re

from blitz.config.check import nearest

__all__ = ["FACTS", "PATH_FACTS", "is_fact", "parse_text"]

PATH_FACTS = {
    "path": "the path, without the query",
    "path.rest": "what stands behind `path_prefix`; it begins with `/`, or is empty",
    "query": "with its `?`; empty where there is none",
}
FACTS = {
    "client.address": "the client's, behind trusted proxies too",
    "client.port": "empty for one behind a proxy that does not say it",
    "client.scheme": "`http` or `https`, as the client used it",
    "request.id": "32 hex digits",
    "request.method": "",
    "request.host": "with its port",
    "request.target": "path and query as they came",
    **PATH_FACTS,
    "route.name": "",
    "upstream.address": "in responses",
    "response.status": "in responses",
    "tls.version": "",
    "tls.cipher": "",
    "tls.sni": "",
    "tls.subject": "of the client's certificate",
    "tls.sha256": "of the client's certificate",
    "identity": "who the client is, as `auth` found out",
}
_CLAIM = re.compile(r"jwt\.[A-Za-z0-9_.:/-]+")  # of the token that `auth` has checked
_PART = re.compile(r"\$\$\{|\$\{([^{}]*)(\}?)")


def is_fact(name: str) -> bool:
    """``${name}`` is a fact of an exchange, not a variable of the environment."""
    return name in FACTS or _CLAIM.fullmatch(name) is not None


def parse_text(text: str) -> tuple[tuple[str, str], ...]:
    """The parts of *text*: ("", literal text) or (name of a fact, "").

    Raises:
        ValueError: one sentence.
    """
    parts: list[tuple[str, str]] = []
    end = 0
    for found in _PART.finditer(text):
        parts.append(("", text[end : found.start()]))
        end = found.end()
        if found[0] == "$${":
            parts.append(("", "${"))
            continue
        if not found[2]:
            raise ValueError(
                "`${` is never closed; write `${client.address}`, or `$${` for the two characters"
            )
        if not is_fact(found[1]):
            raise ValueError(f"`{found[0]}` is no fact of a request{nearest(found[1], list(FACTS))}")
        parts.append((found[1], ""))
    parts.append(("", text[end:]))
    return tuple(part for part in parts if part != ("", ""))
