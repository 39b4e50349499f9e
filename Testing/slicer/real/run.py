"""`make test-slicer SLICER=…`: runs the tests of Testing/slicer in a real Slicer, each file in a process of its own.

What fails, crashes, hangs or leaves a Python error in the log makes the exit code 1; blocks of the main thread over 100 ms
are listed. Then the application is closed in every state, and no process may be left. Without a display it is run under
`xvfb-run`.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

HERE = Path(__file__).resolve().parent
MODULE = HERE.parents[2] / "HSSLSegmentation"
PYTHON_ERROR = re.compile(
    r"Traceback \(most recent call last\)|^\[(?:FATAL|CRITICAL)\]|(?:find|access) subject hierarchy item .*HSSL preview",
    re.MULTILINE,
)
"""What a line of the log looks like that no user should ever cause. Of other segmentations than the preview Slicer says by
itself that it finds no item, when a scene is closed that holds two of them whose segments have Slicer's own ids."""
SHOWN_BLOCKS = 8
EXITS = ("job", "effect", "round", "preview")
"""States in which the application is closed, see `exitStates.py`."""
MARK = "HSSL_TEST_RUN"
"""Variable of the environment by which the processes of a run are found again."""
SECONDS_TO_GO = 20.0
"""For the processes that were left behind to end by themselves."""


def main() -> int:
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    arguments = _arguments()
    files = sorted([*HERE.parent.glob("HSSL*Test.py"), *HERE.glob("HSSL*Test.py")])
    if arguments.only:
        files = [f for f in files if any(name in f.name for name in arguments.only)]
    exits = [e for e in EXITS if not arguments.only or any(name in f"exit-{e}" for name in arguments.only)]
    if not files and not exits:
        print("no such test")
        return 2
    failed = False
    for file in files:
        failed |= not _run(file, arguments)
    for state in exits:
        failed |= not _exit(state, arguments)
    print("\nAll passed." if not failed else "\nSomething failed.")
    return int(failed)


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("slicer", help="Slicer's executable (its launcher)")
    parser.add_argument("--python", default="", help="Python for the jobs, where Slicer's own has no torch")
    parser.add_argument(
        "--only", action="append", help="part of the name of a test file, or exit-job and such; may be repeated"
    )
    parser.add_argument("--minutes", type=float, default=20.0, help="longest time for one file")
    parser.add_argument("--logs", type=Path, help="folder that keeps the logs")
    return parser.parse_args()


def _run(file: Path, arguments: argparse.Namespace) -> bool:
    """Runs one file in a Slicer of its own; prints what came of it and returns whether it passed."""
    with tempfile.TemporaryDirectory(prefix="hssl-slicer-") as folder:
        report = Path(folder) / "report.json"
        began = time.monotonic()
        print(f"\n{file.stem}", flush=True)
        # The report comes first: Slicer takes a first argument that ends in .py for the script.
        log, code = in_slicer(arguments, file.stem, "inSlicer.py", str(report), str(file), arguments.python)
        found = json.loads(report.read_text(encoding="utf-8")) if report.exists() else {"tests": [], "running": "start"}
    return _tell(found, log, code, time.monotonic() - began)


def _exit(state: str, arguments: argparse.Namespace) -> bool:
    """Closes a Slicer in a state; prints what came of it and returns whether nothing was left and nothing went wrong."""
    with tempfile.TemporaryDirectory(prefix="hssl-slicer-") as folder:
        report = Path(folder) / "report.json"
        print(f"\nexit-{state}", flush=True)
        began = time.monotonic()
        log, code = in_slicer(arguments, f"exit-{state}", "exitStates.py", str(report), state, arguments.python)
        found = (
            json.loads(report.read_text(encoding="utf-8")) if report.exists() else {"problems": ["nothing was done"]}
        )
        problems = list(found["problems"])
        if code != 0:
            problems.append("hung" if code is None else f"exit code {code}")
        left = left_behind()
        problems += [f"left behind: {process}" for process in left]
        errors = PYTHON_ERROR.search(log)
        if errors:
            problems.append("a Python error in the log: " + log[errors.start() : errors.start() + 1500])
        if state == "job" and not problems and not list(Path(folder).glob("my scans/runs/*/last.pt")):
            problems.append("the job cannot be resumed")
    print(f"  {'FAILED' if problems else 'ok':8} ({time.monotonic() - began:.1f} s)")
    for problem in problems:
        print("           " + problem.replace("\n", "\n           "))
    return not problems


def left_behind(seconds: float = SECONDS_TO_GO) -> list[str]:
    """Returns the command lines of the processes of this run that do not end by themselves so soon (Linux only)."""
    end = time.monotonic() + seconds
    while (found := _marked()) and time.monotonic() < end:
        time.sleep(0.5)
    return found


def _marked() -> list[str]:
    wanted = f"{MARK}={os.getpid()}".encode()
    found = []
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            if wanted in (folder / "environ").read_bytes().split(b"\0"):
                line = (folder / "cmdline").read_bytes().replace(b"\0", b" ").decode("utf-8", "replace")
                found.append(f"{folder.name} {line[:200]}")
        except OSError:
            continue  # it has ended, or is another user's
    return found


def in_slicer(
    arguments: argparse.Namespace, name: str, script: str, *rest: str, screen: str = "1600x1200"
) -> tuple[str, int | None]:
    """Runs a script in a Slicer; returns what was printed and the exit code, None when its time was over."""
    command = [arguments.slicer, "--no-splash", "--ignore-slicerrc", "--disable-settings"]
    command += ["--additional-module-paths", str(MODULE), "--python-script", str(HERE / script), *rest]
    if sys.platform == "linux" and not os.environ.get("DISPLAY") and shutil.which("xvfb-run"):
        command = ["xvfb-run", "--auto-servernum", f"--server-args=-screen 0 {screen}x24", *command]
    log, code = _output(command, arguments.minutes * 60)
    if arguments.logs is not None:
        arguments.logs.mkdir(parents=True, exist_ok=True)
        (arguments.logs / f"{name}.log").write_text(log, encoding="utf-8")
    return log, code


def _output(command: list[str], seconds: float) -> tuple[str, int | None]:
    """Returns what the process printed and its exit code, None when its time was over."""
    # Slicer gives itself and its children the lowest priority; on a busy computer everything would take its time.
    environment = {"SLICER_BACKGROUND_THREAD_PRIORITY": "0", **os.environ, MARK: str(os.getpid())}
    process = subprocess.Popen(
        command,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors="replace",
        start_new_session=True,
        env=environment,
    )
    try:
        return process.communicate(timeout=seconds)[0], process.returncode
    except subprocess.TimeoutExpired:
        _kill(process)
        return process.communicate()[0], None
    except BaseException:  # the run itself is ended: nothing of it stays
        _kill(process)
        raise


def _kill(process: subprocess.Popen) -> None:
    if sys.platform == "win32":
        process.kill()
    else:
        os.killpg(process.pid, 9)


def _tell(found: dict, log: str, code: int | None, seconds: float) -> bool:
    good = True
    for test in found["tests"]:
        good &= test["outcome"] in ("ok", "skipped")
        print(f"  {test['outcome']:8} {test['name']}  ({test['seconds']:.1f} s)")
        if test["reason"]:
            print("           " + test["reason"].strip().replace("\n", "\n           "))
    if code is None:
        good = False
        print(f"  HANGS    in {found['running']}: ended after {seconds:.0f} s")
    elif not found.get("ended"):
        good = False
        print(f"  CRASHED  in {found['running']} (exit code {code})")
        print("           " + "\n           ".join(log.splitlines()[-15:]))
    errors = PYTHON_ERROR.findall(log)
    if errors:
        good = False
        first = PYTHON_ERROR.search(log)
        assert first is not None
        print(f"  ERRORS   {len(errors)} Python errors in the log; the first:")
        print("           " + log[first.start() : first.start() + 1500].replace("\n", "\n           "))
    blocks = sorted(found.get("blocks", []), key=lambda block: -block["worked"])
    if blocks:
        print(f"  {len(blocks)} blocks in which the main thread worked over 100 ms; the longest (and by the clock):")
        for block in blocks[:SHOWN_BLOCKS]:
            print(f"           {block['worked'] * 1000:6.0f} ms ({block['seconds'] * 1000:.0f} ms)  {block['test']}")
    return good


if __name__ == "__main__":
    sys.exit(main())
