"""Names that a server folds into one variable.

Invariant: of a field that a plugin, the built-in auth_custom or the gateway itself sets, an upstream that
reads names as CGI does sees exactly what was set, however a client spells the name.
"""

from __future__ import annotations

import random
import re
from pathlib import Path

import pytest

from blitz.config import Plugin
from tests.conftest import compile_wat
from tests.plugins.cases import PLUGINS
from tests.server.harness import Client, rig

SEED = 20261128
PUNCTUATION = "-_.!#$%&'*+^`|~"  # RFC 9110 section 5.6.2: the tokens' bytes that are neither letter nor digit
NAMES = ("x-plugin-user", "x-plugin-role", "x-plugin-gone")
FORWARDING = ("x-forwarded-for", "x-forwarded-proto", "x-forwarded-host")

# Sets the first of NAMES, adds one of the second, removes the third.
PLUGIN = """(module
  (import "blitz" "set_header" (func $set (param i32 i32 i32 i32)))
  (import "blitz" "add_header" (func $add (param i32 i32 i32 i32)))
  (import "blitz" "remove_header" (func $remove (param i32 i32)))
  (memory (export "memory") 1)
  (data (i32.const 0) "x-plugin-userX-Plugin-RoleX-PLUGIN-GONEplugin")
  (func (export "blitz_buffer") (result i32) i32.const 1024)
  (func (export "blitz_buffer_size") (result i32) i32.const 32768)
  (func (export "process_request") (param i32 i32 i32 i32) (result i32)
    (call $set (i32.const 0) (i32.const 13) (i32.const 39) (i32.const 6))
    (call $add (i32.const 13) (i32.const 13) (i32.const 39) (i32.const 6))
    (call $remove (i32.const 26) (i32.const 13))
    i32.const 0))"""


def variable(name: str) -> str:
    """RFC 3875 section 4.1.18, and what servers do with the other punctuation."""
    return re.sub("[^A-Z0-9]", "_", name.upper())


def spelling(chance: random.Random, name: str) -> str:
    """*name* as a client that means harm writes it."""
    marks = chance.choice(["-", "_", ".", PUNCTUATION])
    folded = "".join(chance.choice(marks) if byte == "-" else byte for byte in name)
    return "".join(chance.choice((byte.lower(), byte.upper())) for byte in folded)


def claims(chance: random.Random, names: list[str]) -> str:
    """Field lines with *names* in a few spellings each, in any order."""
    lines = [f"{spelling(chance, name)}: eve\r\n" for name in names for _ in range(chance.randrange(5))]
    chance.shuffle(lines)
    return "".join(lines)


async def seen(client: Client, lines: str, *, body: bool) -> dict[str, list[tuple[str, str]]]:
    """What the echoing upstream got, by variable: names and values."""
    method, length, content = ("POST", "Content-Length: 2\r\n", "ab") if body else ("GET", "", "")
    head = f"{method} / HTTP/1.1\r\nHost: test\r\n{length}{lines}\r\n"
    await client.send((head + content).encode())
    status, _, answer = await client.answer()
    assert status == 200, lines
    fields: dict[str, list[tuple[str, str]]] = {}
    for line in answer.decode().split("\n\n")[0].split("\n")[1:]:
        name, _, value = line.partition(": ")
        fields.setdefault(variable(name), []).append((name, value))
    return fields


@pytest.mark.parametrize("parser", ["auto", "h11"])
@pytest.mark.parametrize("body", [False, True], ids=["short", "general"])
async def test_what_a_plugin_sets_is_all_that_an_upstream_reads(
    tmp_path: Path, parser: str, body: bool
) -> None:
    path = tmp_path / "setter.wasm"
    path.write_bytes(compile_wat(PLUGIN))
    chance = random.Random(SEED)
    async with rig(parser=parser, plugins=[Plugin(name="setter", file=str(path))]) as test:
        client = await test.connect()
        for _ in range(150):
            fields = await seen(client, claims(chance, [*NAMES, *FORWARDING]), body=body)
            assert fields["X_PLUGIN_USER"] == [("x-plugin-user", "plugin")]
            role = fields["X_PLUGIN_ROLE"]  # what an adding plugin adds to is there by its own name
            assert {name for name, _ in role} == {"x-plugin-role"}
            assert role[-1] == ("x-plugin-role", "plugin")
            assert "X_PLUGIN_GONE" not in fields
            for name in FORWARDING:
                assert all(n == name and v != "eve" for n, v in fields.get(variable(name), []))
            assert len(fields["X_FORWARDED_FOR"]) == len(fields["X_FORWARDED_PROTO"]) == 1


async def test_the_request_id_has_one_spelling() -> None:
    chance = random.Random(SEED)
    for name in ("x-request-id", "x-trace-id"):
        async with rig(request_id_header=name) as test:
            client = await test.connect()
            for _ in range(40):
                fields = await seen(client, claims(chance, [name]), body=False)
                ((spelt, value),) = fields[variable(name)]
                assert (spelt, len(value)) == (name, 32)


async def test_no_spelling_claims_an_identity() -> None:
    chance = random.Random(SEED)
    file, keys = str(PLUGINS / "auth_custom.wasm"), {"keys": ["alice:key-of-alice"]}
    async with rig(plugins=[Plugin(name="auth_custom", file=file, config=keys)]) as test:
        client = await test.connect()
        for _ in range(150):
            lines = claims(chance, ["x-authenticated-identity"]) + "x-api-key: key-of-alice\r\n"
            fields = await seen(client, lines, body=False)
            assert fields["X_AUTHENTICATED_IDENTITY"] == [("x-authenticated-identity", "alice")]


async def test_a_name_with_an_underscore_and_another_odd_byte_does_not_pass() -> None:
    chance = random.Random(SEED)
    async with rig() as test:
        client = await test.connect()
        for _ in range(100):
            at = list("authenticated-identity")
            at[chance.randrange(1, 10)] = "_"
            at[chance.randrange(11, 20)] = chance.choice(PUNCTUATION[2:])
            fields = await seen(client, f"x_{''.join(at)}: eve\r\nx-other: me\r\n", body=False)
            assert [value for values in fields.values() for _, value in values if value == "eve"] == []
            assert fields["X_OTHER"] == [("x-other", "me")]
