#!/usr/bin/env python3
"""Build the plugins of ``src/`` into ``*.wasm``, their manifests and SHA256SUMS.

    python plugins/build.py            build and write
    python plugins/build.py --check    build into a temporary directory, compare byte for byte

The compiler is the C compiler of ziglang 0.17.1 from PyPI, in a virtual environment of its own under
``$BLITZ_CACHE`` (default ``~/.cache/blitz``). Flags are fixed, sources are named by relative paths and the
result is stripped, so the bytes are the same on every machine.
"""

from __future__ import annotations

import argparse
import hashlib
import os
import subprocess
import sys
import tempfile
import venv
from pathlib import Path

ZIGLANG = "0.17.1"
HERE = Path(__file__).resolve().parent
PLUGINS = ("auth_custom", "rate_limiter", "request_logger")

FLAGS = (
    # Not newer than what every engine of the last years has.
    *("-target", "wasm32-freestanding", "-mcpu=mvp+bulk_memory+sign_ext+mutable_globals"),
    *("-std=c11", "-Os", "-nostdlib", "-fno-sanitize=all", "-I", "sdk/c"),
    *("-Wall", "-Wextra", "-Wconversion", "-Wpedantic", "-Werror"),
    # The stack lies below the data: an overflow traps. The deepest hook takes less than 4 KiB of it.
    *("-Wl,--no-entry", "-Wl,--strip-all", "-Wl,-z,stack-size=16384"),
)


def cache_dir() -> Path:
    return Path(os.environ.get("BLITZ_CACHE") or Path.home() / ".cache" / "blitz")


def zig() -> list[str]:
    """The command of the pinned compiler; installed into the cache on the first call."""
    home = cache_dir() / f"ziglang-{ZIGLANG}"
    python = home / "bin" / "python"
    if not (home / "complete").exists():
        print(f"installing ziglang=={ZIGLANG} into {home}", file=sys.stderr)
        venv.create(home, with_pip=True, clear=True)
        subprocess.run([python, "-m", "pip", "install", "--quiet", f"ziglang=={ZIGLANG}"], check=True)
        (home / "complete").touch()
    return [str(python), "-m", "ziglang"]


def compile_plugin(name: str, out: Path) -> None:
    caches = {"ZIG_GLOBAL_CACHE_DIR": cache_dir() / "zig", "ZIG_LOCAL_CACHE_DIR": cache_dir() / "zig"}
    command = [*zig(), "cc", *FLAGS, "-o", str(out), f"src/{name}/plugin.c"]
    subprocess.run(command, cwd=HERE, env=os.environ | {k: str(v) for k, v in caches.items()}, check=True)
    out.chmod(0o644)


def bind(manifest: str, wasm: bytes) -> str:
    """*manifest* with the digest of the module that it is for: beside another one it is not applied."""
    digest = hashlib.sha256(wasm).hexdigest()
    return manifest.replace("[plugin]\n", f'[plugin]\nsha256 = "{digest}"\n', 1)


def build(out: Path) -> list[Path]:
    """Write all that is built into *out*; -> the files, SHA256SUMS last."""
    files = []
    for name in PLUGINS:
        wasm, manifest = out / f"{name}.wasm", out / f"{name}.toml"
        compile_plugin(name, wasm)
        manifest.write_text(bind((HERE / "src" / name / "blitz-plugin.toml").read_text(), wasm.read_bytes()))
        files += [wasm, manifest]
    sums = out / "SHA256SUMS"
    sums.write_text("".join(f"{hashlib.sha256(f.read_bytes()).hexdigest()}  {f.name}\n" for f in files))
    return [*files, sums]


def same(fresh: Path, committed: Path) -> bool:
    return committed.exists() and committed.read_bytes() == fresh.read_bytes()


def check() -> int:
    """Compare a fresh build with the committed files; -> exit status."""
    with tempfile.TemporaryDirectory() as directory:
        fresh = build(Path(directory))
        differing = [
            f.name
            for f in fresh
            if not (HERE / f.name).exists() or (HERE / f.name).read_bytes() != f.read_bytes()
        ]
    known = {f.name for f in fresh}
    unknown = [f.name for f in HERE.glob("*.wasm") if f.name not in known]
    for name in differing:
        print(
            f"plugins/{name} is not what its source builds to: run plugins/build.py and commit it",
            file=sys.stderr,
        )
    for name in unknown:
        print(f"plugins/{name} has no source in plugins/src: remove it", file=sys.stderr)
    if not differing and not unknown:
        print(f"{len(fresh)} files are the same, byte for byte")
    return 1 if differing or unknown else 0


def main() -> int:
    parser = argparse.ArgumentParser(description="Build the built-in plugins.")
    parser.add_argument("--check", action="store_true", help="compare with the committed files")
    if parser.parse_args().check:
        return check()
    for file in build(HERE):
        print(f"{file.stat().st_size:7}  plugins/{file.name}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
