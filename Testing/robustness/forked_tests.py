"""Runs tests again and again without importing torch each time: every run is a fork of this process. See `mutants.py`.

A line of JSON that is read is one run: `{"arguments": [...], "seconds": 30}` are pytest's arguments and the longest
time. A line is answered for each: pytest's exit code, or null where the time was over.
"""

from __future__ import annotations

import json
import os
import signal
import sys
import time

PATIENCE = 0.01
"""Seconds between two looks at a run."""


def run(arguments: list[str], seconds: float) -> int | None:
    """Returns pytest's exit code; None where the time was over, and everything that was left of the run is ended."""
    pid = os.fork()
    if pid == 0:
        os.setsid()
        nothing = os.open(os.devnull, os.O_RDWR)
        for descriptor in range(3):
            os.dup2(nothing, descriptor)
        os._exit(int(pytest.main(arguments)))
    end = time.monotonic() + seconds
    code = None
    while code is None and time.monotonic() < end:
        time.sleep(PATIENCE)
        ended, status = os.waitpid(pid, os.WNOHANG)
        code = os.waitstatus_to_exitcode(status) if ended else None
    try:
        os.killpg(pid, signal.SIGKILL)
    except ProcessLookupError:
        return code
    if code is None:
        os.waitpid(pid, 0)
    return code


if __name__ == "__main__":
    sys.path += sys.argv[1:]  # the last place, so that what the tests themselves need comes from where it always does
    # Nothing of ours: that is what is mutated.
    import highdicom  # noqa: F401
    import hypothesis  # noqa: F401
    import monai.networks.nets  # noqa: F401
    import pytest
    import scipy.ndimage  # noqa: F401
    import SimpleITK  # noqa: F401
    import torch  # noqa: F401

    for line in sys.stdin:
        print(json.dumps(run(**json.loads(line))), flush=True)
