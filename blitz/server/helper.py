"""Tasks that work beside the traffic, kept going: what one raises ends that attempt, and nothing else.

A helper that fails begins anew after a pause, which doubles while it goes on failing. The log has a line when
it fails, with what is lost meanwhile, and one when it has worked again for a while (``blitz.trouble``). Every
task that a gateway starts is one of these, or stands with its reason in ``tests/server/test_helper.py``.
"""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable

import trio

from blitz.trouble import Trouble, reason_of

__all__ = ["keep_going"]

_log = logging.getLogger("blitz.server")

FIRST_PAUSE, MAX_PAUSE = 0.1, 30.0  # seconds
STEADY = 5.0  # seconds without a failure, after which it works again

# Not failures: somebody ends the task, or the program.
_ENDS = (trio.Cancelled, KeyboardInterrupt, SystemExit, GeneratorExit)


async def keep_going(name: str, lost: str, run: Callable[[], Awaitable[object]]) -> None:
    """Run *run* until it returns, however often it raises. Raises only what ends the task from outside.

    Args:
        name: the helper, as the beginning of a sentence.
        lost: what does not happen while it fails, as the end of one.
        run: begins the work anew each time.
    """
    trouble = Trouble(_log, name, lost)
    pause = 0.0
    while True:
        began = trio.current_time()
        try:
            await _run(run, trouble)
            return
        except BaseException as error:
            ends, failure = _part(error)
            if failure is not None:
                _say(trouble, failure)
            if ends is error:
                raise
            if ends is not None:
                raise ends from None
        if trio.current_time() - began >= STEADY:
            pause = 0.0
        pause = min(max(2 * pause, FIRST_PAUSE), MAX_PAUSE)
        await trio.sleep(pause)


async def _run(run: Callable[[], Awaitable[object]], trouble: Trouble) -> None:
    if not trouble.there:
        await run()
        return
    async with trio.open_nursery() as nursery:
        nursery.start_soon(_end_of, trouble)
        await run()
        nursery.cancel_scope.cancel()


async def _end_of(trouble: Trouble) -> None:
    await trio.sleep(STEADY)
    trouble.ends()


def _part(error: BaseException) -> tuple[BaseException | None, BaseException | None]:
    """What of *error* ends the task, and what is a failure of the helper."""
    if isinstance(error, BaseExceptionGroup):
        return error.split(_ENDS)
    return (error, None) if isinstance(error, _ENDS) else (None, error)


def _say(trouble: Trouble, failure: BaseException) -> None:
    try:
        trouble.begins(reason_of(failure))
        _log.debug("a helper failed", exc_info=failure)
    except Exception:  # no memory for the line, say: the next attempt says it
        return
