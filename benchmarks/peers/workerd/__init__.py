"""workerd: the Workers runtime, with JavaScript handlers and with a handler that runs a Wasm guest."""

from __future__ import annotations

from pathlib import Path

from ...harness.guests import write_chain
from ...harness.peer import Peer, Setup, argv

__all__ = ["PEERS"]

_HERE = Path(__file__).parent
_CONF = (_HERE / "config.capnp").read_text()
_RUN = argv("@program@ serve @folder@/config.capnp")


def _javascript(name: str) -> Setup:
    modules = f'(name = "main", esModule = embed "{name}.js")'
    return Setup(
        _RUN, {"config.capnp": _CONF.replace("@modules@", modules), f"{name}.js": _HERE / f"{name}.js"}
    )


def _wasm(count: int) -> Setup:
    numbers = range(1, count + 1)
    modules = ['(name = "main", esModule = embed "wasm.js")']
    modules += [f'(name = "one_header_{n}.wasm", wasm = embed "one_header_{n}.wasm")' for n in numbers]
    script = (_HERE / "wasm.js").read_text()
    script = script.replace(
        "@imports@", "\n".join(f"import p{n} from './one_header_{n}.wasm';" for n in numbers)
    )
    script = script.replace("@list@", ", ".join(f"p{n}" for n in numbers))
    files = {"config.capnp": _CONF.replace("@modules@", ", ".join(modules)), "wasm.js": script}
    return Setup(_RUN, files, prepare=write_chain("one_header", count))


PEERS = [
    Peer(
        name="workerd",
        program="workerd",
        version=argv("@program@ --version"),
        jobs={
            "fixed": _javascript("fixed"),
            "proxy": _javascript("proxy"),
            "plugin": _wasm(1),
            "chain3": _wasm(3),
        },
        language="WebAssembly (V8, one instance, JavaScript host functions)",
    ),
]
