"""`make test-slicer SLICER=…`: runs the tests of Testing/slicer in a real Slicer, each file in a process of its own.

What fails, crashes, hangs or leaves a Python error in the log makes the exit code 1; blocks of the main thread over 100 ms
are listed. Without a display it is run under `xvfb-run`.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

HERE = Path(__file__).resolve().parent
MODULE = HERE.parents[2] / "HSSLSegmentation"
PYTHON_ERROR = re.compile(r"Traceback \(most recent call last\)|^\[(?:FATAL|CRITICAL)\]", re.MULTILINE)
"""What a line of the log looks like that no user should ever cause."""
SHOWN_BLOCKS = 8


def main() -> int:
    arguments = _arguments()
    files = sorted([*HERE.parent.glob("HSSL*Test.py"), *HERE.glob("HSSL*Test.py")])
    if arguments.only:
        files = [f for f in files if any(name in f.name for name in arguments.only)]
    if not files:
        print("no such test")
        return 2
    failed = False
    for file in files:
        failed |= not _run(file, arguments)
    print("\nAll passed." if not failed else "\nSomething failed.")
    return int(failed)


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("slicer", help="Slicer's executable (its launcher)")
    parser.add_argument("--python", default="", help="Python for the jobs, where Slicer's own has no torch")
    parser.add_argument("--only", action="append", help="part of the name of a test file; may be repeated")
    parser.add_argument("--minutes", type=float, default=20.0, help="longest time for one file")
    parser.add_argument("--logs", type=Path, help="folder that keeps the logs")
    return parser.parse_args()


def _run(file: Path, arguments: argparse.Namespace) -> bool:
    """Runs one file in a Slicer of its own; prints what came of it and returns whether it passed."""
    with tempfile.TemporaryDirectory(prefix="hssl-slicer-") as folder:
        report = Path(folder) / "report.json"
        command = [arguments.slicer, "--no-splash", "--ignore-slicerrc", "--disable-settings"]
        command += ["--additional-module-paths", str(MODULE), "--python-script", str(HERE / "inSlicer.py")]
        # The report comes first: Slicer takes a first argument that ends in .py for the script.
        command += [str(report), str(file), arguments.python]
        if sys.platform == "linux" and not os.environ.get("DISPLAY") and shutil.which("xvfb-run"):
            command = ["xvfb-run", "--auto-servernum", "--server-args=-screen 0 1600x1200x24", *command]
        began = time.monotonic()
        print(f"\n{file.stem}")
        log, code = _output(command, arguments.minutes * 60)
        if arguments.logs is not None:
            arguments.logs.mkdir(parents=True, exist_ok=True)
            (arguments.logs / f"{file.stem}.log").write_text(log, encoding="utf-8")
        found = json.loads(report.read_text(encoding="utf-8")) if report.exists() else {"tests": [], "running": "start"}
    return _tell(found, log, code, time.monotonic() - began)


def _output(command: list[str], seconds: float) -> tuple[str, int | None]:
    """Returns what the process printed and its exit code, None when its time was over."""
    process = subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, errors="replace", start_new_session=True
    )
    try:
        return process.communicate(timeout=seconds)[0], process.returncode
    except subprocess.TimeoutExpired:
        if sys.platform == "win32":
            process.kill()
        else:
            os.killpg(process.pid, 9)
        return process.communicate()[0], None


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
