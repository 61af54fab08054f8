"""The SSL objects of Python's ``ssl``, as C sees them (``native/tls.c``).

OpenSSL is reached by its public interface, through the shared object of ``_ssl``: so it is the very copy
that ``ssl`` uses. Where that cannot be (``_ssl`` is built into the interpreter, or hides its symbols), Python
drives every TLS connection: slower, and otherwise the same.
"""

from __future__ import annotations

import _ssl
import functools
import logging
import ssl
from typing import Any

from blitz._native import ffi, lib

__all__ = ["why_not", "wrap"]

_log = logging.getLogger("blitz.tls")

enabled = True  # for tests: False lets Python drive what is made from now on


@functools.cache
def why_not() -> str:
    """Why C cannot drive TLS in this process; "" if it can. Tried, and logged, once."""
    why = _open()
    if why:
        _log.info("TLS takes the general path, which is slower: %s; a Python with a shared ssl helps", why)
    return why


def _open() -> str:
    path = getattr(_ssl, "__file__", "")
    if not path:
        return "ssl is built into this interpreter"
    error = ffi.new("char[256]")
    if lib.blitz_ssl_open(path.encode(), error, len(error)):
        return str(ffi.string(error).decode(errors="replace"))
    return "" if _is_found() else "its ssl makes SSL objects that cannot be found"


def wrap(
    context: ssl.SSLContext,
    from_peer: ssl.MemoryBIO,
    to_peer: ssl.MemoryBIO,
    *,
    server_side: bool,
    server_hostname: str | None = None,
) -> tuple[ssl.SSLObject, Any]:
    """As ``context.wrap_bio``, and what C needs of it as long as it lives: cffi ``blitz_tls *``."""
    state = ffi.new("blitz_tls *")
    if not enabled or why_not():
        return context.wrap_bio(from_peer, to_peer, server_side, server_hostname), state
    lib.blitz_ssl_expect()
    made = context.wrap_bio(from_peer, to_peer, server_side, server_hostname)
    lib.blitz_ssl_take(state)
    return made, state


def _is_found() -> bool:
    """Make an object and look: is what was found its own?"""
    state = ffi.new("blitz_tls *")
    from_peer = ssl.MemoryBIO()
    lib.blitz_ssl_expect()
    made = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER).wrap_bio(from_peer, ssl.MemoryBIO(), server_side=True)
    if lib.blitz_ssl_take(state):
        return False
    from_peer.write(b"probe")
    return bool(lib.blitz_ssl_received(state) == from_peer.pending) and made is not None
