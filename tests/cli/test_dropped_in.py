"""The built-in plugins work with nothing but their file copied into the plugin directory."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from .commands import PLUGINS, blitz, curl, serving

BUILT_IN = {
    "request_logger": (200, []),
    "rate_limiter": (200, ["ratelimit-remaining"]),
    "auth_custom": (401, ["www-authenticate"]),  # nobody has a key yet
}
ANSWER = '[[routes]]\nanswer = { body = "ok" }\n'


@pytest.mark.parametrize("name", BUILT_IN)
def test_one_file_in_a_fresh_directory_serves(name: str, tmp_path: Path) -> None:
    directory = tmp_path / "plugins"
    directory.mkdir()
    shutil.copy(PLUGINS / f"{name}.wasm", directory)
    status, fields = BUILT_IN[name]
    config = tmp_path / "blitz.toml"
    config.write_text(f'listen = ["127.0.0.1:0"]\nplugin_dir = "plugins"\n{ANSWER}')
    assert blitz("validate", "-c", str(config)).returncode == 0
    with serving("run", "-c", str(config)) as running:
        found, headers, _ = curl(running.port, "/")
        assert found == status
        assert set(fields) <= {key.lower() for key in dict(headers)}
        assert running.stop() == 0
