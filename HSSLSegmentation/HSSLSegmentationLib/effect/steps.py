"""Long work on the main thread, cut into steps between which the window answers."""

import time
from collections.abc import Callable, Iterator

import qt

SECONDS_AT_ONCE = 0.05


def inSteps(
    steps: Iterator[None],
    whenDone: Callable[[], None],
    whenFailed: Callable[[ValueError], None],
    goesOn: Callable[[], bool],
) -> None:
    """Does some steps at once, and the next whenever the application has nothing else to do.

    Args:
        steps: each of them shorter than a tenth of a second.
        whenDone: called after the last step.
        whenFailed: called when a step has raised a ValueError (such as a SceneVolumeError), which ends the work.
        goesOn: asked before each turn; once it says no, nothing further is done.
    """

    def turn() -> None:
        if not goesOn():
            return
        until = time.monotonic() + SECONDS_AT_ONCE
        try:
            next(steps)
            while time.monotonic() < until:
                next(steps)
        except StopIteration:
            whenDone()
        except ValueError as error:
            whenFailed(error)
        else:
            qt.QTimer.singleShot(0, turn)

    turn()
