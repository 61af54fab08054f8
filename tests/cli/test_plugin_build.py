"""``blitz plugin build``: the command of a manifest is run, and what it makes is looked at."""

import hashlib
import json
import tomllib

import pytest

GUEST = """(module (memory (export "memory") 1)
  (func (export "blitz_alloc") (param i32) (result i32) (i32.const 8))
  (func (export "process_request") (param i32 i32 i32 i32) (result i32) (i32.const 0)))"""


@pytest.fixture
def manifest(tmp_path, wat):
    """manifest(command, output) writes one into p/, beside a module to copy."""
    (tmp_path / "p").mkdir()
    (tmp_path / "p" / "made.bin").write_bytes(wat(GUEST))

    def write(command, output="out dir/plugin.wasm"):
        lines = f"schema = 1\n[build]\ncommand = {json.dumps(command)}\noutput = {json.dumps(output)}\n"
        (tmp_path / "p" / "blitz-plugin.toml").write_text(lines)

    return write


@pytest.mark.parametrize("named", ["p", "p/blitz-plugin.toml"])
def test_a_plugin_is_built_as_its_manifest_says(run, manifest, named, tmp_path):
    (tmp_path / "p" / "out dir").mkdir()
    manifest("cp made.bin 'out dir/plugin.wasm'")
    result = run("plugin", "build", named)
    assert (result.exit_code, result.stderr) == (0, "")
    size = (tmp_path / "p" / "made.bin").stat().st_size
    assert result.stdout == (
        "p$ cp made.bin 'out dir/plugin.wasm'\n"
        f"p/out dir/plugin.wasm: {size} bytes, blitz/1, hooks: process_request\n"
        "p/out dir/plugin.toml: for this module only, by its digest\n"
    )


def test_the_manifest_beside_what_was_made_is_for_this_module_only(run, manifest, tmp_path):
    (tmp_path / "p" / "out dir").mkdir()
    manifest("cp made.bin 'out dir/plugin.wasm'")
    for _ in range(2):  # what it has written it may write again
        assert run("plugin", "build", "p").exit_code == 0
    made = tmp_path / "p" / "out dir" / "plugin.toml"
    said = tomllib.loads(made.read_text())
    digest = hashlib.sha256((tmp_path / "p" / "made.bin").read_bytes()).hexdigest()
    assert said["plugin"] == {"sha256": digest}
    assert said["build"] == tomllib.loads((tmp_path / "p" / "blitz-plugin.toml").read_text())["build"]
    (tmp_path / "p" / "out dir" / "plugin.wasm").write_bytes(b"\0asm\1\0\0\0")
    shown = run("plugin", "inspect", "p/out dir/plugin.wasm").stdout
    assert "p/out dir/plugin.toml is the manifest of another module" in shown


def test_a_manifest_of_its_own_name_is_bound_in_place(run, manifest, tmp_path):
    manifest("cp made.bin x.wasm", "x.wasm")
    (tmp_path / "p" / "blitz-plugin.toml").rename(tmp_path / "p" / "x.toml")
    assert run("plugin", "build", "p/x.toml").exit_code == 0
    text = (tmp_path / "p" / "x.toml").read_text()
    assert text.startswith("schema = 1\n[build]\n")
    assert "sha256 = " in text


def test_somebody_else_s_manifest_is_not_written_over(run, manifest, tmp_path):
    manifest("cp made.bin x.wasm", "x.wasm")
    (tmp_path / "p" / "x.toml").write_text("schema = 1\n# mine\n")
    result = run("plugin", "build", "p")
    assert result.exit_code == 1
    assert (
        "p/x.toml: the digest of the module was not written into it: it is not made of p/blitz"
        in result.stderr
    )
    assert (tmp_path / "p" / "x.toml").read_text() == "schema = 1\n# mine\n"


def test_a_response_hook_without_a_word_on_bodies_is_pointed_out(run, manifest, tmp_path, wat):
    text = GUEST.replace("process_request", "process_response").replace("i32 i32 i32 i32", "i32 i32 i32")
    (tmp_path / "p" / "made.bin").write_bytes(wat(text))
    manifest("cp made.bin x.wasm", "x.wasm")
    assert 'write response_body = "none" under [hooks]' in run("plugin", "build", "p").stdout
    with (tmp_path / "p" / "blitz-plugin.toml").open("a") as file:
        file.write('[hooks]\nresponse_body = "none"\n')
    assert "response_body" not in run("plugin", "build", "p").stdout


def test_the_manifest_is_that_of_the_directory(run, manifest, tmp_path, monkeypatch):
    manifest("cp made.bin x.wasm", "x.wasm")
    monkeypatch.chdir(tmp_path / "p")
    assert run("plugin", "build").exit_code == 0


@pytest.mark.parametrize(
    ("command", "output", "code", "sentence"),
    [
        pytest.param("", "x.wasm", 2, ": build.command: there is nothing to run; write the ", id="none"),
        pytest.param("cp 'made", "x", 2, ": build.command: cannot be split into words: no clos", id="quote"),
        pytest.param("true", "", 2, ": build.output: say what the command makes", id="no output"),
        pytest.param(
            "no-such-tool a", "x", 1, ": build.command: no-such-tool cannot be run: no such", id="tool"
        ),
        pytest.param("false", "x", 1, ": build.command: false ended with exit code 1", id="fails"),
        pytest.param("sh -c 'kill -9 $$'", "x", 1, ": build.command: sh ended by signal 9", id="killed"),
        pytest.param("true; touch owned", "x", 1, ": build.command: true; cannot be run", id="no shell"),
        pytest.param(
            "true",
            "x.wasm",
            1,
            ": build.output: the command ended well and made no p/x.wasm",
            id="makes none",
        ),
        pytest.param(
            "cp blitz-plugin.toml x.wasm", "x.wasm", 2, "p/x.wasm is not WebAssembly", id="no module"
        ),
    ],
)
def test_a_build_that_cannot_be_is_a_sentence(run, manifest, tmp_path, command, output, code, sentence):
    manifest(command, output)
    result = run("plugin", "build", "p")
    assert result.exit_code == code
    assert sentence in result.stderr.splitlines()[-1]
    assert not (tmp_path / "p" / "owned").exists()


def test_a_manifest_that_is_not_there_or_wrong_is_a_sentence(run, tmp_path):
    result = run("plugin", "build")
    assert (result.exit_code, result.stderr) == (2, "blitz-plugin.toml: no such file; check the path\n")
    (tmp_path / "blitz-plugin.toml").write_text("schema = 1\n[build]\ncomand = 'x'\n")
    result = run("plugin", "build")
    assert result.exit_code == 2
    assert "blitz-plugin.toml:3: build.comand: unknown key; did you mean" in result.stderr


def test_nothing_but_this_command_runs_what_a_manifest_says(run, manifest, tmp_path):
    """Looking at a plugin, or running it, is no reason to run its author's words."""
    manifest("touch owned", "made.wasm")
    (tmp_path / "p" / "made.bin").rename(tmp_path / "p" / "made.wasm")
    (tmp_path / "blitz.toml").write_text('plugin_dir = "p"\n[[routes]]\nanswer = { status = 200 }\n')
    assert run("plugin", "inspect", "p/made.wasm").exit_code == 0
    result = run("validate")
    assert (result.exit_code, result.stdout) == (0, "blitz.toml: ok: 1 route, 0 upstreams, 1 plugin\n")
    assert not (tmp_path / "p" / "owned").exists()
    run("plugin", "build", "p")
    assert (tmp_path / "p" / "owned").exists()
