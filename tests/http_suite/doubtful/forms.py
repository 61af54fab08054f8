"""The forms, table by table. What Blitz, nginx and HAProxy make of them is played; Envoy's column is read."""

from __future__ import annotations

from ..case import Case, Expect
from ..cases.make import HOST, get, lines, post
from .form import Form, Group

__all__ = ["GROUPS"]

ANYTHING = (Expect(seen=None, statuses=(frozenset(range(100, 600)),), closed=None, truncated=None),)
BODY_10 = b" /T0KEN HTTP/1.0\r\n" + HOST + b"Content-Length: 2\r\n\r\nab"


def own(name: str, send: bytes, *, method: bytes = b"GET") -> Case:
    """A case that no family of the suite has: anything may come of it, the table says what does."""
    return Case(f"doubtful/{name}", "", (send,), ANYTHING, methods=(method,))


E_CL_TE = "400 unless `allow_chunked_length`"
E_10 = "426 unless `accept_http_10`"

START_LINE = Group(
    "Request line",
    "client",
    (
        Form("an empty line before it", "start/one_empty_line_before", "9112 2.2", ("target",), "passed on"),
        Form("two empty lines before it", "start/two_empty_lines_before", "9112 2.2", ("target",), "passed on"),
        Form("a bare LF before it", "start/bare_lf_before", "9112 2.2", ("target",), "passed on"),
        Form("a bare CR before it", "start/no_reason_to_trust_cr_before", "9112 2.2", ("target",), "passed on"),
        Form("a bare LF at its end", "start/bare_lf_after_line", "9112 2.2", ("target",)),
        Form("a bare CR for its end", "start/cr_line_end_then_field", "9112 2.2", ("target",)),
        Form("CR CR LF at its end", "start/cr_cr_lf_after_line", "9112 2.2", ("target",)),
        Form("two spaces after the method", "start/two_spaces_after_method", "9112 3", ("target",)),
        Form("a tab after the method", "start/tab_after_method", "9112 3", ("target",)),
        Form("a space after the version", "start/space_after_version", "9112 3", ("target",)),
        Form("a space inside the target", "start/space_in_target", "9112 3.2", ("target",)),
        Form("a space before the method", "start/space_before_method", "9112 3", ("target",)),
        Form("method `get`", "start/method_case_kept", "9110 9.1", ("method",), "400 unless `allow_custom_methods`"),
        Form("method `BREW`", "start/unknown_method", "9110 9.1", ("method",), "400 unless `allow_custom_methods`"),
        Form("method of every `tchar`", "start/method_of_all_tchars", "9110 9.1", (), "400 unless `allow_custom_methods`"),
        Form("`CONNECT`", "target/connect", "9110 9.3.6", (), "refused unless a route takes it"),
        Form("the HTTP/2 preface, `PRI * HTTP/2.0`", "start/http2_preface", "9113 3.4", (), "HTTP/2 with codec `AUTO`"),
        Form("HTTP/0.9, a line without version", "start/http09_with_fields", "9112 2.3", (), "refused unless `accept_http_10`"),
        Form("`HTTP/1.2`", "start/version_1_2", "9110 2.5", ("target",)),
        Form("`HTTP/2.0` as text", "start/version_2_0", "9110 2.5"),
        Form("`HTTP/1.10`", "start/version_two_digit_minor", "9112 2.3"),
        Form("`http/1.1`", "start/version_lower_case", "9112 2.3"),
    ),
    after="Blitz takes methods of capital letters, `-` and `_`, as nginx does: others differ by a letter from one that "
    "upstreams and plugins know. It skips one CRLF before a request line and nothing else.",
)  # fmt: skip

TARGET = Group(
    "Request target",
    "client",
    (
        Form("absolute-form, Host agrees", "target/absolute", "9112 3.2.2", ("target", "host"), "passed on: origin-form"),
        Form("absolute-form `http://gw.test/x`, `Host: other.test`", "target/absolute_other_host", "9112 3.2.2", ("target", "host"), "passed on: target's host"),
        Form("absolute-form without Host, HTTP/1.1", "target/absolute_without_host_field", "9112 3.2", ("target", "host")),
        Form("absolute-form with user information", "target/absolute_userinfo", "9110 4.2.4", ("target", "host")),
        Form("absolute-form of scheme `gopher`", "target/absolute_unknown_scheme", "9112 3.2.2", ("target", "host")),
        Form("absolute-form without path", "target/absolute_no_path", "9112 3.2.1", ("target",)),
        Form("`OPTIONS http://gw.test`", "target/options_absolute_no_path_becomes_asterisk", "9112 3.2.4", ("target",)),
        Form("`GET *`", "target/asterisk_get", "9112 3.2.4", ("target",)),
        Form("authority-form, `GET gw.test:80`", "target/authority_get", "9112 3.2.3", (), "400"),
        Form("no leading slash", "target/relative", "9112 3.2.1", ("target",), "400"),
        Form("a fragment, `/x#f`", "target/fragment", "9112 3.2", ("target",), "400 (`http_reject_path_with_fragment`)"),
        Form("`//other.test/x`", "target/two_slashes_first", "3986 3.3", ("target",), "passed on unless `merge_slashes`"),
        Form("dot segments, `/x/a/../b/./c`", "target/dot_segments", "3986 5.2.4", ("target",), "passed on unless `normalize_path`"),
        Form("`%2F` in the path", "target/encoded_slash", "3986 2.2", ("target",), "passed on unless `path_with_escaped_slashes_action`"),
        Form("`%00` in the path", "target/odd_percent_nul", "3986 2.1", ("target",)),
        Form("`%zz` in the path", "target/odd_bad_percent", "3986 2.1", ("target",)),
        Form("a raw `\\` in the path", "target/odd_backslash", "3986 3.3", ("target",)),
        Form('a raw `"` in the path', "target/odd_quote", "3986 3.3", ("target",), "passed on"),
        Form("a raw `\\|` in the path", "target/odd_bar", "3986 3.3", ("target",), "passed on"),
        Form("a control byte", "target/byte_soh", "3986 2", ("target",), "400"),
        Form("a byte above 0x7f", "target/byte_utf8", "3986 2", ("target",), "400"),
    ),
    before="What goes on is the path as it came, where it goes on at all. Blitz finds the route by all that the path may "
    "mean to servers, and refuses one that may mean routes with different protection: see [below](#what-a-path-may-mean).",
    after="Bytes outside RFC 3986 that browsers send all the same (`[`, `]`, `^` and `|` in paths; more in queries, see "
    "`native/head_target.c`) go through; `\\` does not, because some upstreams take it for `/`.",
)  # fmt: skip

HOSTS = Group(
    "Host",
    "client",
    (
        Form("none, HTTP/1.1", "host/missing", "9112 3.2", (), "400"),
        Form("none, HTTP/1.0", "host/http10_without", "9112 3.2", ("host",), E_10),
        Form("two that agree", "host/twice_same", "9112 3.2", ("host",)),
        Form("two that differ", "host/twice_different", "9112 3.2", ("host",)),
        Form("empty", "host/bad_empty", "9112 3.2", ("host",)),
        Form("a list, `gw.test, other.test`", "host/bad_comma_list", "9112 3.2", ("host",)),
        Form("user information, `user@gw.test`", "host/bad_userinfo", "9112 3.2", ("host",)),
        Form("a path, `gw.test/x`", "host/bad_path", "9112 3.2", ("host",), "400"),
        Form("a port that is no number", "host/bad_port_letters", "9110 7.2", ("host",)),
        Form("port 99999", "host/port_too_large", "9110 7.2", ("host",)),
        Form("an IPv6 address without brackets", "host/bad_ipv6_bare", "3986 3.2.2", ("host",)),
        Form("a byte above 0x7f", "host/bad_utf8", "3986 3.2.2", ("host",)),
        Form("NUL inside", "host/bad_nul", "9110 5.5", (), "400"),
    ),
    after="A name is what resolvers take: letters, digits, `-`, `.`, `_`, `~`, without empty labels. Percent-encoding, "
    "sub-delims and IPv6 zones are legal in RFC 3986 and in no name that resolves.",
)  # fmt: skip

FIELDS = Group(
    "Field lines",
    "client",
    (
        Form("a bare LF at the end of a line", "fields/lf_between_fields", "9112 2.2", ("x-a",)),
        Form("LF LF at the end of the head", "fields/lf_lf_ends_head", "9112 2.2"),
        Form("a bare CR in a value", "fields/value_bare_cr", "9112 2.2", ("x-a",)),
        Form("a folded line (obs-fold)", "fields/fold_space", "9112 5.2", ("x-a",), "400"),
        Form("a folded line before the first field", "fields/fold_before_first_field", "9112 2.2", (), "400"),
        Form("a space before the colon", "fields/name_space_before_colon", "9112 5.1", ("x-a",)),
        Form("a space in the name", "fields/name_space_in_name", "9110 5.1"),
        Form("no colon", "fields/name_no_colon_word", "9112 5", (), "400"),
        Form("an empty name", "fields/name_empty_name", "9110 5.1"),
        Form("a name that is no token, `X(A`", "fields/name_paren", "9110 5.1", ("x(a",)),
        Form("NUL in a value", "fields/value_nul", "9110 5.5", ("x-a",), "400"),
        Form("another control byte in a value", "fields/value_escape", "9110 5.5", ("x-a",), "400"),
        Form("DEL in a value", "fields/value_del", "9110 5.5", ("x-a",), "400"),
        Form("bytes above 0x7f in a value", "fields/obs_text_in_value", "9110 5.5", ("x-a",), "passed on"),
        Form("a name with `_`, `X_User`", own("underscore", get(b"X_User: eve\r\n")), "9110 5.1", ("x_user",), "passed on unless `headers_with_underscores_action`"),
        Form("`Content_Length: 5`", "fields/underscore_content_length", "9110 5.1", ("content_length",), "passed on unless `headers_with_underscores_action`"),
        Form("`Transfer_Encoding: chunked`", "fields/underscore_transfer_encoding", "9110 5.1", ("transfer_encoding",), "passed on unless `headers_with_underscores_action`"),
        Form("two Authorization fields", own("authorization_twice", get(lines(b"Authorization: Basic YTpi", b"Authorization: Basic Yzpk"))), "9110 11.6.2", ("authorization",)),
        Form("two Content-Type fields", own("content_type_twice", post(lines(b"Content-Type: a/b", b"Content-Type: c/d", b"Content-Length: 2"), b"ab"), method=b"POST"), "9110 8.3", ("content-type",)),
    ),
    after="Names with `_` leave requests as in nginx (upstreams behind gateway interfaces cannot tell `X_User` from "
    "`X-User`), whatever else is in them; one that would be a framing field is refused. Names with other punctuation "
    "(`X.User`) pass, but not beside a field that a plugin or the gateway has set, added or removed: what reads as "
    "the same name leaves with that. Fields that have one value and come twice are refused: a plugin might judge one "
    "while the upstream obeys the other.",
)  # fmt: skip

FRAMING = Group(
    "Where a body ends",
    "client",
    (
        Form("Content-Length and Transfer-Encoding", "framing/both_agree", "9112 6.1", ("content-length", "transfer-encoding"), E_CL_TE),
        Form("both, the body a hidden request", "framing/both_cl_te", "9112 11.2", ("content-length", "transfer-encoding"), E_CL_TE),
        Form("two equal Content-Length fields", "framing/cl_twice_same", "9112 6.3", ("content-length",), "400"),
        Form("`Content-Length: 2, 2`", "framing/cl_list_same", "9110 8.6", ("content-length",)),
        Form("two that differ", "framing/cl_twice_different", "9112 6.3", (), "400"),
        Form("`Content-Length: 02`", "framing/cl_leading_zero", "9110 8.6", ("content-length",)),
        Form("`Content-Length: +49`", "framing/cl_plus", "9110 8.6", (), "400"),
        Form("`Content-Length: -1`", "framing/cl_minus_one", "9110 8.6", (), "400"),
        Form("empty Content-Length", "framing/cl_empty", "9110 8.6"),
        Form("more than 63 bits", "framing/cl_over_63_bits", "9110 8.6"),
        Form("more than 64 bits", "framing/cl_wraps_to_small", "9110 8.6", (), "400"),
        Form("`Transfer-Encoding: identity`", "framing/te_identity", "9112 7", ("transfer-encoding",), "501"),
        Form("`Transfer-Encoding: gzip, chunked`", "framing/te_gzip_chunked", "9112 6.1", ("transfer-encoding",), "501"),
        Form("`Transfer-Encoding: chunked, gzip`", "framing/te_chunked_not_last", "9112 6.3", ("transfer-encoding",), "501"),
        Form("`Transfer-Encoding: chunked, chunked`", "framing/te_chunked_twice", "9112 6.1", ("transfer-encoding",), "501"),
        Form("two lines of chunked", "framing/te_lines_chunked_chunked", "9112 6.1", ("transfer-encoding",), "501"),
        Form("`Transfer-Encoding: xchunked`", "framing/te_xchunked", "9112 6.1", ("transfer-encoding",), "501"),
        Form("`Transfer-Encoding: chunked;q=1`", "framing/te_parameter", "9112 7", ("transfer-encoding",), "501"),
        Form("a vertical tab before `chunked`", "framing/te_vtab_before", "9110 5.5", ("transfer-encoding",)),
        Form("an empty Transfer-Encoding", "framing/te_empty", "9112 6.1", ("transfer-encoding",)),
        Form("a folded Transfer-Encoding", "framing/te_folded", "9112 5.2", ("transfer-encoding",), "400"),
        Form("Transfer-Encoding in HTTP/1.0", "framing/te_http10", "9112 6.1", ("transfer-encoding",), E_10),
        Form("a body of GET", "framing/cl_get_with_body", "9110 9.3.1", ("body",), "passed on"),
        Form("a body of GET in HTTP/1.0", own("body_10_get", b"GET" + BODY_10), "9110 9.3.1", ("body",), E_10),
        Form("a body of TRACE", "methods/trace_with_body", "9110 9.3.8", ("body",)),
    ),
    after="Whatever framing a body came in, it leaves in one that Blitz wrote.",
)  # fmt: skip

CHUNKS = Group(
    "Chunks",
    "client",
    (
        Form("a bare LF after a size", "chunked/lf_after_size", "9112 7.1", ("body",)),
        Form("a bare LF after the data", "chunked/lf_after_data", "9112 7.1", ("body",)),
        Form("a bare CR after the data", "chunked/cr_after_data", "9112 7.1", ("body",)),
        Form("nothing after the data", "chunked/nothing_after_data", "9112 7.1", ("body",)),
        Form("a space before a size", "chunked/size_space_before", "9112 7.1", ("body",)),
        Form("a space after a size", "chunked/size_space_after", "9112 7.1", ("body",)),
        Form("a size of `0x5`", "chunked/size_0x", "9112 7.1", ("body",), "400"),
        Form("a size of `+5`", "chunked/size_plus", "9112 7.1", ("body",), "400"),
        Form("a size beyond 64 bits", "chunked/size_over_64_bits", "9112 7.1", ("body",), "400"),
        Form("an extension", "chunked/ext_value", "9112 7.1.1", ("body",), "dropped"),
        Form("an extension in quotes", "chunked/ext_quoted", "9112 7.1.1", ("body",), "dropped"),
        Form("a bare LF in an extension", "chunked/ext_lf_in_name", "9112 7.1.1", ("body",), "400"),
        Form("a bare CR in an extension", "chunked/ext_cr_in_name", "9112 7.1.1", ("body",), "400"),
        Form("NUL in an extension", "chunked/ext_nul", "9112 7.1.1", ("body",)),
        Form("`5;` with nothing behind", "chunked/ext_bare_semicolon", "9112 7.1.1", ("body",)),
        Form("8 KiB of extension", "chunked/bound_ext_8k", "9112 7.1.1", ("body",)),
        Form("a trailer field", "chunked/trailer", "9112 7.1.2", ("body", "trailers"), "dropped unless `enable_trailers`"),
        Form("a trailer of Content-Length", "chunked/trailer_content_length", "9110 6.5.1", ("body", "trailers"), "dropped unless `enable_trailers`"),
        Form("a folded trailer", "chunked/trailer_folded", "9112 7.1.2", ("body", "trailers")),
        Form("the end of the connection in the data", "chunked/cut_in_data", "9112 8"),
    ),
    after="Chunks, extensions and sizes are never passed on: Blitz decodes the body and writes its own. A refusal can "
    "come when the head and the good part of the body are on their way; the upstream then sees its connection end "
    "inside the message. Whitespace that the grammar calls bad (BWS) is read where it may stand, around the `;` and "
    "the `=` of an extension; a space that only a CRLF follows is none of it.",
)  # fmt: skip

CONNECTION = Group(
    "Connection-level fields, intermediaries",
    "client",
    (
        Form("a field that Connection names", "forwarding/connection_named_field", "9110 7.6.1", ("x-a",), "removed"),
        Form("Connection names Content-Length", "forwarding/named_but_must_stay_content_length", "9110 7.6.1", ("body",)),
        Form("Connection names X-Forwarded-For", own("named_forwarded", get(lines(b"Connection: X-Forwarded-For", b"X-Forwarded-For: 192.0.2.9"))), "9110 7.6.1", ("x-forwarded-for",), "400"),
        Form("a Connection option in quotes", "forwarding/connection_quoted_string", "9110 7.6.1", ("x-a",)),
        Form("1000 Connection options", "limits/connection_of_many_options", "9110 7.6.1", (), "400 beyond 10"),
        Form("Keep-Alive", "forwarding/keep_alive_field", "9112 C.2.2", ("keep-alive",), "removed"),
        Form("Proxy-Connection", "forwarding/proxy_connection", "9112 C.2.2", ("proxy-connection",), "removed"),
        Form("`TE: trailers`, not named", "forwarding/te_unnamed", "9110 10.1.4", ("te",)),
        Form("Proxy-Authorization", "forwarding/proxy_authorization_not_passed", "9110 11.7.2", ("proxy-authorization",)),
        Form("Via", "forwarding/via_added", "9110 7.6.3", ("via",), "not added unless configured"),
        Form("`OPTIONS`, `Max-Forwards: 0`", "methods/options_max_forwards_zero", "9110 7.6.2", ("max-forwards",)),
        Form("`OPTIONS`, `Max-Forwards: 5`", "methods/options_max_forwards_decremented", "9110 7.6.2", ("max-forwards",)),
        Form("HTTP/1.0 with keep-alive", "connection/http10_keep_alive_kept", "9112 C.2.2", (), E_10),
        Form("a second request behind `Connection: close`", "connection/http11_behind_close_ignored", "9112 9.6"),
    ),
    after="The fields of framing, routing, content and forwarding are not the sender's to remove: that Connection names "
    "them is ignored (an `X-Forwarded-For` that nobody trusted sent is replaced by ours in any case). More than 10 options that are no known word are refused, as Envoy does.",
)  # fmt: skip

EXPECT = Group(
    "Expect and Upgrade",
    "client",
    (
        Form("`Expect: 100-continue`, the client waits", "expect/client_waits", "9110 10.1.1", ("expect", "interim"), "answers 100 itself unless `proxy_100_continue`"),
        Form("`Expect: 100-continue` in HTTP/1.0", "expect/http10_gets_no_100", "9110 10.1.1", ("expect",), E_10),
        Form("`Expect: 100-continue`, no body", "expect/get_without_body", "9110 10.1.1", ("expect",)),
        Form("`Expect: 200-ok`", "expect/unknown", "9110 10.1.1", ("expect",)),
        Form("`Expect: 100-continue, x`", "expect/list", "9110 10.1.1", ("expect",)),
        Form("two Expect fields", "expect/twice", "9110 10.1.1", ("expect",)),
        Form("`Upgrade: h2c` with HTTP2-Settings", "upgrade/h2c", "9113 3.1", ("upgrade", "http2-settings"), "passed on: no `upgrade`"),
        Form("`Upgrade: websocket, h2c`", "upgrade/h2c_in_list_with_websocket", "9110 7.8", ("upgrade",)),
        Form("Upgrade that Connection does not name", "upgrade/upgrade_without_connection", "9110 7.8", ("upgrade",), "passed on: no `upgrade`"),
        Form("Upgrade in HTTP/1.0", "upgrade/http10_upgrade", "9110 7.8", ("upgrade",), E_10),
        Form("Upgrade with a body", "upgrade/upgrade_with_body", "9110 7.8", ("upgrade", "body"), "403 unless `upgrade_configs`"),
        Form("`Upgrade: TLS/1.0`", "upgrade/tls_in_http", "9110 7.8", ("upgrade",), "403 unless `upgrade_configs`"),
    ),
    after="An Upgrade that Blitz does not pass on is dropped and the request goes on without it: RFC 9110 lets a server "
    "ignore it, and curl asks for h2c of itself. `Content-Length: 0` is no body (RFC 9110 section 8.6): a WebSocket "
    "handshake that says so is passed on, without the field, which some servers take for content.",
)  # fmt: skip

BOUNDS = Group(
    "Bounds",
    "client",
    (
        Form("150 fields", "limits/fields_150", "6585 5", (), "431 above 100"),
        Form("a field of 70 KB", "limits/field_70k", "6585 5", (), "431 (head above 60 KiB)"),
        Form("a head of 70 KB", "limits/head_70k", "6585 5", (), "431 (head above 60 KiB)"),
        Form("a target of 70 KB", "limits/line_70k", "9110 4.1", (), "431 (head above 60 KiB)"),
        Form("a method of 70 KB", "limits/method_70k", "9112 3"),
        Form("a target of 15 KB", "limits/line_15k", "9110 4.1", (), "passed on"),
    ),
    after="Each bound is a key of the configuration: [config.md](config.md).",
)  # fmt: skip

ANSWERS = Group(
    "Answers of an upstream",
    "upstream",
    (
        Form("Content-Length and Transfer-Encoding", "answer/cl_and_chunked", "9112 6.1", ("content-length", "transfer-encoding"), "502 unless `allow_chunked_length`"),
        Form("two equal Content-Length fields", "answer/cl_twice_same", "9112 6.3", ("content-length",)),
        Form("two that differ", "answer/bad_cl_twice_different", "9112 6.3", ("content-length",)),
        Form("`Content-Length: +2`", "answer/bad_cl_plus", "9110 8.6", ("content-length",)),
        Form("`Transfer-Encoding: gzip`", "answer/te_gzip", "9112 6.3", ("transfer-encoding",), "502"),
        Form("`Transfer-Encoding: chunked, chunked`", "answer/te_chunked_twice", "9112 6.1", ("transfer-encoding",), "502"),
        Form("Transfer-Encoding in HTTP/1.0", "answer/te_in_10", "9112 6.1", ("transfer-encoding",)),
        Form("chunked in a 204", "answer/extra_chunked_in_204", "9112 6.1", ("transfer-encoding",), "502"),
        Form("`Content-Length: 4` in a 204", "answer/extra_length_in_204", "9110 8.6", ("content-length",), "502"),
        Form("bare LF at the end of every line", "response/lf_everywhere", "9112 2.2"),
        Form("a bare CR in a value", "response/field_bare_cr", "9112 2.2", ("x-a",)),
        Form("a folded line (obs-fold)", "response/fold", "9112 5.2", ("x-a",), "502"),
        Form("a space before the colon", "response/space_before_colon", "9112 5.1", ("x-a",)),
        Form("NUL in a value", "response/field_nul", "9110 5.5", ("x-a",), "502"),
        Form("another control byte in a value", "response/field_escape", "9110 5.5", ("x-a",), "502"),
        Form("status 999", "response/status_999", "9110 15", ()),
        Form("no head at all", "response/http09_body_only", "9112 2.3", (), "502"),
        Form("an empty line before the status line", "response/empty_line_before", "9112 2.2"),
        Form("a chunk size of `0x4`", "answer/chunk_size_0x", "9112 7.1", ("body",), "502 or cut off"),
        Form("a bare LF after a chunk size", "answer/chunk_lf_after_size", "9112 7.1", ("body",)),
        Form("the end of the connection in a length", "answer/cut_cl_short", "9112 8", (), "cut off"),
        Form("the end of the connection between chunks", "answer/cut_chunked_between", "9112 8", (), "cut off"),
        Form("more than its length", "answer/extra_after_cl", "9112 6.3", ("body",)),
        Form("a second answer behind the first", "answer/extra_response_after_cl", "9112 9.2", ("body",)),
        Form("a body in an answer to HEAD", "methods/head_answered_with_body", "9110 9.3.2", ()),
        Form("100 that nobody waits for", "interim/unasked_100", "9110 15.2.1", ("interim",)),
        Form("103 Early Hints", "interim/hints_103", "9110 15.2", ("interim",)),
        Form("103 to an HTTP/1.0 client", "interim/not_to_http10", "9110 15.2", ("interim",), E_10),
        Form("20,000 interim answers", "interim/flood_hints_20000", "9110 15.2", ("interim",)),
        Form("101 that nobody asked for", "upgrade/unasked_101", "9110 15.2.2", ("interim",)),
        Form("101 to another protocol", "upgrade/switch_to_another_protocol", "9110 7.8", ("interim",)),
        Form("a field that Connection names", "forwarding/down_connection_named_field", "9110 7.6.1", ("x-a",)),
        Form("a trailer field", "answer/chunked_trailer", "9112 7.1.2", ("body", "trailers"), "dropped unless `enable_trailers`"),
    ),
    after="An upstream is trusted no more than a client. What is wrong before the client has got anything becomes 502; "
    "after that the answer is cut off so that the client sees it: the connection ends inside the message. A "
    "connection on which anything unexpected arrived is never used again.",
)  # fmt: skip

GROUPS = (START_LINE, TARGET, HOSTS, FIELDS, FRAMING, CHUNKS, CONNECTION, EXPECT, BOUNDS, ANSWERS)
