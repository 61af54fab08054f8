"""Blitz itself, started as its users start it: ``blitz proxy`` with plugins on the command line."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from ...harness.guests import write_chain
from ...harness.peer import Peer, Setup, argv
from ...harness.places import PYTHON, ROOT
from ...harness.site import lay_site
from .shapes import SHAPES

__all__ = ["PEERS", "beside", "blitz", "blitz_isolation", "blitz_setup", "native_missing"]

# The idle job holds more connections than the default allows.
_ROOM = "limits.max_connections=12000"
_RUN = "@python@ -m blitz proxy 127.0.0.1:@port@ http://127.0.0.1:@origin@ --set " + _ROOM
_STATIC = """listen = ["127.0.0.1:@port@"]
[[routes]]
static = { root = "@folder@/www" }
"""
_VERSION = (
    "@python@",
    "-c",
    "import tomllib; print(tomllib.load(open('@root@/pyproject.toml', 'rb'))['project']['version'])",
)


def blitz_setup(guest: str = "", count: int = 0, *more: str) -> Setup:
    """Blitz with *count* copies of a guest in its chain, and further arguments."""
    plugins = [word for n in range(1, count + 1) for word in ("--plugin", f"@folder@/{guest}_{n}.wasm")]
    return Setup((*argv(_RUN), *plugins, *more), prepare=write_chain(guest, count))


def blitz(name: str, jobs: Mapping[str, Setup], *, checks: str = "", tree: Path = ROOT) -> Peer:
    """A variant of Blitz.

    Args:
        checks: the job whose check it must pass, where that is not the job's own.
        tree: another checkout, built in place, to compare this one with.
    """
    return Peer(
        name=name,
        program=PYTHON,
        version=_VERSION,
        jobs=jobs,
        language="WebAssembly (wasmtime, sandboxed, preempted)",
        env={"PYTHONPATH": str(tree)},
        needs=lambda: native_missing(tree),
        checks=checks,
    )


def beside(name: str, tree: Path) -> Peer:
    """The Blitz of another checkout, for before and after in the same run."""
    return blitz(f"blitz ({name})", PEERS[0].jobs, tree=tree)


def blitz_isolation(timeout: str) -> Setup:
    """Requests to /loop meet a guest that never returns, all others the one-header guest."""

    def prepare(folder: Path) -> None:
        write_chain("one_header", 1)(folder)
        write_chain("spin", 1)(folder)

    text = (Path(__file__).parent / "isolation.toml").read_text().replace("@timeout@", timeout)
    return Setup(argv("@python@ -m blitz run -c @folder@/blitz.toml"), {"blitz.toml": text}, prepare)


def _blitz_crowd() -> Setup:
    text = (Path(__file__).parent / "crowd.toml").read_text()
    return Setup(
        argv("@python@ -m blitz run -c @folder@/blitz.toml"), {"blitz.toml": text}, write_chain("spin", 1)
    )


def _blitz_faults() -> Setup:
    text = (Path(__file__).parent / "faults.toml").read_text()
    return Setup(argv("@python@ -m blitz run -c @folder@/blitz.toml"), {"blitz.toml": text})


def native_missing(tree: Path = ROOT) -> str | None:
    """Why guests cannot run from this tree, or None."""
    if list((tree / "blitz").glob("_native*.so")):
        return None
    return f"the native part of {tree} is not built (make bench builds it)"


PEERS = [
    blitz(
        "blitz",
        {
            "fixed": blitz_setup("answer", 1),
            "proxy": blitz_setup(),
            "plugin": blitz_setup("one_header", 1),
            "chain3": blitz_setup("one_header", 3),
            "isolation": blitz_isolation("500ms"),
            "crowd": _blitz_crowd(),
            "faults": _blitz_faults(),
            "static": Setup(
                argv("@python@ -m blitz run -c @folder@/blitz.toml"), {"blitz.toml": _STATIC}, lay_site
            ),
            **SHAPES,
        },
    )
]
