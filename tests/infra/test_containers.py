"""The image is built, and the commands of infra/up.sh bring it up, with podman and Debian's podman-compose.

Run by infra/ci/containers.sh, which prepares podman, names the image and the ports.
"""

from __future__ import annotations

import json
import os
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

pytestmark = pytest.mark.containers

ROOT = Path(__file__).resolve().parents[2]
UP = str(ROOT / "infra" / "up.sh")
IMAGE = "blitz:dev"
SECONDS = 60.0
GATEWAY = "http://127.0.0.1:8080"

Up = Callable[..., str]


def tried(*words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(["podman", *words], capture_output=True, text=True, check=False, timeout=SECONDS)


def podman(*words: str) -> str:
    done = tried(*words)
    assert done.returncode == 0, done.stderr
    return done.stdout


def logs(container: str) -> str:
    done = tried("logs", container)
    return done.stdout + done.stderr


@pytest.fixture
def up() -> Iterator[Up]:
    """up("dev", "up", "-d", UPSTREAM=...) -> what it printed. What it brought up is taken down at the end."""
    environments: set[str] = set()

    def run(*words: str, **environ: str) -> str:
        environments.add(words[0])
        kept = {
            name: value
            for name, value in os.environ.items()
            if name not in ("UPSTREAM", "CONFIG", "PLUGINS", "API_KEY")
        }
        done = subprocess.run(
            [UP, *words], env=kept | environ, capture_output=True, text=True, check=False, timeout=SECONDS
        )
        assert done.returncode == 0, done.stderr
        return done.stdout + done.stderr

    yield run
    for environment in environments:
        run(environment, "down")


def ask(path: str, headers: dict[str, str] | None = None) -> tuple[int, str]:
    """Status and body, as soon as somebody listens."""
    end = time.monotonic() + SECONDS
    while True:
        try:
            with urllib.request.urlopen(
                urllib.request.Request(GATEWAY + path, headers=headers or {})
            ) as response:
                return response.status, response.read().decode()
        except urllib.error.HTTPError as error:
            return error.code, error.read().decode()
        except OSError:
            assert time.monotonic() < end, podman("ps", "--all")
            time.sleep(0.1)


def until(condition: Callable[[], bool]) -> None:
    end = time.monotonic() + SECONDS
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.1)


def test_the_image_has_no_more_than_it_needs() -> None:
    config = json.loads(podman("image", "inspect", IMAGE))[0]["Config"]
    assert config["User"] == "10001:10001"
    assert config["StopSignal"] in ("SIGTERM", "15")
    assert config["Labels"]["org.opencontainers.image.licenses"] == "Apache-2.0"
    run = ("run", "--rm", "--network=none", "--read-only", "--entrypoint=python3", IMAGE, "-c")
    found = podman(
        *run,
        "import importlib.metadata as m, json; print(json.dumps(sorted(d.name for d in m.distributions())));"
        "print(open('/opt/blitz/sbom.cdx.json').read())",
    )
    names, _, sbom = found.partition("\n")
    listed = {component["name"].lower() for component in json.loads(sbom)["components"]}
    installed = {name.lower() for name in json.loads(names)}
    assert "blitz-gateway" in installed
    assert installed <= listed
    assert not installed & {"pip", "setuptools", "cyclonedx-bom"}


def test_development(up: Up) -> None:
    up("dev", "up", "-d")
    assert ask("/hello")[0] == 200
    told = json.loads(ask("/hello")[1])
    assert told["target"] == "/hello"
    until(lambda: tried("healthcheck", "run", "blitz-dev").returncode == 0)
    assert "Traceback" not in logs("blitz-dev")
    assert "compiled at every start" not in logs("blitz-dev")


def test_development_with_plugins(up: Up) -> None:
    up("dev", "--profile", "with-plugins", "up", "-d")
    assert ask("/hello")[0] == 401
    status, body = ask("/hello", {"x-api-key": "demo-key"})
    assert status == 200
    assert ["x-authenticated-identity", "client"] in json.loads(body)["headers"]
    until(lambda: "[WASM Plugin] request_logger: request method=GET" in logs("blitz-dev"))


def test_production_without_an_upstream_says_what_to_set(up: Up) -> None:
    up("prod", "up", "-d", BLITZ_IMAGE=IMAGE)
    status, body = ask("/")
    assert status == 503
    assert "UPSTREAM=http://10.0.0.5:9000 ./infra/up.sh prod up -d" in body


def test_production(up: Up) -> None:
    podman(
        "run",
        "--detach",
        "--rm",
        "--name=blitz-behind",
        IMAGE,
        "demo",
        "--upstream-only",
        "--listen",
        ":9000",
    )
    try:
        address = podman("inspect", "--format", "{{.NetworkSettings.IPAddress}}", "blitz-behind").strip()
        up(
            "prod",
            "--profile",
            "with-plugins",
            "up",
            "-d",
            BLITZ_IMAGE=IMAGE,
            API_KEY="k1",
            UPSTREAM=f"http://{address}:9000",
        )
        assert ask("/")[0] == 401
        assert ask("/", {"x-api-key": "demo-key"})[0] == 401
        status, _ = ask("/", {"x-api-key": "k1"})
        assert status in (200, 502, 504)  # another network may not be reached from this one
        began = time.monotonic()
        podman("stop", "--time=30", "blitz")
        assert time.monotonic() - began < 25, "it was killed: SIGTERM did not reach it"
        assert podman("inspect", "--format", "{{.State.ExitCode}}", "blitz").strip() == "0"
        log = logs("blitz")
        assert "k1" not in log
    finally:
        tried("rm", "--force", "--time=0", "blitz-behind")


def test_the_root_of_a_running_container_cannot_be_written(up: Up) -> None:
    up("dev", "up", "-d")
    ask("/")
    for place in ("/x", "/opt/blitz/x", "/etc/blitz/x", "/app/plugins/x"):
        assert "touch: cannot touch" in tried("exec", "blitz-dev", "touch", place).stderr, place
