"""Traefik: plain, and with http-wasm plugins (local plugins, run by wazero)."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

from ...harness.guests import assemble
from ...harness.peer import Peer, Setup, argv

__all__ = ["PEERS"]

_HERE = Path(__file__).parent
_RUN = argv("@program@ --configFile=@folder@/static.yml")


def _setup(count: int) -> Setup:
    numbers = range(1, count + 1)
    names = [f"one_header_{n}" for n in numbers]
    plugins = {"experimental": {"localPlugins": {n: {"moduleName": f"bench.example/{n}"} for n in names}}}
    middlewares: dict[str, object] = {"  middlewares": {n: {"plugin": {n: {}}} for n in names}}
    static = (_HERE / "static.yml").read_text()
    dynamic = (_HERE / "dynamic.yml").read_text()
    dynamic = dynamic.replace("@middlewares@", f", middlewares: {json.dumps(names)}" if names else "")
    files = {
        "static.yml": static.replace("@plugins@", _yaml(plugins) if names else ""),
        "dynamic.yml": dynamic.replace("@definitions@", _yaml(middlewares) if names else ""),
    }

    def write_plugins(folder: Path) -> None:
        for n in numbers:
            home = folder / "plugins-local/src/bench.example" / f"one_header_{n}"
            home.mkdir(parents=True)
            (home / ".traefik.yml").write_text((_HERE / "manifest.yml").read_text().replace("@n@", str(n)))
            (home / "plugin.wasm").write_bytes(assemble("http_wasm", n))

    return Setup(_RUN, files, prepare=write_plugins)


def _yaml(tree: Mapping[str, object]) -> str:
    """One top key a line; JSON is YAML's flow style."""
    return "\n".join(f"{key}: {json.dumps(value)}" for key, value in tree.items())


PEERS = [
    Peer(
        name="traefik",
        program="traefik",
        version=argv("@program@ version"),
        jobs={"proxy": _setup(0), "plugin": _setup(1), "chain3": _setup(3)},
        cannot={"fixed": "it has no fixed answer"},
        language="WebAssembly (http-wasm, wazero)",
        env={"GOMAXPROCS": "1"},
    ),
]
