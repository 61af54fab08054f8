"""Traefik: plain, and with http-wasm plugins (local plugins, run by wazero)."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from ...harness.guests import assemble
from ...harness.peer import Peer, Setup, argv

__all__ = ["PEERS"]

_HERE = Path(__file__).parent
_RUN = argv("@program@ --configFile=@folder@/static.yml")
_CHAIN = ["one_header_1", "one_header_2", "one_header_3"]


def _setup(chain: list[str], *, spin: bool = False) -> Setup:
    """Every request through *chain*; with *spin*, those to /loop meet a guest that never returns."""
    names = [*chain, "spin_1"] if spin else chain
    routers = {"all": _router("PathPrefix(`/`)", chain)}
    if spin:
        routers["loop"] = _router("PathPrefix(`/loop`)", ["spin_1"])
    middlewares: dict[str, Any] = {name: {"plugin": {name: {}}} for name in names}
    dynamic = (_HERE / "dynamic.yml").read_text().replace("@routers@", json.dumps(routers))
    modules = {name: {"moduleName": f"bench.example/{name}"} for name in names}
    static = (_HERE / "static.yml").read_text()
    files = {
        "static.yml": static.replace(
            "@experimental@", _entry("experimental", {"localPlugins": modules}, names)
        ),
        "dynamic.yml": dynamic.replace("@middlewares@", _entry("middlewares", middlewares, names)),
    }

    def prepare(folder: Path) -> None:
        for name in names:
            _write_plugin(folder / "plugins-local/src/bench.example" / name, name)

    return Setup(_RUN, files, prepare)


def _entry(key: str, value: Any, names: list[str]) -> str:
    """A key of YAML, whose flow style JSON is; nothing when there is no plugin: empty tables are refused."""
    return f"{key}: {json.dumps(value)}" if names else ""


def _router(rule: str, chain: list[str]) -> dict[str, Any]:
    return {"entryPoints": ["web"], "rule": rule, "service": "origin", "middlewares": chain}


def _write_plugin(home: Path, name: str) -> None:
    kind, _, n = name.rpartition("_")
    home.mkdir(parents=True)
    (home / ".traefik.yml").write_text((_HERE / "manifest.yml").read_text().replace("@name@", name))
    (home / "plugin.wasm").write_bytes(assemble(f"http_wasm_{kind}", int(n)))


PEERS = [
    Peer(
        name="traefik",
        program="traefik",
        version=argv("@program@ version"),
        jobs={
            "proxy": _setup([]),
            "plugin": _setup(_CHAIN[:1]),
            "chain3": _setup(_CHAIN),
            "isolation": _setup(_CHAIN[:1], spin=True),
        },
        cannot={"fixed": "it has no fixed answer"},
        language="WebAssembly (http-wasm, wazero)",
        env={"GOMAXPROCS": "1"},
    ),
]
