"""Work that the window need not wait for: one piece of a kind at a time, done at once when scene or application close."""

from collections.abc import Callable, Generator

from ..steps import atOnce, inSteps
from .telling import told


class Work:
    """What keeping a label and adding volumes have in common, wherever in the panel they are asked for.

    Attributes:
        text: what is being done, as a sentence; "" when nothing is.

    Args:
        panel: the panel.
        failure: what is told, with the reason, when it fails.
    """

    def __init__(self, panel, failure: str):
        self.panel = panel
        self.text = ""
        self._failure = failure
        self._steps: Generator[None, None, None] | None = None
        self._isDone = False

    def finish(self) -> bool:
        """Does at once what is left to do; nobody is asked anything. Returns whether that was something, and was done."""
        steps, self._steps = self._steps, None
        if steps is not None:
            with told(self._failure, waitCursor=True):
                atOnce(steps)
            self.text = ""
        return steps is not None and self._isDone

    def _begin(self, text: str, steps: Generator[None, None, bool], whenDone: Callable[[], None]) -> None:
        """Starts the work.

        Args:
            text: what is being done.
            steps: return whether all was done that was asked for.
            whenDone: called at the end if it was.
        """
        self.text, self._isDone, self._steps = text, False, (work := self._work(steps))
        inSteps(work, lambda: self._ended(whenDone), self._failed, lambda: self._steps is work)
        self.panel.refresh()

    def _work(self, steps: Generator[None, None, bool]) -> Generator[None, None, None]:
        self._isDone = yield from steps

    def _mayAsk(self) -> bool:
        """Tells whether the user can be asked something: not while scene or application close."""
        return self._steps is not None

    def _ended(self, whenDone: Callable[[], None]) -> None:
        self.text, self._steps = "", None
        self.panel.forget()
        if self._isDone:
            whenDone()
        self.panel.refresh()

    def _failed(self, problem: Exception) -> None:
        self.text, self._steps = "", None
        self.panel.forget()
        with told(self._failure):
            raise problem
        self.panel.refresh()
