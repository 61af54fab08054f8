"""Words in, sentences and exit codes out."""

import json
import subprocess
import sys

import pytest
import wasmtime

from blitz.cli import COMMANDS

from .commands import PLUGINS, ROOT, blitz, environment

ROUTE = '[[routes]]\nupstream = "http://127.0.0.1:9000"\n'


def test_help_lists_every_command(run):
    result = run("--help")
    assert result.exit_code == 0
    for name, (_, summary) in COMMANDS.items():
        assert f"  {name} " in result.output
        assert summary.split()[0] in result.output


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_has_help_and_begins_as_the_list_says(run, name):
    result = run(name, "--help")
    assert result.exit_code == 0
    assert result.output.startswith(f"Usage: main {name}")


def test_help_loads_no_engine_and_no_event_loop():
    code = (
        "import sys; from blitz.cli import main\n"
        "try: main(['--help'])\n"
        "except SystemExit: pass\n"
        "heavy = {'trio', 'msgspec', 'cffi', 'wasmtime', 'h11', 'rich', 'blitz._native'}\n"
        "print(sorted(heavy & set(sys.modules)))"
    )
    result = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, env=environment(), capture_output=True, text=True, check=True
    )
    assert result.stdout.splitlines()[-1] == "[]"


@pytest.mark.parametrize(
    "words", [("nonsense",), ("run", "--nonsense"), ("proxy", ":8080"), ("demo", "--port", "x")]
)
def test_a_wrong_command_line_is_exit_2(run, words):
    assert run(*words).exit_code == 2


def test_schema_prints_json(run):
    result = run("schema")
    assert result.exit_code == 0
    assert json.loads(result.output)["title"] == "blitz.toml"


def test_version_names_what_it_runs_on(run):
    lines = dict(line.split(" ", 1) for line in run("version").output.splitlines())
    assert lines["python"] == ".".join(map(str, sys.version_info[:3]))
    assert list(lines) == list(json.loads(run("version", "--json").output))


@pytest.mark.parametrize("flag", ["--version", "-V"])
def test_the_flag_prints_the_version_alone(run, flag):
    assert run(flag).output == run("version").output.splitlines()[0] + "\n"


# ---------------------------------------------------------------- validate


def test_a_good_file_is_ok(run, tmp_path):
    (tmp_path / "blitz.toml").write_text(f'plugin_dir = "{PLUGINS}"\n{ROUTE}')
    result = run("validate")
    assert (result.exit_code, result.stdout) == (0, "blitz.toml: ok: 1 route, 1 upstream, 3 plugins\n")


def test_the_file_can_be_named_as_run_names_it(run, tmp_path):
    (tmp_path / "other.toml").write_text(ROUTE)
    assert run("validate", "-c", "other.toml").exit_code == 0
    assert run("validate", "other.toml").exit_code == 0


def test_every_mistake_is_listed_with_its_line(tmp_path):
    here = ROOT / "tests" / "cli"
    (tmp_path / "mistakes.toml").write_bytes((here / "mistakes.toml").read_bytes())
    (tmp_path / "auth.wasm").write_bytes(b"\0asm\1\0\0\0")
    result = blitz("validate", "mistakes.toml", cwd=tmp_path)
    assert result.returncode == 2
    assert result.stdout == ""
    assert result.stderr == (here / "mistakes.txt").read_text(encoding="utf-8")


def test_mistakes_as_json(run, tmp_path):
    (tmp_path / "blitz.toml").write_text(f"worker = 1\n{ROUTE}")
    result = run("validate", "--json")
    assert result.exit_code == 2
    assert json.loads(result.stdout) == {
        "file": "blitz.toml",
        "ok": False,
        "problems": [
            {
                "file": "blitz.toml",
                "line": 1,
                "key": "worker",
                "message": "unknown key; did you mean `workers`?",
            }
        ],
        "warnings": [],
    }


def test_a_missing_file_is_one_sentence(run):
    result = run("validate")
    assert result.exit_code == 2
    assert result.stderr.splitlines()[0] == "blitz.toml: no such file; check the path"


@pytest.mark.parametrize(
    ("wasm", "sentence"),
    [
        pytest.param(b"hello", "is not WebAssembly", id="not-wasm"),
        pytest.param(b"", "is empty", id="empty"),
        pytest.param(b"\0asm\x0d\0\1\0", "is a WebAssembly component", id="component"),
        pytest.param(b"\0asm\1\0\0\0", "has no hook", id="no-hooks"),
        pytest.param(b"\0asm\1\0\0\0\x01", "is cut short", id="broken"),
    ],
)
def test_the_plugins_are_loaded_too(run, tmp_path, wasm, sentence):
    (tmp_path / "p").mkdir()
    (tmp_path / "p" / "bad.wasm").write_bytes(wasm)
    (tmp_path / "p" / "good.wasm").write_bytes((PLUGINS / "request_logger.wasm").read_bytes())
    (tmp_path / "blitz.toml").write_text(f'plugin_dir = "p"\n{ROUTE}')
    result = run("validate")
    assert result.exit_code == 2
    lines = [line for line in result.stderr.splitlines() if "warning" not in line]
    assert len(lines) == 2, lines
    assert lines[0].startswith("p/bad.wasm: ") and sentence in lines[0]
    assert lines[1] == "blitz.toml: 1 problem"


def test_a_plugin_that_does_not_start_is_a_mistake(run, tmp_path):
    (tmp_path / "blitz.toml").write_text(
        f'plugin_dir = "{PLUGINS}"\n[[plugins]]\nname = "auth_custom"\n'
        f'config = {{ keys = ["no colon"] }}\n{ROUTE}'
    )
    result = run("validate")
    assert result.exit_code == 2
    assert result.stderr.startswith(f"{PLUGINS}/auth_custom.wasm: ")


# ---------------------------------------------------------------- plugin inspect


def test_inspect_shows_what_is_in_a_plugin(run):
    result = run("plugin", "inspect", str(PLUGINS / "auth_custom.wasm"))
    assert result.exit_code == 0
    for text in ("blitz/1, plain", "init, process_request", "blitz.get_env", "BLITZ_API_KEYS", "128KiB"):
        assert text in result.output


def test_inspect_as_json_has_the_digest_of_the_sums(run):
    found = json.loads(run("plugin", "inspect", "--json", str(PLUGINS / "rate_limiter.wasm")).output)
    sums = dict(line.split("  ")[::-1] for line in (PLUGINS / "SHA256SUMS").read_text().splitlines())
    assert found["module_sha256"] == sums["rate_limiter.wasm"]
    assert found["hooks"] == ["init", "process_request", "process_response"]
    assert found["asks"]["failure"] == "open"
    assert {"module": "blitz", "name": "rate_limit", "type": "(i32, i32, i32, i32) -> i32"} in found[
        "imports"
    ]


def test_inspect_shows_who_needs_collected_values(run, tmp_path):
    hook = '(func (export "process_request") (param i32 i32 i32 i32) (result i32) (i32.const 0))'
    getters = "".join(f'(func (export "blitz_buffer{s}") (result i32) (i32.const 0))' for s in ("", "_size"))
    module = f'(module (tag) (memory (export "memory") 1) {getters} {hook})'
    (tmp_path / "x.wasm").write_bytes(wasmtime.wat2wasm(module))
    (tmp_path / "x.toml").write_text("schema = 1\n")
    found = json.loads(run("plugin", "inspect", "--json", "x.wasm").output)
    assert (found["refused"], found["uses"], found["unasked"]) == ("", ["gc"], ["gc"])


def test_inspect_says_why_a_file_cannot_run(run, tmp_path):
    (tmp_path / "x.wasm").write_bytes(b"\0asm\1\0\0\0")
    result = run("plugin", "inspect", "x.wasm")
    assert result.exit_code == 2
    assert "has no hook" in result.output
    result = run("plugin", "inspect", "nowhere.wasm")
    assert (result.exit_code, result.stderr) == (
        2,
        "nowhere.wasm: no such file; check the path\n",
    )


# ---------------------------------------------------------------- mistakes of the commands that serve


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (("run", "-c", "no.toml"), "no.toml: no such file"),
        (("proxy", "nonsense", "h:1"), 'LISTEN: listen[0]: "nonsense" is not an address'),
        (("proxy", ":0", "h:x"), 'UPSTREAM: upstreams.default.endpoints[0]: "http://h:x" has no port'),
        (("proxy", ":0", "h:1", "--plugin", "p.wasm"), "--plugin: plugins[0].file: p.wasm: no such file"),
        (("proxy", ":0", "h:1", "--plugin-dir", "no"), "--plugin-dir: plugin_dir: no does not exist"),
        (("proxy", ":0", "h:1", "--workers", "0"), "--workers: workers: 0 is too small"),
        (("proxy", ":0", "h:1", "--set", "timeouts.haed=5s"), "--set timeouts.haed: timeouts.haed: unknown"),
        (("proxy", ":0", "h:1", "--set", "timeouts.head=5x"), '--set timeouts.head: timeouts.head: "5x" has'),
    ],
)  # fmt: skip
def test_a_mistake_is_one_sentence_and_exit_2(run, words, sentence):
    result = run(*words)
    assert result.exit_code == 2
    (line,) = result.stderr.splitlines()
    assert line.startswith(sentence)
