"""Python servers from PyPI, in their own environment: a fixed answer only, they are no proxies."""

from __future__ import annotations

from pathlib import Path

from ...harness.peer import Peer, Setup, argv
from ...harness.places import VENV_PYTHON

__all__ = ["PEERS"]

_HERE = Path(__file__).parent
_APP = {"app.py": _HERE / "app.py"}
_CANNOT = {"proxy": "an application server, no proxy", "plugin": "an application server, no proxy"}
_PY = str(VENV_PYTHON)


def _uvicorn(name: str, *options: str) -> Peer:
    run = argv(f"{_PY} -m uvicorn app:app --host 127.0.0.1 --port @port@ --no-access-log --log-level warning")
    return Peer(
        name=name,
        program="uvicorn",
        version=argv("@program@ --version"),
        jobs={"fixed": Setup((*run, "--backlog", "4096", *options), _APP)},
        cannot=_CANNOT,
    )


PEERS = [
    Peer(
        name="granian",
        program="granian",
        version=argv("@program@ --version"),
        jobs={
            "fixed": Setup(
                argv(
                    "@program@ --interface asginl --host 127.0.0.1 --port @port@ --workers 1 --backlog 4096 "
                    "--no-access-log --log-level warning --http 1 --no-ws app:app"
                ),
                _APP,
            )
        },
        cannot=_CANNOT,
    ),
    _uvicorn("uvicorn (uvloop, httptools)", "--loop", "uvloop", "--http", "httptools"),
    _uvicorn("uvicorn (asyncio, h11)", "--loop", "asyncio", "--http", "h11"),
    Peer(
        name="hypercorn (trio)",
        program="hypercorn",
        version=(_PY, "-c", "from importlib.metadata import version; print(version('hypercorn'))"),
        jobs={
            "fixed": Setup(
                argv("@program@ --config @folder@/hypercorn.toml app:app"),
                {**_APP, "hypercorn.toml": _HERE / "hypercorn.toml"},
            )
        },
        cannot=_CANNOT,
    ),
]
