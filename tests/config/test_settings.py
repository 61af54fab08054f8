"""A manifest says which configuration its plugin has; what the operator writes is held against it."""

import json
import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from blitz.config import read_config, resolve
from blitz.config.settings import ConfigKey, check_keys, read_settings
from blitz.config.source import Document
from blitz.errors import ConfigError

WASM = b"\0asm\1\0\0\0"
MANIFEST = """schema = 1
[config.keys.rate]
type = "integer"
default = 60
min = 1
max = 1000
[config.keys.wait]
type = "duration"
default = "5s"
max = "1m"
[config.keys.room]
type = "size"
min = "1KiB"
[config.keys.level]
type = "string"
enum = ["low", "high"]
[config.keys.share]
type = "number"
[config.keys.on]
type = "boolean"
[config.keys.names]
type = "list"
default = ["a", "b"]
[config.keys.ports]
type = "list"
items = "integer"
[config.keys.rest]
type = "table"
[config.keys.token]
type = "string"
secret = true
"""
DEFAULTS = {"rate": 60, "wait": 5, "names": ["a", "b"]}


@pytest.fixture
def read(tmp_path):
    """read(lines of [plugins.config], manifest) -> what was loaded."""

    def write(said="", manifest=MANIFEST, environ=None, overrides=()):
        (tmp_path / "p.wasm").write_bytes(WASM)
        (tmp_path / "p.toml").write_text(manifest)
        file = tmp_path / "blitz.toml"
        file.write_text(
            f'[[routes]]\nanswer = {{ status = 200 }}\n[[plugins]]\nfile = "p.wasm"\n[plugins.config]\n{said}'
        )
        return read_config(file, environ or {}, overrides)

    return write


def given_to(loaded):
    assert [str(problem) for problem in loaded.problems] == []
    (plugin,) = loaded.resolved.plugins
    return json.loads(plugin.config)


def test_defaults_and_units_reach_the_plugin_as_plain_values(read):
    assert given_to(read()) == DEFAULTS
    said = 'rate = 7\nwait = "250ms"\nroom = "64KiB"\nlevel = "high"\nports = [80, 443]\nrest = { a = [1] }\n'
    loaded = read(said)
    expected = {"rate": 7, "wait": 0.25, "room": 65536, "level": "high", "ports": [80, 443]}
    assert given_to(loaded) == DEFAULTS | expected | {"rest": {"a": [1]}}
    values = loaded.resolved.plugins[0].config_values
    assert (values["wait"], values["room"], values["names"]) == ("0.25", "65536", "a\nb")
    assert loaded.resolved.plugins[0].config_values["rest.a"] == "1"


@pytest.mark.parametrize(
    ("said", "key", "sentence"),
    [
        ("rates = 7", "rates", "unknown key; did you mean `rate`?"),
        ('rate = "7"', "rate", 'expected a whole number, got "7"'),
        ("rate = 7.5", "rate", "expected a whole number, got 7.5"),
        ("rate = true", "rate", "expected a whole number, got true"),
        ("rate = 0", "rate", "0 is too small; the least is 1"),
        ("rate = 1001", "rate", "1001 is too large; the most is 1000"),
        ('wait = "2m"', "wait", "2m is too large; the most is 1m"),
        ('wait = "soon"', "wait", '"soon" is not understood; write a number with one of'),
        ('room = "1B"', "room", "1 is too small; the least is 1KiB"),
        ('level = "hihg"', "level", 'expected one of "low", "high", got "hihg"; did you mean "high"?'),
        ("level = 1", "level", 'expected one of "low", "high", got 1'),
        ("share = nan", "share", "inf and nan cannot be handed to a plugin"),
        ('on = "yes"', "on", 'expected true or false, got "yes"'),
        ('names = "a"', "names", "expected a list"),
        ('ports = [80, "x"]', "ports[1]", 'expected a whole number, got "x"'),
        ("rest = 1", "rest", "expected a table, got 1"),
    ],
)
def test_a_mistake_is_said_once_with_its_line(read, said, key, sentence):
    (problem,) = read(f"# here\n{said}\n").problems
    assert problem.file.endswith("blitz.toml")
    assert (problem.line, problem.key) == (7, f"plugins[0].config.{key}")
    assert sentence in problem.message


def test_all_mistakes_are_reported_at_once(read):
    problems = read('rate = 0\nlevel = "x"\nnope = 1\n').problems
    assert [problem.line for problem in problems] == [6, 7, 8]


@pytest.mark.parametrize("value", ["12345678", '["hunter2"]', "{ hunter2 = 1 }", "1979-05-27"])
def test_a_secret_stands_in_no_message(read, value):
    loaded = read(f"token = {value}\n")
    (problem,) = loaded.problems
    assert problem.line == 6
    assert not any(secret in str(problem) for secret in ("12345678", "hunter2", "1979-05-27"))


def test_texts_from_variables_and_flags_are_read_as_the_key_wants(read):
    said = 'rate = "${RATE}"\nlevel = "${LEVEL}"\n'
    assert given_to(read(said, environ={"RATE": "7", "LEVEL": "low"}))["rate"] == 7
    (problem,) = read(said, environ={"RATE": "seven", "LEVEL": "low"}).problems
    assert '"${RATE}"' in problem.message
    flags = ["plugins.p.config.rate=8", "plugins.p.config.token=99", "plugins.p.config.names=['x']"]
    got = given_to(read(overrides=flags))
    assert (got["rate"], got["token"], got["names"]) == (8, "99", ["x"])
    (problem,) = read(overrides=["plugins.p.config.rate=0"]).problems
    assert str(problem).startswith("--set plugins.p.config.rate: plugins[0].config.rate: 0 is too small")
    assert given_to(read(overrides=["plugins.p.config={rate = 9}"]))["rate"] == 9


def test_what_is_required_and_not_said_is_named(read, tmp_path):
    manifest = (
        'schema = 1\n[config.keys.token]\ntype = "string"\nrequired = true\ndescription = "of the service"\n'
    )
    (problem,) = read(manifest=manifest).problems
    assert str(problem).endswith("blitz.toml:5: plugins[0].config.token: `token` is missing: of the service")
    assert given_to(read('token = "x"\n', manifest)) == {"token": "x"}
    (tmp_path / "blitz.toml").write_text('plugin_dir = "."\n[[routes]]\nanswer = { status = 200 }\n')
    (problem,) = read_config(tmp_path / "blitz.toml", {}).problems  # and without an entry
    assert "`token` is missing: of the service" in str(problem)


def test_text_in_place_of_a_table_is_refused(read, tmp_path):
    read()
    file = tmp_path / "blitz.toml"
    file.write_text(
        '[[routes]]\nanswer = { status = 200 }\n[[plugins]]\nfile = "p.wasm"\nconfig = "rate: 7"\n'
    )
    (problem,) = read_config(file, {}).problems
    assert (problem.line, problem.key) == (5, "plugins[0].config")
    assert "expected a table" in problem.message


def test_a_config_that_python_made_is_held_against_it_too(read):
    loaded = read()
    assert resolve(loaded.config, {}).plugins[0].config_values["rate"] == "60"
    from msgspec.structs import replace

    wrong = replace(loaded.config, plugins=[replace(loaded.config.plugins[0], config={"rate": 0})])
    with pytest.raises(ConfigError, match=r"plugins\[0\].config.rate: 0 is too small"):
        resolve(wrong, {})


@pytest.mark.parametrize(
    ("lines", "key", "sentence"),
    [
        ('type = "text"', "k.type", 'expected one of "boolean", "duration", '),
        ("default = 1", "k.type", "`type` is missing"),
        ('type = "integer"\ndefault = "1"', "k.default", 'expected a whole number, got "1"'),
        ('type = "integer"\ndefault = 9\nmax = 3', "k.default", "9 is too large; the most is 3"),
        ('type = "integer"\nmax = "3"', "k.max", 'expected a whole number, got "3"'),
        ('type = "string"\nmax = 3', "k.max", "is for integer, number, duration, size"),
        ('type = "integer"\nenum = ["1"]', "k.enum", "is for strings and lists of them"),
        ('type = "string"\nitems = "string"', "k.items", "is for a list"),
        ('type = "string"\nenum = ["a"]\ndefault = "b"', "k.default", 'expected "a", got "b"'),
        ('type = "string"\nrequired = true\ndefault = "b"', "k.default", "is never used"),
        ('type = "string"\nsecret = true\ndefault = "hunter2"', "k.default", "no secret; leave it out"),
        ('type = "string"\ndescription = "a\\nb"', "k.description", "holds control or invisible characters"),
        ('type = "string"\npattern = "(a+)+"', "k.pattern", "unknown key"),
        ('type = "string"\n[config.defaults]\nk = 1', "", "stands beside `keys`"),
    ],
)
def test_a_wrong_table_in_a_manifest_is_a_sentence(read, lines, key, sentence):
    (problem,) = read(manifest=f"schema = 1\n[config.keys.k]\n{lines}\n").problems
    assert problem.file.endswith("p.toml")
    assert problem.key == (f"config.keys.{key}" if key else "config.defaults")
    assert sentence in problem.message
    assert "hunter2" not in problem.message


def test_a_manifest_does_not_choose_how_long_messages_are():
    keys = {f"key{number}": ConfigKey(type="string") for number in range(5000)}
    document = Document()
    check_keys(keys, document)
    assert [problem.message for problem in document.problems] == ["has 5000 keys, limit 256; use tables"]
    for wordy in ({"enum": ["x" * 65]}, {"enum": ["x"] * 65}, {"description": "x" * 301}):
        document = Document()
        check_keys({"k": ConfigKey(type="string", **wordy)}, document)
        assert len(document.problems) == 1


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=9),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
    max_leaves=6,
)
KINDS = ["string", "integer", "number", "boolean", "list", "table", "duration", "size"]


@settings(max_examples=150, deadline=None)
@given(st.sampled_from(KINDS), VALUES.filter(lambda value: value is not None), st.booleans())
def test_any_value_is_given_or_refused_and_secrets_stay_inside(kind, value, secret):
    """Whatever stands there: either the plugin gets something of that type, or there is one sentence or more,
    and never an exception."""
    document = Document()
    key = ConfigKey(type=kind, secret=secret)
    got = read_settings({"k": key}, {"k": value}, document, ("plugins", 0, "config"))
    assert ("k" in got) != bool(document.problems)
    if secret:
        for problem in document.problems:
            assert re.fullmatch(r".*; what it is now is a secret, and not shown", problem.message)


@pytest.mark.parametrize("manifest", [MANIFEST, "schema = 1\n"], ids=["keys", "no-keys"])
@pytest.mark.parametrize(
    "said", ['token = "x-${NOPE}"', 'names = ["a", "${NOPE}"]', 'rest = { a = [{ b = "${NOPE}" }] }']
)
def test_a_variable_that_is_not_set_is_one_problem(read, said, manifest):
    (problem,) = read(said, manifest).problems
    assert "the environment variable NOPE is not set" in str(problem)
