"""What a path means to the server behind us: percent-encoding undone, dot segments resolved, slashes merged.

Routes are matched on that meaning; what is forwarded is what came. So ``/public/../admin`` is found under
``/admin``, whose plugins then see it, and not under ``/public``.

Servers differ in what they make of some paths. RFC 3986 keeps an encoded slash as data and counts an empty
segment as one. nginx takes ``%2F`` for a slash, and merges slashes before it looks at dots; Envoy can be
told to refuse ``%2F`` and ``%5C``; some servers read a backslash as a slash, and Java's leave out ``;`` and
what follows it in a segment, so that ``..;`` is ``..``. ``readings`` gives both ends of that range; where
they lead to different routes, the router refuses the request. ``/projects/a%2Fb`` passes.

A path that climbs above the root is refused, as nginx does; RFC 3986 section 5.2.4 and Envoy drop the excess.
"""

from __future__ import annotations

import re
from urllib.parse import unquote_to_bytes

from blitz.errors import ClientError

__all__ = ["may_mean_another", "plain", "readings"]

# What stays encoded while the rest is decoded: it would be a separator, or begin another encoding.
_KEPT = re.compile(rb"%(2[Ff]|5[Cc]|25)")
_SEPARATOR = re.compile(rb"/|%2[Ff]|%5[Cc]")
_PARAMETERS = re.compile(rb"(?:;|%3[Bb]).*", re.DOTALL)


def may_mean_another(path: bytes) -> bool:
    """*path* may mean another path than it spells. Most do not, and need no further look."""
    return b"%" in path or b"/." in path or b"//" in path or b";" in path


def plain(path: bytes) -> bytes:
    """*path* as RFC 3986 reads it (sections 5.2.4 and 6.2.2), then slashes merged, none at the end.

    Raises:
        ClientError: it climbs above the root.
    """
    return _resolved([_decoded(segment) for segment in path.split(b"/")[1:]])


def readings(path: bytes) -> tuple[bytes, bytes]:
    """``plain``, and the same for a server that takes every doubtful byte for a slash, merges slashes first,
    and leaves parameters out.

    Raises:
        ClientError: one of them climbs above the root.
    """
    segments = [_decoded(_PARAMETERS.sub(b"", segment)) for segment in _SEPARATOR.split(path)]
    return plain(path), _resolved([segment for segment in segments if segment])


def _decoded(segment: bytes) -> bytes:
    if b"%" not in segment:
        return segment
    # %2f becomes %252F, which is %2F when it is decoded: still encoded, and in one spelling.
    return unquote_to_bytes(_KEPT.sub(lambda found: b"%25" + found[1].upper(), segment))


def _resolved(segments: list[bytes]) -> bytes:
    """RFC 3986 section 5.2.4, on segments."""
    kept: list[bytes] = []
    for segment in segments:
        if segment == b"..":
            if not kept:
                raise ClientError("path climbs above the root")
            kept.pop()
        elif segment != b".":
            kept.append(segment)
    return b"/" + b"/".join(segment for segment in kept if segment)
