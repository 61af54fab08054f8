"""The directory: what is in it, who may read it, and what stays when a process ends in the middle."""

from __future__ import annotations

import os
import stat
from pathlib import Path

import pytest

from blitz.acme.schedule import Tries
from blitz.acme.store import Store
from blitz.config.acme_keys import certificate_file


def test_everything_is_its_owners_alone(tmp_path: Path) -> None:
    store = Store(str(tmp_path / "acme"))
    with store.lock() as held:
        assert held
        store.keep_account_key(b"key")
        store.keep_certificate("a.example", b"chain\n\n", b"key\n")
        store.put_pending("token", b"answer")
        store.keep_tries("a.example", Tries(2, 5.0))
    for directory, _, files in os.walk(tmp_path / "acme"):
        assert stat.S_IMODE(os.stat(directory).st_mode) == 0o700, directory
        for name in files:
            assert stat.S_IMODE(os.stat(os.path.join(directory, name)).st_mode) == 0o600, name
    assert store.account_key() == b"key"
    assert store.certificate("a.example") == b"chain\nkey\n"
    assert Path(certificate_file(str(tmp_path / "acme"), "a.example")).read_bytes() == b"chain\nkey\n"
    assert store.tries("a.example") == Tries(2, 5.0)
    assert store.tries("other.example") == Tries()
    store.clear_pending()
    assert os.listdir(store.pending) == []


def test_one_process_orders_at_a_time(tmp_path: Path) -> None:
    first, second = Store(str(tmp_path)), Store(str(tmp_path))
    with first.lock() as held:
        assert held
        with second.lock() as too:
            assert not too
    with second.lock() as held:
        assert held


@pytest.mark.parametrize("text", ["", "{", "[]", '{"a": 1}', '{"a": {"failures": "x", "next": 1}}'])
def test_a_state_that_is_broken_says_nothing(tmp_path: Path, text: str) -> None:
    store = Store(str(tmp_path))
    with store.lock():
        (tmp_path / "state.json").write_text(text)
        assert store.tries("a") == Tries()
        store.keep_tries("a", Tries(1, 2.0))
        assert store.tries("a") == Tries(1, 2.0)
