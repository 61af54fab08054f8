"""``[auth.NAME.forward]``: another service decides, as with Traefik's ForwardAuth and nginx's auth_request.

The service is asked with GET and without the body. 2xx lets the request pass, and upstreams are told the
fields that are named; 3xx and 4xx go to the client as they are: a page to log in, a redirect. Anything else
is an error of the service, and nobody passes.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from blitz.errors import UpstreamError
from blitz.http.reply import Reply

from .identity import Identity
from .services import Answer, Question

if TYPE_CHECKING:
    from blitz.config.auth_keys import ForwardAuth
    from blitz.config.urls import ServiceUrl

    from .message import Message
    from .services import Found, Moment, Services

__all__ = ["ForwardAuthenticator"]

# Not the service's: of the link, of the body that stays here, and what is told anew.
_NOT_TOLD = frozenset(
    (
        *(b"host", b"connection", b"keep-alive", b"proxy-connection", b"te", b"trailer", b"upgrade"),
        *(b"transfer-encoding", b"content-length", b"content-encoding", b"expect", b"max-forwards"),
        *(b"http2-settings", b"proxy-authorization", b"via", b"forwarded", b"range", b"if-range"),
        *(b"x-forwarded-for", b"x-forwarded-proto", b"x-forwarded-host", b"x-forwarded-method"),
        *(b"x-forwarded-uri", b"x-original-method", b"x-original-url", b"if-modified-since"),
        *(b"if-none-match", b"if-match", b"if-unmodified-since"),
    )
)
# Not the client's: of the link, or decided here.
_NOT_GIVEN = frozenset(
    (
        *(b"connection", b"keep-alive", b"proxy-connection", b"te", b"trailer", b"upgrade", b"date"),
        *(b"transfer-encoding", b"content-length", b"content-type", b"via"),
    )
)


class ForwardAuthenticator:
    """Of one ``[auth]``.

    Args:
        upstream: name of its cluster. url: what is asked of it.
    """

    def __init__(self, name: str, settings: ForwardAuth, upstream: str, url: ServiceUrl) -> None:
        self._name = name
        self._settings = settings
        self._upstream = upstream
        self._url = url
        self._told = frozenset(field.lower().encode() for field in settings.request_headers)
        self.owned = tuple(field.lower().encode() for field in settings.response_headers)
        self._identity = settings.identity.lower().encode()

    async def check(self, message: Message, services: Services) -> Identity | Answer:
        settings = self._settings
        question = Question(
            self._upstream,
            self._url.authority,
            self._url.target.encode(),
            settings.timeout,
            settings.max_body,
            self._fields(message),
        )
        found = await services.ask(question)
        if 200 <= found.status < 300:
            return self._let_pass(found)
        if 300 <= found.status < 500 and found.status != 304:
            return self._answer(found)
        raise UpstreamError(f"auth {self._name}: the service answered {found.status}")

    def _fields(self, message: Message) -> tuple[tuple[bytes, bytes], ...]:
        fields = [
            (name, value)
            for name, value in message.fields()
            if name not in _NOT_TOLD and (not self._told or name in self._told)
        ]
        scheme, host, target = message.scheme.encode(), message.host, message.target
        fields += [
            (b"x-forwarded-method", message.method),
            (b"x-forwarded-proto", scheme),
            (b"x-forwarded-host", host),
            (b"x-forwarded-uri", target),
            (b"x-forwarded-for", message.client.encode()),
            (b"x-original-method", message.method),
            (b"x-original-url", scheme + b"://" + host + target),
        ]
        return tuple(fields)

    def _let_pass(self, found: Found) -> Identity:
        fields = []
        for name in self.owned:
            values = [value for key, value in found.fields if key == name]
            if values:
                fields.append((name, b", ".join(values)))
        who = (found.value(self._identity) or b"") if self._identity else b""
        return Identity(who.decode("utf-8", "replace"), {}, tuple(fields))

    def _answer(self, found: Found) -> Answer:
        kind = found.value(b"content-type") or b""
        fields = tuple((name, value) for name, value in found.fields if name not in _NOT_GIVEN)
        reply = Reply(found.status, found.body, kind, fields)
        return Answer(
            found.status, "denied", f"auth {self._name}: the service answered {found.status}", reply=reply
        )

    def known(self, message: Message, moment: Moment) -> Identity | None:
        return None  # the service is asked for each request

    def strip(self, message: Message) -> None:
        """What the client has shown is the service's business, and upstreams'."""
