"""Errors that a user can mend; each says what is wrong, where, and ends a process with its own exit code."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Literal

WayOut = Literal[
    "",
    "frame",
    "channel",
    "check",
    "create",
    "overwrite",
    "spacing",
    "structures",
    "pattern",
    "label_pattern",
    "mixed",
    "nan_is_background",
    "patient",
    "modality",
    "islands",
]
"""What a door of the program may offer as the way out of an error; each door has its own name for it."""


def encodable(text: str) -> str:
    """Returns the text with bytes that are no UTF-8 (of odd file names and damaged headers) written as escapes.

    What is told of a file ends up in JSON, where a single such byte would lose the rest.
    """
    return text.encode("utf-8", "backslashreplace").decode("utf-8")


class HSSLError(Exception):
    """Base of every error that is told to the user without a traceback.

    Attributes:
        exit_code: exit status of a process that ends with this error.
        hint: what the user can do about it, in words that fit every door; empty when the message already says so.
        way_out: the option or action that does it; the door that tells the error adds its own name for it.
    """

    exit_code = 1

    def __init__(self, message: str, hint: str = "", way_out: WayOut = ""):
        super().__init__(encodable(message))
        self.hint, self.way_out = hint, way_out


class ConfigurationError(HSSLError):
    """A setting is missing, unknown, or contradicts another one.

    Attributes:
        fields: of the configuration, as "finetune.task", that the message is about; empty where it names none.
    """

    exit_code = 3

    def __init__(self, message: str, hint: str = "", way_out: WayOut = "", fields: Sequence[str] = ()):
        super().__init__(message, hint, way_out)
        self.fields = tuple(fields)


class InputError(HSSLError):
    """A file or folder that the user named cannot be used; the message names it and the reason."""

    exit_code = 4

    def __init__(self, path: str | Path, reason: str, hint: str = "", way_out: WayOut = ""):
        super().__init__(f"{path}: {reason}", hint, way_out)
        self.path = Path(encodable(str(path)))
        self.reason = encodable(reason)


class WorkspaceError(InputError):
    """A workspace folder is missing, damaged, or of a newer schema."""


class ModelFileError(InputError):
    """A model file is not what it claims to be; nothing of it was executed or unpacked."""

    exit_code = 5


class LockedError(HSSLError):
    """Another process is working on the same run."""

    exit_code = 6


class NumericalError(HSSLError):
    """A loss became NaN or infinite; the last good checkpoint is kept."""

    exit_code = 7


class MemoryExhaustedError(HSSLError):
    """The smallest batch does not fit on the device."""

    exit_code = 8


class OutputError(HSSLError):
    """A place cannot be written to, or writing there would replace what must stay; the message names it and why."""

    exit_code = 9

    def __init__(self, path: str | Path, reason: str, hint: str = "", way_out: WayOut = ""):
        super().__init__(f"{path}: {reason}", hint, way_out)
        self.path = Path(encodable(str(path)))
        self.reason = encodable(reason)


STOPPED_EXIT_CODE = 10
"""Exit status of a job that stopped on request, with a checkpoint to resume from."""

PARTIAL_EXIT_CODE = 11
"""Exit status of a job that ended well for some of its inputs and not for others; its result's "failed" lists those, or,
of an evaluation, "without_prediction" the cases that nobody predicted."""
