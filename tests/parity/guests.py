"""Plugins that do what the message tells them, and write down all they see of it.

The field ``x-NAME`` of a message holds letters, and the plugin NAME does them one by one:

    v  write down every property and the fields of FIELDS       l  leave a log line, e  one that is an error
    h  set x-guest, a  add to it, r  remove x-case              w  work for a few milliseconds
    p, f, o  set the path: to another of the same route, to /fixed, to /bare
    M  set the method                                           t  trap, L  never come back
    s  status 503, n  204, m  304                               -  say that it failed, !  answer
    b  set the body, g  set it to its own first bytes           B  set it to 140,000 bytes
"""

from __future__ import annotations

import functools
import tempfile
from pathlib import Path
from typing import Any

import wasmtime

from blitz.config import Plugin

__all__ = ["ACTIONS", "GUESTS", "SMALL", "plugin"]

ACTIONS = "vharpfoMsnmbgBlewt-!L"
PROPERTIES = (
    "client.address", "request.id", "request.method", "request.path", "request.path.canonical",
    "request.host", "response.status", "route.name", "upstream.address", "tls.version", "tls.cipher",
    "tls.sni", "tls.client_subject", "tls.client_sha256", "plugin.name", "plugin.config", "body.truncated",
)  # fmt: skip
FIELDS = (
    "host", "content-length", "transfer-encoding", "connection", "via", "x-forwarded-for",
    "x-forwarded-proto", "x-forwarded-host", "forwarded", "x-request-id", "expect", "date", "x-guest",
    "x-case", "content-type",
)  # fmt: skip

SMALL = 900  # bytes of bodies that a plugin of that kind sees
# The texts lie one behind the other from TEXTS on; what is written down is collected from NOTES on.
TEXTS, LETTERS, BODY, NOTES = 0, 4096, 8192, 16384
WORDS = {
    "name": "@name@", "field": "x-@name@", "x-guest": "x-guest", "x-case": "x-case",
    "path": "/moved?by=@name@", "fixed": "/fixed/by", "bare": "/bare/by", "method": "PUT",
    "edited": "edited by @name@", "info": "info", "error": "error", "said": "@name@ was here",
}  # fmt: skip


class _Texts:
    """Where each text lies in the guest's memory."""

    def __init__(self, name: str) -> None:
        self.data = ""
        self._name = name

    def args(self, text: str) -> str:
        """Two arguments: where *text* lies, and its length."""
        text = text.replace("@name@", self._name)
        at = self.data.find(text)
        if at < 0:
            at = len(self.data)
            self.data += text
        return f"(i32.const {TEXTS + at}) (i32.const {len(text)})"


def _source(name: str, hooks: str, *, reads: bool) -> str:
    texts = _Texts(name)
    word = {key: texts.args(text) for key, text in WORDS.items()}
    notes = "".join(
        f"(call $note {texts.args(prefix + each + '=')} (call {getter} {texts.args(each)}"
        f" (i32.add (global.get $at) (i32.const {len(prefix + each) + 1})) (i32.const 512)))"
        for getter, prefix, names in (("$property", "", PROPERTIES), ("$header", "header.", FIELDS))
        for each in names
    )
    body = (
        f"(call $body (i32.const {BODY}) (call $least (call $get_body (i32.const {BODY}) (i32.const 2048))))"
    )
    actions = {
        "v": f"(global.set $at (i32.const {NOTES})) {notes}"
        f"(call $log {word['info']} (i32.const {NOTES}) (i32.sub (global.get $at) (i32.const {NOTES})))",
        "h": f"(call $set_header {word['x-guest']} {word['name']})",
        "a": f"(call $add_header {word['x-guest']} {word['name']})",
        "r": f"(call $remove_header {word['x-case']})",
        "p": f"(call $path {word['path']})",
        "f": f"(call $path {word['fixed']})",
        "o": f"(call $path {word['bare']})",
        "M": f"(call $method {word['method']})",
        "s": "(call $status (i32.const 503))",
        "n": "(call $status (i32.const 204))",
        "m": "(call $status (i32.const 304))",
        "b": f"(call $body {word['edited']})",
        "g": body if reads else "",
        "B": "(call $body (i32.const 262144) (i32.const 140000))",
        "l": f"(call $log {word['info']} {word['said']})",
        "e": f"(call $log {word['error']} {word['said']})",
        "w": "(local.set $left (i32.const 6000000)) (loop $again"
        " (local.set $left (i32.sub (local.get $left) (i32.const 1))) (br_if $again (local.get $left)))",
        "t": "(unreachable)",
        "-": "(return (i32.const -1))",
        "!": "(return (i32.const 1))",
        "L": "(loop $ever (br $ever))",
    }
    steps = "".join(
        f"(if (i32.eq (local.get $letter) (i32.const {ord(letter)})) (then {code}))"
        for letter, code in actions.items()
        if code
    )
    hook = f"""
      (local $n i32) (local $i i32) (local $left i32) (local $letter i32)
      (local.set $n (call $header {word["field"]} (i32.const {LETTERS}) (i32.const 32)))
      (block $done (loop $next
        (br_if $done (i32.ge_s (local.get $i) (local.get $n)))
        (local.set $letter (i32.load8_u (i32.add (i32.const {LETTERS}) (local.get $i))))
        (local.set $i (i32.add (local.get $i) (i32.const 1)))
        {steps}
        (br $next)))
      (i32.const 0))"""
    shapes = {"process_request": "i32 i32 i32 i32", "process_response": "i32 i32 i32"}
    exports = "".join(
        f'(func (export "{export}") (param {shape}) (result i32) {hook}'
        for export, shape in shapes.items()
        if export in hooks
    )
    text = "".join(c if c.isalnum() or c in "-./?= " else f"\\{ord(c):02x}" for c in texts.data)
    return f"""(module
      (import "env" "get_property" (func $property (param i32 i32 i32 i32) (result i32)))
      (import "env" "get_header" (func $header (param i32 i32 i32 i32) (result i32)))
      {'(import "env" "get_body" (func $get_body (param i32 i32) (result i32)))' if reads else ""}
      (import "env" "set_header" (func $set_header (param i32 i32 i32 i32)))
      (import "env" "add_header" (func $add_header (param i32 i32 i32 i32)))
      (import "env" "remove_header" (func $remove_header (param i32 i32)))
      (import "env" "set_status" (func $status (param i32)))
      (import "env" "set_body" (func $body (param i32 i32)))
      (import "env" "set_path" (func $path (param i32 i32)))
      (import "env" "set_method" (func $method (param i32 i32)))
      (import "env" "log" (func $log (param i32 i32 i32 i32)))
      (memory (export "memory") 8)
      (global $at (mut i32) (i32.const 0))
      (data (i32.const {TEXTS}) "{text}")
      (func (export "blitz_buffer") (result i32) (i32.const 65536))
      (func (export "blitz_buffer_size") (result i32) (i32.const 196608))
      (func $least (param i32) (result i32)
        (select (local.get 0) (i32.const 7) (i32.lt_u (local.get 0) (i32.const 7))))
      ;; A name, and behind it the value that is there already, of n bytes; -1: there is none.
      (func $note (param $name i32) (param $size i32) (param $n i32)
        (memory.copy (global.get $at) (local.get $name) (local.get $size))
        (global.set $at (i32.add (global.get $at) (local.get $size)))
        (if (i32.lt_s (local.get $n) (i32.const 0))
          (then (i32.store8 (global.get $at) (i32.const 45)) (local.set $n (i32.const 1))))
        (if (i32.gt_s (local.get $n) (i32.const 512)) (then (local.set $n (i32.const 512))))
        (global.set $at (i32.add (global.get $at) (local.get $n)))
        (i32.store8 (global.get $at) (i32.const 32))
        (global.set $at (i32.add (global.get $at) (i32.const 1))))
      {exports})"""


# By kind: its hooks, whether it asks for the request's body, and what else is set for it.
GUESTS: dict[str, tuple[str, bool, dict[str, Any]]] = {
    "request": ("process_request", False, {}),
    "reads": ("process_request", True, {}),
    "response": ("process_response", False, {"response_body": "none"}),
    "both": ("process_request process_response", False, {"response_body": "none"}),
    "collects": ("process_request process_response", True, {}),
    "open": ("process_request process_response", False, {"response_body": "none", "failure": "open"}),
    "whole": ("process_response", True, {}),
    "small": ("process_request process_response", True, {"max_body": SMALL}),
}


@functools.cache
def _folder() -> tempfile.TemporaryDirectory[str]:
    return tempfile.TemporaryDirectory(prefix="parity-guests-")


@functools.cache
def _file(name: str, hooks: str, *, reads: bool) -> str:
    path = Path(_folder().name) / f"{name}-{hooks.replace(' ', '-')}-{reads}.wasm"
    path.write_bytes(wasmtime.wat2wasm(_source(name, hooks, reads=reads)))
    return str(path)


def plugin(name: str, kind: str, order: int) -> Plugin:
    """*name*: a letter; *kind*: one of GUESTS."""
    hooks, reads, settings = GUESTS[kind]
    return Plugin(
        name=name,
        file=_file(name, hooks, reads=reads),
        order=order,
        timeout=0.5,
        max_instances=8,
        config={"k": name},
        **settings,
    )
