"""What scripts of other origins may do: CORS as the Fetch standard has it (section 3.2).

Deny by default: an origin that is not listed gets no field, and its preflight an answer without permission.
The answer says ``Vary: Origin`` wherever it depends on that, and never ``*`` together with credentials.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from blitz._native import lib
from blitz.http.heads import field_values
from blitz.http.preflight import ORIGIN, REQUESTED_METHOD, preflight_for
from blitz.http.reply import Reply

from .services import Answer

if TYPE_CHECKING:
    from collections.abc import Sequence

    from blitz.config.filter_keys import Cors

    from .message import Message
    from .services import Services

__all__ = ["CorsFilter", "Origins"]

_DEFAULT_PORTS = {b"http": b":80", b"https": b":443"}
# Those that scripts may read without leave, and upstreams may say something else about.
_OURS = (
    b"access-control-allow-origin",
    b"access-control-allow-credentials",
    b"access-control-expose-headers",
)
MAX_ORIGIN = 300  # bytes


class Origins:
    """A set of origins: exact ones, and names below a domain (``https://*.app.example``)."""

    def __init__(self, origins: Sequence[str]) -> None:
        """*origins*: as ``parse_origin`` of the configuration gives them."""
        self.all = "*" in origins
        self._exact = frozenset(one.encode() for one in origins if "*" not in one)
        self._below = []
        for one in origins:
            scheme, star, rest = one.partition("://*.")
            if star:
                self._below.append((f"{scheme}://".encode(), f".{rest}".encode()))

    def contains(self, origin: bytes) -> bool:
        """*origin*, a field's value, is one of them."""
        if not origin or len(origin) > MAX_ORIGIN or origin == b"null":
            return self.all and 0 < len(origin) <= MAX_ORIGIN
        plain = _plain(origin)
        return self.all or plain in self._exact or any(self._is_below(plain, *one) for one in self._below)

    @staticmethod
    def _is_below(origin: bytes, scheme: bytes, suffix: bytes) -> bool:
        """The part that ``*`` stands for is one label or several, of letters, digits and hyphens."""
        if not origin.startswith(scheme) or not origin.endswith(suffix):
            return False
        labels = origin[len(scheme) : len(origin) - len(suffix)].split(b".")
        return all(label and label.replace(b"-", b"").replace(b"_", b"").isalnum() for label in labels)


def _plain(origin: bytes) -> bytes:
    """In lower case, without the scheme's own port."""
    origin = origin.lower()
    return origin.removesuffix(_DEFAULT_PORTS.get(origin.partition(b":")[0], b"\0"))


class CorsFilter:
    """Of one route."""

    def __init__(self, cors: Cors, origins: Sequence[str]) -> None:
        """*origins*: in their plain form."""
        self._origins = Origins(origins)
        self._wildcard = self._origins.all and not cors.credentials
        self._credentials = cors.credentials
        self._methods = frozenset(cors.methods)
        self._headers = frozenset(name.lower() for name in cors.headers)
        self._expose = ", ".join(cors.expose).encode()
        self._max_age = b"%d" % int(cors.max_age)

    async def request(self, message: Message, services: Services) -> Answer | None:
        """Answer a preflight; anything else passes, with or without leave: a browser looks at the
        response."""
        return self.preflight(message)

    def preflight(self, message: Message) -> Answer | None:
        """The same; it waits for nothing."""
        message.origins = message.values(ORIGIN)  # plugins may change the field
        if preflight_for(message.method, message.origins, message.values(REQUESTED_METHOD)) is None:
            return None
        fields = [(b"vary", b"Origin, Access-Control-Request-Method, Access-Control-Request-Headers")]
        fields += self._permission(message)
        return Answer(204, reply=Reply(204, b"", b"", tuple(fields)))

    def _permission(self, message: Message) -> list[tuple[bytes, bytes]]:
        """Nothing, if the origin has none."""
        origin = self._origin(message.origins)
        if origin is None:
            return []
        fields = [(b"access-control-allow-origin", origin)]
        if self._credentials:
            fields.append((b"access-control-allow-credentials", b"true"))
        if self._methods:
            fields.append((b"access-control-allow-methods", ", ".join(sorted(self._methods)).encode()))
        if self._headers:
            fields.append((b"access-control-allow-headers", ", ".join(sorted(self._headers)).encode()))
        fields.append((b"access-control-max-age", self._max_age))
        return fields

    def _origin(self, values: Sequence[bytes]) -> bytes | None:
        """What Access-Control-Allow-Origin says; None: the origin has no leave, or there are several."""
        if len(values) != 1 or not self._origins.contains(values[0]):
            return None
        return b"*" if self._wildcard else values[0]

    def response(self, message: Message, response: Any) -> None:
        """Say on *response* (cffi ``blitz_head *``) what scripts may read; what an upstream has said is
        replaced: the gateway's rule is the rule."""
        for name in _OURS:
            lib.blitz_head_remove(response, name, len(name))
        if not self._wildcard:
            _vary(response)
        origin = self._origin(message.origins)
        if origin is None:
            return
        _add(response, b"access-control-allow-origin", origin)
        if self._credentials:
            _add(response, b"access-control-allow-credentials", b"true")
        if self._expose:
            _add(response, b"access-control-expose-headers", self._expose)


def _vary(response: Any) -> None:
    """Once (RFC 9110 section 12.5.5)."""
    said = b",".join(field_values(response, b"vary")).lower().split(b",")
    if not {b"origin", b"*"} & {name.strip() for name in said}:
        _add(response, b"vary", b"Origin")


def _add(response: Any, name: bytes, value: bytes) -> None:
    # A response with as many fields as may be gets none: without leave, scripts read nothing.
    lib.blitz_head_add(response, name, len(name), value, len(value))
