"""Telling why something could not be done: a reason in words for a user's slip, a traceback for a fault of the program."""

from collections.abc import Iterator
from contextlib import contextmanager

import slicer

from .. import wording
from ..jobs.job import JobError
from ..refusal import Refusal


@contextmanager
def told(what: str, waitCursor: bool = False) -> Iterator[None]:
    """Displays `what` with the reason when the block raises, and goes on after it.

    Args:
        what: what could not be done, as a sentence.
        waitCursor: whether the block takes its time.
    """
    from hssl.errors import HSSLError

    reason = ""
    with slicer.util.tryWithErrorDisplay(what, waitCursor=waitCursor):
        try:
            yield
        except (Refusal, HSSLError, JobError) as error:
            reason = "\n".join(text for text in (str(error), getattr(error, "hint", "")) if text)
    if reason:
        slicer.util.warningDisplay(wording.literal(f"{what}\n\n{reason}"))
