"""Bounds of what one call may cause on the host: edits, log lines, values that may not leave."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from blitz._native import lib
from blitz.errors import PluginLoadError, PluginMemory, PluginTrap
from blitz.wasm import plugin as plugin_module
from blitz.wasm.engine import Engine
from blitz.wasm.logs import emit_log, tell_dropped

from .support import KIB, MIB, Guest, exchanging, running, sanitized

Wasm = Callable[[str], bytes]
HOST = (b"host", b"example.org")


def escaped(data: bytes) -> str:
    return "".join(f"\\{byte:02x}" for byte in data)


def calling(imports: str, data: bytes, body: str, *, hook: str = "both") -> str:
    """A module whose hooks do *body*; *data* stands at 0."""
    return f"""(module {imports} (memory (export "memory") 4) (data (i32.const 0) "{escaped(data)}")
      (func (export "blitz_buffer") (result i32) (i32.const 131072))
      (func (export "blitz_buffer_size") (result i32) (i32.const 65536))
      (func $body (local $n i32) {body})
      (func (export "process_request") (param i32 i32 i32 i32) (result i32) (call $body) (i32.const 0))
      (func (export "process_response") (param i32 i32 i32) (result i32) (call $body) (i32.const 0)))"""


def set_header(name: bytes, value: bytes, function: str = "set_header") -> str:
    two = function != "remove_header"
    return calling(
        f'(import "env" "{function}" (func $edit (param i32 i32 {"i32 i32" if two else ""})))',
        name + value,
        f"(call $edit (i32.const 0) (i32.const {len(name)})"
        + (f" (i32.const {len(name)}) (i32.const {len(value)}))" if two else ")"),
    )


CONNECTION_FIELDS = [
    b"Connection", b"content-length", b"Transfer-Encoding", b"upgrade", b"TE", b"trailer", b"Keep-Alive",
    b"proxy-connection", b"expect", b"HTTP2-Settings",
]  # fmt: skip
BAD_NAMES = [b"", b"a b", b"a:", b"x\r\ny", b"x\0", "größe".encode(), b"x\x7f", b"(x)"]
BAD_VALUES = [b"a\r\nset-cookie: b", b"a\nb", b"a\rb", b"\0", b"a\x01", b"\x7f"]


@pytest.mark.parametrize("function", ["set_header", "add_header", "remove_header"])
@pytest.mark.parametrize("name", CONNECTION_FIELDS)
def test_framing_and_connection_fields_are_refused(
    engine: Engine, wat: Wasm, name: bytes, function: str
) -> None:
    with running(engine, wat(set_header(name, b"1", function))) as guest, exchanging() as exchange:
        error = guest.fails(guest.request(exchange))
        assert isinstance(error, PluginTrap)
        assert error.message == (
            f"guest failed in process_request: {function}({name.decode()}): "
            "framing and connection-level fields are the gateway's own"
        )
        guest.renew()
        assert guest.response(exchange) == lib.BLITZ_FAULT
        assert exchange.request_fields() == [HOST] and exchange.response_fields() == []


@pytest.mark.parametrize("name", BAD_NAMES)
def test_a_name_must_be_a_token(engine: Engine, wat: Wasm, name: bytes) -> None:
    for function in ("set_header", "add_header", "remove_header"):
        with running(engine, wat(set_header(name, b"1", function))) as guest, exchanging() as exchange:
            message = guest.fails(guest.request(exchange)).message
            assert "the name is not a token" in message
            assert "\r" not in message and "\n" not in message and "\0" not in message


@pytest.mark.parametrize(
    ("name", "refused_in"),
    [
        pytest.param(b"content_length", "both", id="content_length"),
        pytest.param(b"Transfer.Encoding", "both", id="Transfer.Encoding"),
        pytest.param(b"x_forwarded_for", "both", id="x_forwarded_for"),
        pytest.param(b"x_user", "request", id="x_user"),
        pytest.param(b"x-user", "", id="x-user"),
    ],
)
def test_a_name_that_others_read_as_another(engine: Engine, wat: Wasm, name: bytes, refused_in: str) -> None:
    with running(engine, wat(set_header(name, b"1"))) as guest, exchanging() as exchange:
        code = guest.request(exchange)
        if refused_in:
            assert "others may read the name as another field's" in str(guest.fails(code))
            guest.renew()
        else:
            assert code & 3 == 0
        code = guest.response(exchange)
        assert (code == lib.BLITZ_FAULT) is (refused_in == "both")
    with running(engine, wat(set_header(name, b"1", "remove_header"))) as guest, exchanging() as exchange:
        assert guest.request(exchange) & 3 == 0


@pytest.mark.parametrize("value", BAD_VALUES)
def test_a_value_must_be_field_content(engine: Engine, wat: Wasm, value: bytes) -> None:
    for function in ("set_header", "add_header"):
        with running(engine, wat(set_header(b"x", value, function))) as guest, exchanging() as exchange:
            assert "x): the value is not field-content" in str(guest.fails(guest.request(exchange)))
            assert exchange.request_fields() == [HOST]


def test_host_can_be_replaced_in_a_request_only(engine: Engine, wat: Wasm) -> None:
    with running(engine, wat(set_header(b"Host", b"other.example"))) as guest, exchanging() as exchange:
        assert guest.request(exchange) & 3 == 0
        assert exchange.request_fields() == [(b"host", b"other.example")]
        assert "a response has no host" in str(guest.fails(guest.response(exchange)))
    for function in ("add_header", "remove_header"):
        with running(engine, wat(set_header(b"host", b"x", function))) as guest, exchanging() as exchange:
            assert "host can be replaced with set_header" in str(guest.fails(guest.request(exchange)))


def test_a_host_that_is_none_leaves_the_head_as_it_was(engine: Engine, wat: Wasm) -> None:
    edit = "(call $edit (i32.const {}) (i32.const 4) (i32.const 8) (i32.const 3))"
    imports = '(import "env" "set_header" (func $edit (param i32 i32 i32 i32)))'
    text = calling(imports, b"OtheHosta b", edit.format(0) + edit.format(4))
    with running(engine, wat(text)) as guest, exchanging() as exchange:
        error = guest.fails(guest.request(exchange))
        assert str(error).endswith("the edits cannot be applied: the request head would no longer be valid")
        assert exchange.request_fields() == [HOST]


@pytest.mark.parametrize(
    "path", [b"", b"relative", b"http://a/b", b"/a b", b"/a\r\nb", b"*", b"/a#b", b"/\xff"]
)
def test_a_path_must_be_origin_form(engine: Engine, wat: Wasm, path: bytes) -> None:
    text = calling(
        '(import "env" "set_path" (func $edit (param i32 i32)))', path,
        f"(call $edit (i32.const 0) (i32.const {len(path)}))",
    )  # fmt: skip
    with running(engine, wat(text)) as guest, exchanging() as exchange:
        assert "the path is not an origin-form target" in str(guest.fails(guest.request(exchange)))
        assert exchange.target == b"/"


@pytest.mark.parametrize("method", [b"", b"GET /", b"G\r\n"])
def test_a_method_must_be_a_token(engine: Engine, wat: Wasm, method: bytes) -> None:
    text = calling(
        '(import "env" "set_method" (func $edit (param i32 i32)))', method,
        f"(call $edit (i32.const 0) (i32.const {len(method)}))",
    )  # fmt: skip
    with running(engine, wat(text)) as guest, exchanging() as exchange:
        assert "the method is not a token" in str(guest.fails(guest.request(exchange)))


# CONNECT is never served; only an answer to HEAD has no body, so neither side may be told otherwise.
@pytest.mark.parametrize("method", [b"CONNECT", b"HEAD", b"get"])
def test_methods_that_cannot_be_changed_to(engine: Engine, wat: Wasm, method: bytes) -> None:
    text = calling(
        '(import "env" "set_method" (func $edit (param i32 i32)))', method,
        f"(call $edit (i32.const 0) (i32.const {len(method)}))",
    )  # fmt: skip
    with running(engine, wat(text)) as guest, exchanging() as exchange:
        assert "would no longer be valid" in str(guest.fails(guest.request(exchange)))
        assert exchange.method == b"GET"


@pytest.mark.parametrize("function", ["set_path", "set_method"])
def test_the_request_line_is_fixed_once_it_is_on_its_way(engine: Engine, wat: Wasm, function: str) -> None:
    text = calling(
        f'(import "env" "{function}" (func $edit (param i32 i32)))', b"/x",
        "(call $edit (i32.const 0) (i32.const 2))",
    )  # fmt: skip
    with running(engine, wat(text)) as guest, exchanging() as exchange:
        assert f"{function}: only process_request can change it" in str(guest.fails(guest.response(exchange)))


@pytest.mark.parametrize("status", [0, 99, 100, 101, 199, 600, 1000, -1, 2**31 - 1])
def test_a_status_must_be_final(engine: Engine, wat: Wasm, status: int) -> None:
    text = calling(
        '(import "env" "set_status" (func $edit (param i32)))', b"", f"(call $edit (i32.const {status}))"
    )
    with running(engine, wat(text)) as guest, exchanging() as exchange:
        error = guest.fails(guest.request(exchange))
        assert f"set_status({status}): the status is not within 200 to 599" in str(error)


def test_edits_outside_a_message_are_refused(engine: Engine, wat: Wasm) -> None:
    text = set_header(b"x", b"y").replace(
        '(func (export "process_request")',
        '(func (export "init") (result i32) (call $body) (i32.const 0)) (func (export "process_request")',
    )
    with running(engine, wat(text), started=False) as guest:
        error = guest.fails(guest.start())
        assert error.message == (
            "guest failed in init: set_header: "
            "there is no message outside process_request and process_response"
        )


LOOP = (
    "(loop $again {} (br_if $again"
    " (i32.lt_u (local.tee $n (i32.add (local.get $n) (i32.const 1))) (i32.const {}))))"
)


def test_a_million_edits_stop_at_the_limit(engine: Engine, wat: Wasm) -> None:
    call = "(call $edit (i32.const 0) (i32.const 1) (i32.const 1) (i32.const 1))"
    text = calling(
        '(import "env" "set_header" (func $edit (param i32 i32 i32 i32)))',
        b"xy",
        LOOP.format(call, 1_000_000),
    )
    with running(engine, wat(text)) as guest, exchanging() as exchange:
        error = guest.fails(guest.request(exchange))
        assert isinstance(error, PluginMemory)
        assert "set_header(x): the call made more edits than the plugin may" in str(error)
    fits = calling(
        '(import "env" "set_header" (func $edit (param i32 i32 i32 i32)))', b"xy",
        LOOP.format(call, plugin_module.MAX_EDITS),
    )  # fmt: skip
    with running(engine, wat(fits)) as guest, exchanging() as exchange:
        assert guest.request(exchange) & 3 == 0
        assert exchange.request_fields() == [HOST, (b"x", b"y")]


def test_more_fields_than_a_head_holds_change_nothing(engine: Engine, wat: Wasm) -> None:
    call = "(call $edit (i32.const 0) (i32.const 1) (i32.const 1) (i32.const 1))"
    imports = '(import "env" "add_header" (func $edit (param i32 i32 i32 i32)))'
    with (
        running(engine, wat(calling(imports, b"xy", LOOP.format(call, 256)))) as guest,
        exchanging() as exchange,
    ):
        error = guest.fails(guest.request(exchange))
        assert "the request head has no room for more fields" in str(error)
        assert exchange.request_fields() == [HOST]
    with (
        running(engine, wat(calling(imports, b"xy", LOOP.format(call, 255)))) as guest,
        exchanging() as exchange,
    ):
        assert guest.request(exchange) & 3 == 0
        assert len(exchange.request_fields()) == 256


def test_the_bytes_of_edits_are_bounded(engine: Engine, wat: Wasm) -> None:
    limit = plugin_module.MAX_EDITS_SIZE
    body = "(call $body (i32.const 0) (i32.const {}))"
    imports = '(import "env" "set_body" (func $body (param i32 i32)))'

    def sized(size: int) -> str:
        return calling(imports, b"", body.format(size)).replace("$body (local", "$hook (local").replace(
            "(call $body) ", "(call $hook) "
        )  # fmt: skip

    # the guest's whole memory is 256 KiB, as is the limit beside max_body
    with running(engine, wat(sized(limit)), max_body=0) as guest, exchanging() as exchange:
        assert guest.request(exchange) == lib.BLITZ_R_EDITS | lib.BLITZ_R_BODY
        assert exchange.new_body is not None and len(exchange.new_body) == limit
    grown = wat(sized(limit + 1).replace('"memory") 4', '"memory") 5'))
    with running(engine, grown, max_body=0) as guest, exchanging() as exchange:
        error = guest.fails(guest.request(exchange))
        assert isinstance(error, PluginMemory)
        assert "set_body(): the edits of the call take more bytes than the plugin may" in str(error)


def test_the_last_body_wins_and_counts_once(engine: Engine, wat: Wasm) -> None:
    text = """(module (import "env" "set_body" (func $set (param i32 i32))) (memory (export "memory") 4)
      (data (i32.const 0) "abc") (func (export "blitz_buffer") (result i32) (i32.const 1024))
      (func (export "blitz_buffer_size") (result i32) (i32.const 1024))
      (func (export "process_request") (param i32 i32 i32 i32) (result i32)
        (call $set (i32.const 0) (i32.const 200000)) (call $set (i32.const 0) (i32.const 200000))
        (call $set (i32.const 0) (i32.const 3)) (i32.const 0)))"""
    with running(engine, wat(text), max_body=0) as guest, exchanging() as exchange:
        assert guest.request(exchange) & 3 == 0
        assert exchange.new_body == b"abc"


def test_an_answer_that_has_no_body_must_have_none(engine: Engine, guest_wasm: Wasm, wat: Wasm) -> None:
    text = """(module (import "env" "set_body" (func $set (param i32 i32))) (import "env" "set_status"
      (func $status (param i32))) (memory (export "memory") 1)
      (func (export "blitz_buffer") (result i32) (i32.const 1024))
      (func (export "blitz_buffer_size") (result i32) (i32.const 1024))
      (func (export "process_request") (param i32 i32 i32 i32) (result i32)
        (call $status (i32.const 204)) (call $set (i32.const 0) (i32.const %d)) (i32.const 1)))"""
    with running(engine, wat(text % 0)) as guest, exchanging() as exchange:
        assert guest.request(exchange) & 3 == lib.BLITZ_V_STOP
        assert exchange.response_fields() == []
    with running(engine, wat(text % 5)) as guest, exchanging() as exchange:
        error = guest.fails(guest.request(exchange))
        assert "the answer has status 204, which has no body, and a body of 5 bytes" in str(error)


# ---------------------------------------------------------------- log lines


def log(data: bytes, *, level: bytes = b"info", times: int = 1) -> str:
    call = (
        f"(call $log (i32.const 0) (i32.const {len(level)}) (i32.const {len(level)}) (i32.const {len(data)}))"
    )
    imports = '(import "env" "log" (func $log (param i32 i32 i32 i32)))'
    return calling(imports, level + data, LOOP.format(call, times))


@pytest.mark.parametrize(
    ("sent", "line"),
    [
        pytest.param(b"plain text", "plain text", id="plain"),
        pytest.param(b"two\nlines\r\n\tx", r"two\nlines\r\n\tx", id="breaks"),
        pytest.param(b"\x1b[31mred\x00\x7f", r"\x1b[31mred\x00\x7f", id="controls"),
        pytest.param("größe €".encode(), "größe €", id="utf-8"),
        pytest.param(b"bad \xff\xc0\xaf \xed\xa0\x80 \xf5", "bad ��� ��� �", id="ill-formed"),
        pytest.param("a\u0085b\u2028c\u2029d".encode(), r"a\u0085b\u2028c\u2029d", id="line separators"),
        pytest.param("a\u202eb\u2066c\u200fd".encode(), r"a\u202eb\u2066c\u200fd", id="direction"),
        pytest.param("a\u200bb\ufeffc\U000e0041d".encode(), r"a\u200bb\ufeffc\U000e0041d", id="invisible"),
        pytest.param(b"", "", id="empty"),
    ],
)
def test_a_line_is_one_line(engine: Engine, wat: Wasm, sent: bytes, line: str) -> None:
    with running(engine, wat(log(sent))) as guest, exchanging() as exchange:
        assert guest.request(exchange) == lib.BLITZ_R_LOGS
        assert guest.instance.take_log() == [(2, line, False)]
        assert guest.instance.take_log() == []


@pytest.mark.parametrize(
    ("level", "number"),
    [
        (b"trace", 0),
        (b"debug", 1),
        (b"info", 2),
        (b"warn", 3),
        (b"error", 4),
        (b"ERROR", 4),
        (b"fatal", 2),
        (b"", 2),
    ],
)
def test_levels(engine: Engine, wat: Wasm, level: bytes, number: int) -> None:
    with running(engine, wat(log(b"x", level=level))) as guest, exchanging() as exchange:
        for minimum in range(6):
            guest.plugin.set_log_level(minimum)
            guest.request(exchange)
            assert guest.instance.take_log() == ([(number, "x", False)] if number >= minimum else [])


def test_a_line_that_is_too_long_is_cut_and_marked(engine: Engine, wat: Wasm) -> None:
    with running(engine, wat(log(b"a" * 200_000))) as guest, exchanging() as exchange:
        guest.request(exchange)
        ((level, text, truncated),) = guest.instance.take_log()
        assert (level, truncated) == (2, True)
        assert text == "a" * (plugin_module.MAX_LOG_SIZE - 8)


def test_endless_lines_are_dropped_and_counted(
    engine: Engine, wat: Wasm, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(plugin_module, "LOG_LINES_PER_SECOND", 1)
    monkeypatch.setattr(plugin_module, "LOG_BURST", 3)
    with running(engine, wat(log(b"line", times=10))) as guest, exchanging() as exchange:
        guest.request(exchange)
        assert guest.instance.take_log() == [(2, "line", False)] * 3
        guest.request(exchange)
        assert guest.instance.take_log() == []  # nor is the count told with every line that finds room
        assert guest.plugin.take_dropped(60.0) == (0, pytest.approx(0, abs=59))
        count, seconds = guest.plugin.take_dropped(0.0)
        assert count == 17
        assert 0 < seconds < 60
        assert guest.plugin.take_dropped(0.0) == (0, 0.0)


def test_long_lines_count_for_more(engine: Engine, wat: Wasm, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(plugin_module, "LOG_LINES_PER_SECOND", 1)
    monkeypatch.setattr(plugin_module, "LOG_BURST", 20)
    with running(engine, wat(log(b"x" * 4096, times=10))) as guest, exchanging() as exchange:
        guest.request(exchange)
        assert len(guest.instance.take_log()) == 4  # of five lines' room each
        assert guest.plugin.take_dropped(0.0)[0] == 6


def test_dropped_lines_are_told_once_and_when_the_plugin_ends(
    engine: Engine, wat: Wasm, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(plugin_module, "LOG_LINES_PER_SECOND", 1)
    monkeypatch.setattr(plugin_module, "LOG_BURST", 3)
    caplog.set_level("INFO", "blitz.plugin")
    with running(engine, wat(log(b"line", times=10))) as guest, exchanging() as exchange:
        for _ in range(150):
            guest.request(exchange)
            emit_log(guest.instance)
        written = sum(len(record.lines) for record in caplog.records)  # type: ignore[attr-defined]
        tell_dropped(guest.plugin, 0.0)
        tell_dropped(guest.plugin, 0.0)
    (told,) = [record for record in caplog.records if not hasattr(record, "lines")]
    assert told.more == 1500 - written  # type: ignore[attr-defined]
    assert told.getMessage().startswith(
        f"[WASM Plugin] {guest.plugin.spec.name}: {1500 - written:,} more lines"
    )


def test_the_log_of_one_call_is_bounded(engine: Engine, wat: Wasm, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(plugin_module, "LOG_LINES_PER_SECOND", 0)
    with running(engine, wat(log(b"", times=100_000))) as guest, exchanging() as exchange:
        guest.request(exchange)
        lines = guest.instance.take_log()
        assert len(lines) == plugin_module.MAX_LOG_LINES
        assert guest.plugin.take_dropped(0.0)[0] == 100_000 - plugin_module.MAX_LOG_LINES
    with running(engine, wat(log(b"x" * 1000, times=100_000))) as guest, exchanging() as exchange:
        guest.request(exchange)
        assert sum(len(text) for _, text, _ in guest.instance.take_log()) <= plugin_module.MAX_LOG_SIZE


# ---------------------------------------------------------------- beside the memory


def beside(tables: int, global_vectors: int) -> str:
    """A module with so many full tables, and globals of 16 bytes."""
    full = plugin_module.MAX_TABLE_ELEMENTS
    grow = (f"(drop (table.grow {i} (ref.func $f) (i32.const {full})))" for i in range(tables))
    declared = "(table 0 funcref)" * tables + "(global v128 (v128.const i64x2 1 1))" * global_vectors
    return f"""(module (memory (export "memory") 0) {declared} (func $f) (elem declare func $f)
      (func (export "blitz_alloc") (param i32) (result i32) unreachable)
      (func (export "init") (result i32) {"".join(grow)} (i32.const 0))
      (func (export "process_request") (param i32 i32 i32 i32) (result i32) (i32.const 0)))"""


@pytest.mark.parametrize(("tables", "global_vectors"), [(5, 0), (0, 70_000)], ids=["tables", "globals"])
def test_more_tables_and_globals_than_a_slot_holds_are_refused(
    engine: Engine, wat: Wasm, tables: int, global_vectors: int
) -> None:
    with pytest.raises(PluginLoadError, match="exceeds"):
        Guest(engine, wat(beside(tables, global_vectors)))


@sanitized
def test_tables_and_globals_of_an_instance_are_bounded(engine: Engine, wat: Wasm) -> None:
    count = 3
    with running(engine, wat(beside(4, 60_000))) as guest:
        before = resident()
        instances = [guest.plugin.new_instance() for _ in range(count)]
        codes = {guest.finish(instance.start(), instance) for instance in instances}
        took = resident() - before
        for instance in instances:
            instance.free()
        assert codes == {0}
        # What is left of a megabyte is for the calls' stacks.
        assert took < count * (640 * KIB + 2 * MIB)


def resident() -> int:
    """Bytes of memory that the process holds."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * 4096
