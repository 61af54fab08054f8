"""A configuration in YAML says what the same keys say in TOML, and nothing else."""

from __future__ import annotations

import itertools
import json
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from blitz.config import read_config
from blitz.config.yaml import YamlRefused, parse_yaml

pytest.importorskip("yaml")

TEXT = """\
listen: ["127.0.0.1:8080"]
timeouts: {head: 5s, total: 90}
http:
  request_id_header: x-id   # as it is
routes:
  - name: no
    upstream: http://127.0.0.1:9000
  - path_prefix: /x
    answer: {status: 503, body: "12:30"}
"""
VALUES = st.recursive(
    st.booleans() | st.integers(-(10**12), 10**12) | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=8,
)


def load(tmp_path: Path, text: str, name: str = "blitz.yaml"):
    file = tmp_path / name
    file.write_text(text)
    return read_config(file, {})


def test_it_is_read_as_toml_is(tmp_path: Path) -> None:
    loaded = load(tmp_path, TEXT)
    assert loaded.problems == []
    assert (loaded.config.timeouts.head, loaded.config.timeouts.total) == (5.0, 90.0)
    assert loaded.config.routes[0].name == "no"
    assert loaded.config.routes[1].answer is not None
    assert loaded.config.routes[1].answer.body == "12:30"


def test_problems_have_their_lines(tmp_path: Path) -> None:
    text = TEXT.replace("path_prefix", "path_prefx").replace("5s", "5 parsecs")
    problems = load(tmp_path, text, "blitz.yml").problems
    assert [(problem.line, problem.key) for problem in problems if problem.key != "routes"][:2] == [
        (2, "timeouts.head"),
        (8, "routes[1].path_prefx"),
    ]


@pytest.mark.parametrize(
    ("text", "line", "words"),
    [
        ("a: [1", 1, "not YAML"),
        ("a: 1\nb: &x 2\nc: *x\n", 2, "anchor"),
        ("a: 1\na: 2\n", 2, "twice"),
        ("a: !!python/object:os.system x", 1, "tag"),
        ("a: !secret x", 1, "tag"),
        ("<<: {a: 1}", 1, "merge key"),
        ("? [a]\n: 1", 1, "no text"),
        ('a: "\\ud800"', 1, "half of a letter"),
        ('a: "\\ud800"', 1, "half of a letter"),
        ("- a", 1, "no table"),
        ("a: 1\n---\nb: 1", 2, "not YAML"),
        ("a: " + "[" * 200 + "]" * 200, 1, "deeply"),
        ("a: \x07", 0, "not YAML"),
    ],
)
def test_what_is_refused(text: str, line: int, words: str) -> None:
    with pytest.raises(YamlRefused, match=words) as caught:
        parse_yaml(text, 100)
    assert caught.value.line == line


def test_many_aliases_cost_nothing() -> None:
    """The laughs of a billion: refused at the first of them."""
    text = "a: &a [x,x,x,x,x,x,x,x,x]\n" + "".join(
        f"{name}: &{name} [{','.join([f'*{before}'] * 9)}]\n"
        for before, name in itertools.pairwise("abcdefghijkl")
    )
    with pytest.raises(YamlRefused, match="anchor"):
        parse_yaml(text, 100)


@settings(deadline=None, suppress_health_check=list(HealthCheck))
@given(data=st.dictionaries(st.text(min_size=1, max_size=5), VALUES, max_size=4))
def test_json_is_yaml_and_means_the_same(data: dict[str, object]) -> None:
    try:
        found, _ = parse_yaml(json.dumps(data), 100)
    except YamlRefused as refused:
        assert "merge key" in str(refused)
        return
    assert found == data
