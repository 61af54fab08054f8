"""The files under infra/ say what they promise, and the tools that read them accept them."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import tomllib
from configparser import ConfigParser
from pathlib import Path
from typing import Any

import pytest
import yaml
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from blitz.config import Timeouts, load_config, read_config
from blitz.process.parent import START_TIMEOUT

ROOT = Path(__file__).resolve().parents[2]
INFRA = ROOT / "infra"


def compose(name: str) -> dict[str, Any]:
    loaded: dict[str, Any] = yaml.safe_load((INFRA / "compose" / name).read_text(encoding="utf-8"))
    return loaded


def environment(service: dict[str, Any]) -> dict[str, str]:
    return dict(line.split("=", 1) for line in service["environment"] if "=" in line)


def up(*arguments: str, **environ: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        ["bash", str(INFRA / "up.sh"), *arguments],
        cwd=ROOT,
        env={"PATH": os.environ["PATH"], "UP_DRY_RUN": "1"} | environ,
        capture_output=True,
        text=True,
        check=False,
    )


def test_development_sets_the_documented_variables() -> None:
    service = compose("dev.yml")["services"]["blitz-quic"]
    assert service["container_name"] == "blitz-dev"
    found = environment(service)
    assert found["PLUGIN_DIR"] == "/app/plugins"
    assert found["PLUGIN_MEMORY_LIMIT"] == "2097152"
    assert found["PLUGIN_TIMEOUT"] == "3000"
    assert {"QUIC_LOG", "PLUGIN_LOG"} <= set(found)


def test_example_configuration_is_valid(tmp_path: Path) -> None:
    environ = {"UPSTREAM": "http://192.0.2.7:9000", "PLUGIN_DIR": str(tmp_path), "PLUGIN_TIMEOUT": "3000"}
    config = load_config(INFRA / "examples" / "gateway.toml", environ)
    assert config.upstreams["default"].endpoints == ["http://192.0.2.7:9000"]
    assert config.plugin_defaults.timeout == 3.0


def test_the_built_in_plugins_need_no_grant() -> None:
    environ = {"UPSTREAM": "http://192.0.2.7:9000", "PLUGIN_DIR": str(ROOT / "plugins")}
    loaded = read_config(INFRA / "examples" / "gateway.toml", environ)
    assert loaded.problems == []
    assert {plugin.grants for plugin in loaded.resolved.plugins} == {("clock", "random")}


@pytest.mark.parametrize("name", ["dev.yml", "prod.yml"])
def test_every_service_is_confined(name: str) -> None:
    for service in compose(name)["services"].values():
        assert service["read_only"] is True
        assert service["cap_drop"] == ["ALL"]
        assert service["security_opt"] == ["no-new-privileges:true"]


@pytest.mark.parametrize("name", ["dev.yml", "prod.yml"])
def test_files_of_the_checkout_that_compose_names_exist(name: str) -> None:
    for service in compose(name)["services"].values():
        if "build" in service:
            context = INFRA / "compose" / service["build"]["context"]
            assert (context / service["build"]["dockerfile"]).is_file()
        for volume in service.get("volumes", []):
            source = re.sub(r"^\$\{[A-Z]+:-(.*?)\}", r"\1", volume).split(":")[0]
            assert (INFRA / "compose" / source).exists(), volume


def test_containers_are_given_longer_to_stop_than_requests_to_finish() -> None:
    for name in ("dev.yml", "prod.yml"):
        grace = compose(name)["services"]["blitz-quic"]["stop_grace_period"]
        assert float(grace.rstrip("s")) > Timeouts().drain


def test_image_runs_as_a_user_without_rights_and_without_a_compiler() -> None:
    final = (INFRA / "container" / "Containerfile").read_text(encoding="utf-8").split("\nFROM ")[-1]
    assert re.search(r"^USER \d+:\d+$", final, re.MULTILINE)
    assert "gcc" not in final
    assert 'ENTRYPOINT ["blitz"]' in final


def test_files_that_the_image_copies_exist() -> None:
    text = (INFRA / "container" / "Containerfile").read_text(encoding="utf-8")
    for line in re.findall(r"^COPY (?!--)(.*)$", text, re.MULTILINE):
        for source in line.split()[:-1]:
            assert (ROOT / source).exists(), source
            assert f"!{source}" in (ROOT / ".dockerignore").read_text().split() or source.startswith("infra/")


# (id, arguments, environment, files under infra/ that are mounted, the command)
COMMANDS = [
    ("dev", ["dev", "up"], {}, ("examples/gateway.toml", "examples/plugins"), "dev.yml up"),
    (
        "prod",
        ["prod", "up", "-d"],
        {"UPSTREAM": "http://a:1"},
        ("examples/gateway.toml", "examples/plugins"),
        "prod.yml up -d",
    ),
    (
        "nowhere",
        ["prod", "up", "-d"],
        {},
        ("examples/no-upstream.toml", "examples/plugins"),
        "prod.yml up -d",
    ),
    ("down", ["prod", "down"], {}, ("examples/no-upstream.toml", "examples/plugins"), "prod.yml down"),
    (
        "profile",
        ["dev", "--profile", "with-plugins", "up"],
        {},
        ("examples/with-plugins.toml", "../plugins"),
        "dev.yml up",
    ),
    (
        "own",
        ["dev", "up"],
        {"CONFIG": "pyproject.toml", "PLUGINS": "docs"},
        ("../pyproject.toml", "../docs"),
        "dev.yml up",
    ),
]


@pytest.mark.parametrize(
    ("arguments", "environ", "mounted", "command"), [pytest.param(*row[1:], id=row[0]) for row in COMMANDS]
)
def test_up_runs_compose(
    arguments: list[str], environ: dict[str, str], mounted: tuple[str, str], command: str
) -> None:
    result = up(*arguments, **environ)
    assert result.returncode == 0, result.stderr
    config, plugins = ((INFRA / name).resolve() for name in mounted)
    assert config.is_file()
    assert plugins.is_dir()
    assert (
        result.stdout.strip()
        == f"CONFIG={config} PLUGINS={plugins} docker compose -f {INFRA}/compose/{command}"
    )


@pytest.mark.parametrize("name", ["CONFIG", "PLUGINS"])
def test_up_refuses_what_is_not_there(name: str) -> None:
    result = up("prod", "up", **{name: "nowhere"})
    assert (result.returncode, result.stderr) == (2, f"up.sh: {name}: there is no nowhere\n")


@pytest.mark.parametrize("name", ["gateway", "no-upstream", "with-plugins"])
def test_what_up_starts_is_valid(name: str) -> None:
    environ = {"UPSTREAM": "http://192.0.2.7:9000", "PLUGIN_DIR": str(ROOT / "plugins"), "API_KEY": "k"}
    loaded = read_config(INFRA / "examples" / f"{name}.toml", environ)
    assert loaded.problems == []
    assert str(loaded.resolved.admin.listen) == "127.0.0.1:9900"  # HEALTHCHECK of the image asks there


def _locked(name: str) -> dict[str, str]:
    text = (INFRA / "container" / name).read_text(encoding="utf-8")
    found = re.findall(r"^([a-z0-9.-]+)==(\S+)(?: ;[^\\\n]*)? \\\n +--hash=sha256:", text, re.MULTILINE)
    assert len(found) == len(re.findall(r"^[a-z]", text, re.MULTILINE)), "a package without a hash"
    return dict(found)


def test_the_lock_has_all_that_the_image_needs_in_versions_that_fit() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    script = (INFRA / "container" / "lock.sh").read_text(encoding="utf-8")
    (extras,) = re.findall(r"^EXTRAS=\((.*)\)$", script, re.MULTILINE)
    assert set(extras.split()) == set(project["optional-dependencies"]) - {"test", "lint", "plugins", "fmt"}
    wanted = [*project["dependencies"]]
    for extra in extras.split():
        wanted += project["optional-dependencies"][extra]
    locked = _locked("requirements.lock")
    for requirement in map(Requirement, wanted):
        name = canonicalize_name(requirement.name)
        assert name in locked, "run infra/container/lock.sh"
        assert locked[name] in requirement.specifier, requirement
    build = _locked("build.lock")
    for line in (INFRA / "container" / "build.in").read_text(encoding="utf-8").splitlines():
        if not line.startswith("#"):
            assert build[Requirement(line).name] in Requirement(line).specifier


# (id, arguments, what it says)
MISTAKES = [
    ("nothing", [], "say which environment"),
    ("unknown_environment", ["test", "up"], "no environment 'test'"),
    ("unknown_profile", ["dev", "--profile", "gpu", "up"], "no profile 'gpu', there is with-plugins"),
    ("unknown_option", ["dev", "--fast", "up"], "no option '--fast'"),
    ("no_command", ["dev", "--profile", "with-plugins"], "say what to do"),
]


@pytest.mark.parametrize(("arguments", "says"), [pytest.param(*row[1:], id=row[0]) for row in MISTAKES])
def test_up_says_what_is_wrong(arguments: list[str], says: str) -> None:
    result = up(*arguments)
    assert result.returncode == 2
    assert says in result.stderr
    assert result.stderr.count("\n") == 1


def unit(name: str = "blitz.service") -> ConfigParser:
    parser = ConfigParser(strict=False, interpolation=None, delimiters=("=",))
    parser.optionxform = str  # type: ignore[assignment, method-assign]
    parser.read(INFRA / "systemd" / name, encoding="utf-8")
    return parser


def test_unit_waits_for_readiness_and_for_the_drain() -> None:
    service = unit()["Service"]
    assert service["Type"] == "notify"
    assert service["NotifyAccess"] == "main"  # the parent of the workers speaks
    assert service["ExecReload"] == "/opt/blitz/bin/blitz reload -c /etc/blitz/blitz.toml"
    assert float(service["TimeoutStartSec"]) > START_TIMEOUT
    assert float(service["TimeoutStopSec"]) > Timeouts().drain
    assert unit("blitz.socket")["Socket"]["ListenStream"].startswith("0.0.0.0:")


def test_unit_is_confined_but_may_compile() -> None:
    service = unit()["Service"]
    for switch in ("DynamicUser", "NoNewPrivileges", "PrivateTmp", "ProtectHome", "RestrictNamespaces"):
        assert service[switch] == "yes"
    assert service["ProtectSystem"] == "strict"
    assert "MemoryDenyWriteExecute" not in service  # compiled plugins are executable memory


@pytest.mark.skipif(not shutil.which("systemd-analyze"), reason="systemd-analyze is not installed")
def test_systemd_accepts_the_units(tmp_path: Path) -> None:
    for source in (INFRA / "systemd").iterdir():
        text = source.read_text(encoding="utf-8").replace("/opt/blitz/bin/blitz", "/bin/true")
        (tmp_path / source.name).write_text(text, encoding="utf-8")
    units = [str(path) for path in sorted(tmp_path.iterdir())]
    assert [Path(path).name for path in units] == ["blitz.service", "blitz.socket"]
    result = subprocess.run(
        ["systemd-analyze", "verify", "--man=no", *units], capture_output=True, text=True, check=False
    )
    complaints = [line for line in result.stderr.splitlines() if "blitz." in line]
    assert complaints == []
