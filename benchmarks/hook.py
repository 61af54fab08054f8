"""What does one call of a guest cost, from Python? The hook alone, no HTTP around it."""

from __future__ import annotations

import contextlib
import importlib.util
import os
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from .harness.bench import Bench, say
from .harness.compile import program
from .harness.errors import BenchError
from .harness.guests import assemble
from .harness.places import BENCHMARKS, PYTHON, ROOT, VENV_PYTHON
from .harness.table import Claim, Column, Row, Table, ratio

QUESTION = "what does one call of a guest cost, from Python?"
METHOD = """
The guest reads the header x-user and sets x-seen-1. "C loop" is the bare call (synchronous, unchecked,
host functions in C over a small table) and the floor. Blitz is called from Python through cffi: a
fiber with a deadline, host functions over a scanned head, the edit applied to it. wasmtime-py runs
the same guest, Extism one of its own calling convention, both with host functions in Python over a
dict. Fresh: a new instance for every call. Load: from the compiled form on disk to an instance that
is ready. All figures are CPU time. Each host is a process of its own on the server core; they take turns.
"""

_COLUMNS = [
    Column("call", "call", "µs", 3, compare=True),
    Column("fresh", "fresh instance and call", "µs", 1, compare=True),
    Column("load", "load from cache", "µs", compare=True),
]
_HOSTS = BENCHMARKS / "hosts"
_START_TIMEOUT = 60.0


@dataclass(frozen=True)
class _Host:
    name: str
    process: subprocess.Popen[str]
    measures: tuple[str, ...]

    def measure(self, what: str, seconds: float) -> float:
        """Microseconds per call."""
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self.process.stdin.write(f"{what} {seconds}\n")
        self.process.stdin.flush()
        line = self.process.stdout.readline()
        try:
            return float(line) / 1e3
        except ValueError:
            raise BenchError(f"{self.name} answered {line!r} (status {self.process.poll()})") from None


def run(bench: Bench) -> list[Table]:
    table = Table("hook", QUESTION, _COLUMNS, METHOD, plot="call")
    with contextlib.ExitStack() as stack:
        hosts = list(_start_all(bench, table, stack))
        rows = {host.name: Row(host.name) for host in hosts}
        for number in range(-1 if not bench.settings.smoke else 0, bench.settings.rounds):
            for host in hosts:
                _round(bench, table, host, rows, keep=number >= 0)
        table.rows += [row for row in rows.values() if row.name not in table.broken]
    table.claims = list(_claims(table))
    return [table]


def _round(bench: Bench, table: Table, host: _Host, rows: dict[str, Row], *, keep: bool) -> None:
    for what in host.measures:
        if host.name in table.broken:
            return
        try:
            value = host.measure(what, bench.settings.seconds / 2)
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


# ---------------------------------------------------------------- the hosts


def _start_all(bench: Bench, table: Table, stack: contextlib.ExitStack) -> Iterator[_Host]:
    folder = bench.scratch("hook")
    guest, extism_guest = folder / "one_header.wasm", folder / "extism.wasm"
    guest.write_bytes(assemble("one_header"))
    extism_guest.write_bytes(assemble("extism"))
    python, venv, every = [PYTHON], [str(VENV_PYTHON)], ("call", "fresh", "load")
    offers: list[tuple[str, list[str], tuple[str, ...], str | None]] = [
        ("C loop", [str(program("hosts/floor.c")), _library(), str(guest)], ("call",), None),
        ("blitz", [*python, str(_HOSTS / "blitz_hook.py"), str(guest), str(folder)], every, _blitz_missing()),
        (
            "wasmtime-py",
            [*python, str(_HOSTS / "wasmtime_py.py"), str(guest), str(folder / "py")],
            every,
            None,
        ),
        ("extism", [*venv, str(_HOSTS / "extism_sdk.py"), str(extism_guest)], every[:2], _extism_missing()),
    ]
    for name, command, measures, missing in offers:
        if missing:
            table.left_out[name] = missing
            continue
        try:
            yield _Host(name, stack.enter_context(_process(bench, name, command)), measures)
        except BenchError as exc:
            table.broken[name] = str(exc)
            say(f"    {exc}")


@contextlib.contextmanager
def _process(bench: Bench, name: str, command: list[str]) -> Iterator[subprocess.Popen[str]]:
    log = bench.scratch(name) / "log"
    with (
        log.open("w") as stderr,
        subprocess.Popen(
            command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=stderr,
            text=True,
            env={**os.environ, "PYTHONPATH": f"{ROOT}{os.pathsep}{_HOSTS}"},
            preexec_fn=lambda: os.sched_setaffinity(0, [bench.cores.server]),
        ) as process,
    ):
        try:
            assert process.stdout is not None
            if process.stdout.readline() != "ready\n":
                process.wait(_START_TIMEOUT)
                raise BenchError(f"{name} did not start: {log.read_text()[-1500:]}")
            yield process
        finally:
            process.kill()


def _library() -> str:
    """wasmtime's shared library, from the installed package."""
    spec = importlib.util.find_spec("wasmtime")
    found = sorted(Path(spec.origin).parent.glob("*/_libwasmtime.so")) if spec and spec.origin else []
    if not found:
        raise BenchError("the wasmtime package of this interpreter has no _libwasmtime.so; install wasmtime")
    return str(found[0])


def _blitz_missing() -> str | None:
    spec = importlib.util.find_spec("blitz")
    if spec is None or not (ROOT / "blitz/wasm").is_dir():
        return "this tree has no blitz.wasm yet"
    return None if list((ROOT / "blitz").glob("_native*.so")) else "the native part is not built"


def _extism_missing() -> str | None:
    done = (
        subprocess.run([str(VENV_PYTHON), "-c", "import extism"], capture_output=True)
        if VENV_PYTHON.exists()
        else None
    )
    return (
        None
        if done and done.returncode == 0
        else "the Extism SDK is not installed (benchmarks/setup.sh pypi)"
    )
