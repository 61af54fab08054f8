"""Where the built-in plugins are: inside an installed package, else in a checkout's ``plugins/``."""

from __future__ import annotations

from pathlib import Path

from blitz.errors import ConfigError

__all__ = ["builtin_plugins"]

NAMES = ("request_logger", "rate_limiter", "auth_custom")
_PACKAGE = Path(__file__).resolve().parent.parent
PLACES = (_PACKAGE / "_demo", _PACKAGE.parent / "plugins")  # put there by setup.py; the source of both


def builtin_plugins() -> Path:
    """The directory that holds them.

    Raises:
        ConfigError: this installation has none.
    """
    for place in PLACES:
        if all((place / f"{name}.wasm").is_file() for name in NAMES):
            return place
    places = " nor in ".join(str(place) for place in PLACES)
    raise ConfigError(
        f"the built-in plugins ({', '.join(NAMES)}) are neither in {places}; "
        "install the wheel that `make dist` builds, or run from a checkout"
    )
