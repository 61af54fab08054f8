"""The manifests of the built-in plugins say what they read, with the defaults and bounds of the source."""

from __future__ import annotations

import re
import tomllib

import pytest

from blitz.config import read_config
from blitz.config.manifest import read_manifest
from blitz.wasm.engine import Engine

from .blitz_host import BlitzPlugin
from .cases import NAMES, PLUGINS, manifest

# A key is read by name: config.<key> of get_property, through one of these, or through a variable.
_READ = re.compile(
    r'blitz_config_(?:value|bool|u32)\(BLITZ_STR\("(\w+)"\)|blitz_str (?:key|key_name) = BLITZ_STR\("(\w+)"\)'
)
_NUMBER = re.compile(r'blitz_config_u32\(BLITZ_STR\("(\w+)"\), (\d+), (\d+), (\w+),')
_BOOLEAN = re.compile(r'blitz_config_bool\(BLITZ_STR\("(\w+)"\), (true|false),')


def source(name: str) -> str:
    return (PLUGINS / "src" / name / "plugin.c").read_text()


@pytest.mark.parametrize("name", NAMES)
def test_the_manifest_has_the_keys_that_the_plugin_reads(name: str) -> None:
    read = {one or other for one, other in _READ.findall(source(name))}
    assert set(manifest(name)["config"]["keys"]) == read


@pytest.mark.parametrize("name", NAMES)
def test_defaults_and_bounds_are_those_of_the_source(name: str) -> None:
    keys = manifest(name)["config"]["keys"]
    constants = dict(re.findall(r"(MAX_\w+) = (\d+)", source(name)))
    for key, default, least, most in _NUMBER.findall(source(name)):
        said = keys[key]
        wanted = ("integer", int(default), int(least), int(constants.get(most, most)))
        assert (said["type"], said["default"], said["min"], said["max"]) == wanted
    for key, default in _BOOLEAN.findall(source(name)):
        assert (keys[key]["type"], keys[key]["default"]) == ("boolean", default == "true")


@pytest.mark.parametrize("name", NAMES)
def test_every_default_starts_the_plugin(engine: Engine, name: str) -> None:
    """With them, and with nothing at all: the plugin has the same ones in it."""
    defaults = {key: said["default"] for key, said in manifest(name)["config"]["keys"].items()}
    for config in (defaults, {}):
        with BlitzPlugin(engine, PLUGINS / f"{name}.wasm", config, {}) as plugin:
            assert plugin.init_result == 0


@pytest.mark.parametrize("name", NAMES)
def test_the_readme_has_the_same_table(name: str) -> None:
    page = (PLUGINS / "src" / name / "README.md").read_text()
    rows = dict(re.findall(r"^\| `(\w+)` \| `([^`]*)` \|", page, re.MULTILINE))
    keys = manifest(name)["config"]["keys"]
    assert {key: tomllib.loads(f"v = {text}")["v"] for key, text in rows.items()} == {
        key: said["default"] for key, said in keys.items()
    }


@pytest.mark.parametrize(
    ("plugin", "line", "sentence"),
    [
        ("rate_limiter", "request_per_minute = 5", "unknown key; did you mean `requests_per_minute`?"),
        ("rate_limiter", "burst = 0", "0 is too small; the least is 1"),
        ("request_logger", 'level = "verbose"', 'expected one of "trace", "debug", "info", "warn", "error"'),
        ("auth_custom", 'keys = "alice:hunter2"', "expected a list of strings; what it is now is a secret"),
    ],
)
def test_a_mistake_is_found_before_anything_runs(tmp_path, plugin: str, line: str, sentence: str) -> None:
    file = tmp_path / "blitz.toml"
    file.write_text(
        f'[[routes]]\nanswer = {{ status = 200 }}\n[[plugins]]\nfile = "{PLUGINS}/{plugin}.wasm"\n'
        f'grant = ["clock"]\n[plugins.config]\n{line}\n'
    )
    (problem,) = read_config(file, {}).problems
    assert problem.line == 7
    assert sentence in problem.message
    assert "hunter2" not in problem.message


@pytest.mark.parametrize("page", ["README.md", "sdk/README.md"])
def test_the_manifests_that_the_pages_show_are_read(tmp_path, page: str) -> None:
    """They say that the response hook does not look at bodies: answers stream."""
    listings = re.findall(r"^ *```toml\n(.*?)^ *```", (PLUGINS / page).read_text(), re.MULTILINE | re.DOTALL)
    (shown,) = [listing for listing in listings if "schema = 1" in listing]
    (tmp_path / "p.toml").write_text(shown)
    said, document = read_manifest(tmp_path / "p.toml")
    assert document.problems == []
    assert said.hooks.response_body == "none"
    assert said.config.keys["greeting"].default == "hello"
