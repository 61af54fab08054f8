"""docs/operations.md names keys, figures and lines that exist."""

from __future__ import annotations

import json
import re
import typing
from pathlib import Path

import msgspec
import pytest

from blitz.admin.status import EndpointStatus, PluginStatus, Reload, Status
from blitz.measures.counters import Counters
from blitz.process import crew, restarts
from blitz.process.parent import START_TIMEOUT
from blitz.server import access, deadline, drain, reading
from blitz.wasm import pool

from ..server.access_oracle import Record

ROOT = Path(__file__).resolve().parents[2]
TEXT = (ROOT / "docs" / "operations.md").read_text(encoding="utf-8")
CONFIG = (ROOT / "docs" / "config.md").read_text(encoding="utf-8").partition("\n# Plugin manifest\n")[0]


def section(title: str) -> str:
    return TEXT.split(f"## {title}\n")[1].split("\n## ")[0]


def test_configuration_keys_exist() -> None:
    sections = {
        name: set(re.findall(r"^\| `(\w+)` \|", body, re.MULTILINE))
        for name, body in re.findall(r"^### `\[(\w+)\]`\n(.*?)(?=^###|\Z)", CONFIG, re.MULTILINE | re.DOTALL)
    }
    named = re.findall(r"`(timeouts|limits|http|log|admin)\.(\w+)(?:`| =)", TEXT)
    assert len(named) > 10
    assert [f"{name}.{key}" for name, key in named if key not in sections[name]] == []


def test_the_access_line_is_one() -> None:
    log, line = re.findall(r"^```json\n(.*)\n```$", TEXT, re.MULTILINE)
    assert json.loads(log)["id"]
    record = msgspec.json.decode(line, type=Record)
    assert msgspec.json.encode(record).decode() == line


def test_what_to_watch_is_in_the_status() -> None:
    known = {
        "": set(Status.__struct_fields__),
        "counters": set(typing.get_type_hints(Counters)),
        "last_reload": set(Reload.__struct_fields__),
        "upstreams[]": set(EndpointStatus.__struct_fields__),
        "plugins.*": set(PluginStatus.__struct_fields__),
    }
    rows = re.findall(r"^\| (`.*?) \|", section("What to watch"), re.MULTILINE)
    for name in re.findall(r"`([^`]+)`", " ".join(rows)):
        where, _, key = name.rpartition(".")
        assert key in known[where], name


def test_figures_are_those_of_the_code() -> None:
    text = " ".join(TEXT.split())
    assert (pool.QUARANTINE_FAULTS, pool.QUARANTINE_WINDOW) == (20, 10)
    assert "20 faults within 10 s" in text
    assert (pool.QUARANTINE_FIRST_PAUSE, pool.QUARANTINE_MAX_PAUSE) == (1, 60)
    assert "not run for 1 s" in text
    assert "at most 60 s" in text
    assert (restarts.FIRST_PAUSE, restarts.MAX_PAUSE, START_TIMEOUT) == (0.1, 10, 60)
    assert (crew.LEAVING_TIMEOUT, drain.MAX_NAMED, deadline.DRAIN_IDLE) == (10, 10, 1)
    assert "if it does not serve within 10 s, another worker takes" in text
    assert "At most ten of each worker are named" in text
    assert "idle connections end within a second" in text
    assert (restarts.STABLE, restarts.SAY_AGAIN, reading.READ_TIMEOUT) == (10, 60, 10)
    assert "at once if it served for 10 s, else after 0.1 s" in text
    assert "up to 10 s" in text
    assert "does not come within 10 s" in text
    assert access.MAX_PENDING == 8 * 1024 * 1024
    assert "8 MiB of lines" in text
    assert access.CLIENT_GONE == 499


@pytest.mark.parametrize("page", sorted((ROOT / "docs").glob("*.md")), ids=lambda page: page.name)
def test_links_lead_to_files(page: Path) -> None:
    for target in re.findall(r"\]\(([^)#]+)(?:#[^)]*)?\)", page.read_text(encoding="utf-8")):
        assert target.startswith("https://") or (ROOT / "docs" / target).exists(), target


def test_every_page_is_in_the_index() -> None:
    index = (ROOT / "docs" / "README.md").read_text(encoding="utf-8")
    for page in (ROOT / "docs").glob("*.md"):
        assert page.name == "README.md" or f"]({page.name})" in index, page.name
