"""One request through a configuration, as far as no plugin, no file and no socket is needed.

Everything is decided by what decides when a gateway runs: the reader of heads, the trusted networks, the
router, the rules of routes. What plugins would change, and whether ``auth`` lets the client pass, is not
known here.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import msgspec

from blitz._native import ffi, lib
from blitz.builtin.message import Message
from blitz.config.addresses import Address
from blitz.config.resolved import Resolved, ResolvedRoute
from blitz.errors import ClientError, NoRoute
from blitz.files import shown
from blitz.http.accept_encoding import choose_coding
from blitz.http.buffer import Buffer
from blitz.http.h1 import HeadReader, head_limits
from blitz.http.heads import field_values, span_bytes
from blitz.http.rules import take_hop
from blitz.routing.match import Router, Rule
from blitz.routing.reasons import UNCLEAR, for_host, why_behind, why_not
from blitz.static.names import file_name

from .asked import RANK, AskedHead
from .own_filters import own_filters
from .peer import Peer, Trust
from .route import find_route
from .route_rules import admit, native_rules, redirect, rule_request
from .route_table import answers_challenges, route_table

__all__ = ["Answered", "Trial"]

_CHALLENGES = "acme"  # what logs call the route on which a certificate authority asks


@dataclass(frozen=True, slots=True)
class Answered:
    """A response of the gateway's own. location, allow: fields of it, or "". why: for an operator."""

    status: int
    why: str = ""
    location: str = ""
    allow: str = ""


@dataclass(frozen=True, slots=True)
class _Entry:
    """What the router leads to. route None: where a certificate authority asks."""

    name: str
    route: ResolvedRoute | None
    rules: Any


class Trial:
    """A request that came to *listener*, and where it goes.

    Attributes:
        client: who it is from; scheme: that the client used, as far as we know.
        is_read: its head is one; plugins before routing see it.
        refused: it was answered before a route was found; None: it was not.
        route: that takes it; None: none, or, if ``name`` is set, where a certificate authority asks.
        name: of the route.
    """

    def __init__(self, resolved: Resolved, listener: Address, client: str, head: bytes) -> None:
        """
        Args:
            client: the address that it comes from; a trusted proxy's word about another one counts.
            head: the whole request head (RFC 9112).
        """
        self._listener = listener.name
        self._buffer = Buffer(max(len(head), 1))
        self._buffer.view[: len(head)] = head
        self._buffer.end = len(head)
        self._exchange = ffi.gc(lib.blitz_exchange_new(), lib.blitz_exchange_free)
        self._entries = [_Entry(route.name, route, native_rules(route)) for route in resolved.routes]
        acme = _Entry(_CHALLENGES, None, ffi.NULL) if answers_challenges(resolved) else None
        self._router: Router[_Entry] = route_table(resolved, self._entries, acme)
        self._entry: _Entry | None = None
        self.is_read = False
        self._peer = Peer(client, scheme="https" if listener.tls else "http", listener=listener.name)
        self.refused: Answered | None = None
        try:
            self._read(resolved, len(head))
            self.is_read = True
            self._entry = find_route(self._router, self._exchange.request, listener.name)
        except NoRoute as error:
            self.refused = Answered(error.status_hint, error.message, allow=error.allow.decode())
        except ClientError as error:
            self.refused = Answered(error.status_hint, error.message)
        accepts = field_values(self._exchange.request, b"accept-encoding") if self.is_read else []
        self._accepts = b",".join(accepts)  # as the client says it: the route may change the field
        self.route = self._entry.route if self._entry is not None else None
        self.name = self._entry.name if self._entry is not None else ""
        self.client, self.scheme = self._peer.address, self._peer.client_scheme

    def _read(self, resolved: Resolved, size: int) -> None:
        exchange, limits = self._exchange, resolved.limits
        bounds = head_limits(
            limits.max_head_size, limits.max_line_size, limits.max_field_size, limits.max_fields
        )
        lib.blitz_head_reset(exchange.request, lib.BLITZ_REQUEST)
        reader = HeadReader(bounds, resolved.http.parser)
        if reader.read_request(exchange.request, self._buffer, 0) != size:
            raise ClientError("the request head ends before its end")
        trust = Trust(resolved.trusted_proxies, resolved.trusted_field)
        if trust.contains(self._peer.address):
            self._peer = trust.client_behind(self._peer, exchange.request)
        exchange.peer = self._peer.struct

    # -- what the route says; each at most once, in this order

    def admit(self) -> Answered | None:
        """Who may come, by address."""
        return self._answer() if self._rules and admit(self._rules, self._exchange) else None

    def preflight(self) -> Answered | None:
        """CORS: the answer to a preflight."""
        assert self.route is not None
        own = own_filters(msgspec.structs.replace(self.route, auth="", rate_limit=None, compress=None), {})
        if own is None or own.cors is None:
            return None
        message = Message(self._exchange, self.client, self.scheme)
        answer = own.cors.preflight(message)
        if answer is None:
            return None
        fields = dict(answer.reply.fields) if answer.reply is not None else {}
        allowed = b"access-control-allow-origin" in fields
        return Answered(
            answer.status, "a preflight of an origin that " + ("may ask" if allowed else "has no leave")
        )

    def redirect(self) -> Answered | None:
        return self._answer() if self._rules and redirect(self._rules, self._exchange) else None

    def forward(self) -> Answered | None:
        """What is done to a request that goes to an upstream, if plugins leave it as it is."""
        try:
            if not take_hop(self._exchange, self.method):
                return Answered(200, "Max-Forwards is 0: the gateway answers as the last one on the way")
        except ClientError as error:
            return Answered(error.status_hint, error.message)
        return self._answer() if self._rules and rule_request(self._rules, self._exchange) else None

    def coding(self, offered: Sequence[str]) -> str:
        """The one of *offered* that ``compress`` would take for the client; "": none."""
        chosen = choose_coding(self._accepts, tuple(one.encode() for one in offered))
        return chosen.decode() if chosen is not None else ""

    def rewrite(self) -> Answered | None:
        """What is done to a request that gets a file."""
        return self._answer() if self._rules and rule_request(self._rules, self._exchange) else None

    def file(self) -> str | None:
        """The name below the root that the request is for; None: it names nothing."""
        request = self._exchange.request
        name = file_name(span_bytes(request, request.target).partition(b"?")[0])
        return None if name is None else shown(name.decode("utf-8", "surrogateescape"))

    @property
    def method(self) -> bytes:
        return span_bytes(self._exchange.request, self._exchange.request.method)

    @property
    def target(self) -> str:
        """As it is by now."""
        return span_bytes(self._exchange.request, self._exchange.request.target).decode("latin-1")

    @property
    def _rules(self) -> Any:
        return self._entry.rules if self._entry is not None else ffi.NULL

    def _answer(self) -> Answered:
        response = self._exchange.response
        location = field_values(response, b"location")
        return Answered(response.status, location=location[0].decode("latin-1") if location else "")

    # -- the others

    def others(self) -> list[tuple[str, str]]:
        """Each other route, in order, and why it does not take the request; none if it is refused
        whatever routes there are, for its head or its path.

        To be called first: what a route says changes the request.
        """
        if not self.is_read:
            return []
        request = self._exchange.request
        host, target = span_bytes(request, request.host), span_bytes(request, request.target)
        try:
            self._router.candidates(host, target)
        except ClientError:  # no route is asked
            return []
        asked = AskedHead(request, self._listener)
        mine = for_host(self._rules_of(self._entry), host)
        found = []
        for entry in self._entries:
            if entry is not self._entry:
                rules = self._rules_of(entry)
                why = why_not(rules, host, target, asked)
                rule = for_host(rules, host)
                if not why and mine is not None and rule is not None:
                    why = f"takes it too, but {self.name} {why_behind(rule, mine, RANK)}"
                found.append((entry.name, why or UNCLEAR))
        return found

    def _rules_of(self, entry: _Entry | None) -> Sequence[Rule[_Entry]]:
        return [rule for rule in self._router.rules if rule.value is entry]
