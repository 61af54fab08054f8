"""How a request's body ends (RFC 9112 section 6), and every published way to disagree about it.

Behind each doubtful head stands a body that is a request itself: whoever reads the length otherwise
executes it. "Doubt about where a message ends: refuse and close."
"""

from __future__ import annotations

from ..case import Case, Seen
from .make import CHUNKED, EVIL, HOST, Row, chunks, either, get, lines, passed, post, refused, table

BAD = refused()
CODING = refused(400, 501)
AB = Seen(b"POST", body=b"ab")
AB_CLEAN = Seen(b"POST", body=b"ab", has=((b"content-length", b"2"),), lacks=(b"transfer-encoding",))
CL = b"Content-Length: 2\r\n"

LENGTHS: list[Row] = [
    ("cl", post(CL, b"ab"), passed(AB)),
    ("cl_zero", post(b"Content-Length: 0\r\n"), passed(Seen(b"POST"))),
    ("cl_no_space", post(b"Content-Length:2\r\n", b"ab"), passed(AB)),
    ("cl_spaces_around", post(b"Content-Length:  2\t \r\n", b"ab"), passed(AB_CLEAN)),
    ("cl_name_case", post(b"cOnTeNt-LeNgTh: 2\r\n", b"ab"), passed(AB)),
    ("cl_get_with_body", get(CL, body=b"ab"), passed(Seen(body=b"ab"))),
    ("cl_body_is_a_request", post(b"Content-Length: %d\r\n" % len(EVIL), EVIL), passed(Seen(b"POST", body=EVIL))),
    ("no_length_post", post(b""), passed(Seen(b"POST"))),
    # RFC 9110 section 8.6 and RFC 9112 section 6.3: equal copies may be merged; else unrecoverable.
    ("cl_twice_same", post(CL + CL, b"ab"), either(BAD, passed(AB_CLEAN))),
    ("cl_list_same", post(b"Content-Length: 2, 2\r\n", b"ab"), either(BAD, passed(AB_CLEAN))),
    ("cl_list_three_same", post(b"Content-Length: 2,2,2\r\n", b"ab"), either(BAD, passed(AB_CLEAN))),
    ("cl_leading_zero", post(b"Content-Length: 02\r\n", b"ab"), either(BAD, passed(AB))),
    ("cl_many_leading_zeros", post(b"Content-Length: 0000000000000000002\r\n", b"ab"), either(BAD, passed(AB))),
    ("cl_zero_zero", post(b"Content-Length: 00\r\n"), either(BAD, passed(Seen(b"POST")))),
]  # fmt: skip

N = b"%d" % len(EVIL)
BAD_LENGTHS = [
    ("cl_twice_different", b"Content-Length: 0\r\nContent-Length: " + N),
    ("cl_twice_different_swapped", b"Content-Length: " + N + b"\r\nContent-Length: 0"),
    ("cl_twice_apart", b"Content-Length: 0\r\nX-A: b\r\nContent-Length: " + N),
    ("cl_twice_one_empty", b"Content-Length: \r\nContent-Length: " + N),
    ("cl_list_different", b"Content-Length: 0, " + N),
    ("cl_list_empty_member", b"Content-Length: 0,"),
    ("cl_list_leading_comma", b"Content-Length: ,0"),
    ("cl_empty", b"Content-Length: "),
    ("cl_word", b"Content-Length: abc"),
    ("cl_plus", b"Content-Length: +" + N),
    ("cl_minus", b"Content-Length: -" + N),
    ("cl_minus_one", b"Content-Length: -1"),
    ("cl_minus_zero", b"Content-Length: -0"),
    ("cl_underscore", b"Content-Length: 4_9"),
    ("cl_hex", b"Content-Length: 0x31"),
    ("cl_octal", b"Content-Length: 0o61"),
    ("cl_hex_letters", b"Content-Length: a"),
    ("cl_space_inside", b"Content-Length: 4 9"),
    ("cl_decimal", b"Content-Length: 0.0"),
    ("cl_exponent", b"Content-Length: 1e1"),
    ("cl_semicolon", b"Content-Length: 0;x=" + N),
    ("cl_quoted", b'Content-Length: "0"'),
    ("cl_letter_after", b"Content-Length: 0x"),
    ("cl_vtab_before", b"Content-Length: \x0b0"),
    ("cl_vtab_after", b"Content-Length: 0\x0b"),
    ("cl_formfeed_after", b"Content-Length: 0\x0c"),
    ("cl_nbsp_before", b"Content-Length: \xa00"),
    ("cl_nbsp_after", b"Content-Length: 0\xa0"),
    ("cl_nul_after", b"Content-Length: 0\x00"),
    ("cl_cr_inside", b"Content-Length: 0\r9"),
    ("cl_arabic_digit", b"Content-Length: \xd9\xa0"),
    ("cl_fullwidth_digit", b"Content-Length: \xef\xbc\x90"),
    ("cl_superscript", b"Content-Length: \xc2\xb2"),
    ("cl_over_63_bits", b"Content-Length: 9223372036854775808"),
    ("cl_over_64_bits", b"Content-Length: 18446744073709551616"),
    ("cl_wraps_to_small", b"Content-Length: 18446744073709551665"),
    ("cl_hundred_digits", b"Content-Length: " + b"9" * 100),
    ("cl_infinity", b"Content-Length: Infinity"),
]  # fmt: skip

# Transfer-Encoding and Content-Length together: nothing is forwarded (RFC 9112 sections 6.1, 6.3 and 11.2).
LONG, SHORT = b"Content-Length: %d\r\n" % (5 + len(EVIL)), b"Content-Length: 3\r\n"
BOTH: list[Row] = [
    ("both_cl_te", post(LONG + CHUNKED, b"0\r\n\r\n" + EVIL), BAD),
    ("both_te_cl", post(CHUNKED + SHORT, b"1\r\na\r\n0\r\n\r\n" + EVIL), BAD),
    ("both_cl_zero", post(b"Content-Length: 0\r\n" + CHUNKED, chunks(b"ab")), BAD),
    ("both_agree", post(b"Content-Length: 12\r\n" + CHUNKED, chunks(b"ab")), BAD),
    ("both_get", get(LONG + CHUNKED, body=b"0\r\n\r\n" + EVIL), BAD),
    ("both_connection_close", post(b"Connection: close\r\n" + LONG + CHUNKED, b"0\r\n\r\n" + EVIL), BAD),
    ("both_case", post(b"CONTENT-LENGTH: 3\r\ntransfer-encoding: CHUNKED\r\n", b"0\r\n\r\n" + EVIL), BAD),
    ("both_cl_twice", post(CHUNKED + CL + CL, chunks(b"ab")), BAD),
    ("both_cl_invalid", post(CHUNKED + b"Content-Length: x\r\n", chunks(b"ab")), BAD),
    ("both_cl_empty", post(CHUNKED + b"Content-Length: \r\n", chunks(b"ab")), BAD),
    ("both_cl_plus", post(CHUNKED + b"Content-Length: +3\r\n", chunks(b"ab")), BAD),
    ("both_te_not_chunked", post(CL + b"Transfer-Encoding: identity\r\n", b"ab" + EVIL), CODING),
    ("both_te_unknown", post(CL + b"Transfer-Encoding: x\r\n", b"ab" + EVIL), CODING),
    ("both_te_empty", post(CL + b"Transfer-Encoding: \r\n", b"ab" + EVIL), CODING),
    ("both_te_gzip_chunked", post(CL + b"Transfer-Encoding: gzip, chunked\r\n", chunks(b"ab")), CODING),
    ("both_te_split", post(b"Transfer-Encoding: gzip\r\n" + CL + CHUNKED, chunks(b"ab")), CODING),
    ("both_cl_named_by_connection", post(b"Connection: content-length\r\n" + LONG + CHUNKED, b"0\r\n\r\n" + EVIL), BAD),
    ("both_te_named_by_connection", post(b"Connection: transfer-encoding\r\n" + LONG + CHUNKED, b"0\r\n\r\n" + EVIL), BAD),
    ("both_http10", b"POST /T0KEN HTTP/1.0\r\n" + HOST + LONG + CHUNKED + b"\r\n0\r\n\r\n" + EVIL, BAD),
]  # fmt: skip

# Values of Transfer-Encoding that some recipient takes for chunked and another does not.
CODINGS = [
    ("te_identity", b"identity"),
    ("te_unknown", b"cow"),
    ("te_xchunked", b"xchunked"),
    ("te_chunkedx", b"chunkedx"),
    ("te_chunk", b"chunk"),
    ("te_gzip_only", b"gzip"),
    ("te_chunked_not_last", b"chunked, gzip"),
    ("te_chunked_identity", b"chunked, identity"),
    ("te_identity_chunked", b"identity, chunked"),
    ("te_chunked_twice", b"chunked, chunked"),
    ("te_chunked_twice_tight", b"chunked,chunked"),
    ("te_parameter", b"chunked;q=1"),
    ("te_semicolon", b"chunked;"),
    ("te_space_parameter", b"chunked ;x=y"),
    ("te_quoted", b'"chunked"'),
    ("te_single_quoted", b"'chunked'"),
    ("te_two_words", b"chunked gzip"),
    ("te_word_before", b"x chunked"),
    ("te_vtab_before", b"\x0bchunked"),
    ("te_vtab_after", b"chunked\x0b"),
    ("te_formfeed_before", b"\x0cchunked"),
    ("te_formfeed_after", b"chunked\x0c"),
    ("te_nul_before", b"\x00chunked"),
    ("te_nul_inside", b"chun\x00ked"),
    ("te_nul_after", b"chunked\x00"),
    ("te_cr_before", b"\rchunked"),
    ("te_cr_after", b"chunked\r"),
    ("te_nbsp_before", b"\xa0chunked"),
    ("te_nbsp_after", b"chunked\xa0"),
    ("te_next_line_after", b"chunked\x85"),
    ("te_high_byte", b"chunked\xff"),
    ("te_brackets", b"[chunked]"),
    ("te_equals", b"=chunked"),
    ("te_colon", b": chunked"),
    ("te_empty", b""),
    ("te_comma_only", b","),
    ("te_long_s", b"chunked".replace(b"c", b"\xd1\x81")),
]  # fmt: skip

TE_ROWS: list[Row] = [
    ("te", post(CHUNKED, chunks(b"ab")), passed(AB)),
    ("te_get_with_body", get(CHUNKED, body=chunks(b"ab")), passed(Seen(body=b"ab"))),
    ("te_name_and_value_case", post(b"TRANSFER-ENCODING: ChUnKeD\r\n", chunks(b"ab")), passed(AB)),
    ("te_no_space", post(b"Transfer-Encoding:chunked\r\n", chunks(b"ab")), passed(AB)),
    ("te_spaces_around", post(b"Transfer-Encoding: \t chunked \t\r\n", chunks(b"ab")), passed(AB)),
    ("te_body_is_a_request", post(CHUNKED, chunks(EVIL)), passed(Seen(b"POST", body=EVIL))),
    # Empty list members may be skipped (RFC 9110 section 5.6.1.2); refusing is safer.
    ("te_leading_comma", post(b"Transfer-Encoding: , chunked\r\n", chunks(b"ab")), either(CODING, passed(AB))),
    ("te_trailing_comma", post(b"Transfer-Encoding: chunked,\r\n", chunks(b"ab")), either(CODING, passed(AB))),
    ("te_gzip_chunked", post(b"Transfer-Encoding: gzip, chunked\r\n", chunks(b"ab")), CODING),
    ("te_lines_chunked_chunked", post(CHUNKED + CHUNKED, chunks(b"ab") + EVIL), CODING),
    ("te_lines_chunked_identity", post(CHUNKED + b"Transfer-Encoding: identity\r\n", chunks(b"ab") + EVIL), CODING),
    ("te_lines_identity_chunked", post(b"Transfer-Encoding: identity\r\n" + CHUNKED, chunks(b"ab") + EVIL), CODING),
    ("te_lines_chunked_cow", post(CHUNKED + b"Transfer-encoding: cow\r\n", chunks(b"ab") + EVIL), CODING),
    ("te_lines_chunked_empty", post(CHUNKED + b"Transfer-Encoding:\r\n", chunks(b"ab") + EVIL), CODING),
    ("te_lines_empty_chunked", post(b"Transfer-Encoding:\r\n" + CHUNKED, chunks(b"ab") + EVIL), CODING),
    ("te_lines_gzip_chunked", post(b"Transfer-Encoding: gzip\r\n" + CHUNKED, chunks(b"ab")), CODING),
    ("te_folded", post(b"Transfer-Encoding:\r\n chunked\r\n", chunks(b"ab") + EVIL), either(BAD, CODING)),
    ("te_folded_tab", post(b"Transfer-Encoding:\r\n\tchunked\r\n", chunks(b"ab") + EVIL), either(BAD, CODING)),
    ("te_folded_second", post(b"Transfer-Encoding: chunked\r\n , identity\r\n", chunks(b"ab") + EVIL), either(BAD, CODING)),
    ("te_folded_with_cl", post(CL + b"Transfer-Encoding:\r\n chunked\r\n", b"ab" + EVIL), either(BAD, CODING)),
    ("te_named_by_connection", post(b"Connection: transfer-encoding\r\n" + CHUNKED, chunks(EVIL)), either(BAD, passed(Seen(b"POST", body=EVIL)))),
    ("cl_named_by_connection", post(b"Connection: content-length\r\n" + b"Content-Length: %d\r\n" % len(EVIL), EVIL), either(BAD, passed(Seen(b"POST", body=EVIL)))),
    ("host_named_by_connection", post(b"Connection: host, close\r\n" + CL, b"ab"), either(BAD, passed(Seen(b"POST", body=b"ab", hosts=(b"gw.test",)), closed=True))),
    # RFC 9112 section 6.1: an HTTP/1.0 message with Transfer-Encoding has faulty framing.
    ("te_http10", b"POST /T0KEN HTTP/1.0\r\n" + HOST + CHUNKED + b"\r\n" + chunks(b"ab"), BAD),
    ("te_http10_keep_alive", b"POST /T0KEN HTTP/1.0\r\n" + HOST + CHUNKED + b"Connection: keep-alive\r\n\r\n" + chunks(b"ab") + EVIL, BAD),
    ("te_http10_get", b"GET /T0KEN HTTP/1.0\r\n" + HOST + CHUNKED + b"\r\n" + chunks(EVIL), BAD),
    ("te_field_te_means_nothing", post(CL + b"TE: chunked\r\n", b"ab"), passed(Seen(b"POST", body=b"ab", lacks=(b"te",)))),
    ("te_field_content_encoding", post(CL + b"Content-Encoding: chunked\r\n", b"ab"), passed(AB)),
]  # fmt: skip

# CL.0 and 0.CL: a length that is honoured or refused, never ignored.
ZERO: list[Row] = [
    ("cl0_on_static_looking_path", post(b"Content-Length: %d\r\n" % len(EVIL), EVIL, target=b"/T0KEN/robots.txt"),
     passed(Seen(b"POST", b"/T0KEN/robots.txt", body=EVIL))),
    ("cl0_redirect_looking_path", get(b"Content-Length: %d\r\n" % len(EVIL), target=b"/T0KEN/..%2f", body=EVIL),
     passed(Seen(b"GET", b"/T0KEN/..%2f", body=EVIL))),
    ("cl0_head", get(b"Content-Length: %d\r\n" % len(EVIL), method=b"HEAD", body=EVIL),
     either(passed(Seen(b"HEAD", body=EVIL)), BAD), {"methods": (b"HEAD",)}),
    ("cl0_options", get(b"Content-Length: %d\r\n" % len(EVIL), method=b"OPTIONS", body=EVIL), passed(Seen(b"OPTIONS", body=EVIL))),
    ("cl0_delete", get(b"Content-Length: %d\r\n" % len(EVIL), method=b"DELETE", body=EVIL), passed(Seen(b"DELETE", body=EVIL))),
    ("cl0_delete_chunked", get(CHUNKED, method=b"DELETE", body=chunks(EVIL)), passed(Seen(b"DELETE", body=EVIL))),
    ("cl0_options_chunked", get(CHUNKED, method=b"OPTIONS", body=chunks(EVIL)), passed(Seen(b"OPTIONS", body=EVIL))),
    ("cl0_unknown_method", get(b"Content-Length: %d\r\n" % len(EVIL), method=b"FOO", body=EVIL),
     either(passed(Seen(b"FOO", body=EVIL)), refused(400, 405, 501))),
    ("cl0_close", post(b"Connection: close\r\nContent-Length: %d\r\n" % len(EVIL), EVIL), passed(Seen(b"POST", body=EVIL), closed=True)),
    ("cl0_keep_alive", post(b"Connection: keep-alive\r\nContent-Length: %d\r\n" % len(EVIL), EVIL), passed(Seen(b"POST", body=EVIL))),
]  # fmt: skip

CASES: list[Case] = [
    *table("framing", "9112 6.2", LENGTHS),
    *table("framing", "9112 6.3", [(name, post(text + b"\r\n", EVIL), BAD) for name, text in BAD_LENGTHS]),
    *table("framing", "9112 6.1", BOTH),
    *table(
        "framing",
        "desync TE.TE",
        [
            (name, post(b"Transfer-Encoding: " + value + b"\r\n", chunks(b"ab") + EVIL), CODING)
            for name, value in CODINGS
        ],
    ),
    *table("framing", "9112 6.1", TE_ROWS),
    *table("framing", "desync CL.0", ZERO),
    *table(
        "framing",
        "9112 6.3",
        [
            (
                "two_te_one_hidden_by_lf",
                post(lines(b"X-A: b\nTransfer-Encoding: chunked", b"Content-Length: 2"), b"ab"),
                BAD,
            ),
            ("cl_with_plus_and_te", post(b"Content-Length: +2\r\n" + CHUNKED, chunks(b"ab")), BAD),
        ],
    ),
]
