"""Invariant: on every document that tomllib accepts, the scanner knows the line of exactly the keys that
tomllib found."""

import tomllib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from blitz.config.positions import key_lines, path_text


def paths_of(value, path=()):
    """Every key path and array element of what tomllib made."""
    if isinstance(value, dict):
        items = value.items()
    elif isinstance(value, list):
        items = enumerate(value)
    else:
        return
    for key, item in items:
        yield (*path, key)
        yield from paths_of(item, (*path, key))


DOCUMENT = '''\
# a comment = 1
listen = [ "a", # not ] the end
  "b]", """c
  # still c""",
]
plain = 1
"quoted key" = { inner = 1, 'lit.eral' = [ { deep = 2 } ], }
dotted.a.b = "x = 1"

[table]
text = """
[not.a.table]
key = 1
""\\"" """
lines = """
"""
escaped = "\\" # no comment"
raw = \'\'\'it''s\'\'\'
when = 1979-05-27 07:32:00
[table.sub]
x = 1

[[plugins]]
name = "a"
[plugins.config]
k = 1
[[plugins.config.list]]
v = 1
[[plugins.config.list]]
v = 2
[[plugins]]
name = "b" # c
'''.replace(" }, ], }", " } ] }").replace(" ], }", " ] }")

LINES = {
    ("listen",): 2,
    ("listen", 0): 2,
    ("listen", 1): 3,
    ("listen", 2): 3,
    ("plain",): 6,
    ("quoted key",): 7,
    ("quoted key", "inner"): 7,
    ("quoted key", "lit.eral"): 7,
    ("quoted key", "lit.eral", 0): 7,
    ("quoted key", "lit.eral", 0, "deep"): 7,
    ("dotted",): 8,
    ("dotted", "a"): 8,
    ("dotted", "a", "b"): 8,
    ("table",): 10,
    ("table", "text"): 11,
    ("table", "lines"): 15,
    ("table", "escaped"): 17,
    ("table", "raw"): 18,
    ("table", "when"): 19,
    ("table", "sub"): 20,
    ("table", "sub", "x"): 21,
    ("plugins",): 23,
    ("plugins", 0): 23,
    ("plugins", 0, "name"): 24,
    ("plugins", 0, "config"): 25,
    ("plugins", 0, "config", "k"): 26,
    ("plugins", 0, "config", "list"): 27,
    ("plugins", 0, "config", "list", 0): 27,
    ("plugins", 0, "config", "list", 0, "v"): 28,
    ("plugins", 0, "config", "list", 1): 29,
    ("plugins", 0, "config", "list", 1, "v"): 30,
    ("plugins", 1): 31,
    ("plugins", 1, "name"): 32,
}


@pytest.mark.parametrize("newline", ["\n", "\r\n"], ids=["lf", "crlf"])
def test_every_key_of_a_document_has_its_line(newline):
    text = DOCUMENT.replace("\n", newline)
    assert key_lines(text) == LINES
    assert set(LINES) == set(paths_of(tomllib.loads(text)))


# ---------------------------------------------------------------- documents made up

names = st.text("ab-_1", min_size=1, max_size=3)
odd_names = st.text(st.characters(codec="utf-8", exclude_categories=["Cc", "Cs"]), max_size=4)


def basic(text):
    out = text.replace("\\", "\\\\").replace('"', '\\"')
    return '"' + "".join(c if ord(c) >= 32 and ord(c) != 127 else f"\\u{ord(c):04x}" for c in out) + '"'


keys = names | odd_names.map(basic)
texts = st.text(st.sampled_from("ab\"'\\#[]{},= \n.é"), max_size=8)


def block(text):
    return '"""\n' + text.replace("\\", "\\\\").replace('"""', '""\\"').removesuffix('"') + '"""'


def literal_block(text):
    return "'''" + text.replace("'''", "''").removesuffix("'").removesuffix("'") + "'''"


scalars = (
    st.integers(-99, 99).map(str)
    | st.booleans().map(lambda value: str(value).lower())
    | st.just("1979-05-27T07:32:00Z")
    | texts.map(basic)
    | texts.map(block)
    | texts.map(literal_block)
    | texts.map(lambda text: "'" + text.replace("'", "").replace("\n", "") + "'")
)
gaps = st.sampled_from(["", " ", "\n", " # a ] } comment\n", "\n\n\t"])


def arrays(values):
    return st.tuples(st.lists(st.tuples(gaps, values), max_size=3), gaps, st.booleans()).map(
        lambda made: (
            "["
            + ",".join(gap + value for gap, value in made[0])
            + ("," if made[2] and made[0] else "")
            + made[1]
            + "]"
        )
    )


def inline_tables(values):
    return st.dictionaries(keys, values, max_size=3).map(
        lambda made: "{ " + ", ".join(f"{key} = {value}" for key, value in made.items()) + " }"
    )


values = st.recursive(scalars, lambda inner: arrays(inner) | inline_tables(inner), max_leaves=6)
dotted = st.lists(keys, min_size=1, max_size=3).map(" . ".join)
lines = (
    st.tuples(dotted, values).map(lambda made: f"{made[0]} = {made[1]}")
    | dotted.map(lambda key: f"[ {key} ]")
    | dotted.map(lambda key: f"[[{key}]] # note")
    | st.just("# comment")
    | st.just("")
)


@given(st.lists(lines, max_size=12).map("\n".join))
def test_the_scanner_finds_what_tomllib_finds(text):
    try:
        data = tomllib.loads(text)
    except tomllib.TOMLDecodeError:
        return  # keys that collide
    found = key_lines(text)
    assert set(found) == set(paths_of(data))
    rows = text.split("\n")
    for path, line in found.items():
        if isinstance(path[-1], str) and path[-1].replace("-", "").isalnum() and path[-1].isascii():
            assert path[-1] in rows[line - 1]


def test_paths_are_written_as_people_write_them():
    assert path_text(("routes", 0, "upstream")) == "routes[0].upstream"
    assert path_text(("upstreams", "a b", "host")) == 'upstreams."a b".host'
    assert path_text(()) == ""
