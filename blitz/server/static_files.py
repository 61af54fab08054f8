"""What the gateway knows of the files of its static routes: each name for a second, small files with what is
in them, large ones open.

So a file that is asked for often costs no system call, and no request waits for a disk but the first of each
second. What clients choose is bounded: names, bytes and descriptors here, threads and who waits for them in
``disk.py``.
"""

from __future__ import annotations

from collections import OrderedDict
from typing import TYPE_CHECKING

import trio

from blitz.errors import FileError, ShortageError
from blitz.static.tree import Changed, Kind, Looked

from .disk import Disk, Job
from .shortages import SHORT

if TYPE_CHECKING:
    from blitz.static.tree import Tree

    from .deadline import DeadlineWheel

__all__ = ["Known", "StaticFiles"]

VALID = 1.0  # seconds that an answer of the disk counts, and so long again while it is asked anew
KEPT = 10.0  # seconds after that: if it has not changed, a small file is not read again
TRIES = 4  # to find a name before what is known of it is out of date, or driven out
MAX_KNOWN = 1024  # names that are something
MAX_MISSING = 1024  # names that are nothing: whoever asks for many of those does not drive out the others
MAX_MEMORY = 32 * 1024 * 1024  # bytes of small files
MAX_OPEN = 512  # descriptors of large files, those in use included

Key = tuple[int, bytes]


class Known:
    """What a name was when the disk was asked; never changes.

    Attributes:
        looked: that. until: in trio's time: from then on the disk is to be asked again.
        users: responses that read from its descriptor.
    """

    __slots__ = ("is_kept", "looked", "until", "users")

    def __init__(self, looked: Looked, until: float) -> None:
        self.looked = looked
        self.until = until
        self.users = 0
        self.is_kept = True


class StaticFiles:
    """One per gateway.

    Attributes:
        open: descriptors that are held. memory: bytes of small files that are kept.
    """

    def __init__(self, wheel: DeadlineWheel) -> None:
        self._wheel = wheel
        self._known: OrderedDict[Key, Known] = OrderedDict()  # what was used last, last
        self._missing: OrderedDict[Key, Known] = OrderedDict()
        self._jobs: dict[Key, Job[Looked]] = {}
        self._disks: dict[str, Disk] = {}
        self.open = 0
        self.memory = 0

    def disk_of(self, tree: Tree) -> Disk:
        """The threads for its root; those that are kept are also those of the next configuration."""
        disk = self._disks.get(tree.root)
        if disk is None:
            disk = self._disks[tree.root] = Disk(tree.root)
        return disk

    def find_nowait(self, tree: Tree, name: bytes) -> Known | None:
        """What *name* is, if that is known; None: ``find`` asks the disk."""
        key = (tree.number, name)
        for known_ones in (self._known, self._missing):
            known = known_ones.get(key)
            # Who comes while the disk is asked again does not wait for that.
            if known is not None and self._wheel.now < known.until + VALID * (key in self._jobs):
                known_ones.move_to_end(key)
                return known
        return None

    async def find(self, tree: Tree, name: bytes) -> Known:
        """The same, with waiting.

        Raises:
            FileError: the disk does not answer, is broken, or has too much to do; or the file is being
                written.
            ShortageError: there is no descriptor for it.
        """
        for _ in range(TRIES):
            known = self.find_nowait(tree, name)
            if known is not None:
                return known
            await self._ask(tree, name)
        raise FileError(f"the disk of {tree.root} is too slow for what is asked of it")

    async def _ask(self, tree: Tree, name: bytes) -> None:
        key, disk = (tree.number, name), self.disk_of(tree)
        job = self._jobs.get(key)
        if job is None:
            self._make_room()
            before = self._known.get(key)
            last = before.looked if before is not None else None
            job = self._jobs[key] = disk.begin(
                lambda: tree.look(name, last), lambda looked: self._keep(key, looked)
            )
        try:
            await disk.wait(job)
        except OSError as error:
            if error.errno in SHORT:
                raise ShortageError("there is no descriptor for a file", error.errno) from error
            raise FileError(f"the disk of {tree.root} is broken: {error.strerror}") from error
        except Changed:
            raise FileError(
                f"a file below {tree.root} is being written; put files there by renaming"
            ) from None
        finally:
            if job.done.is_set() and self._jobs.get(key) is job:
                del self._jobs[key]

    def sweep(self) -> None:
        """Give back what nobody has asked for of late: a file that was deleted keeps its place on the disk as
        long as it is open. Called once a second."""
        for known_ones in (self._known, self._missing):
            old = self._wheel.now - KEPT
            for key in [key for key, known in known_ones.items() if known.until < old and not known.users]:
                self._drop(known_ones.pop(key))

    # -- descriptors

    def use(self, known: Known) -> None:
        """A response reads from its descriptor; ``leave`` follows."""
        known.users += 1

    def leave(self, known: Known) -> None:
        known.users -= 1
        if not known.users and not known.is_kept:
            self._close(known)

    def close(self) -> None:
        """Give back what nobody uses."""
        for known_ones in (self._known, self._missing):
            while known_ones:
                self._drop(known_ones.popitem()[1])

    def _make_room(self) -> None:
        """So that one more large file can be open."""
        if self.open + len(self._jobs) < MAX_OPEN:
            return
        large = (key for key, known in self._known.items() if known.looked.fd >= 0 and not known.users)
        idle = next(large, None)
        if idle is None:
            raise FileError(f"{MAX_OPEN} files are open, or being opened, and no more may be")
        self._drop(self._known.pop(idle))

    def _keep(self, key: Key, looked: Looked) -> None:
        """The disk has answered."""
        self._jobs.pop(key, None)
        for known_ones in (self._known, self._missing):
            if key in known_ones:
                self._drop(known_ones.pop(key))
        known = Known(looked, trio.current_time() + VALID)
        is_something = looked.kind in (Kind.FILE, Kind.LISTING)
        keep, most = (self._known, MAX_KNOWN) if is_something else (self._missing, MAX_MISSING)
        keep[key] = known
        self.open += looked.fd >= 0
        self.memory += len(looked.body) if looked.body is not None else 0
        while len(keep) > most or (self.memory > MAX_MEMORY and len(self._known) > 1):
            self._drop((keep if len(keep) > most else self._known).popitem(last=False)[1])

    def _drop(self, known: Known) -> None:
        known.is_kept = False
        self.memory -= len(known.looked.body) if known.looked.body is not None else 0
        if not known.users:
            self._close(known)

    def _close(self, known: Known) -> None:
        self.open -= known.looked.fd >= 0
        known.looked.close()
