"""What README.md shows is what happens: its config loads, its programs run, its links lead somewhere."""

import re
import shutil
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest

from .cli.commands import PLUGINS, ROOT, blitz, curl, environment, serving
from .plugins.toolchain import run_zig
from .ports import free_port

README = (ROOT / "README.md").read_text(encoding="utf-8")


def blocks(language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```", README, re.MULTILINE | re.DOTALL)


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """A directory with plugins/ and the README's blitz.toml, listening on a free port."""
    shutil.copytree(PLUGINS, tmp_path / "plugins", ignore=shutil.ignore_patterns("src", "sdk"))
    config, _ = blocks("toml")
    (tmp_path / "blitz.toml").write_text(config.replace("127.0.0.1:8080", "127.0.0.1:0"))
    return tmp_path


def python(program: str, cwd: Path) -> str:
    result = subprocess.run(
        [sys.executable, "-c", program],
        cwd=cwd,
        env=environment(),
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert result.returncode == 0, result.stderr
    return result.stdout


def test_the_configuration_is_right(checkout: Path) -> None:
    result = blitz("validate", cwd=checkout)
    assert (result.returncode, result.stderr) == (0, "")
    assert result.stdout == "blitz.toml: ok: 2 routes, 1 upstream, 3 plugins\n"


def test_the_routes_are_right_and_explained(tmp_path: Path) -> None:
    (tmp_path / "www").mkdir()
    _, routes = blocks("toml")
    listen = 'listen = [{ address = ":80", name = "http" }, { address = ":443", tls = true }]\n'
    (tmp_path / "blitz.toml").write_text(
        f'{listen}tls.certs = [{{ cert = "c.pem", key = "c.pem" }}]\n{routes}'
    )
    (command,) = re.findall("`(blitz route [^`]+)`", README)
    said = blitz(*command.split()[1:], cwd=tmp_path)
    assert (said.returncode, said.stderr) == (0, "")
    assert "route api (" in said.stdout and "the upstream gets /x\n" in said.stdout
    assert 'not plain: the listener is "", not "http"\n' in said.stdout


def test_validate_says_what_the_readme_says(checkout: Path) -> None:
    (shown,) = (block for block in blocks("console") if "blitz validate" in block)
    text = (checkout / "blitz.toml").read_text()
    for right, wrong in (("workers = 2", 'workers = "two"'), ('"20ms"', '"20 milis"')):
        text = text.replace(right, wrong)
    head, _, tail = text.rpartition("upstream =")
    (checkout / "blitz.toml").write_text(f"{head}upstraem ={tail}")
    assert blitz("validate", "blitz.toml", cwd=checkout).stderr == shown.partition("\n")[2]


def test_a_gateway_runs_inside_a_program(checkout: Path) -> None:
    program, _ = blocks("python")
    assert re.fullmatch(r"\[\('127\.0\.0\.1', \d+\)\]\n", python(program, checkout))


def test_a_chain_runs_inside_a_program(checkout: Path) -> None:
    _, program = blocks("python")
    said = [line.split("  # ")[1] for line in program.splitlines() if "print(" in line]
    assert python(program, checkout).splitlines() == said


def test_what_a_newcomer_wants_comes_first() -> None:
    assert re.findall(r"^## (.*)$", README, re.MULTILINE)[:4] == [
        "Try it",
        "Your first plugin",
        "How it works",
        "What it costs",
    ]
    picture = re.search(r"!\[[^]]+\]\(([^)]+\.svg)\)", README)
    assert picture is not None and picture.start() < README.index("## Try it")


def test_the_first_two_commands_start_and_try_it() -> None:
    first = blocks("console")[0].splitlines()
    assert [line.split("  #")[0].rstrip() for line in first] == [
        "$ make run",
        "$ curl -i http://127.0.0.1:8080/hello",
    ]


@pytest.mark.toolchain
def test_the_first_plugin_is_built_and_stands_in_front_of_something(tmp_path: Path) -> None:
    """Its console blocks, word for word but for the ports, the compiler's place and where they are typed."""
    (source,) = blocks("c")
    (tmp_path / "hello.c").write_text(source)
    (commands,) = (block for block in blocks("console") if "-m ziglang cc" in block)
    lines = [line.removeprefix("$ ") for line in commands.replace("\\\n", "").splitlines()]
    compile_it, upstream, proxy = (
        next(line for line in lines if words in line) for words in ("ziglang", "http.server", "blitz proxy")
    )
    run_zig(next(line for line in lines if "-m ziglang" in line), tmp_path)
    assert compile_it.startswith("pip install ziglang==")
    shutil.copy(ROOT / "README.md", tmp_path)
    words = upstream.partition("&")[0].split()
    port = str(free_port())
    server = subprocess.Popen(
        [sys.executable, *(port if word == "9000" else word for word in words[1:])],
        cwd=tmp_path,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        typed = proxy.replace(":8080", "127.0.0.1:0").replace(":9000", f":{port}").split()
        with serving(*typed[1:], cwd=tmp_path) as gateway:
            (shown,) = (block for block in blocks("console") if "/private/" in block)
            _, refused, _, passed = shown.splitlines()
            assert curl(gateway.port, "/private/notes")[2].decode() == f"{refused}\n"
            for _ in range(600):  # until that server listens
                if (status := curl(gateway.port, "/README.md")[0]) < 500:
                    break
                time.sleep(0.1)
            assert str(status) == passed
    finally:
        server.kill()
        server.wait()


def test_links_lead_to_files() -> None:
    for target in re.findall(r"\]\(([^)#]+)(?:#[^)]*)?\)", README):
        assert target.startswith("https://") or (ROOT / target).exists(), target


def shown_by(command: str) -> str:
    """What the README shows below *command*."""
    (block,) = (block for block in blocks("console") if command in block.partition("\n")[0])
    return block.partition("\n")[2]


def without_date(text: str) -> str:
    return re.sub(r"\nDate: [^\n]+ GMT\n", "\nDate: now\n", text)


def test_the_demo_answers_what_the_readme_shows() -> None:
    request = "GET /hello HTTP/1.1\r\nHost: 127.0.0.1:8080\r\nUser-Agent: curl/7.88.1\r\nAccept: */*\r\n"
    with serving("demo", "--port", "0") as demo:
        for command, fields in (("curl -i ", ""), ("curl -H 'x-api-key", "x-api-key: demo-key\r\n")):
            with socket.create_connection(("127.0.0.1", demo.port), timeout=60) as connection:
                connection.sendall(f"{request}{fields}Connection: close\r\n\r\n".encode())
                answer = b"".join(iter(lambda: connection.recv(65536), b"")).decode().replace("\r\n", "\n")
            head, _, body = answer.partition("\n\n")
            head = without_date(head.replace("\nConnection: close", ""))
            expected = without_date(shown_by(command))
            assert expected == (f"{head}\n\n{body}" if expected.startswith("HTTP/") else body)


def test_files_that_the_way_of_a_request_names_exist() -> None:
    """In the table and in the picture; without a directory they lie in the one that their column names."""
    steps = README[README.index("| step |") : README.index("calls these in turn")]
    picture = (ROOT / "docs" / "blitz.svg").read_text(encoding="utf-8")
    named = {*re.findall(r"[\w/]+\.(?:c|py)\b", steps), *re.findall(r"[\w/]+\.(?:c|py)\b", picture)}
    assert len(named) > 15
    for name in named:
        assert any((ROOT / room / name).is_file() for room in (".", "blitz", "native")), name


def test_what_it_costs_is_what_was_measured() -> None:
    """The CPU time of every peer in the table is the report's, rounded as it stands there."""
    report = (ROOT / "benchmarks" / "results" / "latest.md").read_text(encoding="utf-8")
    costs = README[README.index("## What it costs") : README.index("## The plugin interface")]
    assert f"{report.splitlines()[2][:10]}, everybody in the same run" in costs
    table = [
        [cell.strip() for cell in line.strip("|").split("|")] for line in costs.splitlines() if "|" in line
    ]
    for question, row in zip(("fixed", "proxy", "plugin"), table[2:], strict=True):
        part = report.partition(f"\n## {question}: ")[2].partition("\n## ")[0]
        for peer, cell in zip(table[0][1:], row[1:], strict=True):
            said = re.match(r"([\d.]+)(?: \((\w+)\))?$", cell)
            name = f"{peer} + {said[2]}" if said and said[2] else peer
            found = re.search(rf"^\| {re.escape(name.lower())} \| [^|]+ \| ([\d.]+) ", part, re.MULTILINE)
            assert bool(said) == bool(found), (question, peer)
            if said and found:
                assert abs(float(said[1]) - float(found[1])) <= (0.5 if "." not in said[1] else 0.05), cell
