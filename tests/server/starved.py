"""A gateway in a process that the kernel gives nothing more: ``python -m tests.server.starved KIND``.

The connections are there, the bodies are not: they are to arrive all the same, in both directions. Prints
"whole" when they did. A process of its own, because limits and filters of system calls are a process's.
"""

from __future__ import annotations

import ctypes
import fcntl
import hashlib
import os
import platform
import resource
import struct
import sys
from collections.abc import Callable
from pathlib import Path

import trio

from .harness import Rig, Served, rig

SIZE = 4 * 1024 * 1024
BODY = os.urandom(SIZE)
UNABLE = 77  # exit status: this machine cannot be made to refuse that
SPLICE = {"x86_64": 275, "aarch64": 76}.get(platform.machine())
PIPE_SIZE = 256 * 1024  # what splice.py asks for in one call
_kept: list[int] = []


def no_descriptors() -> None:
    """Every number below the limit is in use."""
    free = os.dup(0)
    os.close(free)
    resource.setrlimit(resource.RLIMIT_NOFILE, (free, resource.getrlimit(resource.RLIMIT_NOFILE)[1]))


def no_pipe_memory() -> None:
    """The user has no more pages for pipes: new ones get two, and F_SETPIPE_SZ is refused."""
    largest, soft = (
        int(Path(f"/proc/sys/fs/pipe-{name}").read_text()) for name in ("max-size", "user-pages-soft")
    )
    if os.getuid() == 0:
        os.setuid(65534)  # root has as many as it likes
    pages = largest // resource.getpagesize()
    if not 0 < soft // pages < 400:
        sys.exit(UNABLE)
    for _ in range(soft // pages + 1):
        ends = os.pipe2(os.O_CLOEXEC)
        _kept.extend(ends)
        try:
            fcntl.fcntl(ends[1], fcntl.F_SETPIPE_SZ, largest)
        except PermissionError:
            return
    sys.exit(UNABLE)


def no_splice() -> None:
    refuse_splice(any_length=True)


def no_splice_out() -> None:
    """Into the pipe it goes, in calls for PIPE_SIZE; out of it, with what went in, it does not."""
    refuse_splice(any_length=False)


def refuse_splice(*, any_length: bool) -> None:
    """A seccomp filter: splice(2) fails with ENOMEM, unless it is for PIPE_SIZE and *any_length* is false."""
    if SPLICE is None:
        sys.exit(UNABLE)
    load, equal, end, allow, fail = 0x20, 0x15, 0x06, 0x7FFF0000, 0x00050000 | 12  # ENOMEM
    code = [(load, 0, 0, 0), (equal, 0, 3, SPLICE)]  # the call's number
    code += [(load, 0, 0, 16 + 4 * 8), (equal, 1, 0, 0 if any_length else PIPE_SIZE), (end, 0, 0, fail)]
    code.append((end, 0, 0, allow))
    program = ctypes.create_string_buffer(b"".join(struct.pack("HBBI", *one) for one in code))
    header = struct.pack("HxxxxxxP", len(code), ctypes.addressof(program))
    libc = ctypes.CDLL(None, use_errno=True)
    no_new_privileges, set_seccomp, by_filter = 38, 22, 2
    if libc.prctl(no_new_privileges, 1, 0, 0, 0) or libc.prctl(set_seccomp, by_filter, header, 0, 0):
        sys.exit(UNABLE)


def no_small_pipe(test: Rig) -> None:
    """A pipe of two pages would be kept, and slow down whoever gets it next."""
    for ends in test.gateway._context.pipes._idle:
        assert fcntl.fcntl(ends[0], fcntl.F_GETPIPE_SZ) == PIPE_SIZE


async def script(served: Served) -> None:
    while True:
        method, target = (await served.head()).split(b" ")[:2]
        answer = BODY if target == b"/large" else b"ok"
        if method == b"POST":
            answer = hashlib.sha256(await served.exactly(SIZE)).hexdigest().encode()
        await served.send(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(answer) + answer)


async def exchange_bodies(starve: Callable[[], None]) -> None:
    async with rig(script) as test:
        client = await test.connect()
        await client.send(b"GET / HTTP/1.1\r\nHost: test\r\n\r\n")
        await client.answer()
        starve()
        with trio.fail_after(20):
            await client.send(b"GET /large HTTP/1.1\r\nHost: test\r\n\r\n")
            assert (await client.answer())[2] == BODY
            await client.send(b"POST / HTTP/1.1\r\nHost: test\r\nContent-Length: %d\r\n\r\n" % SIZE)
            await client.send(BODY)
            assert (await client.answer())[2].decode() == hashlib.sha256(BODY).hexdigest()
        no_small_pipe(test)


KINDS = {one.__name__: one for one in (no_descriptors, no_pipe_memory, no_splice, no_splice_out)}

if __name__ == "__main__":
    trio.run(exchange_bodies, KINDS[sys.argv[1]])
    print("whole")
