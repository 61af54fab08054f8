"""A pin holds the module and the manifest beside it: not a byte of either changes what runs."""

from __future__ import annotations

import hashlib
import random
import subprocess
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import trio
import wasmtime

import blitz
from blitz.config import Answer, Config, Plugin, Route, resolve
from blitz.config.pin import bundle_digest
from blitz.errors import BlitzError, ConfigError, PluginLoadError
from blitz.examine import inspect_plugin
from blitz.server.loading import load_plugin
from blitz.wasm.cache import CompileCache
from blitz.wasm.engine import Engine

WASM = bytes(
    wasmtime.wat2wasm("""(module (memory (export "memory") 1)
  (func (export "blitz_buffer") (result i32) (i32.const 1024))
  (func (export "blitz_buffer_size") (result i32) (i32.const 4096))
  (func (export "process_request") (param i32 i32 i32 i32) (result i32) (i32.const 0)))""")
)
OTHER = WASM + b"\0\2\1x"  # a custom section: the same, and another file
MANIFEST = b"""schema = 1
[plugin]
version = "1.0.0"
[failure]
policy = "closed"
[config.defaults]
keys = ["alice"]
"""
LOOSE = MANIFEST.replace(b"closed", b"open")
MORE = MANIFEST.replace(b'"alice"', b'"alice", "mallory"')
Files = tuple[bytes, bytes | None]


def digest_of(files: Files) -> str:
    wasm, manifest = files
    module = hashlib.sha256(wasm).hexdigest()
    if manifest is None:
        return module
    lines = f"{module}  -\n{hashlib.sha256(manifest).hexdigest()}  -\n"
    return hashlib.sha256(lines.encode()).hexdigest()


class Site:
    """guest.wasm in a directory, with or without guest.toml; found as an entry names it."""

    def __init__(self, directory: Path, how: str) -> None:
        self.wasm = directory / "guest.wasm"
        self.manifest = directory / ("blitz-plugin.toml" if how == "shared" else "guest.toml")
        self.how = how

    def put(self, files: Files) -> None:
        wasm, manifest = files
        self.wasm.write_bytes(wasm)
        self.manifest.unlink(missing_ok=True)
        if manifest is not None:
            self.manifest.write_bytes(manifest)

    def config(self, pin: str) -> Config:
        found = self.how == "discovered"
        entry = Plugin(name="guest", file="" if found else str(self.wasm), sha256=pin)
        return Config(
            listen=["127.0.0.1:0"],
            plugin_dir=str(self.wasm.parent) if found else "",
            plugins=[entry],
            routes=[Route(answer=Answer(body="ok"))],
        )


@pytest.fixture(params=["discovered", "named", "shared"])
def site(request: pytest.FixtureRequest, tmp_path: Path) -> Site:
    return Site(tmp_path, request.param)


def changes(chosen: random.Random) -> Iterator[tuple[Files, Files]]:
    """(what is pinned, what lies there)."""
    whole: Files = (WASM, MANIFEST)
    for _ in range(60):
        at = chosen.randrange(len(WASM) + len(MANIFEST))
        both = bytearray(WASM + MANIFEST)
        both[at] ^= 1 << chosen.randrange(8)
        yield whole, (bytes(both[: len(WASM)]), bytes(both[len(WASM) :]))
    for wasm, manifest in (whole, (OTHER, LOOSE)):
        yield whole, (wasm, manifest[: chosen.randrange(len(manifest))])
        yield whole, (wasm[: chosen.randrange(len(wasm))], manifest)
        yield whole, (wasm + b"\0", manifest)
        yield whole, (wasm, manifest + b"\n")
    for there in ((WASM, LOOSE), (WASM, MORE), (OTHER, MANIFEST), (WASM, None), (OTHER, None), (WASM, b"")):
        yield whole, there  # another manifest, another module, none at all
    for manifest in (MANIFEST, LOOSE, b"schema = 1\n"):
        yield (WASM, None), (WASM, manifest)  # one that was not there
    yield (OTHER, LOOSE), (OTHER, MANIFEST)  # swapped between two plugins
    yield (MANIFEST, WASM), (WASM, MANIFEST)


def refusal(config: Config) -> str:
    with pytest.raises(ConfigError) as caught:
        resolve(config)
    return str(caught.value)


def test_any_change_of_either_is_refused(site: Site) -> None:
    for pinned, there in changes(random.Random(site.how)):
        if pinned == there:
            continue
        site.put(there)
        assert "nothing was loaded" in refusal(site.config(digest_of(pinned))), (pinned, there)


def test_a_file_that_takes_the_manifest_away_is_refused(tmp_path: Path) -> None:
    site = Site(tmp_path, "shared")
    site.put((WASM, MANIFEST))
    config = site.config(digest_of((WASM, MANIFEST)))
    for name, content in (("another.wasm", OTHER), ("guest.toml", LOOSE)):
        resolve(config)
        (tmp_path / name).write_bytes(content)
        assert "nothing was loaded" in refusal(config)
        (tmp_path / name).unlink()
    (tmp_path / ".half-written.wasm").write_bytes(OTHER)  # is no plugin
    resolve(config)


def test_what_is_pinned_runs_in_any_case_of_letters(site: Site) -> None:
    for files in ((WASM, MANIFEST), (WASM, None), (OTHER, LOOSE)):
        site.put(files)
        for pin in (digest_of(files), digest_of(files).upper()):
            (plugin,) = resolve(site.config(pin)).plugins
            assert plugin.sha256 == digest_of(files)


def test_the_module_alone_is_no_pin_beside_a_manifest(site: Site) -> None:
    site.put((WASM, MANIFEST))
    said = refusal(site.config(digest_of((WASM, None))))
    assert f"{site.wasm} is pinned without its manifest {site.manifest}" in said
    assert said.endswith(f'write sha256 = "{digest_of((WASM, MANIFEST))}", the digest of both')


def test_a_mismatch_names_all_that_was_found(site: Site) -> None:
    site.put((OTHER, LOOSE))
    said = refusal(site.config(digest_of((WASM, MANIFEST))))
    for text in (hashlib.sha256(OTHER), hashlib.sha256(LOOSE)):
        assert text.hexdigest() in said
    assert digest_of((OTHER, LOOSE)) in said
    assert digest_of((WASM, MANIFEST)) in said
    site.put((OTHER, None))
    said = refusal(site.config(digest_of((WASM, MANIFEST))))
    assert f"has the digest {digest_of((OTHER, None))} and no manifest" in said


def test_the_digest_is_what_a_shell_says_and_what_inspect_prints(site: Site) -> None:
    site.put((WASM, MANIFEST))
    command = '{ sha256sum < "$1"; sha256sum < "$2"; } | sha256sum'
    words = ["sh", "-c", command, "sh", str(site.wasm), str(site.manifest)]
    said = subprocess.run(words, capture_output=True, text=True, check=True).stdout.split()[0]
    found = inspect_plugin(str(site.wasm))
    assert said == found.sha256 == digest_of((WASM, MANIFEST))
    assert bundle_digest(found.module_sha256, found.manifest_sha256) == said
    site.put((WASM, None))
    found = inspect_plugin(str(site.wasm))
    assert found.sha256 == found.module_sha256 == hashlib.sha256(WASM).hexdigest()
    assert found.manifest_sha256 == ""


async def test_no_start_and_no_reload_with_anything_else(site: Site) -> None:
    pinned: Files = (WASM, MANIFEST)
    site.put(pinned)
    config = site.config(digest_of(pinned))
    others = [there for was, there in changes(random.Random(1)) if was == pinned and there != pinned]
    async with blitz.open_gateway(config) as gateway:
        for there in others[-12:]:
            site.put(there)
            with pytest.raises(BlitzError, match="nothing was loaded"):
                await gateway.reload(config)
            assert gateway.generation == 1
            with pytest.raises(BlitzError, match="nothing was loaded"):
                async with blitz.open_gateway(config):
                    pass
        site.put(pinned)
        await gateway.reload(config)
        assert gateway.generation == 2


async def test_what_was_hashed_is_what_is_used(site: Site) -> None:
    """Files that change all the while: the pinned module with the pinned manifest is loaded, or nothing."""
    pinned: Files = (WASM, MANIFEST)
    config = site.config(digest_of(pinned))
    site.put(pinned)
    done = threading.Event()

    def exchange(path: Path, contents: list[bytes]) -> Callable[[], None]:
        def run() -> None:
            chosen = random.Random(path.name)
            aside = path.with_name(f".{path.name}")
            while not done.is_set():
                aside.write_bytes(chosen.choice(contents))
                aside.rename(path)

        return run

    threads = [
        threading.Thread(target=exchange(site.wasm, [WASM, WASM, OTHER])),
        threading.Thread(target=exchange(site.manifest, [MANIFEST, MANIFEST, LOOSE])),
    ]
    for thread in threads:
        thread.start()
    engine, cache = Engine(), CompileCache(None)
    loaded = refused = 0
    try:
        with trio.fail_after(60):
            while loaded < 3 or refused < 3:
                try:
                    (resolved,) = resolve(config).plugins
                    plugin = await load_plugin(engine, resolved, "off", cache)
                except (ConfigError, PluginLoadError) as error:
                    assert "nothing was loaded" in str(error)
                    refused += 1
                    continue
                assert plugin.spec.sha256 == hashlib.sha256(WASM).hexdigest()
                assert (plugin.spec.failure, plugin.spec.config) == ("closed", b'{"keys":["alice"]}')
                loaded += 1
                plugin.close()
                plugin.module.close()
    finally:
        done.set()
        for thread in threads:
            thread.join()
    engine.close()
