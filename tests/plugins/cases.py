"""Reads ``plugins/src/<name>/cases.toml`` and runs a case on any host.

A host is a function ``(plugin file, config, env) -> instance`` whose instance has ``init_result``,
``logs``, ``request()`` and ``response()`` as ``reference_host.ReferencePlugin`` has them.
"""

from __future__ import annotations

import hashlib
import hmac
import re
import time
import tomllib
import uuid
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from .reference_host import Message, Outcome

PLUGINS = Path(__file__).resolve().parents[2] / "plugins"
NAMES = ("auth_custom", "rate_limiter", "request_logger")
VERDICTS = {"continue": 0, "stop": 1, "error": -1}
MACRO = re.compile(r"\$\{([^${}]*)\}")


@dataclass
class Case:
    plugin: str
    name: str
    table: dict[str, Any]


def manifest(plugin: str) -> dict[str, Any]:
    return tomllib.loads((PLUGINS / f"{plugin}.toml").read_text())


def load_cases() -> list[Case]:
    cases = []
    for plugin in NAMES:
        text = (PLUGINS / "src" / plugin / "cases.toml").read_text()
        cases += [Case(plugin, table["name"], table) for table in tomllib.loads(text)["case"]]
    return cases


def expand(text: str, method: str, path: str, now: int) -> str:
    """Replace ``${now}``, ``${now-90}``, ``${repeat:x:100}``, ``${sign:secret:timestamp[:content]}`` and
    ``${sign-as:method:path:secret:timestamp}``, innermost first."""

    def replace(match: re.Match[str]) -> str:
        kind, *parts = match[1].split(":")
        if kind.startswith("now"):
            return str(now + int(kind[3:] or "0"))
        if kind == "repeat":
            return parts[0] * int(parts[1])
        as_method, as_path = method, path
        if kind == "sign-as":
            as_method, as_path, *parts = parts
        secret, timestamp, *content = parts
        signed = "\n".join([as_method, as_path, timestamp, content[0] if content else ""])
        return hmac.new(secret.encode(), signed.encode(), hashlib.sha256).hexdigest()

    while MACRO.search(text):
        text = MACRO.sub(replace, text)
    return text


def matches(wanted: str, seen: str) -> bool:
    """``~`` at the front makes the rest a regular expression."""
    return bool(re.fullmatch(wanted[1:], seen)) if wanted.startswith("~") else wanted == seen


def line_matches(wanted: str, seen: str) -> bool:
    """In log lines, ``=~`` stands for any value."""
    return bool(re.fullmatch(re.escape(wanted).replace("=\\~", r"=\S+"), seen))


def check_headers(outcome: Outcome, wanted: dict[str, Any], absent: list[str]) -> None:
    for name, value in wanted.items():
        seen = [v for n, v in outcome.headers if n == name]
        values = value if isinstance(value, list) else [value]
        assert len(seen) == len(values), f"{name}: {seen}"
        assert all(matches(w, s) for w, s in zip(values, seen, strict=True)), f"{name}: {seen}"
    assert not {n for n, _ in outcome.headers} & set(absent)


def run_step(instance: Any, step: dict[str, Any]) -> None:
    now = int(time.time())
    method, raw_path = step.get("method", "GET"), step.get("path", "/")
    path = expand(raw_path, method, raw_path, now)
    headers = [
        (name, expand(one, method, path, now))
        for name, value in step.get("headers", {}).items()
        for one in (value if isinstance(value, list) else [value])
    ]
    expect = step["expect"]
    properties = {
        "client.address": step.get("client", "192.0.2.1"),
        "request.id": uuid.uuid4().hex,
        "request.method": method,
        "request.path": path,
    }
    instance.logs.clear()
    outcome = instance.request(method, path, Message(headers, properties))
    assert outcome.verdict == VERDICTS[expect["verdict"]], instance.logs
    if outcome.verdict == 1:
        assert outcome.status == expect.get("status", outcome.status)
        assert matches(expect.get("body", "~(?s:.*)"), outcome.body), outcome.body
        check_headers(outcome, expect.get("answer", {}), expect.get("answer_absent", []))
    else:
        check_headers(outcome, expect.get("upstream", {}), expect.get("upstream_absent", []))
    if "response" in step:
        head = Message(list(step["response"]["headers"].items()), properties)
        answer = instance.response(step["response"]["status"], head)
        assert answer.verdict == 0
        check_headers(answer, expect.get("answer", {}), expect.get("answer_absent", []))
    lines = [text for _, text in instance.logs]
    if "log" in expect:
        wanted = [expand(line, method, path, now) for line in expect["log"]]
        assert len(wanted) == len(lines), lines
        assert all(line_matches(w, s) for w, s in zip(wanted, lines, strict=True)), lines
    for secret in expect.get("no_log", []):
        assert not any(secret in line for line in lines), lines


def run_case(case: Case, host: Callable[[Path, dict[str, Any], dict[str, str]], Any]) -> None:
    """Run one case on *host*; AssertionError where it does not do as the table says."""
    table = case.table
    keys = manifest(case.plugin)["config"]["keys"]
    raw = {name: key["default"] for name, key in keys.items()} | table.get("config", {})
    config = {
        key: [expand(item, "", "", 0) for item in value] if isinstance(value, list) else value
        for key, value in raw.items()
    }
    instance = host(PLUGINS / f"{case.plugin}.wasm", config, table.get("env", {}))
    assert (instance.init_result == 0) == (table.get("expect_init") != "fails"), instance.logs
    if "init_log" in table:
        assert [text for _, text in instance.logs] == table["init_log"]
    for step in table.get("step", []):
        run_step(instance, step)
