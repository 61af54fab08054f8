"""A manifest that was read for one module is not applied to another that has come since."""

import hashlib

import pytest
import trio

from blitz.config import read_config
from blitz.examine import check_plugins

ALLOC = '(memory (export "memory") 1) (func (export "blitz_alloc") (param i32) (result i32) (i32.const 8))'
GUEST = '(module {} (func (export "process_request") (param i32 i32 i32 i32) (result i32) (i32.const {})))'


@pytest.mark.parametrize("replaced", [False, True])
def test_a_module_that_is_replaced_between_manifest_and_load_is_refused(tmp_path, wat, replaced):
    old, new = (wat(GUEST.format(ALLOC, verdict)) for verdict in (0, 1))
    (tmp_path / "p.wasm").write_bytes(old)
    digest = hashlib.sha256(old).hexdigest()
    (tmp_path / "p.toml").write_text(f'schema = 1\n[plugin]\nsha256 = "{digest}"\n')
    file = tmp_path / "blitz.toml"
    file.write_text('plugin_dir = "."\n[[routes]]\nanswer = { status = 200 }\n')
    loaded = read_config(file, {})
    assert loaded.problems == []
    if replaced:
        (tmp_path / "p.wasm").write_bytes(new)
    refused = [error.message for _, error in trio.run(check_plugins, loaded.resolved)]
    assert len(refused) == replaced
    assert all("was replaced while it was being loaded" in message for message in refused)


def test_a_hook_that_runs_too_long_says_which_key_set_the_time(tmp_path, wat):
    looping = f'{ALLOC} (func (export "init") (result i32) (loop $l (br $l)) (i32.const 0))'
    (tmp_path / "p.wasm").write_bytes(wat(GUEST.format(looping, 0)))
    (tmp_path / "p.toml").write_text('schema = 1\n[limits]\ntimeout = "20ms"\n')
    file = tmp_path / "blitz.toml"
    file.write_text('plugin_dir = "."\n[[routes]]\nanswer = { status = 200 }\n')
    for environ, more in (
        ({}, ""),
        ({"PLUGIN_TIMEOUT": "900"}, "; PLUGIN_TIMEOUT is the most that this gives"),
    ):
        ((_, error),) = trio.run(check_plugins, read_config(file, environ).resolved)
        assert error.message == (
            f"{tmp_path}/p.wasm: init ran longer than 20 ms (set by {tmp_path}/p.toml:3: limits.timeout; to "
            f'give it more, write timeout in its [[plugins]] entry (name = "p"){more})'
        )
