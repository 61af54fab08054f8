"""``blitz fmt``: the layout changes, what a file says does not."""

from __future__ import annotations

import tomllib
from pathlib import Path

import pytest

from blitz.config import LayoutRefused, lay_out

pytest.importorskip("tomlkit")

UGLY = """\

# head
a   =1 # x
  [b] # c
  "q.r"  = \"\"\"
 x   =  \n\
[no table]
\"\"\"   \n\


[[c]]
x.y=[1,
  2, # two
]
s = '''
[c]'''
"""
TIDY = """\
# head
a = 1  # x

[b]  # c
"q.r"  = \"\"\"
 x   =  \n\
[no table]
\"\"\"

[[c]]
x.y = [1,
  2, # two
]
s = '''
[c]'''
"""


def test_the_layout() -> None:
    assert lay_out(UGLY) == TIDY


def test_what_is_laid_out_stays() -> None:
    assert lay_out(TIDY) == TIDY


def test_every_toml_file_of_the_project_says_the_same_afterwards() -> None:
    root = Path(__file__).parents[2]
    files = [*root.glob("*.toml"), *root.glob("plugins/**/*.toml"), *root.glob("infra/**/*.toml")]
    assert len(files) > 3
    for file in files:
        text = file.read_text()
        made = lay_out(text)
        assert tomllib.loads(made) == tomllib.loads(text), file
        assert lay_out(made) == made, file
        assert sorted(line.partition("#")[2] for line in made.split("\n") if "#" in line) == sorted(
            line.rstrip().partition("#")[2] for line in text.split("\n") if "#" in line
        ), file


@pytest.mark.parametrize("text", ["a = ", "[a\n", "a = 1\na = 2\n"])
def test_what_is_no_toml_is_refused(text: str) -> None:
    with pytest.raises(LayoutRefused, match="is not TOML"):
        lay_out(text)
