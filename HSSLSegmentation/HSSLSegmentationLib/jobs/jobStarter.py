"""Starts jobs of the engine: writes their configuration, gives them a folder of their own, and clears it afterwards."""

import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from .. import settings, temporary
from .interpreter import engineCommand, requireOwnPackages
from .job import Job
from .process import JobProcess


class JobStarter:
    """Starts every job of a Logic.

    Args:
        makeProcess: makes the process of a job; tests give their own.
    """

    def __init__(self, makeProcess: Callable[[], JobProcess]):
        self.makeProcess = makeProcess

    def newFolder(self) -> Path:
        """Makes a temporary folder for a job; it is removed when the job that it is given to has ended."""
        return temporary.newFolder()

    def configured(
        self,
        kind: str,
        values: dict[str, Any],
        folder: Path | None = None,
        run: Path | None = None,
        whenDone: Callable[[Job], Iterator[None]] | None = None,
        resumable: bool = False,
        before: Iterator[None] | None = None,
    ) -> Job:
        """Starts `hssl <kind> --config …`; the configuration is checked here first.

        Args:
            values: plain values of fields of the configuration. What this computer's settings hold (device, threads,
                memory) is added where it is not given, and workspaces become absolute paths.
            whenDone, before: as for `start`.

        Raises:
            ConfigurationError: the configuration does not fit; the message lists what.
            InterpreterError: there is no Python for the jobs, or Slicer's own lacks what it needs itself.
        """
        requireOwnPackages()
        from hssl.jobs import JOBS

        checked = JOBS[kind].configuration.checked(_completed(JOBS[kind].configuration, values))
        folder = folder or self.newFolder()
        file = folder / "config.json"
        file.write_text(checked.model_dump_json(indent=1), encoding="utf-8")
        startAgain = None
        if resumable:
            startAgain = lambda: self.configured(kind, values, None, run, whenDone, True)  # noqa: E731
        arguments, stopFile = [*JOBS[kind].command, "--config", str(file), "--json"], None
        if JOBS[kind].stoppable:
            stopFile = folder / "stop"
            arguments += ["--stop-file", str(stopFile)]
        return self.start(kind, arguments, folder, stopFile, run, whenDone, startAgain, before)

    def start(
        self,
        kind: str,
        arguments: list[str],
        folder: Path | None = None,
        stopFile: Path | None = None,
        run: Path | None = None,
        whenDone: Callable[[Job], Iterator[None]] | None = None,
        startAgain: Callable[[], Job] | None = None,
        before: Iterator[None] | None = None,
    ) -> Job:
        """Starts `hssl <arguments>` and returns the job.

        Args:
            folder: what to clear when the job has ended.
            stopFile: the file that the job looks for; None for short commands, which are simply terminated.
            whenDone: takes the result over, in steps (`steps.inSteps`) that are part of the job: it ends after the last.
            before: what the process needs, such as its input files, in steps; it is started after the last.
        """
        try:
            command = engineCommand(arguments, settings.value("python"))
        except Exception:
            if folder is not None:
                shutil.rmtree(folder, ignore_errors=True)
            raise
        job = Job(kind, command, stopFile, self.makeProcess(), run, whenDone, startAgain, before)

        def clear(job: Job, event) -> None:
            if folder is not None and not job.isRunning():
                shutil.rmtree(folder, ignore_errors=True)

        job.addObserver(clear)
        return job.start()


def _completed(configuration: Any, values: dict[str, Any]) -> dict[str, Any]:
    completed = dict(values)
    for name, setting in (("device", "device"), ("threads", "threads"), ("slab_megabytes", "slabMegabytes")):
        if name in configuration.model_fields and name not in completed:
            completed[name] = settings.value(setting)
    if "workspace" in completed:
        completed["workspace"] = str(Path(completed["workspace"]).expanduser().absolute())
    if "finetune" in completed:
        completed["finetune"] = _completed(configuration.model_fields["finetune"].annotation, completed["finetune"])
    return completed
