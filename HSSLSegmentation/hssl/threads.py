"""One function over many items in threads: results in order, a bounded look-ahead, an end when asked to stop."""

from __future__ import annotations

import locale
import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from itertools import islice
from typing import TypeVar

from .events import Stop
from .machine import cores

T = TypeVar("T")
R = TypeVar("R")


class _ItkTurn:
    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._numbers = "C"

    def __enter__(self) -> None:
        self._lock.acquire()
        self._numbers = locale.setlocale(locale.LC_NUMERIC)
        if self._numbers != "C":
            locale.setlocale(locale.LC_NUMERIC, "C")

    def __exit__(self, *_: object) -> None:
        if self._numbers != "C":
            locale.setlocale(locale.LC_NUMERIC, self._numbers)
        self._lock.release()


itk_io = _ItkTurn()
"""Held while a reader or writer of SimpleITK works.

Two readers at once can free the same string, and the heap is ruined (2.5.7). And ITK reads and writes the numbers of
text headers as the process's locale says: inside a program with decimal commas a spacing of 0.75 is 0, and what is
written nobody can read. So the locale is "C" meanwhile.
"""


def in_threads(function: Callable[[T], R], items: Iterable[T], stop: Stop, threads: int | None = None) -> Iterator[R]:
    """Yields `function(item)` for each item, in the order of the items; ends early when `stop` says so.

    Args:
        function: checking and measuring files is what this is for; ITK's readers take turns (`itk_io`).
        items: taken only as far ahead as there are threads, so that memory is bounded.
        stop: asked before every result.
        threads: None: one for each core, at most 8.
    """
    threads = threads or min(8, cores())
    left = iter(items)
    pool = ThreadPoolExecutor(threads)
    try:
        waiting: deque[Future[R]] = deque(pool.submit(function, item) for item in islice(left, threads + 1))
        while waiting and not stop():
            result = waiting.popleft().result()
            waiting.extend(pool.submit(function, item) for item in islice(left, 1))
            yield result
    finally:
        pool.shutdown(wait=True, cancel_futures=True)
