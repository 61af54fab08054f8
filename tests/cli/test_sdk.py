"""``blitz sdk``: what it copies, and over what it does not."""

import re
import subprocess

import pytest

from blitz.sdk import sdk_files

from .commands import PLUGINS, ROOT


@pytest.mark.skipif(not (ROOT / ".git").exists(), reason="git knows what belongs to the SDKs")
def test_the_sdks_are_copied_whole(run, tmp_path):
    result = run("sdk", "out")
    assert (result.exit_code, result.output) == (
        0,
        "out: assemblyscript, c, cpp, go, rust, zig; begin with out/README.md\n",
    )
    listed = ["git", "ls-files", "-z", "plugins/sdk"]
    tracked = subprocess.run(listed, cwd=ROOT, capture_output=True, text=True, check=True).stdout
    files = {name.removeprefix("plugins/sdk/") for name in tracked.split("\0") if name}
    copied = {
        str(path.relative_to(tmp_path / "out")) for path in (tmp_path / "out").rglob("*") if path.is_file()
    }
    assert copied == files
    for name in files:
        assert (tmp_path / "out" / name).read_bytes() == (PLUGINS / "sdk" / name).read_bytes()


def test_links_of_the_copied_pages_lead_to_copied_files(run, tmp_path):
    run("sdk", "out")
    pages = list((tmp_path / "out").rglob("*.md"))
    assert len(pages) == 7
    for page in pages:
        for target in re.findall(r"\]\(([^)#]+)(?:#[^)]*)?\)", page.read_text()):
            assert target.startswith("https://") or (page.parent / target).resolve().exists(), (page, target)
            assert target.startswith("https://") or (page.parent / target).resolve().is_relative_to(tmp_path)


def test_what_building_leaves_behind_is_not_copied(tmp_path):
    for name in ("rust/src/lib.rs", "rust/target/debug/lib", "rust/Cargo.lock", "c/hello.wasm", "c/blitz.h"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    assert [str(file) for file in sdk_files(tmp_path)] == ["c/blitz.h", "rust/src/lib.rs"]


def test_the_sdks_are_copied_over_nothing(run, tmp_path):
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "README.md").write_text("mine")
    (tmp_path / "file").touch()
    for name in ("mine", "file"):
        result = run("sdk", name)
        assert (result.exit_code, result.stderr) == (
            2,
            f"{name} is there and no empty directory; name one that is not there yet\n",
        )
    assert [path.name for path in (tmp_path / "mine").iterdir()] == ["README.md"]
    result = run("sdk", "file/below")
    assert (result.exit_code, result.stderr) == (
        1,
        "the SDKs cannot be copied to file/below: not a directory\n",
    )
    (tmp_path / "empty").mkdir()
    assert run("sdk", "empty").exit_code == 0
