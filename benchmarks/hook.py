"""What does one call of a guest cost, from Python? The hook alone, no HTTP around it."""

from __future__ import annotations

import contextlib
import importlib.util
import subprocess
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from .harness.bench import Bench, say
from .harness.compile import program
from .harness.errors import BenchError
from .harness.guests import assemble, large_guest
from .harness.host import HOSTS, Host, open_host
from .harness.places import PYTHON, VENV_PYTHON
from .harness.table import Claim, Column, Row, Table, ratio
from .peers.blitz import native_missing

QUESTION = "what does one call of a guest cost, from Python?"
METHOD = """
The guest reads the header x-user and sets x-seen-1. "C loop" is the bare call (synchronous, unchecked,
host functions in C over a small table) and the floor. Blitz is called from Python through cffi: on
a stack of its own, with a deadline, host functions over a scanned head, the edit applied to it. wasmtime-py
runs the same guest, Extism one of its own calling convention, both with host functions in Python over a
dict. Fresh: a new instance for every call. Load: from the name of the file, compiled before, to an
instance that is ready; the large plugin has 15,000 functions in 12 MB. All figures are CPU time. Each host is
a process of its own on the server core; they take turns.
"""

_COLUMNS = [
    Column("call", "call", "µs", 3, compare=True),
    Column("fresh", "fresh instance and call", "µs", 1, compare=True),
    Column("load", "load from cache", "µs", compare=True),
    Column("large", "load a large one", "µs", compare=True),
]


def run(bench: Bench) -> list[Table]:
    table = Table("hook", QUESTION, _COLUMNS, METHOD, plot="call")
    with contextlib.ExitStack() as stack:
        hosts = _start_all(bench, table, stack)
        rows = {host.name: Row(host.name) for host in hosts}
        for number in range(-1 if not bench.settings.smoke else 0, bench.settings.rounds):
            for host in hosts:
                _round(bench, table, host, rows, keep=number >= 0)
        table.rows += [row for row in rows.values() if row.name not in table.broken]
    table.claims = list(_claims(table))
    return [table]


def _round(bench: Bench, table: Table, host: Host, rows: dict[str, Row], *, keep: bool) -> None:
    for what in _MEASURES[host.name]:
        if host.name in table.broken:
            return
        try:
            value = host.ask(what, bench.settings.seconds / 2) / 1e3
        except BenchError as exc:
            table.broken[host.name] = str(exc)
            say(f"    {exc}")
            return
        if keep:
            rows[host.name].values.setdefault(what, []).append(value)


def _claims(table: Table) -> Iterator[Claim]:
    call = table.median("blitz", "call")
    for peer, wanted in (("wasmtime-py", 60), ("extism", 35)):
        value = ratio(table.median(peer, "call"), call)
        yield Claim(f"{peer} / Blitz, one call", value, wanted, at_least=True, unit="x")
    floor = table.median("C loop", "call")
    scaled = None if call is None or not floor else call * 0.050 / floor
    yield Claim("Blitz, one call, where a C loop takes 0.05 µs", scaled, 1.0, at_least=False, unit=" µs")
    yield Claim(
        "Blitz, fresh instance and call", table.median("blitz", "fresh"), 6, at_least=False, unit=" µs"
    )
    yield Claim("Blitz, load from cache", table.median("blitz", "load"), 1000, at_least=False, unit=" µs")
    yield Claim("Blitz, load a large one", table.median("blitz", "large"), 1000, at_least=False, unit=" µs")


# ---------------------------------------------------------------- the hosts


@dataclass(frozen=True)
class _Offer:
    name: str
    measures: tuple[str, ...]
    command: Callable[[Path], list[str]]  # from a folder with one_header.wasm and extism.wasm
    missing: Callable[[], str | None] = lambda: None


def _start_all(bench: Bench, table: Table, stack: contextlib.ExitStack) -> list[Host]:
    folder = bench.scratch("hook")
    for guest in ("one_header", "extism"):
        (folder / f"{guest}.wasm").write_bytes(assemble(guest))
    (folder / "large.wasm").write_bytes(large_guest(500 if bench.settings.smoke else 15_000))
    hosts = []
    for offer in _OFFERS:
        if missing := offer.missing():
            table.left_out[offer.name] = missing
            continue
        try:
            hosts.append(stack.enter_context(open_host(bench, offer.name, offer.command(folder))))
        except BenchError as exc:
            table.broken[offer.name] = str(exc)
            say(f"    {exc}")
    return hosts


def _floor(folder: Path) -> list[str]:
    """The program and wasmtime's shared library out of the installed package."""
    spec = importlib.util.find_spec("wasmtime")
    found = sorted(Path(spec.origin).parent.glob("*/_libwasmtime.so")) if spec and spec.origin else []
    if not found:
        raise BenchError("the wasmtime package of this interpreter has no _libwasmtime.so; install wasmtime")
    return [str(program("hosts/floor.c")), str(found[0]), str(folder / "one_header.wasm")]


def _blitz(folder: Path) -> list[str]:
    return [PYTHON, str(HOSTS / "blitz_hook.py"), str(folder / "one_header.wasm"), str(folder)]


def _wasmtime_py(folder: Path) -> list[str]:
    return [PYTHON, str(HOSTS / "wasmtime_py.py"), str(folder / "one_header.wasm"), str(folder / "compiled")]


def _extism(folder: Path) -> list[str]:
    return [str(VENV_PYTHON), str(HOSTS / "extism_sdk.py"), str(folder / "extism.wasm")]


def _extism_missing() -> str | None:
    if VENV_PYTHON.exists():
        done = subprocess.run([str(VENV_PYTHON), "-c", "import extism"], capture_output=True)
        if done.returncode == 0:
            return None
    return "the Extism SDK is not installed (benchmarks/setup.sh pypi)"


_OFFERS = [
    _Offer("C loop", ("call",), _floor),
    _Offer("blitz", ("call", "fresh", "load", "large"), _blitz, native_missing),
    _Offer("wasmtime-py", ("call", "fresh", "load"), _wasmtime_py),
    _Offer("extism", ("call", "fresh"), _extism, _extism_missing),
]
_MEASURES = {offer.name: offer.measures for offer in _OFFERS}
