"""Serve with worker processes: what ``blitz run`` calls. The parent is ``parent.py``."""

from __future__ import annotations

import contextlib
import logging
import resource

from blitz.config import Config, Resolved, resolve
from blitz.gateway import Shared, too_few_descriptors
from blitz.process.launch import OnReady
from blitz.process.parent import Parent
from blitz.process.worker import Reader

__all__ = ["run"]

_log = logging.getLogger("blitz.workers")


def run(
    config: Config | Resolved, *, read_again: Reader | None = None, on_ready: OnReady | None = None
) -> int:
    """Serve *config* until a signal ends it; blocks. Takes over signals: for the command line only.

    Args:
        read_again: gives the configuration for SIGHUP and SIGUSR2; None: the same, with plugins' files anew.
        on_ready: called in the first worker once it serves.
    Returns:
        The exit code: 0 after a clean drain, 1 when something was cut off or failed.
    Raises:
        ConfigError: the configuration cannot run; nothing was served.
    """
    resolved = config if isinstance(config, Resolved) else resolve(config)
    _raise_file_limit()
    if few := too_few_descriptors(resolved):
        _log.warning("%s", few)
    shared = Shared()
    try:
        return Parent(resolved, shared, read_again, on_ready).run()
    finally:
        shared.close()


def _raise_file_limit() -> None:
    """As many descriptors as the system lets this user have: the soft limit of 1024 is for select(2)."""
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    with contextlib.suppress(OSError, ValueError):
        resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
