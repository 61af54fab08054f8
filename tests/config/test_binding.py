"""A manifest that names its module's digest is applied to no other module."""

import hashlib
import tomllib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from blitz.config import read_config
from blitz.config.binding import bind_manifest

OLD, NEW = b"\0asm\1\0\0\0", b"\0asm\1\0\0\0\0\2\1a"
BODY = """[limits]
memory = "1MiB"
timeout = "10ms"
[failure]
policy = "open"
[capabilities]
clock = true
env = ["SECRET"]
[config.defaults]
k = "of the old one"
"""
ENTRY = "[[routes]]\nanswer = { status = 200 }\n"


def digest(wasm):
    return hashlib.sha256(wasm).hexdigest()


@pytest.fixture
def load(tmp_path):
    def write(wasm, manifest, more="", environ=None, overrides=()):
        (tmp_path / "plugins").mkdir(exist_ok=True)
        (tmp_path / "plugins" / "p.wasm").write_bytes(wasm)
        (tmp_path / "plugins" / "p.toml").write_text(manifest)
        (tmp_path / "blitz.toml").write_text(f'plugin_dir = "plugins"\n{ENTRY}{more}')
        return read_config(tmp_path / "blitz.toml", environ or {}, overrides)

    return write


def bound(wasm, body=BODY):
    about = f'name = "old"\ntype = "request_preprocessing"\nsha256 = "{digest(wasm)}"\n'
    return f"schema = 1\n[plugin]\n{about}{body}"


def test_the_manifest_of_another_module_gives_nothing(load):
    loaded = load(NEW, bound(OLD))
    assert loaded.problems == []
    (plugin,) = loaded.resolved.plugins
    assert (plugin.name, plugin.type, plugin.failure) == ("p", None, "closed")
    assert (plugin.memory, plugin.timeout) == (16 << 20, 1.0)
    assert (plugin.config, plugin.env, plugin.asks, plugin.bound_sha256) == (b"", {}, None, "")
    assert loaded.resolved.before_routing == ()
    (warning,) = loaded.resolved.warnings
    assert "p.toml is the manifest of another module" in warning
    assert digest(OLD) in warning
    assert digest(NEW) in warning
    assert "is not applied, so defaults apply; delete it, or, if it fits, write the new digest" in warning


def test_the_manifest_of_this_module_or_of_any_is_applied(load):
    grants = '[[plugins]]\nname = "old"\ngrant = ["clock"]\nenv = ["SECRET"]\n'
    for manifest in (
        bound(OLD),
        bound(OLD).replace(digest(OLD), digest(OLD).upper()),
        bound(OLD).replace("sha256 =", "#"),
    ):
        loaded = load(OLD, manifest, grants, {"SECRET": "s"})
        assert loaded.problems == []
        (plugin,) = loaded.resolved.plugins
        assert (plugin.name, plugin.memory, plugin.failure) == ("old", 1 << 20, "open")
        assert plugin.config == b'{"k":"of the old one"}'
        assert plugin.bound_sha256 in (digest(OLD), "")


def test_mistakes_in_a_manifest_that_is_not_applied_refuse_nothing(load):
    loaded = load(NEW, bound(OLD, "[limits]\nmemroy = 1\n"))
    assert loaded.problems == []
    assert len(loaded.resolved.warnings) == 1


def test_a_digest_that_is_none_is_a_mistake(load):
    (problem,) = load(OLD, 'schema = 1\n[plugin]\nsha256 = "1234"\n').problems
    assert str(problem).endswith(
        "p.toml:3: plugin.sha256: expected the 64 hex digits of the module's SHA-256"
    )


# ---------------------------------------------------------------- writing it

MANIFESTS = [
    "schema = 1\n",
    'schema = 1 # one\n\n[plugin] # who\nname = "x" # it\n[limits]\nmemory = "1MiB"\n',
    'schema = 1\n[plugin]\n  sha256 = "old" # digest\nname = "x"\n',
    'schema = 1\r\n[plugin]\r\nname = "x"\r\n',
    "schema = 1\n[ plugin ]",
]


@pytest.mark.parametrize("text", MANIFESTS)
def test_the_digest_is_written_and_nothing_else_changes(text):
    before = tomllib.loads(text)
    made = bind_manifest(text, digest(OLD))
    before.setdefault("plugin", {})["sha256"] = digest(OLD)
    assert tomllib.loads(made) == before
    assert all(line in made.splitlines() for line in text.splitlines() if "sha256" not in line)
    assert bind_manifest(made, digest(OLD)) == made


@pytest.mark.parametrize(
    "text", ['plugin = { name = "x" }\n', 'plugin.name = "x"\n', "[plugin]\nsha256 = 1\n"]
)
def test_a_table_that_no_line_fits_into_is_left_alone(text):
    with pytest.raises(ValueError, match="under \\[plugin\\] yourself"):
        bind_manifest(text, digest(OLD))


@given(st.text(alphabet="[]plugin\n=\"# .x'", max_size=40))
def test_any_text_is_bound_or_refused(text):
    try:
        tomllib.loads(text)
    except tomllib.TOMLDecodeError:
        return
    try:
        made = bind_manifest(text, digest(OLD))
    except (ValueError, AttributeError, TypeError):
        return
    assert tomllib.loads(made)["plugin"]["sha256"] == digest(OLD)


# ---------------------------------------------------------------- who set a limit

LIMITED = 'schema = 1\n[limits]\nmemory = "1MiB"\n'
FREE = "schema = 1\n"
OWN = '[[plugins]]\nname = "p"\nmemory = "2MiB"\n'
ALL = '[plugin_defaults]\nmemory = "3MiB"\n'
VARIABLE = {"PLUGIN_MEMORY_LIMIT": "4MiB"}
TO_WRITE = 'write memory in its [[plugins]] entry (name = "p")'


@pytest.mark.parametrize(
    ("manifest", "more", "environ", "overrides", "sentence"),
    [
        (FREE, "", {}, (), f"the default of plugin_defaults.memory; to give it more, {TO_WRITE}"),
        (FREE, ALL, {}, (), "set by DIR/blitz.toml:5: plugin_defaults.memory; raise it there"),
        (FREE, ALL + OWN, {}, (), "set by DIR/blitz.toml:8: plugins[0].memory; raise it there"),
        (LIMITED, ALL, {}, (), f"set by DIR/plugins/p.toml:3: limits.memory; to give it more, {TO_WRITE}"),
        (
            LIMITED,
            "",
            VARIABLE,
            (),
            f"set by DIR/plugins/p.toml:3: limits.memory; to give it more, {TO_WRITE}; "
            "PLUGIN_MEMORY_LIMIT is the most that this gives",
        ),
        (
            FREE,
            OWN,
            VARIABLE,
            (),
            "set by the variable PLUGIN_MEMORY_LIMIT, which overrides the keys of files; raise it there",
        ),
        (FREE, "", VARIABLE, ("plugins.p.memory=5MiB",), "set by --set plugins.p.memory; raise it there"),
    ],
)
def test_a_limit_says_who_set_it_and_advice_that_works(
    load, tmp_path, manifest, more, environ, overrides, sentence
):
    loaded = load(OLD, manifest, more, environ, overrides)
    assert loaded.problems == []
    (plugin,) = loaded.resolved.plugins
    assert plugin.origins["memory"] == sentence.replace("DIR", str(tmp_path))


def test_more_than_a_variable_allows_is_not_promised_by_a_key_it_overrides(load):
    loaded = load(OLD, 'schema = 1\n[limits]\nmemory = "8MiB"\n', "", VARIABLE)
    (warning,) = loaded.resolved.warnings
    assert warning.endswith("to give it more, raise PLUGIN_MEMORY_LIMIT, which overrides the keys of files")
