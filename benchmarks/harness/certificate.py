"""A certificate for the servers that speak TLS in a benchmark: all of them the same one."""

from __future__ import annotations

import subprocess
from functools import cache
from pathlib import Path

from .errors import BenchError
from .places import CACHE

__all__ = ["lay_certificate"]

_DAYS = 3650


def lay_certificate(folder: Path) -> None:
    """Write ``tls.pem`` into the folder: an EC key (P-256) and its certificate, always the same."""
    (folder / "tls.pem").write_bytes(_certificate().read_bytes())
    (folder / "tls.pem").chmod(0o600)


@cache
def _certificate() -> Path:
    path = CACHE / "certificate.pem"
    if not path.exists():
        CACHE.mkdir(parents=True, exist_ok=True)
        partial = path.with_suffix(".part")
        command = ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1"]
        command += ["-nodes", "-days", str(_DAYS), "-subj", "/CN=bench.example"]
        command += ["-addext", "subjectAltName=DNS:bench.example", "-keyout", "-", "-out", "-"]
        try:
            done = subprocess.run(command, capture_output=True, timeout=60)
        except OSError as exc:
            raise BenchError(f"no certificate without openssl: {exc}") from exc
        if done.returncode:
            raise BenchError(f"openssl made no certificate: {done.stderr.decode()[-500:]}")
        partial.touch(0o600)
        partial.write_bytes(done.stdout)
        partial.rename(path)
    return path
