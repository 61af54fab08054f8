"""Static routes: the response that ``blitz/static/respond.py`` plans, made and sent.

A small file is in memory, and is a local response like any other. A large one goes out part by part: a thread
puts the next part into a pipe (the pages of the file, no copy), or over TLS into memory, and the client is
waited for before the one after that. Nobody but the exchange touches its socket: a thread that a disk keeps
holds a pipe, and the file.
"""

from __future__ import annotations

import math
import os
import time
from collections import deque
from collections.abc import Callable, Iterator
from functools import partial
from typing import TYPE_CHECKING, Any, TypeVar

from blitz._native import ffi
from blitz.errors import FileError
from blitz.http.heads import field_values, span_bytes
from blitz.static.respond import Plan, plan
from blitz.static.tree import is_same

from .local_response import Reply, add_fields, build_local, build_reply
from .splice import CANNOT
from .static_files import Known

if TYPE_CHECKING:
    from blitz.static.respond import Site

    from .exchange import Exchange
    from .splice import PipePool
    from .static_files import StaticFiles

__all__ = ["NotKnown", "Source", "build_plan", "find_plan", "plan_nowait", "send_file"]

PART = 256 * 1024  # bytes: what a pipe of ours holds (``splice.py``)
MAX_LOOKS = 32  # names that one request may need: the file, its codings, the fallback, each perhaps twice
NULL = ffi.NULL
T = TypeVar("T")


class NotKnown(Exception):
    """The disk has to be asked what *name* is."""

    def __init__(self, name: bytes) -> None:
        super().__init__(name)
        self.name = name


class AskedFile:
    """See ``respond.Asked``: of a request head (cffi ``blitz_head *``)."""

    __slots__ = ("_head", "_whole", "method", "target")

    def __init__(self, head: Any, target: bytes, *, whole: bool) -> None:
        """*whole*: no range counts."""
        self._head = head
        self._whole = whole
        self.method = span_bytes(head, head.method)
        self.target = target

    @property
    def path(self) -> bytes:
        head = self._head
        return span_bytes(head, head.target).partition(b"?")[0]

    @property
    def fields(self) -> AskedFile:
        return self

    def get(self, name: bytes, /) -> bytes | None:
        if self._whole and name == b"range":
            return None
        values = field_values(self._head, name)
        return b", ".join(values) if values else None


def plan_nowait(files: StaticFiles, site: Site, request: Any, target: bytes, *, whole: bool = False) -> Plan:
    """The response to *request* (cffi ``blitz_head *``, rewritten), as far as no disk has to be asked.

    Args:
        target: as the client sent it. whole: no range counts.
    Raises:
        NotKnown: one has to be.
    """

    until = math.inf

    def find(name: bytes) -> Known:
        nonlocal until
        known = files.find_nowait(site.tree, name)
        if known is None:
            raise NotKnown(name)
        until = min(until, known.until)
        return known

    asked = AskedFile(request, target, whole=whole)
    made = plan(site, asked, find, int(time.time()), os.urandom(16).hex().encode())
    made.until = until
    return made


async def find_plan(
    files: StaticFiles, site: Site, request: Any, target: bytes, *, whole: bool = False
) -> Plan:
    """The same with asking it. Raises FileError, ShortageError."""
    for _ in range(MAX_LOOKS):
        try:
            return plan_nowait(files, site, request, target, whole=whole)
        except NotKnown as unknown:
            await files.find(site.tree, unknown.name)
    raise FileError("what is known of files is out of date before it can be used")


def build_plan(cdata: Any, made: Plan) -> None:
    """Put the response that *made* says into the exchange *cdata*, without a body that is in a file."""
    if made.body is None:
        build_local(cdata, made.status, None)
        add_fields(cdata, made.fields)
        return
    body = b"" if made.file is not None else b"".join(one for one in made.body if isinstance(one, bytes))
    build_reply(cdata, Reply(made.status, body, made.kind, tuple(made.fields)))


async def send_file(exchange: Exchange, made: Plan, known: Known) -> None:
    """Send the response in ``cdata.response``, behind all hooks, with the body of *made*, which is in
    the file *known*; whoever calls this uses it.

    Raises:
        FileError: the disk does not answer; or the file is another one by now: less than was promised has
            been sent.
        trio.BrokenResourceError, ClientGone: the client is gone.
    """
    source = Source(exchange, known)
    exchange.rule_response()
    if not exchange.frame_local(made.size):  # HEAD
        await exchange.send_head(NULL, 0, last=True)
        return
    pieces = deque(_pieces(made))
    # A disk that does not answer is told of as long as nothing has been said.
    part = await source.take(*pieces[0]) if isinstance(pieces[0], tuple) else None
    try:
        await exchange.send_head(NULL, 0, last=False)
        while pieces:
            piece = pieces.popleft()
            if isinstance(piece, bytes):
                await exchange.downstream.send_rest(piece)
                _count(exchange, len(piece))
                continue
            if part is None:
                part = await source.take(*piece)
            await part.send(exchange)
            _count(exchange, part.size)
            if piece[0] + part.size < piece[1]:
                pieces.appendleft((piece[0] + part.size, piece[1]))
            part = None
    finally:
        if part is not None:
            part.close()


def _pieces(made: Plan) -> Iterator[bytes | tuple[int, int]]:
    """With no empty ones."""
    for piece in made.body or ():
        if isinstance(piece, bytes) or piece[0] < piece[1]:
            yield piece


def _count(exchange: Exchange, sent: int) -> None:
    if exchange.line is not None:
        exchange.line.sent += sent


class _Part:
    """Bytes of a file, on their way: in a pipe (of *pipes*), or in memory.

    Attributes:
        size: how many.
    """

    __slots__ = ("_data", "_pipe", "_pipes", "size")

    def __init__(self, size: int, data: bytes, pipe: tuple[int, int] | None, pipes: PipePool) -> None:
        self.size = size
        self._data = data
        self._pipe = pipe
        self._pipes = pipes

    async def send(self, exchange: Exchange) -> None:
        if self._pipe is None:
            await exchange.downstream.send_rest(self._data)
            return
        await exchange.downstream.send_pipe(self._pipe[0], self.size)
        pipe, self._pipe = self._pipe, None
        self._pipes.give(pipe, empty=True)

    def close(self) -> None:
        """It was not sent, or not all of it."""
        if self._pipe is not None:
            self._pipes.give(self._pipe, empty=False)
            self._pipe = None


class Source:
    """The open file of an exchange, read by the threads of its disk."""

    __slots__ = ("_disk", "_exchange", "_files", "_known", "_uses_pipes")

    def __init__(self, exchange: Exchange, known: Known) -> None:
        entry = exchange.entry
        assert entry is not None
        assert entry.site is not None
        self._exchange = exchange
        self._files = exchange.resources.files
        self._known = known
        self._disk = self._files.disk_of(entry.site.tree)
        self._uses_pipes = exchange.downstream.takes_pipes  # over TLS the bytes come into memory

    async def take(self, start: int, end: int) -> _Part:
        """The first bytes of those from *start* up to *end*, at least one, to be sent.

        Raises:
            FileError: the file is another one by now, or ends before, or the disk does not answer.
        """
        pipes = self._exchange.resources.pipes
        pipe = pipes.take() if self._uses_pipes else None
        if pipe is not None:
            size = min(end - start, PART)
            filled = await self._ask(partial(_fill, start=start, size=size, write_end=pipe[1]), pipe)
            if filled:
                return _Part(filled, b"", pipe, pipes)
            pipes.give(pipe, empty=True)
            self._uses_pipes = False  # this file system cannot
        data = await self.read(start, end)
        return _Part(len(data), data, None, pipes)

    async def read(self, start: int, end: int) -> bytes:
        """The same, as bytes."""
        return await self._ask(partial(_read, start=start, size=min(end - start, PART)), None)

    async def _ask(self, read: Callable[[int], T], pipe: tuple[int, int] | None) -> T:
        """What a thread gets by *read*. Until it has ended it has the file, and *pipe* after an error."""
        files, known = self._files, self._known
        fd, seen = known.looked.fd, known.looked.seen
        is_over = is_lost = False

        def work() -> T | OSError | FileError:
            try:
                got = read(fd)
                return got if is_same(fd, seen) else FileError("a file was changed while it was being sent")
            except (OSError, FileError) as error:
                return error

        def ended(_: object = None) -> None:
            nonlocal is_over
            is_over = True
            files.leave(known)
            if is_lost:
                self._discard(pipe)

        files.use(known)
        try:
            job = self._disk.begin(work, ended, ended, always=True)
        except BaseException:
            is_lost = True
            ended()
            raise
        try:
            result = await self._disk.wait(job)
        except BaseException:
            is_lost = True
            if is_over:
                self._discard(pipe)
            else:
                self._disk.give_up(job)  # it ends now, or when the disk lets go of its thread
            raise
        if isinstance(result, OSError | FileError):
            self._discard(pipe)
            if isinstance(result, FileError):
                raise result
            raise FileError(f"a file cannot be read: {result.strerror}") from result
        return result

    def _discard(self, pipe: tuple[int, int] | None) -> None:
        if pipe is not None:
            self._exchange.resources.pipes.give(pipe, empty=False)


def _fill(fd: int, *, start: int, size: int, write_end: int) -> int:
    """Bytes that went into the pipe; 0: this file system cannot do that. In a thread."""
    try:
        filled = os.splice(fd, write_end, size, offset_src=start)
    except OSError as error:
        if error.errno in CANNOT:
            return 0
        raise
    if not filled:
        raise FileError("a file ended before its end: it was cut while it was being sent")
    return filled


def _read(fd: int, *, start: int, size: int) -> bytes:
    """In a thread."""
    data = os.pread(fd, size, start)
    if not data:
        raise FileError("a file ended before its end: it was cut while it was being sent")
    return data
