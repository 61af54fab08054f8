"""`rewrite = { regex = "...", to = "..." }`: what it must be, and what `to` means."""

from __future__ import annotations

import re

from blitz.config.patterns import count_groups
from blitz.config.route_keys import Rewrite
from blitz.config.source import Bad, Document

__all__ = ["check_regex", "parse_template"]

_PART = re.compile(r"\$\$|\$(\d+)|\\(\d)|(\$)|(\\)|([^$\\]+)")
_LITERAL = re.compile(r"[A-Za-z0-9._~!$&'()*+,;=:@/%-]*")


def parse_template(text: str) -> tuple[str | int, ...]:
    """The parts of *text*, which has been checked: literal texts, and numbers of groups."""
    parts: list[str | int] = []
    for found in _PART.finditer(text):
        number = found[1] or found[2]
        parts.append(int(number) if number is not None else "$" if found[0] == "$$" else found[0])
    return tuple(parts)


def check_regex(document: Document, rewrite: Rewrite, at: tuple[str | int, ...]) -> None:
    """Report what is wrong in *regex* and *to*; *at*: the path of the table."""
    regex, to = rewrite.regex, rewrite.to
    if isinstance(regex, Bad) or isinstance(to, Bad):
        return
    if not to:
        document.report((*at, "regex"), "needs `to`: what stands in the path instead, such as /users/$1")
        return
    if not regex:
        document.report((*at, "to"), "needs `regex`: what it stands for")
        return
    try:
        groups = count_groups(regex)
    except ValueError as exc:
        document.report((*at, "regex"), str(exc))
        return
    if "?" in to or "#" in to:
        document.report((*at, "to"), "has a query, and the query stays as it came; write the path alone")
        return
    for found in _PART.finditer(to):
        number = found[1] or found[2]
        if number is not None and int(number) > groups:
            many = "no group" if not groups else "one group" if groups == 1 else f"{groups} groups"
            document.report((*at, "to"), f"`{found[0]}` is not there: the pattern has {many}")
            return
        if found[3] or found[4]:
            document.report(
                (*at, "to"),
                f"`{found[0]}` is followed by no number of a group; write `$1`, or `$$` for a dollar",
            )
            return
        if found[5] and not _LITERAL.fullmatch(found[5]):
            document.report((*at, "to"), f'"{found[5]}" has a character that no path has; percent-encode it')
            return
