"""What every test in `scene` and `panel` gets: the application once, an empty scene each time, and no leftovers."""

from __future__ import annotations

import gc
import sys
import threading
import time
import traceback
import weakref

import psutil
import pytest

import harness

harness.start()

import qt  # noqa: E402

import slicer  # noqa: E402
from harness import dialogs as _dialogs  # noqa: E402
from harness import pythonqt, scripted_module  # noqa: E402

_observing: weakref.WeakSet = weakref.WeakSet()
_initialise = slicer.util.VTKObservationMixin.__init__


def _remembered(self):
    _initialise(self)
    _observing.add(self)


slicer.util.VTKObservationMixin.__init__ = _remembered


class NodeRemovals(list):
    """Nodes that were removed inside an event, in words: Slicer crashes of it, since its widgets are in the middle of
    their own update."""

    def watch(self, scene) -> None:
        self._scene = scene
        self._tag = scene.AddObserver(scene.NodeAboutToBeRemovedEvent, self._removed)

    def end(self) -> None:
        self._scene.RemoveObserver(self._tag)

    def _removed(self, scene, event) -> None:
        codes = {
            getattr(method, "__func__", method).__code__: method.__name__
            for observing in list(_observing)
            for _, _, method, *_ in observing.Observations
            if hasattr(getattr(method, "__func__", method), "__code__")
        }
        frame = sys._getframe(1)
        while frame is not None:
            if frame.f_code in codes:
                self.append(f"{codes[frame.f_code]} removes a node inside the event that it was called for")
            frame = frame.f_back


def settle() -> None:
    """Deliver what is queued: signals, timers that are due, deletions."""
    for _ in range(3):
        slicer.app.processEvents()
        slicer.app.sendPostedEvents(None, qt.QEvent.DeferredDelete)


def leftovers(before: set[int] = frozenset()) -> list[str]:
    """What a module that is gone must not leave behind, in words."""
    settle()
    gc.collect()
    found = [
        f"observer of {type(observing).__name__} on {observed.GetClassName()}: {method.__name__}"
        for observing in list(_observing)
        for observed, _, method, *_ in observing.Observations
    ]
    found += [
        f"process {process.program()} still runs"
        for process in list(pythonqt.processes)
        if process.state() != qt.QProcess.NotRunning
    ]
    found += [
        f"timer with an interval of {timer.interval} ms still runs"
        for timer in list(pythonqt.timers)
        if timer.isActive()
    ]
    found += [
        f"child process {child.pid} {child.name()}"
        for child in psutil.Process().children(recursive=True)
        if child.pid not in before and child.status() != psutil.STATUS_ZOMBIE
    ]
    found += [
        f"thread {thread.name}"
        for thread in threading.enumerate()
        if thread is not threading.main_thread() and not thread.daemon
    ]
    return found


class SlotErrors(list):
    """Exceptions that left a slot: Qt only prints them, so that a test would pass over them."""

    def expect(self, kind):
        """Remove one that the test provoked; AssertionError where there was none."""
        error = next((error for error in self if isinstance(error, kind)), None)
        assert error is not None, f"no {kind.__name__} left a slot; these did: {list(self)}"
        self.remove(error)
        return error


@pytest.fixture
def slotErrors(monkeypatch):
    errors = SlotErrors()

    def remember(kind, error, trace):
        errors.append(error)
        traceback.print_exception(kind, error, trace)

    monkeypatch.setattr(sys, "excepthook", remember)
    yield errors
    assert not errors, f"an exception left a slot: {errors}"


@pytest.fixture
def dialogs():
    """Answers for modal dialogs: `dialogs.answer(path)`, then `dialogs.shown` tells what opened."""
    yield _dialogs
    assert not _dialogs.unused(), f"dialogs that never opened: {_dialogs.unused()}"


@pytest.fixture(autouse=True)
def application(slotErrors):
    """An empty scene, no module, no answers; afterwards modules are unloaded as at exit and nothing may be left."""
    _dialogs.clear()
    gc.freeze()  # what is there already is no leftover of this test, and collecting it anew takes longer than most tests
    before = {child.pid for child in psutil.Process().children(recursive=True)}
    removals = NodeRemovals()
    removals.watch(slicer.mrmlScene)
    yield slicer.app
    removals.end()
    for module in scripted_module.loaded():
        scripted_module.unload(module)
    slicer.modules.segmenteditor._close()
    settle()
    slicer.mrmlScene.Clear(0)
    slicer.app.layoutManager()._reset()
    remaining = leftovers(before)
    for process in list(pythonqt.processes):
        process.kill()
        process.waitForFinished(2000)
    for timer in list(pythonqt.timers):
        timer.stop()
    for observing in list(_observing):
        observing.removeObservers()
    slicer.app.userSettings().clear()
    assert not remaining, f"left behind: {remaining}"
    assert not removals, f"nodes removed inside events: {removals}"


def waitUntil(condition, seconds: float = 30.0, what: str = "the condition") -> None:
    """Process events until `condition()` holds; AssertionError with `what` when it does not in time."""
    timer = qt.QElapsedTimer()
    timer.start()
    while not condition():
        assert timer.elapsed() < 1000 * seconds, f"{what} did not come true within {seconds} s"
        slicer.app.processEvents()
        time.sleep(0.002)
