"""For tests of commands."""

import pytest
from click.testing import CliRunner

from blitz.cli import main


@pytest.fixture
def run(monkeypatch, tmp_path):
    """Call the command in this process, in an empty directory, with nothing set."""
    monkeypatch.chdir(tmp_path)
    for name in (
        "PLUGIN_DIR",
        "PLUGIN_MEMORY_LIMIT",
        "PLUGIN_TIMEOUT",
        "PLUGIN_GRANT",
        "PLUGIN_DENY",
        "PLUGIN_LOG",
        "QUIC_LOG",
    ):
        monkeypatch.delenv(name, raising=False)
    return lambda *words: CliRunner().invoke(main, words)
