"""Random exchanges: what clients send and upstreams answer, how, and with which configuration.

Nothing in a case depends on who is quicker. A client goes on when its answers are whole and the upstream has
said all it had to say about them; it leaves while the upstream waits for that. An upstream says the end of
an answer, what it says behind it, and the end of its connection, in one go; if it answers early, the client
says the rest of its request later.
"""

from __future__ import annotations

import itertools
from dataclasses import dataclass, replace

from hypothesis import strategies as st

from tests.http_suite.case import (
    TOKEN,
    AwaitAnswers,
    AwaitClientGone,
    AwaitUpstream,
    Case,
    Close,
    HalfClose,
    Pause,
    ReadBody,
    Reset,
    Script,
    Step,
)

from .filters import CREDENTIALS, FILTERS, SLOW, credentials
from .guests import ACTIONS, GUESTS, SMALL
from .settings import Setting

__all__ = ["CASES", "SETTINGS"]

_numbers = itertools.count()
MOST_AT_ONCE = 30_000  # bytes that a socket of the system takes at once, and more
PLAIN_ANSWER = Script((b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok",))
SMUGGLED = b"GET /smuggled HTTP/1.1\r\nHost: gw.test\r\n\r\n"
BODIES = st.one_of(
    st.binary(max_size=30),
    st.sampled_from([b"", b"hello", SMUGGLED, b"x" * SMALL, b"y" * 17_000, b"z" * 70_000, b'{"a": 1}']),
    # Around what plugins of one kind may see, what fits behind a head, and what one read and one part hold.
    st.sampled_from([SMALL - 1, SMALL + 1, 16_383, 16_385, 62_900, 64_512, 131_073]).map(lambda n: b"w" * n),
)
HARMLESS_ACTIONS = ACTIONS.replace("L", "").replace("t", "").replace("-", "")


@dataclass(frozen=True)
class Request:
    method: bytes
    version: bytes
    path: bytes
    host: bytes
    fields: bytes
    framing: str  # none, length, chunked
    body: bytes
    who: str  # of CREDENTIALS

    def octets(self, number: int) -> bytes:
        line = b"%b %b/T0KEN/%d %b\r\n" % (self.method, self.path, number, self.version)
        head = b"%bHost: %b\r\n%b%b" % (line, self.host, self.fields, credentials(self.who))
        if self.framing == "none":
            return head + b"\r\n"
        if self.framing == "length":
            return head + b"Content-Length: %d\r\n\r\n" % len(self.body) + self.body
        return head + b"Transfer-Encoding: chunked\r\n\r\n" + chunked(self.body)


def chunked(body: bytes, size: int = 7000) -> bytes:
    parts = [body[at : at + size] for at in range(0, len(body), size)]
    return b"".join(b"%x\r\n%b\r\n" % (len(part), part) for part in parts) + b"0\r\n\r\n"


def _acts(letters: str) -> st.SearchStrategy[bytes]:
    return st.lists(
        st.builds(
            lambda who, what: b"x-%b: %b\r\n" % (who.encode(), "".join(what).encode()),
            st.sampled_from("abc"),
            st.lists(st.sampled_from(letters), min_size=1, max_size=4),
        ),
        max_size=2,
        unique_by=lambda line: line[:3],
    ).map(b"".join)


ACTS = st.one_of(st.just(b""), _acts(HARMLESS_ACTIONS), _acts(HARMLESS_ACTIONS), _acts(ACTIONS))
FIELDS = st.lists(
    st.sampled_from([
        b"User-Agent: me\r\n", b"Referer: there\r\n", b"Accept: */*\r\n", b"X-Forwarded-For: 203.0.113.9\r\n",
        b"Forwarded: for=203.0.113.8\r\n", b"X-Request-Id: mine\r\n", b"x_request_id: mine\r\n",
        b"Connection: close\r\n", b"Connection: keep-alive\r\n", b"Connection: x-a\r\n",
        b"Date: Sun, 06 Nov 1994 08:49:37 GMT\r\n", b"Cookie: a=b\r\n", b"Max-Forwards: 0\r\n",
        b"X-Obs: \xe9\r\n", b"Via: 1.0 other\r\n",
        b"Content-Range: bytes 0-4/9\r\n", b"Expect: 100-continue\r\n",
        b"Origin: https://app.example\r\n", b"Origin: https://other.example\r\n",
        b"Access-Control-Request-Method: PUT\r\nOrigin: https://app.example\r\n",
    ]),
    max_size=3,
    unique_by=lambda line: line.partition(b":")[0],
).map(b"".join)  # fmt: skip

REQUESTS = st.builds(
    Request,
    st.sampled_from([b"GET"] * 5 + [b"HEAD", b"POST", b"POST", b"PUT", b"DELETE", b"OPTIONS", b"TRACE"]),
    st.sampled_from([b"HTTP/1.1"] * 9 + [b"HTTP/1.0"]),
    st.sampled_from([b""] * 6 + [b"/fixed", b"/bare", b"/bare/..", b"/fixed//", b"/moved"]),
    st.sampled_from([b"gw.test"] * 4 + [b"other.test", b"other.test:81"]),
    st.builds(bytes.__add__, FIELDS, ACTS),
    st.sampled_from(["none", "none", "none", "length", "length", "chunked"]),
    BODIES,
    st.sampled_from([*CREDENTIALS, "jwt", "jwt", "jwt", "basic"]),
)


@dataclass(frozen=True)
class Answer:
    """*end*: nothing, close, half, reset; *cut*: bytes of its end that do not come; *behind*: unasked."""

    interim: bytes
    status: int
    version: bytes
    fields: bytes
    framing: str  # none, length, chunked, close
    body: bytes
    behind: bytes
    cut: int
    end: str
    early: bool

    def octets(self) -> bytes:
        head = b"%b %d Said\r\n%b" % (self.version, self.status, self.fields)
        if self.framing == "length":
            octets = head + b"Content-Length: %d\r\n\r\n" % len(self.body) + self.body
        elif self.framing == "chunked":
            octets = head + b"Transfer-Encoding: chunked\r\n\r\n" + chunked(self.body, 300)
        else:
            octets = head + b"\r\n" + (self.body if self.framing == "close" else b"")
        octets = self.interim + octets + self.behind
        return octets[: max(len(octets) - self.cut, 0)]


ANSWER_FIELDS = st.lists(
    st.sampled_from([
        b"Content-Type: text/plain\r\n", b"X-Case: kept\r\n", b"Set-Cookie: a=b\r\n", b"Set-Cookie: c=d\r\n",
        b"Connection: close\r\n", b"Keep-Alive: timeout=5\r\n", b"Date: Sun, 06 Nov 1994 08:49:37 GMT\r\n",
        b"Upgrade: other\r\n", b"Server: it\r\n", b"X-Guest: mine\r\n", b"Content-Encoding: gzip\r\n",
        b"ETag: \"a\"\r\n", b"Via: 1.1 it\r\n",
    ]),
    max_size=3,
    unique=True,
).map(b"".join)  # fmt: skip

ANSWERS = st.builds(
    Answer,
    st.sampled_from(
        [b""] * 6 + [b"HTTP/1.1 103 Early Hints\r\nLink: <a>\r\n\r\n", b"HTTP/1.1 100 Continue\r\n\r\n"]
    ),
    st.sampled_from([200] * 6 + [204, 205, 304, 404, 500, 503]),
    st.sampled_from([b"HTTP/1.1"] * 9 + [b"HTTP/1.0"]),
    st.builds(bytes.__add__, ANSWER_FIELDS, ACTS),
    st.sampled_from(["length"] * 8 + ["chunked", "chunked", "close", "none"]),
    BODIES,
    st.sampled_from([b""] * 9 + [b"HTTP/1.1 200 OK\r\nContent-Length: 8\r\n\r\nsmuggled"]),
    st.sampled_from([0] * 19 + [1, 20]),
    st.sampled_from([*[""] * 12, "close", "half", "reset"]),
    st.sampled_from([False] * 7 + [True]),
)


def _split(octets: bytes, cuts: list[int], pause: float, last: int = 0) -> list[Step]:
    """*octets* in pieces, with a moment between them; a cut is in thousandths of the whole.

    The *last* of them are in one piece; so is the word that names the case, which is replaced piece by piece.
    """
    size = len(octets)
    at = sorted({_beside_token(octets, (size - last) * cut // 1000) for cut in cuts} - {0, size})
    steps: list[Step] = []
    for start, end in itertools.pairwise([0, *at, size]):
        steps += [octets[start:end], Pause(pause)]
    return steps[:-1]


def _beside_token(octets: bytes, cut: int) -> int:
    """*cut*; or where the word begins that it would divide."""
    begins = octets.find(TOKEN, max(0, cut - len(TOKEN) + 1), cut + len(TOKEN) - 1)
    return cut if begins < 0 else begins


def _behind_first(requests: list[Request], pieces: list[bytes]) -> int:
    """How many of the last bytes of pipelined requests have to come in one piece.

    If a plugin refuses one without reading its body, the connection goes on where the body came with the
    head. Of the first request that is up to the client, of the others to the moment the first is over.
    """
    return sum(map(len, pieces[1:])) if any(each.body for each in requests[1:]) else 0


# Most exchanges are ordinary ones, which the fast path serves from end to end.
CUTS = st.one_of(*[st.just([])] * 4, st.lists(st.integers(0, 999), max_size=3))


@st.composite
def _script(draw: st.DrawFn) -> Script:
    answer = draw(ANSWERS)
    pause = draw(st.sampled_from([0.0, 0.003]))
    octets = answer.octets()
    steps = _split(octets, draw(CUTS), pause, len(answer.behind) + 1)
    if answer.end:
        steps[-1:-1] = [ReadBody()] if answer.early else []
        # A reset takes with it what is still on the way, and that is not always the same.
        end = "close" if answer.end == "reset" and len(octets) > MOST_AT_ONCE else answer.end
        steps.append({"close": Close(), "half": HalfClose(), "reset": Reset()}[end])
    elif answer.framing in ("close", "none") or answer.cut:
        steps.append(Close())
    return Script(tuple(steps), on="head" if answer.early else "request")


@st.composite
def _case(draw: st.DrawFn) -> Case:
    requests = draw(st.lists(REQUESTS, min_size=1, max_size=3))
    pipelined = draw(st.sampled_from([False, False, False, True]))
    pieces = [request.octets(number) for number, request in enumerate(requests)]
    scripts = draw(st.lists(_script(), max_size=len(requests)))
    if pipelined:
        scripts = [replace(script, on="request") for script in scripts]
    steps: list[Step] = []
    pause = draw(st.sampled_from([0.0, 0.003]))
    if pipelined:
        steps += _split(b"".join(pieces), draw(CUTS), pause, _behind_first(requests, pieces))
    else:
        is_early = any(script.on == "head" for script in scripts)
        for number, piece in enumerate(pieces):
            part = len(requests[number].body) // 2 if is_early else 0
            steps += _split(piece[: len(piece) - part], draw(CUTS), pause)
            if part:
                steps += [AwaitAnswers(number + 1, within=0.5), piece[len(piece) - part :]]
            steps.append(AwaitAnswers(number + 1))
        steps.pop()
    end = draw(st.sampled_from([*[""] * 12, "half", "close", "reset", "cut"]))
    if end == "cut":
        last = steps.pop()
        steps += [last[: len(last) // 2] if isinstance(last, bytes) else last, HalfClose()]
    elif end in ("close", "reset"):
        steps += [AwaitUpstream(1 if pipelined else len(requests), within=1.0), Pause(pause)]
        steps.append(Close() if end == "close" else Reset())
    elif end == "half":
        steps.append(HalfClose())
    if end in ("close", "reset"):
        left_at = 0 if pipelined else len(requests) - 1
        scripts += [PLAIN_ANSWER] * (left_at + 1 - len(scripts))
        waits = (AwaitClientGone(), *scripts[left_at].steps)
        scripts[left_at] = replace(scripts[left_at], steps=waits)
    return Case(
        id=f"random/{next(_numbers)}",
        rfc="",
        send=tuple(step for step in steps if step != b""),
        expect=(),
        upstream=tuple(scripts),
        methods=tuple(request.method for request in requests),
        answers=len(requests),
        wait=5.0,
    )


CASES = _case()

FAST = ("both", "both", "request", "response", "reads", "whole", "small")  # more of these
SETTINGS = st.builds(
    Setting,
    http=st.sampled_from([
        (), (), (("request_id_header", "X-Request-Id"),), (("forwarded", "both"),),
        (("forwarded", "forwarded"),),
        (("request_id_header", "X-Request-Id"), ("forwarded", "both")),
    ]),
    timeouts=st.sampled_from([(), (), (("total", 20.0),)]),
    plugins=st.lists(st.sampled_from([*GUESTS, *FAST]), max_size=3).map(tuple),
    endpoints=st.sampled_from([1, 1, 2]),
    trusted=st.booleans(),
    access=st.sampled_from(["json", "json", "off", "combined"]),
    max_body=st.sampled_from([0, 0, 1000]),
    by_path=st.booleans(),
    before=st.sampled_from([0, 0, 1, 2]),
    filters=st.one_of(
        st.just(()),
        st.lists(st.sampled_from([name for name in FILTERS if name not in SLOW]), max_size=4, unique=True),
        st.lists(st.sampled_from(FILTERS), max_size=5, unique=True),
    ).map(tuple),
)  # fmt: skip
