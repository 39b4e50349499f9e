"""Measures the sides of a comparison in turn, each in a process of its own, and forms ratios within each round."""

from __future__ import annotations

import multiprocessing
import os
import statistics
import time
from collections.abc import Callable
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import psutil
from recording import record

RESULTS = Path(__file__).parent / "results"
STATUS = Path("/proc/self/status")
Measures = dict[str, float]


class Side:
    """One side of a comparison, in a process of its own: neither warms, slows or fattens the other.

    Args:
        make: a function of the script; it prepares and returns what is done in each round. A round may return measures
            of its own; "wall" and "cpu" seconds are added where it does not, and "peak_megabytes" always.
        arguments: of `make`.
    """

    def __init__(self, make: Callable[..., Callable[[], Measures | None]], *arguments: Any):
        context = multiprocessing.get_context("spawn")
        self._connection, theirs = context.Pipe()
        self._process = context.Process(target=_serve, args=(theirs, make, arguments))
        self._process.start()
        self.measures: list[Measures] = []

    def round(self) -> Measures:
        """Does one round."""
        self._connection.send(True)
        try:
            return self._connection.recv()
        except EOFError as error:
            raise RuntimeError("a side of the comparison has died; its reason stands above") from error

    def close(self) -> None:
        """Ends the process."""
        self._connection.close()
        self._process.join()


def alternated(sides: dict[str, Side], rounds: int, warm_up: int = 1) -> dict[str, list[Measures]]:
    """Lets all sides do their round in turn, `rounds` times, after rounds that do not count."""
    measured: dict[str, list[Measures]] = {name: [] for name in sides}
    try:
        for number in range(warm_up + rounds):
            for name, side in sides.items():
                measures = side.round()
                if number >= warm_up:
                    measured[name].append(measures)
                    print(f"{name:28}", "  ".join(f"{k} {v:.3f}" for k, v in measures.items()), flush=True)
    finally:
        for side in sides.values():
            side.close()
    return measured


def spread(values: list[float]) -> Measures:
    """Returns median, least and most."""
    return {"median": statistics.median(values), "least": min(values), "most": max(values)}


def ratios(measured: dict[str, list[Measures]], over: str, under: str, key: str) -> Measures:
    """Returns the spread of the ratios of two sides, each formed within one round."""
    return spread([a[key] / b[key] for a, b in zip(measured[over], measured[under], strict=True)])


def figures(measured: dict[str, list[Measures]]) -> dict[str, dict[str, Measures]]:
    """Returns the spread of everything that was measured on each side."""
    return {side: {key: spread([m[key] for m in rounds]) for key in rounds[0]} for side, rounds in measured.items()}


def write(file: str, row: str, name: str, aim: dict[str, str], ratios: dict[str, Measures], **more: Any) -> None:
    """Writes a result for `render.py`: the aim of each ratio, the ratios, and whatever else belongs to it."""
    for ratio, values in ratios.items():
        print(f"{ratio:48} {values['median']:8.3f}   ({values['least']:.3f} to {values['most']:.3f})")
    record(RESULTS / file, {"row": row, "name": name, "aim": aim, "ratios": ratios, **more})


def _serve(connection: Connection, make: Callable[..., Callable[[], Measures | None]], arguments: tuple) -> None:
    work = make(*arguments)
    process = psutil.Process()
    while True:
        try:
            connection.recv()
        except EOFError:
            return
        cpu, wall = sum(os.times()[:2]), time.perf_counter()
        own = work() or {}
        times = {"wall": time.perf_counter() - wall, "cpu": sum(os.times()[:2]) - cpu}
        connection.send({**times, **own, "peak_megabytes": _peak(process)})


def status_megabytes(name: str) -> float:
    """Returns what Linux says of this process's memory under a name such as "VmHWM" or "RssAnon"."""
    line = next(line for line in STATUS.read_text().splitlines() if line.startswith(name))
    return int(line.split()[1]) / 2**10


def _peak(process: psutil.Process) -> float:
    # getrusage would tell the peak of the parent too, from which this process was forked.
    if STATUS.exists():
        return status_megabytes("VmHWM")
    memory = process.memory_info()
    return getattr(memory, "peak_wset", memory.rss) / 2**20
