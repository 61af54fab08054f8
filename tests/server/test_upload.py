"""The rest of a request's body, sent by a task of its own: how that ends."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, cast

import pytest
import trio

from blitz.server.deadline import DeadlineWheel
from blitz.server.upload import Upload


class Body:
    """One whose next part is waited for on a descriptor on which another task waits."""

    done = False
    part: Any = None

    def __init__(self, before: Callable[[], object]) -> None:
        self._before = before

    def use_timer(self, timer: object) -> None:
        return

    async def next_part(self) -> tuple[int, int]:
        self._before()
        raise trio.BusyResourceError("another task is already reading / writing this fd")


class Upstream:
    aborted = False

    async def splice(self, body: object, timer: object) -> bool:
        return True

    def abort(self) -> None:
        self.aborted = True


@pytest.mark.parametrize("is_stopped", [True, False])
async def test_one_that_was_woken_and_stopped_in_one_pass_ends_quietly(is_stopped: bool) -> None:
    upstream = Upstream()
    body = Body(lambda: upload.stop() if is_stopped else None)
    upload = Upload(DeadlineWheel(), cast(Any, body), cast(Any, upstream), lambda: None)
    if not is_stopped:
        with pytest.raises(trio.BusyResourceError):
            await upload.run()
        return
    await upload.run()
    assert (upload.error, upload.finished, upstream.aborted) == (None, False, False)
