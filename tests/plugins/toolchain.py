"""The commands that the pages of the SDKs show, run as they stand there."""

from __future__ import annotations

import importlib.util
import os
import re
import shlex
import subprocess
from pathlib import Path
from types import ModuleType

from blitz.errors import PluginTrap

from .blitz_host import BlitzPlugin
from .cases import PLUGINS
from .reference_host import Message

SDKS = PLUGINS / "sdk"


def builder() -> ModuleType:
    """``plugins/build.py``, which has the pinned compiler."""
    spec = importlib.util.spec_from_file_location("plugins_build", PLUGINS / "build.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def listings(page: Path, kind: str) -> list[str]:
    """The code blocks of *page* in the language *kind*."""
    return re.findall(
        rf"^ *```{kind}\n(.*?)^ *```", page.read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL
    )


def run_zig(command: str, directory: Path) -> None:
    """Run *command* of a page, which calls zig, in *directory*; paths of the checkout are found."""
    words = shlex.split(command.replace("\\\n", " ").replace("plugins/sdk/", f"{SDKS}/"))
    words = words[3:] if words[:3] == ["python", "-m", "ziglang"] else words[1:]
    build = builder()
    cache = str(build.cache_dir() / "zig")
    env = os.environ | {"ZIG_GLOBAL_CACHE_DIR": cache, "ZIG_LOCAL_CACHE_DIR": cache}
    done = subprocess.run(
        [*build.zig(), *words], cwd=directory, env=env, capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stderr) == (0, "")


def check_frame(error: object, function: str, place: str = "") -> None:
    """A frame names *function*, mangled or not, and *place*, "file:line", beside it."""
    assert isinstance(error, PluginTrap)
    named = [frame for frame in error.frames if function in frame]
    assert named, error.frames
    assert any(f"{place}:" in frame for frame in named) or not place, named


def check_read_only(plugin: BlitzPlugin, greeting: str) -> None:
    """The first plugin of the C++ and Zig pages: it lets nothing through that changes something."""
    assert not plugin.plugin.has_response
    for method in ("GET", "HEAD"):
        passed = plugin.request(method, "/a", Message([("accept", "*/*")]))
        assert (passed.verdict, passed.headers) == (0, [("accept", "*/*"), ("x-hello", greeting)])
    for method in ("POST", "DELETE", "GETS", "get"):
        refused = plugin.request(method, "/a", Message())
        assert (refused.verdict, refused.status, refused.body) == (1, 405, "read only\n")
        assert ("allow", "GET, HEAD") in refused.headers
