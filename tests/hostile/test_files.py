"""Whatever lies where a file is wanted is refused in bounded time, in a sentence, and the rest goes on."""

# ruff: noqa: ASYNC240
from __future__ import annotations

import contextlib
import os
import random
import socket
import threading
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import pytest
import trio
import wasmtime

import blitz
from blitz import files as files_module
from blitz.config import Plugin, load_config
from blitz.config.document import read_document
from blitz.errors import BlitzError, ConfigError
from blitz.examine import check_plugins, check_tls
from blitz.files import CONFIGURATION, MODULE, FileRefused, Kind, read_file, shown
from blitz.server import reading
from blitz.wasm.cache import CompileCache
from blitz.wasm.engine import Engine
from tests.server.harness import authority, localhost_certificate, rig, until

PATIENCE = 20.0  # seconds; without a rule each of these waits for ever
GUEST = """(module (memory (export "memory") 1)
  (func (export "blitz_buffer") (result i32) (i32.const 1024))
  (func (export "blitz_buffer_size") (result i32) (i32.const 4096))
  (func (export "process_request") (param i32 i32 i32 i32) (result i32) (i32.const 0)))"""
NEVER = Path("/nowhere/at/all")


# ---------------------------------------------------------------- what may lie there


def fifo(path: Path) -> None:
    os.mkfifo(path)


def link_to_fifo(path: Path) -> None:
    os.mkfifo(path.with_name(f".{path.name}.fifo"))
    path.symlink_to(f".{path.name}.fifo")


def link_to_zero(path: Path) -> None:
    path.symlink_to("/dev/zero")


def link_to_terminal(path: Path) -> None:
    path.symlink_to("/dev/ptmx")


def dangling(path: Path) -> None:
    path.symlink_to(NEVER)


def loop(path: Path) -> None:
    path.symlink_to(path.name)


def directory(path: Path) -> None:
    path.mkdir()


def unix_socket(path: Path) -> None:
    here = os.open(path.parent, os.O_PATH)  # the path of a socket is short
    try:
        with socket.socket(socket.AF_UNIX) as made:
            made.bind(f"/proc/self/fd/{here}/{path.name}")
    finally:
        os.close(here)


def sparse(path: Path) -> None:
    path.touch()
    os.truncate(path, 6 * 2**30)


def link_to_sparse(path: Path) -> None:
    sparse(path.with_name(f".{path.name}.sparse"))
    path.symlink_to(f".{path.name}.sparse")


REGULAR = "wanted a regular file"
KINDS: dict[Callable[[Path], None], str] = {
    fifo: f"is a FIFO, {REGULAR}",
    link_to_fifo: f"is a FIFO, {REGULAR}",
    link_to_zero: f"is a device, {REGULAR}",
    link_to_terminal: f"is a device, {REGULAR}",
    directory: f"is a directory, {REGULAR}",
    unix_socket: f"is a socket, {REGULAR}",
    dangling: "is a link to nothing; check where it leads",
    loop: "too many levels of symbolic links",
    sparse: "is 6442450944 bytes, more than the ",
    link_to_sparse: "is 6442450944 bytes, more than the ",
}


def remove(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        path.rmdir()
    else:
        path.unlink()
    for rest in path.parent.glob(f".{path.name}.*"):
        rest.unlink()


@contextlib.contextmanager
def replaced(path: Path, make: Callable[[Path], None]) -> Iterator[None]:
    """*path* is what *make* makes, and then what it was."""
    before = path.read_bytes()
    path.unlink()
    make(path)
    try:
        yield
    finally:
        remove(path)
        path.write_bytes(before)


# ---------------------------------------------------------------- where it may lie

# Place -> file of the site.
PLACES = {
    "plugin-dir": "plugins/lying.wasm",
    "manifest": "plugins/lying.toml",
    "shared-manifest": "shared/blitz-plugin.toml",
    "named": "named.wasm",
    "configuration": "blitz.toml",
    "certificate": "cert.pem",
    "key": "key.pem",
    "authority": "ca.pem",
}
SITE = """
listen = ["127.0.0.1:0"]
plugin_dir = "plugins"
cache_dir = "{cache}"
[[tls.certs]]
cert = "cert.pem"
key = "key.pem"
[tls]
client_auth = "optional"
client_ca = "ca.pem"
[[plugins]]
name = "named"
file = "named.wasm"
[[plugins]]
name = "shared"
file = "shared/shared.wasm"
[[routes]]
answer = {{ status = 200, body = "ok" }}
"""


@pytest.fixture(scope="module")
def compiled(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("compiled")


@pytest.fixture
def site(tmp_path: Path, compiled: Path) -> Path:
    """A directory with everything that a gateway reads."""
    wasm = bytes(wasmtime.wat2wasm(GUEST))
    for name in ("plugins", "shared"):
        (tmp_path / name).mkdir()
    for name in ("plugins/lying.wasm", "named.wasm", "shared/shared.wasm"):
        (tmp_path / name).write_bytes(wasm)
    for name in ("plugins/lying.toml", "shared/blitz-plugin.toml"):
        (tmp_path / name).write_text("schema = 1\n")
    pair = Path(localhost_certificate()).read_bytes()
    for name in ("cert.pem", "key.pem"):
        (tmp_path / name).write_bytes(pair)
    (tmp_path / "ca.pem").write_bytes(Path(authority().file).read_bytes())
    (tmp_path / "blitz.toml").write_text(SITE.format(cache=compiled))
    return tmp_path


def validate(site: Path) -> str:
    """What ``blitz validate`` finds: everything that is read is read."""
    try:
        resolved = blitz.config.resolve(load_config(site / "blitz.toml"))
    except ConfigError as error:
        return str(error)
    said = [sentence for _, sentence in check_tls(resolved)]
    return "\n".join([*said, *(error.message for _, error in trio.run(check_plugins, resolved))])


def reader(site: Path) -> Callable[[], blitz.Config]:
    return partial(load_config, site / "blitz.toml")


def cases(place: str) -> list[tuple[Callable[[Path], None], str]]:
    # A directory in plugin_dir is no plugin, whatever its name.
    return [(make, said) for make, said in KINDS.items() if (place, make) != ("plugin-dir", directory)]


@pytest.mark.parametrize("place", PLACES)
async def test_validating_says_what_it_is(site: Path, place: str) -> None:
    path = site / PLACES[place]
    with trio.fail_after(PATIENCE):
        assert await trio.to_thread.run_sync(validate, site, abandon_on_cancel=True) == ""
    for make, sentence in cases(place):
        with replaced(path, make), trio.fail_after(PATIENCE):
            said = await trio.to_thread.run_sync(validate, site, abandon_on_cancel=True)
        assert sentence in said, (make, said)
        assert str(path) in said, (make, said)


@pytest.mark.parametrize("place", PLACES)
async def test_a_start_says_what_it_is(site: Path, place: str) -> None:
    path = site / PLACES[place]
    for make, sentence in cases(place):
        with replaced(path, make), trio.fail_after(PATIENCE), pytest.raises(BlitzError) as caught:
            async with blitz.open_gateway(await reading.read_apart(reader(site))):
                pass
        assert sentence in str(caught.value), make
        assert str(path) in str(caught.value), make


@pytest.mark.parametrize("place", PLACES)
async def test_a_reload_says_what_it_is_and_the_old_one_goes_on(site: Path, place: str) -> None:
    path = site / PLACES[place]
    served = 0
    stop = trio.Event()

    async def traffic(port: int) -> None:
        nonlocal served
        stream = await trio.open_tcp_stream("127.0.0.1", port)
        while not stop.is_set():
            await stream.send_all(b"GET / HTTP/1.1\r\nHost: t\r\n\r\n")
            assert (await stream.receive_some()).startswith(b"HTTP/1.1 200 ")
            served += 1
        await stream.aclose()

    async with blitz.open_gateway(load_config(site / "blitz.toml")) as gateway:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(traffic, gateway.addresses[0][1])
            for make, sentence in cases(place):
                before = served
                with replaced(path, make), trio.fail_after(PATIENCE), pytest.raises(BlitzError) as caught:
                    await gateway.reload(reader(site))
                assert sentence in str(caught.value), make
                assert str(path) in str(caught.value), make
                assert gateway.generation == 1
                await until(lambda before=before: served > before)  # type: ignore[misc]
            await gateway.reload(reader(site))
            stop.set()
        assert gateway.generation == 2


# ---------------------------------------------------------------- the compile cache


@pytest.mark.parametrize("suffix", ["cwasm", "json", "src"])
def test_what_lies_in_the_place_of_an_entry_is_no_error(
    site: Path, tmp_path: Path, suffix: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("blitz.wasm.cache.SETTLED", -1.0)
    engine = Engine()
    cache = CompileCache(tmp_path / "cache")
    file = str(site / "named.wasm")
    for make in [None, *KINDS]:
        if make is not None:
            (entry,) = (tmp_path / "cache").glob(f"*.{suffix}")
            entry.unlink()
            make(entry)
        module, _ = cache.load(engine, file)
        assert module.export("process_request") is not None
        module.close()
        if (make is not None and suffix == "src") or make is directory:
            remove(entry)
            cache.load(engine, file)[0].close()
    engine.close()


def test_what_lies_in_the_place_of_the_cache_is_not_used(
    site: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    engine = Engine()
    for make in KINDS:
        if make is directory:
            continue
        path = tmp_path / f"{make.__name__}-cache"
        make(path)
        CompileCache(path).load(engine, str(site / "named.wasm"))[0].close()
        assert f"{path} cannot be used" in caplog.text
    engine.close()


def test_the_directory_that_was_checked_is_the_one_that_is_used(site: Path, tmp_path: Path) -> None:
    path, elsewhere = tmp_path / "cache", tmp_path / "elsewhere"
    engine = Engine()
    cache = CompileCache(path)
    path.rename(elsewhere)
    path.mkdir(mode=0o777)  # and somebody else's would be there
    cache.load(engine, str(site / "named.wasm"))[0].close()
    assert list(path.iterdir()) == []
    assert len(list(elsewhere.glob("*.cwasm"))) == 1
    engine.close()


# ---------------------------------------------------------------- while it is read


@pytest.mark.parametrize("change", ["grows", "shrinks", "is rewritten"])
def test_a_file_that_changes_while_it_is_read_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, change: str
) -> None:
    path = tmp_path / "f"
    path.write_bytes(b"x" * 100_000)
    real = os.pread

    def pread(fd: int, size: int, at: int) -> bytes:
        content = real(fd, size, at)
        if at == 0:
            size = {"grows": 100_001, "shrinks": 50_000, "is rewritten": 100_000}[change]
            path.write_bytes(b"y" * size)
            os.utime(path, (1, 1))
        return content[:60_000]

    monkeypatch.setattr(files_module.os, "pread", pread)
    with pytest.raises(FileRefused, match="changed while it was being read"):
        read_file(path, MODULE)


def test_a_name_that_changes_what_it_leads_to_gives_one_of_them_whole(tmp_path: Path) -> None:
    """Between a look and its use: never anything but a regular file, whole."""
    contents = [bytes([number]) * 70_000 for number in range(3)]
    targets = [tmp_path / f"t{number}" for number in range(3)]
    for target, content in zip(targets, contents, strict=True):
        target.write_bytes(content)
    for make in (fifo, directory, sparse, dangling):
        make(tmp_path / make.__name__)
        targets.append(tmp_path / make.__name__)
    path, done = tmp_path / "name", threading.Event()
    path.symlink_to(targets[0])

    def flip() -> None:
        chosen = random.Random(1)
        while not done.is_set():
            (tmp_path / "next").symlink_to(chosen.choice(targets))
            (tmp_path / "next").rename(path)

    thread = threading.Thread(target=flip)
    thread.start()
    seen: set[str] = set()
    try:
        ends = time.monotonic() + 20
        while not {"whole", "is a FIFO"} <= seen and time.monotonic() < ends:
            try:
                content = read_file(path, MODULE)
            except FileRefused as refused:
                seen.add(str(refused).partition(",")[0])
            else:
                assert content in contents
                seen.add("whole")
    finally:
        done.set()
        thread.join()
    assert {"whole", "is a FIFO"} <= seen


def test_the_largest_is_read_and_one_more_is_not(tmp_path: Path) -> None:
    kind = Kind("a thing", 2**20)
    (tmp_path / "f").write_bytes(b"x" * 2**20)
    assert len(read_file(tmp_path / "f", kind)) == 2**20
    (tmp_path / "f").write_bytes(b"x" * (2**20 + 1))
    with pytest.raises(FileRefused, match="is 1048577 bytes, more than the 1 MiB that a thing may have"):
        read_file(tmp_path / "f", kind)


# ---------------------------------------------------------------- disks that do not answer


async def test_a_disk_that_does_not_answer_holds_up_nobody(
    site: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reading, "READ_TIMEOUT", 0.3)
    answers = threading.Event()
    hanging = {""}
    real = os.open

    def hang(path: str, *words: object, **more: object) -> int:
        if os.fspath(path) in hanging:
            answers.wait(PATIENCE)
        return real(path, *words, **more)  # type: ignore[arg-type]

    monkeypatch.setattr(files_module.os, "open", hang)
    try:
        async with blitz.open_gateway(load_config(site / "blitz.toml")) as gateway:
            # More often than there are threads to wait in.
            for place in ("named", "plugin-dir", "manifest", "key", "configuration", "named"):
                path = site / PLACES[place]
                hanging = {str(path)}
                with trio.fail_after(PATIENCE / 4), pytest.raises(ConfigError) as caught:
                    await gateway.reload(reader(site))
                assert "does not answer" in str(caught.value)
            hanging = {str(site / PLACES["named"])}
            monkeypatch.setattr(reading, "READ_TIMEOUT", PATIENCE)
            async with trio.open_nursery() as nursery:

                async def reload() -> None:
                    with pytest.raises(ConfigError, match="the gateway is ending"):
                        await gateway.reload(reader(site))

                nursery.start_soon(reload)
                await trio.sleep(0.1)
                with trio.fail_after(PATIENCE / 4):  # the end does not wait for it
                    await gateway.drain()
    finally:
        answers.set()


async def test_the_file_that_does_not_come_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reading, "READ_TIMEOUT", 0.1)
    answers = threading.Event()

    def hang(*words: object, **more: object) -> None:
        answers.wait(PATIENCE)

    monkeypatch.setattr(files_module.os, "stat", hang)
    with pytest.raises(ConfigError) as caught:
        await reading.read_apart(partial(read_file, tmp_path / "some.file", MODULE))
    answers.set()
    assert str(caught.value) == (
        f"{tmp_path}/some.file: not read within 0.1 s: its disk or network file system does not answer; "
        "see to it, and load again"
    )


# ---------------------------------------------------------------- names


def odd_names(count: int) -> list[bytes]:
    """Names of files that are no text, or none that a terminal should see."""
    chosen = random.Random(7)
    letters = bytes(number for number in range(1, 256) if number != ord("/"))
    made = {bytes(chosen.choices(letters, k=chosen.randint(1, 12))) for _ in range(count)}
    made |= {b"caf\xe9", b"\xff", b"\x1b[2J", b"a\nb: c", b"\xe2\x80\xaetxt", b"\xed\xa0\x80"}
    return sorted(made)


def test_an_odd_name_is_a_sentence_of_one_printable_line(site: Path) -> None:
    for name in odd_names(40):
        path = os.fsencode(site / "plugins") + b"/x" + name + b".wasm"
        Path(os.fsdecode(path)).write_bytes(bytes(wasmtime.wat2wasm(GUEST)))
        said = validate(site)
        os.unlink(path)
        if shown(os.fsdecode(name)) == os.fsdecode(name) and not said:
            continue  # a name like any other
        assert said.count("is not a plugin name") == 1, (name, said)
        assert said.isprintable(), (name, said)
        said.encode()


def test_a_path_of_odd_names_works(site: Path) -> None:
    odd = Path(os.fsdecode(os.fsencode(site) + b"/caf\xe9 \x1b[1m"))
    odd.mkdir()
    for name in ("plugins", "shared", "named.wasm", "cert.pem", "key.pem", "ca.pem", "blitz.toml"):
        (site / name).rename(odd / name)
    text = (odd / "blitz.toml").read_text()
    (odd / "blitz.toml").write_text(text.replace("cache_dir", "#"))
    assert validate(odd) == ""
    (odd / "named.wasm").write_bytes(b"nonsense")
    said = validate(odd)
    assert "caf\\xe9 \\x1b[1m/named.wasm is not WebAssembly" in said
    said.encode()


async def test_watching_survives_what_comes_into_its_directory(site: Path) -> None:
    pytest.importorskip("watchfiles")
    wasm = bytes(wasmtime.wat2wasm(GUEST))
    guest = site / "plugins" / "lying.wasm"
    async with rig(plugins=[Plugin(name="guest", file=str(guest))], watch=True) as test:
        for number, name in enumerate(odd_names(10)):
            path = Path(os.fsdecode(os.fsencode(site / "plugins") + b"/" + name))
            path.write_bytes(b"")
            if number % 3 == 0:
                path.unlink()
        for make in KINDS:
            make(site / "plugins" / f"{make.__name__}.wasm")
            make(site / "plugins" / f"{make.__name__}.toml")
        with trio.fail_after(PATIENCE):
            guest.with_name("next").write_bytes(wasm + b"\0\2\1x")  # a custom section
            guest.with_name("next").rename(guest)
            await until(lambda: test.gateway.statistics().last_reload, PATIENCE)
        assert (await test.get())[0] == 200


def test_a_nul_in_a_path_is_a_sentence(site: Path) -> None:
    for key in ('plugin_dir = "a\\u0000b"', 'cache_dir = "\\u0000"'):
        (site / "blitz.toml").write_text(f'{key}\n[[routes]]\nanswer = {{ body = "" }}\n')
        assert "has a NUL in it, which no path has" in validate(site)
    with pytest.raises(FileRefused, match="has a NUL in its name"):
        read_file("a\0b", CONFIGURATION)


LONG = 500_000
LONG_KEYS = {
    "bare": ".".join(["a"] * LONG) + " = 1",
    "table": "[" + ".".join(["a"] * LONG) + "]",
    "quoted": " . ".join(['"a.b"', "'c'"] * (LONG // 8)) + " = 1",
    "escaped": ".".join(['"\\"a"', '"\\\\"'] * (LONG // 8)) + " = 1",
    "inline": "x = {" + ".".join(["a"] * LONG) + " = 1}",
    "in-an-array": "x = [{" + ".".join(["a-b"] * (LONG // 2)) + " = 1}]",
}


@pytest.mark.parametrize("place", ["manifest", "configuration"])
@pytest.mark.parametrize("kind", LONG_KEYS)
def test_a_key_costs_no_more_than_its_length(site: Path, place: str, kind: str) -> None:
    """A dotted key costs its reader the square of its parts: at half a million, all memory there is."""
    path = site / PLACES[place]
    path.write_text(f"schema = 1\n\n{LONG_KEYS[kind]}\n")
    assert f"{path}:3: has a key of more than 64 parts" in validate(site)


def test_texts_that_look_like_long_keys_cost_little(tmp_path: Path) -> None:
    for text in ("a" * 900_000, '"' * 900_000, "'\"" * 400_000, "a." * 63 + "a = 1", "a .\t" * 200_000):
        (tmp_path / "f").write_text(text)
        read_document(str(tmp_path / "f"))
    (tmp_path / "f").write_text(".".join(["a"] * 64) + " = 1")
    assert read_document(str(tmp_path / "f")).problems == []


@pytest.mark.parametrize("place", ["manifest", "configuration"])
def test_values_at_any_depth_are_a_sentence_or_read(site: Path, place: str) -> None:
    path = site / PLACES[place]
    table = "config.defaults" if place == "manifest" else "upstreams"
    outer = f"[{table}.{'.'.join(['x'] * 55)}]\n{'y.' * 40}z = "
    for depth in (1, 20, 90, 150, *range(300, 520, 20), 2000, 100_000):
        for before, value in (
            (outer, "[" * depth + "]" * depth),
            (f"[{table}]\nz = ", "[" * depth + "]" * depth),
            (f"[{table}]\nz = ", "{a = " * depth + "1" + "}" * depth),
            (f"[{table}]\nz = ", "[{a = " * depth + "1" + "}]" * depth),
        ):
            path.write_text(f"schema = 1\n{before}{value}\n")
            said = validate(site)
            assert depth < 100 or f"{path}: nests its values too deeply" in said, depth
