"""Section Settings: Python of the jobs, device, threads, memory, cache, and the state of the packages."""

import shutil
from contextlib import suppress
from pathlib import Path

from slicer.i18n import tr as _

from .. import choices, installation, settings, wording
from ..installation import Packages
from .telling import told

STORE_FOLDER = "store"


class SettingsSection:
    """Edits what holds on this computer for every scene."""

    def __init__(self, panel):
        self.panel = panel
        self.widget, self.ui = panel.loadSection("Settings.ui", panel.ui.settingsButton)
        self.packages: Packages | None = None
        """What the last check found; None: not checked since something changed."""
        self._storeBytes: int | None = None
        self._probe = None
        ui = self.ui
        ui.pythonEdit.setCurrentPath(settings.value("python"))
        ui.threadsBox.value = settings.value("threads")
        ui.memoryBox.value = settings.value("slabMegabytes")
        choices.fillTexts(ui.deviceCombo, ["auto", "cpu", "cuda", "mps"], settings.value("device"))
        ui.deviceCombo.toolTip = _(
            "On what to compute: auto takes an NVIDIA (or AMD) card when there is one that works; cpu is the processor, "
            "cuda such a card (cuda:1 the second one), mps an Apple one."
        )
        panel.ui.settingsButton.connect("contentsCollapsed(bool)", self.onCollapsed)
        ui.pythonEdit.connect("currentPathChanged(QString)", self.onPython)
        ui.deviceCombo.connect("editTextChanged(QString)", self.onDevice)
        ui.threadsBox.connect("valueChanged(int)", self.onThreads)
        ui.memoryBox.connect("valueChanged(int)", self.onMemory)
        ui.clearCacheButton.connect("clicked(bool)", self.onClearCache)
        ui.checkButton.connect("clicked(bool)", self.onCheck)
        ui.installButton.connect("clicked(bool)", panel.onInstall)

    def release(self) -> None:
        if self._probe is not None:
            self._probe.killTree()
            self._probe.waitForFinished(2000)
            self._probe = None

    def forget(self) -> None:
        """Has the cache measured again."""
        self._storeBytes = None

    def onCollapsed(self, collapsed: bool) -> None:
        if not collapsed and self.panel.parameterNode is not None:
            self.update()

    def update(self) -> None:
        """Shows the cache of the workspace and the state of the packages; nothing while the section is closed."""
        ui, panel = self.ui, self.panel
        if panel.ui.settingsButton.collapsed:
            return
        if self._storeBytes is None:
            self._storeBytes = _bytesIn(Path(panel.workspace) / STORE_FOLDER) if panel.workspace else 0
        count = self._storeBytes
        ui.cacheLabel.text = wording.size(count) if count else _("empty")
        panel.offer(
            ui.clearCacheButton,
            panel.reasonBusy() or ("" if count else _("The cache is empty.")),
            _("Deletes the cache; it is made again when it is needed."),
        )
        chosen = settings.value("python")
        missing = installation.missingRequirements(chosen)
        if missing:
            reason = ""
        elif chosen:
            reason = _("HSSL does not install into a Python that is not Slicer's; see Check.")
        else:
            reason = _("All packages are installed.")
        panel.offer(ui.installButton, reason, _("Installs what HSSL needs into Slicer, after one question."))
        panel.offer(
            ui.checkButton,
            _("The check is under way.") if self._probe is not None else "",
            _("Starts the Python of the jobs and tries what it can do."),
        )
        if self._probe is not None:
            ui.packagesLabel.text = _("Checking…")
        elif self.packages is None:
            ui.packagesLabel.text = installation.adviceFor(Packages(False, missing)) if missing else ""
        elif self.packages.ready:
            ui.packagesLabel.text = _("Ready: PyTorch {version} on {device}.").format(
                version=self.packages.torch, device=self.packages.device
            )
            if self.packages.deviceProblem:
                ui.packagesLabel.text += "\n" + _("The graphics card cannot be used: {reason}").format(
                    reason=self.packages.deviceProblem
                )
        else:
            ui.packagesLabel.text = installation.adviceFor(self.packages, chosen)
        ui.packagesLabel.setVisible(bool(ui.packagesLabel.text))

    def onPython(self, path: str) -> None:
        settings.setValue("python", path)
        self.packages = None
        self.panel.refreshSoon()

    def onDevice(self, text: str) -> None:
        settings.setValue("device", text.strip() or "auto")

    def onThreads(self, count: int) -> None:
        settings.setValue("threads", count)

    def onMemory(self, megabytes: int) -> None:
        settings.setValue("slabMegabytes", megabytes)

    def onClearCache(self) -> None:
        from hssl.locks import FolderLock
        from hssl.models.run_folder import all_runs

        with told(_("The cache could not be deleted."), waitCursor=True):
            for run in all_runs(Path(self.panel.workspace)):
                with FolderLock(run.path):
                    pass  # held, another Slicer or the command line trains from the cache
            shutil.rmtree(Path(self.panel.workspace) / STORE_FOLDER)
        self.forget()
        self.panel.refresh()

    def onCheck(self) -> None:
        """Finds out what the Python of the jobs can do; the answer is shown here, and at the top where it is bad."""
        if self._probe is not None:
            return
        self._probe = self.panel.logic.starter.makeProcess()
        installation.probe(self._probe, self._known, settings.value("python"))
        self.update()

    def _known(self, packages: Packages) -> None:
        self.packages, self._probe = packages, None
        self.panel.refreshSoon()


def _bytesIn(folder: Path) -> int:
    found = 0
    for file in folder.rglob("*"):
        with suppress(OSError):  # a job that prepares scans renames its files meanwhile
            found += file.stat().st_size if file.is_file() else 0
    return found
