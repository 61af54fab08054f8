"""The measures door: what is counted, with whatever labels, is told as it was counted, by all who count."""

from __future__ import annotations

import math
import os
from collections import Counter

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from prometheus_client.openmetrics import parser as openmetrics
from prometheus_client.parser import text_string_to_metric_families

from blitz._native import ffi, lib
from blitz.measures import Measures, SharedMeasures, figures
from blitz.measures.exposition import exposition

LABELS = st.text(max_size=30)
COUNTS = st.lists(st.tuples(st.integers(0, 2), LABELS, st.integers(0, 2**40)), max_size=30)
SECONDS = st.floats(min_value=0, max_value=1e6, allow_nan=False)


@given(COUNTS)
@settings(max_examples=100, deadline=None)
def test_counts_of_all_writers_are_added_and_told(counts: list[tuple[int, str, int]]) -> None:
    shared = SharedMeasures(3)
    writers = [Measures(shared, slot) for slot in range(3)]
    expected: Counter[str] = Counter()
    for writer, label, n in counts:
        # What is no UTF-8 cannot come from a configuration.
        writers[writer].count(figures.PLUGIN_SKIPPED, label, n=n)
        expected[label] += n
    merged = shared.merged()
    for label, n in expected.items():
        assert merged.value(figures.PLUGIN_SKIPPED, label) == n
    for text, read in (
        (exposition(merged, openmetrics=False), text_string_to_metric_families),
        (exposition(merged, openmetrics=True), openmetrics.text_string_to_metric_families),
    ):
        told = {
            sample.labels["plugin"]: sample.value
            for family in read(text.decode())
            for sample in family.samples
            if sample.name == "blitz_plugin_skipped_total"
        }
        assert told == expected


@given(st.lists(SECONDS, min_size=1, max_size=50))
@settings(max_examples=100, deadline=None)
def test_a_histogram_has_each_value_in_the_bucket_that_bounds_it(values: list[float]) -> None:
    measures = Measures()
    for one in values:
        measures.observe(figures.LOOP_LAG, one)
    text = exposition(measures.shared.merged(), openmetrics=False).decode()
    families = {family.name: family for family in text_string_to_metric_families(text)}
    for sample in families["blitz_event_loop_lag_seconds"].samples:
        if sample.name.endswith("_bucket"):
            assert sample.value == sum(one <= float(sample.labels["le"]) for one in values)
        elif sample.name.endswith("_sum"):
            assert math.isclose(sample.value, sum(values), rel_tol=1e-9)


@pytest.mark.parametrize("exponent", range(-20, 7))
def test_a_bound_is_in_its_own_bucket(exponent: int) -> None:
    measures = Measures()
    measures.observe(figures.LOOP_LAG, 2.0**exponent)
    measures.observe(figures.LOOP_LAG, math.nextafter(2.0**exponent, math.inf))
    cells = measures.cells(figures.LOOP_LAG)
    assert (cells[exponent + 20], cells[exponent + 21]) == (1, 1)


def test_who_comes_after_a_crash_counts_on_and_gauges_are_gone() -> None:
    shared = SharedMeasures(2)
    pid = os.fork()
    if not pid:
        try:
            measures = Measures(shared, 1)
            measures.count(figures.REFUSED, n=5)
            measures.observe(figures.LOOP_LAG, 0.5)
            measures.tell([(figures.CONNECTIONS, 7, ())])
        finally:
            os._exit(0)
    os.waitpid(pid, 0)
    assert shared.merged().value(figures.CONNECTIONS) == 7
    shared.forget_gauges(1)
    assert shared.merged().value(figures.CONNECTIONS) == 0
    Measures(shared, 1).count(figures.REFUSED)
    merged = shared.merged()
    assert merged.value(figures.REFUSED) == 6
    assert merged.value(figures.LOOP_LAG) == 1


@pytest.mark.parametrize(
    ("figure", "told"), [(figures.CONNECTIONS, 5.0), (figures.GENERATION, 3.0), (figures.RELOAD_SUCCESS, 2.0)]
)
def test_what_becomes_of_a_gauge_of_several_its_declaration_says(figure: figures.Figure, told: float) -> None:
    shared = SharedMeasures(3)
    for slot, value in ((0, 2.0), (2, 3.0)):
        Measures(shared, slot).tell([(figure, value, ())])
    assert shared.merged().value(figure) == told


def test_gauges_that_are_told_no_more_are_gone() -> None:
    measures = Measures()
    measures.tell([(figures.UPSTREAM_UP, 1, ("u", "a:1")), (figures.UPSTREAM_UP, 1, ("u", "b:1"))])
    measures.tell([(figures.UPSTREAM_UP, 0, ("u", "b:1"))])
    text = exposition(measures.shared.merged(), openmetrics=False)
    assert b"a:1" not in text
    assert b'blitz_upstream_up{upstream="u",endpoint="b:1"} 0\n' in text


def test_what_others_count_grows_by_what_came_since() -> None:
    measures, one, other = Measures(), object(), object()
    measures.follow([(one, figures.PLUGIN_CREATED, 3, ("p",))])
    measures.follow([(one, figures.PLUGIN_CREATED, 5, ("p",)), (other, figures.PLUGIN_CREATED, 2, ("p",))])
    measures.follow([(other, figures.PLUGIN_CREATED, 2, ("p",))])  # the old version is gone
    assert measures.shared.merged().value(figures.PLUGIN_CREATED, "p") == 7


def test_series_without_room_are_counted_and_harm_nothing() -> None:
    measures = Measures()
    long = "x" * 1900  # of what a label may be
    for i in range(2000):
        measures.observe(figures.REQUEST_SECONDS, 0.1, f"{long}{i}")
    measures.count(figures.PLUGIN_SKIPPED, "y" * 3000)
    merged = measures.shared.merged()
    assert merged.refused > 500
    kept = sum(merged.value(figures.REQUEST_SECONDS, f"{long}{i}") for i in range(2000))
    assert kept + merged.refused == 2001
    assert len(exposition(merged, openmetrics=True)) > 1_000_000


@given(st.binary(max_size=12), st.integers(0, 2**32 - 1))
@settings(max_examples=200, deadline=None)
def test_no_client_and_no_upstream_chooses_a_label(method: bytes, status: int) -> None:
    measures = Measures()
    text = {"ptr": ffi.from_buffer("uint8_t[]", method), "len": len(method)}
    route = measures.route("r")
    for _ in range(2):
        lib.blitz_route_measure(route, ffi.new("blitz_measured *", {"method": text, "status": status}))
    told = exposition(measures.shared.merged(), openmetrics=False).decode()
    (requests,) = [one for one in text_string_to_metric_families(told) if one.name == "blitz_requests"]
    (sample,) = requests.samples
    assert sample.value == 2 and sample.labels["route"] == "r"
    known = {"GET", "HEAD", "POST", "PUT", "DELETE", "PATCH", "OPTIONS", "TRACE", "CONNECT"}
    assert sample.labels["method"] == (method.decode() if method.decode("latin-1") in known else "other")
    code = sample.labels["code"]
    assert code == str(status) if code.isdigit() else code in ("other", f"{status // 100}xx")


def test_who_comes_after_finds_many_series_again() -> None:
    shared = SharedMeasures()
    for _ in range(2):
        measures = Measures(shared)
        for i in range(1000):
            measures.count(figures.PLUGIN_SKIPPED, f"p{i}")
    merged = shared.merged()
    assert [merged.value(figures.PLUGIN_SKIPPED, f"p{i}") for i in (0, 500, 999)] == [2, 2, 2]
