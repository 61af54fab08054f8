"""What ``/metrics`` tells: figures that agree with the traffic, and text that others can read."""

from __future__ import annotations

import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import trio
from prometheus_client.openmetrics import parser as openmetrics
from prometheus_client.parser import text_string_to_metric_families

import blitz
from blitz.config import Admin, Answer, Log, Plugin, Route
from blitz.measures import FIGURES
from blitz.measures.exposition import wants_openmetrics
from tests.admin.test_listener import ask
from tests.server.harness import Served, rig, until

ROOT = Path(__file__).resolve().parents[2]
ON = Admin(listen="127.0.0.1:0")
PARSERS = pytest.mark.parametrize("parser", ["auto", "h11"])
ACCEPT = "application/openmetrics-text;version=1.0.0;q=0.5,text/plain;version=0.0.4;q=0.3"
Samples = dict[tuple[str, tuple[tuple[str, str], ...]], float]


async def text_of(gateway: blitz.Gateway, accept: str = "") -> str:
    fields = [f"accept: {accept}"] if accept else []
    status, headers, body = await ask(gateway.admin_addresses[0], "/metrics", *fields)
    assert status == 200
    kind = "application/openmetrics-text; version=1.0.0" if accept else "text/plain; version=0.0.4"
    assert headers["content-type"] == f"{kind}; charset=utf-8"
    return body.decode()


def samples_of(text: str) -> Samples:
    """By name and labels; no two are the same."""
    found: Samples = {}
    for family in text_string_to_metric_families(text):
        for sample in family.samples:
            key = sample.name, tuple(sorted(sample.labels.items()))
            assert key not in found
            found[key] = sample.value
    return found


async def samples(gateway: blitz.Gateway) -> Samples:
    return samples_of(await text_of(gateway))


def value(found: Samples, name: str, **labels: str) -> float:
    return found.get((name, tuple(sorted(labels.items()))), 0.0)


def histograms(text: str) -> Iterator[tuple[str, list[float], float]]:
    """Name with labels, cumulated buckets, count."""
    found: dict[tuple[str, Any], dict[str, Any]] = {}
    for family in text_string_to_metric_families(text):
        if family.type != "histogram":
            continue
        for sample in family.samples:
            labels = {name: one for name, one in sample.labels.items() if name != "le"}
            one = found.setdefault((family.name, tuple(labels.items())), {"buckets": []})
            if sample.name.endswith("_bucket"):
                one["buckets"].append(sample.value)
            else:
                one[sample.name.removeprefix(family.name)] = sample.value
    for (name, labels), one in found.items():
        yield f"{name}{labels}", one["buckets"], one["_count"]


@PARSERS
@pytest.mark.parametrize("logged", [False, True])
async def test_figures_agree_with_the_requests_that_were_sent(parser: str, logged: bool) -> None:
    log = Log(access="json") if logged else Log()
    routes = [
        Route(name="api", upstream="main"),
        Route(name="here", path_prefix="/here", answer=Answer(status=404)),
    ]
    async with rig(admin=ON, routes=routes, parser=parser, log=log) as test:
        for _ in range(3):
            assert (await test.get("/a"))[0] == 200
        assert (await test.get("/here"))[0] == 404
        client = await test.connect()
        await client.send(b"PROPFIND /a HTTP/1.1\r\nHost: h\r\nContent-Length: 5\r\n\r\nhello")
        assert (await client.answer())[0] == 200
        await client.send(b"\x00\r\n\r\n")
        assert (await client.answer())[0] == 400
        found = await samples(test.gateway)
        count = "blitz_requests_total"
        assert value(found, count, route="api", method="GET", code="200") == 3
        assert value(found, count, route="here", method="GET", code="404") == 1
        assert value(found, count, route="api", method="other", code="200") == 1
        assert value(found, count, route="", method="other", code="400") == 1
        assert sum(one for (name, _), one in found.items() if name == count) == 6
        for split in ("request", "gateway", "upstream"):
            assert value(found, f"blitz_{split}_duration_seconds_count", route="api") == 4
        assert value(found, "blitz_upstream_duration_seconds_count", route="here") == 0
        assert value(found, "blitz_plugins_duration_seconds_count", route="api") == 0
        assert value(found, "blitz_request_body_bytes_total", route="api") == 5
        assert value(found, "blitz_exchanges_total") == 5
        assert value(found, "blitz_client_errors_total") == 1
        assert value(found, "blitz_connections_open") == 1
        endpoint = {"upstream": "main", "endpoint": test.upstream.endpoint.removeprefix("http://")}
        assert value(found, "blitz_upstream_up", **endpoint) == 1
        assert value(found, "blitz_upstream_connections_idle", **endpoint) >= 1
        assert value(found, "blitz_config_generation") == value(found, "blitz_workers") == 1


@PARSERS
async def test_where_the_time_went_adds_up(parser: str) -> None:
    plugins = [Plugin(name="log", file=str(ROOT / "plugins" / "request_logger.wasm"))]
    async with rig(
        admin=ON, routes=[Route(name="r", upstream="main", plugins=["log"])], parser=parser, plugins=plugins
    ) as test:
        for _ in range(5):
            assert (await test.get())[0] == 200
        found = await samples(test.gateway)
        total, *parts = (
            value(found, f"blitz_{split}_duration_seconds_sum", route="r")
            for split in ("request", "gateway", "plugins", "upstream")
        )
        assert math.isclose(total, sum(parts), rel_tol=1e-6)
        assert all(part > 0 for part in parts)
        hooks = ["process_request", "process_response"]
        for hook in hooks:
            assert value(found, "blitz_plugin_calls_total", plugin="log", hook=hook, verdict="continue") == 5
            assert value(found, "blitz_plugin_duration_seconds_count", plugin="log", hook=hook) == 5
        spent = sum(
            value(found, "blitz_plugin_duration_seconds_sum", plugin="log", hook=hook) for hook in hooks
        )
        assert math.isclose(spent, parts[1], rel_tol=1e-6)
        assert value(found, "blitz_plugin_instances_created_total", plugin="log") >= 1
        assert value(found, "blitz_plugin_memory_high_water_bytes", plugin="log") >= 65536


HOSTILE = ['a"} 1\nblitz_requests_total{route="x', "back\\slash\\n", "ünï©ode ✓", "}{,=", "# EOF"]


async def test_names_of_any_kind_stay_within_their_labels() -> None:
    routes = [Route(name=name, path_prefix=f"/{i}", answer=Answer()) for i, name in enumerate(HOSTILE)]
    async with rig(admin=ON, routes=routes) as test:
        for i in range(len(routes)):
            await test.get(f"/{i}")
        found = await samples(test.gateway)
        for name in HOSTILE:
            assert value(found, "blitz_requests_total", route=name, method="GET", code="200") == 1
        told = await text_of(test.gateway, ACCEPT)
        families = list(openmetrics.text_string_to_metric_families(told))
        requests = next(family for family in families if family.name == "blitz_requests")
        assert {sample.labels["route"] for sample in requests.samples} == set(HOSTILE)


async def test_both_formats_tell_every_family_and_buckets_that_grow() -> None:
    async with rig(admin=ON) as test:
        await test.get()
        text = await text_of(test.gateway)
        plain = {family.name: family for family in text_string_to_metric_families(text)}
        modern = {
            family.name: family
            for family in openmetrics.text_string_to_metric_families(await text_of(test.gateway, ACCEPT))
        }
        for figure in FIGURES:
            name = figure.name.removesuffix("_total")
            assert plain[name].type == modern[name].type == figure.type
            assert plain[name].documentation == modern[name].documentation == figure.help
        for name, buckets, count in histograms(text):
            assert buckets == sorted(buckets) and buckets[-1] == count, name


@pytest.mark.parametrize(
    ("accept", "modern"),
    [
        ("", False),
        ("*/*", False),
        ("application/openmetrics-text", True),
        ("text/plain;q=0.5, application/openmetrics-text; version=1.0.0; q=0.4", True),
        ("application/openmetrics-text;q=0, text/plain", False),
        ("application/openmetrics-text;q=0.000", False),
        (";,;;q=,application/", False),
    ],
)
def test_who_asks_for_openmetrics_gets_it(accept: str, modern: bool) -> None:
    assert wants_openmetrics([accept.encode()] if accept else []) is modern


async def test_figures_go_on_through_a_reload_and_count_it() -> None:
    async with rig(admin=ON, routes=[Route(name="r", upstream="main")]) as test:
        await test.get()
        await test.gateway.reload(test.config)
        with pytest.raises(blitz.ConfigError):
            await test.gateway.reload(blitz.Config(routes=[Route(upstream="missing")]))
        await test.get()
        found = await samples(test.gateway)
        assert value(found, "blitz_requests_total", route="r", method="GET", code="200") == 2
        assert value(found, "blitz_config_reloads_total", result="success") == 1
        assert value(found, "blitz_config_reloads_total", result="refused") == 1
        assert value(found, "blitz_config_last_reload_successful") == 0
        assert value(found, "blitz_config_generation") == 2


@PARSERS
async def test_a_client_that_goes_before_its_response_is_499(parser: str) -> None:
    release = trio.Event()

    async def script(served: Served) -> None:
        await served.head()
        await release.wait()
        await served.send(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")

    async with rig(script, admin=ON, routes=[Route(name="r", upstream="main")], parser=parser) as test:
        client = await test.connect()
        await client.send(b"GET / HTTP/1.1\r\nHost: h\r\n\r\n")
        await until(lambda: test.gateway.statistics().in_flight == 1)
        client.stream.setsockopt(1, 13, b"\x01\0\0\0\0\0\0\0")  # SO_LINGER: close with a reset
        await client.stream.aclose()
        release.set()
        await until(lambda: not test.gateway.statistics().connections)
        found = await samples(test.gateway)
        count = "blitz_requests_total"
        assert value(found, count, route="r", method="GET", code="499") == 1


async def test_a_token_is_wanted_where_one_is_set() -> None:
    async with rig(admin=Admin(listen="127.0.0.1:0", token="0123456789abcdef")) as test:
        address = test.gateway.admin_addresses[0]
        assert (await ask(address, "/metrics"))[0] == 401
        assert (await ask(address, "/metrics", "authorization: Bearer 0123456789abcdef"))[0] == 200


def test_every_figure_has_a_name_and_a_kind_that_fit() -> None:
    names = [figure.name for figure in FIGURES]
    families = {name.removesuffix("_total") for name in names}
    assert len(families) == len(names)  # OpenMetrics names them so
    for figure in FIGURES:
        assert figure.name.startswith("blitz_") and figure.help.endswith(".")
        assert figure.name.endswith("_total") == (figure.type == "counter")
        assert not figure.unit or figure.name.removesuffix("_total").endswith(f"_{figure.unit}")
