"""Who may ask the admin listener for what.

A page in a browser of this machine, or of an operator's, can send requests here. It reads nothing and changes
nothing: under a name that its site can point to us (DNS rebinding) it has a Host that is no address; from its
own origin it has an Origin that is not ours; and what it may send without asking first (a form, an image) has
neither a type nor a field that a change must have.
"""

from __future__ import annotations

import hmac
import ipaddress
from dataclasses import replace
from typing import Any

from blitz.http.heads import field_values, span_bytes
from blitz.http.reply import Reply

__all__ = ["NO_STORE", "text", "why_not_changed", "why_refused"]

NO_STORE = (b"cache-control", b"no-store")
FIELD = b"x-blitz-admin"  # of any value: browsers do not send it to other origins unasked
OPEN = (b"/livez", b"/readyz")  # they say nothing that a probe may not know


def text(status: int, body: str) -> Reply:
    """A sentence."""
    return Reply(status, body.encode(), fields=(NO_STORE,))


def why_refused(request: Any, path: bytes, token: bytes) -> Reply | None:
    """What whoever asks gets instead; None: they may.

    Args:
        request: cffi ``blitz_head *``. token: b"" for none.
    """
    host = span_bytes(request, request.host)
    if not token and not is_local_name(host):
        return text(421, "use an address or localhost as the name of this host, or set admin.token\n")
    if not _is_own_origin(request, host):
        return text(403, "a page of another origin may not ask here\n")
    if token and path not in OPEN and not _has_token(request, token):
        challenge = (b"www-authenticate", b'Bearer realm="blitz"')
        return replace(text(401, "admin.token is wanted\n"), fields=(NO_STORE, challenge))
    return None


def why_not_changed(request: Any) -> Reply | None:
    """The same for whoever may ask, and wants to change something."""
    if _is_meant(request):
        return None
    return text(403, "to change something, send content-type: application/json or x-blitz-admin: 1\n")


def _is_own_origin(request: Any, host: bytes) -> bool:
    """It comes from no page, or from one of ours: Origin (Fetch 3.2), Sec-Fetch-Site (Fetch Metadata)."""
    site = [value.lower() for value in field_values(request, b"sec-fetch-site")]
    if any(value not in (b"none", b"same-origin") for value in site):
        return False
    origins = field_values(request, b"origin")
    return all(origin in (b"http://" + host, b"https://" + host) and host for origin in origins)


def _is_meant(request: Any) -> bool:
    kinds = field_values(request, b"content-type")
    is_json = len(kinds) == 1 and kinds[0].partition(b";")[0].strip().lower() == b"application/json"
    return is_json or bool(field_values(request, FIELD))


def _has_token(request: Any, token: bytes) -> bool:
    values = field_values(request, b"authorization")
    if len(values) != 1:
        return False
    scheme, _, given = values[0].partition(b" ")
    return scheme.lower() == b"bearer" and hmac.compare_digest(given.strip(), token)


def is_local_name(authority: bytes) -> bool:
    """An address, or localhost: nobody else's name can be that."""
    host = authority.decode("latin-1")
    if host.startswith("["):
        host = host[1:].partition("]")[0]
    elif host.count(":") == 1:
        host = host.partition(":")[0]
    if host.lower() == "localhost":
        return True
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return False
    return True
