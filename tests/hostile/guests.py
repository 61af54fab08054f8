"""The hostile guests of this directory: one behaviour each, and what has to come of it.

The first two lines of a file say what the guest does and what is expected:

    refused TEXT            the plugin does not load, with that text in the sentence
    start-trap TEXT         an instance does not start; start-timeout HOOK: it would never
    trap TEXT               the hook fails; timeout HOOK: it would never end
    verdict TEXT            the hook ends with an error
    cleanup-trap TEXT       the hook is fine, cleanup fails; cleanup-timeout HOOK
    passes                  nothing comes of it
    logs TEXT               nothing but a log line with that text
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from tests.conftest import compile_wat

DIRECTORY = Path(__file__).resolve().parent / "guests"


@dataclass(frozen=True)
class HostileGuest:
    name: str
    outcome: str
    text: str
    path: Path

    @property
    def wasm(self) -> bytes:
        return compile_wat(self.path.read_text(encoding="utf-8"))

    @property
    def has_response(self) -> bool:
        return "process_response" in self.path.read_text(encoding="utf-8").split("(module", 1)[1]


def read(path: Path) -> HostileGuest:
    line = path.read_text(encoding="utf-8").splitlines()[1]
    outcome, _, text = line.removeprefix(";; expect: ").partition(" ")
    return HostileGuest(path.stem, outcome, text, path)


GUESTS = [read(path) for path in sorted(DIRECTORY.glob("*.wat"))]
