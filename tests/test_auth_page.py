"""What docs/auth.md shows is right: its listings load, with the files that they name."""

from __future__ import annotations

import re
import sys
from pathlib import Path

import pytest

from blitz.config import load_config, resolve
from blitz.errors import ConfigError
from blitz.server.auth_files import load_authenticators
from blitz.server.runtime import assemble
from blitz.server.tls import TlsSettings

from .builtin.issuer import jwks, key
from .cli.commands import ROOT
from .server.test_basic_auth import CHEAP

PAGE = (ROOT / "docs" / "auth.md").read_text(encoding="utf-8")
LISTINGS = re.findall(r"^```toml\n(.*?)^```", PAGE, re.MULTILINE | re.DOTALL)


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    (tmp_path / "users").write_bytes(b"ada:" + CHEAP)
    (tmp_path / "tools.jwks.json").write_bytes(jwks(key("oct"), private=True))
    return tmp_path


@pytest.mark.parametrize("listing", LISTINGS, ids=lambda text: text.split("\n")[0])
def test_listings_load(listing: str, directory: Path) -> None:
    (directory / "blitz.toml").write_text(listing)
    resolved = resolve(load_config(directory / "blitz.toml", environ={}), {})
    assert not resolved.warnings
    auth = load_authenticators(resolved)
    runtime = assemble(resolved, {}, TlsSettings(None, {}), auth=auth)
    assert runtime.router.only is None or runtime.router.only.own is not None
    asked = [entry for entry in runtime.short_entries if entry.own is None or entry.own.auth is None]
    assert not asked, "a route with filters is not on the fast path, unless auth is the only one"


def test_there_are_listings() -> None:
    assert len(LISTINGS) >= 5


@pytest.mark.parametrize(("package", "listing"), [("joserfc", 1), ("bcrypt", 2), ("argon2", 2)])
def test_the_extra_is_named_where_it_is_not_installed(
    package: str, listing: int, directory: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in [name for name in sys.modules if name.startswith(("blitz.builtin.", f"{package}."))]:
        if name.partition("builtin.")[2] in ("jwks", "jwt", "tokens", "users", "basic") or package in name:
            monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, package, None)
    (directory / "blitz.toml").write_text(LISTINGS[listing])
    with pytest.raises(ConfigError, match=rf"auth\.\w+: needs the package {package}"):
        load_authenticators(resolve(load_config(directory / "blitz.toml", environ={}), {}))
