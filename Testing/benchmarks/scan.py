"""Benchmark, row 5: scan, re-scan and check of 2,000 files against reading them once with SimpleITK alone.

    PYTHONPATH=HSSLSegmentation python Testing/benchmarks/scan.py [--files 10000 --rounds 2]

Half of the files are images and half their labels. The scan looks at the voxels of every image before it counts as one, the
check reads images and labels. In each round the sides alternate: SimpleITK in one thread, as a script would do it; SimpleITK
in as many threads as the scan has; the first scan into a new workspace; the check of it; the re-scan of that workspace from
its file on disk. Ratios are formed within a round; their median and range are reported. Beside them stands the peak of memory
over the peak after scan and check of a fifth of the files.
"""

from __future__ import annotations

import argparse
import os
import shutil
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import SimpleITK as sitk
from measuring import spread, status_megabytes, write

from hssl.imaging.volumes import write_volume
from hssl.workspace.catalogue import Catalogue, Task
from hssl.workspace.check import check_workspace
from hssl.workspace.scan import add
from hssl.workspace.sources import find


def generate(folder: Path, count: int, size: int) -> None:
    """Writes `count` compressed NIfTI files: an image of noise and its label, one pair after the other."""
    generator = np.random.default_rng(0)
    for number in range(count // 2):
        image = sitk.GetImageFromArray(generator.normal(300, 60, (size // 2, size, size)).astype(np.int16))
        image.SetSpacing((0.8, 0.8, 3.0))
        write_volume(image, folder / "images" / f"case_{number:05d}.nii.gz")
        write_volume(sitk.Cast(image > 380, sitk.sitkUInt8), folder / "labels" / f"case_{number:05d}.nii.gz")


def read(path: str) -> tuple[int, ...]:
    return sitk.ReadImage(path).GetSize()


def simpleitk(files: list[str], threads: int) -> float:
    start = time.perf_counter()
    if threads == 1:
        for path in files:
            read(path)
    else:
        with ThreadPoolExecutor(threads) as pool:
            list(pool.map(read, files))
    return time.perf_counter() - start


def scan(workspace: Path, data: Path, known: int) -> float:
    start = time.perf_counter()
    report = add(workspace, find(data), Task(name="t"))
    seconds = time.perf_counter() - start
    assert (len(report.added), report.unchanged) == ((0, known) if known else (len(report.added), 0))
    assert not report.refused
    return seconds


def check(workspace: Path, count: int) -> float:
    start = time.perf_counter()
    report = check_workspace(workspace)
    seconds = time.perf_counter() - start
    assert (report.read, report.problems) == (count, [])
    return seconds


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--files", type=int, default=2000)
    parser.add_argument("--size", type=int, default=48, help="voxels along x and y; half as many slices")
    parser.add_argument("--rounds", type=int, default=7)
    given = parser.parse_args()
    threads = min(8, os.cpu_count() or 1)
    with tempfile.TemporaryDirectory() as name:
        data, workspace = Path(name) / "data", Path(name) / "workspace"
        generate(data, given.files, given.size)
        generate(Path(name) / "fifth", given.files // 5, given.size)
        Catalogue.create(workspace)
        scan(workspace, Path(name) / "fifth", known=0)
        check(workspace, given.files // 10)
        peak_of_fifth = status_megabytes("VmHWM")
        files = sorted(str(p) for p in data.rglob("*.nii.gz"))
        simpleitk(files, 1)  # the file system's cache is warm for every side
        seconds: dict[str, list[float]] = {
            "simpleitk": [],
            "simpleitk_threads": [],
            "first": [],
            "check": [],
            "again": [],
        }
        for _ in range(given.rounds):
            shutil.rmtree(workspace, ignore_errors=True)
            Catalogue.create(workspace)
            seconds["simpleitk"].append(simpleitk(files, 1))
            seconds["first"].append(scan(workspace, data, known=0))
            seconds["check"].append(check(workspace, len(files) // 2))
            seconds["simpleitk_threads"].append(simpleitk(files, threads))
            seconds["again"].append(scan(workspace, data, known=len(files) // 2))
        peak = status_megabytes("VmHWM")
        megabytes = sum(os.path.getsize(f) for f in files) / 1e6
    pairs = {
        "first_over_simpleitk": [f / s for f, s in zip(seconds["first"], seconds["simpleitk"], strict=True)],
        "check_over_simpleitk": [c / s for c, s in zip(seconds["check"], seconds["simpleitk"], strict=True)],
        "first_over_simpleitk_threads": [
            f / s for f, s in zip(seconds["first"], seconds["simpleitk_threads"], strict=True)
        ],
        "peak_over_peak_of_a_fifth": [peak / peak_of_fifth],
        "first_over_again": [f / a for f, a in zip(seconds["first"], seconds["again"], strict=True)],
    }
    write(
        "scan.json", "5", "scan and check",
        {"first_over_simpleitk": "at most 2.5", "check_over_simpleitk": "at most 2.5",
         "peak_over_peak_of_a_fifth": "at most 1.1", "first_over_again": "at least 20"},
        {name: spread(values) for name, values in pairs.items()},
        seconds={name: spread(values) for name, values in seconds.items()},
        peak_megabytes=round(peak), files=len(files), megabytes=round(megabytes, 1), rounds=given.rounds, threads=threads,
    )  # fmt: skip


if __name__ == "__main__":
    main()
