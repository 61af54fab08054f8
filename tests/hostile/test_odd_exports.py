"""Invariant: whatever stands under the names that the host looks for, of any kind and type, the module is a
plugin or a PluginLoadError with one sentence, and what loads ends in a verdict, a fault or a cancel.

BLITZ_FUZZ_MODULES says how many to try (default 400); BLITZ_FUZZ_SEED another series.
"""

from __future__ import annotations

import os
import random
from collections.abc import Callable

from blitz._native import lib
from blitz.errors import PluginLoadError
from blitz.wasm.engine import Engine
from blitz.wasm.instance import FAULT, PENDING
from tests.wasm.support import Guest, exchanging

from .test_guests import neighbour

MODULES = int(os.environ.get("BLITZ_FUZZ_MODULES", "400"))
SEED = int(os.environ.get("BLITZ_FUZZ_SEED", "1"))
SLICES = 3

# Names and the types that the host wants under them.
WANTED = {
    "_initialize": ":",
    "__wbindgen_start": ":",
    "init": ":i",
    "process_request": "iiii:i",
    "process_response": "iii:i",
    "cleanup": ":i",
    "blitz_buffer": ":i",
    "blitz_buffer_size": ":i",
    "blitz_alloc": "i:i",
    "blitz_free": "ii:",
    "malloc": "i:i",
    "free": "i:",
    "__wbindgen_malloc": "ii:i",
    "__wbindgen_export_0": "ii:i",
    "__wbindgen_export": "i:i",
}
OTHER_TYPES = (":", ":i", "i:i", "ii:i", "i:", "ii:", ":ii", ":I", "I:i", "f:F", "v:v", "x:x", "r:", "s:s")
LETTERS = {
    "i": "i32", "I": "i64", "f": "f32", "F": "f64", "v": "v128", "x": "externref", "r": "funcref",
    "s": "(ref $s)",
}  # fmt: skip
RESULTS = {
    "i": "(i32.const {n})", "I": "(i64.const {n})", "f": "(f32.const 1)", "F": "(f64.const 1)",
    "v": "(v128.const i64x2 1 1)", "x": "(ref.null extern)", "r": "(ref.null func)", "s": "(struct.new $s)",
}  # fmt: skip
# Host functions to export under other names: module, name, type.
HOST = (
    ("wasi_snapshot_preview1", "sched_yield", ":i"),
    ("wasi_snapshot_preview1", "fd_close", "i:i"),
    ("wasi_snapshot_preview1", "fd_fdstat_get", "ii:i"),
    ("wasi_snapshot_preview1", "environ_get", "ii:i"),
    ("wasi_snapshot_preview1", "fd_prestat_dir_name", "iii:i"),
    ("wasi_snapshot_preview1", "fd_write", "iiii:i"),
    ("wasi_snapshot_preview1", "proc_exit", "i:"),
    ("env", "get_header", "iiii:i"),
    ("env", "get_body", "ii:i"),
    ("env", "get_config", "ii:i"),
    ("env", "rate_limit", "iiii:i"),
    ("env", "set_body", "ii:"),
    ("env", "set_status", "i:"),
    ("wbg", "__wbg_getconfig_0123456789abcdef", "i:"),
    ("wbg", "__wbg_getbody_0123456789abcdef", "i:"),
    ("wbg", "__wbindgen_init_externref_table", ":"),
    ("wbg", "__wbg_new_0123456789abcdef", ":"),
    ("wbg", "__wbindgen_throw", "ii:"),
)
OTHERS = (
    "(memory 1)",
    "(memory i64 1)",
    "(memory 0)",
    "(table 1 funcref)",
    "(table 0 externref)",
    "(table i64 3 externref)",
    "(table 2 2 externref)",
    "(table 1 (ref null $s))",
    "(table 1 anyref)",
    "(global i32 (i32.const 1))",
    "(global (mut externref) (ref.null extern))",
    "(tag)",
    "(tag (param i32))",
)


def signature(spelt: str) -> str:
    parameters, results = spelt.split(":")
    return "".join(f"(param {LETTERS[one]})" for one in parameters) + "".join(
        f"(result {LETTERS[one]})" for one in results
    )


class Module:
    """Text of a module, written piece by piece."""

    def __init__(self, chance: random.Random) -> None:
        self.chance = chance
        self.imports: list[str] = []
        self.fields: list[str] = []
        self.exported: set[str] = set()

    def export(self, name: str, field: str) -> None:
        """*field* without an export of its own."""
        head, _, rest = field.partition(" ")
        rest = rest or ")"
        self.fields.append(f'{head.rstrip(")")} (export "{name}") {rest}')

    def function(self, name: str, spelt: str) -> None:
        number = self.chance.choice((0,) * 12 + (1024, 4096, 65535, -1))
        body = "".join(RESULTS[one].format(n=number) for one in spelt.split(":")[1])
        if self.chance.random() < 0.03:
            body = "unreachable"
        self.fields.append(f'(func (export "{name}") {signature(spelt)} {body})')

    def host(self, name: str, spelt: str | None) -> None:
        fitting = [one for one in HOST if spelt in (None, one[2])]
        if not fitting:
            return self.function(name, spelt or ":")
        module, wanted, found = self.chance.choice(fitting)
        self.imports.append(f'(func (export "{name}") (import "{module}" "{wanted}") {signature(found)})')
        return None

    def text(self) -> str:
        start = "(func $start) (start $start)" if self.chance.random() < 0.3 else ""
        return f"(module (type $s (struct)) {' '.join(self.imports)} {' '.join(self.fields)} {start})"


def write(chance: random.Random) -> str:
    module = Module(chance)
    for name, spelt in WANTED.items():
        usual = name in ("process_request", "blitz_buffer", "blitz_buffer_size")
        if chance.random() > (0.97 if usual else 0.2):
            continue
        what = chance.random()
        if what < 0.7:
            module.function(name, spelt)
        elif what < 0.9:
            module.host(name, spelt)
        elif what < 0.93:
            module.function(name, chance.choice(OTHER_TYPES))
        elif what < 0.96:
            module.host(name, None)
        elif what < 0.98:
            module.export(name, chance.choice([one for one in OTHERS if not one.startswith("(memory")]))
        else:
            module.function(name, spelt)
    module.export("memory", "(memory 1)" if chance.random() < 0.95 else chance.choice(OTHERS))
    if chance.random() < 0.4:
        tables = [one for one in OTHERS if one.startswith("(table")]
        module.export("__wbindgen_externrefs", chance.choice(tables))
        if chance.random() < 0.8:
            module.host("__wbindgen_tables", ":")
    return module.text()


def drive(guest: Guest, code: int) -> bool:
    """Run a call for a few slices. -> it came to a healthy end."""
    for _ in range(SLICES):
        if code != PENDING:
            break
        code = guest.instance.resume()
    if code == PENDING:
        guest.instance.cancel()
    if code in (PENDING, FAULT):
        assert guest.instance.fault().args[0]
        return False
    assert code >= 0 or code == lib.BLITZ_E_STATE
    return True


def test_any_exports_are_a_plugin_or_a_sentence(engine: Engine, wat: Callable[[str], bytes]) -> None:
    chance = random.Random(SEED)
    refused = ran = 0
    with neighbour(engine, wat) as works:
        for number in range(MODULES):
            wasm = wat(write(chance))
            try:
                guest = Guest(engine, wasm, grants=("clock", "random", "gc"))
            except PluginLoadError as error:
                assert "\n" not in str(error)
                refused += 1
                continue
            with exchanging() as exchange:
                exchange.body(b"body")
                healthy = drive(guest, guest.instance.start())
                for call in (guest.instance.request, guest.instance.response):
                    healthy = healthy and drive(guest, call(exchange.c))
                if healthy:
                    drive(guest, guest.instance.cleanup())
                    ran += 1
                guest.close()
            if number % 50 == 0:
                works()
    if MODULES >= 400:
        assert refused > MODULES // 10
        assert ran > MODULES // 40
