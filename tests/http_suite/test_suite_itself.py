"""The suite is worth something only if it fails: the strict reader and the judge are tested here."""

from __future__ import annotations

import pytest

from .case import Case, Expect, Seen
from .cases import ALL
from .cases.stricter import STRICTER_THAN_PEERS
from .play import play
from .targets import TARGETS
from .wire import WireError, parse_request, parse_responses

HOST = b"Host: a\r\n"

READABLE = [
    ("get", b"GET / HTTP/1.1\r\n" + HOST + b"\r\n", b""),
    ("length", b"POST / HTTP/1.1\r\n" + HOST + b"Content-Length: 2\r\n\r\nab", b"ab"),
    (
        "chunked",
        b"POST / HTTP/1.1\r\n" + HOST + b"Transfer-Encoding: chunked\r\n\r\n2;x=y\r\nab\r\n0\r\n\r\n",
        b"ab",
    ),
]
UNREADABLE = [
    ("bare_lf", b"GET / HTTP/1.1\nHost: a\r\n\r\n"),
    ("bare_lf_between_fields", b"GET / HTTP/1.1\r\nHost: a\nB: c\r\n\r\n"),
    ("bare_cr", b"GET / HTTP/1.1\r\nHost: a\rb\r\n\r\n"),
    ("nul", b"GET / HTTP/1.1\r\nHost: a\r\nB: \x00\r\n\r\n"),
    ("fold", b"GET / HTTP/1.1\r\nHost: a\r\n b\r\n\r\n"),
    ("no_host", b"GET / HTTP/1.1\r\n\r\n"),
    ("two_hosts", b"GET / HTTP/1.1\r\n" + HOST + HOST + b"\r\n"),
    ("bad_host", b"GET / HTTP/1.1\r\nHost: a/b\r\n\r\n"),
    ("space_before_colon", b"GET / HTTP/1.1\r\nHost : a\r\n\r\n"),
    (
        "both_lengths",
        b"GET / HTTP/1.1\r\n" + HOST + b"Content-Length: 0\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    ),
    ("two_lengths", b"GET / HTTP/1.1\r\n" + HOST + b"Content-Length: 0\r\nContent-Length: 0\r\n\r\n"),
    ("length_sign", b"GET / HTTP/1.1\r\n" + HOST + b"Content-Length: +0\r\n\r\n"),
    ("coding", b"GET / HTTP/1.1\r\n" + HOST + b"Transfer-Encoding: gzip, chunked\r\n\r\n"),
    ("chunk_lf", b"GET / HTTP/1.1\r\n" + HOST + b"Transfer-Encoding: chunked\r\n\r\n0\n\r\n"),
    ("chunk_data_end", b"GET / HTTP/1.1\r\n" + HOST + b"Transfer-Encoding: chunked\r\n\r\n1\r\naXX0\r\n\r\n"),
    ("fragment", b"GET /#a HTTP/1.1\r\n" + HOST + b"\r\n"),
    ("http09", b"GET /\r\n\r\n"),
]


@pytest.mark.parametrize(("data", "body"), [pytest.param(*row[1:], id=row[0]) for row in READABLE])
def test_strict_reader_reads_what_is_right(data: bytes, body: bytes) -> None:
    request = parse_request(data + b"GET")
    assert request is not None
    assert (request.complete, request.body, request.size) == (True, body, len(data))
    for end in range(len(data)):
        part = parse_request(data[:end])
        assert part is None or not part.complete


@pytest.mark.parametrize("data", [pytest.param(data, id=name) for name, data in UNREADABLE])
def test_strict_reader_refuses(data: bytes) -> None:
    with pytest.raises(WireError):
        parse_request(data)


def test_strict_reader_sees_a_cut_answer() -> None:
    head = b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n"
    (cut,), _ = parse_responses(head + b"he", [b"GET"], eof=True)
    assert not cut.complete
    (whole,), rest = parse_responses(head + b"hello!", [b"GET"], eof=False)
    assert whole.complete
    assert rest == b"!"
    with pytest.raises(WireError, match="more responses"):
        parse_responses(head + b"hello" + head, [b"GET"], eof=True)


# A proxy that copies bytes keeps next to nothing of what is promised. If it passes, the suite sleeps.
MUST_FAIL_NAIVE = {
    "framing/both_cl_te",
    "framing/both_te_cl",
    "framing/te_http10",
    "framing/cl_plus",
    "fields/name_space_before_colon",
    "fields/value_nul",
    "fields/value_bare_cr",
    "host/missing",
    "host/twice_different",
    "host/bad_path",
    "start/bare_lf_everywhere",
    "start/version_2_0",
    "target/connect",
    "target/fragment_hides_path",
    "chunked/lf_after_size",
    "chunked/ext_lf_term_ext",
    "chunked/size_plus",
    "chunked/trailer_bare_lf",
    "forwarding/connection_named_field",
    "forwarding/down_keep_alive_field",
    "methods/head_answered_with_body",
    "upgrade/h2c",
    "upgrade/unasked_101",
    "limits/fields_1000",
    "response/field_bare_cr",
    "response/fold_hides_field",
    "answer/bad_cl_twice_different",
    "answer/cl_and_chunked_large",
    "answer/extra_response_after_cl",
    "answer/extra_after_204",
    "interim/flood_100000",
    "interim/not_to_http10",
    "reuse/upstream_answers_twice",
    "time/head_trickles",
    "time/upstream_never_answers",
}


@pytest.mark.slow
def test_a_proxy_that_only_copies_fails() -> None:
    cases = [case for case in ALL if case.id in MUST_FAIL_NAIVE]
    assert len(cases) == len(MUST_FAIL_NAIVE)
    passed = [result.case.id for result in play(TARGETS["naive"], cases, rigs=8) if result.ok]
    assert passed == []


def test_what_no_peer_passes_is_marked_case_by_case() -> None:
    strict = {case.id for case in ALL if case.level == "strict"}
    assert strict >= STRICTER_THAN_PEERS


def test_a_case_fails_when_what_it_expects_does_not_happen() -> None:
    get = b"GET /T0KEN HTTP/1.1\r\nHost: a\r\n\r\n"
    right = Case("self/right", "-", (get,), (Expect(),))
    wrong = [
        Case("self/status", "-", (get,), (Expect(statuses=(frozenset({201}),)),)),
        Case("self/target", "-", (get,), (Expect(seen=(Seen(target=b"/x"),)),)),
        Case("self/method", "-", (get,), (Expect(seen=(Seen(b"PUT"),)),)),
        Case("self/field", "-", (get,), (Expect(seen=(Seen(has=((b"x-a", b"b"),)),)),)),
        Case("self/closed", "-", (get,), (Expect(closed=True),)),
        Case("self/truncated", "-", (get,), (Expect(truncated=True),)),
        Case("self/body", "-", (get,), (Expect(body=b"x"),)),
        Case("self/never", "-", (get,), (Expect(never_down=(b"x-case",)),)),
        Case("self/count", "-", (get,), (Expect(seen=(Seen(), Seen())),)),
    ]
    results = play(TARGETS["naive"], [right, *wrong])
    assert [result.ok for result in results] == [True] + [False] * len(wrong)
