"""Values that stand in files: where they come from, what they may be, and that no message shows them."""

from __future__ import annotations

import os
import re
from pathlib import Path

import pytest

from blitz.config import effective_values, read_config

SECRET = "a-secret-of-32-letters-0123456789"
ROUTES = '[[routes]]\nanswer = { status = 200 }\n[admin]\nlisten = "127.0.0.1:9900"\n'


@pytest.fixture
def configured(tmp_path: Path):
    def configured(token: str, environ: dict[str, str] | None = None):
        file = tmp_path / "blitz.toml"
        file.write_text(f"{ROUTES}token = {token!r}\n")
        return read_config(file, environ or {})

    return configured


def test_a_file_beside_the_configuration(configured, tmp_path: Path) -> None:
    (tmp_path / "token").write_text(f"{SECRET}\n")
    loaded = configured("${file:token}")
    assert loaded.problems == []
    assert loaded.config.admin.token == SECRET
    assert str(tmp_path / "token") in loaded.resolved.sources


@pytest.mark.parametrize("end", ["", "\n", "\r\n"])
def test_one_line_break_at_the_end_is_not_part_of_it(configured, tmp_path: Path, end: str) -> None:
    (tmp_path / "token").write_bytes(f"{SECRET}{end}".encode())
    assert configured("${file:token}").config.admin.token == SECRET


def test_a_variable_that_names_a_file(configured, tmp_path: Path) -> None:
    file = tmp_path / "elsewhere"
    file.write_text(SECRET)
    assert configured("${TOKEN}", {"TOKEN_FILE": str(file)}).config.admin.token == SECRET
    assert configured("${TOKEN:-x}", {"TOKEN": "", "TOKEN_FILE": str(file)}).config.admin.token == SECRET
    (problem,) = configured("${TOKEN}", {"TOKEN": SECRET, "TOKEN_FILE": str(file)}).problems
    assert problem.message == "both TOKEN and TOKEN_FILE are set; set one of them"


def test_a_credential_of_systemd(configured, tmp_path: Path) -> None:
    (tmp_path / "credentials").mkdir()
    (tmp_path / "credentials" / "token").write_text(SECRET)
    environ = {"CREDENTIALS_DIRECTORY": str(tmp_path / "credentials")}
    assert configured("${credential:token}", environ).config.admin.token == SECRET
    (problem,) = configured("${credential:token}").problems
    assert "LoadCredential=token:PATH" in problem.message
    for name in ("", "..", "a/b", "../token"):
        (problem,) = configured(f"${{credential:{name}}}", environ).problems
        assert "is no name of a credential" in problem.message


def test_what_no_value_can_be_is_said_with_its_file_and_line(configured, tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "fifo")
    (tmp_path / "binary").write_bytes(b"\xff\xfe")
    (tmp_path / "nul").write_bytes(b"a\0b")
    (tmp_path / "large").write_bytes(b"x" * (1024 * 1024 + 1))
    for name, words in {
        "none": "no such file",
        "": "names no file",
        "fifo": "is a FIFO",
        "binary": "is not UTF-8",
        "nul": "has a NUL",
        "large": "more than the 1 MiB that a secret may have",
        ".": "is a directory",
    }.items():
        (problem,) = configured(f"${{file:{name}}}").problems
        assert words in problem.message
        assert (problem.line, problem.key) == (5, "admin.token")


def test_it_stands_in_no_message(configured, tmp_path: Path) -> None:
    (tmp_path / "token").write_text("short one")
    loaded = configured("${file:token}")
    assert loaded.problems
    assert all("short one" not in str(problem) for problem in loaded.problems)
    (tmp_path / "token").write_text(SECRET)
    rows = list(effective_values(configured("${file:token}")))
    assert ("admin.token", '"${file:token}"') in [(row.key, row.value) for row in rows]
    assert SECRET not in repr(rows)


def test_what_was_written_into_the_file_itself_is_hidden(configured) -> None:
    rows = {row.key: row for row in effective_values(configured(SECRET))}
    assert (rows["admin.token"].value, rows["admin.token"].plain) == ("(hidden)", "(hidden)")


@pytest.mark.parametrize(
    "place",
    [
        'routes = [{ upstream = "http://a", request_headers = { set = { x = "TEXT" } } }]',
        'routes = [{ upstream = "http://a", request_headers = { add = { x = "TEXT" } } }]',
        'routes = [{ upstream = "http://a", response_headers = { set = { x = "TEXT" } } }]',
        'routes = [{ upstream = "http://a", response_headers = { remove = ["TEXT"] } }]',
        'routes = [{ upstream = "http://a", headers = { x = "TEXT" } }]',
        'routes = [{ upstream = "http://a", headers = { x = { regex = "TEXT" } } }]',
        'routes = [{ upstream = "http://a", query = { x = "TEXT" } }]',
        'routes = [{ upstream = "http://a", rewrite = { path = "TEXT" } }]',
        'routes = [{ redirect = { path = "TEXT" } }]',
        'routes = [{ answer = { headers = { x = "TEXT" } } }]',
        'auth.idp.jwt = { jwks_url = "https://a/k", issuer = "a", headers = { x = "TEXT" } }',
        'auth.idp.jwt = { jwks_url = "https://a/k", issuer = "a", required_claims = { x = "TEXT" } }',
        'upstreams.a = "TEXT"',
        'upstreams.a = { endpoints = ["http://a"], sticky = "TEXT" }',
        'upstreams.a = { endpoints = ["http://a"], sticky = { cookie = "s", secret = "TEXT" } }',
    ],
)
@pytest.mark.parametrize("text", ["${NOPE}", "${file:nope}", "${credential:nope}"])
def test_what_is_not_there_is_one_problem_wherever_it_stands(tmp_path: Path, place: str, text: str) -> None:
    file = tmp_path / "blitz.toml"
    text = place.replace("TEXT", text)
    more = "" if "routes" in place else "routes = [{ answer = { status = 200 } }]\n"
    file.write_text(f"{text}\n{more}")
    (problem,) = read_config(file, {}).problems
    assert problem.line == 1
    assert re.search("is not set|nope: no such file; check|needs systemd", problem.message)
