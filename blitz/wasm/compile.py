"""Compile one module in a process of its own, which a hostile module may hang or balloon.

    python -m blitz.wasm.compile ENGINE MAX_CPU MAX_DATA OUT SOURCE  < module.wasm

ENGINE is what the engine that will load it ``compiles_for``. OUT is the number of an open descriptor, which
gets the compiled form. On standard output stand lines for ``blitz.wasm.compile_process``, the other side:

    ready                          all is set up, and nothing of the module was read
    made SIZE SHA256 [gc] [debug]  the compiled form is complete; gc: the module needs that grant; debug: it
                                   has debug information
    refused SENTENCE               it does not compile
    unwritten ERRNO                OUT does not take the compiled form

Without "ready" it is the process that cannot run here; after it, whatever goes wrong comes of the module.
"""

from __future__ import annotations

import errno
import hashlib
import os
import sys

from blitz.errors import PluginLoadError
from blitz.wasm.child import bound_this_process, end_with_parent, say, write_all
from blitz.wasm.engine import Engine
from blitz.wasm.module import Module
from blitz.wasm.sections import has_debug_information

__all__ = ["MAX_OUTPUT"]

MAX_OUTPUT = 1024**3


def main(words: list[str]) -> int:
    """Compile standard input to a descriptor; the exit code."""
    max_cpu, max_data, out = (int(word) for word in words[1:4])
    source = words[4]
    end_with_parent()
    bound_this_process(max_cpu, max_data, MAX_OUTPUT)
    engine = Engine.to_compile_for(words[0])
    say("ready")
    try:
        wasm = sys.stdin.buffer.read()
        module = Module.compile(engine, wasm, source)
    except PluginLoadError as error:
        say(f"refused {error}")
        return 1
    made = module.serialize()
    try:
        write_all(out, made)
    except OSError as error:
        say(f"unwritten {error.errno or errno.EIO}")
        return 1
    traits = [*["gc"] * module.needs_gc, *["debug"] * has_debug_information(wasm)]
    say(" ".join(["made", str(len(made)), hashlib.sha256(made).hexdigest(), *traits]))
    return 0


if __name__ == "__main__":
    status = main(sys.argv[1:])
    # Nothing to tidy: the process ends here, and its memory with it.
    os._exit(status)
