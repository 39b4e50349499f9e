"""Long work on the main thread, cut into steps between which the window answers."""

import math
import time
from collections.abc import Callable, Generator, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

SECONDS_AT_ONCE = 0.03
SECONDS_FOR_A_THREAD = 0.005
"""Python's other threads get on only while the main thread sleeps: Qt's event loop keeps the interpreter's lock."""


Returned = TypeVar("Returned")


def atOnce(steps: Generator[None, None, Returned]) -> Returned:
    """Does all steps, and returns what the last one does."""
    while True:
        try:
            next(steps)
        except StopIteration as end:
            return end.value


def slabs(shape: tuple[int, ...], voxels: int) -> Iterator[slice]:
    """Yields ranges along an array's first axis that hold at most so many voxels each, one slice at least."""
    step = max(1, voxels // max(1, math.prod(shape[1:])))
    for first in range(0, shape[0], step):
        yield slice(first, min(first + step, shape[0]))


def inThread(work: Callable[[], Returned]) -> Generator[None, None, Returned]:
    """Does something that touches neither Qt nor the scene in a thread, and waits for it in steps."""
    with ThreadPoolExecutor(1) as pool:
        found = pool.submit(work)
        while not found.done():
            time.sleep(SECONDS_FOR_A_THREAD)
            yield
    return found.result()


def inSteps(
    steps: Iterator[None],
    whenDone: Callable[[], None],
    whenFailed: Callable[[Exception], None],
    goesOn: Callable[[], bool],
) -> None:
    """Does some steps at once, and the next whenever the application has nothing else to do.

    Args:
        steps: each of them shorter than a tenth of a second.
        whenDone: called after the last step.
        whenFailed: called when a step has failed, which ends the work.
        goesOn: asked before each turn; once it says no, nothing further is done.
    """

    import qt  # scripts without Qt do all at once

    def turn() -> None:
        if not goesOn():
            if isinstance(steps, Generator):
                steps.close()  # what it holds open, such as a file, is closed now
            return
        until = time.monotonic() + SECONDS_AT_ONCE
        try:
            next(steps)
            while time.monotonic() < until:
                next(steps)
        except StopIteration:
            whenDone()
        except Exception as error:
            whenFailed(error)
        else:
            qt.QTimer.singleShot(0, turn)

    turn()
