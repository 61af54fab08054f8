"""Guests that call host functions at any moment of their lives, in any order.

    python -m tests.hostile.orders all          every host function, in every spelling, from a start section
    python -m tests.hostile.orders SEED COUNT   guests that call random ones at random moments

Each case is one module, which is started, called and cleaned up twice. A line is printed for each: what it
was, and how it ended. A process of its own, since what is looked for would end it.
"""

from __future__ import annotations

import random
import sys
from collections.abc import Iterator
from dataclasses import dataclass

from blitz._native import lib
from blitz.wasm.abi.linkage import HostFunction, host_functions
from blitz.wasm.engine import Engine
from blitz.wasm.instance import FAULT
from tests.conftest import compile_wat
from tests.wasm.support import MIB, Exchange, Guest, exchanging, running

# moment -> the function that runs then: export, parameters, what it returns
MOMENTS = {
    "start section": ("", 0, ""),
    "_initialize": ("_initialize", 0, ""),
    "init": ("init", 0, "0"),
    "blitz_buffer": ("blitz_buffer", 0, "1024"),
    "blitz_buffer_size": ("blitz_buffer_size", 0, "8"),
    "allocator": ("blitz_alloc", 1, "2048"),
    "free": ("blitz_free", 2, ""),
    "process_request": ("process_request", 4, "0"),
    "process_response": ("process_response", 3, "0"),
    "cleanup": ("cleanup", 0, "0"),
}
WORDS = b"plugin.name host x KEY info trace /a?b \xff"
WORDS_AT = 64
GOOD_WORD = {"get_property": b"plugin.name", "get_header": b"host", "get_env": b"KEY"}
PAGE = 65536
SLICES = 20  # of a call, before it is cancelled
LETTERS = {"i": "i32", "I": "i64", "f": "f32", "F": "f64"}


@dataclass(frozen=True)
class Call:
    """One call of a host function: plain or in wasm-bindgen's spelling, with numbers as arguments."""

    function: HostFunction
    bindgen: bool
    arguments: tuple[int, ...]

    @property
    def type(self) -> str:
        bindgen = self.function.bindgen_type if self.bindgen else None
        return bindgen or self.function.plain_type

    @property
    def name(self) -> str:
        return f"{'bindgen ' if self.bindgen else ''}{self.function.name}{self.arguments}"

    def declared(self, label: str) -> str:
        parameters, result = self.type.split(":")
        name = self.function.name
        module = {"wasi": "wasi_snapshot_preview1", "bindgen": "wbg"}.get(self.function.group, "env")
        if self.bindgen or (module == "wbg" and not name.startswith("__wbindgen_")):
            module, name = "wbg", f"__wbg_{name.replace('_', '')}_0123456789abcdef"
        returns = f"(result {LETTERS[result]})" if result else ""
        types = " ".join(LETTERS[letter] for letter in parameters)
        return f'(import "{module}" "{name}" (func ${label} (param {types}) {returns}))'

    def made(self, label: str) -> str:
        values = zip(self.type.partition(":")[0], self.arguments, strict=True)
        said = " ".join(f"({LETTERS[letter]}.const {number})" for letter, number in values)
        return f"(drop (call ${label} {said}))" if self.type[-1] != ":" else f"(call ${label} {said})"


@dataclass(frozen=True)
class Case:
    """What a guest calls at each moment."""

    calls: dict[str, list[Call]]

    @property
    def name(self) -> str:
        return "; ".join(
            f"{moment}: {', '.join(call.name for call in calls)}"
            for moment, calls in self.calls.items()
            if calls
        )

    def text(self) -> str:
        imports, functions = [], []
        for number, (moment, (export, parameters, result)) in enumerate(MOMENTS.items()):
            body = []
            for index, call in enumerate(self.calls.get(moment, ())):
                label = f"f{number}_{index}"
                imports.append(call.declared(label))
                body.append(call.made(label))
            said = f'(export "{export}")' if export else ""
            returns = f"(result i32) {' '.join(body)} (i32.const {result})" if result else " ".join(body)
            functions.append(f"(func $m{number} {said} (param {'i32 ' * parameters}) {returns})")
        data = "".join(f"\\{byte:02x}" for byte in WORDS)
        return (
            f'(module {" ".join(imports)} (memory (export "memory") 1 4) '
            f'(data (i32.const {WORDS_AT}) "{data}") {" ".join(functions)} (start $m0))'
        )


def spellings() -> list[tuple[HostFunction, bool]]:
    plain = [(function, False) for function in host_functions()]
    return plain + [(function, True) for function in host_functions() if function.bindgen_type is not None]


def number(rng: random.Random, letter: str) -> int:
    """Near the start, near the end, or anywhere."""
    if letter == "I":
        return rng.choice([0, 1, -1, rng.randrange(-(2**63), 2**63)])
    if letter in "fF":
        return 0
    return rng.choice([rng.randrange(160), PAGE - rng.randrange(16), rng.randrange(2**32), rng.randrange(4)])


def call(rng: random.Random, function: HostFunction, bindgen: bool, *, good: bool) -> Call:
    """*good*: with strings that are there, so that the function does its work."""
    kind = (bindgen and function.bindgen_type) or function.plain_type
    letters = kind.partition(":")[0]
    arguments: list[int] = []
    if bindgen:
        arguments.append(8)
    while good and letters[len(arguments) :].startswith("ii"):
        word = GOOD_WORD.get(function.name) or rng.choice(WORDS.split(b" "))
        arguments += [WORDS_AT + WORDS.index(word), len(word)]
    arguments += [number(rng, letter) for letter in letters[len(arguments) :]]
    return Call(function, bindgen, tuple(arguments))


def every_function_first(rng: random.Random) -> Iterator[Case]:
    """Alone in the start section, where it is the first that the guest ever calls; then the same in init."""
    for function, bindgen in spellings():
        for good in (True, False):
            made = call(rng, function, bindgen, good=good)
            yield Case({"start section": [made]})
            yield Case({"init": [made]})


def random_cases(rng: random.Random, count: int) -> Iterator[Case]:
    known = spellings()
    for _ in range(count):
        moments = rng.sample(sorted(MOMENTS), rng.randint(1, 5))
        yield Case(
            {
                moment: [
                    call(rng, *rng.choice(known), good=rng.random() < 0.8) for _ in range(rng.randint(1, 2))
                ]
                for moment in moments
            }
        )


def play(engine: Engine, case: Case) -> str:
    """How it ended: "served", or the first fault."""
    given = {"config": b"configured", "env": {"KEY": "value"}}
    with running(engine, compile_wat(case.text()), started=False, memory=MIB, **given) as guest:
        first, again = live(guest), live(guest)
        return first if first == again else f"{first}, then {again}"


def live(guest: Guest) -> str:
    guest.instance.free()
    guest.instance = guest.plugin.new_instance()
    with exchanging(fields=[(b"host", b"a.example"), (b"x", b"\xff")]) as exchange:
        exchange.body(b"\xff" * 5000)
        for step in ("start", "request", "response", "cleanup"):
            code = finish(guest, step, exchange)
            if code == FAULT:
                error = guest.instance.fault()
                assert error.message and "\n" not in error.message
                assert guest.instance.request(exchange.c) == lib.BLITZ_E_STATE
                return error.message.partition(": ")[2]
            assert code >= 0
    return "served"


def finish(guest: Guest, step: str, exchange: Exchange) -> int:
    arguments = (exchange.c,) if step in ("request", "response") else ()
    code = int(getattr(guest.instance, step)(*arguments))
    for _ in range(SLICES):
        if code >= 0 or code == FAULT:
            return code
        code = guest.instance.resume()
    guest.instance.cancel()
    return FAULT


def main(words: list[str]) -> None:
    engine = Engine(4, 4 * MIB)
    rng = random.Random(0 if words[0] == "all" else int(words[0]))
    cases = every_function_first(rng) if words[0] == "all" else random_cases(rng, int(words[1]))
    for case in cases:
        print(f"{case.name} -> ", end="", flush=True)
        print(play(engine, case), flush=True)
    engine.close()


if __name__ == "__main__":
    main(sys.argv[1:])
