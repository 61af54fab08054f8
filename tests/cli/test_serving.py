"""The commands that serve, as processes, over real sockets."""

import json
import signal
import socket

import pytest

from blitz.demo import DEMO_KEY

from .commands import PLUGINS, blitz, curl, serving


@pytest.fixture(scope="module")
def demo():
    with serving("demo", "--port", "0") as running:
        yield running


def test_the_demo_refuses_a_request_without_a_key(demo):
    status, headers, _ = curl(demo.port, "/")
    assert status == 401
    assert 'realm="blitz"' in headers["www-authenticate"]


def test_the_demo_hands_the_identity_to_the_upstream(demo):
    sent = {"x-api-key": DEMO_KEY, "x-authenticated-identity": "root"}
    status, _, body = curl(demo.port, "/hello?a=1", sent)
    assert status == 200
    told = json.loads(body)
    assert (told["method"], told["target"]) == ("GET", "/hello?a=1")
    assert [value for name, value in told["headers"] if name == "x-authenticated-identity"] == ["demo"]
    assert "x-api-key" not in dict(told["headers"])


def test_the_demo_has_a_route_without_a_key_and_one_that_streams(demo):
    assert curl(demo.port, "/open/x")[0] == 200
    status, headers, body = curl(demo.port, "/stream?n=2&every=1ms")
    assert (status, headers["content-type"]) == (200, "text/event-stream")
    assert body.count(b"data: tick") == 2


def test_every_request_of_the_demo_is_logged(demo):
    curl(demo.port, "/logged?token=s3cr3t")
    line = demo.wait_for("/logged")
    stamp, _, line = line.partition(" ")
    assert stamp.endswith("Z")
    assert line.startswith("info [WASM Plugin] request_logger: request method=GET")
    assert "s3cr3t" not in line
    assert "status=401" in demo.wait_for('path="/logged?token=***" status=')


def test_a_burst_on_the_demo_is_429(demo):
    statuses = [curl(demo.port, "/open")[0] for _ in range(15)]
    assert set(statuses) == {200, 429} or set(statuses) == {429}
    status, headers, _ = curl(demo.port, "/open")
    assert status == 429
    assert int(headers["retry-after"]) >= 1


def test_the_demo_ends_on_a_signal():
    with serving("demo", "--listen", "127.0.0.1:0") as running:
        assert running.stop(signal.SIGINT) == 0


def test_the_upstream_of_the_demo_alone():
    with serving("demo", "--upstream-only", "--port", "0") as running:
        status, _, body = curl(running.port, "/told")
        assert (status, json.loads(body)["target"]) == (200, "/told")
        assert running.stop(signal.SIGTERM) == 0


@pytest.mark.parametrize("wanted", ["taken", "nowhere"])
def test_an_address_that_cannot_be_had_stops_it_with_one_sentence(wanted):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        address = f"127.0.0.1:{taken.getsockname()[1]}" if wanted == "taken" else wanted
        result = blitz("demo", "--upstream-only", "--listen", address)
    assert result.returncode == 2
    assert len(result.stderr.splitlines()) == 1
    assert ("address already in use" if wanted == "taken" else "not an address") in result.stderr


@pytest.mark.parametrize("workers", ["1", "2"])
def test_proxy_runs_plugins_in_front_of_an_upstream(demo, workers):
    upstream = demo.wait_for("its upstream").split("http://")[2].split(",")[0]
    words = ["proxy", "127.0.0.1:0", upstream, "--workers", workers]
    words += ["--plugin", str(PLUGINS / "auth_custom.wasm")]
    words += [
        "--set",
        'plugins.auth_custom.env=["BLITZ_API_KEYS"]',
    ]
    words += ["--set", "timeouts.head=5s"]
    with serving(*words, BLITZ_API_KEYS="alice:k1") as running:
        assert curl(running.port, "/")[0] == 401
        status, _, body = curl(running.port, "/", {"x-api-key": "k1"})
        assert status == 200
        assert ["x-authenticated-identity", "alice"] in json.loads(body)["headers"]
        assert running.stop() == 0


def test_run_serves_a_file_and_reads_it_again(demo, tmp_path):
    file = tmp_path / "blitz.toml"
    file.write_text('listen = ["127.0.0.1:0"]\n[[routes]]\nanswer = { status = 200, body = "one" }\n')
    with serving("run", "-c", str(file)) as running:
        assert curl(running.port, "/")[2] == b"one"
        file.write_text('listen = ["127.0.0.1:0"]\n[[routes]]\nanswer = { status = 200, body = "two" }\n')
        running.process.send_signal(signal.SIGHUP)
        running.wait_for("generation 2")
        assert curl(running.port, "/")[2] == b"two"
        file.write_text("nonsense = 1\n")
        running.process.send_signal(signal.SIGHUP)
        assert "nonsense: unknown key" in running.wait_for("nonsense")
        assert curl(running.port, "/")[2] == b"two"
        assert running.stop() == 0


def test_a_port_in_use_stops_the_demo_with_one_sentence():
    with socket.create_server(("127.0.0.1", 0)) as taken:
        result = blitz("demo", "--port", str(taken.getsockname()[1]))
    assert result.returncode == 2
    assert "in use" in result.stderr
    assert "Traceback" not in result.stderr


def test_the_seed_variables_reach_the_gateway(tmp_path):
    words = ("proxy", "127.0.0.1:0", "127.0.0.1:1")
    result = blitz(*words, PLUGIN_DIR=str(tmp_path / "no"))
    assert result.returncode == 2
    assert result.stderr.startswith(f"PLUGIN_DIR: plugin_dir: {tmp_path}/no does not exist")
    result = blitz(*words, PLUGIN_TIMEOUT="soon")
    assert result.stderr.startswith('PLUGIN_TIMEOUT: "soon" is not understood')
