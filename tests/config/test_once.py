"""What cannot work is refused, what works is not, and one mistake is one sentence that says what it is."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from blitz.config.addresses import parse_address
from blitz.config.load import Loaded, read_config
from blitz.config.positions import find_open_string

ROUTE = '[[routes]]\nupstream = "http://127.0.0.1:1"\n'


def read(directory: Path, text: str) -> Loaded:
    file = directory / "blitz.toml"
    file.write_text(text, encoding="utf-8")
    return read_config(file, {})


def problems(directory: Path, text: str) -> list[tuple[int, str, str]]:
    return [(problem.line, problem.key, problem.message) for problem in read(directory, text).problems]


# -- strings without end

OPEN = [
    pytest.param(ROUTE + 'host = "a\nname = "b"\n', 3, 8, '"', id="basic"),
    pytest.param(ROUTE + "host = 'a\nname = 'b'\n", 3, 8, "'", id="literal"),
    pytest.param(ROUTE + "host = 'a\n\n\n[log]\n", 3, 8, "'", id="literal-far-from-the-end"),
    pytest.param('listen = ["127.0.0.1:80]\n' + ROUTE, 1, 11, '"', id="in-an-array"),
    pytest.param('listen = ["127.0.0.1:80, "127.0.0.1:81"]\n' + ROUTE, 1, 39, '"', id="the-first-of-two"),
    pytest.param(ROUTE + '"host = "a"\n', 3, 11, '"', id="a-key"),
    pytest.param(ROUTE + 'host = """a\n\n[log]\nlevel = "info"\n', 3, 8, '"""', id="block"),
    pytest.param(ROUTE + "host = '''a\n\n[log]\nlevel = 'info'\n", 3, 8, "'''", id="literal-block"),
    pytest.param("# it's\n" + ROUTE + 'host = "a', 4, 8, '"', id="at-the-end"),
    pytest.param(ROUTE.replace("\n", "\r\n") + 'host = "a\r\nname = "b"\r\n', 3, 8, '"', id="CRLF"),
]


@pytest.mark.parametrize(("text", "line", "column", "quote"), OPEN)
def test_a_quote_that_is_not_closed_is_named(
    tmp_path: Path, text: str, line: int, column: int, quote: str
) -> None:
    ((found, _, message),) = problems(tmp_path, text)
    assert found == line
    assert f"the quote {quote} at column {column} is not closed" in message


@pytest.mark.parametrize(
    ("value", "words"),
    [("“a”", "“ is a typographic quote"), ('"a" b', "expected newline"), ('"a\\qb"', "string")],
)
def test_other_mistakes_are_not_blamed_on_quotes(tmp_path: Path, value: str, words: str) -> None:
    ((line, _, message),) = problems(tmp_path, f"{ROUTE}host = {value}\n")
    assert line == 3
    assert words in message
    assert "not closed" not in message


STRINGS = [
    '"a"',
    '""',
    '"\\""',
    "'a'",
    "''",
    "'\"'",
    '"\'"',
    '"""a\n"b""\n"""',
    "'''a'b''\n'''",
    "# it's \"\n",
    "1",
    "\n",
]


@settings(deadline=None)
@given(st.lists(st.sampled_from(STRINGS), max_size=12), st.sampled_from(['"', "'", '"""', "'''"]))
def test_the_first_open_string_is_found(pieces: list[str], quote: str) -> None:
    before = " ".join(pieces)
    assert find_open_string(before) is None
    line, column = before.count("\n") + 1, len(before) - before.rfind("\n")
    found = find_open_string(f"{before} {quote}a\nb")
    if before.rpartition("\n")[2].lstrip().startswith("#"):
        return
    assert found == (line, column + 1, quote)


def test_a_long_string_without_end_takes_no_time_to_speak_of() -> None:
    for text in (
        '"""' + '\\"a"" ' * 200_000,
        "'''" + "a'' " * 200_000,
        '"' + "\\\\" * 500_000,
        "'" * 500_001,
    ):
        found = find_open_string(text)
        assert found is None or found.line == 1


# -- more than a host

URLS = [
    pytest.param(
        'host = "https://a.test"', 'is a URL, and routes match the host alone; write "a.test"', id="url"
    ),
    pytest.param('host = "HTTP://u@a.test:80/x?y#z"', 'write "a.test"', id="all-of-a-url"),
    pytest.param('host = "https://*.a.test"', 'write "*.a.test"', id="wildcard"),
    pytest.param('host = "https://[::1]:8443/"', 'write "[::1]"', id="ipv6"),
    pytest.param(
        'host = "//a.test"', 'is a URL, and routes match the host alone; write "a.test"', id="no-scheme"
    ),
    pytest.param(
        'host = "a.test/x"', 'has a path, and routes match the host alone; write "a.test"', id="path"
    ),
    pytest.param(
        'host = "eve@a.test"', 'has a user, and routes match the host alone; write "a.test"', id="user"
    ),
    pytest.param('host = "https://"', 'is a URL, and routes match the host alone; write "api', id="no-host"),
    pytest.param('host = "a.test:80"', "has a port, and routes match the host alone", id="port"),
    pytest.param('path_prefix = "https://a.test/x"', "is a URL; write its host as `host`", id="prefix"),
]


@pytest.mark.parametrize(("line", "sentence"), URLS)
def test_what_is_more_than_a_host_is_called_what_it_is(tmp_path: Path, line: str, sentence: str) -> None:
    ((number, _, message),) = problems(tmp_path, f"{ROUTE}{line}\n")
    assert number == 3
    assert sentence in message


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ('host = "https://a.test:81/"', 'write "a.test:81"'),
        (
            'tls = { server_name = "https://a.test" }',
            'is a URL, and a certificate names the host alone; write "a.test"',
        ),
    ],
)
def test_of_an_upstream_too(tmp_path: Path, text: str, sentence: str) -> None:
    whole = f'[upstreams.a]\nendpoints = ["https://127.0.0.1:1"]\n{text}\n[[routes]]\nupstream = "a"\n'
    ((_, _, message),) = problems(tmp_path, whole)
    assert sentence in message


# -- ports

TAKEN = [
    (":8080", "127.0.0.1:8080"), (":8080", "[::1]:8080"), ("0.0.0.0:8080", "127.0.0.1:8080"),
    ("[::]:8080", "[::1]:8080"), (":8080", "[::]:8080"), (":8080", "0.0.0.0:8080"),
    (":8080", "localhost:8080"), ("127.0.0.1:8080", "127.0.0.1:08080"), ("[::1]:8080", "[0::1]:8080"),
    ("localhost:8080", "LOCALHOST:8080"),
]  # fmt: skip
FREE = [
    ("127.0.0.1:8080", "127.0.0.2:8080"), ("0.0.0.0:8080", "[::]:8080"), ("0.0.0.0:8080", "[::1]:8080"),
    ("127.0.0.1:8080", "127.0.0.1:8081"), (":0", ":0"), ("127.0.0.1:0", ":0"),
    ("127.0.0.1:8080", "[::1]:8080"),
]  # fmt: skip


@pytest.mark.parametrize("pair", TAKEN)
@pytest.mark.parametrize("turned", [False, True])
def test_a_port_is_taken_once(tmp_path: Path, pair: tuple[str, str], turned: bool) -> None:
    one, other = reversed(pair) if turned else pair
    listed = f'listen = ["{one}", "{other}"]\n'
    tables = f'[[listen]]\naddress = "{one}"\n[[listen]]\naddress = "{other}"\n'
    for text in (listed, tables):
        ((_, key, message),) = problems(tmp_path, text + ROUTE)
        assert key.startswith("listen[1]")
        assert "leave one out" in message
    admin = f'listen = ["{one}"]\n[admin]\nlisten = "{other}"\ntoken = "0123456789abcdef"\n'
    ((_, key, _),) = problems(tmp_path, admin + ROUTE)
    assert key == "admin.listen"


@pytest.mark.parametrize("pair", FREE)
def test_ports_that_are_not_the_same(tmp_path: Path, pair: tuple[str, str]) -> None:
    assert not problems(tmp_path, f'listen = ["{pair[0]}", "{pair[1]}"]\n{ROUTE}')


def test_an_address_that_no_socket_takes_is_refused() -> None:
    with pytest.raises(ValueError, match=r'write "127.0.0.1:80"'):
        parse_address("[::ffff:127.0.0.1]:80")


# -- one mistake, one sentence

ONCE = [
    pytest.param(
        '[[routes]]\nupstream = "http://127.0.0.1:1"\nhost = "a b"\n' * 2,
        ["routes[0].host", "routes[1].host"],
        id="routes-whose-host-is-none-are-not-compared",
    ),
    pytest.param('[[route]]\nupstream = "http://127.0.0.1:1"\n', ["route"], id="misspelt-routes"),
    pytest.param(f'listen = ["${{X}}", "${{X}}"]\n{ROUTE}', ["listen[0]"], id="one-variable"),
    pytest.param(f'listen = ["${{X}}", "${{Y}}"]\n{ROUTE}', ["listen[0]", "listen[1]"], id="two-variables"),
    pytest.param(f'[limits]\nmax_head_size = "1KiB"\n{ROUTE}', ["limits.max_head_size"], id="below-defaults"),
    pytest.param(
        f'[limits]\nmax_head_size = "1KiB"\nmax_line_size = "2KiB"\nmax_field_size = "1KiB"\n{ROUTE}',
        ["limits.max_line_size"],
        id="below-what-was-said",
    ),
    pytest.param(
        f'plugin_dir = "none"\n[[plugins]]\nname = "a"\n[[plugins]]\nname = "b"\n{ROUTE}',
        ["plugin_dir"],
        id="no-directory",
    ),
    pytest.param(
        'listen = [{ address = ":1", tls = true }, { address = ":2", tls = true }]\n' + ROUTE,
        ["listen[0].tls"],
        id="no-certificate",
    ),
]


@pytest.mark.parametrize(("text", "keys"), ONCE)
def test_one_mistake_is_reported_once(tmp_path: Path, text: str, keys: list[str]) -> None:
    assert [key for _, key, _ in problems(tmp_path, text)] == keys


# -- upstreams

USED = '[upstreams.used]\nendpoints = ["http://127.0.0.1:1"]\n'
SPARE = '[upstreams.spare]\nendpoints = ["http://127.0.0.1:2"]\n'


@pytest.mark.parametrize(
    ("upstream", "warned"), [('"used"', True), ('"http://127.0.0.1:3"', True), ('"sapre"', False)]
)
def test_an_upstream_that_nobody_uses(tmp_path: Path, upstream: str, warned: bool) -> None:
    """Unless a name that is misspelt may have meant it: that has been reported."""
    loaded = read(tmp_path, f"{USED if 'used' in upstream else ''}{SPARE}[[routes]]\nupstream = {upstream}\n")
    sentence = "upstream spare: no route uses it; name it in one, or leave it out"
    assert (sentence in loaded.resolved.warnings) == warned
    assert bool(loaded.problems) != warned
    assert not any("upstream used" in warning for warning in loaded.resolved.warnings)


# -- a table or list at the top that is something else

ELSEWHERE = [
    pytest.param(
        '[plugins.guard]\nfile = "g.wasm"\n' + ROUTE + 'plugins = ["guard"]\n', 1, "plugins", "[[plugins]]"
    ),
    pytest.param("plugins = 3\n" + ROUTE + 'plugins = ["guard"]\n', 1, "plugins", "[[plugins]]"),
    pytest.param('[routes]\nupstream = "http://127.0.0.1:1"\n', 1, "routes", "[[routes]]"),
    pytest.param(
        '[[upstreams]]\nname = "app"\n[[routes]]\nupstream = "app"\n', 1, "upstreams", "[upstreams.NAME]"
    ),
    pytest.param('upstreams = "app"\n[[routes]]\nupstream = "app"\n', 1, "upstreams", "[upstreams.NAME]"),
]


@pytest.mark.parametrize(("text", "line", "key", "advice"), ELSEWHERE)
def test_names_in_what_is_not_read_are_not_missed(
    tmp_path: Path, text: str, line: int, key: str, advice: str
) -> None:
    ((at, name, message),) = problems(tmp_path, text)
    assert (at, name, advice in message) == (line, key, True)
