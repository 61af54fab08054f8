"""Which name below a directory the path of a request is.

A path has one reading or it names nothing: what it spells when it is decoded once has to be the canonical
path (``blitz/routing/path.py``) that plugins and guards have seen. So ``..``, ``.``, an empty segment, a
parameter, an encoded slash and a backslash name nothing, however they are spelt.
"""

from __future__ import annotations

from urllib.parse import unquote_to_bytes

from blitz.routing.path import canonical

__all__ = ["MAX_NAME", "file_name"]

MAX_NAME = 4095  # bytes: Linux's PATH_MAX without the NUL
MAX_SEGMENT = 255  # its NAME_MAX
WELL_KNOWN = b".well-known"  # RFC 8615


def file_name(path: bytes) -> bytes | None:
    """The name that *path* (a target without its query) is, relative, b"" for the directory itself; it ends
    in a slash if the path does. None: it names nothing.

    No name has a segment that begins with a dot, but for ``.well-known``: editors, shells and version control
    keep there what is not for everybody.
    """
    if not path.startswith(b"/") or len(path) > 3 * MAX_NAME:
        return None
    name = unquote_to_bytes(path)
    if name != canonical(path) or name.count(b"/") != path.count(b"/"):
        return None
    if len(name) > MAX_NAME or b"\0" in name or b"\\" in name:
        return None
    segments = name[1:].split(b"/")
    if any(one.startswith(b".") and one != WELL_KNOWN for one in segments):
        return None
    if max(map(len, segments)) > MAX_SEGMENT:
        return None
    return name[1:]
