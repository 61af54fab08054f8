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


def _wasm(count: int, *, spin: bool = False) -> Setup:
    """A chain of guests; with *spin*, requests to /loop meet one that never returns first."""
    numbers = range(1, count + 1)
    modules = ['(name = "main", esModule = embed "wasm.js")']
    modules += [f'(name = "one_header_{n}.wasm", wasm = embed "one_header_{n}.wasm")' for n in numbers]
    imports = [f"import p{n} from './one_header_{n}.wasm';" for n in numbers]
    if spin:
        modules.append('(name = "spin_1.wasm", wasm = embed "spin_1.wasm")')
        imports.append("import bad from './spin_1.wasm';")
    script = (_HERE / "wasm.js").read_text()
    script = script.replace("@spin@", "const spin = plugin(bad);" if spin else "const spin = null;")
    script = script.replace("@imports@", "\n".join(imports))
    script = script.replace("@list@", ", ".join(f"p{n}" for n in numbers))
    files = {"config.capnp": _CONF.replace("@modules@", ", ".join(modules)), "wasm.js": script}

    def prepare(folder: Path) -> None:
        write_chain("one_header", count)(folder)
        write_chain("spin", int(spin))(folder)

    return Setup(_RUN, files, prepare=prepare)


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
            "isolation": _wasm(1, spin=True),
        },
        cannot={"idle": "it closes a connection that is idle for 5 s"},
        language="WebAssembly (V8, one instance, JavaScript host functions)",
    ),
]
