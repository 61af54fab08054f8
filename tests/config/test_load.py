"""From file, environment and overrides to one value, or to every problem at once."""

import tomllib
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from blitz.config import Config, load_config, read_config
from blitz.config.expand import expand_text
from blitz.errors import ConfigError

MINIMAL = '[[routes]]\nupstream = "http://127.0.0.1:9000"\n'


@pytest.fixture
def write(tmp_path):
    def write(text, name="blitz.toml"):
        path = tmp_path / name
        path.write_text(text, encoding="utf-8")
        return path

    return write


def problems(path, environ=None, overrides=()):
    return [
        (problem.line, problem.key, problem.message)
        for problem in read_config(path, environ or {}, overrides).problems
    ]


# ---------------------------------------------------------------- the file


def test_a_minimal_file_is_the_defaults_and_one_route(write):
    config = load_config(write(MINIMAL), {})
    assert config.listen == ["127.0.0.1:8080"]
    assert config.timeouts.head == 10.0
    assert [route.upstream for route in config.routes] == ["http://127.0.0.1:9000"]
    assert Config.load(write(MINIMAL), environ={}) == config


def test_all_problems_come_in_one_error_in_the_order_of_their_lines(write):
    path = write('workers = "x"\n[timeouts]\nhaed = 1\n' + MINIMAL.replace("routes", "route"))
    with pytest.raises(ConfigError) as caught:
        load_config(path, {})
    assert [(problem.line, problem.key) for problem in caught.value.problems] == [
        (1, "workers"),
        (3, "timeouts.haed"),
        (4, "route"),
    ]
    assert f"{path}:3: timeouts.haed: unknown key; did you mean `head`?" in str(caught.value)


@pytest.mark.parametrize(
    ("content", "line", "sentence"),
    [
        pytest.param(b"a = \n", 1, "not TOML: invalid value", id="syntax"),
        pytest.param(b"a = 1\n\na = 2\n", 3, "not TOML: cannot overwrite a value", id="twice"),
        pytest.param(b"a = 1\n[b\n", 2, "not TOML", id="unclosed"),
        pytest.param(b"a = '''\n\n", 1, "not TOML", id="end-of-document"),
        pytest.param(b"a = 1\nb = '\xff'\n", 2, "is not UTF-8", id="not-utf8"),
    ],
)
def test_a_file_that_is_not_toml_says_where(tmp_path, content, line, sentence):
    path = tmp_path / "blitz.toml"
    path.write_bytes(content)
    (problem,) = read_config(path, {}).problems
    assert (problem.file, problem.line) == (str(path), line)
    assert problem.message.startswith(sentence)


def test_a_missing_file_and_a_directory_are_one_sentence(tmp_path):
    assert [str(p) for p in read_config(tmp_path / "no.toml", {}).problems] == [
        f"{tmp_path}/no.toml: no such file; check the path"
    ]
    assert [str(p) for p in read_config(tmp_path, {}).problems] == [
        f"{tmp_path}: is a directory, wanted a regular file; check the path"
    ]


def test_a_byte_order_mark_and_crlf_are_no_mistakes(write, tmp_path):
    path = tmp_path / "blitz.toml"
    path.write_bytes(b"\xef\xbb\xbf" + MINIMAL.replace("\n", "\r\n").encode())
    assert read_config(path, {}).problems == []


def test_an_array_of_the_wrong_thing_is_reported_at_its_element(write):
    path = write('routes = [\n  "x",\n  { upstream = "http://h" },\n]\n')
    assert problems(path) == [(2, "routes[0]", 'expected a table, got "x"')]


def test_one_mistake_does_not_cause_another_report(write):
    path = write('[[routes]]\nupstream = 5\npath_prefix = 6\n[[routes]]\nupstream = "http://h"\n')
    assert [key for _, key, _ in problems(path)] == ["routes[0].upstream", "routes[0].path_prefix"]


def test_a_misspelt_key_is_not_missing_too(write):
    path = write('[[routes]]\nupstraem = "http://h"\n[upstreams.a]\nendpoint = ["http://h"]\n')
    assert [(key, message) for _, key, message in problems(path)] == [
        ("routes[0].upstraem", "unknown key; did you mean `upstream`?"),
        ("upstreams.a.endpoint", "unknown key; did you mean `endpoints`?"),
    ]


def test_relative_names_count_from_the_file_that_has_them(write, tmp_path, monkeypatch):
    (tmp_path / "here").mkdir()
    monkeypatch.chdir("/")
    path = write('plugin_dir = "here"\n' + MINIMAL)
    assert load_config(path, {}).plugin_dir == str(tmp_path / "here")


# ---------------------------------------------------------------- ${NAME}


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("${A}", "1"),
        ("x${A}y${B}", "x1y"),
        ("${B:-d}", "d"),
        ("${C:-d e}", "d e"),
        ("${A:-d}", "1"),
        ("${C:-}", ""),
        ("$${A}", "${A}"),
        ("$A and $", "$A and $"),
        ("${D}", "${A}"),
    ],
)
def test_references_are_replaced_as_in_a_shell(text, expected):
    assert expand_text(text, {"A": "1", "B": "", "D": "${A}"}) == expected


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("${C}", "the environment variable C is not set; set it, or write `${C:-default}`"),
        ("${A", "is never closed"),
        ("${1A}", "`${1A}` is not understood"),
        ("${}", "`${}` is not understood"),
        ("${A-b}", "`${A-b}` is not understood"),
    ],
)
def test_a_wrong_reference_is_one_sentence(text, sentence):
    with pytest.raises(ValueError) as caught:
        expand_text(text, {"A": "1"})
    assert sentence in str(caught.value)


@given(st.text(max_size=30), st.dictionaries(st.sampled_from("ABC"), st.text(max_size=5)))
def test_any_text_expands_or_is_refused(text, environ):
    try:
        expanded = expand_text(text, environ)
    except ValueError as error:
        assert "${" in text and str(error)
    else:
        if "${" not in text:
            assert expanded == text


@given(st.text(max_size=20))
def test_a_doubled_dollar_keeps_a_reference_as_text(value):
    body = value.replace("{", "").replace("}", "").replace("$", "")
    assert expand_text("$${" + body + "}", {}) == "${" + body + "}"


def test_a_reference_becomes_what_the_key_wants(write):
    path = write(
        'workers = "${N}"\nlisten = ["127.0.0.1:${PORT:-8081}"]\n[timeouts]\nhead = "${T}"\n'
        '[limits]\nmax_fields = "${F:-50}"\n' + MINIMAL
    )
    config = load_config(path, {"N": "3", "T": "7s"})
    assert (config.workers, config.listen, config.timeouts.head) == (3, ["127.0.0.1:8081"], 7.0)
    assert config.limits.max_fields == 50


def test_a_missing_variable_is_a_problem_at_its_line(write):
    assert problems(write(MINIMAL + 'name = "${NOPE}"\n')) == [
        (3, "routes[0].name", "the environment variable NOPE is not set; set it, or write `${NOPE:-default}`")
    ]


def test_no_message_shows_what_a_variable_holds(write, tmp_path):
    (tmp_path / "p.wasm").write_bytes(b"\0asm\1\0\0\0")
    path = write(
        'workers = "${S}"\nlisten = ["${S}"]\n[timeouts]\nhead = "${S}"\n[log]\nlevel = "${S}"\n'
        '[upstreams.a]\nendpoints = ["${S}"]\nhost = "${S} x"\n'
        '[[plugins]]\nfile = "p.wasm"\nname = "${S}"\nsha256 = "${S}"\nenv = ["${S}"]\nconfig = "${S}"\n'
        '[[routes]]\nupstream = "${S}"\nhost = "${S}"\npath_prefix = "${S}"\nplugins = ["${S}"]\n'
    )
    found = read_config(path, {"S": "hunter2!"}).problems
    assert len(found) >= 12
    assert "hunter2" not in "\n".join(map(str, found))
    assert 'got "${S}"' in "\n".join(map(str, found))


# ---------------------------------------------------------------- environment


def test_the_seed_variables_override_the_file(write, tmp_path):
    other = tmp_path / "other"
    other.mkdir()
    (tmp_path / "p.wasm").write_bytes(b"\0asm\1\0\0\0")
    path = write(
        'plugin_dir = "nowhere"\n[plugin_defaults]\nmemory = "1MiB"\ntimeout = "1s"\n[log]\nlevel = "info"\n'
        '[[plugins]]\nfile = "p.wasm"\ntimeout = "2s"\n' + MINIMAL
    )
    environ = {
        "PLUGIN_DIR": str(other),
        "PLUGIN_MEMORY_LIMIT": "2097152",
        "PLUGIN_TIMEOUT": "3000",
        "PLUGIN_LOG": "trace",
        "QUIC_LOG": "WARNING",
    }
    loaded = read_config(path, environ)
    assert loaded.problems == []
    config = loaded.config
    assert config.plugin_dir == str(other)
    assert (config.plugin_defaults.memory, config.plugin_defaults.timeout) == (2097152, 3.0)
    assert (config.log.plugins, config.log.level) == ("trace", "warn")
    (plugin,) = loaded.resolved.plugins
    assert (plugin.memory, plugin.timeout) == (2097152, 3.0)


def test_the_variables_that_grant_and_deny_leave_entries_alone_that_say_so(write, tmp_path):
    for name in "abcd":
        (tmp_path / f"{name}.wasm").write_bytes(b"\0asm\1\0\0\0")
    path = write(
        '[plugin_defaults]\ngrant = ["fine_clock"]\n[[plugins]]\nfile = "a.wasm"\n'
        '[[plugins]]\nfile = "b.wasm"\ngrant = []\n[[plugins]]\nfile = "c.wasm"\n'
        '[[plugins]]\nfile = "d.wasm"\ndeny = []\n' + MINIMAL
    )
    environ = {"PLUGIN_GRANT": "gc", "PLUGIN_DENY": "clock, random"}
    loaded = read_config(path, environ, ["plugins.c.grant=clock, gc", "plugins.c.deny=random"])
    assert loaded.problems == []
    assert {plugin.name: plugin.grants for plugin in loaded.resolved.plugins} == {
        "a": ("gc",),
        "b": (),
        "c": ("clock", "gc"),
        "d": ("clock", "random", "gc"),
    }


def test_a_variable_that_contradicts_the_file_is_refused(write):
    path = write('[plugin_defaults]\ndeny = ["clock"]\n' + MINIMAL)
    (problem,) = read_config(path, {"PLUGIN_GRANT": "clock"}).problems
    assert str(problem).endswith('plugin_defaults.deny[0]: grant names "clock"; grant it or deny it')


def test_overrides_win_over_the_environment(write):
    path = write(MINIMAL)
    config = load_config(
        path,
        {"PLUGIN_TIMEOUT": "3000", "QUIC_LOG": "debug"},
        ["plugin_defaults.timeout=4s", "log.level=error", "log.level=warn"],
    )
    assert (config.plugin_defaults.timeout, config.log.level) == (4.0, "warn")


def test_an_empty_variable_is_not_set(write):
    assert load_config(write(MINIMAL), {"QUIC_LOG": "", "PLUGIN_DIR": ""}) == load_config(write(MINIMAL), {})


@pytest.mark.parametrize(
    ("name", "value", "expected"),
    [
        ("PLUGIN_TIMEOUT", "soon", 'PLUGIN_TIMEOUT: "soon" is not understood; write'),
        ("PLUGIN_MEMORY_LIMIT", "2 MiBs", 'PLUGIN_MEMORY_LIMIT: "2 MiBs" has the unit "MiBs"; write'),
        ("PLUGIN_MEMORY_LIMIT", "1", "PLUGIN_MEMORY_LIMIT: plugin_defaults.memory: 1 is too small"),
        ("QUIC_LOG", "loud", 'QUIC_LOG: log.level: expected one of "debug"'),
        ("PLUGIN_LOG", "loud", 'PLUGIN_LOG: log.plugins: expected one of "debug"'),
        ("PLUGIN_DIR", "/nowhere", "PLUGIN_DIR: plugin_dir: /nowhere does not exist; create it"),
        ("PLUGIN_GRANT", "clock,rnd", 'PLUGIN_GRANT: plugin_defaults.grant[1]: expected one of "clock"'),
    ],
)
def test_a_wrong_variable_is_named(write, name, value, expected):
    (problem,) = read_config(write(MINIMAL), {name: value}).problems
    assert str(problem).startswith(expected)


# ---------------------------------------------------------------- --set


@pytest.mark.parametrize(
    ("override", "read", "expected"),
    [
        ("timeouts.head=5s", lambda c: c.timeouts.head, 5.0),
        ("timeouts.head=5", lambda c: c.timeouts.head, 5.0),
        ("workers=auto", lambda c: c.workers, "auto"),
        ("workers=2", lambda c: c.workers, 2),
        ('listen=[":1", ":2"]', lambda c: c.listen, [":1", ":2"]),
        ("listen.0=:7", lambda c: c.listen, [":7"]),
        ("limits.max_head_size=32KiB", lambda c: c.limits.max_head_size, 32768),
        ("routes.0.name=x", lambda c: c.routes[0].name, "x"),
        ("routes[0].name='8'", lambda c: c.routes[0].name, "8"),
        ("routes[0].name=8", lambda c: c.routes[0].name, "8"),
        ("routes.1.answer={ status = 204 }", lambda c: c.routes[1].answer.status, 204),
        ("upstreams.b.endpoints=['http://b']", lambda c: c.upstreams["b"].endpoints, ["http://b"]),
        ('upstreams."b.c".endpoints.0=http://b', lambda c: c.upstreams["b.c"].endpoints, ["http://b"]),
        ("plugins.p.config.limit=5", lambda c: c.plugins[0].config, {"limit": 5}),
        ("plugins.p.config.limit=a b", lambda c: c.plugins[0].config, {"limit": "a b"}),
        ("plugins.p.config.list=[1, 2]", lambda c: c.plugins[0].config, {"list": [1, 2]}),
        ("plugins.p.config=text", lambda c: c.plugins[0].config, "text"),
        ("plugins.p.env=['A']", lambda c: c.plugins[0].env, ["A"]),
        ("plugins.nameless.config=x", lambda c: [p.config for p in c.plugins], ["", "x"]),
        ("plugins.q.enabled=false", lambda c: [p.name for p in c.plugins], ["p", "q"]),
    ],
)
def test_an_override_reaches_any_key(write, tmp_path, override, read, expected):
    (tmp_path / "p.wasm").write_bytes(b"\0asm\1\0\0\0")
    text = '[[plugins]]\nname = "p"\nfile = "p.wasm"\n' + MINIMAL + 'path_prefix = "/x"\n'
    if "nameless" in override:
        (tmp_path / "nameless.wasm").write_bytes(b"\0asm\1\0\0\0")
        text += '[[plugins]]\nfile = "nameless.wasm"\n'
    path = write(text)
    assert read(load_config(path, {}, [override])) == expected


@pytest.mark.parametrize(
    ("override", "expected"),
    [
        ("timeouts.head", "--set timeouts.head: `timeouts.head` has no `=`"),
        ("workers=0", "--set workers: workers: 0 is too small; the least is 1"),
        ("=5", "--set : `` is not a key"),
        ("timeouts..head=5", "--set timeouts..head: `timeouts..head` is not a key"),
        ("timeouts.haed=5", "--set timeouts.haed: timeouts.haed: unknown key; did you mean `head`?"),
        ("workers.x=5", "--set workers.x: `workers` holds no keys"),
        ("routes.5.name=x", "--set routes.5.name: `routes` has 1 elements, so there is no number 5"),
        ("listen.x=5", "--set listen.x: `listen` is a list; name an element by its position"),
        ("listen=:80", '--set listen: listen: expected a list, such as ["a", "b"], got ":80"'),
    ],
)
def test_a_wrong_override_is_named(write, override, expected):
    (problem,) = read_config(write("workers = 1\nlisten = [':8']\n" + MINIMAL), {}, [override]).problems
    assert str(problem).startswith(expected)


@given(st.text(max_size=30))
def test_any_override_is_applied_or_refused(text):
    read_config(None, {}, [text])  # never raises


@given(
    st.recursive(
        st.integers() | st.text(max_size=3) | st.booleans() | st.floats() | st.dates(),
        lambda inner: (
            st.lists(inner, max_size=3)
            | st.dictionaries(
                st.sampled_from(
                    [
                        "listen",
                        "routes",
                        "plugins",
                        "upstreams",
                        "upstream",
                        "endpoints",
                        "timeouts",
                        "head",
                        "config",
                        "name",
                        "workers",
                        "answer",
                        "path_prefix",
                        "host",
                        "plugin_defaults",
                        "limits",
                        "memory",
                        "env",
                    ]
                ),
                inner,
                max_size=4,
            )
        ),
        max_leaves=8,
    )
)
def test_any_document_is_a_config_or_a_list_of_problems(value):
    from blitz.config.source import Document

    data = value if isinstance(value, dict) else {"routes": value}
    loaded = read_config(None, {"A": "1"}, start=Document(data=data))
    assert loaded.problems or loaded.config.routes


def test_the_example_in_the_reference_is_right(tmp_path):
    text = (Path(__file__).parents[2] / "docs" / "config.md").read_text(encoding="utf-8")
    example = text.split("```toml\n", 1)[1].split("```", 1)[0]
    assert tomllib.loads(example)
    path = tmp_path / "blitz.toml"
    path.write_text(example, encoding="utf-8")
    (tmp_path / "plugins").mkdir()
    for name in ("request_logger", "rate_limiter", "auth_custom"):
        (tmp_path / "plugins" / f"{name}.wasm").write_bytes(b"\0asm\1\0\0\0")
    assert [str(problem) for problem in read_config(path, {"API_KEYS": "k"}).problems] == []
