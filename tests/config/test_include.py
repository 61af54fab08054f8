"""One configuration in several files: what becomes of tables, lists and keys, and where problems stand."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from blitz.config import read_config

MAIN = 'include = ["routes.d/*.toml"]\n[upstreams.a]\nendpoints = ["http://127.0.0.1:9000"]\n'


@pytest.fixture
def tree(tmp_path: Path):
    (tmp_path / "routes.d").mkdir()

    def tree(main: str = MAIN, **parts: str):
        (tmp_path / "blitz.toml").write_text(main)
        for name, text in parts.items():
            (tmp_path / "routes.d" / f"{name}.toml").write_text(text)
        return read_config(tmp_path / "blitz.toml", {})

    return tree


def said(loaded) -> list[tuple[str, int, str]]:
    return [(Path(problem.file).name, problem.line, problem.key) for problem in loaded.problems]


def test_tables_become_one_and_lists_go_behind_each_other(tree) -> None:
    loaded = tree(
        f'{MAIN}[[routes]]\nname = "first"\nupstream = "a"\n',
        b='[[routes]]\nname = "third"\npath_prefix = "/b"\nupstream = "b"\n'
        '[upstreams.b]\nendpoints = ["http://127.0.0.1:9001"]\n',
        a='[[routes]]\nname = "second"\npath_prefix = "/a"\nupstream = "a"\n[upstreams.a]\nmax_idle = 3\n',
    )
    assert loaded.problems == []
    assert [route.name for route in loaded.config.routes] == ["first", "second", "third"]
    assert loaded.config.upstreams["a"].max_idle == 3
    assert set(loaded.config.upstreams) == {"a", "b"}
    assert [Path(file).name for file in loaded.resolved.sources] == ["blitz.toml", "a.toml", "b.toml"]
    assert [Path(one).name for one in loaded.resolved.source_directories] == ["routes.d"]


def test_problems_stand_where_they_are(tree) -> None:
    loaded = tree(
        f'{MAIN}[[routes]]\nupstream = "a"\n',
        a='\n[[routes]]\npath_prefix = "/a"\nupstrem = "a"\n',
        b='[[routes]]\npath_prefix = "/b"\nupstream = "c"\n',
    )
    assert ("a.toml", 4, "routes[1].upstrem") in said(loaded)
    assert ("b.toml", 3, "routes[2].upstream") in said(loaded)


def test_a_key_that_two_files_set_is_refused(tree) -> None:
    routes = '[[routes]]\nupstream = "a"\n'
    loaded = tree(f'{MAIN}[timeouts]\nhead = "5s"\n{routes}', a='[timeouts]\nhead = "6s"\n')
    (problem,) = loaded.problems
    assert said(loaded) == [("a.toml", 2, "timeouts.head")]
    assert "blitz.toml:5 too; keep one of them" in problem.message


def test_relative_paths_count_from_the_file_that_says_them(tree, tmp_path: Path) -> None:
    (tmp_path / "routes.d" / "text").write_text("m" * 20)
    loaded = tree(
        f'{MAIN}[[routes]]\nupstream = "a"\n',
        a='[admin]\nlisten = "127.0.0.1:9900"\ntoken = "${file:text}"\n'
        '[[plugins]]\nname = "p"\nfile = "p.wasm"\n',
    )
    assert loaded.config.admin.token == "m" * 20
    assert loaded.config.plugins[0].file == str(tmp_path / "routes.d" / "p.wasm")


@pytest.mark.parametrize(
    ("main", "part", "where", "words"),
    [
        ('include = "routes.d/*.toml"', "", ("blitz.toml", 1, "include"), "expected a list"),
        ("include = [1]", "", ("blitz.toml", 1, "include[0]"), "expected"),
        ('include = ["none.toml"]', "", ("none.toml", 0, ""), "no such file"),
        ('include = ["**/*.toml"]', "", ("blitz.toml", 1, "include[0]"), "no `**`"),
        ('include = ["routes.d/*"]', "a = ", ("part.toml", 1, ""), "not TOML"),
        ('include = ["routes.d/*"]', "include = []", ("part.toml", 1, "include"), "only the main one"),
        ('include = ["routes.d/part.toml"]', "listen = 1", ("part.toml", 1, "listen"), "expected a list"),
    ],
)
def test_what_is_refused(tree, main: str, part: str, where: tuple[str, int, str], words: str) -> None:
    loaded = tree(f"{main}\n[[routes]]\nanswer = {{ status = 200 }}\n", part=part)
    (problem,) = loaded.problems
    assert said(loaded) == [where]
    assert words in problem.message


def test_a_pattern_may_match_nothing_and_a_file_counts_once(tree) -> None:
    main = 'include = ["routes.d/*.toml", "routes.d/a.toml", "empty/*.toml"]\n'
    loaded = tree(main, a="[[routes]]\nanswer = { status = 200 }\n")
    assert loaded.problems == []
    assert len(loaded.config.routes) == 1


@settings(deadline=None, max_examples=40, suppress_health_check=list(HealthCheck))
@given(
    cuts=st.lists(st.integers(0, 6), min_size=6, max_size=6),
    bad=st.integers(0, 5),
)
def test_any_split_over_files_is_the_same_configuration(tree, tmp_path: Path, cuts, bad) -> None:
    """Routes that are put into any of seven files, one with a mistake: found in its file and line."""
    for old in (tmp_path / "routes.d").iterdir():
        old.unlink()
    order = sorted(range(6), key=lambda index: cuts[index])
    parts: dict[str, str] = {}
    expected = None
    for index in order:
        name = f"f{cuts[index]}"
        text = f'[[routes]]\nname = "r{index}"\npath_prefix = "/{index}"\n'
        if index == bad:
            expected = (f"{name}.toml", (parts.get(name, "") + text).count("\n") + 1)
        key = "anwser" if index == bad else "answer"
        parts[name] = parts.get(name, "") + f"{text}{key} = {{ status = 200 }}\n"
    loaded = tree('include = ["routes.d/*.toml"]\n', **parts)
    assert [route.name for route in loaded.config.routes] == [f"r{index}" for index in order]
    assert [(Path(p.file).name, p.line) for p in loaded.problems if p.key.endswith("anwser")] == [expected]
