"""Reusable receive buffers: memory that a socket, Python and the C side all see without copies.

Operations wanted: ``recv_into`` the free end; give C an address of the filled part; take bytes from
the front; hand the whole thing to the next connection when it is empty. A head that was scanned
points into its buffer, so while an exchange runs its buffer is only appended to, never moved.

A pool keeps a bounded number of idle buffers. An idle connection holds none: ten thousand idle
clients cost no buffer memory.
"""

from __future__ import annotations

from typing import Any

from blitz._native import ffi, lib

__all__ = ["HEAD_BUFFER_SIZE", "PART_HEADROOM", "PART_SIZE", "PART_TAILROOM", "Buffer", "BufferPool"]

HEAD_BUFFER_SIZE = 16 * 1024  # most heads are below 2 KiB; the rest of the read is body or pipelined
PART_SIZE = 256 * 1024  # large parts amortise the event loop; measured best between 256 KiB and 1 MiB
PART_HEADROOM = int(lib.BLITZ_PART_HEADROOM)  # room for a chunk-size line before the data of a part
PART_TAILROOM = int(lib.BLITZ_PART_TAILROOM)  # and for CRLF and the last chunk behind it


class Buffer:
    """``data[start:end]`` is filled; ``data[end:]`` is free.

    Attributes:
        view: memoryview of all of it.
        ptr: cffi ``uint8_t *`` of its first byte, valid as long as this object.
    """

    __slots__ = ("data", "end", "ptr", "size", "start", "view")

    def __init__(self, size: int = HEAD_BUFFER_SIZE) -> None:
        self.data = bytearray(size)
        self.view = memoryview(self.data)
        self.ptr: Any = ffi.cast("uint8_t *", ffi.from_buffer(self.data))
        self.size = size
        self.start = 0
        self.end = 0

    def __len__(self) -> int:
        return self.end - self.start

    def grown(self, size: int) -> Buffer:
        """A buffer of *size* with the same filled bytes, moved to its front."""
        bigger = Buffer(size)
        filled = self.end - self.start
        bigger.view[:filled] = self.view[self.start : self.end]
        bigger.end = filled
        return bigger

    def compact(self) -> None:
        """Move the filled bytes to the front. No head may point into this buffer."""
        filled = self.end - self.start
        if self.start:
            self.view[:filled] = self.view[self.start : self.end]
            self.start, self.end = 0, filled


class BufferPool:
    """Idle buffers of one size; at most *max_idle* are kept."""

    __slots__ = ("_idle", "_max_idle", "_size")

    def __init__(self, size: int, max_idle: int) -> None:
        self._size = size
        self._max_idle = max_idle
        self._idle: list[Buffer] = []

    def take(self) -> Buffer:
        return self._idle.pop() if self._idle else Buffer(self._size)

    def give(self, buffer: Buffer) -> None:
        """Take back a buffer that nothing points into any more. Odd sizes are left to the collector."""
        if buffer.size == self._size and len(self._idle) < self._max_idle:
            buffer.start = buffer.end = 0
            self._idle.append(buffer)
