"""Invariants: a head keeps its fields in order with their case, whatever was added, replaced and removed;
nothing that is no token or no field-content gets in; a field's id depends on its name alone."""

from __future__ import annotations

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from blitz._native import ffi, lib
from tests.head import Body, Head

TOKEN_BYTES = b"!#$%&'*+-.^_`|~0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
CONTENT_BYTES = bytes([9, *range(32, 127), *range(128, 256)])
ID_NAMES = {
    name.removeprefix("BLITZ_F_").lower().replace("_", "-").encode(): getattr(lib, name)
    for name in dir(lib)
    if name.startswith("BLITZ_F_") and name not in ("BLITZ_F_OTHER", "BLITZ_F_COUNT")
}


def id_of(name: bytes) -> int:
    head = Head.request(b"GET", b"/", [(name, b"")])
    return int(head.c.fields[0].id)


def test_every_byte_is_judged_as_token_and_as_field_content() -> None:
    for byte in range(256):
        one = bytes([byte])
        for name, value, allowed in (
            (b"x" + one, b"", byte in TOKEN_BYTES),
            (b"x", b"a" + one + b"b", byte in CONTENT_BYTES),
        ):
            head = Head.request(b"GET", b"/")
            if allowed:
                head.add(name, value)
                assert head.fields() == [(name, value)]
            else:
                with pytest.raises(ValueError, match="malformed"):
                    head.add(name, value)
                assert head.fields() == []


def test_an_empty_name_is_refused_and_an_empty_value_is_not() -> None:
    head = Head.request(b"GET", b"/")
    with pytest.raises(ValueError, match="malformed"):
        head.add(b"", b"x")
    head.add(b"x", b"")
    assert head.fields() == [(b"x", b"")]


@pytest.mark.parametrize(("name", "field_id"), sorted(ID_NAMES.items()), ids=lambda value: str(value))
def test_a_known_name_has_its_id_in_any_case_and_no_neighbour_has(name: bytes, field_id: int) -> None:
    assert id_of(name) == id_of(name.upper()) == id_of(name.title()) == field_id
    for at in range(len(name)):
        near = bytearray(name)
        near[at] = ord("-") if near[at] != ord("-") else ord("_")
        assert id_of(bytes(near)) != field_id
    assert id_of(name + b"s") != field_id
    assert len(name) < 2 or id_of(name[:-1]) != field_id


def test_every_known_id_has_a_name() -> None:
    assert sorted(ID_NAMES.values()) == list(range(1, lib.BLITZ_F_COUNT))


def test_look_alikes_by_case_folding_are_other_names() -> None:
    # '^' and '~', '_' and DEL, '@' and '`' differ in the bit that letters fold by.
    head = Head.request(b"GET", b"/", [(b"a^b", b"1")])
    assert head.get(b"A^B") == b"1"
    assert head.get(b"a~b") is None


def test_start_lines() -> None:
    head = Head.request(b"M-SEARCH", b"/a?b", minor=0)
    assert (head.method, head.target, head.version, head.is_request) == (b"M-SEARCH", b"/a?b", b"1.0", True)
    head = Head.response(404, reason=b"Not \xe9 Found")
    assert (head.status, head.reason, head.is_request) == (404, b"Not \xe9 Found", False)
    for method, target in ((b"", b"/"), (b"G T", b"/"), (b"GET", b""), (b"GET", b"/ "), (b"GET", b"/\xff")):
        with pytest.raises(ValueError, match="request line"):
            Head.request(method, target)
    for status, reason in ((-1, b""), (1000, b""), (200, b"a\r\nb"), (200, b"\x7f")):
        with pytest.raises(ValueError, match="status line"):
            Head.response(status, reason=reason)


def test_set_replaces_all_in_the_place_of_the_first() -> None:
    head = Head.request(b"GET", b"/", [(b"A", b"1"), (b"b", b"2"), (b"a", b"3"), (b"C", b"4")])
    head.set(b"a", b" new ")
    assert head.fields() == [(b"A", b"new"), (b"b", b"2"), (b"C", b"4")]
    assert head.get_all(b"A") == [b"new"]
    head.set(b"D", b"5")
    assert head.fields()[-1] == (b"D", b"5")
    assert head.remove(b"a") == 1
    assert head.remove(b"a") == 0
    assert head.get(b"a") is None


def test_a_full_table_takes_no_more_until_something_goes() -> None:
    head = Head.request(b"GET", b"/", [(b"n%d" % i, b"") for i in range(lib.BLITZ_MAX_FIELDS)])
    with pytest.raises(ValueError, match="256 fields"):
        head.add(b"x", b"")
    head.remove(b"n7")
    head.add(b"x", b"1")
    names = [name for name, _ in head.fields()]
    assert names == [b"n%d" % i for i in range(256) if i != 7] + [b"x"]


def test_bytes_of_the_head_itself_may_be_added_again() -> None:
    head = Head.request(b"GET", b"/", [(b"first", b"v" * 300)])
    for _ in range(200):  # the arena moves several times
        field = head.c.fields[0]
        name, value = (lib.blitz_head_at(head.c, span) for span in (field.name, field.value))
        assert lib.blitz_head_add(head.c, name, field.name.len, value, field.value.len) == 0
    assert set(head.fields()) == {(b"first", b"v" * 300)}
    assert len(head.fields()) == 201


def test_the_targets_that_may_be_set() -> None:
    head = Head.request(b"OPTIONS", b"/")
    for target in (b"/", b"*", b"/a/b;c=1?d=%zz&e[]={1}", b"/%41|^[]"):
        head.set_target(target)
        assert head.target == target
    for target in (
        b"",
        b"a",
        b"/a#b",
        b"/ ",
        b"http://a/",
        b"/\x80",
        b"/a\\b",
        b"/%4",
        b"/%00",
        b'/?"',
        b"**",
    ):
        with pytest.raises(ValueError, match="target"):
            head.set_target(target)
    with pytest.raises(ValueError, match="method"):
        head.set_method(b"GET /")
    head.set_method(b"PUT")
    assert head.method == b"PUT"
    with pytest.raises(ValueError, match="target"):
        Head.response(200).set_target(b"/")


def test_a_head_is_reusable_and_forgets() -> None:
    head = Head()
    assert head.scan_request(b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\n") > 0
    head.add(b"x", b"y" * 10_000)
    assert (head.body, head.content_length) == (Body.LENGTH, 5)
    head.reset()
    assert (head.fields(), head.method, head.host, head.body, head.content_length) == (
        [],
        b"",
        b"",
        Body.NONE,
        None,
    )
    assert head.c.arena_cap <= 4096


OPERATIONS = st.lists(
    st.tuples(
        st.sampled_from(["add", "set", "remove"]),
        st.sampled_from([b"a", b"A", b"Host", b"hOST", b"x-1", b"X-2", b"content-length"]),
        st.binary(max_size=40).map(lambda raw: bytes(b for b in raw if b in CONTENT_BYTES).strip(b" \t")),
    ),
    max_size=60,
)


@given(OPERATIONS)
def test_edits_do_what_they_do_to_a_list(operations: list[tuple[str, bytes, bytes]]) -> None:
    head, model = Head.request(b"GET", b"/"), list[tuple[bytes, bytes]]()
    for what, name, value in operations:
        same = [i for i, (other, _) in enumerate(model) if other.lower() == name.lower()]
        if what == "add" or (what == "set" and not same):
            getattr(head, what)(name, value)
            model.append((name, value))
        elif what == "set":
            head.set(name, value)
            model[same[0]] = (model[same[0]][0], value)
            for i in reversed(same[1:]):
                del model[i]
        else:
            assert head.remove(name) == len(same)
            model = [pair for i, pair in enumerate(model) if i not in same]
        assert head.fields() == model
        assert head.get_all(name) == [v for n, v in model if n.lower() == name.lower()]


def test_the_arena_grows_in_few_steps() -> None:
    head, capacities = Head.request(b"GET", b"/"), set()
    rng = random.Random(1)
    for _ in range(20_000):
        head.set(b"x", bytes(rng.choices(b"abc", k=50)))
        capacities.add(int(head.c.arena_cap))
    assert len(capacities) < 20
    assert lib.blitz_head_find(head.c, b"x", 1, 0) == 0
    assert ffi.sizeof("blitz_field") == 20
