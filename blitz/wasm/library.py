"""Find wasmtime's shared library inside the installed ``wasmtime`` distribution, without importing it.

Importing the package costs some 50 ms and is not needed: the C core opens the library itself. On a
platform without a wheel of its own, pip installs one that holds only a Windows library, so the file
is looked for, not assumed.
"""

from __future__ import annotations

import platform
import sys
from functools import cache
from importlib.util import find_spec
from pathlib import Path

from blitz.errors import ConfigError

__all__ = ["WASMTIME_MAJOR", "find_library", "library_version"]

WASMTIME_MAJOR = 50  # native/wasmtime_api.h declares the structures of this version

_MACHINES = {"AMD64": "x86_64", "arm64": "aarch64", "ARM64": "aarch64"}


def find_library() -> Path:
    """Return the absolute path of wasmtime's shared library.

    Raises:
        ConfigError: wasmtime is not installed, has another major version, or has no library for this
            platform.
    """
    package = _package_directory()
    _check_version(package)
    machine = platform.machine()
    folder = f"{sys.platform}-{_MACHINES.get(machine, machine)}"
    library = package / folder / "_libwasmtime.so"
    if not library.is_file():
        raise ConfigError(
            f"wasmtime has no library for {folder} ({library} is missing): "
            "Blitz runs on linux-x86_64 and linux-aarch64 with glibc"
        )
    return library


@cache
def library_version() -> str:
    """The version of the installed wasmtime, in full."""
    return ", ".join(_versions(_package_directory()))


def _package_directory() -> Path:
    spec = find_spec("wasmtime")
    if spec is None or not spec.submodule_search_locations:
        raise ConfigError(
            f"wasmtime is not installed: pip install 'wasmtime>={WASMTIME_MAJOR},<{WASMTIME_MAJOR + 1}'"
        )
    return Path(spec.submodule_search_locations[0]).resolve()


def _check_version(package: Path) -> None:
    versions = _versions(package)
    if not versions:
        raise ConfigError(
            f"the version of wasmtime in {package} is unknown: its dist-info directory is missing"
        )
    for found in versions:
        if found.split(".")[0] != str(WASMTIME_MAJOR):
            raise ConfigError(
                f"wasmtime {found} is installed, version {WASMTIME_MAJOR} is wanted: "
                f"pip install 'wasmtime>={WASMTIME_MAJOR},<{WASMTIME_MAJOR + 1}'"
            )


def _versions(package: Path) -> list[str]:
    folders = package.parent.glob("wasmtime-*.dist-info")
    return sorted(folder.name.removeprefix("wasmtime-").removesuffix(".dist-info") for folder in folders)
