"""Read a module's debug information in a process of its own, which a hostile module may hang or balloon.

    python -m blitz.wasm.symbolize MAX_CPU MAX_DATA OUT SOURCE  < module.wasm

OUT is the number of an open descriptor, which gets the table (``blitz.wasm.symbols``). On standard output
stand lines for ``blitz.wasm.compile_process``, the other side:

    ready             all is set up, and nothing of the module was read
    partly SENTENCE   the table will not have everything
    made SIZE SHA256  the table is complete
"""

from __future__ import annotations

import hashlib
import os
import sys

from blitz.wasm.child import bound_this_process, end_with_parent, say, write_all
from blitz.wasm.dwarf import read_symbols
from blitz.wasm.symbols import MAX_TABLE

__all__: list[str] = []

SHARE = 0.6  # of the CPU time for reading; what is left is for a unit that was begun, and for the table


def main(words: list[str]) -> int:
    """Symbolise standard input to a descriptor; the exit code."""
    max_cpu, max_data, out = (int(word) for word in words[:3])
    end_with_parent()
    bound_this_process(max_cpu, max_data, MAX_TABLE)
    say("ready")
    table, why = read_symbols(sys.stdin.buffer.read(), max_cpu * SHARE)
    made = table.pack() if table.rows or table.spans else b""
    if why:
        say(f"partly {why}")
    if len(made) > MAX_TABLE:
        return 1
    write_all(out, made)
    say(f"made {len(made)} {hashlib.sha256(made).hexdigest()}")
    return 0


if __name__ == "__main__":
    status = main(sys.argv[1:])
    # Nothing to tidy: the process ends here, and its memory with it.
    os._exit(status)
