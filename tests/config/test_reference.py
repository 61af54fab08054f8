"""The page and the schema say what the model says."""

import json
import tomllib
from pathlib import Path

import jsonschema
import pytest

from blitz.config.reference import render
from blitz.config.schema import json_schema

ROOT = Path(__file__).parents[2]


def test_the_reference_page_is_what_the_model_makes():
    page = (ROOT / "docs" / "config.md").read_text(encoding="utf-8")
    assert page == render(), "run: python -m blitz.config.reference > docs/config.md"


def test_the_schema_is_a_schema_and_is_json():
    schema = json_schema()
    jsonschema.Draft202012Validator.check_schema(schema)
    assert json.loads(json.dumps(schema)) == schema


EXAMPLE = render().split("```toml\n", 1)[1].split("```", 1)[0]


@pytest.mark.parametrize(
    "text", [EXAMPLE, "workers = '${N}'", "[log]\nlevel = '${L}'", "[limits]\nmax_fields = '${N:-5}'"]
)
def test_the_schema_accepts_the_example(text):
    jsonschema.validate(tomllib.loads(text), json_schema())


@pytest.mark.parametrize(
    "text",
    ["colour = 1", "workers = 0", "[timeouts]\nhead = '5 parsecs'", "[log]\nlevel = 'loud'", "routes = 1"],
)
def test_the_schema_refuses_what_blitz_refuses(text):
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate(tomllib.loads(text), json_schema())
