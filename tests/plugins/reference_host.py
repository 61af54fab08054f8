"""The plugin ABI "blitz/1" once more, in plain Python over wasmtime-py: small, slow, easy to check.

The cases of the built-in plugins run here and in Blitz; where the two disagree, one of them is wrong.
It also counts fuel, which is how the tests see that a comparison takes the same time whatever it finds.
"""

from __future__ import annotations

import json
import re
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import wasmtime

I32, I64 = wasmtime.ValType.i32(), wasmtime.ValType.i64()
FUEL = 10_000_000_000
HEADER_COUNT = "header.count."
TYPES = {
    # parameters and results of the plain spelling, a letter each
    "log": ("iiii", ""),
    "get_env": ("iiii", "i"),
    "get_header": ("iiii", "i"),
    "set_header": ("iiii", ""),
    "add_header": ("iiii", ""),
    "remove_header": ("ii", ""),
    "set_status": ("i", ""),
    "set_body": ("ii", ""),
    "get_property": ("iiii", "i"),
    "now_ms": ("", "I"),
    "rate_limit": ("iiii", "i"),
}


def value_types(letters: str) -> list[wasmtime.ValType]:
    return [I32 if letter == "i" else I64 for letter in letters]


def config_text(value: Any) -> str:
    """One config value as get_property("config.<key>") gives it."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, list):
        return "\n".join(config_text(item) for item in value)
    return value if isinstance(value, str) else json.dumps(value)


def variable(name: str) -> str:
    """What a CGI-like server makes of a request field's name."""
    return re.sub("[^A-Z0-9]", "_", name.upper())


@dataclass
class Message:
    """What a hook sees: header names are lower-case."""

    headers: list[tuple[str, str]] = field(default_factory=list)
    properties: dict[str, str] = field(default_factory=dict)
    body: str = ""


@dataclass
class Outcome:
    """What a hook call came to: the message after its edits, or the answer that it built."""

    verdict: int
    headers: list[tuple[str, str]]
    status: int = 200
    body: str = ""


class ReferencePlugin:
    """One instance of a plugin file, started."""

    def __init__(self, file: Path, config: dict[str, Any], env: dict[str, str]) -> None:
        engine_config = wasmtime.Config()
        engine_config.consume_fuel = True
        engine = wasmtime.Engine(engine_config)
        self.store = wasmtime.Store(engine)
        self.store.set_fuel(FUEL)
        self.env = env
        self.config = {f"config.{key}": config_text(value) for key, value in config.items()}
        self.logs: list[tuple[str, str]] = []
        self.buckets: dict[bytes, tuple[float, float]] = {}
        self.message = Message()
        self.edits: list[tuple[str, str, str]] = []
        self.status, self.body = 200, ""
        module = wasmtime.Module.from_file(engine, str(file))
        linker = wasmtime.Linker(engine)
        for wanted in module.imports:
            assert wanted.name is not None
            parameters, results = TYPES[wanted.name]
            kind = wasmtime.FuncType(value_types(parameters), value_types(results))
            linker.define_func(wanted.module, wanted.name, kind, getattr(self, wanted.name))
        exports = linker.instantiate(self.store, module).exports(self.store)
        self.exports: dict[str, Any] = {name: exports[name] for name in (e.name for e in module.exports)}
        memory = self.exports["memory"]
        assert isinstance(memory, wasmtime.Memory)
        self.memory = memory
        self.buffer, self.buffer_size = self._call("blitz_buffer"), self._call("blitz_buffer_size")
        self.init_result = self._call("init") if "init" in self.exports else 0

    # ------------------------------------------------------------ calls

    def _call(self, name: str, *arguments: int) -> int:
        return int(self.exports[name](self.store, *arguments))

    def _hook(self, message: Message, name: str, numbers: list[int], texts: list[bytes]) -> Outcome:
        self.message, self.edits, self.status, self.body = message, [], 200, ""
        at, arguments = self.buffer, list(numbers)
        for text in texts:
            self.memory.write(self.store, text, at)
            arguments += [at, len(text)]
            at += len(text)
        assert at <= self.buffer + self.buffer_size
        verdict = self._call(name, *arguments)
        answer = verdict == 1 and name == "process_request"
        headers = [] if answer else list(message.headers)
        in_request = name == "process_request"
        for action, key, value in self.edits if verdict in (0, 1) else []:
            if in_request:
                headers = [h for h in headers if h[0] == key or variable(h[0]) != variable(key)]
            if action != "add":
                headers = [h for h in headers if h[0] != key]
            if action != "remove":
                headers.append((key, value))
        return Outcome(verdict, headers, self.status, self.body)

    def request(self, method: str, path: str, message: Message) -> Outcome:
        if "process_request" not in self.exports:
            return Outcome(0, message.headers)
        return self._hook(message, "process_request", [], [method.encode(), path.encode()])

    def response(self, status: int, message: Message) -> Outcome:
        if "process_response" not in self.exports:
            return Outcome(0, message.headers)
        return self._hook(message, "process_response", [status], [message.body.encode()])

    def fuel_of(self, method: str, path: str, message: Message) -> int:
        """Instructions that one request hook takes."""
        self.store.set_fuel(FUEL)
        self.request(method, path, message)
        return FUEL - self.store.get_fuel()

    # ------------------------------------------------------------ host functions

    def _text(self, ptr: int, length: int) -> str:
        return bytes(self.memory.read(self.store, ptr, ptr + length)).decode("utf-8", "replace")

    def _give(self, value: str | None, buf: int, cap: int) -> int:
        if value is None:
            return -1
        raw = value.encode()
        self.memory.write(self.store, raw[:cap], buf)
        return len(raw)

    def log(self, level: int, level_len: int, text: int, length: int) -> None:
        self.logs.append((self._text(level, level_len), self._text(text, length)))

    def get_env(self, name: int, length: int, buf: int, cap: int) -> int:
        return self._give(self.env.get(self._text(name, length)), buf, cap)

    def get_header(self, name: int, length: int, buf: int, cap: int) -> int:
        wanted = self._text(name, length).lower()
        return self._give(next((v for n, v in self.message.headers if n == wanted), None), buf, cap)

    def get_property(self, name: int, length: int, buf: int, cap: int) -> int:
        key = self._text(name, length)
        if key.startswith(HEADER_COUNT):  # the plugins here ask in request hooks only
            wanted = variable(key.removeprefix(HEADER_COUNT))
            return self._give(str(sum(variable(n) == wanted for n, _ in self.message.headers)), buf, cap)
        return self._give((self.config | self.message.properties).get(key), buf, cap)

    def set_header(self, name: int, length: int, value: int, value_len: int) -> None:
        self.edits.append(("set", self._text(name, length).lower(), self._text(value, value_len)))

    def add_header(self, name: int, length: int, value: int, value_len: int) -> None:
        self.edits.append(("add", self._text(name, length).lower(), self._text(value, value_len)))

    def remove_header(self, name: int, length: int) -> None:
        self.edits.append(("remove", self._text(name, length).lower(), ""))

    def set_status(self, status: int) -> None:
        self.status = status

    def set_body(self, body: int, length: int) -> None:
        self.body = self._text(body, length)

    def now_ms(self) -> int:
        return time.time_ns() // 1_000_000

    def rate_limit(self, key: int, length: int, per_minute: int, burst: int) -> int:
        name = bytes(self.memory.read(self.store, key, key + length))
        now, per_second = time.monotonic(), per_minute / 60
        tokens, last = self.buckets.get(name, (float(burst), now))
        tokens = min(float(burst), tokens + (now - last) * per_second)
        if tokens >= 1:
            self.buckets[name] = (tokens - 1, now)
            return int(tokens - 1)
        self.buckets[name] = (tokens, now)
        return -max(1, int((1 - tokens) / per_second * 1000))
