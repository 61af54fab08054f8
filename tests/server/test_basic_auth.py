"""``auth`` by names and passwords in a running gateway."""

from __future__ import annotations

import base64
import threading
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import argon2
import bcrypt
import pytest
import trio

from blitz.builtin.users import BadUsers, read_users
from blitz.config import Auth, BasicAuth, Config, Route, resolve
from blitz.errors import ConfigError
from blitz.server import workshop
from blitz.server.auth_files import load_authenticators

from .harness import rig, until

PARSERS = ["auto", "h11"]
CHEAP = bcrypt.hashpw(b"lovelace", bcrypt.gensalt(4))
WEAK_ARGON = argon2.PasswordHasher(time_cost=1, memory_cost=64, parallelism=1)
GET = b"GET / HTTP/1.1\r\nHost: a\r\n"


def credentials(name: str, password: str) -> str:
    return "Basic " + base64.b64encode(f"{name}:{password}".encode()).decode()


@asynccontextmanager
async def guarded(tmp_path: Path, *, parser: str = "auto", **settings: Any) -> Any:
    file = tmp_path / "users"
    file.write_text(f"# people\nada:{CHEAP.decode()}\n\nbob:{WEAK_ARGON.hash('builder')}\n")
    basic = BasicAuth(**({"users_file": str(file), "header": "x-user"} | settings))
    routes = [Route(upstream="main", auth="staff"), Route(upstream="main", path_prefix="/open")]
    async with rig(parser=parser, auth={"staff": Auth(basic=basic)}, routes=routes) as test:
        yield test


@pytest.mark.parametrize("parser", PARSERS)
async def test_names_and_passwords(tmp_path: Path, parser: str) -> None:
    async with guarded(tmp_path, parser=parser) as test:
        for name, password in (("ada", "lovelace"), ("bob", "builder")):
            for _ in range(2):
                status, _, body = await test.get(authorization=credentials(name, password), x_user="root")
                assert status == 200
                assert f"x-user: {name}".encode() in body.lower()
                assert b"root" not in body
                assert b"authorization" not in body.lower()
        wrong = [
            credentials("ada", "Lovelace"),
            credentials("ada", ""),
            credentials("ada", "lovelace\0"),
            credentials("ada\0", "lovelace"),
            credentials("", "lovelace"),
            credentials("eve", "lovelace"),
            credentials("ada", "x" * 3000),
            "Basic !!!",
            "Basic " + base64.b64encode(b"ada").decode(),
            "Bearer abc",
            CHEAP.decode(),
        ]
        for text in wrong:
            status, fields, _ = await test.get(authorization=text)
            assert status == 401
            assert fields["www-authenticate"] == 'Basic realm="staff", charset="UTF-8"'
        assert (await test.get())[0] == 401


async def test_a_password_is_checked_once_and_a_name_that_is_not_there_costs_the_same(
    tmp_path: Path, monkeypatch: Any
) -> None:
    checked: list[bytes] = []
    real = bcrypt.checkpw
    monkeypatch.setattr(bcrypt, "checkpw", lambda *args: checked.append(args[1]) or real(*args))
    file = tmp_path / "one"
    file.write_bytes(b"ada:" + CHEAP)
    async with guarded(tmp_path, users_file=str(file)) as test:
        for _ in range(4):
            assert (await test.get(authorization=credentials("ada", "lovelace")))[0] == 200
        assert len(checked) == 1
        for _ in range(4):
            assert (await test.get(authorization=credentials("ada", "wrong")))[0] == 401
        assert len(checked) == 2
        for name in ("eve", "mallory"):
            assert (await test.get(authorization=credentials(name, "lovelace")))[0] == 401
        assert checked == [CHEAP] * 4


async def test_checks_hold_up_nobody_and_are_few(tmp_path: Path, monkeypatch: Any) -> None:
    """While one takes for ever others are served, known passwords too, and what is too much is refused."""
    go = threading.Event()
    file = tmp_path / "one"
    file.write_bytes(b"ada:" + CHEAP)
    async with guarded(tmp_path, users_file=str(file)) as test:
        assert (await test.get(authorization=credentials("ada", "lovelace")))[0] == 200
        monkeypatch.setattr(bcrypt, "checkpw", lambda *args: go.wait(20) and False)
        statuses: list[int] = []

        async def guess(number: int) -> None:
            statuses.append((await test.get(authorization=credentials("ada", f"guess {number}")))[0])

        try:
            async with trio.open_nursery() as nursery:
                for number in range(workshop.MAX_OF_CLIENT + 3):
                    nursery.start_soon(guess, number)
                await until(lambda: len(statuses) == 3, 20)
                assert statuses == [503] * 3
                assert (await test.get("/open"))[0] == 200
                assert (await test.get(authorization=credentials("ada", "lovelace")))[0] == 200
                go.set()
        finally:
            go.set()
        assert sorted(statuses) == [401] * workshop.MAX_OF_CLIENT + [503] * 3


async def test_the_same_password_asked_at_once_is_checked_once(tmp_path: Path, monkeypatch: Any) -> None:
    go = threading.Event()
    checked: list[int] = []
    monkeypatch.setattr(bcrypt, "checkpw", lambda *args: checked.append(1) or go.wait(20))
    file = tmp_path / "one"
    file.write_bytes(b"ada:" + CHEAP)
    async with guarded(tmp_path, users_file=str(file)) as test:
        statuses: list[int] = []

        async def ask() -> None:
            statuses.append((await test.get(authorization=credentials("ada", "lovelace")))[0])

        async with trio.open_nursery() as nursery:
            for _ in range(12):
                nursery.start_soon(ask)
            await until(lambda: checked, 20)
            await trio.testing.wait_all_tasks_blocked(0.05)
            go.set()
        assert statuses == [200] * 12
        assert len(checked) == 1


BAD_FILES = {
    b"": "has no users",
    b"# nobody\n": "has no users",
    b"ada\n": "is no line",
    b":" + CHEAP: "is no line",
    b"ada:secret\n": "has no bcrypt or argon2id hash",
    b"ada:$apr1$x$y\n": "has no bcrypt or argon2id hash",
    b"ada:{SHA}abc=\n": "has no bcrypt or argon2id hash",
    b"ada:" + CHEAP.replace(b"$04$", b"$31$"): "cost of 31",
    b"ada:" + CHEAP + b"\nada:" + CHEAP: "there already",
    b"ada:$argon2id$v=19$m=99999999,t=1,p=1$c2FsdHNhbHRzYWx0$aGFzaGhhc2hoYXNoaGFzaA": "costs more",
}


@pytest.mark.parametrize("content", BAD_FILES, ids=lambda content: BAD_FILES[content])
def test_files_that_cannot_be_used(content: bytes) -> None:
    with pytest.raises(BadUsers, match=BAD_FILES[content]) as raised:
        read_users(content)
    assert CHEAP.decode() not in str(raised.value)
    assert "secret" not in str(raised.value)


def test_a_bad_file_is_a_problem_with_its_line(tmp_path: Path) -> None:
    file = tmp_path / "bad"
    file.write_bytes(b"ada:" + CHEAP + b"\nbob:plain\n")
    auth = {"staff": Auth(basic=BasicAuth(users_file=str(file)))}
    with pytest.raises(ConfigError, match=r"bad:2: auth\.staff: has no bcrypt"):
        load_authenticators(resolve(Config(auth=auth), {}))
    auth = {"staff": Auth(basic=BasicAuth(users_file=str(tmp_path / "nowhere")))}
    with pytest.raises(ConfigError, match=r"nowhere: auth\.staff: no such file"):
        load_authenticators(resolve(Config(auth=auth), {}))


async def test_a_reload_reads_the_file_again_and_a_bad_one_changes_nothing(tmp_path: Path) -> None:
    async with guarded(tmp_path) as test:
        file = tmp_path / "users"
        given = credentials("ada", "lovelace")
        assert (await test.get(authorization=given))[0] == 200
        file.write_bytes(b"ada:plain")
        with pytest.raises(ConfigError, match="users:1: "):
            await test.gateway.reload(test.config)
        assert (await test.get(authorization=given))[0] == 200
        file.write_bytes(b"eve:" + CHEAP)
        await test.gateway.reload(test.config)
        assert (await test.get(authorization=given))[0] == 401
        assert (await test.get(authorization=credentials("eve", "lovelace")))[0] == 200
