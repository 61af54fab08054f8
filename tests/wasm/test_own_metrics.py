"""Metrics of a plugin's own: names that are one series each, bounds, and what is told of them."""

from __future__ import annotations

import contextlib
import re
from collections.abc import Callable, Iterator

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from prometheus_client.parser import text_string_to_metric_families

from blitz.measures import Measures, SharedMeasures, figures
from blitz.measures.exposition import exposition
from blitz.wasm.engine import Engine

from .support import Exchange, exchanging, running

Wasm = Callable[[str], bytes]

# The body is the name of the metric.
GUEST = """(module
  (import "env" "count" (func $count (param i32 i32 i64)))
  (import "env" "gauge" (func $gauge (param i32 i32 f64)))
  (import "env" "observe" (func $observe (param i32 i32 f64)))
  (import "env" "get_body" (func $body (param i32 i32) (result i32)))
  (memory (export "memory") 1)
  (func (export "blitz_buffer") (result i32) (i32.const 1024))
  (func (export "blitz_buffer_size") (result i32) (i32.const 4096))
  (func (export "process_request") (param i32 i32 i32 i32) (result i32)
    (call CALL (i32.const 8192) (call $body (i32.const 8192) (i32.const 4096)) VALUE)
    (i32.const 0)))"""
VALUES = {"$count": "(i64.const 3)", "$gauge": "(f64.const 2.5)", "$observe": "(f64.const 0.75)"}
NAME = r"[A-Za-z_][A-Za-z0-9_]{0,63}"
LABEL = rf'({NAME})="([ !#-\[\]-~]+)"'


def guest_that(call: str, value: str = "") -> str:
    return GUEST.replace("CALL", call).replace("VALUE", value or VALUES[call])


@contextlib.contextmanager
def naming(name: str) -> Iterator[Exchange]:
    with exchanging() as exchange:
        exchange.body(name.encode())
        yield exchange


def told(measures: Measures) -> dict[tuple[str, tuple[tuple[str, str], ...]], float]:
    text = exposition(measures.shared.merged(), openmetrics=False).decode()
    return {
        (sample.name, tuple(sample.labels.items())): sample.value
        for family in text_string_to_metric_families(text)
        if family.name in ("blitz_plugin_count", "blitz_plugin_gauge", "blitz_plugin_observed")
        for sample in family.samples
    }


def is_name(spelt: str) -> bool:
    """What the page says of names, over again."""
    found = re.fullmatch(rf"{NAME}(\{{{LABEL}(,{LABEL}){{0,3}}\}})?", spelt)
    if not found or len(spelt) > 256:
        return False
    labels = [name for name, _ in re.findall(LABEL, spelt)]
    reserved = {"plugin", "name", "le"}
    in_order = labels == sorted(set(labels))
    return in_order and not reserved & set(labels) and not any(name.startswith("__") for name in labels)


def test_what_is_counted_is_told(engine: Engine, wat: Wasm) -> None:
    measures = Measures()
    for call in VALUES:
        with running(engine, wat(guest_that(call))) as guest:
            guest.instance.plugin.count_in(measures.plugin("p"), measures)
            for name in ("hits", "hits", 'hits{a="x y",b="{},="}'):
                with naming(name) as exchange:
                    assert guest.request(exchange) == 0
    found = told(measures)
    plain, more = (("plugin", "p"), ("name", "hits")), (("a", "x y"), ("b", "{},="))
    assert found["blitz_plugin_count_total", plain] == 6
    assert found["blitz_plugin_count_total", plain + more] == 3
    assert found["blitz_plugin_gauge", plain] == 2.5
    assert found["blitz_plugin_observed_sum", plain] == 1.5
    assert found["blitz_plugin_observed_bucket", (*plain, ("le", "0.5"))] == 0
    assert found["blitz_plugin_observed_bucket", (*plain, ("le", "1.0"))] == 2


def test_where_nobody_counts_the_calls_do_nothing(engine: Engine, wat: Wasm) -> None:
    with running(engine, wat(guest_that("$count"))) as guest, naming("a") as exchange:
        assert guest.request(exchange) == 0


PIECES = st.sampled_from(
    [
        "a",
        "b1",
        "_x",
        "__y",
        "plugin",
        "name",
        "le",
        "{",
        "}",
        ",",
        '="',
        '"',
        "\\",
        "=",
        "x",
        " ",
        "9",
        "\n",
        "\x7f",
        "é",
    ]
)
SPELT = st.one_of(
    st.lists(PIECES, max_size=12).map("".join),
    st.lists(st.tuples(PIECES, PIECES), max_size=5).map(
        lambda pairs: "m{" + ",".join(f'{name}="{value}"' for name, value in pairs) + "}"
    ),
)


@pytest.mark.parametrize("counted", [True, False])
def test_names_have_one_spelling_or_are_refused(engine: Engine, wat: Wasm, counted: bool) -> None:
    with running(engine, wat(guest_that("$count"))) as guest:

        @given(SPELT)
        @settings(max_examples=150, deadline=None)
        def check(spelt: str) -> None:
            measures = Measures()
            if counted:
                guest.instance.plugin.count_in(measures.plugin('p"\\'), measures)
            with naming(spelt) as exchange:
                code = guest.request(exchange)
                if is_name(spelt):
                    assert code == 0
                    assert len(told(measures)) == counted
                else:
                    assert "count: the name is none of a metric" in str(guest.fails(code))
                    guest.renew()
                    assert not told(measures)

        check()
        guest.instance.plugin.count_in(Measures().plugin("p"), None)


@pytest.mark.parametrize(
    ("call", "value", "sentence"),
    [
        ("$count", "(i64.const -1)", "count: the delta is negative"),
        ("$gauge", "(f64.const nan)", "gauge: the value is no finite number"),
        ("$gauge", "(f64.const inf)", "gauge: the value is no finite number"),
        ("$observe", "(f64.const nan)", "observe: the value is no finite number of 0 or more"),
        ("$observe", "(f64.const -0.5)", "observe: the value is no finite number of 0 or more"),
    ],
)
def test_values_that_make_no_sense(engine: Engine, wat: Wasm, call: str, value: str, sentence: str) -> None:
    with running(engine, wat(guest_that(call, value))) as guest, naming("a") as exchange:
        assert sentence in str(guest.fails(guest.request(exchange)))


def test_a_counter_stops_at_its_end_and_does_not_go_back(engine: Engine, wat: Wasm) -> None:
    measures = Measures()
    with running(engine, wat(guest_that("$count", f"(i64.const {2**63 - 1})"))) as guest:
        guest.instance.plugin.count_in(measures.plugin("p"), measures)
        for _ in range(4):
            with naming("a") as exchange:
                assert guest.request(exchange) == 0
    assert told(measures)["blitz_plugin_count_total", (("plugin", "p"), ("name", "a"))] == 2**64 - 1


def test_a_plugin_has_so_many_names_and_no_more_whoever_had_the_slot(engine: Engine, wat: Wasm) -> None:
    shared = SharedMeasures()
    with running(engine, wat(guest_that("$observe"))) as guest:
        for round_ in range(3):  # the worker that had the slot has crashed
            measures = Measures(shared)
            guest.instance.plugin.count_in(measures.plugin("p"), measures)
            for i in range(70):
                with naming(f"m{round_}_{i}") as exchange:
                    assert guest.request(exchange) == 0
    names = {labels[1][1] for (name, labels) in told(measures) if name.endswith("_count")}
    assert len(names) == 100
    assert shared.merged().value(figures.CUSTOM_REFUSED, "p") == 110


def test_plugins_leave_room_for_the_gateway(engine: Engine, wat: Wasm) -> None:
    measures = Measures()
    with running(engine, wat(guest_that("$observe"))) as guest:
        for plugin in range(30):
            guest.instance.plugin.count_in(measures.plugin(f"p{plugin}"), measures)
            for i in range(100):
                with naming(f"m{i}") as exchange:
                    assert guest.request(exchange) == 0
    merged = measures.shared.merged()
    assert sum(merged.value(figures.CUSTOM_REFUSED, f"p{plugin}") for plugin in range(30)) > 0
    assert not merged.refused
    measures.route("new")
    assert not measures.shared.merged().refused
